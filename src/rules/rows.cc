#include "rules/rows.h"

#include <algorithm>

#include "base/check.h"
#include "rules/lock_rows.h"
#include "rules/record_rows.h"

namespace holdfast::rules {
namespace {

void MakeBrief(Job& job) {
  job.payload.clear();
  job.result.reset();
  job.metadata.clear();
  job.errors.clear();
  job.tags.clear();
}

std::string UniqueName(std::string_view kind, std::string_view key) {
  std::string name;
  name.reserve(kind.size() + 1 + key.size());
  name += kind;
  name += '\0';
  name += key;
  return name;
}

}  // namespace

Rows::Rows() : records_(std::make_unique<RecordRows>()), locks_(std::make_unique<LockRows>()) {}
Rows::~Rows() = default;

void Rows::Clear(bool keep_undo) {
  answer_room = kAnswerBytes;
  if (!records_->IsEmpty()) records_->Clear();
  if (!locks_->IsEmpty()) locks_->Clear();
  jobs_.clear();
  sealed_jobs_ = 0;
  queues_.clear();
  owned_jobs_.clear();
  owned_queues_.clear();
  unique_keys_.clear();
  audit_.clear();
  outcomes_.clear();
  ready_.clear();
  next_due_.reset();
  undo_jobs_.clear();
  undo_queues_.clear();
  keep_undo_ = keep_undo;
}

Job* Rows::Own(Job job) {
  return owned_jobs_.emplace_back(std::make_unique<Job>(std::move(job))).get();
}

Queue* Rows::Own(Queue queue) {
  return owned_queues_.emplace_back(std::make_unique<Queue>(std::move(queue))).get();
}

void Rows::AddNewQueue(std::string_view name) {
  queues_.push_back({.queue = Own(Queue{.name = std::string(name)}), .change = Change::kInserted});
}

void Rows::Seal(std::size_t inserts) {
  auto by_id = [](const JobRow& row) { return row.job->id; };
  auto by_name = [](const QueueRow& row) -> std::string_view { return row.queue->name; };
  if (jobs_.size() > 1) {
    std::ranges::sort(jobs_, {}, by_id);
    auto repeated = std::ranges::unique(jobs_, {}, by_id);
    jobs_.erase(repeated.begin(), repeated.end());
  }
  if (queues_.size() > 1) std::ranges::sort(queues_, {}, by_name);
  sealed_jobs_ = jobs_.size();
  jobs_.reserve(jobs_.size() + inserts);  // so that pointers to rows stay good
  for (JobRow& row : jobs_) NoteUniqueKey(*row.job, &row);
  counters_before_ = counters;
}

JobRow* Rows::FindJob(JobId id) {
  auto by_id = [](const JobRow& row) { return row.job->id; };
  const auto inserted = jobs_.begin() + static_cast<std::ptrdiff_t>(sealed_jobs_);
  auto row = std::ranges::lower_bound(jobs_.begin(), inserted, id, {}, by_id);
  if (row == inserted || row->job->id != id)
    row = std::ranges::find(inserted, jobs_.end(), id, by_id);
  if (row == jobs_.end() || row->change == Change::kDeleted) return nullptr;
  return &*row;
}

QueueRow& Rows::QueueNamed(std::string_view name) {
  auto row = std::ranges::lower_bound(
      queues_, name, {}, [](const QueueRow& r) -> std::string_view { return r.queue->name; });
  HF_CHECK(row != queues_.end() && row->queue->name == name);
  return *row;
}

JobRow* Rows::FindUnique(std::string_view kind, std::string_view key) {
  auto found = unique_keys_.find(UniqueName(kind, key));
  return found == unique_keys_.end() ? nullptr : found->second;
}

Job& Rows::Edit(JobRow& row) {
  if (row.change == Change::kNone) {
    row.change = Change::kUpdated;
    row.before = KeysOf(*row.job);
    if (keep_undo_) undo_jobs_.emplace_back(row.job, *row.job);
  }
  row.extent = Extent::kWhole;
  return *row.job;
}

Queue& Rows::Edit(QueueRow& row) {
  if (row.change == Change::kNone) {
    row.change = Change::kUpdated;
    if (keep_undo_) undo_queues_.emplace_back(row.queue, *row.queue);
  }
  return *row.queue;
}

JobRow& Rows::Insert(Job job) {
  HF_CHECK(jobs_.size() < jobs_.capacity());
  return jobs_.emplace_back(JobRow{.job = Own(std::move(job)), .change = Change::kInserted});
}

void Rows::Delete(JobRow& row) {
  Edit(row);
  NoteUniqueKey(*row.job, nullptr);
  row.change = Change::kDeleted;
}

void Rows::NoteUniqueKey(const Job& job, JobRow* holder) {
  if (job.unique_key.empty()) return;
  std::string name = UniqueName(job.kind, job.unique_key);
  if (holder != nullptr && HoldsUniqueKey(job)) {
    unique_keys_[std::move(name)] = holder;
    return;
  }
  auto found = unique_keys_.find(name);
  if (found != unique_keys_.end() && found->second->job->id == job.id) unique_keys_.erase(found);
}

void AddReady(std::vector<ReadyJobs>& all, std::string_view queue, std::string_view kind,
              std::int64_t count) {
  for (ReadyJobs& ready : all) {
    if (ready.queue == queue && ready.kind == kind) {
      ready.count += count;
      return;
    }
  }
  all.push_back({std::string(queue), std::string(kind), count});
}

void Rows::NoteReady(std::string_view queue, std::string_view kind, std::int64_t count) {
  AddReady(ready_, queue, kind, count);
}

void Rows::NoteDue(Time at) {
  if (!next_due_ || at < *next_due_) next_due_ = at;
}

void Rows::Undo() {
  for (auto& [job, before] : undo_jobs_) *job = std::move(before);
  for (auto& [queue, before] : undo_queues_) *queue = std::move(before);
  locks_->Undo();
  counters = counters_before_;
}

Receipt Rows::TakeReceipt(bool move_jobs) {
  Receipt receipt;
  receipt.results.reserve(outcomes_.size());
  for (std::size_t i = 0; i < outcomes_.size(); ++i) {
    const OperationOutcome& outcome = outcomes_[i];
    OperationResult& result = receipt.results.emplace_back();
    result.existing = outcome.existing;
    if (outcome.queue != nullptr) result.queue = *outcome.queue->queue;
    if (outcome.record != nullptr && outcome.record->exists) {
      result.record = ToRecord(outcome.record->record);
    }
    if (outcome.kind != nullptr) result.kind = *outcome.kind->kind;
    if (outcome.transfer != nullptr) result.transfer = outcome.transfer->transfer;
    if (outcome.lock >= 0) {
      result.lock = std::move(locks_->outcomes[static_cast<std::size_t>(outcome.lock)]);
    }
    if (outcome.job == nullptr) continue;
    // Two operations on one job: only the last of them may take it.
    bool is_last =
        std::none_of(outcomes_.begin() + static_cast<std::ptrdiff_t>(i) + 1, outcomes_.end(),
                     [&](const OperationOutcome& later) { return later.job == outcome.job; });
    if (move_jobs && is_last) {
      result.job = std::move(*outcome.job->job);
    } else {
      result.job = *outcome.job->job;
    }
    if (outcome.is_brief) MakeBrief(*result.job);
    if (!outcome.is_for_holder) result.job->token = 0;  // a token is for its claimer alone
  }
  return receipt;
}

}  // namespace holdfast::rules
