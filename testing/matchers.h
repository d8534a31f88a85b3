// What tests say about a Result: IsOk, or the very error that is expected. There is no matcher for
// "failed somehow", because a test that accepts any error pins nothing.
#pragma once

#include <gmock/gmock.h>

#include <ostream>
#include <stdexcept>
#include <string>

#include "holdfast/holdfast.h"

namespace holdfast {

// Found by GoogleTest through argument-dependent lookup.
inline void PrintTo(const Error& error, std::ostream* out) {
  *out << InfoOf(error.code).name << ": " << error.message;
  if (error.detail.operation) *out << " [operation " << *error.detail.operation << "]";
  if (error.detail.guard) *out << " [guard " << *error.detail.guard << "]";
  if (error.detail.id) *out << " [id " << *error.detail.id << "]";
}

void PrintTo(const Job& job, std::ostream* out);
void PrintTo(const Queue& queue, std::ostream* out);
void PrintTo(const AuditEntry& entry, std::ostream* out);
inline void PrintTo(JobState state, std::ostream* out) { *out << NameOf(state); }
inline void PrintTo(ErrorCode code, std::ostream* out) { *out << InfoOf(code).name; }

template <typename T>
void PrintTo(const Result<T>& result, std::ostream* out) {
  if (!result) {
    PrintTo(result.error(), out);
  } else {
    *out << "ok";
  }
}

namespace testing {

MATCHER(IsOk, negation ? "is an error" : "is ok") {
  return arg.has_value();
}

/// The result is an error of this code.
MATCHER_P(StatusIs, code, "is the error " + std::string(InfoOf(code).name)) {
  if (arg.has_value()) {
    *result_listener << "which is ok";
    return false;
  }
  return arg.error().code == code;
}

/// The result is an error of this code, and its message matches.
MATCHER_P2(StatusIs, code, message,
           "is the error " + std::string(InfoOf(code).name) + " with such a message") {
  if (arg.has_value()) {
    *result_listener << "which is ok";
    return false;
  }
  return arg.error().code == code &&
         ::testing::ExplainMatchResult(message, arg.error().message, result_listener);
}

/// The value of a result that a test takes for granted. Throws, which fails the test.
template <typename T>
T Must(Result<T> result) {
  if (!result) {
    throw std::runtime_error("unexpected error " + std::string(InfoOf(result.error().code).name) +
                             ": " + result.error().message);
  }
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

}  // namespace testing
}  // namespace holdfast
