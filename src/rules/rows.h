// The rows that a batch touches: loaded by an engine, changed by the rules, persisted by the
// engine.
//
// Rows is how the semantics stay free of storage: rules see plain structs and say what changed;
// engines see what changed and know nothing of why.
#pragma once

#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "holdfast/audit.h"
#include "holdfast/batch.h"
#include "holdfast/job.h"
#include "holdfast/queue.h"
#include "rules/limits.h"

namespace holdfast::rules {

/// The store-wide counters. What is handed out is persisted in the same commit.
struct Counters {
  JobId last_job = 0;
  Token last_token = 0;
  std::int64_t last_audit = 0;
  std::int64_t last_record = 0;  // of the ids that the store chose
  TransferId last_transfer = 0;
  std::int64_t last_ticket = 0;  // of places in line for locks

  bool operator==(const Counters&) const = default;
};

/// The fields by which engines index jobs, as they were before the batch.
struct JobKeys {
  JobState state = JobState::kPending;
  int priority = 0;
  Time run_at;
  std::optional<Time> lease_expires_at;
  std::optional<Time> finished_at;
  bool holds_unique_key = false;
};

/// Whether the job occupies its unique key in its present state (JOB-10).
inline bool HoldsUniqueKey(const Job& job) {
  return !job.unique_key.empty() && job.unique_states.Has(job.state);
}

inline JobKeys KeysOf(const Job& job) {
  return {job.state,       job.priority,       job.run_at, job.lease_expires_at,
          job.finished_at, HoldsUniqueKey(job)};
}

enum class Change : std::uint8_t { kNone, kUpdated, kInserted, kDeleted };

/// How much of an updated row differs: engines write no more than that.
enum class Extent : std::uint8_t {
  kWhole,   // anything but payload and what is fixed at enqueue
  kClaim,   // what a claim of a pending job changes
  kLease,   // lease_expires_at, cancel_requested, progress, message
  kFinish,  // state, lease_expires_at, lease_expiries, finished_at, result; no unique key
};

struct JobRow {
  Job* job = nullptr;
  Change change = Change::kNone;
  Extent extent = Extent::kWhole;
  bool payload_changed = false;
  JobKeys before;  // meaningful if updated or deleted
};

struct QueueRow {
  Queue* queue = nullptr;
  Change change = Change::kNone;
};

/// Jobs of a queue that became claimable. An empty kind: their kinds are not known.
struct ReadyJobs {
  std::string queue;
  std::string kind;
  std::int64_t count = 0;
};

/// Adds to the entry of that queue and kind, or makes it.
void AddReady(std::vector<ReadyJobs>& all, std::string_view queue, std::string_view kind,
              std::int64_t count);

/// An operation or guard that names one job by its id.
template <typename T>
concept OnJob = requires(T operation) {
  { operation.id } -> std::same_as<JobId&>;
}
&&!std::same_as<T, PostTransfer> && !std::same_as<T, VoidTransfer>;

/// An operation or guard that is about locks and nothing else.
template <typename T>
concept OnLocks = std::same_as<T, AcquireLock> || std::same_as<T, RenewLock> ||
    std::same_as<T, ReleaseLock> || std::same_as<T, BreakLock> || std::same_as<T, AwaitLock> ||
    std::same_as<T, LeaveLock> || std::same_as<T, KeepWaiting> || std::same_as<T, LockGuard>;

class LockRows;
class RecordRows;
struct RecordRow;
struct KindRow;
struct TransferRow;

/// What one operation did, by reference to the rows.
struct OperationOutcome {
  JobRow* job = nullptr;
  bool existing = false;
  /// Whoever asked holds the job's token: it is no secret to them.
  bool is_for_holder = false;
  /// The job without what its holder knows: payload, result, metadata, errors and tags.
  bool is_brief = false;
  const QueueRow* queue = nullptr;
  const RecordRow* record = nullptr;
  const KindRow* kind = nullptr;
  const TransferRow* transfer = nullptr;
  int lock = -1;  // in LockRows::outcomes
};

/// One batch at a time; reused for the next after Clear. Confined to one thread.
class Rows {
 public:
  Rows();
  ~Rows();

  /// Forgets everything. With `keep_undo`, Undo can take back what the rules did to live rows.
  void Clear(bool keep_undo);

  // For the engine, before the rules run. Loaded rows stay where they are until Clear.

  /// A row that lives with the engine, or one that this object shall keep.
  void AddJob(Job* job) { jobs_.push_back({.job = job}); }
  Job* Own(Job job);
  void AddQueue(Queue* queue) { queues_.push_back({.queue = queue}); }
  Queue* Own(Queue queue);
  void AddNewQueue(std::string_view name);
  /// After the last job and before the rules: brings rows into the canonical order, without
  /// repetitions, and makes room for `inserts` more.
  void Seal(std::size_t inserts);

  // For the rules.

  JobRow* FindJob(JobId id);
  /// The row of a queue that the batch touches: the engine has loaded it.
  QueueRow& QueueNamed(std::string_view name);
  /// The job that occupies the unique key, or nothing.
  JobRow* FindUnique(std::string_view kind, std::string_view key);
  /// For changing a row: notes that it changed, and how it was.
  Job& Edit(JobRow& row);
  /// After an operation changed only that much of a row that was untouched before it.
  void LimitExtent(JobRow& row, bool was_untouched, Extent extent) {
    if (was_untouched) row.extent = extent;
  }
  Queue& Edit(QueueRow& row);
  JobRow& Insert(Job job);
  /// Marks the row; the engine removes it.
  void Delete(JobRow& row);
  void NoteUniqueKey(const Job& job, JobRow* holder);
  /// So many more jobs of the queue can be claimed. An empty kind: of kinds that are not known.
  void NoteReady(std::string_view queue, std::string_view kind, std::int64_t count);
  void NoteDue(Time at);

  // For the engine, after the rules.

  /// Takes back every change to rows that live with the engine.
  void Undo();
  /// The answer. Jobs that this object keeps are moved into it if `move_jobs`.
  Receipt TakeReceipt(bool move_jobs);

  std::vector<JobRow>& jobs() { return jobs_; }
  RecordRows& records() { return *records_; }
  LockRows& locks() { return *locks_; }
  std::vector<QueueRow>& queues() { return queues_; }
  std::vector<AuditEntry>& audit() { return audit_; }
  std::vector<OperationOutcome>& outcomes() { return outcomes_; }
  const std::vector<ReadyJobs>& ready() const { return ready_; }
  std::optional<Time> next_due() const { return next_due_; }

  Counters counters;
  /// What the answer may hold (kAnswerBytes), until Clear. The rules take from it what it holds.
  std::size_t answer_room = kAnswerBytes;

 private:
  // Apart, so that what has nothing to do with records need not read their headers.
  const std::unique_ptr<RecordRows> records_;
  const std::unique_ptr<LockRows> locks_;
  // Once sealed: those that were loaded ascending by id, then those that were inserted in any
  // order. An id says nothing of when its job was made: nodes draw them from ranges of their own.
  std::vector<JobRow> jobs_;
  std::size_t sealed_jobs_ = 0;
  std::vector<QueueRow> queues_;  // ascending by name, once sealed
  std::vector<std::unique_ptr<Job>> owned_jobs_;
  std::vector<std::unique_ptr<Queue>> owned_queues_;
  std::unordered_map<std::string, JobRow*> unique_keys_;  // kind, NUL, key
  std::vector<AuditEntry> audit_;
  std::vector<OperationOutcome> outcomes_;
  std::vector<ReadyJobs> ready_;
  std::optional<Time> next_due_;
  bool keep_undo_ = false;
  Counters counters_before_;
  std::vector<std::pair<Job*, Job>> undo_jobs_;
  std::vector<std::pair<Queue*, Queue>> undo_queues_;
};

}  // namespace holdfast::rules
