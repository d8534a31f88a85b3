// Assertions that stay on in release builds. For programmer errors only, never for input.
#pragma once

#include <cstdio>
#include <cstdlib>

#define HF_CHECK(condition)                                                              \
  do {                                                                                   \
    if (!(condition)) [[unlikely]] {                                                     \
      std::fprintf(stderr, "holdfast: check failed: %s (%s:%d)\n", #condition, __FILE__, \
                   __LINE__);                                                            \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)
