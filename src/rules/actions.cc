// Actions: groups of steps that a kind declares, applied as one change (REC-8).
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/check.h"
#include "base/json_values.h"
#include "base/result.h"
#include "base/text.h"
#include "base/utf8.h"
#include "rules/edits.h"
#include "rules/jobs.h"
#include "rules/limits.h"
#include "rules/records.h"

namespace holdfast::rules {
namespace {

bool Contains(const std::vector<std::string>& list, std::string_view name) {
  return std::ranges::find(list, name) != list.end();
}

bool ContainsText(const Json& list, std::string_view name) {
  return std::ranges::any_of(list, [&](const Json& entry) { return entry == name; });
}

/// What steps may refer to: the record as it was before the action, and what came with the call.
struct Setting {
  StoredRecord before;
  Json params;
  const Origin& origin;
};

/// `json` with every reference replaced by what it stands for (docs/rules.md).
Json ResolveParts(const Json& json, const Setting& setting) {
  if (json.is_array()) {
    Json out = Json::array();
    for (const Json& element : json) out.push_back(ResolveParts(element, setting));
    return out;
  }
  if (!json.is_object()) return json;
  if (json.size() == 1) {
    const std::string& name = json.begin().key();
    const Json& value = json.begin().value();
    if (name == "$param") {
      auto found = setting.params.find(value.get_ref<const std::string&>());
      return found == setting.params.end() ? Json() : *found;
    }
    if (name == "$negative") {
      Json number = ResolveParts(value, setting);
      if (number.is_number_float()) return -number.get<double>();
      // What is no number is refused where it is used; the least integer has no negative.
      if (!number.is_number_integer() || number == std::numeric_limits<std::int64_t>::min()) {
        return nullptr;
      }
      return -number.get<std::int64_t>();
    }
    if (name == "$actor") return std::string(setting.origin.actor);
    if (name == "$now") return base::FormatTime(setting.origin.now);
    if (name == "$id") return setting.before.key.id;
    if (name == "$status") return setting.before.status;
    if (name == "$old") {
      auto path = JsonPointer::Parse(value.get_ref<const std::string&>());
      const Json* old = path ? path->Find(setting.before.data) : nullptr;
      return old == nullptr ? Json() : *old;
    }
  }
  Json out = Json::object();
  for (const auto& [name, value] : json.items()) out[name] = ResolveParts(value, setting);
  return out;
}

Json Resolve(const Json& json, const Setting& setting, Effort& effort) {
  Json resolved = ResolveParts(json, setting);
  effort.Touch(resolved);
  return resolved;
}

bool ChildrenHold(const Json& condition, const StoredRecord& record) {
  std::int64_t all = 0;
  std::int64_t matching = 0;
  const std::string& which = condition.begin().key();
  for (const auto& [of, count] : record.children) {
    all += count;
    if (ContainsText(condition.begin().value(), of.second)) matching += count;
  }
  return which == "any" ? matching > 0 : all > 0 && matching == all;
}

/// Conditions were found to be well-formed when the rules were compiled.
bool Holds(const Json& condition, const StoredRecord& record) {
  if (auto status = condition.find("status"); status != condition.end()) {
    return ContainsText(*status, record.status);
  }
  if (auto children = condition.find("children"); children != condition.end()) {
    return ChildrenHold(*children, record);
  }
  if (auto at = condition.find("at"); at != condition.end()) {
    auto path = JsonPointer::Parse(at->get_ref<const std::string&>());
    const Json* value = path ? path->Find(record.data) : nullptr;
    return base::AreEqual(value == nullptr ? Json() : *value, condition["equals"]);
  }
  if (auto negated = condition.find("not"); negated != condition.end()) {
    return !Holds(*negated, record);
  }
  auto holds = [&](const Json& part) { return Holds(part, record); };
  if (auto parts = condition.find("and"); parts != condition.end()) {
    return std::ranges::all_of(*parts, holds);
  }
  return std::ranges::any_of(condition["or"], holds);
}

/// The parameters as the action gets them: checked, with defaults for those that were left out.
Result<Json> CompleteParams(const Action& action, Json params, Effort& effort) {
  auto invalid = [&](std::string message) {
    return Fail(ErrorCode::kInvalidArgument, fmt::format("action {}: {}", action.name, message));
  };
  if (!params.is_object()) return invalid("params must be an object");
  for (const auto& [name, value] : params.items()) {
    auto known = action.params.find(name);
    if (known == action.params.end()) {
      return invalid(fmt::format("it has no parameter '{}'", base::CutUtf8(name, kNameBytes)));
    }
    if (!known->second.schema) continue;
    auto complaint = known->second.schema->Check(value, effort);
    HF_RETURN_IF_ERROR(effort.Check());
    if (complaint) {
      return invalid(fmt::format("parameter {}: {}", name, *complaint));
    }
  }
  for (const auto& [name, parameter] : action.params) {
    if (params.contains(name)) continue;
    if (!parameter.otherwise) return invalid(fmt::format("parameter {} is missing", name));
    params[name] = *parameter.otherwise;
  }
  return params;
}

/// The fields of a step that enqueues, as a job to be.
JobSpec SpecOf(const Json& fields) {
  JobSpec spec;
  spec.kind = fields.value("kind", "");
  spec.queue = fields.value("queue", spec.queue);
  if (auto payload = fields.find("payload"); payload != fields.end()) {
    spec.payload = base::ToText(*payload);
  }
  spec.priority = fields.value("priority", spec.priority);
  spec.max_attempts = fields.value("max_attempts", spec.max_attempts);
  if (auto delay = fields.find("delay"); delay != fields.end()) {
    spec.delay = *base::ParseDuration(delay->get_ref<const std::string&>());
  }
  return spec;
}

/// The action under way: one change for each record that its steps touch.
class Performance {
 public:
  Performance(Rows& rows, const Action& action, Setting setting, const Origin& origin)
      : rows_(rows), action_(action), setting_(std::move(setting)), origin_(origin) {}

  /// Before any step: so that the record is known to be changed by this very operation.
  RecordChange& ChangeOf(RecordRow& row) {
    auto found = changes_.find(row.record.key);
    if (found != changes_.end()) return found->second;
    auto& change = changes_
                       .emplace(row.record.key,
                                RecordChange(rows_, row, "record.action", origin_, action_.name))
                       .first->second;
    if (row.record.key == setting_.before.key) {
      change.Note("params", setting_.params);
      change.NoteForHistory(setting_.params);
    } else {
      change.Note("of", ToString(setting_.before.key));
    }
    return change;
  }

  /// No condition is always met.
  bool IsMet(const Json& condition) const {
    return condition.is_null() ||
           Holds(Resolve(condition, setting_, rows_.records().effort), setting_.before);
  }

  Result<void> Perform(const Step& step) {
    if (!IsMet(step.condition)) return {};
    Effort& effort = rows_.records().effort;
    Json fields = Resolve(step.fields, setting_, effort);
    HF_RETURN_IF_ERROR(effort.Check());
    if (step.operation == "job.enqueue") return Enqueue(fields);
    HF_ASSIGN_OR_RETURN(std::vector<RecordRow*> subjects, SubjectsOf(step));
    const std::size_t weight = WeightOf(fields);
    for (RecordRow* row : subjects) {
      effort.Touch(weight);
      HF_RETURN_IF_ERROR(effort.Check());
      HF_RETURN_IF_ERROR(Edit(step, fields, ChangeOf(*row)));
    }
    return {};
  }

  /// What the steps left as it was is not changed by the action, and the record that it ran on is
  /// if anything is.
  Result<void> Finish() {
    RecordChange& self = changes_.at(setting_.before.key);
    RecordChange* parent = nullptr;
    std::vector<RecordChange*> others;
    for (auto& [key, change] : changes_) {
      if (&change == &self) continue;
      if (change.IsIdle()) {
        change.Drop();
      } else if (key == setting_.before.parent) {
        parent = &change;
      } else {
        others.push_back(&change);
      }
    }
    if (self.IsIdle() && others.empty() && parent == nullptr && !has_enqueued_) {
      self.Drop();
      return {};
    }
    // Children first: what their rules want to count or stamp in the parent finds it changed.
    for (RecordChange* change : others) HF_RETURN_IF_ERROR(change->Finish());
    HF_RETURN_IF_ERROR(self.Finish());
    return parent == nullptr ? Result<void>{} : parent->Finish();
  }

 private:
  Result<std::vector<RecordRow*>> SubjectsOf(const Step& step) {
    std::vector<RecordRow*> subjects;
    if (step.on == Subject::kSelf) {
      subjects.push_back(rows_.records().Find(setting_.before.key));
    } else if (step.on == Subject::kParent) {
      if (!setting_.before.parent) {
        return Fail(ErrorCode::kRuleViolation,
                    fmt::format("{} has no parent for {} to act on", ToString(setting_.before.key),
                                action_.name),
                    {.rule = "parent", .record = ToString(setting_.before.key)});
      }
      HF_ASSIGN_OR_RETURN(RecordRow * parent, FindRecord(rows_, *setting_.before.parent, origin_));
      subjects.push_back(parent);
    } else {
      rows_.records().effort.Spend(rows_.records().records().size());
      for (auto& [key, row] : rows_.records().records()) {
        if (IsSubject(step, row)) subjects.push_back(&row);
      }
    }
    return subjects;
  }

  /// A child that had one of the statuses before the action.
  bool IsSubject(const Step& step, const RecordRow& row) const {
    if (!row.exists || row.record.parent != setting_.before.key) return false;
    if (!step.child_kind.empty() && row.record.key.kind != step.child_kind) return false;
    auto before = statuses_before_.find(row.record.key);
    return Contains(step.children,
                    before == statuses_before_.end() ? row.record.status : before->second);
  }

  Result<void> Edit(const Step& step, const Json& fields, RecordChange& change) {
    if (step.operation == "record.transition") {
      statuses_before_.emplace(change.row().record.key, change.row().record.status);
      Json data = fields.value("data", Json::object());
      const Json& to = fields["to"];
      if (!to.is_string()) return Misfit(step, "to must be a string");
      HF_RETURN_IF_ERROR(change.MoveTo(to.get_ref<const std::string&>(), data, false));
      return Merge(change, data);
    }
    if (step.operation == "record.merge") return Merge(change, fields["data"]);
    HF_ASSIGN_OR_RETURN(JsonPointer path,
                        JsonPointer::Parse(fields["path"].get_ref<const std::string&>()));
    if (step.operation == "record.increment") {
      Json by = fields.value("by", Json(1));
      if (by.is_number_integer()) {
        return ApplyIncrement(change.data(), path, by.get<std::int64_t>());
      }
      if (by.is_number()) return ApplyIncrement(change.data(), path, by.get<double>());
      return Misfit(step, "by must be a number");
    }
    std::optional<std::int64_t> most;
    if (fields.contains("max_length")) most = fields["max_length"].get<std::int64_t>();
    return ApplyAppend(change.data(), path, fields["value"], most);
  }

  static Result<void> Merge(RecordChange& change, const Json& patch) {
    HF_ASSIGN_OR_RETURN(change.data(), ApplyMergePatch(std::move(change.data()), patch));
    return {};
  }

  Result<void> Misfit(const Step& step, std::string_view why) const {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("action {}, {}: {}", action_.name, step.operation, why));
  }

  Result<void> Enqueue(const Json& fields) {
    EnqueueJob op{SpecOf(fields)};
    if (op.spec.payload.size() > kPayloadBytes) {
      return Fail(ErrorCode::kPayloadTooLarge,
                  fmt::format("action {}: the payload of a job has {} bytes (at most {})",
                              action_.name, op.spec.payload.size(), kPayloadBytes));
    }
    HF_RETURN_IF_ERROR(ApplyOperation(rows_, op, origin_));
    has_enqueued_ = true;
    return {};
  }

  Rows& rows_;
  const Action& action_;
  const Setting setting_;
  const Origin& origin_;
  std::map<RecordKey, RecordChange> changes_;
  bool has_enqueued_ = false;
  std::map<RecordKey, std::string> statuses_before_;  // of those that a step has moved
};

/// Timed statuses of those that the action may look at or change, brought to their ends.
void LapseFamily(Rows& rows, RecordRow& self, const Origin& origin) {
  rows.records().effort.Spend(rows.records().records().size());
  for (auto& [key, row] : rows.records().records()) {
    bool is_family = row.record.parent == self.record.key || key == self.record.parent;
    if (row.exists && is_family) LapseIfDue(rows, row, origin);
  }
}

}  // namespace

Result<OperationOutcome> ApplyOperation(Rows& rows, const RunAction& op, const Origin& origin) {
  HF_ASSIGN_OR_RETURN(RecordRow * row, FindTarget(rows, op, origin));
  LapseFamily(rows, *row, origin);
  const KindRules& rules = *rows.records().RulesOf(op.kind);
  auto found = rules.actions.find(op.action);
  if (found == rules.actions.end()) {
    return Fail(ErrorCode::kInvalidArgument, fmt::format("kind {} has no action '{}'", op.kind,
                                                         base::CutUtf8(op.action, kNameBytes)));
  }
  const Action& action = found->second;
  if (!action.from.empty() && !Contains(action.from, row->record.status)) {
    return Fail(ErrorCode::kInvalidTransition,
                fmt::format("{} is {}: {} is for {}", ToString(row->record.key), row->record.status,
                            action.name, fmt::join(action.from, ", ")),
                {.record = ToString(row->record.key)});
  }
  auto index = static_cast<std::size_t>(rows.records().current_operation);
  HF_ASSIGN_OR_RETURN(
      Json params,
      CompleteParams(action, std::move(rows.records().arguments[index]), rows.records().effort));
  rows.records().effort.Touch(row->record.text.size());  // the steps see it as it was
  Performance performance(rows, action, {row->record, std::move(params), origin}, origin);
  if (!performance.IsMet(action.require)) {
    return Fail(ErrorCode::kRuleViolation,
                fmt::format("{}: what {} requires is not so: {}", ToString(row->record.key),
                            action.name, base::ToText(action.require)),
                {.rule = "require", .record = ToString(row->record.key)});
  }
  performance.ChangeOf(*row);
  for (const Step& step : action.steps) HF_RETURN_IF_ERROR(performance.Perform(step));
  HF_RETURN_IF_ERROR(performance.Finish());
  return OperationOutcome{.record = row};
}

}  // namespace holdfast::rules
