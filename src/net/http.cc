// Finding headers: names are compared without case, as RFC 9110 wants it.
#include "net/http.h"

#include <algorithm>

namespace holdfast::net {
namespace {

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

}  // namespace

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return Lower(x) == Lower(y); });
}

std::ptrdiff_t CountHeader(const Headers& headers, std::string_view name) {
  return std::ranges::count_if(
      headers, [name](const auto& header) { return EqualsIgnoringCase(header.first, name); });
}

std::string_view FindHeader(const Headers& headers, std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (EqualsIgnoringCase(key, name)) return value;
  }
  return {};
}

}  // namespace holdfast::net
