#include "base/mutant.h"

#if defined(HOLDFAST_MUTANTS)

#include <cstdlib>
#include <string_view>

namespace holdfast::base {

bool IsActiveMutant(const char* name) {
  const char* active = std::getenv("HOLDFAST_MUTANT");
  return active != nullptr && std::string_view(active) == name;
}

}  // namespace holdfast::base

#endif
