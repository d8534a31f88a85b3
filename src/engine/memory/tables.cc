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
  ++totals[static_cast<std::size_t>(job.state)];
  QueueTable* table = FindQueue(job.queue);
  switch (job.state) {
    case JobState::kScheduled:
      scheduled.emplace(job.run_at, job.id);
      break;
    case JobState::kPending:
      table->ready.emplace(job.priority, job.run_at, job.id);
      table->ready_of_kind[job.kind].emplace(job.priority, job.run_at, job.id);
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

void Tables::RemoveOfKind(QueueTable& table, std::string_view kind, const ClaimKey& key) {
  auto of_kind = table.ready_of_kind.find(kind);
  of_kind->second.erase(key);
  if (of_kind->second.empty()) table.ready_of_kind.erase(of_kind);
}

void Tables::Unindex(const Job& job, const rules::JobKeys& keys) {
  --totals[static_cast<std::size_t>(keys.state)];
  QueueTable* table = FindQueue(job.queue);
  switch (keys.state) {
    case JobState::kScheduled:
      scheduled.erase({keys.run_at, job.id});
      break;
    case JobState::kPending:
      table->ready.erase({keys.priority, keys.run_at, job.id});
      RemoveOfKind(*table, job.kind, {keys.priority, keys.run_at, job.id});
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
    // A job that its own batch has deleted was never there.
    const bool is_gone = row.change == rules::Change::kDeleted && jobs.contains(row.job->id);
    if (row.change == rules::Change::kUpdated || is_gone) {
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
  // A job moves together with the counts of its queue.
  for (const rules::QueueRow& row : rows.queues()) {
    if (row.change != rules::Change::kNone) UpdateHead(*FindQueue(row.queue->name));
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

void Tables::UpdateHead(QueueTable& table) {
  std::optional<ClaimKey> head;
  if (rules::ClaimableOf(table.queue) > 0 && !table.ready.empty()) head = *table.ready.begin();
  if (head == table.head) return;
  if (table.head) heads.erase(*table.head);
  if (head) heads.emplace(*head, &table);
  table.head = head;
}

namespace {

/// Merges queues, and kinds of queues, in the order of claims.
class ClaimMerge {
 public:
  explicit ClaimMerge(const std::vector<std::string>& kinds) : kinds_(kinds.begin(), kinds.end()) {
    rules::SortUnique(kinds_);
  }

  void Open(const QueueTable& table) {
    const std::size_t queue = left_.size();
    left_.push_back(rules::ClaimableOf(table.queue));
    auto add = [&](const ReadyJobs& ready) {
      if (!ready.empty()) sources_.push_back({ready.begin(), ready.end(), queue});
    };
    if (kinds_.empty()) add(table.ready);
    for (std::string_view kind : kinds_) {
      auto found = table.ready_of_kind.find(kind);
      if (found != table.ready_of_kind.end()) add(found->second);
    }
  }

  /// Nothing: what was opened is used up.
  std::optional<ClaimKey> Next() {
    auto best = Best();
    return best == sources_.end() ? std::nullopt : std::optional(*best->next);
  }

  void Take() {
    auto best = Best();
    const std::size_t queue = best->queue;
    if (++best->next == best->end) sources_.erase(best);
    if (--left_[queue] == 0) {
      std::erase_if(sources_, [&](const Source& source) { return source.queue == queue; });
    }
  }

 private:
  struct Source {
    ReadyJobs::const_iterator next;
    ReadyJobs::const_iterator end;
    std::size_t queue;
  };

  std::vector<Source>::iterator Best() {
    return std::ranges::min_element(sources_, [](const Source& a, const Source& b) {
      return !HF_MUTANT(queue_by_queue) && *a.next < *b.next;
    });
  }

  std::vector<std::string_view> kinds_;
  std::vector<Source> sources_;
  std::vector<std::int64_t> left_;  // by queue: how many more its limit allows
};

}  // namespace

std::vector<JobId> Tables::FindClaimable(const ClaimRequest& request) {
  ClaimMerge merge(request.kinds);
  auto unopened = request.queues.empty() ? heads.begin() : heads.end();
  std::vector<std::string_view> names(request.queues.begin(), request.queues.end());
  rules::SortUnique(names);
  for (std::string_view name : names) {
    const QueueTable* table = FindQueue(name);
    if (table != nullptr && table->head) merge.Open(*table);
  }
  std::vector<JobId> ids;
  while (ids.size() < static_cast<std::size_t>(request.max)) {
    std::optional<ClaimKey> next = merge.Next();
    while (unopened != heads.end() && (!next || unopened->first < *next)) {
      merge.Open(*unopened++->second);
      next = merge.Next();
    }
    if (!next) break;
    ids.push_back(std::get<JobId>(*next));
    merge.Take();
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
