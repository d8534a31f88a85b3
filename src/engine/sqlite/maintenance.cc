// The bounded steps of maintenance, inside the writer's transaction.
#include <algorithm>

#include "base/mutant.h"
#include "base/result.h"
#include "engine/sqlite/schema.h"
#include "engine/sqlite/transaction.h"
#include "rules/limits.h"

namespace holdfast::engine {
namespace {

constexpr int kQueuesAtOnce = 1000;  // whose finished jobs one step looks at: the steps take turns

}  // namespace

Result<MaintainResult> Transaction::Maintain(const MaintainRequest& request,
                                             const rules::Origin& origin) {
  MaintainResult result;
  HF_RETURN_IF_ERROR(HandleDue(request.limit, origin, result));
  HF_RETURN_IF_ERROR(LapseDue(request.limit, origin, result));
  HF_RETURN_IF_ERROR(SettleLocks(request.limit, origin, result));
  HF_RETURN_IF_ERROR(PruneJobs(request.limit, origin.now, result.report));
  HF_RETURN_IF_ERROR(PruneOthers(request.limit, origin.now, result.report));
  for (AuditEntry entry : request.refusals) {
    entry.sequence = ++counters_.last_audit;
    entry.at = origin.now;
    HF_RETURN_IF_ERROR(InsertAudit(entry));
  }
  HF_RETURN_IF_ERROR(NoteClock());
  must_write_ |= request.must_write;
  HF_RETURN_IF_ERROR(FindNextDue(result));
  return result;
}

/// Fills rows_ with these jobs and their queues.
Result<void> Transaction::LoadAll(const std::vector<JobId>& ids, std::size_t most_bytes) {
  rows_.Clear(false);
  rows_.counters = counters_;
  return rules::LoadJobRows(ids, jobs_, keys_, rows_, most_bytes);
}

/// Leases that ran out, and scheduled jobs that came due.
Result<void> Transaction::HandleDue(int limit, const rules::Origin& origin,
                                    MaintainResult& result) {
  std::vector<JobId> ids;
  select_due_.Bind(origin.now - Duration(HF_MUTANT(due_a_tick_later))).Bind(std::int64_t{limit});
  while (true) {
    HF_ASSIGN_OR_RETURN(bool found, select_due_.Step());
    if (!found) break;
    ids.push_back(select_due_.Integer(0));
  }
  if (ids.empty()) return {};
  HF_RETURN_IF_ERROR(LoadAll(ids));
  std::vector<rules::JobRow*> expired;
  for (rules::JobRow& row : rows_.jobs()) {
    if (rules::EndDue(rows_, row, origin)) {
      expired.push_back(&row);
    } else {
      ++result.report.promoted;
    }
  }
  HF_RETURN_IF_ERROR(Persist(clock_->Steady(), origin.now));
  for (rules::JobRow* row : expired) result.expired.push_back(std::move(*row->job));
  result.report.expired = static_cast<std::int64_t>(expired.size());
  result.report.more |= ids.size() == static_cast<std::size_t>(limit);
  return {};
}

/// Timed statuses that are over, and pending transfers whose time limit has passed.
Result<void> Transaction::LapseDue(int limit, const rules::Origin& origin, MaintainResult& result) {
  HF_ASSIGN_OR_RETURN(std::vector<RecordKey> records, records_.DueRecords(origin.now, limit));
  HF_ASSIGN_OR_RETURN(std::vector<TransferId> transfers, records_.DueTransfers(origin.now, limit));
  if (records.empty() && transfers.empty()) return {};
  rows_.Clear(false);
  rows_.counters = counters_;
  keys_.Clear();
  HF_RETURN_IF_ERROR(rules::LoadDueRows(records, transfers, records_, keys_, rows_));
  result.report.lapsed = rules::LapseDue(rows_, origin);
  HF_RETURN_IF_ERROR(Persist(clock_->Steady(), origin.now));
  auto most = static_cast<std::size_t>(limit);
  result.report.more |= records.size() == most || transfers.size() == most;
  return {};
}

/// Leases of locks that ran out, and lines whose first waiter is dead.
Result<void> Transaction::SettleLocks(int limit, const rules::Origin& origin,
                                      MaintainResult& result) {
  HF_ASSIGN_OR_RETURN(std::vector<std::string> names, locks_.DueLocks(origin.now, limit));
  if (names.empty()) return {};
  result.report.more |= names.size() >= static_cast<std::size_t>(limit);
  rows_.Clear(false);
  rows_.counters = counters_;
  rows_.locks().session = session_;
  rows_.locks().now = origin.now;
  HF_RETURN_IF_ERROR(rules::LoadLocks(names, locks_, rows_));
  rules::SettleLocks(rows_, origin);
  result.report.unlocked = static_cast<std::int64_t>(rows_.locks().notes.expired.size());
  HF_RETURN_IF_ERROR(Persist(clock_->Steady(), origin.now));
  return locks_.Prune(origin.now);
}

Result<void> Transaction::PruneJobs(int limit, Time now, MaintainReport& report) {
  HF_ASSIGN_OR_RETURN(std::vector<std::string> names, jobs_.NextQueueNames(kQueuesAtOnce));
  for (const std::string& name : names) {
    HF_ASSIGN_OR_RETURN(Queue * queue, jobs_.LoadQueue(name));
    for (JobState state : {JobState::kCompleted, JobState::kFailed, JobState::kCancelled}) {
      if (queue->CountOf(state) == 0 || report.pruned >= limit) continue;
      std::vector<JobId> ids;
      select_retained_.Bind(RetainedAs(state))
          .Bind(name)
          .Bind(NameOf(state))
          .Bind(rules::PruneBefore(*queue, state, now))
          .Bind(limit - report.pruned);
      while (true) {
        HF_ASSIGN_OR_RETURN(bool found, select_retained_.Step());
        if (!found) break;
        ids.push_back(select_retained_.Integer(0));
      }
      for (JobId id : ids) HF_RETURN_IF_ERROR(delete_job_.Bind(id).Run());
      auto count = static_cast<std::int64_t>(ids.size());
      if (count > 0) HF_RETURN_IF_ERROR(jobs_.CountPruned(name, state, count));
      report.pruned += count;
    }
  }
  report.more |= report.pruned >= limit;
  return {};
}

Result<void> Transaction::PruneOthers(int limit, Time now, MaintainReport& report) {
  HF_RETURN_IF_ERROR(delete_answers_.Bind(now).Bind(std::int64_t{limit}).Run());
  std::int64_t answers = sqlite3_changes64(connection_->handle());
  // Entries are in the order of time: look at the oldest, stop at the first that is to be kept.
  std::int64_t entries = 0;
  std::int64_t last = 0;
  select_old_audit_.Bind(std::int64_t{limit});
  while (true) {
    HF_ASSIGN_OR_RETURN(bool found, select_old_audit_.Step());
    if (!found) break;
    if (select_old_audit_.TimeAt(1) > now - rules::kAuditRetention) {
      select_old_audit_.Reset();
      break;
    }
    last = select_old_audit_.Integer(0);
    ++entries;
  }
  if (entries > 0) HF_RETURN_IF_ERROR(delete_audit_.Bind(last).Run());
  HF_ASSIGN_OR_RETURN(std::int64_t transfers,
                      records_.Prune(now - rules::kTransferRetention, limit));
  report.pruned += answers + entries + transfers;
  report.more |= answers == limit || entries == limit || transfers == limit;
  return {};
}

/// For the next start of the machine, which is when this clock can follow the wall clock. Written
/// when it has changed by more than clocks drift.
Result<void> Transaction::NoteClock() {
  if (!noted_ahead_) {
    noted_ahead_ = Duration(0);
    HF_ASSIGN_OR_RETURN(bool found, select_meta_.Bind(kClockAhead).Step());
    if (found) noted_ahead_ = Duration(select_meta_.Integer(0));
    select_meta_.Reset();
  }
  const Duration ahead = clock_->Ahead();
  if (std::chrono::abs(ahead - *noted_ahead_) < std::chrono::minutes(1)) return {};
  HF_RETURN_IF_ERROR(insert_meta_.Bind(kClockAhead).Bind(ahead.count()).Run());
  noted_ahead_.reset();  // read again: this transaction may be rolled back
  return {};
}

Result<void> Transaction::FindNextDue(MaintainResult& result) {
  HF_RETURN_IF_ERROR(min_due_.Step());
  result.next_due = min_due_.OptionalTime(0);
  min_due_.Reset();
  HF_ASSIGN_OR_RETURN(std::optional<Time> lapse, records_.NextDue());
  HF_ASSIGN_OR_RETURN(std::optional<Time> lease, locks_.NextDue());
  for (std::optional<Time> due : {lapse, lease}) {
    if (due && (!result.next_due || *due < *result.next_due)) result.next_due = due;
  }
  return {};
}

}  // namespace holdfast::engine
