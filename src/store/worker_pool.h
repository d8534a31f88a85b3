// The threads of a worker pool: one claims, some run handlers, one keeps leases, one reports.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
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

  Result<void> Validate() const;
  Result<void> StartThreads();
  void ShutDown();

  // The fetcher's thread.
  void Fetch();
  std::size_t WaitForSlots();
  void Take(std::vector<Job> jobs, SteadyTime sent);
  /// Waits that long, unless the pool stops.
  void Pause(Duration duration);
  Duration PauseAfter(const Error& error, int failures);

  // A handler's thread.
  void RunHandlers();
  std::shared_ptr<store::RunningAttempt> NextAttempt();
  void RunOne(const std::shared_ptr<store::RunningAttempt>& attempt);
  Outcome OutcomeOf(store::RunningAttempt& attempt);
  Outcome CallHandler(store::RunningAttempt& attempt);

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
  std::map<std::string, Handler> handlers_;  // not changed after Start
  std::shared_ptr<store::LeaseKeeper> keeper_;
  std::unique_ptr<const store::AttemptsOfPool> attempts_;
  std::unique_ptr<store::OutcomeReporter> reporter_;
  std::stop_source stop_claiming_;
  std::thread fetcher_;
  std::vector<std::thread> handler_threads_;

  mutable base::Mutex mutex_{base::LockRank::kWorkers};
  base::CondVar work_;   // handlers wait for attempts
  base::CondVar slots_;  // the fetcher waits for free slots, or pauses
  base::CondVar idle_;   // Stop waits for handlers, and for Start or another Stop to end
  Phase phase_ HF_GUARDED_BY(mutex_) = Phase::kNew;
  bool stopping_ HF_GUARDED_BY(mutex_) = false;      // nothing more is claimed or begun
  bool no_more_work_ HF_GUARDED_BY(mutex_) = false;  // the fetcher has ended
  std::deque<std::shared_ptr<store::RunningAttempt>> ready_ HF_GUARDED_BY(mutex_);
  std::size_t busy_ HF_GUARDED_BY(mutex_) = 0;
  std::size_t unreported_ HF_GUARDED_BY(mutex_) = 0;
  WorkerStats stats_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast
