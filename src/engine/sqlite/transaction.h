// What the writer does inside one SQLite transaction: batches, claims and maintenance, through the
// rules. Knows nothing of threads, groups or time-outs.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "base/engine_clock.h"
#include "engine/engine.h"
#include "engine/sqlite/connection.h"
#include "engine/sqlite/job_rows.h"
#include "engine/sqlite/lock_table.h"
#include "engine/sqlite/record_rows.h"
#include "rules/apply.h"
#include "rules/load.h"

namespace holdfast::engine {

/// Confined to the writer's thread. A Result that is an error means the transaction is broken, and
/// must be rolled back; a refused batch is a value.
class Transaction {
 public:
  Result<void> Prepare(Connection& connection, const base::EngineClock& clock);

  /// After BEGIN: reads the counters anew.
  Result<void> Begin();
  /// Before COMMIT: writes queues and, if anything changed, the counters and the time.
  Result<void> Finish(Time now);

  /// After COMMIT. Without it, the next Begin believes nothing of what this one has left.
  void Committed() { locks_.Committed(); }

  /// A call begins, of one batch or several: the bound of an answer is for all of them.
  void BeginCall() { answer_room_ = rules::kAnswerBytes; }
  /// One batch in a savepoint of its own.
  Result<Result<Receipt>> Commit(const Batch& batch, const std::string& fingerprint,
                                 const rules::Origin& origin, const Context& context);
  Result<std::vector<Job>> Claim(const ClaimRequest& request, const rules::Origin& origin);
  Result<MaintainResult> Maintain(const MaintainRequest& request, const rules::Origin& origin);

  std::int64_t session() const { return session_; }
  /// As of Begin. Changes when, and only when, another process has committed.
  std::int64_t data_version() const { return locks_.data_version(); }

  /// What became claimable or comes due in this transaction.
  const Change& change() const { return change_; }

 private:
  Result<std::optional<Result<Receipt>>> FindAnswer(const Batch& batch,
                                                    const std::string& fingerprint, Time now);
  Result<Result<Receipt>> Replay(const Batch& batch, Result<Receipt> answer,
                                 const rules::Origin& origin);
  Result<void> StoreAnswer(const Batch& batch, const std::string& fingerprint,
                           const Receipt& receipt, Time now);
  Result<void> Persist(SteadyTime began, Time now);
  Result<Receipt> RefuseBatch(Error error);
  Result<void> InsertAudit(const AuditEntry& entry);

  Result<void> LoadAll(const std::vector<JobId>& ids,
                       std::size_t most_bytes = std::numeric_limits<std::size_t>::max());
  Result<void> HandleDue(int limit, const rules::Origin& origin, MaintainResult& result);
  Result<void> LapseDue(int limit, const rules::Origin& origin, MaintainResult& result);
  Result<void> SettleLocks(int limit, const rules::Origin& origin, MaintainResult& result);
  Result<void> PruneJobs(int limit, Time now, MaintainReport& report);
  Result<void> PruneOthers(int limit, Time now, MaintainReport& report);
  Result<void> FindNextDue(MaintainResult& result);
  Result<void> NoteClock();

  Connection* connection_ = nullptr;
  const base::EngineClock* clock_ = nullptr;
  std::int64_t session_ = 0;  // of this process, for others to know whether its waiters live
  JobTable jobs_;
  RecordTable records_;
  LockTable locks_;
  rules::Rows rows_;         // of the batch at hand
  rules::TouchedKeys keys_;  // likewise
  rules::Counters counters_;
  std::size_t answer_room_ = 0;          // of the call at hand
  std::optional<Duration> noted_ahead_;  // of the wall clock, as it is in the file
  bool must_write_ = false;              // even if nothing has changed
  std::int64_t changes_at_begin_ = 0;    // rows this connection has ever changed
  Change change_;

  Statement select_counters_, update_counters_;
  Statement savepoint_, release_, rollback_to_;
  Statement select_answer_, insert_answer_, delete_answers_;
  Statement insert_audit_, select_old_audit_, delete_audit_;
  Statement select_due_, min_due_, select_retained_, delete_job_, select_meta_, insert_meta_;
};

}  // namespace holdfast::engine
