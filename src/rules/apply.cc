// The entry of a batch: guards first, then operations in order.
#include "rules/apply.h"

#include <fmt/format.h>

#include "base/mutant.h"
#include "base/result.h"
#include "rules/answer_size.h"
#include "rules/jobs.h"
#include "rules/limits.h"
#include "rules/load.h"
#include "rules/lock_waits.h"
#include "rules/record_rows.h"
#include "rules/records.h"

namespace holdfast::rules {
namespace {

struct Visitor {
  Rows& rows;
  const Origin& origin;

  Result<OperationOutcome> operator()(const auto& operation) {
    return ApplyOperation(rows, operation, origin);
  }
};

Result<void> CheckGuard(Rows& rows, const JobGuard& guard, const Origin&) {
  Result<JobRow*> row = FindLeased(rows, guard.id, guard.token);
  if (row) return {};
  // Whatever the reason, the attempt that the caller relies on is not going on.
  return Fail(ErrorCode::kFenced, row.error().message);
}

/// A report on a job, by the holder of its lease.
template <typename T>
concept Report = OnJob<T> && requires(T operation) {
  operation.token;
};

std::size_t SizeOfAnswer(const OperationOutcome& outcome) {
  std::size_t bytes = 0;
  if (outcome.job != nullptr && !outcome.is_brief) bytes += SizeOf(*outcome.job->job);
  if (outcome.record != nullptr && outcome.record->exists) {
    bytes += outcome.record->record.text.size();
  }
  if (outcome.kind != nullptr) bytes += SizeOf(*outcome.kind->kind);
  return bytes;
}

/// A thousand changes of one large record would answer with it a thousand times. The holder of a
/// job can do without what it knows: no report is refused for the size of its answer.
Result<void> CheckAnswer(Rows& rows, const Batch& batch) {
  std::size_t bytes = 0;
  for (const OperationOutcome& outcome : rows.outcomes()) bytes += SizeOfAnswer(outcome);
  if (bytes > rows.answer_room) {
    bytes = 0;
    for (std::size_t i = 0; i < rows.outcomes().size(); ++i) {
      OperationOutcome& outcome = rows.outcomes()[i];
      outcome.is_brief =
          std::visit([]<typename T>(const T&) { return Report<T>; }, batch.operations[i]);
      bytes += SizeOfAnswer(outcome);
      if (bytes <= rows.answer_room) continue;
      return Fail(ErrorCode::kPayloadTooLarge,
                  fmt::format("the answer would have more than {} bytes: make the batch smaller",
                              kAnswerBytes),
                  {.operation = static_cast<std::int64_t>(i)});
    }
  }
  rows.answer_room -= bytes;
  return {};
}

}  // namespace

Result<void> Apply(Rows& rows, const Batch& batch, const Origin& origin) {
  rows.records().current_operation = kBeforeOperations;
  const Token last_token = rows.counters.last_token;
  HF_RETURN_IF_ERROR(CheckHeld(rows, batch, origin));
  for (std::size_t i = 0; i < batch.guards.size(); ++i) {
    Result<void> holds = std::visit(
        [&](const auto& guard) { return CheckGuard(rows, guard, origin); }, batch.guards[i]);
    if (!holds) {
      holds.error().detail.guard = static_cast<std::int64_t>(i);
      return holds;
    }
  }
  Visitor apply{rows, origin};
  rows.outcomes().reserve(batch.operations.size());
  for (std::size_t i = 0; i < batch.operations.size(); ++i) {
    rows.records().current_operation = static_cast<int>(i);
    Result<OperationOutcome> outcome = std::visit(apply, batch.operations[i]);
    if (outcome) {
      Result<void> within = rows.records().effort.Check();
      if (!within) outcome = std::unexpected(std::move(within).error());
    }
    if (!outcome) {
      outcome.error().detail.operation = static_cast<std::int64_t>(i);
      return std::unexpected(std::move(outcome).error());
    }
    rows.outcomes().push_back(*outcome);
  }
  HF_RETURN_IF_ERROR(CheckRecordLocks(rows, batch, last_token, origin));
  HF_RETURN_IF_ERROR(GiveBackHeld(rows, batch, origin));
  return CheckAnswer(rows, batch);
}

bool NeedsUndo(const Batch& batch) {
  return batch.operations.size() > 1 || std::holds_alternative<RunAction>(batch.operations.front());
}

void SettleLocks(Rows& rows, const Origin& origin) {
  for (StoredLock* lock : rows.locks().locks()) {
    // All of them, wherever they stand: one that stayed would be due again at once, and for ever.
    RemoveDeadWaiters(rows, *lock, origin.now);
    Settle(rows, *lock, origin);
  }
}

void ClaimAll(Rows& rows, const std::vector<JobId>& candidates, const ClaimRequest& request,
              const Origin& origin) {
  PageRoom room(request.max);
  for (JobId id : candidates) {
    JobRow* row = rows.FindJob(id);
    if (row != nullptr && !room.Take(*row->job) && !HF_MUTANT(claim_without_bound)) break;
    if (ClaimOne(rows, row, request.worker, request.lease, origin)) {
      rows.outcomes().push_back({.job = row, .is_for_holder = true});
    }
  }
}

Result<void> CheckFingerprint(std::string_view key, std::string_view stored,
                              std::string_view given) {
  if (stored == given || HF_MUTANT(other_body_replayed)) return {};
  return Fail(ErrorCode::kIdempotencyMismatch,
              fmt::format("the idempotency key '{}' was used with another request", key));
}

}  // namespace holdfast::rules
