// Batches with one operation in them. Internal to src/store.
#pragma once

#include "holdfast/store.h"

namespace holdfast::store {

/// Commits the operation alone. An error names no index: there is only one.
Result<OperationResult> CommitOne(Store& store, const Context& context, Operation operation);

/// Batches that give the leases back, one for each: that one of them is gone must not keep the
/// others.
template <typename Lease>
std::vector<Batch> ReleaseEach(const std::vector<Lease>& leases) {
  std::vector<Batch> batches;
  batches.reserve(leases.size());
  for (const Lease& lease : leases) {
    batches.push_back({.operations = {ReleaseLock{lease.name, lease.token}}});
  }
  return batches;
}

/// The leases that a batch of one lock.acquire was answered with.
Result<std::vector<LockGrant>> GrantsOf(Result<Receipt> receipt);

}  // namespace holdfast::store
