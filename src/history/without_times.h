// Rows and answers without the times in them, which differ from one telling of the same story to
// the other. Leases that are held are held for ever.
#pragma once

#include "holdfast/batch.h"
#include "rules/lock_rows.h"
#include "rules/record_rows.h"

namespace holdfast::history {

void WithoutTimes(Job& job);
void WithoutTimes(Record& record);
void WithoutTimes(rules::StoredRecord& record);
void WithoutTimes(Transfer& transfer);
void WithoutTimes(LockGrant& grant);
void WithoutTimes(Lock& lock);
void WithoutTimes(rules::StoredLock& lock);
void WithoutTimes(OperationResult& result);
/// Leases, timeouts and waits: those that are asked for.
void WithoutTimes(Operation& operation);

}  // namespace holdfast::history
