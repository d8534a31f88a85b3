#include "rules/effort.h"

#include <fmt/format.h>

#include "base/mutant.h"
#include "base/result.h"
#include "rules/limits.h"

namespace holdfast::rules {

void Effort::Touch(const base::Json& value) {
  Touch(WeightOf(value));
}

bool Effort::IsSpent() const {
  if (HF_MUTANT(effort_unbounded)) return false;
  return steps_ > kEffortSteps || bytes_ > kEffortBytes;
}

Result<void> Effort::Check() const {
  if (!IsSpent()) return {};
  if (bytes_ > kEffortBytes) {
    return Fail(ErrorCode::kPayloadTooLarge,
                fmt::format("the batch would read, write and copy more than {} bytes of records: "
                            "make it smaller",
                            kEffortBytes));
  }
  return Fail(ErrorCode::kPayloadTooLarge,
              fmt::format("the batch would take more than {} steps of checking and editing: make "
                          "it, or what it changes, smaller",
                          kEffortSteps));
}

std::size_t WeightOf(const base::Json& value) {
  std::size_t weight = 8;
  if (value.is_string()) weight += value.get_ref<const std::string&>().size();
  if (value.is_array()) {
    for (const base::Json& element : value) weight += WeightOf(element);
  } else if (value.is_object()) {
    for (const auto& [name, member] : value.items()) weight += name.size() + WeightOf(member);
  }
  return weight;
}

}  // namespace holdfast::rules
