// The store's own thread: maintenance when something is due, deadlines of waiting claims, and
// looking out for other processes. It also hears of every change.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <thread>

#include "base/mutex.h"
#include "engine/engine.h"
#include "store/claim_waiters.h"
#include "store/lock_waiters.h"
#include "store/recorder.h"

namespace holdfast::store {

/// Sleeps until the next of: a job or lease that comes due, a waiting claim's deadline, the next
/// poll (only while somebody waits, and only if other processes may write), and one second.
class Maintainer final : public engine::ChangeListener {
 public:
  Maintainer(engine::Engine& engine, ClaimWaiters& waiters, LockWaiters& lock_waiters,
             Recorder& recorder, const StoreOptions& options)
      : engine_(engine),
        waiters_(waiters),
        lock_waiters_(lock_waiters),
        recorder_(recorder),
        options_(options),
        clock_(options.clock != nullptr ? *options.clock : Clock::System()),
        planned_us_(options.maintain ? INT64_MAX : INT64_MIN) {}

  /// Not part of the constructor: the thread uses what is constructed after this object.
  void Start();
  /// Idempotent; joins.
  void Stop();

  /// One bounded step of maintenance, on the calling thread. Threads: any.
  Result<MaintainReport> Step(const Context& context);

  /// A deadline that may be earlier than what the thread sleeps for.
  void WakeBy(SteadyTime at);

  void OnChange(const engine::Change& change) override;
  void OnChangedElsewhere() override;

 private:
  void Run();
  SteadyTime MaintainIfDue(SteadyTime now);
  std::optional<SteadyTime> EndWaits(SteadyTime now);
  bool TakeNews();
  void FlushRefusals();
  Result<engine::MaintainResult> Maintain(const Context& context, std::optional<Time> alive_at = {},
                                          const rules::Stall& stall = {});
  /// A round has succeeded, and the engine's time is `now`.
  void NoteRound(Time now);

  engine::Engine& engine_;
  ClaimWaiters& waiters_;
  LockWaiters& lock_waiters_;
  Recorder& recorder_;
  const StoreOptions options_;
  const Clock& clock_;
  std::thread thread_;

  /// The engine's time of the next planned maintenance, in microseconds: what comes due later does
  /// not wake the thread.
  std::atomic<std::int64_t> planned_us_;

  // Of the thread alone, by the engine's clock: when a round last succeeded, and when the store
  // last stood still.
  std::optional<Time> alive_at_;
  rules::Stall stall_;

  SteadyTime next_maintenance_;  // of the thread alone
  SteadyTime next_poll_;         // likewise
  int rounds_in_vain_ = 0;       // likewise: one after another, though something was due

  base::Mutex mutex_{base::LockRank::kWait};
  base::CondVar changed_;
  bool is_stopping_ HF_GUARDED_BY(mutex_) = false;
  bool is_due_ HF_GUARDED_BY(mutex_) = false;   // something comes due before the planned time
  bool is_news_ HF_GUARDED_BY(mutex_) = false;  // from another process
  SteadyTime wake_by_ HF_GUARDED_BY(mutex_) = SteadyTime::max();
};

}  // namespace holdfast::store
