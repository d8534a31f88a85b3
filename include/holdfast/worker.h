// A pool of workers: takes jobs, runs the handler of their kind, reports what came of it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "holdfast/context.h"
#include "holdfast/error.h"
#include "holdfast/job.h"
#include "holdfast/log.h"
#include "holdfast/store.h"

namespace holdfast {

/// The four ways a handler ends.
struct Completed {
  std::optional<std::string> result{};  ///< JSON text
};
struct Failed {
  std::string error{};
  bool permanent = false;
  std::optional<Duration> retry_in{};
};
struct Released {};
struct Snoozed {
  Duration delay{};
};
using Outcome = std::variant<Completed, Failed, Released, Snoozed>;

/// Why a handler's stop token fired.
enum class StopReason : std::uint8_t { kNone, kCancelled, kLeaseLost, kTimeout, kShutdown };

/// One attempt, as its handler sees it.
///
/// Threads: the handler's, unless a method says otherwise.
class Attempt {
 public:
  virtual ~Attempt() = default;
  virtual const Job& job() const = 0;
  /// Fires when the work should end: see stop_reason(). Thread-safe. Callbacks on it must be quick:
  /// the thread that runs them also renews the leases.
  virtual std::stop_token stop() const = 0;
  virtual StopReason stop_reason() const = 0;
  /// Reports progress, 0 to 1. Blocks for one commit. Errors: fenced (the stop token fires, too).
  virtual Result<void> ReportProgress(double progress, std::string message) = 0;
  /// Commits the batch under Guard(), ahead of its own guards: only while this attempt holds its
  /// lease. A batch that also reports the attempt (job.complete, job.fail, job.release or
  /// job.snooze of this job) ends it: the pool then reports nothing more, whatever the handler
  /// returns, and counts what the batch reported. Blocks for one commit. Errors: fenced (also
  /// before anything is sent, once the lease is known to be lost; the stop token fires, too), those
  /// of Store::Commit; an index of a guard in the detail counts this guard first.
  virtual Result<Receipt> Commit(const Context& context, Batch batch) = 0;
  /// A guard for batches of the handler's own: they commit only while this attempt holds its lease.
  JobGuard Guard() const { return JobGuard{job().id, job().token}; }
};

/// Runs on a thread of the pool. May throw: an exception is a failed attempt with its what().
using Handler = std::function<Outcome(Attempt&)>;

struct WorkerOptions {
  std::string name{};                 ///< 1-128 bytes; empty: host, process id and a random part
  std::vector<std::string> queues{};  ///< empty: every queue
  int concurrency = 0;                ///< jobs at a time, 1-1,000; 0: one per core
  int claim_ahead = 500;              ///< most jobs claimed before a handler is free, 0-1,000
  Duration lease = std::chrono::seconds(30);       ///< renewed at a third of its length
  Duration timeout = Duration::zero();             ///< of an attempt, from its begin; zero: none
  Duration grace = std::chrono::seconds(25);       ///< see Stop
  Duration claim_wait = std::chrono::seconds(20);  ///< how long one claim waits for work
  LogSink* log = nullptr;
  /// By whose SinceBoot() the pool counts its leases. Nothing: Clock::System().
  const Clock* lease_clock = nullptr;
};

/// Counters since Start.
struct WorkerStats {
  std::int64_t claimed = 0;
  std::int64_t completed = 0;
  std::int64_t failed = 0;    ///< attempts, whether another will follow or not
  std::int64_t released = 0;  ///< given back or snoozed
  std::int64_t lost = 0;      ///< the lease was lost, so that the outcome was refused
  std::int64_t running = 0;   ///< now
};

/// The pool. All leases of a pool are renewed in one commit. A handler whose job is cancelled,
/// whose lease is lost, or who is out of time, sees its stop token fire; a job whose lease was lost
/// is not reported, because another worker may have it. A job that was completed under the
/// attempt's token before the handler returned, by whatever batch, counts as completed.
///
/// While handlers take less than 20 ms on average, a pool claims ahead: what they will begin within
/// 20 ms, at most `claim_ahead` jobs and about 8 MiB of payloads, so that no handler waits for a
/// claim. What has not begun a second later is given back. If the process is killed, what it had
/// claimed ahead waits for the end of its leases, and has used up an attempt, like what it ran; so
/// behind a job whose lease ran out before nothing is claimed ahead. With 0 only what free handlers
/// can take is claimed: for jobs of one attempt, which must not lose it before they begin.
///
/// Threads: Handle before Start; Start once; stats from any thread; Stop from any but a handler's.
class WorkerPool {
 public:
  /// `store` must outlive the pool.
  WorkerPool(Store& store, WorkerOptions options);
  /// As Stop.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// The handler of a kind; "*" is the handler of every other kind. Without "*" the pool claims
  /// jobs of the kinds that have a handler, at most 100, and leaves others to other pools.
  void Handle(std::string kind, Handler handler);

  /// Starts claiming. Errors: invalid_argument (an option out of its limits, no handler).
  Result<void> Start();

  /// Graceful and idempotent: stops claiming, releases what has not begun, lets handlers finish
  /// within the grace period, then fires their stop tokens and releases what they leave, with a
  /// context of its own. No job stays in processing and no attempt is used up. Blocks until every
  /// handler has returned.
  void Stop();

  WorkerStats stats() const;
  const std::string& name() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast
