// The syntax of raw JSON. Runs once for every payload that is stored, so the common empty values
// are not parsed at all and the parser's buffers are kept.
#include <fmt/format.h>
#include <simdjson.h>

#include "wire/decode.h"

namespace holdfast::wire {
namespace {

constexpr std::size_t kMaxDepth = 64;
/// The parser keeps about ten times the size of the largest text it has read.
constexpr std::size_t kKeptTape = 256 * 1024;

simdjson::error_code Parse(simdjson::dom::parser& parser, std::string_view text,
                           simdjson::dom::element& root) {
  if (parser.max_depth() != kMaxDepth) {
    if (auto error = parser.allocate(std::max<std::size_t>(text.size(), 4096), kMaxDepth)) {
      return error;
    }
  }
  return parser.parse(text.data(), text.size()).get(root);
}

std::string_view Complaint(simdjson::error_code error) {
  switch (error) {
    case simdjson::DEPTH_ERROR:
      return "is nested more than 64 deep";
    case simdjson::UTF8_ERROR:
      return "is not valid JSON: it is not UTF-8";
    case simdjson::EMPTY:
      return "is not valid JSON: it is empty";
    case simdjson::NUMBER_ERROR:
      return "has a number that is malformed or beyond 64 bits";
    default:
      return "is not valid JSON";
  }
}

}  // namespace

Result<void> ValidateJson(std::string_view name, std::string_view text, JsonShape shape) {
  if (text == "{}" || (text == "null" && shape == JsonShape::kAny)) return {};
  simdjson::dom::element root;
  simdjson::error_code error;
  if (text.size() > kKeptTape) {
    simdjson::dom::parser parser;
    error = Parse(parser, text, root);
    if (!error && shape == JsonShape::kObject && !root.is_object())
      error = simdjson::INCORRECT_TYPE;
  } else {
    thread_local simdjson::dom::parser parser;
    error = Parse(parser, text, root);
    if (!error && shape == JsonShape::kObject && !root.is_object())
      error = simdjson::INCORRECT_TYPE;
  }
  if (!error) return {};
  std::string_view complaint =
      error == simdjson::INCORRECT_TYPE ? "must be a JSON object" : Complaint(error);
  return Fail(ErrorCode::kInvalidArgument, fmt::format("{} {}", name, complaint));
}

}  // namespace holdfast::wire
