// One attempt as its handler sees it, and the one place that says why it should end.
#pragma once

#include <atomic>
#include <stop_token>
#include <string>
#include <utility>

#include "holdfast/worker.h"

namespace holdfast::store {

class LeaseKeeper;

/// Threads: the handler's; stop, stop_reason, IsLost and End may be called from any.
class RunningAttempt final : public Attempt {
 public:
  /// `keeper` must outlive the calls of the handler.
  RunningAttempt(LeaseKeeper& keeper, Job job) : keeper_(keeper), job_(std::move(job)) {}

  const Job& job() const override { return job_; }
  std::stop_token stop() const override { return stop_.get_token(); }
  StopReason stop_reason() const override { return reason_.load(); }
  Result<void> ReportProgress(double progress, std::string message) override;

  bool IsLost() const { return reason_.load() == StopReason::kLeaseLost; }

  /// Fires the stop token. The first reason stays, except that a lost lease outranks them all: from
  /// then on the job belongs to somebody else, whatever the handler was asked to do before.
  /// Runs the handler's stop callbacks, so never under a mutex.
  void End(StopReason reason) {
    StopReason none = StopReason::kNone;
    if (reason == StopReason::kLeaseLost) {
      reason_.store(reason);
    } else {
      reason_.compare_exchange_strong(none, reason);
    }
    stop_.request_stop();
  }

 private:
  LeaseKeeper& keeper_;
  const Job job_;
  std::stop_source stop_;
  std::atomic<StopReason> reason_ = StopReason::kNone;
};

}  // namespace holdfast::store
