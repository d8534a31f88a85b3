// The bounded steps of maintenance, each a transaction of its own. Any number of nodes may run them
// at once. A step passes over rows that another transaction holds: the next round finds them again.
#include <fmt/format.h>

#include <utility>

#include "base/mutant.h"
#include "base/result.h"
#include "engine/postgres/audit_rows.h"
#include "engine/postgres/transaction.h"
#include "rules/limits.h"

namespace holdfast::engine::postgres {

namespace {

// How long a step waits for a row. Shorter than what a caller notices of a round.
constexpr Duration kPassOver = std::chrono::milliseconds(10);
// When a round comes again to what it has passed over.
constexpr Duration kComeAgain = std::chrono::milliseconds(200);

}  // namespace

Result<MaintainResult> Transaction::Maintain(const MaintainRequest& request,
                                             const Context& context) {
  HF_RETURN_IF_ERROR(context.Check());
  if (!HF_MUTANT(maintenance_waits_for_rows)) lock_timeout = kPassOver;
  if (maintained_.IsEmpty()) has_settled_locks_ = false;
  running_from_ = node_.running_mark.Look(std::chrono::steady_clock::now());
  MaintainResult result;
  std::optional<Error> error;
  Time looked;
  // What fails in one step, or is held, keeps none of the others from being done.
  auto step = [&](Result<void> done) {
    if (done) {
      KeepChange();
      return true;
    }
    const bool is_error = GiveUpStep();
    if (is_error && !error) error = std::move(done).error();
    return !connection_->IsLost();
  };
  const bool is_connected = step(HandleDue(request, result)) && (looked = now_, true) &&
                            step(LapseDue(request.limit, result)) &&
                            step(SettleLocks(request.limit, result)) &&
                            step(PruneJobs(request.limit, result.report)) &&
                            step(PruneOthers(request.limit, result.report)) && step(FoldCounts()) &&
                            step(FindNextDue(result));
  // Last: after an error the caller records them again.
  if (is_connected && !error) {
    if (Result<void> done = RecordRefusals(request); !done) error = std::move(done).error();
  }
  // A round whose connection was lost is done again, and tells what both have done.
  if (!connection_->IsLost()) change_ = std::exchange(maintained_, {});
  if (error) return std::unexpected(*std::move(error));
  // What was due and still is was passed over.
  if (result.next_due && *result.next_due <= looked) *result.next_due = looked + kComeAgain;
  return result;
}

/// What the step that has just committed leads to.
void Transaction::KeepChange() {
  for (const rules::ReadyJobs& ready : change_.ready) maintained_.ready.push_back(ready);
  maintained_.locks.Take(change_.locks);
  has_settled_locks_ |= locks_.HasChanges();
  change_ = {};
}

/// Whether the step failed for another reason than that a row is held: then it is passed over.
bool Transaction::GiveUpStep() {
  connection_->RollBack();
  Clear();
  const Failure failure = connection_->failure();
  return failure != Failure::kHeld && failure != Failure::kConflict;
}

/// Settles all the items in one transaction. If that fails, each by itself, so that one that is
/// held, or fails, does not keep the others. The first error of one that is not held is the answer.
template <typename Item, typename Attempt>
Result<void> Transaction::SettleAll(std::vector<Item> items, Attempt attempt) {
  if (items.empty()) return {};
  Result<void> done = attempt(items);
  if (done) {
    KeepChange();
    return done;
  }
  const bool is_error = GiveUpStep();
  if (connection_->IsLost() || (items.size() == 1 && is_error)) return done;
  if (items.size() == 1) return {};
  Result<void> outcome;
  for (Item& item : items) {
    done = attempt({std::move(item)});
    if (done) {
      KeepChange();
    } else if (GiveUpStep() && outcome) {
      outcome = std::move(done);
    }
    if (connection_->IsLost()) break;
  }
  return outcome;
}

/// Leases that ran out, and scheduled jobs that came due.
Result<void> Transaction::HandleDue(const MaintainRequest& request, MaintainResult& result) {
  const int limit = request.limit;
  Clear();
  HF_ASSIGN_OR_RETURN(Answer stamp, connection_->Query(stamp_));  // for the time
  TakeStamp(stamp);
  connection_->QueueBegin(lock_timeout);
  connection_->Queue(due_jobs_, Parameters().Add(now_).Add(std::int64_t{limit}).Add(running_from_));
  connection_->Queue(stamp_);
  HF_ASSIGN_OR_RETURN(std::vector<Answer> answers, connection_->Run());
  std::vector<JobId> ids;
  HF_RETURN_IF_ERROR(jobs_.AddLoaded(answers[2], ids));
  TakeStamp(answers[3]);
  if (ids.empty()) {
    connection_->RollBack();
    return {};
  }
  for (JobId id : ids) HF_RETURN_IF_ERROR(jobs_.LoadQueue(jobs_.LoadedJob(id).queue));
  jobs_.QueueLoad(*connection_, false);
  HF_ASSIGN_OR_RETURN(std::vector<Answer> queues, connection_->Run());
  Answers loaded(std::move(queues));
  HF_RETURN_IF_ERROR(jobs_.TakeLoaded(loaded));
  BeginBatch();
  HF_RETURN_IF_ERROR(rules::LoadJobRows(ids, jobs_, keys_, rows_));
  // Other nodes expire what runs out while this one stands still: what they have left ran out while
  // all of them did.
  const rules::Origin origin{
      .now = now_, .actor = {}, .correlation_id = {}, .stall = request.StallAt(now_)};
  std::vector<Job> expired;
  for (rules::JobRow& row : rows_.jobs()) {
    if (rules::EndDue(rows_, row, origin)) expired.push_back(*row.job);
  }
  TakeOver(std::chrono::steady_clock::now());
  HF_RETURN_IF_ERROR(WriteAndCommit());
  result.report.expired = static_cast<std::int64_t>(expired.size());
  result.report.promoted += static_cast<std::int64_t>(ids.size() - expired.size());
  result.report.more |= ids.size() == static_cast<std::size_t>(limit);
  result.expired = std::move(expired);
  return {};
}

/// Timed statuses that are over, and pending transfers whose time limit has passed.
Result<void> Transaction::LapseDue(int limit, MaintainResult& result) {
  Clear();
  const Parameters bounds = Parameters().Add(now_).Add(std::int64_t{limit});
  connection_->Queue(due_records_, bounds);
  connection_->Queue(due_transfers_, bounds);
  HF_ASSIGN_OR_RETURN(std::vector<Answer> due, connection_->Run());
  std::vector<RecordKey> records;
  std::vector<TransferId> transfers;
  for (int i = 0; i < due[0].size(); ++i) {
    Row row(due[0], i);
    records.push_back({row.String(0), row.String(1)});
  }
  for (int i = 0; i < due[1].size(); ++i) transfers.push_back(Row(due[1], i).Integer(0));
  auto most = static_cast<std::size_t>(limit);
  result.report.more |= records.size() == most || transfers.size() == most;
  HF_RETURN_IF_ERROR(SettleAll(std::move(records), [&](const std::vector<RecordKey>& some) {
    return Lapse(some, {}, result.report);
  }));
  return SettleAll(std::move(transfers), [&](const std::vector<TransferId>& some) {
    return Lapse({}, some, result.report);
  });
}

Result<void> Transaction::Lapse(const std::vector<RecordKey>& records,
                                const std::vector<TransferId>& transfers, MaintainReport& report) {
  Clear();
  auto load = [&] {
    BeginBatch();
    keys_.Clear();
    return rules::LoadDueRows(records, transfers, records_, keys_, rows_);
  };
  HF_RETURN_IF_ERROR(load());
  const rules::Origin origin{.now = now_, .actor = {}, .correlation_id = {}};
  std::int64_t lapsed = 0;
  Result<void> done = Run([&]() -> Result<bool> {
    HF_RETURN_IF_ERROR(load());
    if (Lacks()) return false;
    lapsed = rules::LapseDue(rows_, origin);
    TakeOver(std::chrono::steady_clock::now());
    return true;
  });
  if (!done) return done;
  report.lapsed += lapsed;
  return {};
}

/// Leases of locks that ran out, and lines whose first waiter is dead.
Result<void> Transaction::SettleLocks(int limit, MaintainResult& result) {
  Clear();
  connection_->Queue(due_locks_, Parameters().Add(now_).Add(std::int64_t{limit}));
  connection_->Queue(dead_lines_,
                     Parameters().Add(now_).Add(node_.session).Add(std::int64_t{limit}));
  HF_ASSIGN_OR_RETURN(std::vector<Answer> due, connection_->Run());
  std::vector<std::string> names;
  for (const Answer& answer : due) {
    for (int i = 0; i < answer.size(); ++i) names.push_back(Row(answer, i).String(0));
  }
  result.report.more |= names.size() >= static_cast<std::size_t>(limit);
  return SettleAll(std::move(names), [&](const std::vector<std::string>& some) {
    return Settle(some, result.report);
  });
}

Result<void> Transaction::Settle(const std::vector<std::string>& names, MaintainReport& report) {
  Clear();
  const rules::Origin origin{.now = now_, .actor = {}, .correlation_id = {}};
  for (const std::string& name : names) locks_.Want(name);
  std::int64_t unlocked = 0;
  Result<void> done = Run([&]() -> Result<bool> {
    BeginBatch();
    HF_RETURN_IF_ERROR(rules::LoadLocks(names, locks_, rows_));
    if (Lacks()) return false;
    rules::SettleLocks(rows_, origin);
    unlocked = static_cast<std::int64_t>(rows_.locks().notes.expired.size());
    TakeOver(std::chrono::steady_clock::now());
    return true;
  });
  if (!done) return done;
  report.unlocked += unlocked;
  return {};
}

Result<void> Transaction::PruneJobs(int limit, MaintainReport& report) {
  Clear();
  connection_->QueueBegin(lock_timeout);
  connection_->Queue(prune_jobs_,
                     Parameters().Add(now_).Add(std::int64_t{limit}).Add(jobs_.slot()));
  connection_->Queue(commit_);
  HF_ASSIGN_OR_RETURN(std::vector<Answer> answers, connection_->Run());
  const std::int64_t count = Row(answers[2], 0).Integer(0);
  report.pruned += count;
  report.more |= limit > 0 && count >= limit;
  return {};
}

Result<void> Transaction::PruneOthers(int limit, MaintainReport& report) {
  const std::int64_t most = limit;
  connection_->QueueBegin(lock_timeout);
  connection_->Queue(prune_answers_, Parameters().Add(now_).Add(most));
  connection_->Queue(prune_audit_, Parameters().Add(now_ - rules::kAuditRetention).Add(most));
  connection_->Queue(prune_transfers_,
                     Parameters().Add(now_ - rules::kTransferRetention).Add(most));
  connection_->Queue(prune_locks_, Parameters().Add(most));
  connection_->Queue(prune_sessions_, Parameters().Add(now_));
  connection_->Queue(commit_);
  HF_ASSIGN_OR_RETURN(std::vector<Answer> answers, connection_->Run());
  for (std::size_t i = 2; i < 5; ++i) {
    report.pruned += answers[i].affected();
    report.more |= limit > 0 && answers[i].affected() == most;
  }
  return {};
}

/// Slots of counts that connections have left become one: there are never many rows to sum up.
Result<void> Transaction::FoldCounts() {
  constexpr int kFew = 16;
  if (node_.slots_left < kFew) return {};
  node_.slots_left = 0;
  connection_->QueueBegin(lock_timeout);
  connection_->Queue(fold_counts_, Parameters().Add(jobs_.base_slot()).Add(JobTable::kSlotsOfSet));
  connection_->Queue(commit_);
  HF_RETURN_IF_ERROR(connection_->Run());
  return {};
}

Result<void> Transaction::RecordRefusals(const MaintainRequest& request) {
  if (request.refusals.empty()) return {};
  std::vector<AuditEntry> refusals = request.refusals;
  for (AuditEntry& entry : refusals) entry.at = now_;
  connection_->QueueRows(insert_audit_, AuditRows(refusals));
  HF_RETURN_IF_ERROR(connection_->Run());
  return {};
}

Result<void> Transaction::FindNextDue(MaintainResult& result) {
  const SteadyTime began = std::chrono::steady_clock::now();
  HF_ASSIGN_OR_RETURN(
      Answer next,
      connection_->Query(next_due_, Parameters().Add(node_.session).Add(running_from_)));
  result.next_due = Row(next, 0).OptionalTime(0);
  node_.running_mark.Raise(running_from_, Row(next, 0).OptionalInteger(1), began,
                           std::chrono::steady_clock::now());
  return {};
}

}  // namespace holdfast::engine::postgres
