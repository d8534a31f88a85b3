// Requests for locks that wait in line: parked as small objects, never as threads, and without
// polling.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "engine/engine.h"
#include "store/recorder.h"

namespace holdfast::store {

/// The line itself is in the store, as rows: here is who is to be told. A waiter is known before
/// its place in line is asked for, and a grant that is heard of before the answer to that is
/// remembered with it, so that none is lost between the two.
///
/// A wait ends by leaving the line, in a commit: a grant that came first wins, and is handed out,
/// or given back if nobody is there to take it. Threads: any; completions run under no lock.
class LockWaiters {
 public:
  /// `on_deadline` is told when a waiter's deadline may be the next to pass.
  LockWaiters(engine::Engine& engine, Recorder& recorder, const Clock& clock,
              std::function<void(SteadyTime)> on_deadline)
      : engine_(engine), recorder_(recorder), clock_(clock), on_deadline_(std::move(on_deadline)) {}

  /// Takes the locks, now or when it is their turn. The request was validated, and says how long to
  /// wait and for how long to hold.
  void Acquire(const Context& context, AcquireLock request, AcquireDone done);

  /// What the engine's commits did for waiters.
  void OnChange(const rules::LockNotes& notes);

  /// Something changed, perhaps in another process: the first in each wait queue look, if a read
  /// says that it may be their turn. True: some had a commit under way, which may have been too
  /// early to see the change: to be called again.
  bool LookAgain();

  /// Ends the waits whose time is over, and keeps this process known to others as alive. When to be
  /// called again, if anybody waits.
  std::optional<SteadyTime> Tick(SteadyTime now);

  /// Ends every wait, and from now on nobody waits.
  void Close();

  std::int64_t size() const { return size_.load(); }

 private:
  enum class State : std::uint8_t {
    kTrying,   // a commit is under way that asks for the lock or for the place in line
    kParked,   // in line
    kLeaving,  // a commit is under way that gives the place up
  };
  struct Waiter {
    std::int64_t id = 0;
    Context context;
    AcquireLock request;
    AcquireDone done;
    SteadyTime deadline;
    State state = State::kTrying;
    std::int64_t ticket = 0;
    std::optional<Time> place_until;            // by the engine's clock
    bool was_woken = false;                     // while it was trying
    std::optional<rules::LockGranted> granted;  // while it was trying
    std::optional<Error> ending;                // it shall not wait any longer: why
    std::optional<std::stop_callback<std::function<void()>>> on_stop;
  };
  using WaiterPtr = std::shared_ptr<Waiter>;
  struct Dispatch;

  void Try(const WaiterPtr& waiter);
  void OnTried(const WaiterPtr& waiter, Result<LockOutcome> result);
  void OnGranted(const rules::LockGranted& granted);
  void Wake(std::int64_t id);
  /// A parked waiter, with its ticket as it was under the mutex.
  struct Parked {
    WaiterPtr waiter;
    std::int64_t ticket = 0;
  };
  std::vector<std::int64_t> FindTurns(std::span<const Parked> waiters);
  void End(std::int64_t id, Error why);
  void Leave(const WaiterPtr& waiter);
  void OnLeft(const WaiterPtr& waiter, Result<LockOutcome> result);
  /// Out of the list; false if somebody else was faster.
  bool Remove(const WaiterPtr& waiter) HF_REQUIRES(mutex_);
  void Deliver(const WaiterPtr& waiter, std::vector<LockGrant> grants);
  void GiveBack(const WaiterPtr& waiter, const std::vector<LockGrant>& grants);
  void Release(const WaiterPtr& waiter, const std::vector<LockGrant>& grants, CommitDone done);
  void Refuse(const WaiterPtr& waiter, Error error);
  /// Its caller got an error, but it may be granted the lock: that is released then.
  void Abandon(const WaiterPtr& waiter) HF_REQUIRES(mutex_);
  void KeepAlive();
  static Error TimedOut(const Waiter& waiter, Duration remaining);

  engine::Engine& engine_;
  Recorder& recorder_;
  const Clock& clock_;
  const std::function<void(SteadyTime)> on_deadline_;
  std::atomic<std::int64_t> size_ = 0;

  base::Mutex mutex_{base::LockRank::kStore};
  bool is_closed_ HF_GUARDED_BY(mutex_) = false;
  std::int64_t last_id_ HF_GUARDED_BY(mutex_) = 0;
  SteadyTime keep_alive_at_ HF_GUARDED_BY(mutex_){};
  bool is_keeping_alive_ HF_GUARDED_BY(mutex_) = false;
  std::map<std::int64_t, WaiterPtr> waiters_ HF_GUARDED_BY(mutex_);
  std::set<std::pair<SteadyTime, std::int64_t>> deadlines_ HF_GUARDED_BY(mutex_);
  // Their callers got an error, but they may still be queued. Until their deadline is long over.
  std::map<std::int64_t, WaiterPtr> abandoned_ HF_GUARDED_BY(mutex_);
  SteadyTime prune_abandoned_at_ HF_GUARDED_BY(mutex_){};
};

}  // namespace holdfast::store
