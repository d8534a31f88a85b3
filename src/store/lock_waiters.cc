#include "store/lock_waiters.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <span>
#include <utility>

#include "base/mutant.h"
#include "base/text.h"
#include "rules/limits.h"
#include "rules/locks.h"
#include "store/commit_one.h"

namespace holdfast::store {
namespace {

using base::MutexLock;

// A process counts as dead after rules::kSessionLife without a renewal. Two renewals may be late.
constexpr auto kKeepAlive = rules::kSessionLife / 3;
// How long after its deadline a wait without a known end may still be granted: clocks drift, and
// commits take time.
constexpr auto kAbandonedFor = std::chrono::minutes(1);
constexpr auto kPruneInterval = std::chrono::seconds(1);

/// A commit of one operation, and its outcome.
void CommitLockOperation(engine::Engine& engine, const Context& context, Operation operation,
                         std::move_only_function<void(Result<LockOutcome>)> done) {
  std::vector<Batch> batches(1);
  batches[0].operations.push_back(std::move(operation));
  engine.Commit(context, std::move(batches),
                [done = std::move(done)](std::vector<Result<Receipt>> answers) mutable {
                  Result<Receipt>& answer = answers.front();
                  if (!answer) {
                    answer.error().detail.operation.reset();
                    return done(std::unexpected(std::move(answer).error()));
                  }
                  OperationResult& result = answer->results.front();
                  done(result.lock ? std::move(*result.lock) : LockOutcome());
                });
}

Error Stopped() {
  return {ErrorCode::kCancelled, "the context was cancelled while waiting for a lock", {}};
}

}  // namespace

void LockWaiters::Acquire(const Context& context, AcquireLock request, AcquireDone done) {
  auto waiter = std::make_shared<Waiter>();
  waiter->context = context;
  waiter->deadline = clock_.Steady() + *request.wait;
  if (context.deadline) waiter->deadline = std::min(waiter->deadline, *context.deadline);
  waiter->request = std::move(request);
  waiter->done = std::move(done);
  bool is_closed = false;
  {
    MutexLock lock(mutex_);
    is_closed = is_closed_;
    if (!is_closed) {
      waiter->id = ++last_id_;
      waiters_.emplace(waiter->id, waiter);
      deadlines_.emplace(waiter->deadline, waiter->id);
      ++size_;
    }
  }
  if (is_closed) {
    return Refuse(waiter, {ErrorCode::kShuttingDown, "the store is being closed", {}});
  }
  // May run at once, if the context is already stopped: then the try below is the last.
  waiter->on_stop.emplace(context.stop, [this, id = waiter->id] { End(id, Stopped()); });
  on_deadline_(waiter->deadline);
  Try(waiter);
}

void LockWaiters::Try(const WaiterPtr& waiter) {
  // Once in line, its place is given up by leaving and in no other way.
  Context context = waiter->ticket == 0 ? waiter->context : waiter->context.ForCleanUp();
  CommitLockOperation(
      engine_, context,
      AwaitLock{.request = waiter->request,
                .waiter = waiter->id,
                .ticket = waiter->ticket,
                .deadline = waiter->place_until},
      [this, waiter](Result<LockOutcome> result) { OnTried(waiter, std::move(result)); });
}

void LockWaiters::OnTried(const WaiterPtr& waiter, Result<LockOutcome> result) {
  enum class Next { kDeliver, kRefuse, kLeave, kTry, kNothing } next = Next::kNothing;
  bool has_queued = false;
  std::optional<rules::LockGranted> heard;  // while it is not known whether it was queued
  {
    MutexLock lock(mutex_);
    // A look that failed is no answer: the place in line is still there.
    if (!result && waiter->ticket != 0) {
      result = LockOutcome{.ticket = waiter->ticket, .deadline = waiter->place_until};
    }
    const bool is_over = !result || result->ticket == 0;
    if (is_over) {
      if (!Remove(waiter)) return;
      // It may have been queued all the same: what it is granted later is released.
      if (!result && result.error().code == ErrorCode::kOutcomeUnknown &&
          !HF_MUTANT(unknown_wait_forgotten)) {
        Abandon(waiter);
        heard = std::exchange(waiter->granted, std::nullopt);
      }
      next = result && !result->grants.empty() ? Next::kDeliver : Next::kRefuse;
    } else {
      has_queued = waiter->ticket == 0;
      waiter->ticket = result->ticket;
      waiter->place_until = result->deadline;
      // One that was heard of for an earlier place was broken since, or the place would not be new.
      if (waiter->granted && waiter->granted->ticket == waiter->ticket) {
        // A release on another thread was heard of first.
        if (!Remove(waiter)) return;
        result->grants = {std::move(waiter->granted->grant)};
        next = Next::kDeliver;
      } else if (waiter->ending) {
        waiter->state = State::kLeaving;
        next = Next::kLeave;
      } else if (std::exchange(waiter->was_woken, false)) {
        next = Next::kTry;
      } else {
        waiter->state = State::kParked;
      }
    }
  }
  if (heard) OnGranted(*heard);
  if (has_queued) recorder_.RecordLockWait(waiter->request.mode);
  switch (next) {
    case Next::kDeliver:
      return Deliver(waiter, std::move(result->grants));
    case Next::kRefuse:
      return Refuse(waiter,
                    result ? TimedOut(*waiter, result->remaining) : std::move(result).error());
    case Next::kLeave:
      return Leave(waiter);
    case Next::kTry:
      return Try(waiter);
    case Next::kNothing:
      return;
  }
}

/// What a thread is telling waiters, and what came up meanwhile.
struct LockWaiters::Dispatch {
  const LockWaiters* by = nullptr;
  std::deque<rules::LockGranted> granted;
  std::deque<std::int64_t> woken;

  void Add(const rules::LockNotes& notes) {
    granted.insert(granted.end(), notes.granted.begin(), notes.granted.end());
    woken.insert(woken.end(), notes.woken.begin(), notes.woken.end());
  }
};

void LockWaiters::OnChange(const rules::LockNotes& notes) {
  if (notes.granted.empty() && notes.woken.empty()) return;
  // A completion that gives its lock back at once, to an engine that commits on the caller's
  // thread, comes here again: a line of thousands must not become a stack of thousands.
  thread_local Dispatch* current = nullptr;
  if (current != nullptr && current->by == this) return current->Add(notes);
  Dispatch dispatch{.by = this};
  Dispatch* const outer = std::exchange(current, &dispatch);
  dispatch.Add(notes);
  while (!dispatch.granted.empty() || !dispatch.woken.empty()) {
    if (!dispatch.granted.empty()) {
      const rules::LockGranted note = std::move(dispatch.granted.front());
      dispatch.granted.pop_front();
      OnGranted(note);
    } else {
      const std::int64_t id = dispatch.woken.front();
      dispatch.woken.pop_front();
      Wake(id);
    }
  }
  current = outer;
}

void LockWaiters::OnGranted(const rules::LockGranted& granted) {
  const std::int64_t id = granted.waiter;
  WaiterPtr waiter;
  bool is_wanted = true;
  {
    MutexLock lock(mutex_);
    if (auto found = waiters_.find(id); found != waiters_.end()) {
      waiter = found->second;
      if (waiter->state == State::kTrying) {
        if (HF_MUTANT(grant_unheard)) return;
        if (!waiter->granted || waiter->granted->ticket < granted.ticket) waiter->granted = granted;
        return;
      }
      // Of a place it had before: broken, and its own look was faster than this news.
      if (granted.ticket != waiter->ticket) return;
      Remove(waiter);
    } else if (auto abandoned = abandoned_.find(id); abandoned != abandoned_.end()) {
      waiter = std::move(abandoned->second);
      abandoned_.erase(abandoned);
      is_wanted = false;
    } else {
      return;  // it heard of it by its own look
    }
  }
  if (is_wanted) return Deliver(waiter, {granted.grant});
  Release(waiter, {granted.grant}, [](const std::vector<Result<Receipt>>&) {});
}

void LockWaiters::Wake(std::int64_t id) {
  WaiterPtr waiter;
  {
    MutexLock lock(mutex_);
    auto found = waiters_.find(id);
    if (found == waiters_.end()) return;
    waiter = found->second;
    if (waiter->state == State::kTrying) waiter->was_woken = true;
    if (waiter->state != State::kParked) return;
    waiter->state = State::kTrying;
  }
  Try(waiter);
}

bool LockWaiters::LookAgain() {
  if (size_.load() == 0) return false;
  bool is_any_trying = false;
  std::vector<Parked> first;
  {
    MutexLock lock(mutex_);
    std::vector<Parked> parked;
    for (const auto& [id, waiter] : waiters_) {
      if (waiter->state == State::kParked) parked.push_back({waiter, waiter->ticket});
      is_any_trying |= waiter->state == State::kTrying;
    }
    std::ranges::sort(parked, {}, &Parked::ticket);
    // The first in a wait queue looks for all behind: the rules grant to each as it is its turn.
    std::set<std::string_view> queues;
    for (const Parked& one : parked) {
      const AcquireLock& request = one.waiter->request;
      if (!request.names.empty() || queues.insert(request.name).second) first.push_back(one);
    }
  }
  constexpr std::size_t kWaitersPerRead = 200;
  for (std::size_t at = 0; at < first.size(); at += kWaitersPerRead) {
    const std::size_t count = std::min(kWaitersPerRead, first.size() - at);
    for (std::int64_t id : FindTurns(std::span(first).subspan(at, count))) Wake(id);
  }
  return is_any_trying;
}

/// Parked ones whose turn it may be. A look is a commit, which locks rows: it is made only if a
/// read says that it may find something.
std::vector<std::int64_t> LockWaiters::FindTurns(std::span<const Parked> waiters) {
  std::vector<engine::LockPlace> places;
  for (const Parked& one : waiters) {
    const AcquireLock& request = one.waiter->request;
    for (const std::string& name : rules::NamesOf(request)) {
      places.push_back({one.ticket, name, request.mode, request.limit.value_or(0)});
    }
  }
  const Result<std::vector<bool>> turns = engine_.FindTurns(Context(), places);
  std::vector<std::int64_t> ids;
  auto next = turns ? turns->begin() : std::vector<bool>::const_iterator();
  for (const auto& [waiter, ticket] : waiters) {
    const auto count = static_cast<std::ptrdiff_t>(rules::NamesOf(waiter->request).size());
    bool is_turn = true;
    if (turns && !HF_MUTANT(every_first_looks)) {
      const std::ptrdiff_t open = std::count(next, next + count, true);
      next += count;
      is_turn = waiter->request.policy == LockPolicy::kAny ? open > 0 : open == count;
    }
    if (is_turn) ids.push_back(waiter->id);
  }
  return ids;
}

void LockWaiters::End(std::int64_t id, Error why) {
  WaiterPtr waiter;
  {
    MutexLock lock(mutex_);
    auto found = waiters_.find(id);
    if (found == waiters_.end()) return;
    waiter = found->second;
    // A caller that is gone outranks one whose time is over: a grant goes back.
    if (!waiter->ending || why.code == ErrorCode::kCancelled) waiter->ending = std::move(why);
    if (waiter->state != State::kParked) return;
    waiter->state = State::kLeaving;
  }
  Leave(waiter);
}

void LockWaiters::Leave(const WaiterPtr& waiter) {
  const std::span<const std::string> names = rules::NamesOf(waiter->request);
  CommitLockOperation(
      engine_, waiter->context.ForCleanUp(),
      LeaveLock{{names.begin(), names.end()}, waiter->ticket},
      [this, waiter](Result<LockOutcome> result) { OnLeft(waiter, std::move(result)); });
}

void LockWaiters::OnLeft(const WaiterPtr& waiter, Result<LockOutcome> result) {
  {
    MutexLock lock(mutex_);
    if (!Remove(waiter)) return;  // a grant was heard of meanwhile
    if (!result) Abandon(waiter);
  }
  if (!result) return Refuse(waiter, std::move(result).error());
  if (!result->grants.empty()) return Deliver(waiter, std::move(result->grants));
  const bool has_timed_out = waiter->ending->code == ErrorCode::kBusy;
  Refuse(waiter, has_timed_out ? TimedOut(*waiter, result->remaining) : *waiter->ending);
}

std::optional<SteadyTime> LockWaiters::Tick(SteadyTime now) {
  if (size_.load() == 0) return std::nullopt;
  std::vector<std::pair<std::int64_t, Error>> ended;
  std::optional<SteadyTime> next;
  bool keep_alive = false;
  {
    MutexLock lock(mutex_);
    for (const auto& [deadline, id] : deadlines_) {
      if (deadline > now) {
        next = deadline;
        break;
      }
      const Waiter& waiter = *waiters_.at(id);
      if (waiter.ending) continue;
      // The wait being over is told as busy; the context being over is an error of its own.
      const bool is_context = waiter.context.deadline && *waiter.context.deadline <= now;
      ended.emplace_back(id, is_context
                                 ? Error{ErrorCode::kDeadlineExceeded,
                                         "the context's deadline passed while waiting for a lock",
                                         {}}
                                 : Error{ErrorCode::kBusy, {}, {}});
    }
    if (engine_.traits().shared_between_processes && !waiters_.empty()) {
      if (now >= keep_alive_at_ && !is_keeping_alive_) {
        keep_alive = is_keeping_alive_ = true;
        keep_alive_at_ = now + kKeepAlive;
      }
      next = std::min(next.value_or(SteadyTime::max()),
                      std::max(keep_alive_at_, now + kKeepAlive / 10));
    }
  }
  for (auto& [id, why] : ended) End(id, std::move(why));
  if (keep_alive) KeepAlive();
  return next;
}

void LockWaiters::KeepAlive() {
  CommitLockOperation(engine_, Context(), KeepWaiting{}, [this](const Result<LockOutcome>&) {
    MutexLock lock(mutex_);
    is_keeping_alive_ = false;
  });
}

void LockWaiters::Close() {
  std::vector<std::int64_t> ids;
  {
    MutexLock lock(mutex_);
    is_closed_ = true;
    for (const auto& [id, waiter] : waiters_) ids.push_back(id);
  }
  for (std::int64_t id : ids) {
    End(id, {ErrorCode::kShuttingDown, "the store is being closed", {}});
  }
}

void LockWaiters::Abandon(const WaiterPtr& waiter) {
  const SteadyTime now = clock_.Steady();
  if (now >= prune_abandoned_at_) {  // not for each, when a failing store abandons thousands
    prune_abandoned_at_ = now + kPruneInterval;
    std::erase_if(abandoned_, [now](const auto& entry) {
      return entry.second->deadline + kAbandonedFor <= now;
    });
  }
  abandoned_.emplace(waiter->id, waiter);
}

bool LockWaiters::Remove(const WaiterPtr& waiter) {
  if (waiters_.erase(waiter->id) == 0) return false;
  deadlines_.erase({waiter->deadline, waiter->id});
  --size_;
  return true;
}

void LockWaiters::Deliver(const WaiterPtr& waiter, std::vector<LockGrant> grants) {
  const bool is_gone = waiter->context.stop.stop_requested() ||
                       (waiter->ending && waiter->ending->code == ErrorCode::kShuttingDown);
  if (is_gone && !HF_MUTANT(granted_to_the_gone)) return GiveBack(waiter, grants);
  for (const LockGrant& grant : grants) recorder_.RecordGrant(grant);
  // The completion is called once and may hold much: let it go as soon as it has run. The stop
  // callback goes with the waiter, under no lock, because its end waits for a call under way.
  AcquireDone done = std::move(waiter->done);
  done(std::move(grants));
}

/// Granted in the very instant in which its caller went away.
void LockWaiters::GiveBack(const WaiterPtr& waiter, const std::vector<LockGrant>& grants) {
  Release(waiter, grants, [this, waiter](const std::vector<Result<Receipt>>&) {
    Refuse(waiter, waiter->ending ? *waiter->ending : Stopped());
  });
}

void LockWaiters::Release(const WaiterPtr& waiter, const std::vector<LockGrant>& grants,
                          CommitDone done) {
  engine_.Commit(waiter->context.ForCleanUp(), ReleaseEach(grants), std::move(done));
}

void LockWaiters::Refuse(const WaiterPtr& waiter, Error error) {
  recorder_.RecordLockRefusal(error);
  AcquireDone done = std::move(waiter->done);
  done(std::unexpected(std::move(error)));
}

Error LockWaiters::TimedOut(const Waiter& waiter, Duration remaining) {
  if (waiter.ending && waiter.ending->code != ErrorCode::kBusy) return *waiter.ending;
  const std::span<const std::string> names = rules::NamesOf(waiter.request);
  const std::string what = names.size() == 1 ? fmt::format("lock {} was not", names.front())
                           : waiter.request.policy == LockPolicy::kAny
                               ? fmt::format("none of {} locks was", names.size())
                               : fmt::format("{} locks were not all", names.size());
  Error error{ErrorCode::kBusy,
              fmt::format("{} free within {}", what, base::FormatDuration(*waiter.request.wait)),
              {}};
  error.detail.retry_after = std::max<Duration>(remaining, std::chrono::milliseconds(1));
  error.detail.lock = names.front();
  return error;
}

}  // namespace holdfast::store
