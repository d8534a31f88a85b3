// The JSON shapes of the API, written. The same shapes serve HTTP, the command line's -o json, and
// the rows in which engines keep answers: one mapping for all.
//
// Ids and tokens are decimal strings, times RFC 3339 with microseconds, durations "30s". Versions
// and amounts are numbers. Fields that have no value are left out.
#pragma once

#include <string>

#include "base/json_writer.h"
#include "holdfast/store.h"

namespace holdfast::wire {

void WriteJob(base::JsonWriter& json, const Job& job);
void WriteQueue(base::JsonWriter& json, const Queue& queue);
void WriteRecord(base::JsonWriter& json, const Record& record);
void WriteKind(base::JsonWriter& json, const Kind& kind);
void WriteTransfer(base::JsonWriter& json, const Transfer& transfer);
/// {"jobs":[...]}
void WriteJobs(base::JsonWriter& json, const std::vector<Job>& jobs);
void WriteLockGrant(base::JsonWriter& json, const LockGrant& grant);
void WriteLock(base::JsonWriter& json, const Lock& lock);
/// The body of POST /v1/locks/acquire.
void WriteAcquire(base::JsonWriter& json, const AcquireLock& request);
/// {"locks":[...]}
void WriteGrants(base::JsonWriter& json, const std::vector<LockGrant>& grants);
/// {"acquired":true,"lock":{...},"record":{...}}, or {"acquired":false}.
void WriteLockedRecord(base::JsonWriter& json, const std::optional<LockedRecord>& taken);
void WriteAuditEntry(base::JsonWriter& json, const AuditEntry& entry);
void WriteStats(base::JsonWriter& json, const StoreStats& stats);
/// The members of an error, for use inside an object: "code", "detail" (its message), "retryable"
/// and its detail fields.
void WriteErrorFields(base::JsonWriter& json, const Error& error);
void WriteOperation(base::JsonWriter& json, const Operation& operation);
/// {"guards":[...],"operations":[...]} and, if there is one, "idempotency_key".
void WriteBatch(base::JsonWriter& json, const Batch& batch);
/// {"results":[...]}, each result with "job", "existing", "queue", "record", "kind", "transfer" or
/// "locks", or with none of them; and "replayed" if it is.
void WriteReceipt(base::JsonWriter& json, const Receipt& receipt);
/// The body of POST /v1/jobs: the members of a job.enqueue without its "do".
void WriteJobSpec(base::JsonWriter& json, const JobSpec& spec);
void WriteClaimRequest(base::JsonWriter& json, const ClaimRequest& request);

/// The whole value as text: `ToText(WriteJob, job)`.
template <typename T>
std::string ToText(void (*write)(base::JsonWriter&, const T&), const T& value) {
  base::JsonWriter json;
  write(json, value);
  return std::move(json).Take();
}

/// SHA-256 (hex) of the batch's guards and operations: equal for equal batches, on every version.
std::string FingerprintOf(const Batch& batch);

/// Single columns of a job's row.
std::string EncodeErrors(const std::vector<JobError>& errors);
std::string EncodeTags(const std::vector<std::string>& tags);
std::string EncodeRetry(const RetryDelay& retry);

/// Single columns of a record's row.
std::string EncodeReservations(const std::vector<Reservation>& reservations);
std::string EncodeChildren(const std::vector<ChildCount>& children);

}  // namespace holdfast::wire
