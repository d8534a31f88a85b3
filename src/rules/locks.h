// The operations on locks, one overload each, and what the rest of a batch asks of locks. Internal
// to src/rules.
#pragma once

#include <span>
#include <string>

#include "rules/apply.h"
#include "rules/lock_rows.h"

namespace holdfast::rules {

Result<OperationOutcome> ApplyOperation(Rows& rows, const AcquireLock& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const RenewLock& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const ReleaseLock& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const BreakLock& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const AwaitLock& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const LeaveLock& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const KeepWaiting& op, const Origin& origin);

/// Errors: fenced.
Result<void> CheckGuard(Rows& rows, const LockGuard& guard, const Origin& origin);

/// Of the records that the batch has changed, none is locked by anybody but who sent the batch
/// (S11). Leases with later tokens than `last_token` began in this very batch: it may have given a
/// lock back to the next in line after it used it. Errors: busy, with the operation.
Result<void> CheckRecordLocks(Rows& rows, const Batch& batch, Token last_token,
                              const Origin& origin);

/// Ends leases and lock delays that are over, and gives the lock to whoever is next.
void Settle(Rows& rows, StoredLock& lock, const Origin& origin);

/// The names an acquire is about.
std::span<const std::string> NamesOf(const AcquireLock& request);

/// Whether the lease of `holder` must end before somebody else gets the lock in this mode.
bool IsInTheWay(const StoredHolder& holder, LockMode mode);

}  // namespace holdfast::rules
