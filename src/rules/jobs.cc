// Jobs: enqueue, claim, cancel, retry, delete, and what maintenance does to them. The reports of a
// worker are in reports.cc.
#include "rules/jobs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/mutant.h"
#include "rules/limits.h"

namespace holdfast::rules {
namespace {

constexpr JobStates kMoves[kJobStateCount] = {
    /* scheduled */ {JobState::kPending, JobState::kCancelled},
    /* pending */ {JobState::kProcessing, JobState::kCancelled},
    /* processing */
    {JobState::kCompleted, JobState::kFailed, JobState::kCancelled, JobState::kScheduled,
     JobState::kPending},
    /* completed */ {},
    /* failed */ {JobState::kPending},
    /* cancelled */ {JobState::kPending},
};

bool IsWaiting(JobState state) {
  return state == JobState::kScheduled || state == JobState::kPending;
}

std::unexpected<Error> NotFound(JobId id) {
  return Fail(ErrorCode::kNotFound, fmt::format("job {} does not exist", id));
}

std::unexpected<Error> AlreadyExists(const JobRow& row) {
  const Job& holder = *row.job;
  if (row.change == Change::kInserted && !HF_MUTANT(rolled_back_named)) {
    // It is taken back with the batch: its id would name a job that does not exist.
    return Fail(ErrorCode::kAlreadyExists,
                fmt::format("the batch enqueues two jobs with the unique key '{}' of kind {}",
                            holder.unique_key, holder.kind));
  }
  return Fail(ErrorCode::kAlreadyExists,
              fmt::format("job {} ({}) holds the unique key '{}' of kind {}", holder.id,
                          NameOf(holder.state), holder.unique_key, holder.kind),
              {.id = holder.id});
}

std::unexpected<Error> CannotMove(const Job& job, std::string_view verb) {
  return Fail(ErrorCode::kInvalidTransition,
              fmt::format("job {} is {}: it cannot be {}", job.id, NameOf(job.state), verb));
}

/// The answer to an enqueue whose unique key is taken (JOB-10).
Result<OperationOutcome> ApplyConflict(Rows& rows, const JobSpec& spec, JobRow& holder) {
  switch (spec.unique->on_conflict) {
    case OnConflict::kReturn:
      return OperationOutcome{.job = &holder, .existing = true};
    case OnConflict::kReplace:
      if (!IsWaiting(holder.job->state)) return AlreadyExists(holder);
      rows.Edit(holder).payload = spec.payload;
      holder.payload_changed = true;
      return OperationOutcome{.job = &holder, .existing = true};
    case OnConflict::kReject:
      break;
  }
  return AlreadyExists(holder);
}

Job MakeJob(const JobSpec& spec, JobId id, const Origin& origin) {
  const Time now = origin.now;
  Job job;
  job.id = id;
  job.queue = spec.queue;
  job.kind = spec.kind;
  job.priority = spec.priority;
  job.max_attempts = spec.max_attempts;
  job.payload = spec.payload;
  // An instant that a caller names is one of the wall clock.
  job.run_at =
      spec.run_at ? *spec.run_at + origin.ahead : now + spec.delay.value_or(Duration::zero());
  job.state = job.run_at > now ? JobState::kScheduled : JobState::kPending;
  job.created_at = now;
  if (spec.unique) {
    job.unique_key = spec.unique->key;
    job.unique_states = spec.unique->states;
  }
  job.parent = spec.parent;
  job.tags = spec.tags;
  job.metadata = spec.metadata;
  job.retry = spec.retry;
  return job;
}

void EndLease(Job& job) {
  job.lease_expires_at.reset();
}

}  // namespace

bool CanMove(JobState from, JobState to) {
  return kMoves[static_cast<std::size_t>(from)].Has(to);
}

void Move(Rows& rows, JobRow& row, JobState to, Time now) {
  Job& job = rows.Edit(row);
  const JobState from = job.state;
  HF_CHECK(CanMove(from, to));
  QueueRow& queue_row = rows.QueueNamed(job.queue);
  Queue& queue = rows.Edit(queue_row);
  --queue.CountOf(from);
  ++queue.CountOf(to);
  job.state = to;
  if (kLiveStates.Has(to)) {
    job.finished_at.reset();
  } else {
    job.finished_at = now;
  }
  if (from == JobState::kProcessing) {
    EndLease(job);
    // A place under max_running became free for somebody who waits.
    if (queue.max_running && queue.CountOf(JobState::kPending) > 0)
      rows.NoteReady(queue.name, "", 1);
  }
  if (to == JobState::kPending) rows.NoteReady(queue.name, job.kind, 1);
  if (to == JobState::kScheduled) rows.NoteDue(job.run_at);
  rows.NoteUniqueKey(job, &row);
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const EnqueueJob& op, const Origin& origin) {
  const JobSpec& spec = op.spec;
  if (spec.parent && rows.FindJob(*spec.parent) == nullptr) {
    return Fail(ErrorCode::kNotFound,
                fmt::format("the parent job {} does not exist", *spec.parent));
  }
  if (spec.unique) {
    if (JobRow* holder = rows.FindUnique(spec.kind, spec.unique->key)) {
      return ApplyConflict(rows, spec, *holder);
    }
  }
  QueueRow& queue_row = rows.QueueNamed(spec.queue);
  const Queue& before = *queue_row.queue;
  if (before.max_pending &&
      before.Waiting() >= *before.max_pending + HF_MUTANT(queue_holds_one_more)) {
    return Fail(ErrorCode::kQueueFull,
                fmt::format("queue {} is full: {} of {} jobs are waiting", before.name,
                            before.Waiting(), *before.max_pending),
                {.retry_after = std::chrono::seconds(1)});
  }
  JobRow& row = rows.Insert(MakeJob(spec, ++rows.counters.last_job, origin));
  const Job& job = *row.job;
  Queue& queue = rows.Edit(queue_row);
  ++queue.CountOf(job.state);
  if (job.state == JobState::kPending) {
    rows.NoteReady(queue.name, job.kind, 1);
  } else {
    rows.NoteDue(job.run_at);
  }
  rows.NoteUniqueKey(job, &row);
  if (queue.audit) AuditJob(rows, row, "job.enqueue", job.state, false, origin);
  return OperationOutcome{.job = &row};
}

std::int64_t RoomOf(const Queue& queue) {
  if (queue.paused) return 0;
  if (!queue.max_running) return std::numeric_limits<std::int64_t>::max();
  return *queue.max_running - queue.CountOf(JobState::kProcessing);
}

std::int64_t ClaimableOf(const Queue& queue) {
  return std::min(queue.CountOf(JobState::kPending), RoomOf(queue));
}

bool ClaimOne(Rows& rows, JobRow* row, std::string_view worker, Duration lease,
              const Origin& origin) {
  if (row == nullptr || row->job->state != JobState::kPending) return false;
  if (RoomOf(*rows.QueueNamed(row->job->queue).queue) <= 0) return false;
  const bool was_untouched = row->change == Change::kNone;
  Job& job = rows.Edit(*row);
  ++job.attempt;
  job.token = ++rows.counters.last_token;
  job.worker = worker;
  job.started_at = origin.now;
  job.progress.reset();
  job.message.clear();
  Move(rows, *row, JobState::kProcessing, origin.now);
  job.lease_expires_at = origin.now + lease;
  rows.NoteDue(*job.lease_expires_at);
  rows.LimitExtent(*row, was_untouched, Extent::kClaim);
  AuditJob(rows, *row, "job.claim", JobState::kPending, false, origin);
  return true;
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const ClaimJob& op, const Origin& origin) {
  JobRow* row = rows.FindJob(op.id);
  if (!ClaimOne(rows, row, op.worker, op.lease, origin)) return OperationOutcome{};
  return OperationOutcome{.job = row, .is_for_holder = true};
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const CancelJob& op, const Origin& origin) {
  JobRow* row = rows.FindJob(op.id);
  if (row == nullptr) return NotFound(op.id);
  const JobState from = row->job->state;
  if (from == JobState::kProcessing) {
    const bool was_untouched = row->change == Change::kNone;
    rows.Edit(*row).cancel_requested = true;  // the worker's next renewal tells it (JOB-9)
    rows.LimitExtent(*row, was_untouched, Extent::kLease);
  } else if (CanMove(from, JobState::kCancelled)) {
    Move(rows, *row, JobState::kCancelled, origin.now);
  } else {
    return CannotMove(*row->job, "cancelled");
  }
  AuditJob(rows, *row, "job.cancel", from, true, origin);
  return OperationOutcome{.job = row};
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const RetryJob& op, const Origin& origin) {
  JobRow* row = rows.FindJob(op.id);
  if (row == nullptr) return NotFound(op.id);
  const JobState from = row->job->state;
  if (from != JobState::kFailed && from != JobState::kCancelled) {
    return CannotMove(*row->job, "retried");
  }
  if (!row->job->unique_key.empty()) {
    JobRow* holder = rows.FindUnique(row->job->kind, row->job->unique_key);
    if (holder != nullptr && holder != row) return AlreadyExists(*holder);
  }
  Job& job = rows.Edit(*row);
  job.attempt = 0;
  job.lease_expiries = 0;
  job.cancel_requested = false;
  job.result.reset();
  job.progress.reset();
  job.message.clear();
  job.run_at = origin.now;
  Move(rows, *row, JobState::kPending, origin.now);
  AuditJob(rows, *row, "job.retry", from, true, origin);
  return OperationOutcome{.job = row};
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const DeleteJob& op, const Origin& origin) {
  JobRow* row = rows.FindJob(op.id);
  if (row == nullptr) return NotFound(op.id);
  if (row->job->state == JobState::kProcessing) return CannotMove(*row->job, "deleted");
  --rows.Edit(rows.QueueNamed(row->job->queue)).CountOf(row->job->state);
  AuditJob(rows, *row, "job.delete", row->job->state, true, origin);
  rows.Delete(*row);
  return OperationOutcome{};
}

static void ExpireLease(Rows& rows, JobRow& row, const Origin& origin) {
  Job& job = rows.Edit(row);
  RecordFailure(job, kLeaseExpired, origin.now);
  if (!origin.stall.Covers(*job.lease_expires_at) || HF_MUTANT(stall_makes_poison)) {
    ++job.lease_expiries;
  }
  JobState to = JobState::kPending;
  if (job.cancel_requested) {
    to = JobState::kCancelled;
  } else if (job.lease_expiries >= kLeaseExpiriesMax + HF_MUTANT(poison_job_runs_again) ||
             job.attempt >= job.max_attempts) {
    to = JobState::kFailed;
  }
  Move(rows, row, to, origin.now);
  AuditJob(rows, row, "job.expire", JobState::kProcessing, false, origin);
}

bool EndDue(Rows& rows, JobRow& row, const Origin& origin) {
  const bool is_lease = row.job->state == JobState::kProcessing;
  if (is_lease) {
    ExpireLease(rows, row, origin);
  } else {
    Move(rows, row, JobState::kPending, row.job->run_at);
  }
  return is_lease;
}

Time PruneBefore(const Queue& queue, JobState state, Time now) {
  return now - (state == JobState::kFailed ? queue.retain_failed : queue.retain_completed);
}

}  // namespace holdfast::rules
