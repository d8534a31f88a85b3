// A batch: guards and operations that are committed together or not at all.
//
// Every write there is, from every surface, is a batch. The calls of Store that name one operation
// build a batch with that operation in it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "holdfast/job.h"
#include "holdfast/queue.h"

namespace holdfast {

/// "job.enqueue": adds a job. Errors: queue_full, already_exists, not_found (the parent).
struct EnqueueJob {
  JobSpec spec;
};

/// "job.claim": takes this one job (JOB-2). Not being pending is an answer, not an error.
struct ClaimJob {
  JobId id = 0;
  std::string worker;
  Duration lease = std::chrono::seconds(30);
};

/// "job.complete": the attempt succeeded. Errors of this and the next five: fenced, not_found,
/// invalid_transition (the job was already finished under this token).
struct CompleteJob {
  JobId id = 0;
  Token token = 0;
  std::optional<std::string> result;  ///< JSON text, at most 1 MiB
};

/// "job.fail": the attempt failed. Retried while attempts are left, unless permanent (JOB-7).
struct FailJob {
  JobId id = 0;
  Token token = 0;
  std::string error;  ///< kept up to 4 KiB
  bool permanent = false;
  std::optional<Duration> retry_in;  ///< instead of the computed delay
};

/// "job.release": gives the job back at once; the attempt does not count (JOB-8).
struct ReleaseJob {
  JobId id = 0;
  Token token = 0;
};

/// "job.snooze": gives the job back for later; the attempt does not count (JOB-8).
struct SnoozeJob {
  JobId id = 0;
  Token token = 0;
  Duration delay{};
};

/// "job.renew": the lease ends `lease` from now (JOB-6). The answer tells of a requested cancel.
struct RenewJob {
  JobId id = 0;
  Token token = 0;
  Duration lease = std::chrono::seconds(30);
};

/// "job.progress": says how far the attempt has come.
struct ProgressJob {
  JobId id = 0;
  Token token = 0;
  double progress = 0;  ///< 0 to 1
  std::string message;  ///< at most 1 KiB
};

/// "job.cancel": at once when waiting, a request when running (JOB-9).
struct CancelJob {
  JobId id = 0;
};

/// "job.retry": a failed or cancelled job becomes pending again, with all its attempts.
struct RetryJob {
  JobId id = 0;
};

/// "job.delete": removes a job that nobody is working on.
struct DeleteJob {
  JobId id = 0;
};

/// "queue.set": changes the settings that are present (JOB-11, JOB-13). For a bound, a present
/// "nothing" lifts it.
struct SetQueue {
  std::string name;
  std::optional<bool> paused;
  std::optional<std::optional<std::int64_t>> max_pending;
  std::optional<std::optional<std::int64_t>> max_running;
  std::optional<bool> audit;
  std::optional<Duration> retain_completed;
  std::optional<Duration> retain_failed;
};

using Operation = std::variant<EnqueueJob, ClaimJob, CompleteJob, FailJob, ReleaseJob, SnoozeJob,
                               RenewJob, ProgressJob, CancelJob, RetryJob, DeleteJob, SetQueue>;

/// The operation's name: "job.enqueue".
std::string_view NameOf(const Operation& operation);

/// Holds if the job is being processed under this token. Otherwise the batch is fenced.
struct JobGuard {
  JobId id = 0;
  Token token = 0;
};

using Guard = std::variant<JobGuard>;

/// The unit of atomicity. At most 1,000 operations and 100 guards.
struct Batch {
  std::vector<Guard> guards;
  std::vector<Operation> operations;
  /// 1-255 bytes, or empty for none. The same key with the same batch gets the stored answer for
  /// 24 h; with another batch, idempotency_mismatch (IDEM-1).
  std::string idempotency_key;
};

/// What became of one operation.
struct OperationResult {
  /// The job after the commit; nothing if job.claim did not get it, or for job.delete.
  std::optional<Job> job;
  /// job.enqueue found a job with the same unique key, and this is that job.
  bool existing = false;
  /// The queue after queue.set.
  std::optional<Queue> queue;

  bool operator==(const OperationResult&) const = default;
};

/// The proof of a durable commit.
struct Receipt {
  std::vector<OperationResult> results;  ///< one per operation, in order
  bool replayed = false;                 ///< the stored answer to an earlier commit with this key
};

}  // namespace holdfast
