// Text that came from outside, before a person reads it on a terminal: in tables, messages and logs
// that are text. JSON is written exactly instead.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace holdfast::base {

/// Without what a terminal obeys or what changes the order in which text is shown: control
/// characters (also U+0080 to U+009F), marks and overrides of direction, line separators, bytes
/// that are not UTF-8. Line ends and tabs become spaces, the others '?'. Cut to `most` characters.
std::string Printable(std::string_view text, std::size_t most = 4096);

/// JSON text that means the same, with such characters as escapes.
std::string PrintableJson(std::string_view json);

/// Whether the text is shown as it is.
bool IsPrintable(std::string_view text);

}  // namespace holdfast::base
