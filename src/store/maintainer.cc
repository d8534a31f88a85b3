#include "store/maintainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/mutant.h"

namespace holdfast::store {
namespace {

using base::MutexLock;

// Refusals are written and retention is looked at this often, whatever else comes due.
constexpr auto kPeriod = std::chrono::seconds(1);
constexpr auto kPauseAfterError = std::chrono::seconds(1);
// What is due may be in the hands of another process. The first round in vain is followed by
// another at once, because something may have come due during it; those that follow wait longer.
constexpr auto kPauseInVain = std::chrono::milliseconds(10);

bool DidNothing(const MaintainReport& report) {
  return report.expired + report.promoted + report.pruned + report.lapsed + report.unlocked == 0;
}

}  // namespace

void Maintainer::Start() {
  if (engine_.traits().is_remote) return;  // the server does all of it
  if (!engine_.traits().has_threads) return;
  thread_ = std::thread([this] { Run(); });
}

void Maintainer::Stop() {
  {
    MutexLock lock(mutex_);
    is_stopping_ = true;
    changed_.NotifyAll();
  }
  if (!thread_.joinable()) return;
  thread_.join();
  FlushRefusals();
}

/// The last ones: of a process that lived for one command they are all there are.
void Maintainer::FlushRefusals() {
  std::vector<AuditEntry> refusals = recorder_.TakeRefusals();
  if (refusals.empty()) return;
  (void)engine_.Maintain(Context(), {.limit = 0, .refusals = std::move(refusals)});
}

Result<MaintainReport> Maintainer::Step(const Context& context) {
  Result<engine::MaintainResult> result = Maintain(context);
  if (!engine_.traits().has_threads) EndWaits(clock_.Steady());
  if (!result) return std::unexpected(std::move(result).error());
  return result->report;
}

/// Of those whose time is over; the next deadline, if anybody waits.
std::optional<SteadyTime> Maintainer::EndWaits(SteadyTime now) {
  std::optional<SteadyTime> next = waiters_.Expire(now);
  std::optional<SteadyTime> next_lock = lock_waiters_.Tick(now);
  if (!next || !next_lock) return next ? next : next_lock;
  return std::min(*next, *next_lock);
}

Result<engine::MaintainResult> Maintainer::Maintain(const Context& context,
                                                    std::optional<Time> alive_at,
                                                    const rules::Stall& stall) {
  std::vector<AuditEntry> refusals = recorder_.TakeRefusals();
  Result<engine::MaintainResult> result =
      engine_.Maintain(context, {.refusals = refusals,
                                 .must_write = recorder_.health().IsFailing(),
                                 .alive_at = alive_at,
                                 .stall = stall});
  recorder_.RecordMaintenance(result ? Result<void>() : std::unexpected(result.error()));
  if (!result) {
    recorder_.PutBack(std::move(refusals));
    return result;
  }
  for (const Job& job : result->expired) recorder_.RecordExpiry(job);
  return result;
}

/// Paused, suspended, or held up or refused by its engine: meanwhile no renewal was served either,
/// and the jobs whose leases ran out may be in the best of hands.
void Maintainer::NoteRound(Time now) {
  const Time alive_at = std::exchange(alive_at_, now).value_or(now);
  const rules::Stall stall = rules::Stall::Between(alive_at, now);
  if (stall.IsEmpty()) return;
  stall_ = stall;
  recorder_.Log(
      LogLevel::kWarning, "store_stalled",
      {{"seconds", fmt::format("{:.1f}", static_cast<double>((now - alive_at).count()) * 1e-6)}});
}

void Maintainer::WakeBy(SteadyTime at) {
  MutexLock lock(mutex_);
  if (at >= wake_by_) return;
  wake_by_ = at;
  changed_.NotifyAll();
}

void Maintainer::OnChange(const engine::Change& change) {
  for (const rules::ReadyJobs& ready : change.ready) {
    waiters_.OnReady(ready.queue, ready.kind, ready.count);
  }
  lock_waiters_.OnChange(change.locks);
  for (const LockGrant& grant : change.locks.expired) recorder_.RecordExpiry(grant);
  if (!change.next_due || change.next_due->time_since_epoch().count() >= planned_us_.load()) return;
  MutexLock lock(mutex_);
  is_due_ = true;
  changed_.NotifyAll();
}

void Maintainer::OnChangedElsewhere() {
  MutexLock lock(mutex_);
  is_news_ = true;
  changed_.NotifyAll();
}

bool Maintainer::TakeNews() {
  MutexLock lock(mutex_);
  return std::exchange(is_news_, false);
}

SteadyTime Maintainer::MaintainIfDue(SteadyTime now) {
  bool is_due = now >= next_maintenance_;
  {
    MutexLock lock(mutex_);
    is_due |= is_due_;
    is_due_ = false;
  }
  if (!options_.maintain) return now + kPeriod;
  if (!is_due) return next_maintenance_;
  // Before the look, so that a change during it is not missed. What comes due after a period needs
  // no wake-up: otherwise each claim's lease would start the next round while this one is under
  // way.
  Result<Time> began = engine_.Now();
  planned_us_ = began ? (*began + kPeriod).time_since_epoch().count() : INT64_MAX;
  Result<engine::MaintainResult> result = Maintain(Context(), alive_at_, stall_);
  if (!result) return next_maintenance_ = now + kPauseAfterError;
  Duration pause = kPeriod;
  Result<Time> engine_now = engine_.Now();
  if (engine_now) NoteRound(*engine_now);
  if (result->report.more) {
    pause = Duration::zero();
  } else if (engine_now && result->next_due) {
    pause = std::clamp<Duration>(*result->next_due - *engine_now, Duration::zero(), kPeriod);
  }
  const bool is_in_vain = pause == Duration::zero() && DidNothing(result->report);
  rounds_in_vain_ = is_in_vain ? std::min(rounds_in_vain_ + 1, 8) : 0;
  if (rounds_in_vain_ > 1 && !HF_MUTANT(maintenance_spins)) {
    pause = std::min<Duration>(kPauseInVain * (1 << (rounds_in_vain_ - 2)), kPeriod);
  }
  if (engine_now) planned_us_ = (*engine_now + pause).time_since_epoch().count();
  return next_maintenance_ = std::chrono::steady_clock::now() + pause;
}

void Maintainer::Run() {
  next_maintenance_ = std::chrono::steady_clock::now();
  next_poll_ = next_maintenance_ + options_.poll_interval;
  bool is_looking = false;   // some queues that parked claims wait for are still to be looked at
  bool looks_again = false;  // some waiters for locks may have missed a change
  while (true) {
    SteadyTime now = std::chrono::steady_clock::now();
    SteadyTime next = MaintainIfDue(now);
    if (std::optional<SteadyTime> deadline = EndWaits(now)) next = std::min(next, *deadline);
    const bool is_news = TakeNews();  // also if nobody waits: it is no news afterwards
    const bool somebody_waits = waiters_.size() > 0 || lock_waiters_.size() > 0;
    if (engine_.traits().shared_between_processes && somebody_waits) {
      const bool polls = now >= next_poll_;
      if (polls) next_poll_ = now + options_.poll_interval;
      const bool has_changed = is_news || (polls && engine_.ChangedElsewhere());
      if (has_changed || (polls && looks_again)) looks_again = lock_waiters_.LookAgain();
      if (has_changed || is_looking) is_looking = waiters_.Look(has_changed);
      next = is_looking ? now : std::min(next, next_poll_);
    }
    MutexLock lock(mutex_);
    wake_by_ = std::min(wake_by_, next);
    while (!is_stopping_ && !is_due_ && !is_news_) {
      if (std::chrono::steady_clock::now() >= wake_by_) break;
      (void)changed_.WaitUntil(mutex_, wake_by_);
    }
    wake_by_ = SteadyTime::max();
    if (is_stopping_) return;
  }
}

}  // namespace holdfast::store
