// Equality of JSON values, one definition for all of Holdfast: numbers by value and exactly (1
// equals 1.0, 9007199254740993 does not equal 9007199254740992.0), arrays element by element,
// objects by their members whatever the order. nlohmann's operator== rounds an integer that it
// compares with a double, so it is used for strings, booleans and null alone.
#pragma once

#include <string>

#include "base/json.h"

namespace holdfast::base {

/// Compares two numbers exactly, integers and doubles alike: <0, 0 or >0.
int CompareNumbers(const Json& a, const Json& b);

bool AreEqual(const Json& a, const Json& b);

/// Compact JSON that is the same for equal values, and for these only: a double without a fraction
/// is written as the integer that it equals, if that has 64 bits. Every other number is written as
/// ToText writes it.
std::string CanonicalText(const Json& value);

}  // namespace holdfast::base
