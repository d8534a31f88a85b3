#include "api/etag.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "base/utf8.h"

namespace holdfast::api {
namespace {

std::string_view Trim(std::string_view text) {
  std::size_t first = std::min(text.find_first_not_of(" \t"), text.size());
  text.remove_prefix(first);
  return text.substr(0, text.find_last_not_of(" \t") + 1);
}

}  // namespace

std::string ETagOf(std::int64_t version) {
  return fmt::format("\"{}\"", version);
}

Result<std::optional<std::int64_t>> ParseIfMatch(std::string_view header) {
  std::string_view text = Trim(header);
  if (text.empty() || text == "*") return std::nullopt;
  if (text.size() > 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
  }
  if (auto version = base::ParseInteger(text)) return *version;
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("If-Match is {}: it must be one version in quotes, as in the ETag of an "
                          "answer, or *",
                          base::CutUtf8(header, 64)));
}

bool NamesTag(std::string_view header, std::string_view tag) {
  while (!header.empty()) {
    std::size_t end = std::min(header.find(','), header.size());
    std::string_view named = Trim(header.substr(0, end));
    header.remove_prefix(std::min(end + 1, header.size()));
    // Weakly compared, as HTTP has it for reads.
    if (named.starts_with("W/")) named.remove_prefix(2);
    if (named == "*" || named == tag) return true;
  }
  return false;
}

}  // namespace holdfast::api
