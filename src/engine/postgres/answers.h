// The answers of one round trip, taken in the order in which their statements were queued.
#pragma once

#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/postgres/values.h"

namespace holdfast::engine::postgres {

class Answers {
 public:
  explicit Answers(std::vector<Answer> answers) : answers_(std::move(answers)) {}

  Answer Next() {
    HF_CHECK(next_ < answers_.size());
    return std::move(answers_[next_++]);
  }

 private:
  std::vector<Answer> answers_;
  std::size_t next_ = 0;
};

}  // namespace holdfast::engine::postgres
