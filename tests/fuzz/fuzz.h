// What the fuzzers share: inputs of two lines, and what must hold of every error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/utf8.h"
#include "holdfast/error.h"

namespace holdfast::fuzz {

inline std::string_view TextOf(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// What is before the first line break, and what is behind it: JSON needs none.
inline std::pair<std::string_view, std::string_view> SplitLines(std::string_view text) {
  std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return {text, {}};
  return {text.substr(0, end), text.substr(end + 1)};
}

/// Messages go to logs and headers.
inline void CheckMessage(std::string_view message) {
  HF_CHECK(!message.empty());
  HF_CHECK(message.size() <= 2048);
  HF_CHECK(message.find('\n') == std::string_view::npos);
  HF_CHECK(base::IsUtf8(message));
}

}  // namespace holdfast::fuzz
