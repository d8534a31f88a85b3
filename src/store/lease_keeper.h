// Keeps the leases of a worker pool: renews them all in one commit, and ends the attempts that are
// cancelled, out of time, or whose lease is lost.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "store/running_attempt.h"

namespace holdfast::store {

/// The keeper judges a lease by a deadline of its own, counted from when the request that granted
/// it was sent: a worker that was paused, or cut off, knows that it lost before anybody tells it.
///
/// Threads: any. Held by a shared_ptr, because an answer of the store may come after Stop.
class LeaseKeeper : public std::enable_shared_from_this<LeaseKeeper> {
 public:
  struct Options {
    Duration lease{};
    std::string actor;
    /// Told once of each lease lost while it is held. On the keeper's thread or a handler's.
    std::function<void(const RunningAttempt&, std::string_view why)> on_lost;
  };

  LeaseKeeper(Store& store, Options options);

  void Start();
  /// Ends the thread. Nothing is held any more.
  void Stop();

  /// Renews the lease from now on. It was granted at `granted`, or a little later. With `confirm`
  /// it is renewed at once, to learn whether it is still held.
  void Hold(std::shared_ptr<RunningAttempt> attempt, SteadyTime granted, bool confirm,
            std::optional<SteadyTime> timeout_at);

  /// No longer renews the lease. When it will be lost; nothing if it has been.
  std::optional<SteadyTime> LetGo(Token token);

  /// Fires the stop token of every attempt that is held.
  void EndAll(StopReason reason);

  /// Commits the progress, and heeds what the answer says of the lease.
  Result<void> ReportProgress(RunningAttempt& attempt, double progress, std::string message);

 private:
  struct Lease {
    std::shared_ptr<RunningAttempt> attempt;
    SteadyTime lost_at;
    SteadyTime timeout_at;
  };
  /// A renewal on its way. At most one is, so that a store that hangs is not heaped with them.
  struct Renewal {
    std::vector<std::shared_ptr<RunningAttempt>> attempts;
    SteadyTime sent;
  };
  /// What there is to do, collected under the mutex and done outside.
  struct Due {
    std::vector<std::shared_ptr<RunningAttempt>> timed_out;
    std::vector<std::shared_ptr<RunningAttempt>> lost;
    std::vector<std::shared_ptr<RunningAttempt>> renew;
    SteadyTime renew_by;  // the first of them is lost then
    std::optional<std::vector<Result<Receipt>>> answers;
    bool stop = false;
  };

  void Run();
  Due WaitUntilDue();
  bool Collect(Due& due, SteadyTime now) HF_REQUIRES(mutex_);
  void SendRenewal(std::vector<std::shared_ptr<RunningAttempt>> attempts, SteadyTime renew_by);
  void TakeAnswers(const std::vector<Result<Receipt>>& answers);
  /// False if the answer says nothing of the lease, so that it must be asked for again.
  bool TakeAnswer(RunningAttempt& attempt, const Result<bool>& cancel_requested);
  void Lose(RunningAttempt& attempt, std::string_view why);
  SteadyTime LostAt(SteadyTime granted) const { return granted + options_.lease - margin_; }

  Store& store_;
  const Options options_;
  const Duration margin_;
  std::thread thread_;  // Start and Stop
  Renewal in_flight_;   // the keeper's thread

  base::Mutex mutex_{base::LockRank::kWorkers};
  base::CondVar changed_;
  std::map<Token, Lease> leases_ HF_GUARDED_BY(mutex_);
  SteadyTime renew_at_ HF_GUARDED_BY(mutex_);
  SteadyTime wake_at_ HF_GUARDED_BY(mutex_);  // until when the thread sleeps
  bool renewing_ HF_GUARDED_BY(mutex_) = false;
  std::optional<std::vector<Result<Receipt>>> answers_ HF_GUARDED_BY(mutex_);
  bool stopping_ HF_GUARDED_BY(mutex_) = false;
};

}  // namespace holdfast::store
