// The facade: validates, measures, waits, and hands everything on to the engine.
#include "holdfast/store.h"

#include <algorithm>
#include <system_error>

#include "base/answer.h"
#include "base/check.h"
#include "base/result.h"
#include "base/utf8.h"
#include "engine/engine.h"
#include "holdfast/version.h"
#include "rules/limits.h"
#include "rules/names.h"
#include "rules/validate.h"
#include "store/claim_waiters.h"
#include "store/commit_one.h"
#include "store/lease_keeper.h"
#include "store/lock_presets.h"
#include "store/lock_waiters.h"
#include "store/locked_commit.h"
#include "store/maintainer.h"
#include "store/recorder.h"
#include "wire/decode.h"

namespace holdfast {
namespace {

using base::Answer;

/// What rules::Validate leaves to whoever has a parser.
Result<void> ValidateTexts(const Batch& batch) {
  for (std::size_t i = 0; i < batch.operations.size(); ++i) {
    Result<void> valid;
    if (const auto* op = std::get_if<EnqueueJob>(&batch.operations[i])) {
      valid = wire::ValidateJson("payload", op->spec.payload, wire::JsonShape::kAny);
      if (valid && op->spec.metadata != "{}") {
        valid = wire::ValidateJson("metadata", op->spec.metadata, wire::JsonShape::kObject);
      }
    } else if (const auto* report = std::get_if<CompleteJob>(&batch.operations[i])) {
      if (report->result) {
        valid = wire::ValidateJson("result", *report->result, wire::JsonShape::kAny);
      }
    }
    if (!valid) {
      valid.error().detail.operation = static_cast<std::int64_t>(i);
      return valid;
    }
  }
  return {};
}

/// What a command wrote before it died must not keep its failure from being reported.
void MakeErrorsStorable(Batch& batch) {
  for (Operation& operation : batch.operations) {
    auto* failure = std::get_if<FailJob>(&operation);
    if (failure == nullptr) continue;
    if (failure->error.size() <= rules::kErrorBytes && base::IsStorable(failure->error)) continue;
    failure->error = base::CutStorable(failure->error, rules::kErrorBytes);
  }
}

Result<void> ValidateBatch(const Batch& batch) {
  HF_RETURN_IF_ERROR(rules::Validate(batch));
  return ValidateTexts(batch);
}

const Clock& ClockOf(const StoreOptions& options) {
  return options.clock != nullptr ? *options.clock : Clock::System();
}

}  // namespace

class Store::Impl {
 public:
  Impl(std::unique_ptr<engine::Engine> engine, const StoreOptions& options)
      : lease_clock_(options.lease_clock != nullptr ? *options.lease_clock : Clock::System()),
        presets_(options.lock_presets),
        recorder_(options, !engine->traits().is_remote),
        engine_(std::move(engine)),
        waiters_(*engine_, ClockOf(options),
                 [this](SteadyTime deadline) { maintainer_.WakeBy(deadline); }),
        lock_waiters_(*engine_, recorder_, ClockOf(options),
                      [this](SteadyTime deadline) { maintainer_.WakeBy(deadline); }),
        maintainer_(*engine_, waiters_, lock_waiters_, recorder_, options) {
    engine_->Listen(&maintainer_);
    maintainer_.Start();
  }

  ~Impl() {
    if (lock_keeper_ != nullptr) {
      HF_CHECK(lock_keeper_->IsIdle());  // a HeldLock that is still there would use the store
      lock_keeper_->Stop();
    }
    StopWaiting();
    maintainer_.Stop();
    engine_.reset();  // runs the completions that are still under way
  }

  void Commit(const Context& context, std::vector<Batch> batches, CommitDone done) {
    std::vector<std::pair<std::size_t, Error>> refused;  // which, and why
    Result<void> context_valid = rules::Validate(context);
    for (std::size_t i = 0; i < batches.size(); ++i) {
      Result<void> valid = context_valid ? Prepare(batches[i]) : context_valid;
      if (!valid) refused.emplace_back(i, std::move(valid).error());
    }
    if (refused.empty()) return CommitValid(context, std::move(batches), std::move(done));
    std::vector<Result<Receipt>> answers(batches.size());
    for (auto refusal = refused.rbegin(); refusal != refused.rend(); ++refusal) {
      answers[refusal->first] = std::unexpected(std::move(refusal->second));
      batches.erase(batches.begin() + static_cast<std::ptrdiff_t>(refusal->first));
    }
    if (batches.empty()) return done(std::move(answers));
    CommitValid(context, std::move(batches),
                [answers = std::move(answers),
                 done = std::move(done)](std::vector<Result<Receipt>> committed) mutable {
                  auto next = committed.begin();
                  for (Result<Receipt>& answer : answers) {
                    if (answer) answer = std::move(*next++);
                  }
                  done(std::move(answers));
                });
  }

  Result<Receipt> CommitAndWait(const Context& context, Batch batch) {
    HF_RETURN_IF_ERROR(rules::Validate(context));
    HF_RETURN_IF_ERROR(Prepare(batch));
    if (batch.wait > Duration::zero() && !is_remote()) {
      // What may have to wait for a record's lock is not held up by this thread.
      auto answer = std::make_shared<Answer<std::vector<Result<Receipt>>>>();
      std::vector<Batch> batches;
      batches.push_back(std::move(batch));
      CommitValid(context, std::move(batches), [answer](std::vector<Result<Receipt>> answers) {
        answer->Set(std::move(answers));
      });
      return std::move(answer->Take().front());
    }
    store::CommitRecord record = recorder_.BeginCommit(context, {&batch, 1});
    Result<Receipt> answer = engine_->CommitAndWait(context, std::move(batch));
    recorder_.EndCommit(record, {&answer, 1});
    return answer;
  }

  Result<std::vector<Job>> ClaimAndWait(const Context& context, ClaimRequest request) {
    if (request.wait > Duration::zero()) {
      // What may have to wait for a job is not held up by this thread.
      auto answer = std::make_shared<Answer<Result<std::vector<Job>>>>();
      Claim(context, std::move(request),
            [answer](Result<std::vector<Job>> jobs) { answer->Set(std::move(jobs)); });
      return answer->Take();
    }
    HF_RETURN_IF_ERROR(rules::Validate(context));
    HF_RETURN_IF_ERROR(rules::Validate(request));
    Result<std::vector<Job>> jobs = engine_->ClaimAndWait(context, std::move(request));
    recorder_.RecordClaim(jobs);
    return jobs;
  }

  void Claim(const Context& context, ClaimRequest request, ClaimDone done) {
    Result<void> valid = rules::Validate(context);
    if (valid) valid = rules::Validate(request);
    if (!valid) return done(std::unexpected(std::move(valid).error()));
    if (request.wait <= Duration::zero() || engine_->traits().is_remote) {
      return engine_->Claim(context, std::move(request), Recorded(std::move(done)));
    }
    // First without being registered: where there is work, waiting costs nothing.
    ClaimRequest again = request;
    engine_->Claim(context, std::move(request),
                   [this, context, again = std::move(again),
                    done = Recorded(std::move(done))](Result<std::vector<Job>> result) mutable {
                     if (!result || !result->empty()) return done(std::move(result));
                     waiters_.Wait(context, std::move(again), std::move(done));
                   });
  }

  void Acquire(const Context& context, AcquireLock request, AcquireDone done) {
    Result<void> valid = rules::Validate(context);
    if (valid && !is_remote()) valid = presets_.Resolve(request);
    if (valid) valid = rules::Validate(request);
    if (!valid) return done(std::unexpected(std::move(valid).error()));
    if (is_remote()) return engine_->Acquire(context, std::move(request), std::move(done));
    if (request.wait.value_or(Duration::zero()) > Duration::zero()) {
      return lock_waiters_.Acquire(context, std::move(request), std::move(done));
    }
    std::vector<Batch> batches(1);
    batches[0].operations.emplace_back(std::move(request));
    CommitValid(context, std::move(batches),
                [done = std::move(done)](std::vector<Result<Receipt>> answers) mutable {
                  done(store::GrantsOf(std::move(answers.front())));
                });
  }

  void StopWaiting() {
    waiters_.Close();
    lock_waiters_.Close();
  }

  Result<store::LeaseKeeper*> LockKeeper(Store& store) {
    base::MutexLock lock(lock_keeper_mutex_);
    if (lock_keeper_ == nullptr) {
      auto keeper = std::make_shared<store::LeaseKeeper>(store, "", lease_clock_);
      try {
        keeper->Start();
      } catch (const std::system_error& error) {
        return Fail(ErrorCode::kUnavailable,
                    std::string("the system refused a thread that renews locks: ") + error.what());
      }
      lock_keeper_ = std::move(keeper);
    }
    return lock_keeper_.get();
  }

  Result<void> CheckHealth() {
    HF_RETURN_IF_ERROR(engine_->CheckHealth());
    return recorder_.health().Check();
  }

  /// The answer of a read.
  template <typename T>
  Result<T> Noted(Result<T> answer) {
    if (!answer) recorder_.RecordReadError(answer.error());
    return answer;
  }

  bool is_remote() const { return engine_->traits().is_remote; }
  engine::Engine& engine() { return *engine_; }
  const store::LockPresets& presets() const { return presets_; }
  store::ClaimWaiters& waiters() { return waiters_; }
  store::LockWaiters& lock_waiters() { return lock_waiters_; }
  store::Maintainer& maintainer() { return maintainer_; }

 private:
  Result<void> Prepare(Batch& batch) {
    if (!is_remote()) HF_RETURN_IF_ERROR(presets_.Resolve(batch));
    MakeErrorsStorable(batch);
    return ValidateBatch(batch);
  }

  void CommitValid(const Context& context, std::vector<Batch> batches, CommitDone done) {
    store::CommitRecord record = recorder_.BeginCommit(context, batches);
    auto finish = [this, record = std::move(record),
                   done = std::move(done)](std::vector<Result<Receipt>> answers) mutable {
      recorder_.EndCommit(record, answers);
      done(std::move(answers));
    };
    auto waits = [](const Batch& batch) { return batch.wait > Duration::zero(); };
    if (is_remote() || std::ranges::none_of(batches, waits)) {
      return engine_->Commit(context, std::move(batches), std::move(finish));
    }
    store::CommitWithLocks(*engine_, lock_waiters_, context, std::move(batches), std::move(finish));
  }

  ClaimDone Recorded(ClaimDone done) {
    return [this, done = std::move(done)](Result<std::vector<Job>> result) mutable {
      recorder_.RecordClaim(result);
      done(std::move(result));
    };
  }

  const Clock& lease_clock_;
  const store::LockPresets presets_;
  store::Recorder recorder_;
  std::unique_ptr<engine::Engine> engine_;
  store::ClaimWaiters waiters_;
  store::LockWaiters lock_waiters_;
  store::Maintainer maintainer_;

  base::Mutex lock_keeper_mutex_{base::LockRank::kStore};
  std::shared_ptr<store::LeaseKeeper> lock_keeper_ HF_GUARDED_BY(lock_keeper_mutex_);
};

Store::Store(std::unique_ptr<engine::Engine> engine, const StoreOptions& options)
    : impl_(std::make_unique<Impl>(std::move(engine), options)) {}

Store::~Store() = default;

void Store::CommitAsync(const Context& context, std::vector<Batch> batches, CommitDone done) {
  impl_->Commit(context, std::move(batches), std::move(done));
}

std::vector<Result<Receipt>> Store::CommitMany(const Context& context, std::vector<Batch> batches) {
  auto answer = std::make_shared<Answer<std::vector<Result<Receipt>>>>();
  impl_->Commit(context, std::move(batches), [answer](std::vector<Result<Receipt>> answers) {
    answer->Set(std::move(answers));
  });
  return answer->Take();
}

Result<Receipt> Store::Commit(const Context& context, Batch batch) {
  return impl_->CommitAndWait(context, std::move(batch));
}

void Store::ClaimAsync(const Context& context, ClaimRequest request, ClaimDone done) {
  impl_->Claim(context, std::move(request), std::move(done));
}

Result<std::vector<Job>> Store::Claim(const Context& context, ClaimRequest request) {
  return impl_->ClaimAndWait(context, std::move(request));
}

void Store::StopWaiting() {
  impl_->StopWaiting();
}

void Store::AcquireAsync(const Context& context, AcquireLock request, AcquireDone done) {
  impl_->Acquire(context, std::move(request), std::move(done));
}

Result<std::vector<LockGrant>> Store::Acquire(const Context& context, AcquireLock request) {
  if (!impl_->is_remote()) HF_RETURN_IF_ERROR(impl_->presets().Resolve(request));
  if (!impl_->is_remote() && request.wait.value_or(Duration::zero()) == Duration::zero()) {
    Batch batch;
    batch.operations.emplace_back(std::move(request));
    return store::GrantsOf(Commit(context, std::move(batch)));
  }
  auto answer = std::make_shared<Answer<Result<std::vector<LockGrant>>>>();
  impl_->Acquire(context, std::move(request), [answer](Result<std::vector<LockGrant>> grants) {
    answer->Set(std::move(grants));
  });
  return answer->Take();
}

Result<store::LeaseKeeper*> Store::LockKeeper() {
  return impl_->LockKeeper(*this);
}

Result<LockPreset> Store::FindLockPreset(std::string_view name) const {
  return impl_->presets().Find(name);
}

Result<Lock> Store::GetLock(const Context& context, std::string_view name) {
  HF_RETURN_IF_ERROR(context.Check());
  HF_RETURN_IF_ERROR(rules::CheckLockName(name));
  return impl_->Noted(impl_->engine().GetLock(context, name));
}

Result<LockPage> Store::ListLocks(const Context& context, const LockFilter& filter) {
  HF_RETURN_IF_ERROR(context.Check());
  HF_RETURN_IF_ERROR(rules::Validate(filter));
  return impl_->Noted(impl_->engine().ListLocks(context, filter));
}

Result<void> Store::CheckHealth() {
  return impl_->CheckHealth();
}

Result<MaintainReport> Store::Maintain(const Context& context) {
  return impl_->maintainer().Step(context);
}

Result<std::optional<Job>> Store::GetJob(const Context& context, JobId id) {
  HF_RETURN_IF_ERROR(context.Check());
  HF_ASSIGN_OR_RETURN(std::optional<Job> job, impl_->Noted(impl_->engine().GetJob(context, id)));
  if (job) job->token = 0;  // a token is for its claimer alone
  return job;
}

Result<JobPage> Store::ListJobs(const Context& context, const JobFilter& filter) {
  HF_RETURN_IF_ERROR(context.Check());
  HF_RETURN_IF_ERROR(rules::Validate(filter));
  HF_ASSIGN_OR_RETURN(JobPage page, impl_->Noted(impl_->engine().ListJobs(context, filter)));
  for (Job& job : page.items) job.token = 0;
  return page;
}

Result<std::optional<Record>> Store::GetRecord(const Context& context, const RecordKey& key) {
  HF_RETURN_IF_ERROR(context.Check());
  HF_RETURN_IF_ERROR(rules::Validate(key));
  return impl_->Noted(impl_->engine().GetRecord(context, key));
}

Result<RecordPage> Store::ListRecords(const Context& context, const RecordFilter& filter) {
  HF_RETURN_IF_ERROR(context.Check());
  HF_RETURN_IF_ERROR(rules::Validate(filter));
  HF_ASSIGN_OR_RETURN(RecordPage page, impl_->Noted(impl_->engine().ListRecords(context, filter)));
  if (!page.items.empty()) return page;
  // A kind whose name is misspelt must not look like one without records.
  HF_ASSIGN_OR_RETURN(std::optional<Kind> kind,
                      impl_->Noted(impl_->engine().GetKind(context, filter.kind)));
  if (kind) return page;
  return Fail(ErrorCode::kNotFound, "kind " + filter.kind + " is not declared");
}

Result<std::optional<Kind>> Store::GetKind(const Context& context, std::string_view name) {
  HF_RETURN_IF_ERROR(context.Check());
  HF_RETURN_IF_ERROR(rules::CheckRecordName("kind", name));
  return impl_->Noted(impl_->engine().GetKind(context, name));
}

Result<std::vector<Kind>> Store::ListKinds(const Context& context) {
  HF_RETURN_IF_ERROR(context.Check());
  return impl_->Noted(impl_->engine().ListKinds(context));
}

Result<std::optional<Transfer>> Store::GetTransfer(const Context& context, TransferId id) {
  HF_RETURN_IF_ERROR(context.Check());
  return impl_->Noted(impl_->engine().GetTransfer(context, id));
}

Result<TransferPage> Store::ListTransfers(const Context& context, const TransferFilter& filter) {
  HF_RETURN_IF_ERROR(context.Check());
  HF_RETURN_IF_ERROR(rules::Validate(filter));
  return impl_->Noted(impl_->engine().ListTransfers(context, filter));
}

Result<QueuePage> Store::ListQueues(const Context& context, const QueueFilter& filter) {
  HF_RETURN_IF_ERROR(context.Check());
  HF_RETURN_IF_ERROR(rules::Validate(filter));
  return impl_->Noted(impl_->engine().ListQueues(context, filter));
}

Result<std::optional<Queue>> Store::GetQueue(const Context& context, std::string_view name) {
  HF_RETURN_IF_ERROR(context.Check());
  HF_RETURN_IF_ERROR(rules::CheckName("queue", name));
  return impl_->Noted(impl_->engine().GetQueue(context, name));
}

Result<AuditPage> Store::ListAudit(const Context& context, const AuditFilter& filter) {
  HF_RETURN_IF_ERROR(context.Check());
  HF_RETURN_IF_ERROR(rules::Validate(filter));
  return impl_->Noted(impl_->engine().ListAudit(context, filter));
}

Result<StoreStats> Store::GetStats(const Context& context) {
  HF_RETURN_IF_ERROR(context.Check());
  HF_ASSIGN_OR_RETURN(QueueTotals totals, impl_->Noted(impl_->engine().GetTotals(context)));
  HF_ASSIGN_OR_RETURN(Time now, impl_->engine().Now());
  StoreStats stats;
  stats.engine = impl_->engine().traits().name;
  stats.version = kVersion;
  stats.counts = totals.counts;
  stats.queues = totals.queues;
  stats.waiting_claims = impl_->waiters().size();
  stats.waiting_locks = impl_->lock_waiters().size();
  stats.now = now;
  return stats;
}

}  // namespace holdfast
