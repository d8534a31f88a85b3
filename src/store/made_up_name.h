// Names for those who were given none.
#pragma once

#include <string>

namespace holdfast::store {

/// Host, process id and a random part, with the separator in between: whoever meets the name in a
/// list finds out whose it is, and no two are alike.
std::string MadeUpName(char separator);

}  // namespace holdfast::store
