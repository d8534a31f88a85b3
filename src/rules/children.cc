// Parents and their children: counts, capacity (REC-5), touching (REC-6).
#include <fmt/format.h>

#include <algorithm>

#include "base/mutant.h"
#include "base/result.h"
#include "rules/record_change.h"

namespace holdfast::rules {
namespace {

bool Counts(const CapacityRule& rule, const std::optional<std::string>& status) {
  return status && std::ranges::find(rule.statuses, *status) != rule.statuses.end();
}

std::int64_t CountOf(const StoredRecord& parent, const std::string& kind,
                     const CapacityRule& rule) {
  std::int64_t count = 0;
  for (const std::string& status : rule.statuses) {
    auto found = parent.children.find({kind, status});
    if (found != parent.children.end()) count += found->second;
  }
  return count;
}

/// One more child wants to be counted by this rule.
Result<void> CheckCapacity(const CapacityRule& rule, const StoredRecord& parent,
                           const StoredRecord& child) {
  const Json* limit = rule.limit.Find(parent.data);
  if (limit == nullptr || limit->is_null()) return {};
  const std::string name = "capacity " + rule.limit.text();
  if (!limit->is_number_integer()) {
    return Fail(ErrorCode::kRuleViolation,
                fmt::format("{}: {} is {}, not an integer or null", ToString(parent.key),
                            rule.limit.text(), base::TypeName(*limit)),
                {.rule = name, .record = ToString(parent.key)});
  }
  const std::int64_t places = std::max<std::int64_t>(limit->get<std::int64_t>(), 0);
  const std::int64_t taken = CountOf(parent, child.key.kind, rule);
  if (taken < places + HF_MUTANT(capacity_one_more)) return {};
  return Fail(ErrorCode::kCapacityFull,
              fmt::format("{} is full: {} of {} places of {} are taken ({})", ToString(parent.key),
                          taken, places, rule.limit.text(), fmt::join(rule.statuses, ", ")),
              {.rule = name, .record = ToString(parent.key)});
}

Result<void> Add(StoredRecord& parent, const std::string& kind, const std::string& status,
                 std::int64_t count) {
  auto place = parent.children.try_emplace({kind, status}, 0).first;
  place->second += count;
  if (place->second < 0) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("{} counts less than no children of {}", ToString(parent.key), kind));
  }
  if (place->second == 0) parent.children.erase(place);
  return {};
}

}  // namespace

Result<void> CountInParent(Rows& rows, const KindRules& rules, const StoredRecord& child,
                           const std::optional<std::string>& from,
                           const std::optional<std::string>& to, bool is_forced) {
  if (!child.parent || from == to) return {};
  RecordRow* row = rows.records().Find(*child.parent);
  if (row == nullptr) return {};  // deleted by force of an older version of the rules
  StoredRecord& parent = row->record;
  for (const CapacityRule& rule : rules.capacity) {
    if (is_forced || Counts(rule, from) || !Counts(rule, to)) continue;
    HF_RETURN_IF_ERROR(CheckCapacity(rule, parent, child));
  }
  rows.records().MarkChanged(*row);  // the counts are beside the data: the version stays
  if (from) HF_RETURN_IF_ERROR(Add(parent, child.key.kind, *from, -1));
  if (to) HF_RETURN_IF_ERROR(Add(parent, child.key.kind, *to, +1));
  return {};
}

void TouchParent(Rows& rows, const KindRules& rules, const StoredRecord& child,
                 const Origin& origin) {
  if (!child.parent || !rules.parent || !rules.parent->touch) return;
  RecordRow* row = rows.records().Find(*child.parent);
  // What this very operation has changed is stamped already, or is going to be.
  if (row == nullptr || row->operation == rows.records().current_operation) return;
  const KindRules* parent_rules = rows.records().RulesOf(child.parent->kind);
  if (parent_rules == nullptr) return;
  rows.records().MarkChanged(*row);
  row->is_written = true;
  row->operation = rows.records().current_operation;
  StoredRecord& parent = row->record;
  ++parent.version;
  parent.updated_at = origin.now;
  parent.updated_by = origin.actor;
  AuditRecord(rows, origin, "record.touch", parent, parent.status, parent.version - 1,
              parent.version, {{"child", ToString(child.key)}});
}

}  // namespace holdfast::rules
