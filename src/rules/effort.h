// The budget of one commit: how much work its rules may take, so that no batch holds up the others
// behind it. Counted where the work is done and never by a clock: a batch is refused or not alike
// on every engine and machine.
//
// Two counts. A step is a small piece of checking, 20 ns or so: a value looked at by a schema, an
// element of an array that an insertion moves. Bytes are those of records that are read and
// written, and of values that are copied. docs/limits.md lists what costs what.
#pragma once

#include "base/json.h"

namespace holdfast::rules {

/// Of one batch at a time. Work that cannot fail is only counted; the next Check refuses the batch.
class Effort {
 public:
  void Spend(std::size_t steps) { steps_ += steps; }
  void Touch(std::size_t bytes) { bytes_ += bytes; }
  /// A value is copied, moved or compared as a whole.
  void Touch(const base::Json& value);

  bool IsSpent() const;
  /// Errors: payload_too_large, with the figure and the limit.
  Result<void> Check() const;

 private:
  std::size_t steps_ = 0;
  std::size_t bytes_ = 0;
};

/// About how many bytes the value takes as text.
std::size_t WeightOf(const base::Json& value);

}  // namespace holdfast::rules
