// The JSON shapes of the API, read. Strict: an unknown or repeated field, a wrong type, a number
// out of range or text after the end is invalid_argument, and the message names the field. Answers
// alone may have fields that nobody knows, because a newer server may have written them.
//
// Raw JSON (payload, result, data, rules, ...) is handed on as the very text that was sent, so that
// numbers stay exact; its own syntax is checked where every batch is validated (ValidateJson).
#pragma once

#include <initializer_list>
#include <string_view>

#include "holdfast/store.h"

namespace holdfast::wire {

enum class JsonShape { kAny, kObject };

/// Whether `text` is one JSON value (of that shape), in UTF-8, nested at most 64 deep.
/// Errors: invalid_argument; the message begins with `name`.
Result<void> ValidateJson(std::string_view name, std::string_view text, JsonShape shape);

/// Bodies of requests.
Result<Batch> DecodeBatch(std::string_view text);
Result<JobSpec> DecodeJobSpec(std::string_view text);
struct JobSpecs {
  std::vector<JobSpec> jobs;
  bool atomic = false;
};
Result<JobSpecs> DecodeJobSpecs(std::string_view text);
Result<ClaimRequest> DecodeClaimRequest(std::string_view text);

/// The body of POST /v1/commit: one batch, or {"batches":[...]}, each of which stands alone.
struct Commit {
  std::vector<Batch> batches;
  bool is_many = false;
};
Result<Commit> DecodeCommit(std::string_view text);
/// The body of POST /v1/jobs/{id}/...: the members of `start`, whose id is known from the path.
Result<Operation> DecodeJobOperation(Operation start, std::string_view text);
/// The body of an endpoint that is one operation: the members of `start`, but for those that are
/// `given` elsewhere, in the path.
Result<Operation> DecodeOperation(Operation start, std::string_view text,
                                  std::initializer_list<std::string_view> given);
/// The body of POST /v1/locks/acquire and /v1/locks/{name}/acquire: the members of a lock.acquire
/// and `wait`, but for those that are `given` elsewhere.
Result<AcquireLock> DecodeAcquire(AcquireLock start, std::string_view text,
                                  std::initializer_list<std::string_view> given);
/// The body of POST /v1/records/{kind}/acquire: what may be taken, and how.
struct AcquireNextRequest {
  RecordFilter filter;
  AcquireLock lock;
};
Result<AcquireNextRequest> DecodeAcquireNext(std::string_view text);
/// The body of PATCH /v1/queues/{name}.
Result<SetQueue> DecodeQueueChange(std::string name, std::string_view text);
/// The bodies of POST /v1/jobs/finish and /v1/jobs/renew, as operations.
Result<std::vector<Operation>> DecodeFinish(std::string_view text);
Result<std::vector<Operation>> DecodeRenew(std::string_view text);

/// Bodies of answers.
Result<Job> DecodeJob(std::string_view text);
Result<JobPage> DecodeJobPage(std::string_view text);
Result<std::vector<Job>> DecodeClaimedJobs(std::string_view text);
Result<Queue> DecodeQueue(std::string_view text);
Result<QueuePage> DecodeQueuePage(std::string_view text);
Result<Record> DecodeRecord(std::string_view text);
Result<RecordPage> DecodeRecordPage(std::string_view text);
Result<Kind> DecodeKind(std::string_view text);
Result<std::vector<Kind>> DecodeKinds(std::string_view text);
Result<Transfer> DecodeTransfer(std::string_view text);
Result<TransferPage> DecodeTransferPage(std::string_view text);
Result<Lock> DecodeLock(std::string_view text);
Result<LockPage> DecodeLockPage(std::string_view text);
/// {"locks":[...]}
Result<std::vector<LockGrant>> DecodeGrants(std::string_view text);
Result<AuditPage> DecodeAuditPage(std::string_view text);
Result<StoreStats> DecodeStats(std::string_view text);
Result<Receipt> DecodeReceipt(std::string_view text);
/// {"items":[a receipt or {"error":problem}]}: the answer to many batches.
Result<std::vector<Result<Receipt>>> DecodeReceipts(std::string_view text);
/// problem+json; `http_status` decides if the body is not such a document.
Error DecodeProblem(std::string_view text, int http_status);

/// Single columns of a job's row. Errors: corrupt.
Result<std::vector<JobError>> DecodeErrors(std::string_view text);
Result<std::vector<std::string>> DecodeTags(std::string_view text);
Result<RetryDelay> DecodeRetry(std::string_view text);

/// Single columns of a record's row. Errors: corrupt.
Result<std::vector<Reservation>> DecodeReservations(std::string_view text);
Result<std::vector<ChildCount>> DecodeChildren(std::string_view text);

}  // namespace holdfast::wire
