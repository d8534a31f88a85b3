// The operations on jobs and queues, one overload each. Internal to src/rules.
#pragma once

#include "base/result.h"
#include "rules/apply.h"

namespace holdfast::rules {

Result<OperationOutcome> ApplyOperation(Rows& rows, const EnqueueJob& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const ClaimJob& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const CompleteJob& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const FailJob& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const ReleaseJob& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const SnoozeJob& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const RenewJob& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const ProgressJob& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const CancelJob& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const RetryJob& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const DeleteJob& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const SetQueue& op, const Origin& origin);

/// The job that is being processed under `token` (JOB-5). Errors: not_found; fenced, if the lease
/// is another's or has ended; invalid_transition, if the job was finished under this very token.
Result<JobRow*> FindLeased(Rows& rows, JobId id, Token token);

/// The one place where a job changes its state: keeps counts, wakes, and stamps.
void Move(Rows& rows, JobRow& row, JobState to, Time now);

/// Adds to the job's last errors (JOB-7), the message cut to its limit.
void RecordFailure(Job& job, std::string_view message, Time now);

/// What an audit entry says beyond its origin.
struct AuditNote {
  std::string_view operation;
  std::string target;
  std::string_view old_status;
  std::string_view new_status;
  std::int64_t old_version = 0;
  std::int64_t new_version = 0;
  Token token = 0;
  std::string details;
  std::string_view error{};  // the code of a refusal
};
void WriteAudit(Rows& rows, const Origin& origin, AuditNote note);

/// An audit entry for a job whose state went from `from` to what it is now. `always` for
/// administrative operations; otherwise only if the queue asks for it (AUD-1).
void AuditJob(Rows& rows, const JobRow& row, std::string_view operation, JobState from, bool always,
              const Origin& origin);

}  // namespace holdfast::rules
