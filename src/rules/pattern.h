// Regular expressions in schemas, held to a bounded effort: anybody may send the text they search.
#pragma once

#include <memory>
#include <regex>
#include <string>
#include <string_view>

#include "holdfast/error.h"

namespace holdfast::rules {

inline constexpr std::size_t kPatternBytes = 1024;
inline constexpr std::size_t kPatternStates = 1000;     // once {n,m} is written out
inline constexpr std::size_t kMatchedBytes = 4 * 1024;  // longer texts match no pattern

/// An ECMAScript regular expression without back-references and lookahead: searching takes time in
/// proportion to the text, and a stack that does not depend on it. Bytes, not characters, are what
/// `.` and classes match. Immutable; copies share what was compiled. Threads: any.
class Pattern {
 public:
  /// Errors: invalid_argument; the message says what is wrong.
  static Result<Pattern> Compile(std::string_view text);

  /// Whether any part of `text` matches.
  bool Finds(const std::string& text) const;

  /// Without groups, alternatives and more than one quantifier that leaves a choice: then even an
  /// engine that backtracks finds its way quickly.
  bool is_plain() const { return is_plain_; }

 private:
  std::shared_ptr<const std::regex> regex_;
  bool is_plain_ = false;
};

}  // namespace holdfast::rules
