// What a connection does inside one PostgreSQL transaction: batches, claims and maintenance,
// through the rules. Knows nothing of threads, groups or retries.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/postgres/job_table.h"
#include "engine/postgres/lock_table.h"
#include "engine/postgres/node.h"
#include "engine/postgres/record_table.h"
#include "engine/work.h"
#include "rules/apply.h"
#include "rules/load.h"

namespace holdfast::engine::postgres {

/// One batch on its way, and its answer.
struct BatchRequest {
  const Batch* batch = nullptr;
  const std::string* fingerprint = nullptr;  // if it has an idempotency key
  const Context* context = nullptr;
  SteadyTime called;
  Result<Receipt> answer;
  bool is_held = false;  // the answer is that another session keeps a row locked that it needs
};

/// One claim on its way.
struct ClaimOne {
  const ClaimRequest* request = nullptr;
  const Context* context = nullptr;
  SteadyTime called;
  Result<std::vector<Job>> answer;
};

/// Confined to one thread. A Result that is an error means that nothing was committed, or, where
/// `commit_was_sent`, that it is not known; a refused batch is a value.
///
/// Rows are locked in one order, by all: guards of creations, locks, transfers, records, kinds,
/// jobs, queues, and each of these by its key. What a batch names is locked in one round trip; the
/// rules then say whether they have seen all they need. If they have not (an action reached
/// children, a lock was found in the way), the transaction lets go of everything and begins anew
/// with the longer list: so no transaction waits for a row while it holds a later one.
class Transaction {
 public:
  Transaction(Connection*& connection, Node& node, std::int64_t slot);

  /// With `is_careful`, unique keys are looked up before they are taken.
  Result<void> Commit(std::span<BatchRequest> requests, bool is_careful);
  /// With `skips_held_queues`, queues whose row another transaction holds are passed over.
  Result<void> Claim(std::span<ClaimOne> requests, bool skips_held_queues);
  Result<MaintainResult> Maintain(const MaintainRequest& request, const Context& context);

  /// How long a statement of the next transactions waits for a row that another one holds.
  Duration lock_timeout = std::chrono::seconds(20);

  /// Of the latest: what became claimable or comes due.
  const Change& change() const { return change_; }
  /// Likewise: whether others may wait for a lock that has changed.
  bool has_changed_locks() const { return has_settled_locks_ || locks_.HasChanges(); }
  /// Whether the latest ended with a COMMIT whose answer may have been lost.
  bool commit_was_sent() const { return commit_was_sent_; }
  /// Of the latest, by which PostgreSQL knows it.
  std::int64_t transaction_id() const { return transaction_id_; }

 private:
  struct StoredAnswer {
    std::string fingerprint;
    std::string answer;
    Time expires_at;
    bool is_new = false;
  };
  /// Numbers for one of the counters.
  struct Ids {
    IdPool& pool;
    std::int64_t rules::Counters::*last;
    IdPool::Range range{};
  };

  void Clear();
  /// Runs `body` in a transaction in which all that is wanted is locked and loaded, and commits
  /// what it has changed. If it says false, the rules need more than was wanted when the
  /// transaction began: it lets go of everything and begins anew.
  using Body = std::function<Result<bool>()>;
  Result<void> Run(const Body& body);
  Result<bool> RunOnce(const Body& body);
  Result<bool> Begin();
  void TakeStamp(const Answer& answer);
  void TakeAnswers(const Answer& answer);
  void Forget();
  Result<void> WriteAndCommit();
  void QueueAnswers();
  bool HasWrites() const;

  Result<void> Gather(const Batch& batch);
  void GuardCreations(const Batch& batch);
  void Guard(const RecordKey& record, bool is_exclusive);
  void QueueGuards();
  Result<bool> Apply(BatchRequest& request);
  Result<void> LoadAndApply(BatchRequest& request, const rules::Origin& origin);
  void BeginBatch();
  std::optional<Result<Receipt>> FindAnswer(const Batch& batch, const std::string& fingerprint);
  Result<bool> Replay(BatchRequest& request, const rules::Origin& origin);
  void StoreAnswer(const BatchRequest& request, const Receipt& receipt);
  Result<void> Reserve(Ids& ids, std::size_t count);
  void GiveBackIds();
  bool Lacks() const;
  void TakeOver(SteadyTime began);

  struct Asked;
  Result<void> LoadForClaim(std::span<ClaimOne> requests, bool skips_held_queues);
  void AddFoundQueues(std::vector<LowWatermarks::View>& views) const;
  bool IsClaimedFreely(const std::string& queue, const std::vector<std::string>& limited) const;
  void RaiseMarks(const std::vector<LowWatermarks::View>& views, SteadyTime began);
  Result<void> LookAgain(const Asked& asked, const std::vector<LowWatermarks::View>& views);
  Result<void> LockFreeQueues(std::vector<std::string>& names);
  Result<void> LoadLimited(const std::vector<std::string>& names, const Asked& asked);
  Result<void> LoadQueuesOf(const std::vector<JobId>& ids);
  Result<void> ClaimLoaded(std::span<ClaimOne> requests);

  void KeepChange();
  bool GiveUpStep();
  template <typename Item, typename Attempt>
  Result<void> SettleAll(std::vector<Item> items, Attempt attempt);
  Result<void> HandleDue(const MaintainRequest& request, MaintainResult& result);
  Result<void> LapseDue(int limit, MaintainResult& result);
  Result<void> Lapse(const std::vector<RecordKey>& records,
                     const std::vector<TransferId>& transfers, MaintainReport& report);
  Result<void> SettleLocks(int limit, MaintainResult& result);
  Result<void> Settle(const std::vector<std::string>& names, MaintainReport& report);
  Result<void> PruneJobs(int limit, MaintainReport& report);
  Result<void> PruneOthers(int limit, MaintainReport& report);
  Result<void> FoldCounts();
  Result<void> RecordRefusals(const MaintainRequest& request);
  Result<void> FindNextDue(MaintainResult& result);

  Connection*& connection_;
  Node& node_;
  JobTable jobs_;
  RecordTable records_;
  LockTable locks_;
  rules::Rows rows_;         // of the batch at hand
  rules::TouchedKeys keys_;  // likewise
  rules::Counters counters_;
  std::int64_t stamp_base_ = 0;  // what the tokens and tickets of this transaction begin after
  Ids job_ids_, record_ids_, transfer_ids_;
  Time now_;
  std::int64_t running_from_ = 0;  // the token from which on maintenance looks for leases
  SteadyTime stamped_at_;          // when it was that time
  std::int64_t transaction_id_ = 0;
  bool commit_was_sent_ = false;
  std::vector<AuditEntry> audit_;
  std::map<std::string, StoredAnswer> answers_;
  std::vector<std::string> wanted_answers_;
  std::vector<JobId> candidates_;  // for claims, in their order
  Change change_;
  Change maintained_;               // of the steps of this round of maintenance
  bool has_settled_locks_ = false;  // likewise

  // Advisory locks: whether each is taken exclusively.
  std::map<std::int64_t, bool> guards_;
  bool lacks_guards_ = false;

  const Sql commit_, take_guards_, stamp_, load_answers_, delete_answers_, insert_answers_,
      insert_audit_;
  const Sql claim_jobs_, claim_any_, claim_limited_, load_claim_queues_, load_pending_queues_,
      lock_free_queues_;
  const Sql claim_kinds_, claim_kinds_any_, claim_limited_kinds_, load_limited_queues_;
  const Sql due_jobs_, due_records_, due_transfers_, due_locks_, dead_lines_, prune_jobs_,
      prune_answers_, prune_audit_, prune_transfers_, prune_locks_, prune_sessions_, next_due_,
      fold_counts_;
};

}  // namespace holdfast::engine::postgres
