// Transfers: an amount moves between two records' numbers, at once or in two steps (REC-7).
#include <fmt/format.h>

#include "base/check.h"
#include "base/mutant.h"
#include "base/result.h"
#include "rules/edits.h"
#include "rules/records.h"

namespace holdfast::rules {
namespace {

/// Both records, the first of them with what is left of its number once `amount` is gone.
struct Parties {
  RecordRow* from;
  RecordRow* to;
  JsonPointer path;
};

Result<Parties> FindParties(Rows& rows, const Transfer& transfer, const Origin& origin) {
  HF_ASSIGN_OR_RETURN(JsonPointer path, JsonPointer::Parse(transfer.path));
  HF_ASSIGN_OR_RETURN(RecordRow * from, FindRecord(rows, transfer.from, origin));
  HF_ASSIGN_OR_RETURN(RecordRow * to, FindRecord(rows, transfer.to, origin));
  for (const RecordRow* row : {from, to}) {
    Result<std::int64_t> number = IntegerAt(row->record.data, path);
    if (!number) {
      Error error = std::move(number).error();
      error.message = fmt::format("{}: {}", ToString(row->record.key), error.message);
      return std::unexpected(std::move(error));
    }
  }
  return Parties{from, to, std::move(path)};
}

void NoteTransfer(RecordChange& change, const Transfer& transfer, std::int64_t amount) {
  const bool is_giver = change.row().record.key == transfer.from;
  change.Note("transfer", fmt::to_string(transfer.id));
  change.Note(is_giver ? "to" : "from", ToString(is_giver ? transfer.to : transfer.from));
  change.Note("path", transfer.path);
  change.Note("amount", amount);
}

/// Takes `amount` from one and gives it to the other, and lets `reserved` of it go.
Result<void> MoveAmount(Rows& rows, const Parties& parties, const Transfer& transfer,
                        std::string_view operation, std::int64_t amount, const Origin& origin) {
  RecordChange giver(rows, *parties.from, operation, origin);
  NoteTransfer(giver, transfer, amount);
  HF_RETURN_IF_ERROR(ApplyIncrement(giver.data(), parties.path, -amount));
  RecordChange taker(rows, *parties.to, operation, origin);
  NoteTransfer(taker, transfer, amount);
  const std::int64_t given = HF_MUTANT(part_posted_whole) ? transfer.amount : amount;
  HF_RETURN_IF_ERROR(ApplyIncrement(taker.data(), parties.path, given));
  HF_RETURN_IF_ERROR(giver.Finish());
  return taker.Finish();
}

void Unreserve(StoredRecord& record, const Transfer& transfer) {
  auto reserved = record.reserved.find(transfer.path);
  HF_CHECK(reserved != record.reserved.end() && reserved->second >= transfer.amount);
  reserved->second -= transfer.amount;
  if (reserved->second == 0) record.reserved.erase(reserved);
}

/// The pending transfer. Errors: not_found, invalid_transition.
Result<TransferRow*> FindPending(Rows& rows, TransferId id, const Origin& origin) {
  TransferRow* row = rows.records().FindTransfer(id);
  if (row == nullptr) {
    return Fail(ErrorCode::kNotFound, fmt::format("transfer {} does not exist", id), {.id = id});
  }
  const Transfer& transfer = row->transfer;
  if (transfer.state != TransferState::kPending) {
    return Fail(ErrorCode::kInvalidTransition,
                fmt::format("transfer {} is already {}", id, NameOf(transfer.state)), {.id = id});
  }
  if (transfer.expires_at && *transfer.expires_at <= origin.now && !HF_MUTANT(posted_too_late)) {
    return Fail(ErrorCode::kInvalidTransition,
                fmt::format("transfer {} is over: its time limit has passed", id), {.id = id});
  }
  return row;
}

}  // namespace

Result<OperationOutcome> ApplyOperation(Rows& rows, const MakeTransfer& op, const Origin& origin) {
  Transfer transfer{.from = op.from,
                    .to = op.to,
                    .path = op.path,
                    .amount = op.amount,
                    .created_at = origin.now,
                    .created_by = std::string(origin.actor)};
  HF_ASSIGN_OR_RETURN(Parties parties, FindParties(rows, transfer, origin));
  transfer.id = ++rows.counters.last_transfer;
  if (op.pending) {
    transfer.state = TransferState::kPending;
    if (op.timeout) {
      transfer.expires_at = origin.now + *op.timeout;
      rows.NoteDue(*transfer.expires_at);
    }
    RecordChange giver(rows, *parties.from, "transfer", origin);
    NoteTransfer(giver, transfer, op.amount);
    giver.Note("pending", true);
    std::int64_t& reserved = parties.from->record.reserved[op.path];
    if (__builtin_add_overflow(reserved, op.amount, &reserved)) {
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: what is reserved of {} would go beyond 64 bits",
                              ToString(op.from), op.path));
    }
    HF_RETURN_IF_ERROR(giver.Finish());
  } else {
    transfer.posted = op.amount;
    transfer.finished_at = origin.now;
    HF_RETURN_IF_ERROR(MoveAmount(rows, parties, transfer, "transfer", op.amount, origin));
  }
  return OperationOutcome{.transfer = &rows.records().Insert(std::move(transfer))};
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const PostTransfer& op, const Origin& origin) {
  HF_ASSIGN_OR_RETURN(TransferRow * row, FindPending(rows, op.id, origin));
  const std::int64_t amount = op.amount.value_or(row->transfer.amount);
  if (amount > row->transfer.amount) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("transfer {} is of {}: {} cannot be posted", op.id,
                            row->transfer.amount, amount));
  }
  HF_ASSIGN_OR_RETURN(Parties parties, FindParties(rows, row->transfer, origin));
  Unreserve(parties.from->record, row->transfer);
  HF_RETURN_IF_ERROR(MoveAmount(rows, parties, row->transfer, "transfer.post", amount, origin));
  Transfer& transfer = rows.records().Edit(*row);
  transfer.state = TransferState::kPosted;
  transfer.posted = amount;
  transfer.finished_at = origin.now;
  return OperationOutcome{.transfer = row};
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const VoidTransfer& op, const Origin& origin) {
  HF_ASSIGN_OR_RETURN(TransferRow * row, FindPending(rows, op.id, origin));
  HF_RETURN_IF_ERROR(FindRecord(rows, row->transfer.from, origin));
  EndTransfer(rows, *row, TransferState::kVoided, origin);
  return OperationOutcome{.transfer = row};
}

void EndTransfer(Rows& rows, TransferRow& row, TransferState state, const Origin& origin) {
  Transfer& transfer = rows.records().Edit(row);
  transfer.state = state;
  transfer.finished_at = origin.now;
  RecordRow* from = rows.records().Find(transfer.from);
  HF_CHECK(from != nullptr);  // a record with reservations cannot be deleted
  RecordChange giver(rows, *from,
                     state == TransferState::kVoided ? "transfer.void" : "transfer.expire", origin);
  NoteTransfer(giver, transfer, transfer.amount);
  Unreserve(from->record, transfer);
  // Giving back breaks no bound that held before; what later rules say must not keep it from being
  // free again.
  giver.FinishWithoutRules();
}

}  // namespace holdfast::rules
