// How requests wait for locks in line: who is next, who is in the way. Internal to src/rules.
#pragma once

#include "rules/locks.h"

namespace holdfast::rules {

/// Whether the lock, which is settled, can be given to one more in this mode. Who is in line before
/// is not looked at.
bool Fits(const StoredLock& lock, LockMode mode, std::int64_t limit);

/// How long it takes, as far as the leases tell, until the lock can be had in this mode.
Duration RemainingOf(const StoredLock& lock, LockMode mode, Time now);

/// As text: to the second, or to the millisecond if there are but a few seconds.
std::string Rounded(Duration remaining);

/// Why it cannot be had now.
std::unexpected<Error> Busy(const StoredLock& lock, LockMode mode, Time now);

/// Takes the settled locks that the request is about, if they are free and nobody is in line.
/// Changes nothing on an error: busy, already_exists, invalid_argument (the limit).
Result<std::vector<LockGrant>> TryAcquire(Rows& rows, const AcquireLock& request,
                                          const Origin& origin);

/// Issues the token and begins the lease (LOCK-3).
LockGrant Grant(Rows& rows, StoredLock& lock, const AcquireLock& request, const Origin& origin);
LockGrant Grant(Rows& rows, StoredLock& lock, StoredHolder lease, const Origin& origin);

/// Ends the leases that ran out, and the lock delays that are over.
void ExpireLeases(Rows& rows, StoredLock& lock, const Origin& origin);

/// Removes every waiter of other processes that is dead, not only the first.
void RemoveDeadWaiters(Rows& rows, StoredLock& lock, Time now);

/// Errors: deadlock, those of TryAcquire but for busy.
Result<LockOutcome> Await(Rows& rows, const AwaitLock& op, const Origin& origin);
LockOutcome Leave(Rows& rows, const LeaveLock& op, const Origin& origin);

/// The locks that the store took for the batch are still held. Errors: fenced.
Result<void> CheckHeld(Rows& rows, const Batch& batch, const Origin& origin);
/// They are given back, now that it is done.
Result<void> GiveBackHeld(Rows& rows, const Batch& batch, const Origin& origin);

}  // namespace holdfast::rules
