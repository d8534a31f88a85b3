#include "rules/pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/utf8.h"

namespace holdfast::rules {
namespace {

/// Reads a pattern only as far as it takes to know how large its automaton will be. What is no
/// pattern at all is left to std::regex to refuse.
class Measure {
 public:
  explicit Measure(std::string_view text) : text_(text) {
    while (at_ < text_.size()) Step();
    while (sums_.size() > 1) CloseGroup();
  }

  std::size_t states() const { return sums_.front(); }
  bool has_lookahead() const { return has_lookahead_; }
  bool is_plain() const { return !has_groups_ && choices_ <= 1; }

 private:
  void Step() {
    char c = text_[at_++];
    if (c == '\\') {
      ++at_;
      Atom();
    } else if (c == '[') {
      SkipClass();
      Atom();
    } else if (c == '(') {
      OpenGroup();
    } else if (c == ')') {
      CloseGroup();
    } else if (c == '{') {
      Repeat();
    } else if (c == '*' || c == '+' || c == '?') {
      // A ? behind a quantifier makes it lazy; counting it as a choice errs on the safe side.
      ++choices_;
      Add(1);
    } else {
      if (c == '|') has_groups_ = true;
      Atom();
    }
  }
  void Add(std::size_t states) { sums_.back() = std::min(sums_.back() + states, kMost); }
  void Atom() {
    last_ = 1;
    Add(1);
  }
  void SkipClass() {
    if (at_ < text_.size() && text_[at_] == '^') ++at_;
    while (at_ < text_.size() && text_[at_] != ']') {
      char c = text_[at_++];
      if (c == '\\') ++at_;
      // [:alpha:], [.x.], [=x=]
      if (c == '[' && at_ < text_.size() && std::string_view(":.=").contains(text_[at_])) {
        std::string end = {text_[at_], ']'};
        std::size_t found = text_.find(end, at_ + 1);
        at_ = found == std::string_view::npos ? text_.size() : found + 2;
      }
    }
    ++at_;
  }
  void OpenGroup() {
    has_groups_ = true;
    if (text_.substr(at_, 2) == "?=" || text_.substr(at_, 2) == "?!") has_lookahead_ = true;
    if (text_.substr(at_, 1) == "?") at_ += 2;
    sums_.push_back(2);
  }
  void CloseGroup() {
    if (sums_.size() == 1) return Atom();
    last_ = sums_.back();
    sums_.pop_back();
    Add(last_);
  }
  void Repeat() {
    std::size_t least = Number();
    std::size_t most = least;
    if (at_ < text_.size() && text_[at_] == ',') {
      ++at_;
      most = std::max(Number(), least);
      ++choices_;
    }
    // Each time is a copy of the atom.
    std::size_t times = std::min(most, kMost) + 1;
    last_ = std::min(last_ * times, kMost);
    Add(last_);
    if (at_ < text_.size() && text_[at_] == '}') ++at_;
  }
  std::size_t Number() {
    std::size_t number = 0;
    const char* begin = text_.data() + at_;
    auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), number);
    at_ += static_cast<std::size_t>(end - begin);
    return error == std::errc::result_out_of_range ? kMost : number;
  }

  static constexpr std::size_t kMost = 1'000'000;

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<std::size_t> sums_{0};  // by open group
  std::size_t last_ = 0;              // of what a quantifier would repeat
  std::size_t choices_ = 0;
  bool has_groups_ = false;
  bool has_lookahead_ = false;
};

std::unexpected<Error> BadPattern(std::string_view text, std::string_view why) {
  return Fail(ErrorCode::kInvalidArgument, fmt::format("'{}' {}", base::CutUtf8(text, 64), why));
}

}  // namespace

Result<Pattern> Pattern::Compile(std::string_view text) {
  if (text.size() > kPatternBytes) {
    return BadPattern(text, fmt::format("has {} bytes (at most {})", text.size(), kPatternBytes));
  }
  if (text.find('\0') != std::string_view::npos) return BadPattern(text, "has a NUL character");
  Measure measure(text);
  if (measure.has_lookahead()) return BadPattern(text, "looks ahead, which patterns must not");
  if (measure.states() > kPatternStates) {
    return BadPattern(text,
                      fmt::format("is too large once its repetitions are written out (at most "
                                  "{} states)",
                                  kPatternStates));
  }
  // Polynomial: all ways at once instead of one after the other, so no pattern can make the search
  // explode. With the prefix one pass suffices, where a search would begin anew at every byte.
  constexpr auto kFlags =
      std::regex::ECMAScript | std::regex::nosubs | std::regex_constants::__polynomial;
  Pattern pattern;
  pattern.is_plain_ = measure.is_plain();
  try {
    std::regex alone(text.begin(), text.end(), kFlags);
    pattern.regex_ =
        std::make_shared<const std::regex>(fmt::format("[\\s\\S]*(?:{})", text), kFlags);
  } catch (const std::regex_error& error) {
    if (error.code() == std::regex_constants::error_complexity) {
      return BadPattern(text, "refers back, which patterns must not");
    }
    return BadPattern(text, "is not a regular expression");
  }
  return pattern;
}

bool Pattern::Finds(const std::string& text) const {
  if (text.size() > kMatchedBytes) return false;
  return std::regex_search(text, *regex_, std::regex_constants::match_continuous);
}

}  // namespace holdfast::rules
