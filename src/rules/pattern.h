// Regular expressions in schemas, searched by RE2: in time proportional to the text, whatever the
// expression, and on a stack that depends on neither.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "holdfast/error.h"

namespace re2 {
class RE2;
}

namespace holdfast::rules {

inline constexpr std::size_t kPatternBytes = 1024;
inline constexpr int kPatternStates = 2000;             // of RE2's program, {n,m} written out
inline constexpr std::size_t kMatchedBytes = 4 * 1024;  // longer texts match no pattern

/// An expression as RE2 reads it (docs/rules.md). Bytes, not characters, are what `.` and classes
/// match. Immutable; copies share what was compiled. Threads: any.
class Pattern {
 public:
  /// Errors: invalid_argument; the message says what is wrong.
  static Result<Pattern> Compile(std::string_view text);

  /// Whether any part of `text` matches.
  bool Finds(std::string_view text) const;

  /// Steps for every 16 bytes that are searched: where RE2 cannot keep enough states, it goes
  /// through its program for every byte.
  std::size_t cost() const;

 private:
  std::shared_ptr<const re2::RE2> regex_;
};

}  // namespace holdfast::rules
