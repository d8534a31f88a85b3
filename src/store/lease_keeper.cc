#include "store/lease_keeper.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/mutant.h"

namespace holdfast::store {
namespace {

using std::chrono::steady_clock;

constexpr LeaseTime kNever = LeaseTime::max();
constexpr Duration kMarginMin = std::chrono::milliseconds(50);
/// Of one renewal. A lease that is held only after it was sent may have to wait for its end, where
/// the way to the store blocks.
constexpr Duration kTryMax = std::chrono::seconds(10);
/// How long the thread sleeps at most: its sleep is longer by what the machine is suspended, and
/// the holder of a lease that ran out meanwhile is to hear of it soon.
constexpr Duration kSleepMax = std::chrono::seconds(1);

Duration PauseAfterSuccess(Duration length) {
  return length / 3;
}
Duration PauseAfterFailure(Duration length) {
  return length / 20;
}

}  // namespace

Duration LeaseMargin(Duration length) {
  return std::min(std::max(length / 20, kMarginMin), length / 4) + length / 100;
}

LeaseKeeper::LeaseKeeper(Store& store, std::string actor, const Clock& clock)
    : store_(store), actor_(std::move(actor)), clock_(clock), wake_at_(kNever) {}

void LeaseKeeper::Start() {
  thread_ = std::thread([this] { Run(); });
}

void LeaseKeeper::Stop() {
  {
    base::MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  stop_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void LeaseKeeper::Hold(std::shared_ptr<KeptLease> lease, LeaseTime granted, bool confirm) {
  const KeptLease* key = lease.get();
  Entry entry{.lease = std::move(lease), .length = key->length(), .timeout_at = kNever};
  Begin(entry, granted);
  if (confirm) entry.renew_at = granted;
  base::MutexLock lock(mutex_);
  // The thread finds out by itself if it wakes before: most holds of a busy pool wake nobody.
  if (std::min(entry.renew_at, entry.lost_at) < wake_at_) changed_.NotifyAll();
  entries_.emplace(key, std::move(entry));
}

void LeaseKeeper::EndAt(const KeptLease& lease, LeaseTime timeout_at) {
  base::MutexLock lock(mutex_);
  auto found = entries_.find(&lease);
  if (found == entries_.end()) return;
  found->second.timeout_at = timeout_at;
  if (timeout_at < wake_at_) changed_.NotifyAll();
}

void LeaseKeeper::Begin(Entry& entry, LeaseTime at) {
  entry.renew_at = at + PauseAfterSuccess(entry.length);
  entry.suspect_at = at + 2 * entry.length / 3;
  entry.lost_at = at + entry.length - LeaseMargin(entry.length);
  entry.has_failed = false;
}

std::optional<LeaseTime> LeaseKeeper::LetGo(const KeptLease& lease) {
  base::MutexLock lock(mutex_);
  auto found = entries_.find(&lease);
  if (found == entries_.end()) return std::nullopt;
  LeaseTime lost_at = found->second.lost_at;
  entries_.erase(found);
  return lost_at;
}

void LeaseKeeper::Lose(KeptLease& lease, std::string_view why) {
  // Who was let go first is no loss: it was reported, or given back, while a renewal was on its
  // way.
  if (LetGo(lease)) lease.OnLost(why);
}

bool LeaseKeeper::EndIfRefused(KeptLease& lease, const Error& error) {
  switch (error.code) {
    case ErrorCode::kFenced:
    case ErrorCode::kNotFound:
      Lose(lease, error.message);
      return true;
    case ErrorCode::kInvalidTransition:
      if (LetGo(lease)) lease.OnOver();
      return true;
    default:
      return false;
  }
}

void LeaseKeeper::ShutDownAll() {
  Leases leases;
  {
    base::MutexLock lock(mutex_);
    for (const auto& [key, entry] : entries_) leases.push_back(entry.lease);
  }
  for (const auto& lease : leases) lease->OnShutDown();
}

bool LeaseKeeper::IsIdle() const {
  base::MutexLock lock(mutex_);
  return entries_.empty();
}

void LeaseKeeper::Run() {
  for (;;) {
    Due due = WaitUntilDue();
    if (due.stop) return;
    if (due.answers) TakeAnswers(*due.answers);
    for (const auto& lease : due.timed_out) lease->OnTimeOut();
    for (const auto& lease : due.suspect) lease->OnSuspect();
    for (const auto& lease : due.lost) Lose(*lease, "it could not be renewed in time");
    if (!due.renew.empty()) SendRenewal(std::move(due.renew), due.renew_by);
  }
}

LeaseKeeper::Due LeaseKeeper::WaitUntilDue() {
  base::MutexLock lock(mutex_);
  for (;;) {
    Due due;
    if (Collect(due, Now())) {
      wake_at_ = Now();  // awake: it looks again before it sleeps
      return due;
    }
    if (entries_.empty()) {
      changed_.Wait(mutex_);
      continue;
    }
    const LeaseTime now = Now();
    wake_at_ = std::min(wake_at_, now + kSleepMax);
    changed_.WaitUntil(mutex_, steady_clock::now() + (wake_at_ - now));
  }
}

bool LeaseKeeper::Collect(Due& due, LeaseTime now) {
  due.stop = stopping_;
  // Answers first and alone: a lease that was renewed in time must not be given up because this
  // thread was late to hear of it.
  due.answers = std::exchange(answers_, std::nullopt);
  if (due.stop || due.answers) return true;

  wake_at_ = kNever;
  bool must_renew = false;
  for (auto& [key, entry] : entries_) {
    if (entry.lost_at <= now) {
      due.lost.push_back(entry.lease);
      continue;
    }
    if (entry.timeout_at <= now) {
      entry.timeout_at = kNever;
      due.timed_out.push_back(entry.lease);
    }
    if (entry.suspect_at <= now) {
      entry.suspect_at = kNever;
      due.suspect.push_back(entry.lease);
    }
    wake_at_ = std::min({wake_at_, entry.lost_at, entry.timeout_at, entry.suspect_at});
    if (renewing_) continue;
    wake_at_ = std::min(wake_at_, entry.renew_at);
    if (entry.renew_at <= now) must_renew = true;
  }
  if (must_renew) CollectRenewals(due, now);
  return must_renew || !due.timed_out.empty() || !due.suspect.empty() || !due.lost.empty();
}

/// Those that are due, and with them those that would be due before they are again: so the leases
/// of a pool are renewed together, but a long one not as often as a short one.
void LeaseKeeper::CollectRenewals(Due& due, LeaseTime now) {
  LeaseTime due_again = kNever;
  // Neither a call that blocks nor its deadline keeps the thread from renewing the others in time,
  // or from seeing one run out. A third of a lease leaves time for another try.
  due.renew_by = now + kTryMax;
  for (const auto& [key, entry] : entries_) {
    if (entry.lost_at <= now) continue;
    due.renew_by = std::min({due.renew_by, entry.lost_at, now + entry.length / 3});
    if (entry.renew_at > now) continue;
    const Duration pause =
        entry.has_failed ? PauseAfterFailure(entry.length) : PauseAfterSuccess(entry.length);
    due_again = std::min(due_again, now + pause);
  }
  for (const auto& [key, entry] : entries_) {
    if (entry.lost_at > now && entry.renew_at <= due_again) due.renew.push_back(entry.lease);
  }
  renewing_ = true;
}

void LeaseKeeper::SendRenewal(Leases leases, LeaseTime renew_by) {
  std::vector<Batch> batches;
  batches.reserve(leases.size());
  for (const auto& lease : leases) batches.push_back(lease->Renewal());
  in_flight_ = {std::move(leases), Now()};
  Context context;
  context.deadline = steady_clock::now() + (renew_by - in_flight_.sent);
  context.stop = stop_.get_token();
  context.actor = actor_;
  store_.CommitAsync(context, std::move(batches),
                     [self = shared_from_this()](std::vector<Result<Receipt>> answers) {
                       base::MutexLock lock(self->mutex_);
                       self->answers_ = std::move(answers);
                       self->changed_.NotifyAll();
                     });
}

void LeaseKeeper::TakeAnswers(const std::vector<Result<Receipt>>& answers) {
  Renewal renewal = std::exchange(in_flight_, {});
  HF_CHECK(answers.size() == renewal.leases.size());
  for (std::size_t i = 0; i < answers.size(); ++i) {
    KeptLease& lease = *renewal.leases[i];
    if (answers[i]) {
      TakeReceipt(lease, *answers[i], renewal.sent);
    } else if (!EndIfRefused(lease, answers[i].error())) {
      TryAgain(lease);
    }
  }
  base::MutexLock lock(mutex_);
  renewing_ = false;
}

void LeaseKeeper::TakeReceipt(KeptLease& lease, const Receipt& receipt, LeaseTime sent) {
  LeaseTime lost_at;
  {
    base::MutexLock lock(mutex_);
    auto found = entries_.find(&lease);
    if (found == entries_.end()) return;
    Begin(found->second, HF_MUTANT(lease_counted_from_answer) ? Now() : sent);
    lost_at = found->second.lost_at;
  }
  lease.OnRenewed(receipt, lost_at);
}

void LeaseKeeper::TryAgain(KeptLease& lease) {
  {
    base::MutexLock lock(mutex_);
    auto found = entries_.find(&lease);
    if (found == entries_.end()) return;
    Entry& entry = found->second;
    entry.renew_at = HF_MUTANT(renewal_given_up) ? kNever : Now() + PauseAfterFailure(entry.length);
    entry.suspect_at = kNever;
    entry.has_failed = true;
  }
  lease.OnSuspect();
}

}  // namespace holdfast::store
