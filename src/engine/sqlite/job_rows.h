// Jobs and queues as rows: the statements that read and write them.
#pragma once

#include <array>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "engine/sql_rows.h"
#include "engine/sqlite/connection.h"
#include "rules/rows.h"

namespace holdfast::engine {

extern const char* const kQueueColumns;

/// Reads and writes rows for the writer. Implements what rules::LoadRows asks of a loader: rows are
/// copies that `rows` keeps; queues are read once a transaction. Confined to the writer's thread.
class JobTable {
 public:
  Result<void> Prepare(Connection& connection);

  /// A transaction begins: nothing that was read before is still true.
  void Begin(rules::Rows& rows);
  /// Writes the queues that changed, before the commit.
  Result<void> Flush();

  Result<Job*> LoadJob(JobId id);
  Result<Job*> LoadUnique(std::string_view kind, std::string_view key);
  Result<Queue*> LoadQueue(std::string_view name);

  /// Writes the jobs that the rules changed, and takes over the queues. Errors: internal (a
  /// constraint: the last line), or those of the disk.
  Result<void> Persist(rules::Rows& rows);

  /// Forgets a pruned job in its queue's counts.
  Result<void> CountPruned(std::string_view queue, JobState state, std::int64_t count);

  /// The next jobs to claim, in the order of JOB-3. Of the queues it reads only those that may hold
  /// one of them.
  Result<std::vector<JobId>> FindClaimable(const ClaimRequest& request);

  /// The next queues, at most `most`: those behind the ones of the call before, by name, and from
  /// the first again once all had their turn.
  Result<std::vector<std::string>> NextQueueNames(int most);

 private:
  struct CachedQueue {
    Queue queue;
    std::array<std::int64_t, kJobStateCount> stored{};  // its counts in the table
    bool exists = true;
    bool is_stored = false;
    bool is_dirty = false;
  };

  /// The order of claims: priority, due time, id.
  using ClaimKey = std::tuple<int, std::int64_t, JobId>;

  Result<CachedQueue*> FindQueue(std::string_view name);
  static Result<void> ReadReady(Statement& bound, std::vector<ClaimKey>& out);
  Result<void> AddReady(const std::string& name, const ClaimRequest& request,
                        std::vector<ClaimKey>& ready);
  Result<void> AddReadyAnywhere(const ClaimRequest& request, std::vector<ClaimKey>& ready);
  Result<void> Insert(const Job& job);
  Result<void> Update(const rules::JobRow& row);
  Result<void> UpdateLease(const Job& job);
  Result<void> UpdateClaimed(const Job& job);
  Result<void> UpdateFinished(const Job& job);
  Result<void> UpdateWhole(const Job& job);

  rules::Rows* rows_ = nullptr;
  std::map<std::string, CachedQueue, std::less<>> queues_;
  std::string last_named_;  // by NextQueueNames

  Statement select_job_, select_unique_, select_queue_, select_ready_, select_ready_kind_;
  Statement select_heads_;
  Statement select_queue_names_;
  Statement insert_, update_lease_, update_claimed_, update_finished_, update_whole_,
      update_payload_, delete_;
  Statement upsert_queue_, add_totals_;
};

}  // namespace holdfast::engine
