#include "base/printable.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/utf8.h"

namespace holdfast::base {
namespace {

/// The code point of a well-formed character.
char32_t CodePointOf(std::string_view character) {
  const auto first = static_cast<unsigned char>(character.front());
  if (character.size() == 1) return first;
  char32_t code = first & (0xFFU >> (character.size() + 1));
  for (char c : character.substr(1)) code = code << 6 | (static_cast<unsigned char>(c) & 0x3FU);
  return code;
}

bool IsCommand(char32_t code) {
  if (code < 0x20 || (code >= 0x7F && code <= 0x9F)) return true;
  if (code == 0x061C || code == 0x200E || code == 0x200F) return true;  // marks of direction
  return (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

/// Calls `use(character, code point)` for each character; of a byte that is none, with no code.
template <typename Use>
void ForEachCharacter(std::string_view text, Use use) {
  while (!text.empty()) {
    const std::size_t length = CharacterLength(text);
    const std::string_view character = text.substr(0, std::max<std::size_t>(length, 1));
    std::optional<char32_t> code;
    if (length > 0) code = CodePointOf(character);
    use(character, code);
    text.remove_prefix(character.size());
  }
}

}  // namespace

std::string Printable(std::string_view text, std::size_t most) {
  std::string out;
  std::size_t characters = 0;
  ForEachCharacter(text, [&](std::string_view character, std::optional<char32_t> code) {
    if (++characters > most) return;
    if (code && !IsCommand(*code)) {
      out += character;
    } else {
      out += code == U'\n' || code == U'\t' ? ' ' : '?';
    }
  });
  return characters > most ? out + "..." : out;
}

std::string PrintableJson(std::string_view json) {
  std::string out;
  ForEachCharacter(json, [&](std::string_view character, std::optional<char32_t> code) {
    if (code == U'\r') return;
    // Below U+0020 there is only white space, between the values; the others are within strings.
    if (!code || (*code >= 0x20 && IsCommand(*code))) {
      out += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(code.value_or(0xFFFD)));
    } else {
      out += character;
    }
  });
  return out;
}

bool IsPrintable(std::string_view text) {
  bool is_printable = true;
  ForEachCharacter(text, [&](std::string_view, std::optional<char32_t> code) {
    is_printable &= code && !IsCommand(*code);
  });
  return is_printable;
}

}  // namespace holdfast::base
