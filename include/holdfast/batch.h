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

#include "holdfast/boxed.h"
#include "holdfast/job.h"
#include "holdfast/lock.h"
#include "holdfast/queue.h"
#include "holdfast/record.h"

namespace holdfast {

/// "job.enqueue": adds a job. Errors: queue_full, already_exists, not_found (the parent).
struct EnqueueJob {
  JobSpec spec{};
};

/// "job.claim": takes this one job (JOB-2). That it is not pending, or that its queue is paused or
/// runs as many as it may, is an answer, not an error.
struct ClaimJob {
  JobId id = 0;
  std::string worker{};
  Duration lease = std::chrono::seconds(30);
};

/// "job.complete": the attempt succeeded. Errors of this and the next five: fenced, not_found,
/// invalid_transition (the job was already finished under this token).
struct CompleteJob {
  JobId id = 0;
  Token token = 0;
  std::optional<std::string> result{};  ///< JSON text, at most 1 MiB
};

/// "job.fail": the attempt failed. Retried while attempts are left, unless permanent (JOB-7).
struct FailJob {
  JobId id = 0;
  Token token = 0;
  std::string error{};  ///< kept up to 4 KiB; what is no UTF-8 text becomes U+FFFD
  bool permanent = false;
  std::optional<Duration> retry_in{};  ///< instead of the computed delay
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
  double progress = 0;    ///< 0 to 1
  std::string message{};  ///< at most 1 KiB
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
  std::string name{};
  std::optional<bool> paused{};
  std::optional<std::optional<std::int64_t>> max_pending{};
  std::optional<std::optional<std::int64_t>> max_running{};
  std::optional<bool> audit{};
  std::optional<Duration> retain_completed{};
  std::optional<Duration> retain_failed{};
};

/// The record an operation changes, and what must be true of it.
///
/// Errors of every operation on a record: not_found (the record, or its kind was never declared),
/// version_mismatch, rule_violation (a rule of its kind, named in the detail, or `parent` is not
/// its parent), invalid_transition, capacity_full, already_exists (a unique key, with the record
/// that holds it), invalid_argument (the edit does not fit the data). Rules are checked after the
/// edit.
struct RecordTarget {
  std::string kind{};
  std::string id{};
  std::optional<std::int64_t> version{};  ///< the version it must have (REC-1)
  std::optional<RecordKey> parent{};      ///< the parent it must have (REC-6)
};

/// "record.create": adds a record, at version 1.
struct CreateRecord {
  std::string kind{};
  std::string id{};                   ///< empty: a new number of the store's choosing
  std::string data = "{}";            ///< a JSON object, at most 1 MiB, at most 64 deep
  std::string status{};               ///< empty: the first of the kind's initial states
  std::optional<RecordKey> parent{};  ///< must exist
  /// For migrations: any declared state will do, capacity and the parent's conditions are not
  /// looked at. Audited.
  bool force = false;
};

/// "record.replace": the data becomes this.
struct ReplaceRecord : RecordTarget {
  std::string data{};  ///< a JSON object
};

/// "record.merge": a JSON merge patch (RFC 7396).
struct MergeRecord : RecordTarget {
  std::string patch{};  ///< a JSON object
};

/// "record.patch": a JSON Patch (RFC 6902). A `test` that fails is a rule_violation.
struct PatchRecord : RecordTarget {
  std::string patch{};  ///< a JSON array
};

/// "record.increment": adds to the number at a JSON pointer. Integers stay exact to 64 bits;
/// overflow is refused. A number that is missing is not taken for 0.
struct IncrementRecord : RecordTarget {
  std::string path{};
  std::variant<std::int64_t, double> by = std::int64_t{1};
};

/// "record.append": adds to the end of the array at a JSON pointer.
struct AppendRecord : RecordTarget {
  std::string path{};
  std::string value{};                       ///< JSON text
  std::optional<std::int64_t> max_length{};  ///< then only so many are kept, the newest
};

/// "record.transition": changes the status (REC-4), and the data with it.
struct TransitionRecord : RecordTarget {
  std::string to{};
  std::string data = "{}";  ///< a merge patch; what the transition requires must be in it
  /// For migrations: any declared state can be reached, and nothing is required. Audited.
  bool force = false;
};

/// "record.action": runs an action that the kind declares (REC-8), as one change.
struct RunAction : RecordTarget {
  std::string action{};
  std::string params = "{}";  ///< a JSON object
};

/// "record.delete": removes the record. rule_violation while it has children or reservations.
struct DeleteRecord : RecordTarget {};

/// "kind.apply": declares a kind, or changes its rules (REC-9). Equal rules change nothing. Records
/// that would break the new rules are reported (rule_violation with `violations`), and nothing is
/// changed.
struct ApplyKind {
  std::string name{};
  std::string rules{};                    ///< JSON text, see docs/rules.md
  std::optional<std::int64_t> version{};  ///< the version the rules must have; 0: none
  /// Applies them all the same. Records stay as they are, and must obey from their next change on.
  /// Two records with one unique key are refused even so.
  bool force = false;
};

/// "transfer": moves an amount from a number of one record to the same number of another (REC-7),
/// both integers, under the bounds of both kinds.
struct MakeTransfer {
  RecordKey from{};
  RecordKey to{};  ///< another record
  std::string path{};
  std::int64_t amount = 0;  ///< 1 or more
  /// Only reserve it: it counts as gone from `from`, and comes to `to` with transfer.post.
  bool pending = false;
  std::optional<Duration> timeout{};  ///< of a pending one: then it is given up. None: never
};

/// "transfer.post": moves a pending amount, or a part of it; the rest is free again.
/// Errors: not_found, invalid_transition (it is not pending any more), rule_violation (a bound).
struct PostTransfer {
  TransferId id = 0;
  std::optional<std::int64_t> amount{};  ///< 1 to the amount of the transfer. None: all of it
};

/// "transfer.void": gives a pending transfer up. Errors: not_found, invalid_transition.
struct VoidTransfer {
  TransferId id = 0;
};

/// "lock.acquire": takes a lock, or several (LOCK-1 to LOCK-6). In a batch it does not wait:
/// Store::Acquire does.
///
/// Errors: busy (with what is left of the lease that is in the way), already_exists (this owner has
/// this very lock exclusively; the token is attached), invalid_argument (also: the limit is not
/// that of the other holders). A failed acquire changes nothing.
struct AcquireLock {
  std::string name{};                ///< 1-512 bytes
  std::vector<std::string> names{};  ///< instead of `name`: at most 1,000
  LockPolicy policy = LockPolicy::kAll;
  /// 1-128 bytes: who will hold it. Deadlocks are found between owners, so that one owner must be
  /// one course of action: a thread, a request, never a whole process.
  std::string owner{};
  LockMode mode = LockMode::kExclusive;
  std::optional<std::int64_t> limit{};  ///< of holders, for a shared lock; nothing: any number
  std::optional<Duration> ttl{};        ///< 100 ms to 24 h; nothing: the preset's, or else 10 s
  /// How long the lock stays taken after the lease ran out without a release, for resources that
  /// cannot check tokens (LOCK-9). At most 24 h.
  Duration lock_delay{};
  std::string preset{};  ///< of ttl and wait, where they are not given (LOCK-11)
  /// Only for Store::Acquire: how long to wait in line, at most 24 h. Nothing: the preset's, or not
  /// at all.
  std::optional<Duration> wait{};
};

/// "lock.renew": the lease ends `ttl` from now (LOCK-4). Errors: fenced, if this token's lease has
/// ended or never was: it is never revived.
struct RenewLock {
  std::string name{};
  Token token = 0;
  std::optional<Duration> ttl{};  ///< nothing: as long as when it was acquired
};

/// "lock.release": gives the lock back, and in the same commit to whoever is next. Errors: fenced,
/// as lock.renew.
struct ReleaseLock {
  std::string name{};
  Token token = 0;
};

/// "lock.break": ends leases by force, for administrators. Audited with the reason, under a new
/// token. Errors: not_found (nobody holds it).
struct BreakLock {
  std::string name{};
  std::string reason{};          ///< 1-1,024 bytes
  std::optional<Token> token{};  ///< only this holder's; nothing: every holder's
};

// How the store waits for locks by way of its engine. Not for batches of others: Store::Commit
// refuses them, and no JSON names them.

/// Takes the lock if it is free, else a place in line; with a `ticket`, looks whether it got there.
struct AwaitLock {
  AcquireLock request{};
  std::int64_t waiter = 0;  ///< by which the store knows it
  std::int64_t ticket = 0;
  std::optional<Time> deadline{};  ///< with a ticket: when the place is given up
};

/// Gives a place in line up. The grants, if it came too late.
struct LeaveLock {
  std::vector<std::string> names{};
  std::int64_t ticket = 0;
};

/// Tells other processes that those who wait in this one are alive.
struct KeepWaiting {};

using Operation =
    std::variant<EnqueueJob, ClaimJob, CompleteJob, FailJob, ReleaseJob, SnoozeJob, RenewJob,
                 ProgressJob, CancelJob, RetryJob, DeleteJob, SetQueue, CreateRecord, ReplaceRecord,
                 MergeRecord, PatchRecord, IncrementRecord, AppendRecord, TransitionRecord,
                 RunAction, DeleteRecord, ApplyKind, MakeTransfer, PostTransfer, VoidTransfer,
                 AcquireLock, RenewLock, ReleaseLock, BreakLock, AwaitLock, LeaveLock, KeepWaiting>;

/// The operation's name: "job.enqueue".
std::string_view NameOf(const Operation& operation);

/// Holds if the job is being processed under this token. Otherwise the batch is fenced.
struct JobGuard {
  JobId id = 0;
  Token token = 0;
};

/// Holds if the record is at this version. Otherwise version_mismatch, or not_found.
struct VersionGuard {
  RecordKey record{};
  std::int64_t version = 0;
};

/// Holds if there is no such record. Otherwise already_exists.
struct AbsentGuard {
  RecordKey record{};
};

/// Holds while the lock is held under this token (LOCK-8). Otherwise the batch is fenced. For the
/// lock of a record it also lets the batch change the record.
struct LockGuard {
  std::string name{};
  Token token = 0;

  bool operator==(const LockGuard&) const = default;
};

/// For locks that live elsewhere: holds if the record has seen no higher token, and is remembered
/// with the record (LOCK-8). Otherwise the batch is fenced. Its version stays.
struct FenceGuard {
  RecordKey record{};
  Token token = 0;
};

using Guard = std::variant<JobGuard, VersionGuard, AbsentGuard, LockGuard, FenceGuard>;

/// The unit of atomicity. At most 1,000 operations and 100 guards.
struct Batch {
  std::vector<Guard> guards{};
  std::vector<Operation> operations{};
  /// 1-255 bytes, or empty for none. The same key with the same batch gets the stored answer for
  /// 24 h; with another batch, idempotency_mismatch (IDEM-1). A batch that only claims, acquires
  /// and renews gets it while the leases in it are held, afterwards fenced.
  std::string idempotency_key{};
  /// How long to wait for the locks on records that the batch changes, at most 24 h: in line with
  /// everybody else, as an owner of its own. Zero: such a record is `busy` at once.
  Duration wait{};
  /// Set by the store alone, while it waits: the locks it took for this batch. They count as
  /// guards, and are given back in the commit.
  std::vector<LockGuard> held{};
};

/// What became of one operation.
struct OperationResult {
  /// The job after the commit; nothing if job.claim did not get it, or for job.delete.
  std::optional<Job> job{};
  /// job.enqueue found a job with the same unique key, and this is that job.
  bool existing = false;
  /// The queue after queue.set.
  Boxed<Queue> queue{};
  /// The record after the commit; nothing if it is gone.
  std::optional<Record> record{};
  /// The kind after kind.apply; `existing` if its rules were these already.
  Boxed<Kind> kind{};
  /// The transfer after transfer, transfer.post and transfer.void.
  Boxed<Transfer> transfer{};
  /// The leases after lock.acquire and lock.renew, and as they were for lock.release and
  /// lock.break.
  Boxed<LockOutcome> lock{};

  bool operator==(const OperationResult&) const = default;
};

/// The proof of a durable commit.
struct Receipt {
  std::vector<OperationResult> results{};  ///< one per operation, in order
  bool replayed = false;                   ///< the stored answer to an earlier commit with this key
};

}  // namespace holdfast
