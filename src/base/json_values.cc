#include "base/json_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/mutant.h"

namespace holdfast::base {
namespace {

/// An integer against a double, neither rounded.
int CompareExactly(std::int64_t integer, double real) {
  if (real >= 0x1p63) return -1;
  if (real < -0x1p63) return 1;
  auto whole = static_cast<std::int64_t>(std::floor(real));
  if (integer != whole) return integer < whole ? -1 : 1;
  return real > std::floor(real) ? -1 : 0;
}

void AppendCanonical(const Json& value, std::string& out) {
  if (value.is_number_float()) {
    auto real = value.get<double>();
    if (real == std::trunc(real) && real >= -0x1p63 && real < 0x1p63) {
      fmt::format_to(std::back_inserter(out), "{}", static_cast<std::int64_t>(real));
      return;
    }
  } else if (value.is_array()) {
    out += '[';
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (i > 0) out += ',';
      AppendCanonical(value[i], out);
    }
    out += ']';
    return;
  } else if (value.is_object()) {
    out += '{';
    bool is_first = true;
    for (const auto& [name, member] : value.items()) {
      if (!is_first) out += ',';
      is_first = false;
      out += ToText(Json(name));
      out += ':';
      AppendCanonical(member, out);
    }
    out += '}';
    return;
  }
  out += ToText(value);
}

}  // namespace

std::string CanonicalText(const Json& value) {
  std::string text;
  AppendCanonical(value, text);
  return text;
}

int CompareNumbers(const Json& a, const Json& b) {
  if (a.is_number_integer() && b.is_number_integer()) {
    auto x = a.get<std::int64_t>();
    auto y = b.get<std::int64_t>();
    return x < y ? -1 : static_cast<int>(x > y);
  }
  if (a.is_number_integer()) return CompareExactly(a.get<std::int64_t>(), b.get<double>());
  if (b.is_number_integer()) return -CompareExactly(b.get<std::int64_t>(), a.get<double>());
  auto x = a.get<double>();
  auto y = b.get<double>();
  return x < y ? -1 : static_cast<int>(x > y);
}

bool AreEqual(const Json& a, const Json& b) {
  if (HF_MUTANT(numbers_rounded)) return a == b;
  if (a.is_number() && b.is_number()) return CompareNumbers(a, b) == 0;
  if (a.type() != b.type() || a.size() != b.size()) return false;
  if (a.is_array()) return std::ranges::equal(a, b, AreEqual);
  if (!a.is_object()) return a == b;
  // Members are kept in the order of their names.
  auto other = b.begin();
  for (auto member = a.begin(); member != a.end(); ++member, ++other) {
    if (member.key() != other.key() || !AreEqual(*member, *other)) return false;
  }
  return true;
}

}  // namespace holdfast::base
