// Claims that wait for a first job: parked as small objects, never as threads, and without polling.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "engine/engine.h"

namespace holdfast::store {

/// A waiter is registered before it tries, and a change that arrives while it tries is remembered
/// with it: so that no wake-up is lost between "nothing there" and "parked".
///
/// Waiters of a queue are woken in the order in which they came. Threads: any; completions run
/// under no lock.
class ClaimWaiters {
 public:
  /// `on_deadline` is told when a waiter's deadline may be the next to pass.
  ClaimWaiters(engine::Engine& engine, const Clock& clock,
               std::function<void(SteadyTime)> on_deadline)
      : engine_(engine), clock_(clock), on_deadline_(std::move(on_deadline)) {}

  /// `request.wait` was just answered with nothing: wait for a job until then.
  void Wait(const Context& context, ClaimRequest request, ClaimDone done);

  /// `count` jobs of a queue became claimable, of this kind, or (empty) of kinds that are not
  /// known. Wakes the first waiters that ask for them.
  void OnReady(const std::string& queue, const std::string& kind, std::int64_t count);

  /// Looks at a bounded number of the queues that parked claims wait for, and wakes the first claim
  /// of each that may have a job; one that finds a job wakes the next. `is_news`: something
  /// changed, perhaps in another process, so that all are to be looked at. True: some are left.
  bool Look(bool is_news);

  /// Answers those whose time is over; the next deadline, if anybody waits.
  std::optional<SteadyTime> Expire(SteadyTime now);

  /// Answers everybody, and from now on waits for nobody.
  void Close();

  std::int64_t size() const { return size_.load(); }

 private:
  enum class State : std::uint8_t { kTrying, kParked };
  struct Waiter {
    Context context;
    ClaimRequest request;
    ClaimDone done;
    SteadyTime deadline;
    State state = State::kTrying;
    bool was_signalled = false;            // a job came while it was trying
    bool was_woken = false;                // it is trying because a job came
    std::vector<std::string> woken_for{};  // the queues of these jobs, where they are known
    std::vector<std::string> looks_for{};  // queues that may have more than one job for it
    std::optional<Result<void>> ending;    // it shall not park again: why
    std::optional<std::stop_callback<std::function<void()>>> on_stop;
  };
  using Ticket = std::uint64_t;
  using WaiterPtr = std::shared_ptr<Waiter>;

  void Try(Ticket ticket, const WaiterPtr& waiter);
  void OnTried(Ticket ticket, const WaiterPtr& waiter, Result<std::vector<Job>> result);
  std::vector<Ticket> ChooseParked(std::string_view queue, std::string_view kind,
                                   std::int64_t count) const HF_REQUIRES(mutex_);
  void End(Ticket ticket, Result<void> why);
  void Park(Ticket ticket, Waiter& waiter) HF_REQUIRES(mutex_);
  void Unpark(Ticket ticket, Waiter& waiter) HF_REQUIRES(mutex_);
  void Remove(Ticket ticket, Waiter& waiter) HF_REQUIRES(mutex_);
  void PassOn(const Waiter& waiter, const Result<std::vector<Job>>& result);
  std::vector<std::string> NextQueues() HF_REQUIRES(mutex_);
  void WakeFirst(const std::string& queue, const std::vector<std::string>* kinds);
  static void Answer(const WaiterPtr& waiter, Result<std::vector<Job>> result);

  engine::Engine& engine_;
  const Clock& clock_;
  const std::function<void(SteadyTime)> on_deadline_;
  std::atomic<std::int64_t> size_ = 0;

  base::Mutex mutex_{base::LockRank::kStore};
  bool is_closed_ HF_GUARDED_BY(mutex_) = false;
  Ticket last_ticket_ HF_GUARDED_BY(mutex_) = 0;
  std::map<Ticket, WaiterPtr> waiters_ HF_GUARDED_BY(mutex_);
  std::set<Ticket> trying_ HF_GUARDED_BY(mutex_);
  std::map<std::string, std::set<Ticket>, std::less<>> parked_ HF_GUARDED_BY(mutex_);  // "": any
  std::set<std::pair<SteadyTime, Ticket>> deadlines_ HF_GUARDED_BY(mutex_);
  bool is_looking_ HF_GUARDED_BY(mutex_) = false;   // some of `parked_` are left for Look
  bool begins_anew_ HF_GUARDED_BY(mutex_) = false;  // there was news after Look had begun
  std::optional<std::string> looked_at_ HF_GUARDED_BY(mutex_);  // the last queue that Look took
};

}  // namespace holdfast::store
