#include "engine/memory/tables.h"

#include <algorithm>

#include "base/check.h"
#include "base/mutant.h"

namespace holdfast::engine {

Result<Job*> Tables::LoadJob(JobId id) {
  auto found = jobs.find(id);
  return found == jobs.end() ? nullptr : &found->second;
}

Result<Job*> Tables::LoadUnique(std::string_view kind, std::string_view key) {
  auto found = unique_keys.find({std::string(kind), std::string(key)});
  return found == unique_keys.end() ? nullptr : &jobs.find(found->second)->second;
}

QueueTable* Tables::FindQueue(std::string_view name) {
  if (last_queue_ != nullptr && last_queue_->queue.name == name) return last_queue_;
  auto found = queues.find(name);
  if (found == queues.end()) return nullptr;
  return last_queue_ = &found->second;
}

Result<Queue*> Tables::LoadQueue(std::string_view name) {
  QueueTable* table = FindQueue(name);
  return table == nullptr ? nullptr : &table->queue;
}

void Tables::Index(const Job& job) {
  QueueTable* table = FindQueue(job.queue);
  switch (job.state) {
    case JobState::kScheduled:
      scheduled.emplace(job.run_at, job.id);
      break;
    case JobState::kPending:
      table->ready.emplace(job.priority, job.run_at, job.id);
      break;
    case JobState::kProcessing:
      leases.emplace(*job.lease_expires_at, job.id);
      break;
    default:
      table->finished[static_cast<std::size_t>(job.state)].emplace(*job.finished_at, job.id);
  }
  if (rules::HoldsUniqueKey(job)) {
    bool is_new = unique_keys.emplace(std::pair(job.kind, job.unique_key), job.id).second;
    HF_CHECK(is_new);  // the last line: the rules looked before
  }
}

void Tables::Unindex(const Job& job, const rules::JobKeys& keys) {
  QueueTable* table = FindQueue(job.queue);
  switch (keys.state) {
    case JobState::kScheduled:
      scheduled.erase({keys.run_at, job.id});
      break;
    case JobState::kPending:
      table->ready.erase({keys.priority, keys.run_at, job.id});
      break;
    case JobState::kProcessing:
      leases.erase({*keys.lease_expires_at, job.id});
      break;
    default:
      if (HF_MUTANT(live_job_pruned)) break;
      table->finished[static_cast<std::size_t>(keys.state)].erase({*keys.finished_at, job.id});
  }
  if (keys.holds_unique_key) unique_keys.erase({job.kind, job.unique_key});
}

void Tables::Persist(rules::Rows& rows) {
  for (rules::QueueRow& row : rows.queues()) {
    if (row.change != rules::Change::kInserted) continue;
    auto [place, is_new] = queues.emplace(row.queue->name, QueueTable{});
    place->second.queue = std::move(*row.queue);
    row.queue = &place->second.queue;
  }
  // First every key that is given up, then every key that is taken: a batch may hand one over.
  for (rules::JobRow& row : rows.jobs()) {
    if (row.change == rules::Change::kUpdated || row.change == rules::Change::kDeleted) {
      Unindex(*row.job, row.before);
    }
  }
  for (rules::JobRow& row : rows.jobs()) {
    if (row.change == rules::Change::kInserted) {
      row.job = &jobs.emplace_hint(jobs.end(), row.job->id, std::move(*row.job))->second;
    }
    if (row.change == rules::Change::kInserted || row.change == rules::Change::kUpdated) {
      Index(*row.job);
    } else if (row.change == rules::Change::kDeleted) {
      // The answer may still show the job as an earlier operation of the batch left it.
      auto node = jobs.extract(row.job->id);
      if (!node.empty()) row.job = rows.Own(std::move(node.mapped()));
    }
  }
  if (!rows.records().IsEmpty()) records.Persist(rows.records());
  if (!rows.locks().IsEmpty()) locks.Persist(rows.locks());
  for (const AuditEntry& entry : rows.audit()) AddAudit(entry);
  counters = rows.counters;
}

void Tables::AddAudit(const AuditEntry& entry) {
  constexpr std::size_t kAuditKept = 1'000'000;
  audit.Add(entry);
  if (audit.size() > kAuditKept) audit.DropOldest();
}

std::vector<JobId> Tables::FindClaimable(const std::vector<std::string>& names, int max) {
  struct Source {
    decltype(QueueTable::ready)::const_iterator next;
    decltype(QueueTable::ready)::const_iterator end;
    std::int64_t left;
  };
  std::vector<Source> sources;
  auto add = [&](const QueueTable& table) {
    std::int64_t claimable = rules::ClaimableOf(table.queue);
    if (claimable > 0) sources.push_back({table.ready.begin(), table.ready.end(), claimable});
  };
  if (names.empty()) {
    for (const auto& [name, table] : queues) add(table);
  } else {
    std::vector<std::string_view> distinct(names.begin(), names.end());
    rules::SortUnique(distinct);
    for (std::string_view name : distinct) {
      if (const QueueTable* table = FindQueue(name)) add(*table);
    }
  }
  std::vector<JobId> ids;
  while (ids.size() < static_cast<std::size_t>(max) && !sources.empty()) {
    auto best = std::ranges::min_element(sources, [](const Source& a, const Source& b) {
      return !HF_MUTANT(queue_by_queue) && *a.next < *b.next;
    });
    ids.push_back(std::get<JobId>(*best->next));
    if (++best->next == best->end || --best->left == 0) sources.erase(best);
  }
  return ids;
}

void Tables::Prune(QueueTable& table, JobState state, JobId id) {
  auto found = jobs.find(id);
  Unindex(found->second, rules::KeysOf(found->second));
  jobs.erase(found);
  --table.queue.CountOf(state);
}

}  // namespace holdfast::engine
