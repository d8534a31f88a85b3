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

/// The query parameter `limit`, or `otherwise`. Errors: invalid_argument.
Result<int> LimitOf(const Query& query, int otherwise);

/// The server takes no more writes.
Error ShuttingDown();

/// The last members of a page, after its items.
void WriteNextCursor(base::JsonWriter& json, std::string_view cursor);

}  // namespace holdfast::api
