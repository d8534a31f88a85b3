// The store: what a URL opens, and the one door to everything Holdfast keeps.
//
//   auto store = holdfast::OpenStore("sqlite:jobs.db");
//   if (!store) return Report(store.error());
//   auto job = (*store)->Enqueue({}, {.kind = "email", .payload = R"({"to":"ada"})"});
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/audit.h"
#include "holdfast/batch.h"
#include "holdfast/context.h"
#include "holdfast/error.h"
#include "holdfast/job.h"
#include "holdfast/lock.h"
#include "holdfast/log.h"
#include "holdfast/metrics.h"
#include "holdfast/queue.h"
#include "holdfast/record.h"
#include "holdfast/retry.h"

namespace holdfast {

namespace engine {
class Engine;
}
namespace store {
class LeaseKeeper;
}

/// Tuning, all defaulted. What is pointed to must outlive the store.
struct StoreOptions {
  const Clock* clock = nullptr;  ///< nothing: Clock::System()
  /// By whose SinceBoot() a HeldLock counts its own lease. Nothing: Clock::System(), whatever
  /// `clock` is.
  const Clock* lease_clock = nullptr;
  LogSink* log = nullptr;         ///< nothing: no log
  MetricSink* metrics = nullptr;  ///< nothing: no metrics
  /// Expire leases, promote due jobs and prune on a thread of the store's own. Off in tests, which
  /// call Maintain themselves.
  bool maintain = true;
  /// sqlite, postgres: how often to look for commits of other processes while somebody waits.
  Duration poll_interval = std::chrono::milliseconds(50);
  /// http: how long a call without a deadline may take, a claim's wait not counted.
  Duration http_timeout = std::chrono::seconds(30);
  /// Beside the shipped ones, or instead of those of the same name. For an http: store they are the
  /// server's.
  std::vector<LockPreset> lock_presets{};
};

/// What one step of maintenance did. Each figure is bounded, so that a step is short.
struct MaintainReport {
  std::int64_t promoted = 0;  ///< scheduled jobs that came due
  std::int64_t expired = 0;   ///< leases that ran out
  std::int64_t pruned = 0;    ///< finished jobs, idempotency keys and audit entries past retention
  std::int64_t lapsed = 0;    ///< timed statuses and pending transfers whose time was up
  std::int64_t unlocked = 0;  ///< leases of locks that ran out
  bool more = false;          ///< a bound was hit: there is more to do now
};

/// What is known of a store as a whole.
struct StoreStats {
  std::string engine{};  ///< "memory", "sqlite", ...
  std::string version{};
  std::array<std::int64_t, kJobStateCount> counts{};  ///< jobs by state, over all queues
  std::int64_t queues = 0;
  std::int64_t waiting_claims = 0;  ///< claims parked in this process
  std::int64_t waiting_locks = 0;   ///< requests for locks that wait in this process
  Time now{};                       ///< the engine's clock, by which leases are judged
};

using CommitDone = std::move_only_function<void(std::vector<Result<Receipt>>)>;
using ClaimDone = std::move_only_function<void(Result<std::vector<Job>>)>;
using AcquireDone = std::move_only_function<void(Result<std::vector<LockGrant>>)>;
using AcquireNextDone = std::move_only_function<void(Result<std::optional<LockedRecord>>)>;

/// A store is shared by any number of threads: every method may be called from any thread.
///
/// Unless said otherwise, for every call: a write that succeeded is durable when it returns (on
/// sqlite after the fsync, on postgres after the server has acknowledged COMMIT); a write that
/// failed changed nothing, except with outcome_unknown. The call blocks for one group commit.
/// Common errors: invalid_argument (the call breaks a limit; the message names it), cancelled and
/// deadline_exceeded (see Context), unavailable (the engine refuses writes after an I/O error, or
/// cannot be reached), outcome_unknown (the connection or the disk failed during the commit),
/// shutting_down.
class Store {
 public:
  /// Over an engine that is already open. Programs call OpenStore.
  Store(std::unique_ptr<engine::Engine> engine, const StoreOptions& options);
  /// Answers all that waits as StopWaiting does, finishes what was committed, closes the engine.
  /// No other thread may still be in a call, and every HeldLock is gone.
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// Applies a batch: every guard holds and every operation is done, or nothing changes and the
  /// error's detail names the guard or operation at fault. With Batch::wait it also blocks while
  /// others hold the locks of records that it changes.
  Result<Receipt> Commit(const Context& context, Batch batch);

  /// Many batches in one durable commit, each of which succeeds or fails alone.
  std::vector<Result<Receipt>> CommitMany(const Context& context, std::vector<Batch> batches);

  /// As CommitMany, without blocking. `done` runs once the outcome is durable, on a thread of the
  /// engine or on this one before the call returns; it must not block.
  void CommitAsync(const Context& context, std::vector<Batch> batches, CommitDone done);

  /// Adds a job (JOB-1, JOB-10). Errors: queue_full, already_exists (id attached), not_found
  /// (parent). With OnConflict::kReturn the answer may be an existing job.
  Result<Job> Enqueue(const Context& context, JobSpec spec);

  /// Takes the next jobs (JOB-3, JOB-4), at most `max`, none that anybody else holds. Waits up to
  /// `wait` for a first one, parked and without polling; empty when there is none. Each job carries
  /// its token. Two claims never get the same job.
  Result<std::vector<Job>> Claim(const Context& context, ClaimRequest request);

  /// As Claim, without blocking, not even while it waits. See CommitAsync for `done`.
  void ClaimAsync(const Context& context, ClaimRequest request, ClaimDone done);

  /// Takes this one job if it is pending (JOB-2). Nothing: it is missing or not pending, or its
  /// queue is paused or runs as many as it may.
  Result<std::optional<Job>> ClaimById(const Context& context, JobId id, std::string worker,
                                       Duration lease = std::chrono::seconds(30));

  /// The reports of the worker that holds `token`. Errors: fenced (stop the work: the lease was
  /// lost), not_found, invalid_transition (already finished under this token). See batch.h.
  Result<Job> Complete(const Context& context, JobId id, Token token,
                       std::optional<std::string> result = {});
  Result<Job> FailAttempt(const Context& context, FailJob failure);
  Result<Job> Release(const Context& context, JobId id, Token token);
  Result<Job> Snooze(const Context& context, JobId id, Token token, Duration delay);
  Result<Job> Renew(const Context& context, JobId id, Token token,
                    Duration lease = std::chrono::seconds(30));
  Result<Job> ReportProgress(const Context& context, ProgressJob progress);

  /// Errors: not_found, invalid_transition. See batch.h.
  Result<Job> Cancel(const Context& context, JobId id);
  Result<Job> Retry(const Context& context, JobId id);
  Result<void> Delete(const Context& context, JobId id);

  /// The operations on records (REC-1 to REC-8), one call each: see batch.h for what they do and
  /// for their errors. The answer is the record as it is after the change.
  Result<Record> Create(const Context& context, CreateRecord create);
  Result<Record> Replace(const Context& context, ReplaceRecord replace);
  Result<Record> Merge(const Context& context, MergeRecord merge);
  Result<Record> Patch(const Context& context, PatchRecord patch);
  Result<Record> Increment(const Context& context, IncrementRecord increment);
  Result<Record> Append(const Context& context, AppendRecord append);
  Result<Record> Transition(const Context& context, TransitionRecord transition);
  Result<Record> Run(const Context& context, RunAction action);
  Result<void> Delete(const Context& context, DeleteRecord deletion);

  /// Reads the record, calls `change` with it, and commits what it returns (the new data, JSON
  /// text) under a guard on the version it has seen. If somebody else was faster it does so again,
  /// by `policy`. `change` runs on this thread, under no lock, perhaps several times; its error
  /// ends the call. Errors: not_found, version_mismatch (after the last retry), those of
  /// record.replace.
  using RecordChange = std::function<Result<std::string>(const Record& record)>;
  Result<Record> UpdateWith(const Context& context, const RecordKey& key,
                            const RecordChange& change, const RetryPolicy& policy = kUpdatePolicy);

  /// Declares a kind, or changes its rules (REC-9).
  Result<Kind> Apply(const Context& context, ApplyKind kind);

  /// Transfers (REC-7).
  Result<Transfer> Make(const Context& context, MakeTransfer transfer);
  Result<Transfer> Post(const Context& context, PostTransfer post);
  Result<Transfer> Void(const Context& context, VoidTransfer giving_up);

  /// Takes a lock, or several (LOCK-1 to LOCK-6): one grant for each name, in their order; for
  /// LockPolicy::kAny, one. Waits in line for as long as the request or its preset says, parked and
  /// without polling. The leases begin when they are granted: see LockGrant::waited.
  ///
  /// Errors, beside those of AcquireLock: busy (not free in time), deadlock (waiting would close a
  /// circle of owners, who are in the detail), cancelled and deadline_exceeded (while waiting, too:
  /// a grant that came in that instant was given back), shutting_down.
  Result<std::vector<LockGrant>> Acquire(const Context& context, AcquireLock request);

  /// As Acquire, without blocking, not even while it waits. See CommitAsync for `done`.
  void AcquireAsync(const Context& context, AcquireLock request, AcquireDone done);

  /// Takes the lock of the first record, in the order of their ids, that the filter lets through
  /// and whose lock is free (as SKIP LOCKED does), and reads the record under it. `request` names
  /// no lock, and does not wait. Nothing: there is none such. `filter.limit` and `cursor` are not
  /// looked at. Blocks for some reads and group commits.
  Result<std::optional<LockedRecord>> AcquireNext(const Context& context, RecordFilter filter,
                                                  AcquireLock request);

  /// As AcquireNext, without waiting for a commit; it reads on the calling thread, and on that of
  /// `done`. See CommitAsync for `done`.
  void AcquireNextAsync(const Context& context, RecordFilter filter, AcquireLock request,
                        AcquireNextDone done);

  /// One operation each, as a batch of its own: durable when it returns, blocks for a group commit,
  /// may be called by any thread. See batch.h. Errors: invalid_argument; for Renew and Release
  /// fenced (the lock is not held under this token: stop the work), and those of Commit.
  ///
  /// The lease with its new end.
  Result<LockGrant> Renew(const Context& context, RenewLock renewal);
  /// The lease as it was. The next in line has the lock in the same commit.
  Result<LockGrant> Release(const Context& context, ReleaseLock release);
  /// The leases that were ended. Errors, too: not_found (nobody holds the lock).
  Result<std::vector<LockGrant>> Break(const Context& context, BreakLock breaking);

  /// The lock as it is: one that is free has no holders. Errors: invalid_argument. Blocks for a
  /// read of one lock.
  Result<Lock> GetLock(const Context& context, std::string_view name);
  /// A page of the locks that are held or waited for, by name. Errors: invalid_argument. Blocks for
  /// a read of the page.
  Result<LockPage> ListLocks(const Context& context, const LockFilter& filter);
  /// A shipped preset or one of this program's StoreOptions: those that a server was given are
  /// known to the server alone. Never blocks. Errors: invalid_argument, which lists them.
  Result<LockPreset> FindLockPreset(std::string_view name) const;

  Result<std::optional<Record>> GetRecord(const Context& context, const RecordKey& key);
  /// A page of the records of one kind. Errors: not_found (the kind is not declared).
  Result<RecordPage> ListRecords(const Context& context, const RecordFilter& filter);
  Result<std::optional<Kind>> GetKind(const Context& context, std::string_view name);
  Result<std::vector<Kind>> ListKinds(const Context& context);
  Result<std::optional<Transfer>> GetTransfer(const Context& context, TransferId id);
  /// A page of transfers: the pending ones of a record are what its number is reserved for.
  Result<TransferPage> ListTransfers(const Context& context, const TransferFilter& filter);

  /// Reads: a consistent snapshot that no crash can take back, never behind a writer.
  Result<std::optional<Job>> GetJob(const Context& context, JobId id);
  Result<JobPage> ListJobs(const Context& context, const JobFilter& filter);
  /// A page of the queues, by name. Errors: invalid_argument (the limit, the cursor).
  Result<QueuePage> ListQueues(const Context& context, const QueueFilter& filter = {});
  /// With its exact counts. Nothing: there is no such queue. Errors: invalid_argument (the name).
  Result<std::optional<Queue>> GetQueue(const Context& context, std::string_view name);
  Result<AuditPage> ListAudit(const Context& context, const AuditFilter& filter);
  Result<StoreStats> GetStats(const Context& context);

  /// Changes a queue's settings, creating the queue if need be (JOB-11). Audited.
  Result<Queue> Set(const Context& context, SetQueue change);

  /// One bounded step of maintenance. Safe to call from any number of processes at once: nothing is
  /// ever done twice. A store opened with `maintain` calls it by itself.
  Result<MaintainReport> Maintain(const Context& context);

  /// Ends every waiting claim with an empty answer, and every waiting acquire with shutting_down,
  /// now and from now on: for a graceful stop.
  void StopWaiting();

  /// Nothing, or why the store cannot be relied on: it refuses writes, its latest write failed, or
  /// a read met corruption. A store that looks after itself tries a write each second while they
  /// fail. Never blocks, unless the store is a server's.
  Result<void> CheckHealth();

 private:
  friend class HeldLock;
  class Impl;
  /// Renews the leases of every HeldLock. Its thread starts with the first call.
  Result<store::LeaseKeeper*> LockKeeper();

  std::unique_ptr<Impl> impl_;
};

/// Opens the store that `url` names:
///   memory:               in this process, gone with it
///   sqlite:FILE           embedded and durable; several processes may open one file
///   postgres://HOST/DB    durable; any number of processes on any number of machines. Parameters
///                         of the URL: docs/postgres.md
///   http://HOST:PORT      a Holdfast server
///
/// Creates and migrates the tables of a file or database. Blocks until that is done, on the network
/// for 10 s at most (3 s for each of several hosts) unless the URL says otherwise. Threads: any.
///
/// Errors: invalid_argument (not such a URL), unavailable (cannot be opened or reached, or might
/// lose what it acknowledges; the message says why), corrupt (not a Holdfast database, or of a
/// newer schema).
Result<std::unique_ptr<Store>> OpenStore(std::string_view url, const StoreOptions& options = {});

}  // namespace holdfast
