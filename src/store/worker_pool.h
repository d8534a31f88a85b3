// The threads of a worker pool: one claims, some run handlers, one keeps leases, one reports.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "store/claim_ahead.h"
#include "store/outcome_reporter.h"
#include "store/running_attempt.h"

namespace holdfast {

/// A job is `busy` from its claim until its outcome is handed to the reporter, then `unreported`
/// until the store has answered. Both are bounded, so that a store which cannot be reached ends the
/// claiming rather than fill the memory.
class WorkerPool::Impl {
 public:
  Impl(Store& store, WorkerOptions options);
  ~Impl() { Stop(); }

  void Handle(std::string kind, Handler handler);
  Result<void> Start();
  void Stop();
  WorkerStats stats() const;
  const std::string& name() const { return options_.name; }

 private:
  enum class Phase : std::uint8_t { kNew, kStarting, kRunning, kStopping, kStopped };

  std::vector<std::string> KindsToClaim() const;
  Result<void> Validate() const;
  Result<void> StartThreads();
  void ShutDown();

  using AttemptPtr = std::shared_ptr<store::RunningAttempt>;

  /// Claimed, and waiting for a handler.
  struct Ready {
    AttemptPtr attempt;
    SteadyTime since;
  };
  /// What the fetcher does next: give something back, or claim.
  struct Step {
    std::vector<AttemptPtr> overdue;
    std::size_t claim = 0;
    bool wait = false;  // handlers are free: wait for jobs
    bool stop = false;
  };

  // The fetcher's thread.
  void Fetch();
  Step NextStep();
  std::vector<AttemptPtr> TakeOverdue() HF_REQUIRES(mutex_);
  void Claim(const Step& step);
  void Take(std::vector<Job> jobs, store::LeaseTime sent);
  /// Waits that long, unless the pool stops.
  void Pause(Duration duration);
  Duration PauseAfter(const Error& error, int failures);

  // A handler's thread.
  void RunHandlers();
  AttemptPtr NextAttempt();
  Outcome OutcomeOf(store::RunningAttempt& attempt);
  Outcome CallHandler(store::RunningAttempt& attempt);

  // A handler's thread or the fetcher's.
  void Report(const AttemptPtr& attempt, Outcome outcome);

  /// What could be claimed now.
  Step WantedClaim() const HF_REQUIRES(mutex_);
  void WakeFetcher() HF_REQUIRES(mutex_);

  // The keeper's thread or a handler's; the reporter's.
  void OnLost(const store::RunningAttempt& attempt, std::string_view why);
  void OnSettled(const store::Report& report, const Result<JobState>& state);

  void Enter(Phase phase);
  bool IsStopping() const;
  template <typename... Fields>
  void LogPool(LogLevel level, std::string_view event, Fields... fields) const;
  template <typename... Fields>
  void LogJob(LogLevel level, std::string_view event, const Job& job, Fields... fields) const;

  Store& store_;
  WorkerOptions options_;                    // not changed after Start
  const std::size_t outstanding_;            // most busy and unreported jobs
  std::map<std::string, Handler> handlers_;  // not changed after Start
  std::vector<std::string> kinds_;           // to claim; empty: every kind. Not changed after Start
  std::shared_ptr<store::LeaseKeeper> keeper_;
  std::unique_ptr<const store::AttemptsOfPool> attempts_;
  std::unique_ptr<store::OutcomeReporter> reporter_;
  std::stop_source stop_claiming_;
  std::thread fetcher_;
  int claim_failures_ = 0;  // the fetcher's thread: claims in a row that failed
  std::vector<std::thread> handler_threads_;

  mutable base::Mutex mutex_{base::LockRank::kWorkers};
  base::CondVar work_;   // handlers wait for attempts
  base::CondVar slots_;  // the fetcher waits for free slots, or pauses
  base::CondVar idle_;   // Stop waits for handlers, and for Start or another Stop to end
  Phase phase_ HF_GUARDED_BY(mutex_) = Phase::kNew;
  bool stopping_ HF_GUARDED_BY(mutex_) = false;      // nothing more is claimed or begun
  bool no_more_work_ HF_GUARDED_BY(mutex_) = false;  // the fetcher has ended
  std::deque<Ready> ready_ HF_GUARDED_BY(mutex_);
  bool is_drained_ HF_GUARDED_BY(mutex_) = false;  // the last claim brought less than it asked for
  store::ClaimAhead ahead_ HF_GUARDED_BY(mutex_);
  std::size_t busy_ HF_GUARDED_BY(mutex_) = 0;
  std::size_t unreported_ HF_GUARDED_BY(mutex_) = 0;
  WorkerStats stats_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast
