// One attempt as its handler sees it, and the one place that says why it should end.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "holdfast/worker.h"
#include "store/lease_keeper.h"

namespace holdfast::store {

class RunningAttempt;

/// What the attempts of one pool have in common. Outlives the calls of their handlers.
struct AttemptsOfPool {
  Store& store;
  Duration lease;
  std::string actor;
  LeaseKeeper& keeper;
  /// Told once of each lease lost while it is held. On the keeper's thread or a handler's.
  std::function<void(const RunningAttempt&, std::string_view why)> on_lost;
};

/// Threads: the handler's; stop, stop_reason, IsLost, End and the keeper's calls from any.
class RunningAttempt final : public Attempt, public KeptLease {
 public:
  RunningAttempt(const AttemptsOfPool& pool, Job job) : pool_(pool), job_(std::move(job)) {}

  const Job& job() const override { return job_; }
  std::stop_token stop() const override { return stop_.get_token(); }
  StopReason stop_reason() const override { return reason_.load(); }
  Result<void> ReportProgress(double progress, std::string message) override;
  Result<Receipt> Commit(const Context& context, Batch batch) override;

  Duration length() const override { return pool_.lease; }
  Batch Renewal() const override {
    return {.operations = {RenewJob{job_.id, job_.token, pool_.lease}}};
  }
  void OnRenewed(const Receipt& receipt, LeaseTime lost_at) override;
  void OnLost(std::string_view why) override;
  void OnOver() override { is_over_ = true; }
  void OnTimeOut() override { End(StopReason::kTimeout); }
  void OnShutDown() override { End(StopReason::kShutdown); }

  bool IsLost() const { return reason_.load() == StopReason::kLeaseLost; }
  /// It was reported under its token in a batch that this object has not seen.
  bool IsOver() const { return is_over_.load(); }
  /// What Commit has reported of it, and the state of the job since.
  struct Reported {
    Outcome outcome;
    JobState state;
  };
  const std::optional<Reported>& reported() const { return reported_; }  // the handler's thread

 private:
  std::unexpected<Error> Fenced() const;
  /// Fires the stop token. The first reason stays, except that a lost lease outranks them all: from
  /// then on another worker may have the job, whatever the handler was asked to do before.
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

  const AttemptsOfPool& pool_;
  const Job job_;
  std::stop_source stop_;
  std::atomic<StopReason> reason_ = StopReason::kNone;
  std::atomic<bool> is_over_ = false;
  std::optional<Reported> reported_;
};

}  // namespace holdfast::store
