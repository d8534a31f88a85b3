// The jobs and queues of one transaction: loaded and locked for all its batches at once, changed in
// memory batch by batch, written together.
#pragma once

#include <array>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/postgres/answers.h"
#include "engine/postgres/connection.h"
#include "engine/postgres/job_rows.h"
#include "rules/rows.h"

namespace holdfast::engine::postgres {

/// How what is inserted into queue_counts, as `c`, is added to what stands there.
inline constexpr std::string_view kAddToCounts =
    "ON CONFLICT (queue, slot) DO UPDATE SET scheduled = c.scheduled + excluded.scheduled, "
    "pending = c.pending + excluded.pending, processing = c.processing + excluded.processing, "
    "completed = c.completed + excluded.completed, failed = c.failed + excluded.failed, "
    "cancelled = c.cancelled + excluded.cancelled";

/// Implements what rules::LoadRows asks of a loader. What it was asked for and has not loaded it
/// notes, and answers that there is no such row: whoever asked is to ask again after the next load.
/// Confined to one thread.
class JobTable {
 public:
  JobTable(const Settings& settings, std::int64_t slot);

  /// A new group: nothing is wanted, nothing is known.
  void Clear();
  /// The transaction begins anew: what was wanted still is, but is not known.
  void Forget();
  void UseRows(rules::Rows& rows) { rows_ = &rows; }

  Result<Job*> LoadJob(JobId id);
  Result<Job*> LoadUnique(std::string_view kind, std::string_view key);
  Result<Queue*> LoadQueue(std::string_view name);

  /// Whether jobs were asked for that are not loaded and locked.
  bool LacksJobs() const { return lacks_jobs_; }
  /// Whether queues were, or some must be locked because they have limits. Queues are the last that
  /// are locked, so that this is never too late.
  bool LacksQueues() const { return lacks_queues_; }

  /// Queues statements that load and lock what is wanted; takes their answers. With `jobs`, the
  /// jobs as well, all of them.
  void QueueLoad(Connection& connection, bool jobs);
  /// Whether queues are loaded with their counts although they have no limits.
  bool loads_counts = false;

  Result<void> TakeLoaded(Answers& answers);

  /// The batch at hand is accepted: what it changed is what the next one sees.
  void TakeOver(rules::Rows& rows);
  /// Queues statements that write what has changed.
  void QueueWrite(Connection& connection);

  /// For claims: notes jobs that were loaded and locked by another statement.
  Result<void> AddLoaded(const Answer& jobs, std::vector<JobId>& ids);
  /// Likewise queues. The names of those that limit what may run, and are not paused.
  std::vector<std::string> AddQueues(const Answer& queues);
  /// A job that is loaded, as it is now.
  const Job& LoadedJob(JobId id) const { return jobs_.at(id).job; }
  /// How many more jobs the queue lets run; of one that is not there none.
  std::int64_t RoomOf(const std::string& queue) const;
  /// From now on these are loaded under a lock, because they have limits.
  void WantLocked(const std::vector<std::string>& queues);

  /// Their names.
  std::vector<std::string> LoadedQueues() const;
  bool HasWrites() const;
  /// Jobs that are ready now and were not as they are, before.
  std::vector<const Job*> MadeReady() const;
  /// Of queue_counts, for what is written next.
  std::int64_t slot() const { return base_slot_ + kSlotsOfSet * (commits_ / kCommitsOfSlot); }
  std::int64_t base_slot() const { return base_slot_; }
  /// A commit has counted. Whether the next one does so in another slot.
  bool NextSlot() { return ++commits_ % kCommitsOfSlot == 0; }

  /// Slots from this number up are left when they have served: maintenance folds them.
  static constexpr std::int64_t kSlotsOfSet = 128;

 private:
  using Counts = std::array<std::int64_t, kJobStateCount>;
  using UniqueKey = std::pair<std::string, std::string>;
  struct CachedJob {
    Job job;
    rules::Change change = rules::Change::kNone;
    rules::Extent extent = rules::Extent::kWhole;
    bool held_key = false;  // as it is stored
  };
  struct CachedQueue {
    Queue queue;
    bool exists = false;  // stored
    bool is_new = false;  // to be stored
    bool is_set = false;  // its settings have changed
    Counts delta{};
  };
  enum class Step : std::uint8_t { kJobs, kLock, kQueues };

  void TakeQueues(const Answer& answer);
  void NoteLoaded(Job job);
  void MergeUpdate(const rules::JobRow& row);
  void QueueJobWrites(Connection& connection);
  void QueueQueueWrites(Connection& connection);

  // As many versions of a row as are still found quickly.
  static constexpr std::int64_t kCommitsOfSlot = 200;

  const std::int64_t base_slot_;
  std::int64_t commits_ = 0;
  rules::Rows* rows_ = nullptr;
  std::set<JobId> wanted_jobs_;
  std::set<UniqueKey> wanted_keys_;
  std::set<std::string, std::less<>> wanted_queues_;
  std::set<std::string, std::less<>> locked_queues_;  // those that must be
  bool lacks_jobs_ = false;
  bool lacks_queues_ = false;
  bool are_keys_known_ = false;  // of all wanted keys
  std::set<JobId> known_jobs_;   // of which it is known whether they exist
  std::map<JobId, CachedJob> jobs_;
  std::map<UniqueKey, JobId> unique_;  // 0: nobody holds it
  std::map<std::string, CachedQueue, std::less<>> queues_;
  std::vector<Step> queued_;

  const Sql load_jobs_, load_jobs_and_holders_, lock_queues_, load_queues_;
  const Sql insert_jobs_, update_lease_, update_claimed_, update_finished_, update_whole_,
      delete_jobs_;
  const Sql insert_queues_, set_queue_, add_counts_;
};

}  // namespace holdfast::engine::postgres
