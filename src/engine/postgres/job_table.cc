#include "engine/postgres/job_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/result.h"
#include "rules/apply.h"

namespace holdfast::engine::postgres {

using rules::JobRow;
using rules::QueueRow;

namespace {

bool HaveEqualSettings(const Queue& a, const Queue& b) {
  return a.paused == b.paused && a.max_pending == b.max_pending && a.max_running == b.max_running &&
         a.audit == b.audit && a.retain_completed == b.retain_completed &&
         a.retain_failed == b.retain_failed;
}

void AddQueue(RowArray& rows, const Queue& queue) {
  rows.NextRow();
  rows.Add(queue.name);
  rows.Add(queue.paused);
  rows.Add(queue.max_pending);
  rows.Add(queue.max_running);
  rows.Add(queue.audit);
  rows.Add(std::int64_t{queue.retain_completed.count()});
  rows.Add(std::int64_t{queue.retain_failed.count()});
}

bool HasLimits(const Queue& queue) {
  return queue.max_pending || queue.max_running;
}

}  // namespace

JobTable::JobTable(const Settings& settings, std::int64_t slot)
    : base_slot_(slot),
      load_jobs_(settings, fmt::format("SELECT {} FROM $.jobs WHERE id = ANY ($1::bigint[]) "
                                       "ORDER BY id FOR NO KEY UPDATE",
                                       kJobColumns)),
      load_jobs_and_holders_(
          settings, fmt::format("WITH wanted AS MATERIALIZED (SELECT unnest($1::bigint[]) AS id "
                                "UNION SELECT j.id FROM unnest($2::text[], $3::text[]) AS k (kind, "
                                "key) JOIN $.jobs j ON j.kind = k.kind AND "
                                "j.held_unique_key = k.key) "
                                "SELECT {} FROM $.jobs WHERE id IN (SELECT id FROM wanted) "
                                "ORDER BY id FOR NO KEY UPDATE",
                                kJobColumns)),
      lock_queues_(settings,
                   "SELECT 1::bigint FROM $.queues WHERE name = ANY ($1::text[]) ORDER BY name "
                   "FOR UPDATE"),
      load_queues_(
          settings,
          // Counts decide nothing where there are no limits, and a snapshot makes them slow to
          // read.
          fmt::format("SELECT {} FROM $.queues q LEFT JOIN $.queue_counts c ON c.queue = CASE WHEN "
                      "$3::bigint = 1 "
                      "OR q.max_pending IS NOT NULL OR q.max_running IS NOT NULL THEN q.name END "
                      "WHERE q.name = ANY ($1::text[]) OR q.name IN (SELECT queue FROM $.jobs "
                      "WHERE id = ANY ($2::bigint[])) GROUP BY q.name",
                      kQueueColumns)),
      insert_jobs_(settings, InsertJobsSql()),
      update_lease_(settings, UpdateJobsSql(RowType::kJobLease)),
      update_claimed_(settings, UpdateJobsSql(RowType::kJobClaim)),
      update_finished_(settings, UpdateJobsSql(RowType::kJobFinish)),
      update_whole_(settings, UpdateJobsSql(RowType::kJob)),
      delete_jobs_(settings, "DELETE FROM $.jobs WHERE id = ANY ($1::bigint[])"),
      insert_queues_(settings,
                     "INSERT INTO $.queues (name, retain_completed, retain_failed) "
                     "SELECT name, retain_completed, retain_failed FROM "
                     "unnest($1::$.queue_row[]) ON CONFLICT (name) DO NOTHING"),
      set_queue_(settings,
                 "INSERT INTO $.queues SELECT * FROM unnest($1::$.queue_row[]) "
                 "ON CONFLICT (name) DO UPDATE SET paused = excluded.paused, "
                 "max_pending = excluded.max_pending, max_running = excluded.max_running, "
                 "audit = excluded.audit, retain_completed = excluded.retain_completed, "
                 "retain_failed = excluded.retain_failed"),
      add_counts_(settings, fmt::format("INSERT INTO $.queue_counts AS c SELECT * FROM "
                                        "unnest($1::$.queue_count_row[]) {}",
                                        kAddToCounts)) {}

void JobTable::Clear() {
  Forget();
  wanted_jobs_.clear();
  wanted_keys_.clear();
  wanted_queues_.clear();
  locked_queues_.clear();
}

void JobTable::Forget() {
  lacks_jobs_ = lacks_queues_ = are_keys_known_ = false;
  known_jobs_.clear();
  jobs_.clear();
  unique_.clear();
  queues_.clear();
  queued_.clear();
}

Result<Job*> JobTable::LoadJob(JobId id) {
  if (auto known = jobs_.find(id); known != jobs_.end()) {
    const bool is_gone = known->second.change == rules::Change::kDeleted;
    return is_gone ? nullptr : rows_->Own(known->second.job);
  }
  if (!known_jobs_.contains(id)) {
    wanted_jobs_.insert(id);
    lacks_jobs_ = true;
  }
  return nullptr;
}

Result<Job*> JobTable::LoadUnique(std::string_view kind, std::string_view key) {
  UniqueKey wanted{kind, key};
  if (auto known = unique_.find(wanted); known != unique_.end()) {
    return known->second == 0 ? nullptr : LoadJob(known->second);
  }
  if (!are_keys_known_ || !wanted_keys_.contains(wanted)) {
    wanted_keys_.insert(std::move(wanted));
    lacks_jobs_ = true;
  }
  return nullptr;
}

Result<Queue*> JobTable::LoadQueue(std::string_view name) {
  auto known = queues_.find(name);
  if (known == queues_.end()) {
    wanted_queues_.emplace(name);
    lacks_queues_ = true;
    return nullptr;
  }
  CachedQueue& cached = known->second;
  if (!cached.exists && !cached.is_new) return nullptr;
  return rows_->Own(cached.queue);
}

void JobTable::QueueLoad(Connection& connection, bool jobs) {
  queued_.clear();
  if (jobs && (!wanted_jobs_.empty() || !wanted_keys_.empty())) {
    Column ids(Type::kInteger), kinds(Type::kText), keys(Type::kText);
    for (JobId id : wanted_jobs_) ids.Add(id);
    for (const auto& [kind, key] : wanted_keys_) {
      kinds.Add(kind);
      keys.Add(key);
    }
    if (wanted_keys_.empty()) {
      connection.Queue(load_jobs_, Parameters().Add(ids));
    } else {
      connection.Queue(load_jobs_and_holders_, Parameters().Add(ids).Add(kinds).Add(keys));
    }
    queued_.push_back(Step::kJobs);
  }
  if (!locked_queues_.empty()) {
    connection.Queue(lock_queues_, Parameters().Add(Column::Of(locked_queues_)));
    queued_.push_back(Step::kLock);
  }
  if (!wanted_queues_.empty() || !wanted_jobs_.empty()) {
    Column ids(Type::kInteger);
    for (JobId id : wanted_jobs_) ids.Add(id);
    connection.Queue(
        load_queues_,
        Parameters().Add(Column::Of(wanted_queues_)).Add(ids).Add(std::int64_t{loads_counts}));
    queued_.push_back(Step::kQueues);
  }
}

Result<void> JobTable::TakeLoaded(Answers& answers) {
  for (Step step : queued_) {
    Answer answer = answers.Next();
    if (step == Step::kJobs) {
      std::vector<JobId> ids;
      HF_RETURN_IF_ERROR(AddLoaded(answer, ids));
      known_jobs_.insert(wanted_jobs_.begin(), wanted_jobs_.end());
      are_keys_known_ = true;
      lacks_jobs_ = false;
    } else if (step == Step::kQueues) {
      TakeQueues(answer);
    }
  }
  queued_.clear();
  return {};
}

void JobTable::TakeQueues(const Answer& answer) {
  for (const std::string& name : wanted_queues_) queues_[name] = {.queue = {.name = name}};
  AddQueues(answer);
  lacks_queues_ = false;
  for (const auto& [name, cached] : queues_) {
    // Its counts were read without the lock: they may not decide.
    if (!HasLimits(cached.queue) || locked_queues_.contains(name)) continue;
    WantLocked({name});
    lacks_queues_ = true;
  }
}

Result<void> JobTable::AddLoaded(const Answer& answer, std::vector<JobId>& ids) {
  for (int i = 0; i < answer.size(); ++i) {
    HF_ASSIGN_OR_RETURN(Job job, ReadJob(Row(answer, i)));
    ids.push_back(job.id);
    NoteLoaded(std::move(job));
  }
  return {};
}

std::vector<std::string> JobTable::AddQueues(const Answer& answer) {
  std::vector<std::string> limited;
  for (int i = 0; i < answer.size(); ++i) {
    Queue queue = ReadQueue(Row(answer, i));
    if (queue.max_running && !queue.paused) limited.push_back(queue.name);
    const std::string name = queue.name;
    queues_.insert_or_assign(name, CachedQueue{.queue = std::move(queue), .exists = true});
  }
  return limited;
}

std::int64_t JobTable::RoomOf(const std::string& queue) const {
  auto cached = queues_.find(queue);
  return cached == queues_.end() ? 0 : rules::RoomOf(cached->second.queue);
}

std::vector<std::string> JobTable::LoadedQueues() const {
  std::vector<std::string> names;
  for (const auto& [name, cached] : queues_) names.push_back(name);
  return names;
}

std::vector<const Job*> JobTable::MadeReady() const {
  std::vector<const Job*> ready;
  for (const auto& [id, cached] : jobs_) {
    const bool has_changed = cached.change != rules::Change::kNone;
    if (has_changed && cached.job.state == JobState::kPending) ready.push_back(&cached.job);
  }
  return ready;
}

void JobTable::WantLocked(const std::vector<std::string>& queues) {
  wanted_queues_.insert(queues.begin(), queues.end());
  locked_queues_.insert(queues.begin(), queues.end());
}

void JobTable::NoteLoaded(Job job) {
  const bool holds = rules::HoldsUniqueKey(job);
  if (holds) unique_[{job.kind, job.unique_key}] = job.id;
  const JobId id = job.id;
  known_jobs_.insert(id);
  jobs_.insert_or_assign(id, CachedJob{.job = std::move(job), .held_key = holds});
}

void JobTable::TakeOver(rules::Rows& rows) {
  for (const JobRow& row : rows.jobs()) {
    if (row.change == rules::Change::kNone) continue;
    const Job& job = *row.job;
    if (!job.unique_key.empty()) {
      const UniqueKey key{job.kind, job.unique_key};
      auto held = unique_.find(key);
      const bool holds = row.change != rules::Change::kDeleted && rules::HoldsUniqueKey(job);
      if (holds) {
        unique_[key] = job.id;
      } else if (held != unique_.end() && held->second == job.id) {
        held->second = 0;
      }
    }
    if (row.change == rules::Change::kInserted) {
      jobs_.insert_or_assign(job.id, CachedJob{.job = job, .change = rules::Change::kInserted});
    } else {
      MergeUpdate(row);
    }
  }
  for (const QueueRow& row : rows.queues()) {
    if (row.change == rules::Change::kNone) continue;
    CachedQueue& cached = queues_[row.queue->name];
    if (!cached.exists) cached.is_new = true;
    cached.is_set |= !HaveEqualSettings(cached.queue, *row.queue);
    for (std::size_t i = 0; i < kJobStateCount; ++i) {
      cached.delta[i] += row.queue->counts[i] - cached.queue.counts[i];
    }
    cached.queue = *row.queue;
  }
}

void JobTable::MergeUpdate(const JobRow& row) {
  CachedJob& cached = jobs_[row.job->id];
  cached.job = *row.job;
  if (cached.change == rules::Change::kInserted) {
    if (row.change == rules::Change::kDeleted) jobs_.erase(row.job->id);
    return;
  }
  const rules::Extent extent = row.payload_changed ? rules::Extent::kWhole : row.extent;
  const bool is_first = cached.change == rules::Change::kNone;
  cached.extent = is_first || cached.extent == extent ? extent : rules::Extent::kWhole;
  cached.change = row.change;
}

bool JobTable::HasWrites() const {
  for (const auto& [id, cached] : jobs_) {
    if (cached.change != rules::Change::kNone) return true;
  }
  for (const auto& [name, cached] : queues_) {
    if (cached.is_new || cached.is_set || cached.delta != Counts{}) return true;
  }
  return false;
}

void JobTable::QueueWrite(Connection& connection) {
  QueueJobWrites(connection);
  QueueQueueWrites(connection);
}

/// First every unique key that is given up, then every one that is taken: a batch may hand one
/// over, and the constraint looks at every statement.
void JobTable::QueueJobWrites(Connection& connection) {
  Column deleted(Type::kInteger);
  RowArray inserted(RowType::kJob), leases(RowType::kJobLease), claimed(RowType::kJobClaim),
      finished(RowType::kJobFinish), whole(RowType::kJob), takers(RowType::kJob);
  for (const auto& [id, cached] : jobs_) {
    const bool takes_key = !cached.held_key && rules::HoldsUniqueKey(cached.job);
    if (cached.change == rules::Change::kNone) continue;
    if (cached.change == rules::Change::kDeleted) {
      deleted.Add(id);
    } else if (cached.change == rules::Change::kInserted) {
      AddJob(inserted, cached.job);
    } else if (cached.extent == rules::Extent::kLease) {
      AddJob(leases, cached.job);
    } else if (cached.extent == rules::Extent::kClaim) {
      AddJob(claimed, cached.job);
    } else if (cached.extent == rules::Extent::kFinish) {
      AddJob(finished, cached.job);
    } else {
      AddJob(takes_key ? takers : whole, cached.job);
    }
  }
  if (deleted.size() > 0) connection.Queue(delete_jobs_, Parameters().Add(deleted));
  connection.QueueRows(update_lease_, std::move(leases));
  connection.QueueRows(update_claimed_, std::move(claimed));
  connection.QueueRows(update_finished_, std::move(finished));
  connection.QueueRows(update_whole_, std::move(whole));
  connection.QueueRows(update_whole_, std::move(takers));
  connection.QueueRows(insert_jobs_, std::move(inserted));
}

void JobTable::QueueQueueWrites(Connection& connection) {
  RowArray fresh(RowType::kQueue), set(RowType::kQueue), counts(RowType::kQueueCount);
  for (const auto& [name, cached] : queues_) {
    if (cached.is_set) {
      AddQueue(set, cached.queue);
    } else if (cached.is_new) {
      AddQueue(fresh, cached.queue);
    }
    if (cached.delta == Counts{}) continue;
    counts.NextRow();
    counts.Add(name);
    counts.Add(slot());
    for (std::int64_t delta : cached.delta) counts.Add(delta);
  }
  connection.QueueRows(insert_queues_, std::move(fresh));
  connection.QueueRows(set_queue_, std::move(set));
  connection.QueueRows(add_counts_, std::move(counts));
}

}  // namespace holdfast::engine::postgres
