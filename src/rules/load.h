// Which rows a batch touches, found by looking at the batch alone and at the rows it names: so that
// an engine can load (and lock) them all, in one canonical order, before any rule runs.
#pragma once

#include <algorithm>
#include <limits>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/result.h"
#include "rules/answer_size.h"
#include "rules/rows.h"

namespace holdfast::rules {

/// What the batch names outright.
struct TouchedKeys {
  std::vector<JobId> jobs;
  std::vector<std::string_view> queues;
  std::vector<std::pair<std::string_view, std::string_view>> unique_keys;  // kind, key
  std::vector<std::string_view> locks;
  std::size_t inserts = 0;

  void Clear() {
    jobs.clear();
    queues.clear();
    unique_keys.clear();
    locks.clear();
    inserts = 0;
  }
};

/// Whether the batch has anything to do with records, kinds or transfers.
bool TouchesRecords(const Batch& batch);

/// Parses the JSON that came with the operations, before anything else is done with the batch.
/// Errors: invalid_argument, with the operation at fault.
Result<void> ReadArguments(const Batch& batch, Rows& rows);

class LockLoader;
class RecordLoader;

/// Whether the batch itself names locks. One that changes records may touch theirs.
bool NamesLocks(const Batch& batch);

/// After the records were loaded: loads the locks that the batch names, and those of its records;
/// finds out whether waiting would be a deadlock. Errors: those of the loader.
Result<void> LoadLockRows(const Batch& batch, LockLoader& loader, TouchedKeys& keys, Rows& rows);

/// For maintenance: these locks. Errors: those of the loader.
Result<void> LoadLocks(const std::vector<std::string>& names, LockLoader& loader, Rows& rows);

/// After ReadArguments: loads what the batch touches of these, adding to `keys` what its actions
/// enqueue.
/// Errors: invalid_argument (rules that are none), those of the loader.
Result<void> LoadRecordRows(const Batch& batch, RecordLoader& loader, TouchedKeys& keys,
                            Rows& rows);

/// For maintenance: these records and transfers, with what ending them touches.
Result<void> LoadDueRows(const std::vector<RecordKey>& records,
                         const std::vector<TransferId>& transfers, RecordLoader& loader,
                         TouchedKeys& keys, Rows& rows);

/// After Apply: whether every unique key is still held by one record only (REC-3). Errors:
/// already_exists, whose detail names the holder and the operation; those of the loader.
Result<void> CheckUniqueKeys(Rows& rows, RecordLoader& loader);

/// Fills `keys` with what `batch` names: sorted, without repetitions.
void FindTouchedKeys(const Batch& batch, TouchedKeys& keys);

template <typename T>
void SortUnique(std::vector<T>& values) {
  if (values.size() < 2) return;
  std::ranges::sort(values);
  auto repeated = std::ranges::unique(values);
  values.erase(repeated.begin(), repeated.end());
}

/// The queues that are named, and those of the jobs that are loaded.
template <typename Loader>
Result<void> LoadQueueRows(Loader& loader, TouchedKeys& keys, Rows& rows) {
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
  return {};
}

/// For claims and maintenance: these jobs, through a loader as below, and their queues. It stops
/// behind `most_bytes`, for a caller that has no use for more.
template <typename Loader>
Result<void> LoadJobRows(const std::vector<JobId>& ids, Loader& loader, TouchedKeys& keys,
                         Rows& rows,
                         std::size_t most_bytes = std::numeric_limits<std::size_t>::max()) {
  keys.Clear();
  std::size_t bytes = 0;
  for (JobId id : ids) {
    if (bytes > most_bytes) break;
    HF_ASSIGN_OR_RETURN(Job * job, loader.LoadJob(id));
    if (job == nullptr) continue;
    rows.AddJob(job);
    bytes += SizeOf(*job);
  }
  HF_RETURN_IF_ERROR(LoadQueueRows(loader, keys, rows));
  rows.Seal(0);
  return {};
}

/// After ReadArguments: loads what `batch` touches through `loader`, which has
///   Result<Job*> LoadJob(JobId), Result<Job*> LoadUnique(kind, key), Result<Queue*>
///   LoadQueue(name)
/// each giving nullptr for what does not exist, and through `records` and `locks`.
/// Errors: invalid_argument (rules that are none), those of the loaders.
template <typename Loader>
Result<void> LoadRows(const Batch& batch, Loader& loader, RecordLoader& records, LockLoader& locks,
                      TouchedKeys& keys, Rows& rows) {
  keys.Clear();
  FindTouchedKeys(batch, keys);
  const bool touches_records = TouchesRecords(batch);
  if (touches_records) HF_RETURN_IF_ERROR(LoadRecordRows(batch, records, keys, rows));
  if (touches_records || NamesLocks(batch))
    HF_RETURN_IF_ERROR(LoadLockRows(batch, locks, keys, rows));
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
  HF_RETURN_IF_ERROR(LoadQueueRows(loader, keys, rows));
  rows.Seal(keys.inserts);
  return {};
}

}  // namespace holdfast::rules
