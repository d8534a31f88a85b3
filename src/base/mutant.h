// Bugs on purpose, by which the tests are tested: each is named in tests/mutants.json with the test
// that finds it, and tools/mutants.py sees to it that it does. There are none in a build without
// HOLDFAST_MUTANTS: the condition is then a constant, and what it guards is gone.
#pragma once

#if defined(HOLDFAST_MUTANTS)

namespace holdfast::base {

/// Whether the environment's HOLDFAST_MUTANT names it.
bool IsActiveMutant(const char* name);

}  // namespace holdfast::base

#define HF_MUTANT(name)                                                    \
  ([] {                                                                    \
    static const bool is_active = ::holdfast::base::IsActiveMutant(#name); \
    return is_active;                                                      \
  }())

#else

#define HF_MUTANT(name) false

#endif
