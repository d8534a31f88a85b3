#include "store/lease_keeper.h"

#include <algorithm>
#include <utility>

namespace holdfast::store {
namespace {

using std::chrono::steady_clock;

constexpr SteadyTime kNever = SteadyTime::max();
constexpr Duration kMarginMin = std::chrono::milliseconds(50);

/// Whether the error says that the attempt no longer holds its lease.
bool MeansLost(const Error& error) {
  return error.code == ErrorCode::kFenced || error.code == ErrorCode::kNotFound ||
         error.code == ErrorCode::kInvalidTransition;
}

/// What a renewal says: whether the job is to be cancelled.
Result<bool> CancelRequested(const Result<Receipt>& answer) {
  if (!answer) return std::unexpected(answer.error());
  const auto& results = answer->results;
  return !results.empty() && results.front().job && results.front().job->cancel_requested;
}

}  // namespace

LeaseKeeper::LeaseKeeper(Store& store, Options options)
    : store_(store),
      options_(std::move(options)),
      margin_(std::max(options_.lease / 20, kMarginMin)),
      renew_at_(kNever),
      wake_at_(kNever) {}

void LeaseKeeper::Start() {
  thread_ = std::thread([this] { Run(); });
}

void LeaseKeeper::Stop() {
  {
    base::MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void LeaseKeeper::Hold(std::shared_ptr<RunningAttempt> attempt, SteadyTime granted, bool confirm,
                       std::optional<SteadyTime> timeout_at) {
  Token token = attempt->job().token;
  Lease lease{std::move(attempt), LostAt(granted), timeout_at.value_or(kNever)};
  base::MutexLock lock(mutex_);
  renew_at_ = std::min(renew_at_, confirm ? granted : granted + options_.lease / 3);
  // The thread finds out by itself if it wakes before: most holds of a busy pool wake nobody.
  if (std::min({renew_at_, lease.lost_at, lease.timeout_at}) < wake_at_) changed_.NotifyAll();
  leases_.emplace(token, std::move(lease));
}

std::optional<SteadyTime> LeaseKeeper::LetGo(Token token) {
  base::MutexLock lock(mutex_);
  auto lease = leases_.find(token);
  if (lease == leases_.end()) return std::nullopt;
  SteadyTime lost_at = lease->second.lost_at;
  leases_.erase(lease);
  return lost_at;
}

void LeaseKeeper::EndAll(StopReason reason) {
  std::vector<std::shared_ptr<RunningAttempt>> attempts;
  {
    base::MutexLock lock(mutex_);
    for (const auto& [token, lease] : leases_) attempts.push_back(lease.attempt);
  }
  for (const auto& attempt : attempts) attempt->End(reason);
}

Result<void> LeaseKeeper::ReportProgress(RunningAttempt& attempt, double progress,
                                         std::string message) {
  if (attempt.IsLost()) {
    return Fail(ErrorCode::kFenced, "the lease of job " + std::to_string(attempt.job().id) +
                                        " was lost; stop the work");
  }
  Context context = Context::WithTimeout(options_.lease);
  context.actor = options_.actor;
  const Job& job = attempt.job();
  Result<Job> answer =
      store_.ReportProgress(context, ProgressJob{job.id, job.token, progress, std::move(message)});
  if (answer) {
    TakeAnswer(attempt, answer->cancel_requested);
    return {};
  }
  TakeAnswer(attempt, std::unexpected(answer.error()));
  return std::unexpected(answer.error());
}

void LeaseKeeper::Run() {
  for (;;) {
    Due due = WaitUntilDue();
    if (due.stop) return;
    if (due.answers) TakeAnswers(*due.answers);
    for (const auto& attempt : due.timed_out) attempt->End(StopReason::kTimeout);
    for (const auto& attempt : due.lost) {
      Lose(*attempt, "it could not be renewed in time");
    }
    if (!due.renew.empty()) SendRenewal(std::move(due.renew), due.renew_by);
  }
}

LeaseKeeper::Due LeaseKeeper::WaitUntilDue() {
  base::MutexLock lock(mutex_);
  for (;;) {
    Due due;
    if (Collect(due, steady_clock::now())) {
      wake_at_ = steady_clock::now();  // awake: it looks again before it sleeps
      return due;
    }
    // An hour at most: some system libraries cannot wait until the end of time.
    wake_at_ = std::min(wake_at_, steady_clock::now() + std::chrono::hours(1));
    changed_.WaitUntil(mutex_, wake_at_);
  }
}

bool LeaseKeeper::Collect(Due& due, SteadyTime now) {
  due.stop = stopping_;
  // Answers first and alone: a lease that was renewed in time must not be given up because this
  // thread was late to hear of it.
  due.answers = std::exchange(answers_, std::nullopt);
  if (due.stop || due.answers) return true;

  wake_at_ = renewing_ ? kNever : renew_at_;
  for (auto& [token, lease] : leases_) {
    if (lease.timeout_at <= now) {
      lease.timeout_at = kNever;
      due.timed_out.push_back(lease.attempt);
    }
    if (lease.lost_at <= now) due.lost.push_back(lease.attempt);
    wake_at_ = std::min({wake_at_, lease.lost_at, lease.timeout_at});
  }
  if (!renewing_ && renew_at_ <= now) {
    renew_at_ = kNever;
    due.renew_by = kNever;
    for (const auto& [token, lease] : leases_) {
      if (lease.lost_at <= now) continue;
      due.renew.push_back(lease.attempt);
      due.renew_by = std::min(due.renew_by, lease.lost_at);
    }
    renewing_ = !due.renew.empty();
    if (!renewing_) wake_at_ = kNever;  // nothing is held, or all of it is being given up
  }
  return !due.timed_out.empty() || !due.lost.empty() || !due.renew.empty();
}

void LeaseKeeper::SendRenewal(std::vector<std::shared_ptr<RunningAttempt>> attempts,
                              SteadyTime renew_by) {
  std::vector<Batch> batches;
  batches.reserve(attempts.size());
  for (const auto& attempt : attempts) {
    const Job& job = attempt->job();
    batches.push_back({.operations = {RenewJob{job.id, job.token, options_.lease}}});
  }
  in_flight_ = {std::move(attempts), steady_clock::now()};
  // A third of the lease for the answer leaves time for another try. Neither the call nor, where
  // the way to the store can block, its deadline keeps this thread from seeing a lease run out.
  Context context;
  context.deadline = std::min(in_flight_.sent + options_.lease / 3, renew_by);
  context.actor = options_.actor;
  store_.CommitAsync(context, std::move(batches),
                     [self = shared_from_this()](std::vector<Result<Receipt>> answers) {
                       base::MutexLock lock(self->mutex_);
                       self->answers_ = std::move(answers);
                       self->changed_.NotifyAll();
                     });
}

void LeaseKeeper::TakeAnswers(const std::vector<Result<Receipt>>& answers) {
  Renewal renewal = std::exchange(in_flight_, {});
  bool again = answers.size() < renewal.attempts.size();
  for (std::size_t i = 0; i < std::min(answers.size(), renewal.attempts.size()); ++i) {
    RunningAttempt& attempt = *renewal.attempts[i];
    if (answers[i]) {
      base::MutexLock lock(mutex_);
      auto lease = leases_.find(attempt.job().token);
      if (lease != leases_.end()) lease->second.lost_at = LostAt(renewal.sent);
    }
    if (!TakeAnswer(attempt, CancelRequested(answers[i]))) again = true;
  }
  base::MutexLock lock(mutex_);
  renewing_ = false;
  if (leases_.empty()) return;
  renew_at_ = std::min(renew_at_, again ? steady_clock::now() + options_.lease / 10
                                        : renewal.sent + options_.lease / 3);
}

bool LeaseKeeper::TakeAnswer(RunningAttempt& attempt, const Result<bool>& cancel_requested) {
  if (cancel_requested) {
    if (*cancel_requested) attempt.End(StopReason::kCancelled);
    return true;
  }
  if (!MeansLost(cancel_requested.error())) return false;
  Lose(attempt, cancel_requested.error().message);
  return true;
}

void LeaseKeeper::Lose(RunningAttempt& attempt, std::string_view why) {
  // Who was let go first is no loss: its job was reported while a renewal was on its way.
  if (!LetGo(attempt.job().token)) return;
  attempt.End(StopReason::kLeaseLost);
  options_.on_lost(attempt, why);
}

Result<void> RunningAttempt::ReportProgress(double progress, std::string message) {
  return keeper_.ReportProgress(*this, progress, std::move(message));
}

}  // namespace holdfast::store
