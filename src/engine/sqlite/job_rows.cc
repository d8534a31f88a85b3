#include "engine/sqlite/job_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "base/mutant.h"
#include "base/result.h"
#include "rules/apply.h"
#include "rules/load.h"
#include "wire/decode.h"
#include "wire/encode.h"

namespace holdfast::engine {

const char* const kQueueColumns =
    "name, paused, max_pending, max_running, audit, retain_completed, retain_failed, scheduled, "
    "pending, processing, completed, failed, cancelled";

namespace {

// The columns that the indexes are on. Empty or nothing: NULL.

std::string_view ReadyIn(const Job& job) {
  return job.state == JobState::kPending ? std::string_view(job.queue) : std::string_view();
}

std::optional<Time> DueAt(const Job& job) {
  if (job.state == JobState::kScheduled) return job.run_at;
  return job.lease_expires_at;
}

std::string_view HeldUniqueKey(const Job& job) {
  return rules::HoldsUniqueKey(job) ? std::string_view(job.unique_key) : std::string_view();
}

/// Binds ready_in, due_at, retained_as and held_unique_key, in this order.
Statement& BindIndexColumns(Statement& statement, const Job& job) {
  return statement.BindOrNull(ReadyIn(job))
      .Bind(DueAt(job))
      .BindOrNull(RetainedAs(job.state))
      .BindOrNull(HeldUniqueKey(job));
}

}  // namespace

Result<void> JobTable::Prepare(Connection& connection) {
  std::string select = fmt::format("SELECT {} FROM jobs", kJobColumns);
  std::tuple<Statement&, std::string> statements[] = {
      {select_job_, select + " WHERE id = ?"},
      {select_unique_, select + " WHERE kind = ? AND held_unique_key = ?"},
      {select_queue_, fmt::format("SELECT {} FROM queues WHERE name = ?", kQueueColumns)},
      {select_ready_, fmt::format("SELECT priority, run_at, id FROM jobs WHERE ready_in = ? "
                                  "ORDER BY priority {}, run_at, id LIMIT ?",
                                  HF_MUTANT(priority_reversed) ? "DESC" : "")},
      {select_ready_kind_,
       "SELECT priority, run_at, id FROM jobs WHERE ready_in = ? AND kind = ? "
       "ORDER BY priority, run_at, id LIMIT ?"},
      {select_heads_,
       "SELECT name, head_priority, head_run_at, head_id FROM queues WHERE head_id IS NOT NULL "
       "ORDER BY head_priority, head_run_at, head_id"},
      {select_queue_names_, "SELECT name FROM queues WHERE name > ? ORDER BY name LIMIT ?"},
      {insert_,
       fmt::format(
           "INSERT INTO jobs ({}, ready_in, due_at, retained_as, held_unique_key) "
           "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
           "?, ?, ?, ?, ?, ?, ?)",
           kJobColumns)},
      // Statements name only what may change, so that indexes on the rest are left alone.
      {update_lease_,
       "UPDATE jobs SET lease_expires_at = ?1, due_at = ?1, cancel_requested = ?2, progress = ?3, "
       "message = ?4 WHERE id = ?5"},
      {update_claimed_,
       "UPDATE jobs SET state = 'processing', ready_in = NULL, lease_expires_at = ?1, due_at = ?1, "
       "attempt = ?2, token = ?3, worker = ?4, started_at = ?5, progress = NULL, message = NULL "
       "WHERE id = ?6"},
      {update_finished_,
       "UPDATE jobs SET state = ?1, lease_expires_at = NULL, due_at = NULL, retained_as = ?2, "
       "finished_at = ?3, lease_expiries = ?4, result = ?5 WHERE id = ?6"},
      {update_whole_,
       "UPDATE jobs SET state = ?, run_at = ?, attempt = ?, token = ?, worker = ?, "
       "lease_expires_at = ?, started_at = ?, lease_expiries = ?, cancel_requested = ?, "
       "finished_at = ?, progress = ?, message = ?, errors = ?, result = ?, ready_in = ?, "
       "due_at = ?, retained_as = ?, held_unique_key = ? WHERE id = ?"},
      {update_payload_, "UPDATE jobs SET payload = ? WHERE id = ?"},
      {delete_, "DELETE FROM jobs WHERE id = ?"},
      {upsert_queue_,
       fmt::format("INSERT OR REPLACE INTO queues ({}, head_priority, head_run_at, head_id) "
                   "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                   kQueueColumns)},
  };
  HF_RETURN_IF_ERROR(add_totals_.Prepare(connection,
                                         "UPDATE totals SET scheduled = scheduled + ?, pending = "
                                         "pending + ?, processing = processing + "
                                         "?, completed = completed + ?, failed = failed + ?, "
                                         "cancelled = cancelled + ?, queues = queues "
                                         "+ ? WHERE id = 1"));
  for (auto& [statement, sql] : statements) {
    HF_RETURN_IF_ERROR(statement.Prepare(connection, sql));
  }
  return {};
}

void JobTable::Begin(rules::Rows& rows) {
  rows_ = &rows;
  queues_.clear();
}

Result<void> JobTable::Flush() {
  std::array<std::int64_t, kJobStateCount> more{};
  std::int64_t more_queues = 0;
  for (auto& [name, cached] : queues_) {
    if (!cached.is_dirty) continue;
    const Queue& queue = cached.queue;
    std::vector<ClaimKey> head;
    if (rules::ClaimableOf(queue) > 0) {
      HF_RETURN_IF_ERROR(ReadReady(select_ready_.Bind(name).Bind(std::int64_t{1}), head));
    }
    upsert_queue_.Bind(queue.name)
        .Bind(std::int64_t{queue.paused})
        .Bind(queue.max_pending)
        .Bind(queue.max_running)
        .Bind(std::int64_t{queue.audit})
        .Bind(queue.retain_completed.count())
        .Bind(queue.retain_failed.count());
    for (std::int64_t count : queue.counts) upsert_queue_.Bind(count);
    if (head.empty()) {
      upsert_queue_.BindNull().BindNull().BindNull();
    } else {
      const auto& [priority, due, id] = head.front();
      upsert_queue_.Bind(std::int64_t{priority}).Bind(due).Bind(id);
    }
    HF_RETURN_IF_ERROR(upsert_queue_.Run());
    for (std::size_t i = 0; i < kJobStateCount; ++i) more[i] += queue.counts[i] - cached.stored[i];
    if (!cached.is_stored) ++more_queues;
    cached.stored = queue.counts;
    cached.is_stored = true;
    cached.is_dirty = false;
  }
  if (more_queues == 0 && std::ranges::all_of(more, [](auto n) { return n == 0; })) return {};
  for (std::int64_t count : more) add_totals_.Bind(count);
  return add_totals_.Bind(more_queues).Run();
}

Result<Job*> JobTable::LoadJob(JobId id) {
  HF_ASSIGN_OR_RETURN(bool found, select_job_.Bind(id).Step());
  if (!found) return nullptr;
  Result<Job> job = ReadJob(select_job_);
  select_job_.Reset();
  if (!job) return std::unexpected(std::move(job).error());
  return rows_->Own(*std::move(job));
}

Result<Job*> JobTable::LoadUnique(std::string_view kind, std::string_view key) {
  HF_ASSIGN_OR_RETURN(bool found, select_unique_.Bind(kind).Bind(key).Step());
  if (!found) return nullptr;
  Result<Job> job = ReadJob(select_unique_);
  select_unique_.Reset();
  if (!job) return std::unexpected(std::move(job).error());
  return rows_->Own(*std::move(job));
}

Result<JobTable::CachedQueue*> JobTable::FindQueue(std::string_view name) {
  auto found = queues_.find(name);
  if (found != queues_.end()) return &found->second;
  HF_ASSIGN_OR_RETURN(bool exists, select_queue_.Bind(name).Step());
  CachedQueue cached;
  cached.exists = exists;
  if (exists) {
    cached.queue = ReadQueue(select_queue_);
    cached.stored = cached.queue.counts;
    cached.is_stored = true;
    select_queue_.Reset();
  }
  return &queues_.emplace(name, std::move(cached)).first->second;
}

Result<Queue*> JobTable::LoadQueue(std::string_view name) {
  HF_ASSIGN_OR_RETURN(CachedQueue * cached, FindQueue(name));
  // A copy: if the batch is refused, the cached one stays as it was.
  return cached->exists ? rows_->Own(cached->queue) : nullptr;
}

Result<void> JobTable::Persist(rules::Rows& rows) {
  // First every unique key that is given up, then every one that is taken: a batch may hand one
  // over, and the constraint looks at every statement.
  auto takes_key = [](const rules::JobRow& row) {
    return row.change == rules::Change::kUpdated && !row.before.holds_unique_key &&
           rules::HoldsUniqueKey(*row.job);
  };
  for (const rules::JobRow& row : rows.jobs()) {
    if (row.change == rules::Change::kDeleted) {
      HF_RETURN_IF_ERROR(delete_.Bind(row.job->id).Run());
    } else if (row.change == rules::Change::kUpdated && !takes_key(row)) {
      HF_RETURN_IF_ERROR(Update(row));
    }
  }
  for (const rules::JobRow& row : rows.jobs()) {
    if (takes_key(row)) {
      HF_RETURN_IF_ERROR(Update(row));
    } else if (row.change == rules::Change::kInserted) {
      HF_RETURN_IF_ERROR(Insert(*row.job));
    }
  }
  for (const rules::QueueRow& row : rows.queues()) {
    if (row.change == rules::Change::kNone) continue;
    HF_ASSIGN_OR_RETURN(CachedQueue * cached, FindQueue(row.queue->name));
    cached->queue = *row.queue;
    cached->exists = true;
    cached->is_dirty = true;
  }
  return {};
}

Result<void> JobTable::Insert(const Job& job) {
  std::string tags = job.tags.empty() ? "" : wire::EncodeTags(job.tags);
  std::string retry = job.retry ? wire::EncodeRetry(*job.retry) : "";
  // Later operations of its own batch may have claimed it, or ended it.
  std::string errors = job.errors.empty() ? "" : wire::EncodeErrors(job.errors);
  insert_.Bind(job.id)
      .Bind(job.queue)
      .Bind(job.kind)
      .Bind(NameOf(job.state))
      .Bind(std::int64_t{job.priority})
      .Bind(job.run_at)
      .Bind(std::int64_t{job.attempt})
      .Bind(std::int64_t{job.max_attempts})
      .Bind(job.token)
      .BindOrNull(job.worker)
      .Bind(job.lease_expires_at)
      .Bind(std::int64_t{job.lease_expiries})
      .Bind(std::int64_t{job.cancel_requested})
      .Bind(job.created_at)
      .Bind(job.started_at)
      .Bind(job.finished_at)
      .BindOrNull(job.unique_key)
      .Bind(std::int64_t{job.unique_states.bits()})
      .Bind(job.parent)
      .Bind(job.progress)
      .BindOrNull(job.message)
      .BindOrNull(tags)
      .BindOrNull(job.metadata == "{}" ? std::string_view() : job.metadata)
      .BindOrNull(errors)
      .BindOrNull(retry)
      .Bind(job.result)
      .Bind(job.payload);
  return BindIndexColumns(insert_, job).Run();
}

Result<void> JobTable::Update(const rules::JobRow& row) {
  const Job& job = *row.job;
  if (row.payload_changed) {
    HF_RETURN_IF_ERROR(update_payload_.Bind(job.payload).Bind(job.id).Run());
  }
  switch (row.extent) {
    case rules::Extent::kLease:
      return UpdateLease(job);
    case rules::Extent::kClaim:
      return UpdateClaimed(job);
    case rules::Extent::kFinish:
      return UpdateFinished(job);
    case rules::Extent::kWhole:
      break;
  }
  return UpdateWhole(job);
}

Result<void> JobTable::UpdateLease(const Job& job) {
  return update_lease_.Bind(job.lease_expires_at)
      .Bind(std::int64_t{job.cancel_requested})
      .Bind(job.progress)
      .BindOrNull(job.message)
      .Bind(job.id)
      .Run();
}

Result<void> JobTable::UpdateClaimed(const Job& job) {
  return update_claimed_.Bind(job.lease_expires_at)
      .Bind(std::int64_t{job.attempt})
      .Bind(job.token)
      .Bind(job.worker)
      .Bind(job.started_at)
      .Bind(job.id)
      .Run();
}

Result<void> JobTable::UpdateFinished(const Job& job) {
  return update_finished_.Bind(NameOf(job.state))
      .BindOrNull(RetainedAs(job.state))
      .Bind(job.finished_at)
      .Bind(std::int64_t{job.lease_expiries})
      .Bind(job.result)
      .Bind(job.id)
      .Run();
}

Result<void> JobTable::UpdateWhole(const Job& job) {
  std::string errors = job.errors.empty() ? "" : wire::EncodeErrors(job.errors);
  update_whole_.Bind(NameOf(job.state))
      .Bind(job.run_at)
      .Bind(std::int64_t{job.attempt})
      .Bind(job.token)
      .BindOrNull(job.worker)
      .Bind(job.lease_expires_at)
      .Bind(job.started_at)
      .Bind(std::int64_t{job.lease_expiries})
      .Bind(std::int64_t{job.cancel_requested})
      .Bind(job.finished_at)
      .Bind(job.progress)
      .BindOrNull(job.message)
      .BindOrNull(errors)
      .Bind(job.result);
  return BindIndexColumns(update_whole_, job).Bind(job.id).Run();
}

Result<void> JobTable::CountPruned(std::string_view queue, JobState state, std::int64_t count) {
  HF_ASSIGN_OR_RETURN(CachedQueue * cached, FindQueue(queue));
  cached->queue.CountOf(state) -= count;
  cached->is_dirty = true;
  return {};
}

Result<void> JobTable::ReadReady(Statement& bound, std::vector<ClaimKey>& out) {
  while (true) {
    HF_ASSIGN_OR_RETURN(bool found, bound.Step());
    if (!found) return {};
    out.emplace_back(static_cast<int>(bound.Integer(0)), bound.Integer(1), bound.Integer(2));
  }
}

/// Merges the first jobs of a queue into `ready`, which stays sorted and as long as the request.
Result<void> JobTable::AddReady(const std::string& name, const ClaimRequest& request,
                                std::vector<ClaimKey>& ready) {
  HF_ASSIGN_OR_RETURN(CachedQueue * cached, FindQueue(name));
  const auto claimable = std::min<std::int64_t>(rules::ClaimableOf(cached->queue), request.max);
  if (claimable <= 0) return {};
  std::vector<ClaimKey> here;
  if (request.kinds.empty()) {
    HF_RETURN_IF_ERROR(ReadReady(select_ready_.Bind(name).Bind(claimable), here));
  }
  for (const std::string& kind : request.kinds) {
    HF_RETURN_IF_ERROR(ReadReady(select_ready_kind_.Bind(name).Bind(kind).Bind(claimable), here));
  }
  if (request.kinds.size() > 1) rules::SortUnique(here);
  if (here.size() > static_cast<std::size_t>(claimable)) {
    here.resize(static_cast<std::size_t>(claimable));
  }
  const auto middle = static_cast<std::ptrdiff_t>(ready.size());
  ready.insert(ready.end(), here.begin(), here.end());
  std::ranges::inplace_merge(ready, ready.begin() + middle);
  const auto most = static_cast<std::size_t>(request.max);
  if (ready.size() > most) ready.resize(most);
  return {};
}

/// Opens queues by their heads, until those that follow begin too late.
Result<void> JobTable::AddReadyAnywhere(const ClaimRequest& request, std::vector<ClaimKey>& ready) {
  // The rows of the queues that this transaction changed are behind.
  std::vector<std::string> changed;
  for (const auto& [name, cached] : queues_) {
    if (cached.is_dirty) changed.push_back(name);
  }
  for (const std::string& name : changed) HF_RETURN_IF_ERROR(AddReady(name, request, ready));
  Result<void> result;
  while (result) {
    HF_ASSIGN_OR_RETURN(bool found, select_heads_.Step());
    if (!found) return {};
    const std::string name(select_heads_.Text(0));
    const ClaimKey head(static_cast<int>(select_heads_.Integer(1)), select_heads_.Integer(2),
                        select_heads_.Integer(3));
    if (ready.size() == static_cast<std::size_t>(request.max) && ready.back() < head) break;
    auto known = queues_.find(name);
    if (known == queues_.end() || !known->second.is_dirty) result = AddReady(name, request, ready);
  }
  select_heads_.Reset();
  return result;
}

Result<std::vector<JobId>> JobTable::FindClaimable(const ClaimRequest& request) {
  std::vector<ClaimKey> ready;
  if (request.queues.empty()) HF_RETURN_IF_ERROR(AddReadyAnywhere(request, ready));
  std::vector<std::string> names = request.queues;
  rules::SortUnique(names);
  for (const std::string& name : names) HF_RETURN_IF_ERROR(AddReady(name, request, ready));
  std::vector<JobId> ids;
  ids.reserve(ready.size());
  for (const auto& [priority, due, id] : ready) ids.push_back(id);
  return ids;
}

Result<std::vector<std::string>> JobTable::NextQueueNames(int most) {
  std::vector<std::string> names;
  select_queue_names_.Bind(last_named_).Bind(std::int64_t{most});
  while (true) {
    HF_ASSIGN_OR_RETURN(bool found, select_queue_names_.Step());
    if (!found) break;
    names.emplace_back(select_queue_names_.Text(0));
  }
  last_named_ = names.size() == static_cast<std::size_t>(most) ? names.back() : std::string();
  return names;
}

}  // namespace holdfast::engine
