// A real engine whose commits can be made to fail: refused, done but not acknowledged, or kept
// waiting for an answer.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "engine/engine.h"

namespace holdfast::testing {

enum class Fault {
  kNone,
  kUnavailable,     ///< the commit is refused and changes nothing
  kOutcomeUnknown,  ///< the commit is done, and the answer lost
  kHang,            ///< the commit is not even begun until the fault is lifted
  kHangOnce,        ///< as kHang, but those after it are not met by a fault
};

/// Everything but Commit is the engine's own. Threads: any.
class FaultyEngine : public engine::Engine {
 public:
  explicit FaultyEngine(std::unique_ptr<engine::Engine> engine) : engine_(std::move(engine)) {}

  /// From now on. Lifting a hang runs the commits that were kept waiting.
  void Set(Fault fault) {
    std::vector<Waiting> waiting;
    {
      base::MutexLock lock(mutex_);
      fault_ = fault;
      if (fault != Fault::kHang && fault != Fault::kHangOnce) waiting.swap(waiting_);
    }
    for (Waiting& w : waiting) engine_->Commit(w.context, std::move(w.batches), std::move(w.done));
  }

  /// Commits that were met by a fault.
  int faults() const {
    base::MutexLock lock(mutex_);
    return faults_;
  }

  /// Batches of commits that hang.
  std::size_t hanging() const {
    base::MutexLock lock(mutex_);
    std::size_t count = 0;
    for (const Waiting& w : waiting_) count += w.batches.size();
    return count;
  }

  void Commit(const Context& context, std::vector<Batch> batches, CommitDone done) override {
    Fault fault = Fault::kNone;
    {
      base::MutexLock lock(mutex_);
      fault = fault_;
      if (fault != Fault::kNone) ++faults_;
      if (fault == Fault::kHangOnce) fault_ = Fault::kNone;
      if (fault == Fault::kHang || fault == Fault::kHangOnce) {
        waiting_.push_back({context, std::move(batches), std::move(done)});
        return;
      }
    }
    const std::size_t count = batches.size();
    if (fault == Fault::kUnavailable) return done(Failing(count, ErrorCode::kUnavailable));
    if (fault == Fault::kNone) return engine_->Commit(context, std::move(batches), std::move(done));
    engine_->Commit(context, std::move(batches),
                    [count, done = std::move(done)](std::vector<Result<Receipt>>) mutable {
                      done(Failing(count, ErrorCode::kOutcomeUnknown));
                    });
  }

  const engine::Traits& traits() const override { return engine_->traits(); }
  void Claim(const Context& context, ClaimRequest request, ClaimDone done) override {
    engine_->Claim(context, std::move(request), std::move(done));
  }
  Result<std::optional<Job>> GetJob(const Context& context, JobId id) override {
    return engine_->GetJob(context, id);
  }
  Result<JobPage> ListJobs(const Context& context, const JobFilter& filter) override {
    return engine_->ListJobs(context, filter);
  }
  Result<QueuePage> ListQueues(const Context& context, const QueueFilter& filter) override {
    return engine_->ListQueues(context, filter);
  }
  Result<std::optional<Queue>> GetQueue(const Context& context, std::string_view name) override {
    return engine_->GetQueue(context, name);
  }
  Result<QueueTotals> GetTotals(const Context& context) override {
    return engine_->GetTotals(context);
  }
  Result<std::optional<Record>> GetRecord(const Context& context, const RecordKey& key) override {
    return engine_->GetRecord(context, key);
  }
  Result<RecordPage> ListRecords(const Context& context, const RecordFilter& filter) override {
    return engine_->ListRecords(context, filter);
  }
  Result<std::optional<Kind>> GetKind(const Context& context, std::string_view name) override {
    return engine_->GetKind(context, name);
  }
  Result<std::vector<Kind>> ListKinds(const Context& context) override {
    return engine_->ListKinds(context);
  }
  Result<std::optional<Transfer>> GetTransfer(const Context& context, TransferId id) override {
    return engine_->GetTransfer(context, id);
  }
  Result<TransferPage> ListTransfers(const Context& context,
                                     const TransferFilter& filter) override {
    return engine_->ListTransfers(context, filter);
  }
  Result<Lock> GetLock(const Context& context, std::string_view name) override {
    return engine_->GetLock(context, name);
  }
  Result<LockPage> ListLocks(const Context& context, const LockFilter& filter) override {
    return engine_->ListLocks(context, filter);
  }
  Result<AuditPage> ListAudit(const Context& context, const AuditFilter& filter) override {
    return engine_->ListAudit(context, filter);
  }
  Result<engine::MaintainResult> Maintain(const Context& context,
                                          engine::MaintainRequest request) override {
    return engine_->Maintain(context, std::move(request));
  }
  void Listen(engine::ChangeListener* listener) override { engine_->Listen(listener); }
  bool ChangedElsewhere() override { return engine_->ChangedElsewhere(); }
  Result<std::vector<std::string>> FindReady(const Context& context,
                                             const std::vector<std::string>& queues) override {
    return engine_->FindReady(context, queues);
  }
  Result<std::vector<bool>> FindTurns(const Context& context,
                                      const std::vector<engine::LockPlace>& places) override {
    return engine_->FindTurns(context, places);
  }
  Result<Time> Now() override { return engine_->Now(); }
  Result<void> CheckHealth() override { return engine_->CheckHealth(); }

 private:
  struct Waiting {
    Context context;
    std::vector<Batch> batches;
    CommitDone done;
  };

  static std::vector<Result<Receipt>> Failing(std::size_t count, ErrorCode code) {
    return {count, Fail(code, "a fault was injected")};
  }

  std::unique_ptr<engine::Engine> engine_;
  mutable base::Mutex mutex_{base::LockRank::kEngine};
  Fault fault_ HF_GUARDED_BY(mutex_) = Fault::kNone;
  int faults_ HF_GUARDED_BY(mutex_) = 0;
  std::vector<Waiting> waiting_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast::testing
