#include "store/worker_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/mutant.h"
#include "base/result.h"
#include "base/text.h"
#include "base/utf8.h"
#include "holdfast/retry.h"
#include "rules/limits.h"
#include "rules/validate.h"
#include "store/made_up_name.h"

namespace holdfast {
namespace {

using std::chrono::steady_clock;

constexpr int kConcurrencyMax = 1000;
constexpr int kClaimAheadMax = 1000;
/// How long a job that was claimed ahead waits for a handler.
constexpr Duration kReadyMax = std::chrono::seconds(1);
/// How long to leave a store alone that answers a claim at once and with nothing.
constexpr Duration kEmptyPause = std::chrono::milliseconds(50);

/// The pool whose handler this thread is.
thread_local const void* pool_of_this_thread = nullptr;

WorkerOptions WithDefaults(WorkerOptions options) {
  if (options.name.empty()) options.name = store::MadeUpName(':');
  if (options.concurrency == 0) {
    options.concurrency = static_cast<int>(std::thread::hardware_concurrency());
    options.concurrency = std::clamp(options.concurrency, 1, kConcurrencyMax);
  }
  return options;
}

Result<void> CheckDuration(std::string_view name, Duration value) {
  if (value >= Duration::zero() && value <= rules::kDelayMax) return {};
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("{} is {} (0s to {})", name,
                          value < Duration::zero() ? "negative" : base::FormatDuration(value),
                          base::FormatDuration(rules::kDelayMax)));
}

}  // namespace

WorkerPool::Impl::Impl(Store& store, WorkerOptions options)
    : store_(store),
      options_(WithDefaults(std::move(options))),
      outstanding_(2 * static_cast<std::size_t>(options_.concurrency + options_.claim_ahead) + 100),
      ahead_(static_cast<std::size_t>(options_.concurrency),
             static_cast<std::size_t>(options_.claim_ahead)) {}

void WorkerPool::Impl::Handle(std::string kind, Handler handler) {
  handlers_.insert_or_assign(std::move(kind), std::move(handler));
}

/// Those that have a handler; empty: every kind.
std::vector<std::string> WorkerPool::Impl::KindsToClaim() const {
  std::vector<std::string> kinds;
  if (handlers_.contains("*")) return kinds;
  for (const auto& [kind, handler] : handlers_) kinds.push_back(kind);
  return kinds;
}

Result<void> WorkerPool::Impl::Validate() const {
  if (options_.concurrency < 1 || options_.concurrency > kConcurrencyMax) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("concurrency is {} (0 to {})", options_.concurrency, kConcurrencyMax));
  }
  if (options_.claim_ahead < 0 || options_.claim_ahead > kClaimAheadMax) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("claim_ahead is {} (0 to {})", options_.claim_ahead, kClaimAheadMax));
  }
  HF_RETURN_IF_ERROR(CheckDuration("timeout", options_.timeout));
  HF_RETURN_IF_ERROR(CheckDuration("grace", options_.grace));
  if (handlers_.empty()) {
    return Fail(ErrorCode::kInvalidArgument, "the worker pool has no handler (see Handle)");
  }
  for (const auto& [kind, handler] : handlers_) {
    if (kind.empty()) {
      return Fail(ErrorCode::kInvalidArgument,
                  "a handler's kind is empty (1-128 characters, or *)");
    }
    if (!handler) {
      return Fail(ErrorCode::kInvalidArgument, fmt::format("the handler of '{}' is empty", kind));
    }
  }
  return rules::Validate(ClaimRequest{.worker = options_.name,
                                      .queues = options_.queues,
                                      .kinds = KindsToClaim(),
                                      .lease = options_.lease,
                                      .wait = options_.claim_wait});
}

Result<void> WorkerPool::Impl::Start() {
  HF_RETURN_IF_ERROR(Validate());
  {
    base::MutexLock lock(mutex_);
    if (phase_ != Phase::kNew) {
      return Fail(ErrorCode::kInvalidArgument, "the worker pool was started before (once only)");
    }
    phase_ = Phase::kStarting;
  }
  kinds_ = KindsToClaim();
  Result<void> started = StartThreads();
  if (!started) ShutDown();
  Enter(started ? Phase::kRunning : Phase::kStopped);
  return started;
}

Result<void> WorkerPool::Impl::StartThreads() {
  keeper_ = std::make_shared<store::LeaseKeeper>(
      store_, options_.name,
      options_.lease_clock != nullptr ? *options_.lease_clock : Clock::System());
  attempts_ = std::make_unique<const store::AttemptsOfPool>(
      store::AttemptsOfPool{.store = store_,
                            .lease = options_.lease,
                            .actor = options_.name,
                            .keeper = *keeper_,
                            .on_lost = [this](const store::RunningAttempt& attempt,
                                              std::string_view why) { OnLost(attempt, why); }});
  reporter_ = std::make_unique<store::OutcomeReporter>(
      store_, *keeper_, options_.lease, options_.name,
      [this](const store::Report& report, const Result<JobState>& state) {
        OnSettled(report, state);
      });
  LogPool(LogLevel::kInfo, "worker_started",
          std::pair{"concurrency", std::to_string(options_.concurrency)});
  try {
    keeper_->Start();
    reporter_->Start();
    for (int i = 0; i < options_.concurrency; ++i) {
      handler_threads_.emplace_back([this] { RunHandlers(); });
    }
    fetcher_ = std::thread([this] { Fetch(); });
  } catch (const std::system_error& error) {
    return Fail(ErrorCode::kUnavailable,
                fmt::format("the system refused {} threads for the worker pool: {}",
                            options_.concurrency + 3, error.what()));
  }
  return {};
}

void WorkerPool::Impl::Stop() {
  HF_CHECK(pool_of_this_thread != this);  // a handler that stops its pool would wait for itself
  {
    base::MutexLock lock(mutex_);
    if (phase_ == Phase::kNew) phase_ = Phase::kStopped;
    while (phase_ == Phase::kStarting || phase_ == Phase::kStopping) idle_.Wait(mutex_);
    if (phase_ == Phase::kStopped) return;
    phase_ = Phase::kStopping;
  }
  ShutDown();
  Enter(Phase::kStopped);
}

void WorkerPool::Impl::Enter(Phase phase) {
  base::MutexLock lock(mutex_);
  phase_ = phase;
  idle_.NotifyAll();
}

void WorkerPool::Impl::ShutDown() {
  const SteadyTime grace_ends = steady_clock::now() + options_.grace;
  {
    base::MutexLock lock(mutex_);
    stopping_ = true;
    slots_.NotifyAll();
  }
  stop_claiming_.request_stop();
  if (fetcher_.joinable()) fetcher_.join();
  bool in_time = true;
  {
    base::MutexLock lock(mutex_);
    no_more_work_ = true;
    work_.NotifyAll();
    while (busy_ > 0 && in_time) in_time = idle_.WaitUntil(mutex_, grace_ends);
  }
  // Leases of handlers that do not heed this are renewed until they return: to give a job back
  // while it still runs here would let it run twice.
  if (!in_time) keeper_->ShutDownAll();
  for (std::thread& thread : handler_threads_) thread.join();
  keeper_->Stop();
  reporter_->Stop();
  WorkerStats stats = this->stats();
  LogPool(LogLevel::kInfo, "worker_stopped",
          std::pair{"completed", std::to_string(stats.completed)},
          std::pair{"failed", std::to_string(stats.failed)},
          std::pair{"released", std::to_string(stats.released)},
          std::pair{"lost", std::to_string(stats.lost)});
}

WorkerStats WorkerPool::Impl::stats() const {
  base::MutexLock lock(mutex_);
  return stats_;
}

bool WorkerPool::Impl::IsStopping() const {
  base::MutexLock lock(mutex_);
  return stopping_;
}

void WorkerPool::Impl::Fetch() {
  for (;;) {
    Step step = NextStep();
    for (const AttemptPtr& attempt : step.overdue) Report(attempt, Released{});
    if (step.stop) return;
    if (step.claim > 0) Claim(step);
  }
}

WorkerPool::Impl::Step WorkerPool::Impl::NextStep() {
  base::MutexLock lock(mutex_);
  for (;;) {
    Step step = WantedClaim();
    step.stop = stopping_;
    step.overdue = TakeOverdue();
    if (step.stop || !step.overdue.empty() || step.claim > 0) return step;
    if (ready_.empty()) {
      slots_.Wait(mutex_);
    } else {
      slots_.WaitUntil(mutex_, ready_.front().since + kReadyMax);
    }
  }
}

/// Claims for free handlers wait for jobs. Those ahead do not, and are few and large: half of what
/// was claimed is used up before the next.
WorkerPool::Impl::Step WorkerPool::Impl::WantedClaim() const {
  const auto concurrency = static_cast<std::size_t>(options_.concurrency);
  const std::size_t ahead = ahead_.jobs();
  const bool is_free = busy_ < concurrency;
  const bool is_low = !is_drained_ && ready_.size() < (ahead + 1) / 2;
  if (!is_free && !is_low) return {};
  const std::size_t held = std::min(busy_, concurrency + ahead);
  const std::size_t outstanding = std::min(busy_ + unreported_, outstanding_);
  return {.claim = std::min({concurrency + ahead - held, outstanding_ - outstanding,
                             std::size_t{rules::kClaimJobs}}),
          .wait = is_free};
}

/// Those that handlers should have begun long ago, the jobs having become longer; and all, once the
/// pool stops: others need not wait until its handlers are done.
std::vector<WorkerPool::Impl::AttemptPtr> WorkerPool::Impl::TakeOverdue() {
  if (HF_MUTANT(overdue_jobs_kept)) return {};
  const SteadyTime since = stopping_ ? SteadyTime::max() : steady_clock::now() - kReadyMax;
  std::vector<AttemptPtr> overdue;
  while (!ready_.empty() && ready_.front().since <= since) {
    overdue.push_back(std::move(ready_.front().attempt));
    ready_.pop_front();
  }
  if (!overdue.empty()) ahead_.OnOverdue();
  return overdue;
}

void WorkerPool::Impl::Claim(const Step& step) {
  Context context;
  context.stop = stop_claiming_.get_token();
  context.actor = options_.name;
  const store::LeaseTime sent = keeper_->Now();
  Result<std::vector<Job>> jobs =
      store_.Claim(context, {.worker = options_.name,
                             .queues = options_.queues,
                             .kinds = kinds_,
                             .max = static_cast<int>(step.claim),
                             .lease = options_.lease,
                             .wait = step.wait ? options_.claim_wait : Duration::zero()});
  if (!jobs) {
    if (!IsStopping()) Pause(PauseAfter(jobs.error(), claim_failures_++));
    return;
  }
  claim_failures_ = 0;
  const bool is_drained = jobs->size() < step.claim;
  if (!jobs->empty()) {
    Take(*std::move(jobs), sent);
  } else if (step.wait && keeper_->Now() - sent < kEmptyPause) {
    Pause(kEmptyPause);
  }
  base::MutexLock lock(mutex_);
  is_drained_ = is_drained;
}

void WorkerPool::Impl::Take(std::vector<Job> jobs, store::LeaseTime sent) {
  // A claim that waited for its jobs does not tell when their leases began. They are counted from
  // now, and confirmed at once: this process may have been paused with the answer on its way.
  const SteadyTime since = steady_clock::now();
  const store::LeaseTime now = keeper_->Now();
  const bool waited = now - sent > options_.lease / 3;
  const store::LeaseTime granted = waited ? now : sent;
  std::size_t kept = 0;
  {
    base::MutexLock lock(mutex_);
    kept = ahead_.OnClaimed(jobs);
    stats_.claimed += static_cast<std::int64_t>(jobs.size());
    busy_ += jobs.size();
  }
  std::vector<AttemptPtr> attempts;
  for (Job& job : jobs) {
    attempts.push_back(std::make_shared<store::RunningAttempt>(*attempts_, std::move(job)));
    keeper_->Hold(attempts.back(), granted, waited);
  }
  {
    base::MutexLock lock(mutex_);
    for (std::size_t i = 0; i < kept; ++i) {
      ready_.push_back({attempts[i], since});
      work_.NotifyOne();
    }
  }
  for (std::size_t i = kept; i < attempts.size(); ++i) Report(attempts[i], Released{});
}

void WorkerPool::Impl::Pause(Duration duration) {
  const SteadyTime until = steady_clock::now() + duration;
  base::MutexLock lock(mutex_);
  while (!stopping_ && slots_.WaitUntil(mutex_, until)) {
  }
}

Duration WorkerPool::Impl::PauseAfter(const Error& error, int failures) {
  static const RetryPolicy policy = *FindRetryPolicy("DEFAULT");
  Duration delay = DelayOf(policy, failures, Random::System());
  LogPool(LogLevel::kWarning, "claim_failed",
          std::pair{"code", std::string(InfoOf(error.code).name)},
          std::pair{"error", error.message},
          std::pair{"retry_in_ms", std::to_string(delay / std::chrono::milliseconds(1))});
  return delay;
}

void WorkerPool::Impl::RunHandlers() {
  pool_of_this_thread = this;
  while (AttemptPtr attempt = NextAttempt()) Report(attempt, OutcomeOf(*attempt));
}

WorkerPool::Impl::AttemptPtr WorkerPool::Impl::NextAttempt() {
  base::MutexLock lock(mutex_);
  while (ready_.empty() && !no_more_work_) work_.Wait(mutex_);
  if (ready_.empty()) return nullptr;
  AttemptPtr attempt = std::move(ready_.front().attempt);
  ready_.pop_front();
  return attempt;
}

void WorkerPool::Impl::Report(const AttemptPtr& attempt, Outcome outcome) {
  // From here on nobody renews: what is left of the lease is for the report.
  std::optional<store::LeaseTime> lost_at = keeper_->LetGo(*attempt);
  const std::optional<store::RunningAttempt::Reported>& reported = attempt->reported();
  // One that is over was reported by a batch that the pool has not seen: asking tells which.
  if (!attempt->IsLost() && (reported || attempt->IsOver())) lost_at = keeper_->Now();
  {
    base::MutexLock lock(mutex_);
    --busy_;
    if (lost_at) ++unreported_;
    ahead_.OnEnded(attempt->job());
    WakeFetcher();
    if (busy_ == 0) idle_.NotifyAll();
  }
  if (lost_at && reported) {
    OnSettled({attempt, reported->outcome, *lost_at}, reported->state);
  } else if (lost_at) {
    reporter_->Add({attempt, std::move(outcome), *lost_at});
  }
}

/// Only if there is something to claim: most jobs of a busy pool wake nobody.
void WorkerPool::Impl::WakeFetcher() {
  if (WantedClaim().claim > 0) slots_.NotifyAll();
}

/// What to report. A handler that was told to end does not decide how: a cancelled job is given
/// back, which ends it; an attempt that is out of time has failed; a pool that stops gives back
/// what it could not complete.
Outcome WorkerPool::Impl::OutcomeOf(store::RunningAttempt& attempt) {
  if (IsStopping() || attempt.stop_reason() != StopReason::kNone) return Released{};
  Outcome outcome = CallHandler(attempt);
  switch (attempt.stop_reason()) {
    case StopReason::kNone:
    case StopReason::kLeaseLost:
      return outcome;
    case StopReason::kCancelled:
      return Released{};
    case StopReason::kTimeout:
      return Failed{.error = "timed out after " + base::FormatDuration(options_.timeout)};
    case StopReason::kShutdown:
      if (std::holds_alternative<Completed>(outcome)) return outcome;
      return Released{};
  }
  return outcome;
}

Outcome WorkerPool::Impl::CallHandler(store::RunningAttempt& attempt) {
  const Job& job = attempt.job();
  auto handler = handlers_.find(job.kind);
  if (handler == handlers_.end()) handler = handlers_.find("*");
  // Only a store that does not heed the kinds of a claim hands out such a job.
  if (handler == handlers_.end()) return Failed{.error = "the worker has no handler of this kind"};

  LogJob(LogLevel::kInfo, "job_started", job, std::pair{"attempt", std::to_string(job.attempt)});
  const SteadyTime begun = steady_clock::now();
  if (options_.timeout > Duration::zero()) {
    keeper_->EndAt(attempt, keeper_->Now() + options_.timeout);
  }
  {
    base::MutexLock lock(mutex_);
    ++stats_.running;
  }
  Outcome outcome;
  try {
    outcome = handler->second(attempt);
  } catch (const std::exception& error) {
    outcome = Failed{.error = error.what()};
  } catch (...) {
    outcome = Failed{.error = "the handler threw something that is no std::exception"};
  }
  // Here rather than by the store alone: what a program printed may be longer than a request.
  if (auto* failed = std::get_if<Failed>(&outcome)) {
    failed->error = base::CutUtf8(failed->error, rules::kErrorBytes);
  }
  const auto took = std::chrono::duration_cast<Duration>(steady_clock::now() - begun);
  base::MutexLock lock(mutex_);
  --stats_.running;
  ahead_.OnRun(took);
  return outcome;
}

void WorkerPool::Impl::OnLost(const store::RunningAttempt& attempt, std::string_view why) {
  {
    base::MutexLock lock(mutex_);
    ++stats_.lost;
  }
  LogJob(LogLevel::kWarning, "lease_lost", attempt.job(), std::pair{"reason", std::string(why)});
}

void WorkerPool::Impl::OnSettled(const store::Report& report, const Result<JobState>& state) {
  const Job& job = report.attempt->job();
  const bool completed = std::holds_alternative<Completed>(report.outcome);
  const auto* failed = std::get_if<Failed>(&report.outcome);
  {
    base::MutexLock lock(mutex_);
    --unreported_;
    ++(!state      ? stats_.lost
       : completed ? stats_.completed
       : failed    ? stats_.failed
                   : stats_.released);
    WakeFetcher();
  }
  if (!state) {
    LogJob(LogLevel::kWarning, "lease_lost", job, std::pair{"reason", state.error().message});
    return;
  }
  std::pair now{"state", std::string(NameOf(*state))};
  if (completed) {
    LogJob(LogLevel::kInfo, "job_completed", job, now);
  } else if (failed == nullptr) {
    LogJob(LogLevel::kInfo, "job_released", job, now);
  } else {
    bool again = *state == JobState::kScheduled;
    LogJob(LogLevel::kWarning, again ? "job_retried" : "job_failed", job, now,
           std::pair{"error", failed->error});
  }
}

template <typename... Fields>
void WorkerPool::Impl::LogPool(LogLevel level, std::string_view event, Fields... fields) const {
  base::Log(options_.log, level, event, [&] {
    base::Fields all{{"worker", options_.name}};
    (all.emplace_back(std::move(fields)), ...);
    return all;
  });
}

template <typename... Fields>
void WorkerPool::Impl::LogJob(LogLevel level, std::string_view event, const Job& job,
                              Fields... fields) const {
  LogPool(level, event, std::pair{"job", std::to_string(job.id)}, std::pair{"kind", job.kind},
          std::pair{"queue", job.queue}, std::move(fields)...);
}

}  // namespace holdfast
