// Records: create, edit, transition, delete, and the guards on them. Actions are in actions.cc,
// transfers in transfers.cc, kinds in kinds.cc.
#include "rules/records.h"

#include <fmt/format.h>

#include "base/json_values.h"
#include "base/mutant.h"
#include "base/result.h"
#include "rules/edits.h"
#include "rules/limits.h"

namespace holdfast::rules {
namespace {

std::unexpected<Error> NotFound(const RecordKey& key) {
  return Fail(ErrorCode::kNotFound, fmt::format("record {} does not exist", ToString(key)),
              {.record = ToString(key)});
}

Result<void> CheckDeclared(Rows& rows, const std::string& kind) {
  if (rows.records().RulesOf(kind) != nullptr) return {};
  return Fail(ErrorCode::kNotFound,
              fmt::format("kind {} is not declared: apply its rules first (kind.apply)", kind));
}

Result<void> CheckVersion(const StoredRecord& record, std::int64_t expected) {
  if (record.version == expected || HF_MUTANT(version_unchecked)) return {};
  return Fail(
      ErrorCode::kVersionMismatch,
      fmt::format("{} is at version {}, not {}", ToString(record.key), record.version, expected),
      {.expected = expected, .current = record.version, .record = ToString(record.key)});
}

/// The JSON that came with the operation at hand, parsed before the rules ran.
Json& Argument(Rows& rows) {
  RecordRows& records = rows.records();
  return records.arguments[static_cast<std::size_t>(records.current_operation)];
}

/// An edit of the data: `edit` does it to the record's data.
template <typename Edit>
Result<OperationOutcome> EditData(Rows& rows, const RecordTarget& target,
                                  std::string_view operation, const Origin& origin, Edit edit) {
  HF_ASSIGN_OR_RETURN(RecordRow * row, FindTarget(rows, target, origin));
  RecordChange change(rows, *row, operation, origin);
  if (Result<void> edited = edit(change); !edited) {
    Error error = std::move(edited).error();
    error.message = fmt::format("{}: {}", ToString(row->record.key), error.message);
    error.detail.record = ToString(row->record.key);
    return std::unexpected(std::move(error));
  }
  HF_RETURN_IF_ERROR(change.FinishEdit());
  return OperationOutcome{.record = row};
}

Result<void> CheckParent(Rows& rows, const KindRules& rules, const CreateRecord& op,
                         const RecordKey& key, const Origin& origin) {
  auto violated = [&](std::string message) {
    return Fail(ErrorCode::kRuleViolation, fmt::format("{}: {}", ToString(key), message),
                {.rule = "parent", .record = ToString(key)});
  };
  if (!op.parent) {
    if (!rules.parent || !rules.parent->required) return {};
    return violated(fmt::format("it needs a parent of kind {}", rules.parent->kind));
  }
  if (!rules.parent) return violated(fmt::format("kind {} takes no parent", rules.kind));
  if (op.parent->kind != rules.parent->kind) {
    return violated(
        fmt::format("its parent must be of kind {}, not {}", rules.parent->kind, op.parent->kind));
  }
  if (*op.parent == key) return violated("it cannot be its own parent");
  HF_ASSIGN_OR_RETURN(RecordRow * parent, FindRecord(rows, *op.parent, origin));
  if (op.force) return {};
  for (const auto& [path, wanted] : rules.parent->when) {
    const Json* value = path.Find(parent->record.data);
    if (value == nullptr || !base::AreEqual(*value, wanted)) {
      return violated(fmt::format("{} of {} must be {}", path.text(), ToString(*op.parent),
                                  base::ToText(wanted)));
    }
  }
  return {};
}

Result<std::string> InitialStatus(const KindRules& rules, const CreateRecord& op,
                                  const RecordKey& key) {
  if (op.status.empty()) return rules.HasStates() ? rules.initial.front() : std::string();
  auto invalid = [&](std::string message) {
    return Fail(ErrorCode::kInvalidTransition, fmt::format("{}: {}", ToString(key), message),
                {.record = ToString(key)});
  };
  if (!rules.HasStates()) return invalid(fmt::format("kind {} has no states", rules.kind));
  if (rules.FindState(op.status) == nullptr) {
    return invalid(fmt::format("'{}' is not a state of kind {}", op.status, rules.kind));
  }
  bool is_initial = std::ranges::find(rules.initial, op.status) != rules.initial.end();
  if (!is_initial && !op.force) {
    return invalid(fmt::format("it cannot begin as {} (but as {})", op.status,
                               fmt::join(rules.initial, ", ")));
  }
  return op.status;
}

/// The id that was found to be free when the rows were loaded.
const std::string& NewId(Rows& rows) {
  RecordRows& records = rows.records();
  return records.new_ids[static_cast<std::size_t>(records.current_operation)];
}

}  // namespace

Result<RecordRow*> FindRecord(Rows& rows, const RecordKey& key, const Origin& origin) {
  HF_RETURN_IF_ERROR(CheckDeclared(rows, key.kind));
  RecordRow* row = rows.records().Find(key);
  if (row == nullptr) return NotFound(key);
  LapseIfDue(rows, *row, origin);
  return row;
}

Result<RecordRow*> FindTarget(Rows& rows, const RecordTarget& target, const Origin& origin) {
  HF_ASSIGN_OR_RETURN(RecordRow * row, FindRecord(rows, {target.kind, target.id}, origin));
  if (target.version) HF_RETURN_IF_ERROR(CheckVersion(row->record, *target.version));
  if (target.parent && row->record.parent != target.parent) {
    return Fail(
        ErrorCode::kRuleViolation,
        fmt::format("{} is not a child of {}", ToString(row->record.key), ToString(*target.parent)),
        {.rule = "parent", .record = ToString(row->record.key)});
  }
  return row;
}

Result<void> CheckGuard(Rows& rows, const VersionGuard& guard, const Origin& origin) {
  HF_ASSIGN_OR_RETURN(RecordRow * row, FindRecord(rows, guard.record, origin));
  return CheckVersion(row->record, guard.version);
}

Result<void> CheckGuard(Rows& rows, const AbsentGuard& guard, const Origin&) {
  if (rows.records().Find(guard.record) == nullptr) return {};
  return Fail(ErrorCode::kAlreadyExists, fmt::format("record {} exists", ToString(guard.record)),
              {.record = ToString(guard.record)});
}

Result<void> CheckGuard(Rows& rows, const FenceGuard& guard, const Origin& origin) {
  HF_ASSIGN_OR_RETURN(RecordRow * row, FindRecord(rows, guard.record, origin));
  if (guard.token < row->record.fence && !HF_MUTANT(fence_goes_back)) {
    return Fail(ErrorCode::kFenced,
                fmt::format("record {} has seen token {}, newer than {}; stop the work",
                            ToString(guard.record), row->record.fence, guard.token),
                {.record = ToString(guard.record)});
  }
  if (guard.token == row->record.fence) return {};
  rows.records().MarkChanged(*row);  // the fence is beside the data: the version stays
  row->record.fence = guard.token;
  return {};
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const CreateRecord& op, const Origin& origin) {
  HF_RETURN_IF_ERROR(CheckDeclared(rows, op.kind));
  const KindRules& rules = *rows.records().RulesOf(op.kind);
  RecordKey key{op.kind, op.id.empty() ? NewId(rows) : op.id};
  if (const RecordRow* taken = rows.records().Find(key)) {
    if (taken->existed) {
      return Fail(ErrorCode::kAlreadyExists, fmt::format("record {} exists", ToString(key)),
                  {.record = ToString(key)});
    }
    return Fail(ErrorCode::kAlreadyExists,
                fmt::format("the batch creates record {} twice", ToString(key)));
  }
  HF_RETURN_IF_ERROR(CheckParent(rows, rules, op, key, origin));
  HF_ASSIGN_OR_RETURN(std::string status, InitialStatus(rules, op, key));
  RecordRow& row = rows.records().RowFor(key);
  row.record = StoredRecord{.key = key, .parent = op.parent};
  RecordChange change(rows, row, "record.create", origin);
  change.data() = std::move(Argument(rows));
  row.record.status = std::move(status);
  SetExpiry(rows, rules, row.record, origin.now);
  if (op.force) {
    change.Force();
    change.Note("forced", true);
  }
  HF_RETURN_IF_ERROR(change.Finish());
  return OperationOutcome{.record = &row};
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const ReplaceRecord& op, const Origin& origin) {
  return EditData(rows, op, "record.replace", origin, [&](RecordChange& change) -> Result<void> {
    change.data() = std::move(Argument(rows));
    return {};
  });
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const MergeRecord& op, const Origin& origin) {
  return EditData(rows, op, "record.merge", origin, [&](RecordChange& change) -> Result<void> {
    HF_ASSIGN_OR_RETURN(change.data(), ApplyMergePatch(std::move(change.data()), Argument(rows)));
    return {};
  });
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const PatchRecord& op, const Origin& origin) {
  return EditData(rows, op, "record.patch", origin, [&](RecordChange& change) -> Result<void> {
    HF_ASSIGN_OR_RETURN(change.data(), ApplyJsonPatch(std::move(change.data()), Argument(rows),
                                                      rows.records().effort));
    return {};
  });
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const IncrementRecord& op,
                                        const Origin& origin) {
  HF_ASSIGN_OR_RETURN(JsonPointer path, JsonPointer::Parse(op.path));
  return EditData(rows, op, "record.increment", origin, [&](RecordChange& change) {
    change.Note("path", op.path, true);
    std::visit([&](auto by) { change.Note("by", by, true); }, op.by);
    return ApplyIncrement(change.data(), path, op.by);
  });
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const AppendRecord& op, const Origin& origin) {
  HF_ASSIGN_OR_RETURN(JsonPointer path, JsonPointer::Parse(op.path));
  return EditData(rows, op, "record.append", origin, [&](RecordChange& change) {
    change.Note("path", op.path, true);
    return ApplyAppend(change.data(), path, std::move(Argument(rows)), op.max_length);
  });
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const TransitionRecord& op,
                                        const Origin& origin) {
  HF_ASSIGN_OR_RETURN(RecordRow * row, FindTarget(rows, op, origin));
  const KindRules& rules = *rows.records().RulesOf(op.kind);
  if (!op.force && rules.ignores_same && row->record.status == op.to) {
    return OperationOutcome{.record = row};  // there already: nothing changes (REC-4)
  }
  RecordChange change(rows, *row, "record.transition", origin);
  const Json& data = Argument(rows);
  HF_RETURN_IF_ERROR(change.MoveTo(op.to, data, op.force));
  HF_ASSIGN_OR_RETURN(change.data(), ApplyMergePatch(std::move(change.data()), data));
  change.Note("to", op.to, true);
  if (!data.empty()) change.Note("data", data, true);
  HF_RETURN_IF_ERROR(change.Finish());
  return OperationOutcome{.record = row};
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const DeleteRecord& op, const Origin& origin) {
  HF_ASSIGN_OR_RETURN(RecordRow * row, FindTarget(rows, op, origin));
  StoredRecord& record = row->record;
  auto kept = [&](std::string rule, std::string_view why) {
    return Fail(ErrorCode::kRuleViolation,
                fmt::format("{} cannot be deleted: it has {}", ToString(record.key), why),
                {.rule = std::move(rule), .record = ToString(record.key)});
  };
  if (!record.children.empty()) return kept("parent", "children");
  if (!record.reserved.empty()) return kept("transfer", "pending transfers");
  const KindRules& rules = *rows.records().RulesOf(op.kind);
  rows.records().MarkChanged(*row);
  HF_RETURN_IF_ERROR(CountInParent(rows, rules, record, record.status, std::nullopt, false));
  row->exists = false;
  row->is_written = true;
  row->operation = rows.records().current_operation;
  AuditRecord(rows, origin, "record.delete", record, record.status, record.version, 0,
              Json::object());
  TouchParent(rows, rules, record, origin);
  return OperationOutcome{};
}

}  // namespace holdfast::rules
