// Batches that wait for the locks of the records they change (Batch::wait).
#pragma once

#include "engine/engine.h"
#include "store/lock_waiters.h"

namespace holdfast::store {

/// Commits the batches, each of which succeeds or fails alone. One that finds a record locked takes
/// its place in that lock's line, as an owner of its own, and tries again with the lock in hand,
/// which its commit gives back: so it waits behind those who came first, and a circle of waits is
/// found out.
void CommitWithLocks(engine::Engine& engine, LockWaiters& waiters, const Context& context,
                     std::vector<Batch> batches, CommitDone done);

}  // namespace holdfast::store
