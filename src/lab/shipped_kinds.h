// The kinds of the folder kinds/, as they were when this was built.
#pragma once

#include <span>
#include <string_view>

namespace holdfast::lab {

struct ShippedKind {
  std::string_view name;   ///< "ticket"
  std::string_view rules;  ///< JSON text
};

std::span<const ShippedKind> ShippedKinds();

}  // namespace holdfast::lab
