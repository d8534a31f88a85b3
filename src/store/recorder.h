// What a store tells the outside of what it did: metrics, log events, and the refusals that go to
// the audit trail.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "base/mutex.h"
#include "holdfast/store.h"
#include "store/health.h"

namespace holdfast::store {

/// What is remembered of an operation while its batch is with the engine.
struct OperationTag {
  std::uint8_t index = 0;  ///< in the variant Operation
  bool is_last_of_batch = false;
  JobId id = 0;        ///< of the job it names, if it names one
  std::string target;  ///< what it names that is no job: "ticket/T-1"
  Token token = 0;     ///< under which it reports, if it does
};

/// What is remembered of a commit while it is with the engine.
struct CommitRecord {
  std::string actor;
  std::string correlation_id;
  std::vector<OperationTag> tags;  ///< of all batches, one after the other
  SteadyTime called;
};

/// Threads: any.
class Recorder {
 public:
  /// A remote engine's server records refusals by itself.
  Recorder(const StoreOptions& options, bool keeps_refusals)
      : log_(options.log),
        metrics_(options.metrics),
        keeps_refusals_(keeps_refusals),
        health_(options.log, options.clock != nullptr ? *options.clock : Clock::System()) {}

  CommitRecord BeginCommit(const Context& context, std::span<const Batch> batches);
  void EndCommit(const CommitRecord& record, std::span<const Result<Receipt>> answers);
  void RecordClaim(const Result<std::vector<Job>>& jobs);
  void RecordExpiry(const Job& job);
  void RecordReadError(const Error& error);
  void RecordMaintenance(const Result<void>& outcome);

  void RecordGrant(const LockGrant& grant);
  /// The lease of a lock ran out.
  void RecordExpiry(const LockGrant& grant);
  /// A request found the lock taken, and waits in line.
  void RecordLockWait(LockMode mode);
  /// A request for locks came to nothing.
  void RecordLockRefusal(const Error& error);

  /// The refusals since the last call, equal ones folded into one entry with a count.
  std::vector<AuditEntry> TakeRefusals();
  /// For a flush that failed: they are tried again with the next.
  void PutBack(std::vector<AuditEntry> refusals);

  void Log(LogLevel level, std::string_view event,
           std::vector<std::pair<std::string_view, std::string>> fields);

  /// What is known from the calls above. A server's health is its own.
  const Health& health() const { return health_; }

 private:
  void RecordResult(const OperationTag& tag, const OperationResult& result);
  using Tags = std::span<const OperationTag>;
  void RecordReceipt(Tags tags, const Receipt& receipt);
  void RecordRefusal(const CommitRecord& record, Tags tags, const Error& error);
  void RecordReport(std::string_view operation, const Job& job);
  void RecordLocks(std::string_view operation, const std::vector<LockGrant>& grants);
  void Add(Counter counter, std::string_view label) {
    if (metrics_ != nullptr) metrics_->Add(counter, label, 1);
  }

  LogSink* const log_;
  MetricSink* const metrics_;
  const bool keeps_refusals_;
  Health health_;

  base::Mutex mutex_{base::LockRank::kMetrics};
  // By actor, operation, target and error. Bounded: see kRefusalsKept.
  using RefusalKey = std::tuple<std::string, std::string, std::string, std::string>;
  std::map<RefusalKey, AuditEntry> refusals_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast::store
