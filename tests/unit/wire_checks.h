// What the tests of the JSON shapes share: times, texts of batches, and why a text was refused.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "wire/encode.h"

namespace holdfast::wire {

inline Time At(std::int64_t us) {
  return Time(Duration(1'767'225'600'000'000 + us));
}

inline std::string TextOf(const Batch& batch) {
  return ToText(WriteBatch, batch);
}

template <typename T>
std::string MessageOf(const Result<T>& result) {
  if (result) return "(no error)";
  EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
  return result.error().message;
}

}  // namespace holdfast::wire
