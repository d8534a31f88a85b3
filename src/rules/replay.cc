// Stored answers, before they are given once more (IDEM-1).
#include <fmt/format.h>

#include <algorithm>

#include "base/mutant.h"
#include "rules/apply.h"
#include "rules/jobs.h"
#include "rules/locks.h"

namespace holdfast::rules {
namespace {

Result<void> CheckLeases(Rows& rows, const OperationResult& result, const Origin& origin) {
  if (result.job) {
    Result<JobRow*> row = FindLeased(rows, result.job->id, result.job->token);
    if (!row) return Fail(ErrorCode::kFenced, row.error().message);
  }
  if (!result.lock) return {};
  for (const LockGrant& grant : result.lock->grants) {
    HF_RETURN_IF_ERROR(CheckGuard(rows, LockGuard{grant.name, grant.token}, origin));
  }
  return {};
}

}  // namespace

bool TakesOnlyLeases(const Batch& batch) {
  return std::ranges::all_of(batch.operations, [](const Operation& operation) {
    return std::holds_alternative<ClaimJob>(operation) ||
           std::holds_alternative<RenewJob>(operation) ||
           std::holds_alternative<AcquireLock>(operation) ||
           std::holds_alternative<RenewLock>(operation);
  });
}

Result<void> CheckReplay(Rows& rows, const Batch& batch, const Receipt& receipt,
                         const Origin& origin) {
  if (HF_MUTANT(ended_lease_replayed)) return {};
  for (std::size_t i = 0; i < receipt.results.size(); ++i) {
    Result<void> held = CheckLeases(rows, receipt.results[i], origin);
    if (held) continue;
    Error error = std::move(held).error();
    error.message =
        fmt::format("the lease that the idempotency key '{}' was answered with is over: {}",
                    batch.idempotency_key, error.message);
    error.detail.operation = static_cast<std::int64_t>(i);
    return std::unexpected(std::move(error));
  }
  return {};
}

}  // namespace holdfast::rules
