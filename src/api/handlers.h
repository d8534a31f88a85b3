// The functions that answer calls, one for each route.
#pragma once

#include "api/call.h"
#include "base/json_writer.h"

namespace holdfast::api {

// job_handlers.cc: one job.
void EnqueueOne(Call call);
void ListJobs(Call call);
void GetJob(Call call);
void DeleteOne(Call call);
void ClaimNext(Call call);
void ClaimOne(Call call);
void CompleteOne(Call call);
void FailOne(Call call);
void ReleaseOne(Call call);
void SnoozeOne(Call call);
void RenewOne(Call call);
void ReportProgress(Call call);
void CancelOne(Call call);
void RetryOne(Call call);

// batch_handlers.cc: many at once.
void EnqueueMany(Call call);
void FinishMany(Call call);
void RenewMany(Call call);
void CommitBatches(Call call);

// kind_handlers.cc: kinds and their rules.
void ListKinds(Call call);
void GetKind(Call call);
void PutKind(Call call);

// record_handlers.cc: one record, or some of a kind.
void ListRecords(Call call);
void AddRecord(Call call);
void GetRecord(Call call);
void PutRecord(Call call);
void EditRecord(Call call);
void RemoveRecord(Call call);
void IncrementOne(Call call);
void AppendOne(Call call);
void TransitionOne(Call call);
void RunOne(Call call);

// transfer_handlers.cc: transfers between records.
void AddTransfer(Call call);
void GetTransfer(Call call);
void ListTransfers(Call call);
void PostOne(Call call);
void VoidOne(Call call);

// lock_handlers.cc: locks, by name or by the record they protect.
void AcquireOneLock(Call call);
void AcquireLocks(Call call);
void RenewOneLock(Call call);
void ReleaseOneLock(Call call);
void BreakOneLock(Call call);
void GetOneLock(Call call);
void ListLocks(Call call);
void AcquireNextRecord(Call call);

// system_handlers.cc: queues, the audit trail, the server itself.
void ListQueues(Call call);
void GetQueue(Call call);
void ChangeQueue(Call call);
void ListAudit(Call call);
void GetStats(Call call);
void GetLiveness(Call call);
void GetReadiness(Call call);
void GetMetrics(Call call);

/// Commits one operation and has `answer` answer with its result.
void CommitOne(Call call, Operation operation, void (*answer)(Call&, const OperationResult&));

/// The record that a query parameter names: "project/P-1". Neither part can hold a slash.
/// Errors: invalid_argument.
Result<std::optional<RecordKey>> KeyOf(const Query& query, std::string_view name);

/// The query parameter `limit`, or `otherwise`. Errors: invalid_argument.
Result<int> LimitOf(const Query& query, int otherwise);

/// A query parameter that is true or false, if it is there. Errors: invalid_argument.
Result<std::optional<bool>> BoolOf(const Query& query, std::string_view name);

/// The server takes no more writes.
Error ShuttingDown();

/// The last members of a page, after its items.
void WriteNextCursor(base::JsonWriter& json, std::string_view cursor);

}  // namespace holdfast::api
