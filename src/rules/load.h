// Which rows a batch touches, found by looking at the batch alone and at the rows it names: so that
// an engine can load (and lock) them all, in one canonical order, before any rule runs.
#pragma once

#include <algorithm>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/result.h"
#include "rules/rows.h"

namespace holdfast::rules {

/// What the batch names outright.
struct TouchedKeys {
  std::vector<JobId> jobs;
  std::vector<std::string_view> queues;
  std::vector<std::pair<std::string_view, std::string_view>> unique_keys;  // kind, key
  std::size_t inserts = 0;

  void Clear() {
    jobs.clear();
    queues.clear();
    unique_keys.clear();
    inserts = 0;
  }
};

/// Fills `keys` with what `batch` names: sorted, without repetitions.
void FindTouchedKeys(const Batch& batch, TouchedKeys& keys);

template <typename T>
void SortUnique(std::vector<T>& values) {
  if (values.size() < 2) return;
  std::ranges::sort(values);
  auto repeated = std::ranges::unique(values);
  values.erase(repeated.begin(), repeated.end());
}

/// Loads what `batch` touches through `loader`, which has
///   Result<Job*> LoadJob(JobId), Result<Job*> LoadUnique(kind, key), Result<Queue*>
///   LoadQueue(name)
/// each giving nullptr for what does not exist.
template <typename Loader>
Result<void> LoadRows(const Batch& batch, Loader& loader, TouchedKeys& keys, Rows& rows) {
  keys.Clear();
  FindTouchedKeys(batch, keys);
  for (JobId id : keys.jobs) {
    HF_ASSIGN_OR_RETURN(Job * job, loader.LoadJob(id));
    if (job != nullptr) rows.AddJob(job);
  }
  // A job that is to be retried may find its unique key taken.
  for (const Operation& operation : batch.operations) {
    const auto* retry = std::get_if<RetryJob>(&operation);
    if (retry == nullptr) continue;
    for (const JobRow& row : rows.jobs()) {
      if (row.job->id == retry->id && !row.job->unique_key.empty()) {
        keys.unique_keys.emplace_back(row.job->kind, row.job->unique_key);
      }
    }
  }
  SortUnique(keys.unique_keys);
  for (const auto& [kind, key] : keys.unique_keys) {
    HF_ASSIGN_OR_RETURN(Job * holder, loader.LoadUnique(kind, key));
    if (holder != nullptr) rows.AddJob(holder);
  }
  for (const JobRow& row : rows.jobs()) keys.queues.push_back(row.job->queue);
  SortUnique(keys.queues);
  for (std::string_view name : keys.queues) {
    HF_ASSIGN_OR_RETURN(Queue * queue, loader.LoadQueue(name));
    if (queue != nullptr) {
      rows.AddQueue(queue);
    } else {
      rows.AddNewQueue(name);
    }
  }
  rows.Seal(keys.inserts);
  return {};
}

}  // namespace holdfast::rules
