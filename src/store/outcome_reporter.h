// Reports what came of attempts: many outcomes in one commit, retried until each lease would be
// lost.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "store/running_attempt.h"

namespace holdfast::store {

/// An outcome on its way to the store.
struct Report {
  std::shared_ptr<RunningAttempt> attempt;
  Outcome outcome;
  LeaseTime lost_at;     ///< there is no use in trying again after this
  bool refused = false;  ///< the handler's own outcome broke a limit; this one says so
};

/// Threads: Add from any; `settled` is called on the reporter's.
class OutcomeReporter {
 public:
  /// Told once of each report: the job's state now, or why the outcome could not be reported.
  using Settled = std::function<void(const Report&, const Result<JobState>&)>;

  OutcomeReporter(Store& store, const LeaseKeeper& keeper, Duration lease, std::string actor,
                  Settled settled);

  void Start();
  /// Reports what is left, then ends the thread.
  void Stop();

  void Add(Report report);

 private:
  void Run();
  /// The next reports to send; none: there is nothing left, and never will be.
  std::vector<Report> WaitForReports();
  std::vector<Result<Receipt>> Send(std::vector<Report>& reports);
  Result<Receipt> FindReported(const Context& context, Report& report, const Error& refusal);
  /// Settles the report, or puts it into `again`.
  void Take(Report report, const Result<Receipt>& answer, SteadyTime retry_at,
            std::vector<Report>& again);
  SteadyTime NextTry();
  bool MayRetry();

  Store& store_;
  const LeaseKeeper& keeper_;  // of the leases, for its clock
  const Duration lease_;
  const std::string actor_;
  const Settled settled_;
  std::thread thread_;  // Start and Stop
  int failures_ = 0;    // the reporter's thread: commits in a row that failed for a passing reason

  base::Mutex mutex_{base::LockRank::kWorkers};
  base::CondVar changed_;
  std::deque<Report> reports_ HF_GUARDED_BY(mutex_);
  SteadyTime retry_at_ HF_GUARDED_BY(mutex_);  // nothing is sent before
  bool stopping_ HF_GUARDED_BY(mutex_) = false;
};

}  // namespace holdfast::store
