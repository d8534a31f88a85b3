#include "lab/race_scenario.h"

#include <fmt/format.h>

#include "base/result.h"

namespace holdfast::lab {

Result<RaceScenario::Seen> RaceScenario::Look(const Context& context, const RecordKey& key) {
  HF_ASSIGN_OR_RETURN(std::optional<Record> record, store().GetRecord(context, key));
  if (!record) {
    return Fail(ErrorCode::kNotFound, fmt::format("record {} of this race is gone", ToString(key)));
  }
  HF_ASSIGN_OR_RETURN(base::Json data, base::ParseJson("data", record->data));
  return Seen{*std::move(record), std::move(data)};
}

Result<void> RaceScenario::Declare(const std::string& kind, const std::string& rules) {
  HF_RETURN_IF_ERROR(store().Apply(context(), {.name = kind, .rules = rules}));
  return {};
}

Result<void> RaceScenario::Make(const RecordKey& key, const std::string& data,
                                std::optional<RecordKey> parent) {
  HF_RETURN_IF_ERROR(store().Create(
      context(), {.kind = key.kind, .id = key.id, .data = data, .parent = std::move(parent)}));
  return {};
}

Result<void> RaceScenario::Remove(const RecordKey& key) {
  Result<void> removed = store().Delete(context().ForCleanUp(), DeleteRecord{{key.kind, key.id}});
  if (!removed && removed.error().code == ErrorCode::kNotFound) return {};
  return removed;
}

}  // namespace holdfast::lab
