// The rows of the memory engine and their indexes. Not thread-safe: the engine's mutex guards it.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/memory/audit_trail.h"
#include "engine/memory/lock_tables.h"
#include "engine/memory/record_tables.h"
#include "rules/apply.h"
#include "rules/load.h"
#include "rules/rows.h"

namespace holdfast::engine {

using TimeIndex = std::set<std::pair<Time, JobId>>;

/// The order of claims: priority, due time, id (JOB-3).
using ClaimKey = std::tuple<int, Time, JobId>;
using ReadyJobs = std::set<ClaimKey>;

/// A queue, and those of its jobs that a claim or a pruning looks for.
struct QueueTable {
  Queue queue;
  ReadyJobs ready;                                              // pending
  std::map<std::string, ReadyJobs, std::less<>> ready_of_kind;  // the same, apart by kind
  std::optional<ClaimKey> head;  // the first of them, while some may be claimed
  std::array<TimeIndex, kJobStateCount> finished;
};

struct StoredAnswer {
  std::string fingerprint;
  Receipt receipt;
  Time expires_at;
};

class Tables {
 public:
  // What rules::LoadRows asks of a loader. Never fails.
  Result<Job*> LoadJob(JobId id);
  Result<Job*> LoadUnique(std::string_view kind, std::string_view key);
  Result<Queue*> LoadQueue(std::string_view name);

  /// Stores what the rules changed, and lets the rows point at what is stored.
  void Persist(rules::Rows& rows);

  /// The next jobs in the order of claims, as many as are asked for and the limits allow. Of the
  /// queues it opens only those that may hold one of them.
  std::vector<JobId> FindClaimable(const ClaimRequest& request);

  /// The trail is in memory, and must not fill it: beyond a million entries the oldest go.
  void AddAudit(const AuditEntry& entry);

  /// Removes a finished job: a pruning is no operation.
  void Prune(QueueTable& table, JobState state, JobId id);

  /// By id.
  std::map<JobId, Job> jobs;
  std::map<std::string, QueueTable, std::less<>> queues;
  std::map<ClaimKey, QueueTable*> heads;              // of the queues that have one
  std::array<std::int64_t, kJobStateCount> totals{};  // jobs by state
  TimeIndex scheduled;
  TimeIndex leases;
  std::map<std::pair<std::string, std::string>, JobId> unique_keys;  // kind, key
  AuditTrail audit;
  std::unordered_map<std::string, StoredAnswer> answers;  // by idempotency key
  std::set<std::pair<Time, std::string>> answers_by_expiry;
  RecordTables records;
  LockTables locks;
  rules::Counters counters;

 private:
  void UpdateHead(QueueTable& table);
  static void RemoveOfKind(QueueTable& table, std::string_view kind, const ClaimKey& key);
  void Index(const Job& job);
  void Unindex(const Job& job, const rules::JobKeys& keys);

  QueueTable* last_queue_ = nullptr;  // most batches touch the queue of the batch before
  QueueTable* FindQueue(std::string_view name);
};

}  // namespace holdfast::engine
