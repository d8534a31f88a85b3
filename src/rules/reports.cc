// What the worker that holds a job's token may say of it (JOB-5 to JOB-9).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/mutant.h"
#include "base/utf8.h"
#include "rules/jobs.h"
#include "rules/limits.h"

namespace holdfast::rules {
namespace {

/// 0 to 1, the same for the same number, unrelated for neighbouring ones (splitmix64).
double UnitOf(std::uint64_t number) {
  number += 0x9e3779b97f4a7c15;
  number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9;
  number = (number ^ (number >> 27)) * 0x94d049bb133111eb;
  number ^= number >> 31;
  return static_cast<double>(number >> 11) * 0x1p-53;
}

/// A report ends the attempt: the worker is alive, whatever came of the job.
Job& EndAttempt(Rows& rows, JobRow& row) {
  Job& job = rows.Edit(row);
  job.lease_expiries = 0;
  return job;
}

/// Gives the job back without using up the attempt (JOB-8); a cancelled job ends instead (JOB-9).
OperationOutcome GiveBack(Rows& rows, JobRow& row, JobState to, std::string_view operation,
                          const Origin& origin) {
  Job& job = EndAttempt(rows, row);
  if (!HF_MUTANT(release_uses_an_attempt)) --job.attempt;
  Move(rows, row, job.cancel_requested ? JobState::kCancelled : to, origin.now);
  AuditJob(rows, row, operation, JobState::kProcessing, false, origin);
  return {.job = &row, .is_for_holder = true};
}

/// Whether the attempt under the latest token ended because its lease ran out.
bool EndedByExpiry(const Job& job) {
  return !job.errors.empty() && job.errors.back().attempt == job.attempt &&
         job.errors.back().message == kLeaseExpired;
}

}  // namespace

Result<JobRow*> FindLeased(Rows& rows, JobId id, Token token) {
  JobRow* row = rows.FindJob(id);
  if (row == nullptr) {
    return Fail(ErrorCode::kNotFound, fmt::format("job {} does not exist", id));
  }
  const Job& job = *row->job;
  if (job.token != token && !HF_MUTANT(stale_report_accepted)) {
    return Fail(ErrorCode::kFenced,
                fmt::format("token {} does not hold job {}: it was superseded or never issued for "
                            "it; stop the work",
                            token, id));
  }
  if (job.state == JobState::kProcessing) return row;
  if (kLiveStates.Has(job.state) || EndedByExpiry(job)) {
    return Fail(
        ErrorCode::kFenced,
        fmt::format("the lease of job {} under token {} has ended; stop the work", id, token));
  }
  return Fail(ErrorCode::kInvalidTransition,
              fmt::format("job {} is already {}", id, NameOf(job.state)));
}

void RecordFailure(Job& job, std::string_view message, Time now) {
  if (job.errors.size() >= kErrorsKept) job.errors.erase(job.errors.begin());
  job.errors.push_back({.attempt = job.attempt,
                        .worker = job.worker,
                        .at = now,
                        .message = base::CutStorable(message, kErrorBytes)});
}

Duration RetryDelayOf(const Job& job) {
  double seconds = 0;
  double jitter = 0.1;
  if (job.retry) {
    double initial = static_cast<double>(job.retry->initial.count()) * 1e-6;
    double most = static_cast<double>(job.retry->max.count()) * 1e-6;
    seconds = std::min(initial * std::pow(job.retry->factor, job.attempt - 1), most);
    jitter = job.retry->jitter;
  } else {
    seconds = std::pow(static_cast<double>(job.attempt), 4);
  }
  seconds *= 1 - jitter + 2 * jitter * UnitOf(static_cast<std::uint64_t>(job.token));
  auto most = std::chrono::duration_cast<std::chrono::duration<double>>(kDelayMax).count();
  return Duration(std::llround(std::min(seconds, most) * 1e6));
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const CompleteJob& op, const Origin& origin) {
  HF_ASSIGN_OR_RETURN(JobRow * row, FindLeased(rows, op.id, op.token));
  const bool was_untouched = row->change == Change::kNone;
  EndAttempt(rows, *row).result = op.result;
  Move(rows, *row, JobState::kCompleted, origin.now);
  if (row->job->unique_key.empty()) rows.LimitExtent(*row, was_untouched, Extent::kFinish);
  AuditJob(rows, *row, "job.complete", JobState::kProcessing, false, origin);
  return OperationOutcome{.job = row, .is_for_holder = true};
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const FailJob& op, const Origin& origin) {
  HF_ASSIGN_OR_RETURN(JobRow * row, FindLeased(rows, op.id, op.token));
  Job& job = EndAttempt(rows, *row);
  RecordFailure(job, op.error, origin.now);
  JobState to = JobState::kScheduled;
  if (job.cancel_requested) {
    to = JobState::kCancelled;
  } else if (op.permanent || job.attempt >= job.max_attempts + HF_MUTANT(one_attempt_more)) {
    to = JobState::kFailed;
  } else {
    job.run_at = origin.now + op.retry_in.value_or(RetryDelayOf(job));
  }
  Move(rows, *row, to, origin.now);
  AuditJob(rows, *row, "job.fail", JobState::kProcessing, false, origin);
  return OperationOutcome{.job = row, .is_for_holder = true};
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const ReleaseJob& op, const Origin& origin) {
  HF_ASSIGN_OR_RETURN(JobRow * row, FindLeased(rows, op.id, op.token));
  return GiveBack(rows, *row, JobState::kPending, "job.release", origin);
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const SnoozeJob& op, const Origin& origin) {
  HF_ASSIGN_OR_RETURN(JobRow * row, FindLeased(rows, op.id, op.token));
  if (!row->job->cancel_requested) rows.Edit(*row).run_at = origin.now + op.delay;
  return GiveBack(rows, *row, JobState::kScheduled, "job.snooze", origin);
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const RenewJob& op, const Origin& origin) {
  HF_ASSIGN_OR_RETURN(JobRow * row, FindLeased(rows, op.id, op.token));
  const bool was_untouched = row->change == Change::kNone;
  rows.Edit(*row).lease_expires_at = origin.now + op.lease;
  rows.LimitExtent(*row, was_untouched, Extent::kLease);
  rows.NoteDue(origin.now + op.lease);
  return OperationOutcome{.job = row, .is_for_holder = true};
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const ProgressJob& op, const Origin&) {
  HF_ASSIGN_OR_RETURN(JobRow * row, FindLeased(rows, op.id, op.token));
  const bool was_untouched = row->change == Change::kNone;
  Job& job = rows.Edit(*row);
  job.progress = op.progress;
  job.message = op.message;
  rows.LimitExtent(*row, was_untouched, Extent::kLease);
  return OperationOutcome{.job = row, .is_for_holder = true};
}

}  // namespace holdfast::rules
