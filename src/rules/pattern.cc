#include "rules/pattern.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include "base/utf8.h"

namespace holdfast::rules {
namespace {

// What one expression may take: its program, and the states that RE2 keeps while it searches.
constexpr std::int64_t kPatternMemory = 1 << 20;

std::unexpected<Error> BadPattern(std::string_view text, std::string_view why) {
  return Fail(ErrorCode::kInvalidArgument, fmt::format("'{}' {}", base::CutUtf8(text, 64), why));
}

}  // namespace

Result<Pattern> Pattern::Compile(std::string_view text) {
  if (text.size() > kPatternBytes) {
    return BadPattern(text, fmt::format("has {} bytes (at most {})", text.size(), kPatternBytes));
  }
  if (text.find('\0') != std::string_view::npos) return BadPattern(text, "has a NUL character");
  re2::RE2::Options options;
  options.set_encoding(re2::RE2::Options::EncodingLatin1);
  options.set_log_errors(false);
  options.set_never_capture(true);
  options.set_max_mem(kPatternMemory);
  auto regex =
      std::make_shared<const re2::RE2>(re2::StringPiece(text.data(), text.size()), options);
  if (regex->error_code() == re2::RE2::ErrorPatternTooLarge ||
      (regex->ok() && regex->ProgramSize() > kPatternStates)) {
    return BadPattern(text, fmt::format("is too large once its repetitions are written out (at "
                                        "most {} states)",
                                        kPatternStates));
  }
  if (!regex->ok()) {
    return BadPattern(text, fmt::format("is not a regular expression of RE2: {}", regex->error()));
  }
  Pattern pattern;
  pattern.regex_ = std::move(regex);
  return pattern;
}

bool Pattern::Finds(std::string_view text) const {
  if (text.size() > kMatchedBytes) return false;
  return re2::RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *regex_);
}

std::size_t Pattern::cost() const {
  return 4 * static_cast<std::size_t>(regex_->ProgramSize());
}

}  // namespace holdfast::rules
