// A batch with one operation in it. Internal to src/store.
#pragma once

#include "holdfast/store.h"

namespace holdfast::store {

/// Commits the operation alone. An error names no index: there is only one.
Result<OperationResult> CommitOne(Store& store, const Context& context, Operation operation);

/// The leases that a batch of one lock.acquire was answered with.
Result<std::vector<LockGrant>> GrantsOf(Result<Receipt> receipt);

}  // namespace holdfast::store
