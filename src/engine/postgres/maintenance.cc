// The bounded steps of maintenance, each a transaction of its own. Any number of nodes may run them
// at once: rows that another one has in hand are passed over.
#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "engine/postgres/audit_rows.h"
#include "engine/postgres/transaction.h"
#include "rules/limits.h"

namespace holdfast::engine::postgres {

Result<MaintainResult> Transaction::Maintain(const MaintainRequest& request,
                                             const Context& context) {
  MaintainResult result;
  Change all;
  auto step = [&](Result<void> done) {
    for (const rules::ReadyJobs& ready : change_.ready) all.ready.push_back(ready);
    all.locks.Take(change_.locks);
    change_ = {};
    if (!done) connection_->RollBack();
    return done;
  };
  HF_RETURN_IF_ERROR(context.Check());
  running_from_ = node_.running_mark.Look(std::chrono::steady_clock::now());
  HF_RETURN_IF_ERROR(step(HandleDue(request.limit, result)));
  HF_RETURN_IF_ERROR(step(LapseDue(request.limit, result)));
  HF_RETURN_IF_ERROR(step(SettleLocks(request.limit, result)));
  HF_RETURN_IF_ERROR(step(PruneJobs(request.limit, result.report)));
  HF_RETURN_IF_ERROR(step(PruneOthers(request.limit, result.report)));
  if (!request.refusals.empty()) {
    std::vector<AuditEntry> refusals = request.refusals;
    for (AuditEntry& entry : refusals) entry.at = now_;
    connection_->QueueRows(insert_audit_, AuditRows(refusals));
    HF_RETURN_IF_ERROR(connection_->Run());
  }
  HF_RETURN_IF_ERROR(FoldCounts());
  HF_RETURN_IF_ERROR(FindNextDue(result));
  change_ = std::move(all);
  return result;
}

/// Leases that ran out, and scheduled jobs that came due.
Result<void> Transaction::HandleDue(int limit, MaintainResult& result) {
  Clear();
  HF_ASSIGN_OR_RETURN(Answer stamp, connection_->Query(stamp_));  // for the time
  TakeStamp(stamp);
  connection_->Queue(begin_);
  connection_->Queue(due_jobs_, Parameters().Add(now_).Add(std::int64_t{limit}).Add(running_from_));
  connection_->Queue(stamp_);
  HF_ASSIGN_OR_RETURN(std::vector<Answer> answers, connection_->Run());
  std::vector<JobId> ids;
  HF_RETURN_IF_ERROR(jobs_.AddLoaded(answers[1], ids));
  TakeStamp(answers[2]);
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
  const rules::Origin origin{.now = now_, .actor = {}, .correlation_id = {}};
  std::vector<const rules::JobRow*> expired;
  for (rules::JobRow& row : rows_.jobs()) {
    if (rules::EndDue(rows_, row, origin)) {
      expired.push_back(&row);
    } else {
      ++result.report.promoted;
    }
  }
  TakeOver(std::chrono::steady_clock::now());
  for (const rules::JobRow* row : expired) result.expired.push_back(*row->job);
  result.report.expired = static_cast<std::int64_t>(expired.size());
  result.report.more |= ids.size() == static_cast<std::size_t>(limit);
  return WriteAndCommit();
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
  if (records.empty() && transfers.empty()) return {};
  auto load = [&] {
    BeginBatch();
    keys_.Clear();
    return rules::LoadDueRows(records, transfers, records_, keys_, rows_);
  };
  HF_RETURN_IF_ERROR(load());
  const rules::Origin origin{.now = now_, .actor = {}, .correlation_id = {}};
  Result<void> lapsed = Run([&]() -> Result<bool> {
    HF_RETURN_IF_ERROR(load());
    if (Lacks()) return false;
    result.report.lapsed = rules::LapseDue(rows_, origin);
    TakeOver(std::chrono::steady_clock::now());
    return true;
  });
  if (!lapsed) return lapsed;
  auto most = static_cast<std::size_t>(limit);
  result.report.more |= records.size() == most || transfers.size() == most;
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
  if (names.empty()) return {};
  result.report.more |= names.size() >= static_cast<std::size_t>(limit);
  const rules::Origin origin{.now = now_, .actor = {}, .correlation_id = {}};
  for (const std::string& name : names) locks_.Want(name);
  return Run([&]() -> Result<bool> {
    BeginBatch();
    HF_RETURN_IF_ERROR(rules::LoadLocks(names, locks_, rows_));
    if (Lacks()) return false;
    rules::SettleLocks(rows_, origin);
    result.report.unlocked = static_cast<std::int64_t>(rows_.locks().notes.expired.size());
    TakeOver(std::chrono::steady_clock::now());
    return true;
  });
}

Result<void> Transaction::PruneJobs(int limit, MaintainReport& report) {
  Clear();
  HF_ASSIGN_OR_RETURN(
      Answer pruned,
      connection_->Query(prune_jobs_,
                         Parameters().Add(now_).Add(std::int64_t{limit}).Add(jobs_.slot())));
  const std::int64_t count = Row(pruned, 0).Integer(0);
  report.pruned += count;
  report.more |= limit > 0 && count >= limit;
  return {};
}

Result<void> Transaction::PruneOthers(int limit, MaintainReport& report) {
  const std::int64_t most = limit;
  connection_->Queue(prune_answers_, Parameters().Add(now_).Add(most));
  connection_->Queue(prune_audit_, Parameters().Add(now_ - rules::kAuditRetention).Add(most));
  connection_->Queue(prune_transfers_,
                     Parameters().Add(now_ - rules::kTransferRetention).Add(most));
  connection_->Queue(prune_locks_, Parameters().Add(most));
  connection_->Queue(prune_sessions_, Parameters().Add(now_));
  HF_ASSIGN_OR_RETURN(std::vector<Answer> answers, connection_->Run());
  for (std::size_t i = 0; i < 3; ++i) {
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
  HF_ASSIGN_OR_RETURN(
      Answer folded,
      connection_->Query(fold_counts_,
                         Parameters().Add(jobs_.base_slot()).Add(JobTable::kSlotsOfSet)));
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
