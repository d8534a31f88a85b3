#include "base/utf8.h"

#include "base/mutant.h"

namespace holdfast::base {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

std::string Cut(std::string_view text, std::size_t limit, bool replaces_nul) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = CharacterLength(text);
    const bool is_kept = length > 0 && !(replaces_nul && text.front() == '\0');
    std::string_view character = is_kept ? text.substr(0, length) : kReplacement;
    if (out.size() + character.size() > limit) break;
    out += character;
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

}  // namespace

std::size_t CharacterLength(std::string_view text) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and what lies beyond U+10FFFF.
  if (first == 0xE0 && byte(1) < 0xA0) return 0;
  if (first == 0xED && byte(1) > 0x9F) return 0;
  if (first == 0xF0 && byte(1) < 0x90) return 0;
  if (first == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    std::size_t length = CharacterLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

bool IsStorable(std::string_view text) {
  return IsUtf8(text) && (text.find('\0') == std::string_view::npos || HF_MUTANT(nul_let_through));
}

std::string CutUtf8(std::string_view text, std::size_t limit) {
  return Cut(text, limit, /*replaces_nul=*/false);
}

std::string CutStorable(std::string_view text, std::size_t limit) {
  return Cut(text, limit, /*replaces_nul=*/true);
}

}  // namespace holdfast::base
