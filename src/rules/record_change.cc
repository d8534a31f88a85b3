#include "rules/record_change.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/json_values.h"
#include "base/mutant.h"
#include "base/result.h"
#include "base/text.h"
#include "base/utf8.h"
#include "rules/jobs.h"
#include "rules/limits.h"

namespace holdfast::rules {
namespace {

constexpr std::size_t kChangeSteps = 100;  // a change of a record, beside what is counted for it

bool IsIn(const std::vector<std::string>& list, std::string_view name) {
  return std::ranges::find(list, name) != list.end();
}

Json ValueAt(const JsonPointer& path, const Json& data) {
  const Json* value = path.Find(data);
  return value == nullptr ? Json() : *value;
}

std::unexpected<Error> Violated(const RecordKey& key, std::string rule, std::string_view message) {
  return Fail(ErrorCode::kRuleViolation, fmt::format("{}: {}", ToString(key), message),
              {.rule = std::move(rule), .record = ToString(key)});
}

}  // namespace

RecordChange::RecordChange(Rows& rows, RecordRow& row, std::string_view operation,
                           const Origin& origin, std::string_view action)
    : rows_(&rows),
      row_(&row),
      origin_(&origin),
      rules_(rows.records().RulesOf(row.record.key.kind)),
      operation_(operation),
      action_(action),
      is_new_(!row.exists),
      was_changed_(row.is_changed),
      was_written_(row.is_written),
      operation_before_(row.operation),
      old_status_(row.record.status),
      old_version_(row.record.version) {
  HF_CHECK(rules_ != nullptr);
  rows.records().MarkChanged(row);
  row.exists = true;
  row.is_written = true;
  row.operation = rows.records().current_operation;
  for (const JsonPointer& path : rules_->audit) {
    old_values_.push_back(ValueAt(path, row.record.data));
    rows.records().effort.Touch(old_values_.back());
  }
  if (!action_.empty()) details_["action"] = action_;
}

void RecordChange::Note(std::string_view name, Json value, bool in_history) {
  if (in_history) history_[std::string(name)] = value;
  details_[std::string(name)] = std::move(value);
}

Result<bool> RecordChange::MoveTo(const std::string& status, const Json& data, bool force) {
  StoredRecord& record = row_->record;
  const std::string name = ToString(record.key);
  auto cannot = [&](std::string message) {
    return Fail(ErrorCode::kInvalidTransition, std::move(message), {.record = name});
  };
  if (!rules_->HasStates()) {
    return cannot(fmt::format("{}: kind {} has no states", name, rules_->kind));
  }
  const StateRules* target = rules_->FindState(status);
  if (target == nullptr) {
    return cannot(fmt::format("{}: '{}' is not a state of kind {}", name,
                              base::CutUtf8(status, kNameBytes), rules_->kind));
  }
  if (force) {
    is_forced_ = true;
    Note("forced", true);
  } else {
    if (status == record.status && rules_->ignores_same) return false;
    const StateRules* present = rules_->FindState(record.status);
    if (present == nullptr) {
      return cannot(fmt::format("{} has the unknown status '{}'", name, record.status));
    }
    if (!IsIn(present->to, status)) {
      return cannot(fmt::format("{} is {}: it cannot become {} ({})", name, record.status, status,
                                present->to.empty()
                                    ? "this status is final"
                                    : fmt::format("but {}", fmt::join(present->to, ", "))));
    }
    for (const JsonPointer& path : target->require) {
      const Json* value = path.Find(data);
      bool is_there = value != nullptr && !value->is_null() && *value != "";
      if (!is_there) {
        return Violated(record.key, "require " + path.text(),
                        fmt::format("to become {} it needs {}", status, path.text()));
      }
    }
  }
  is_moved_ = true;
  record.status = status;
  SetExpiry(*rows_, *rules_, record, origin_->now);
  return true;
}

Result<void> RecordChange::Finish() {
  StoredRecord& record = row_->record;
  AddHistory();
  HF_RETURN_IF_ERROR(CheckAll());
  std::optional<std::string> before;
  if (!is_new_) before = old_status_;
  HF_RETURN_IF_ERROR(CountInParent(*rows_, *rules_, record, before, record.status, is_forced_));
  Stamp();
  return {};
}

bool RecordChange::IsIdle() {
  if (is_new_ || is_moved_ || HF_MUTANT(idle_edit_counts)) return false;
  // An action that the history tells of has happened, whatever its steps did.
  if (!action_.empty() && GoesToHistory()) return false;
  const std::string& text = Text();
  return text == row_->record.text;
}

const std::string& RecordChange::Text() {
  if (!text_) {
    text_ = base::ToText(data());
    rows_->records().effort.Touch(text_->size());
  }
  return *text_;
}

void RecordChange::Drop() {
  row_->is_changed = was_changed_;
  row_->is_written = was_written_;
  row_->operation = operation_before_;
}

Result<void> RecordChange::FinishEdit() {
  if (!IsIdle()) return Finish();
  Drop();
  return {};
}

void RecordChange::FinishWithoutRules() {
  Stamp();
}

void RecordChange::Stamp() {
  StoredRecord& record = row_->record;
  record.version = is_new_ ? 1 : old_version_ + !HF_MUTANT(version_stays);
  record.updated_at = origin_->now;
  record.updated_by = origin_->actor;
  if (is_new_) record.created_at = origin_->now;
  AuditRecord(*rows_, *origin_, operation_, record, is_new_ ? "" : old_status_,
              is_new_ ? 0 : old_version_, record.version, AuditDetails());
  TouchParent(*rows_, *rules_, record, *origin_);
}

bool RecordChange::GoesToHistory() const {
  return rules_->history && IsIn(rules_->history->on, action_.empty() ? operation_ : action_);
}

void RecordChange::AddHistory() {
  if (!GoesToHistory()) return;
  const HistoryRule& history = *rules_->history;
  text_.reset();
  Json* entries = history.path.Find(data());
  if (entries == nullptr) {
    // If it cannot be put there, the schema check below has something to say about it.
    if (!history.path.Put(data(), Json::array())) return;
    entries = history.path.Find(data());
  }
  if (!entries->is_array()) return;
  entries->push_back({{"when", base::FormatTime(origin_->now)},
                      {"who", std::string(origin_->actor)},
                      {"action", action_.empty() ? operation_ : action_},
                      {"details", history_},
                      {"previous_status", old_status_.empty() ? Json() : Json(old_status_)}});
  if (entries->size() > history.cap) {
    auto surplus = static_cast<std::ptrdiff_t>(entries->size() - history.cap);
    entries->erase(entries->begin(), entries->begin() + surplus);
  }
}

Result<void> RecordChange::CheckAll() {
  StoredRecord& record = row_->record;
  if (!record.data.is_object()) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: data must be an object, not {}", ToString(record.key),
                            base::TypeName(record.data)));
  }
  if (base::DepthOf(record.data) > base::kJsonDepth) {
    return Fail(ErrorCode::kInvalidArgument, fmt::format("{}: data would be nested over {} deep",
                                                         ToString(record.key), base::kJsonDepth));
  }
  if (rules_->history) {
    const Json* entries = rules_->history->path.Find(record.data);
    if (entries != nullptr && !entries->is_array()) {
      return Violated(record.key, "history",
                      fmt::format("{} must be an array", rules_->history->path.text()));
    }
  }
  Effort& effort = rows_->records().effort;
  effort.Spend(kChangeSteps);
  auto violation = CheckData(*rules_, record.data, record.reserved, effort);
  HF_RETURN_IF_ERROR(effort.Check());  // then the data may well obey
  if (violation) {
    return Violated(record.key, std::move(violation->rule), violation->message);
  }
  for (const auto& [rule, key] : UniqueKeysOf(*rules_, record)) {
    effort.Touch(key.size());
    if (key.size() <= kRecordKeyBytes) continue;
    return Violated(
        record.key, "unique " + rule,
        fmt::format("the key {} has {} bytes (at most {})", rule, key.size(), kRecordKeyBytes));
  }
  Text();
  record.text = *std::move(text_);
  text_.reset();
  if (record.text.size() > kDataBytes) {
    return Fail(ErrorCode::kPayloadTooLarge,
                fmt::format("{}: data would have {} bytes (at most {})", ToString(record.key),
                            record.text.size(), kDataBytes));
  }
  return {};
}

Json RecordChange::AuditDetails() {
  for (std::size_t i = 0; i < rules_->audit.size(); ++i) {
    Json now = ValueAt(rules_->audit[i], row_->record.data);
    rows_->records().effort.Touch(now);
    if (base::AreEqual(now, old_values_[i])) continue;
    details_["changed"][rules_->audit[i].text()] = {{"old", old_values_[i]}, {"new", now}};
  }
  return details_;
}

void AuditRecord(Rows& rows, const Origin& origin, std::string_view operation,
                 const StoredRecord& record, std::string_view old_status, std::int64_t old_version,
                 std::int64_t new_version, const Json& details) {
  std::string text = details.empty() ? std::string() : base::ToText(details);
  // An entry is a trace, not a copy: what is too long for it is in the record.
  if (text.size() > kDetailsBytes) text = R"({"truncated":true})";
  WriteAudit(rows, origin,
             {.operation = operation,
              .target = ToString(record.key),
              .old_status = old_status,
              .new_status = new_version == 0 ? std::string_view() : record.status,
              .old_version = old_version,
              .new_version = new_version,
              .details = std::move(text)});
}

void SetExpiry(Rows& rows, const KindRules& rules, StoredRecord& record, Time now) {
  record.expires_at.reset();
  const StateRules* state = rules.FindState(record.status);
  if (state == nullptr || !state->expire) return;
  record.expires_at = now + state->expire->after;
  rows.NoteDue(*record.expires_at);
}

}  // namespace holdfast::rules
