// Statements that pass errors on. Used as statements, never inside expressions.
#pragma once

#include <utility>

#include "holdfast/error.h"

#define HF_CONCAT_INNER(a, b) a##b
#define HF_CONCAT(a, b) HF_CONCAT_INNER(a, b)

/// Evaluates a Result<...>; returns its error from the enclosing function, if it has one.
#define HF_RETURN_IF_ERROR(expression)                                         \
  do {                                                                         \
    if (auto hf_result = (expression); !hf_result) {                           \
      return std::unexpected<::holdfast::Error>(std::move(hf_result).error()); \
    }                                                                          \
  } while (false)

/// `HF_ASSIGN_OR_RETURN(Job job, GetJob(id));`
#define HF_ASSIGN_OR_RETURN(declaration, expression) \
  HF_ASSIGN_OR_RETURN_INNER(HF_CONCAT(hf_result_, __LINE__), declaration, expression)
#define HF_ASSIGN_OR_RETURN_INNER(result, declaration, expression)        \
  auto result = (expression);                                             \
  if (!result) {                                                          \
    return std::unexpected<::holdfast::Error>(std::move(result).error()); \
  }                                                                       \
  declaration = *std::move(result)
