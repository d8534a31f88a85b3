#include "base/json_writer.h"

#include <charconv>
#include <cmath>

namespace holdfast::base {

void AppendJsonString(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  std::size_t start = 0;  // of the stretch that needs no escape
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out += text.substr(start, i - start);
    start = i + 1;
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        out += "\\u00";
        out += kHex[c >> 4];
        out += kHex[c & 15];
    }
  }
  out += text.substr(start);
  out += '"';
}

void JsonWriter::Integer(std::int64_t value) {
  char buffer[24];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  Raw({buffer, static_cast<std::size_t>(end - buffer)});
}

void JsonWriter::Double(double value) {
  if (!std::isfinite(value)) return Null();  // JSON has no other word for it
  char buffer[32];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  Raw({buffer, static_cast<std::size_t>(end - buffer)});
}

void JsonWriter::Id(std::int64_t value) {
  char buffer[24];
  buffer[0] = '"';
  auto [end, error] = std::to_chars(buffer + 1, buffer + sizeof buffer - 1, value);
  *end = '"';
  Raw({buffer, static_cast<std::size_t>(end - buffer) + 1});
}

}  // namespace holdfast::base
