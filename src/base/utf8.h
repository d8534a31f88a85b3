// Text that is to be stored or sent must be UTF-8.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace holdfast::base {

bool IsUtf8(std::string_view text);

/// Whether every engine can keep the text: UTF-8 without NUL, which PostgreSQL has no place for.
bool IsStorable(std::string_view text);

/// The length of the well-formed character at the front of `text` (not empty), or 0.
std::size_t CharacterLength(std::string_view text);

/// At most `limit` bytes of `text`, never ending within a character; what is not UTF-8 becomes
/// U+FFFD. For texts that must be kept whatever they hold, such as the error output of a program.
std::string CutUtf8(std::string_view text, std::size_t limit);

/// As CutUtf8, and NUL becomes U+FFFD, too: the outcome is storable.
std::string CutStorable(std::string_view text, std::size_t limit);

}  // namespace holdfast::base
