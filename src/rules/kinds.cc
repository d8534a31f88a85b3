// Kinds: their rules, and how these change (REC-9); timed statuses that end.
#include <fmt/format.h>

#include "base/result.h"
#include "rules/edits.h"
#include "rules/jobs.h"
#include "rules/limits.h"
#include "rules/records.h"

namespace holdfast::rules {
namespace {

/// Who does what nobody asked for at that moment.
constexpr std::string_view kNobody = "holdfast";

Result<void> CheckProposal(const ApplyKind& op, const Proposal& proposal) {
  if (proposal.doubled > 0) {
    return Fail(ErrorCode::kRuleViolation,
                fmt::format("{} records of kind {} would share a unique key with another: nothing "
                            "was changed",
                            proposal.doubled, op.name),
                {.rule = "unique", .violations = proposal.violations});
  }
  if (proposal.broken > 0 && !op.force) {
    return Fail(ErrorCode::kRuleViolation,
                fmt::format("{} records of kind {} would break the new rules: nothing was changed",
                            proposal.broken, op.name),
                {.rule = "kind.apply", .violations = proposal.violations});
  }
  return {};
}

}  // namespace

Result<OperationOutcome> ApplyOperation(Rows& rows, const ApplyKind& op, const Origin& origin) {
  RecordRows& records = rows.records();
  KindRow& row = records.KindNamed(op.name);
  const std::int64_t present = row.kind ? row.kind->version : 0;
  if (op.version && *op.version != present) {
    return Fail(ErrorCode::kVersionMismatch,
                fmt::format("kind {} is at version {}, not {}", op.name, present, *op.version),
                {.expected = *op.version, .current = present});
  }
  auto found = records.proposals.find(static_cast<std::size_t>(records.current_operation));
  if (found == records.proposals.end()) {
    return OperationOutcome{.existing = true, .kind = &row};  // equal rules
  }
  const Proposal& proposal = found->second;
  HF_RETURN_IF_ERROR(CheckProposal(op, proposal));
  row.kind = Kind{.name = op.name,
                  .version = present + 1,
                  .rules = op.rules,
                  .updated_at = origin.now,
                  .updated_by = std::string(origin.actor)};
  row.rules = proposal.rules;
  row.is_changed = true;
  Json details = Json::object();
  if (op.force) details["forced"] = true;
  if (proposal.broken > 0) details["broken"] = proposal.broken;
  WriteAudit(rows, origin,
             {.operation = "kind.apply",
              .target = "kind/" + op.name,
              .old_version = present,
              .new_version = present + 1,
              .details = details.empty() ? std::string() : base::ToText(details)});
  return OperationOutcome{.kind = &row};
}

bool LapseIfDue(Rows& rows, RecordRow& row, const Origin& origin) {
  if (!row.record.expires_at || *row.record.expires_at > origin.now) return false;
  const KindRules* rules = rows.records().RulesOf(row.record.key.kind);
  Origin nobody = origin;
  nobody.actor = kNobody;
  const StateRules* state = rules == nullptr ? nullptr : rules->FindState(row.record.status);
  StoredRecord before = row.record;
  rows.records().MarkChanged(row);
  Result<void> lapsed = Fail(ErrorCode::kRuleViolation, "the rules have changed");
  if (state != nullptr && state->expire) {
    RecordChange change(rows, row, "record.expire", nobody);
    change.Note("to", state->expire->to);
    lapsed = [&]() -> Result<void> {
      HF_RETURN_IF_ERROR(change.MoveTo(state->expire->to, state->expire->data, false));
      HF_ASSIGN_OR_RETURN(change.data(),
                          ApplyMergePatch(std::move(change.data()), state->expire->data));
      return change.Finish();
    }();
  }
  if (lapsed) return true;
  row.record = std::move(before);
  row.record.expires_at.reset();
  WriteAudit(rows, nobody,
             {.operation = "record.expire",
              .target = ToString(row.record.key),
              .old_status = row.record.status,
              .new_status = row.record.status,
              .old_version = row.record.version,
              .new_version = row.record.version,
              .details = base::ToText({{"reason", lapsed.error().message}}),
              .error = InfoOf(lapsed.error().code).name});
  return true;
}

std::int64_t LapseDue(Rows& rows, const Origin& origin) {
  std::int64_t lapsed = 0;
  // Each is a change of its own: it touches its parent although another one did so before.
  int& operation = rows.records().current_operation;
  operation = kBeforeOperations;
  for (auto& [id, row] : rows.records().transfers()) {
    const Transfer& transfer = row.transfer;
    if (transfer.state != TransferState::kPending || !transfer.expires_at) continue;
    if (*transfer.expires_at > origin.now) continue;
    Origin nobody = origin;
    nobody.actor = kNobody;
    --operation;
    EndTransfer(rows, row, TransferState::kExpired, nobody);
    ++lapsed;
  }
  for (auto& [key, row] : rows.records().records()) {
    --operation;
    rows.records().effort = {};
    if (row.exists && LapseIfDue(rows, row, origin)) ++lapsed;
  }
  return lapsed;
}

}  // namespace holdfast::rules
