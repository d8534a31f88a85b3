// Locks that are held: what the keeper of the store's leases says of them, what their own clock
// says, and giving them back.
#include "holdfast/held_lock.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/mutex.h"
#include "base/result.h"
#include "store/commit_one.h"
#include "store/lease_keeper.h"
#include "store/made_up_name.h"

namespace holdfast {
namespace {

using store::LeaseTime;

constexpr Duration kGiveBackMost = std::chrono::seconds(2);

/// For giving back: what stopped the work must not stop that (CTX-1).
Duration LengthOf(const std::vector<LockGrant>& grants) {
  Duration length = Duration::max();
  for (const LockGrant& grant : grants) {
    length = std::min<Duration>(length, grant.expires_at - grant.acquired_at);
  }
  return length;
}

/// The earliest instant, by the clock of this process, at which the leases can have begun.
LeaseTime GrantedAt(const std::vector<LockGrant>& grants, LeaseTime sent) {
  return sent + std::ranges::min_element(grants, {}, &LockGrant::waited)->waited;
}

}  // namespace

std::string_view NameOf(LockState state) {
  switch (state) {
    case LockState::kHeld:
      return "held";
    case LockState::kSuspect:
      return "suspect";
    case LockState::kLost:
      return "lost";
    case LockState::kReleased:
      return "released";
  }
  return "unknown";
}

/// What is lost or released stays so. The keeper is asked and told with no mutex held: it calls
/// back from its thread.
class HeldLock::Impl final : public store::KeptLease {
 public:
  Impl(Store& store, store::LeaseKeeper& keeper, const Context& context,
       std::vector<LockGrant> grants, LeaseTime granted)
      : store_(store),
        keeper_(keeper),
        clean_up_(context.ForCleanUp()),
        grants_(std::move(grants)),
        length_(LengthOf(grants_)),
        lost_at_(granted + length_ - store::LeaseMargin(length_)) {}

  Duration length() const override { return length_; }
  Batch Renewal() const override {
    Batch batch;
    for (const LockGrant& grant : grants_) {
      batch.operations.emplace_back(RenewLock{grant.name, grant.token, length_});
    }
    return batch;
  }
  void OnRenewed(const Receipt& receipt, LeaseTime lost_at) override;
  void OnSuspect() override;
  void OnLost(std::string_view why) override;

  const std::vector<LockGrant>& grants() const { return grants_; }
  std::stop_token stop() const { return stop_.get_token(); }
  LockState state();
  Duration remaining();
  std::string lost_because();

  std::vector<Guard> Guards() const;
  Result<Receipt> Commit(const Context& context, Batch batch);
  Result<void> Release(const Context& context);
  /// At the end of its life, which a store that hangs must not put off for long.
  void GiveBack() {
    Context context = clean_up_;
    context.deadline = std::chrono::steady_clock::now() + kGiveBackMost;
    (void)Release(context);
  }

 private:
  /// Its time may be up before the keeper's thread gets to say so.
  void Judge(LeaseTime now) HF_REQUIRES(mutex_);
  /// Errors: fenced.
  Result<void> CheckHeld();
  std::unexpected<Error> Fenced(std::string_view why) const;

  Store& store_;
  store::LeaseKeeper& keeper_;
  const Context clean_up_;
  const std::vector<LockGrant> grants_;
  const Duration length_;
  std::stop_source stop_;

  base::Mutex mutex_{base::LockRank::kWorkers};
  LockState state_ HF_GUARDED_BY(mutex_) = LockState::kHeld;
  LeaseTime lost_at_ HF_GUARDED_BY(mutex_);
  std::string lost_because_ HF_GUARDED_BY(mutex_);
  bool was_refused_ HF_GUARDED_BY(mutex_) = false;  // by the store: nothing of it is left there
};

void HeldLock::Impl::Judge(LeaseTime now) {
  if (state_ == LockState::kLost || state_ == LockState::kReleased || now < lost_at_) return;
  state_ = LockState::kLost;
  lost_because_ = "it could not be renewed in time";
}

void HeldLock::Impl::OnRenewed(const Receipt&, LeaseTime lost_at) {
  std::string why;
  {
    base::MutexLock lock(mutex_);
    if (state_ == LockState::kReleased) return;
    if (state_ != LockState::kLost) {
      state_ = LockState::kHeld;
      lost_at_ = lost_at;
      return;
    }
    why = lost_because_;
  }
  // The answer came in time, but somebody had asked before this thread got to it, and was told that
  // the lock was lost.
  keeper_.Lose(*this, why);
}

void HeldLock::Impl::OnSuspect() {
  base::MutexLock lock(mutex_);
  if (state_ == LockState::kHeld) state_ = LockState::kSuspect;
}

void HeldLock::Impl::OnLost(std::string_view why) {
  {
    base::MutexLock lock(mutex_);
    if (state_ == LockState::kReleased) return;
    was_refused_ = keeper_.Now() < lost_at_;
    if (state_ != LockState::kLost) lost_because_ = why;
    state_ = LockState::kLost;
  }
  stop_.request_stop();
}

LockState HeldLock::Impl::state() {
  base::MutexLock lock(mutex_);
  Judge(keeper_.Now());
  return state_;
}

Duration HeldLock::Impl::remaining() {
  const LeaseTime now = keeper_.Now();
  base::MutexLock lock(mutex_);
  Judge(now);
  if (state_ == LockState::kLost || state_ == LockState::kReleased) return Duration::zero();
  return lost_at_ - now;
}

std::string HeldLock::Impl::lost_because() {
  base::MutexLock lock(mutex_);
  Judge(keeper_.Now());
  return lost_because_;
}

std::vector<Guard> HeldLock::Impl::Guards() const {
  std::vector<Guard> guards;
  guards.reserve(grants_.size());
  for (const LockGrant& grant : grants_) guards.emplace_back(LockGuard{grant.name, grant.token});
  return guards;
}

Result<void> HeldLock::Impl::CheckHeld() {
  base::MutexLock lock(mutex_);
  Judge(keeper_.Now());
  if (state_ == LockState::kLost) return Fenced("was lost: " + lost_because_);
  if (state_ == LockState::kReleased) return Fenced("was released");
  return {};
}

std::unexpected<Error> HeldLock::Impl::Fenced(std::string_view why) const {
  const std::string& name = grants_.front().name;
  return Fail(ErrorCode::kFenced, fmt::format("lock {} {}", name, why), {.lock = name});
}

Result<Receipt> HeldLock::Impl::Commit(const Context& context, Batch batch) {
  HF_RETURN_IF_ERROR(CheckHeld());
  const std::vector<Guard> guards = Guards();
  batch.guards.insert(batch.guards.begin(), guards.begin(), guards.end());
  Result<Receipt> receipt = store_.Commit(context, std::move(batch));
  if (!receipt && receipt.error().code == ErrorCode::kFenced) {
    const Error& error = receipt.error();
    const bool is_ours =
        error.detail.guard && *error.detail.guard < static_cast<std::int64_t>(guards.size());
    if (is_ours) keeper_.Lose(*this, error.message);
  }
  return receipt;
}

Result<void> HeldLock::Impl::Release(const Context& context) {
  if (state() == LockState::kReleased) return {};
  HF_RETURN_IF_ERROR(context.Check());
  // First of all: a renewal that is under way will meet the release, and is then no loss.
  keeper_.LetGo(*this);
  std::string lost_because;
  bool is_gone = false;
  {
    base::MutexLock lock(mutex_);
    if (state_ == LockState::kReleased) return {};
    Judge(keeper_.Now());
    lost_because = lost_because_;
    is_gone = was_refused_ && grants_.size() == 1;
    state_ = LockState::kReleased;
  }
  // A lock that is lost by the clock of this process may still be held in the store: nobody need
  // wait for its end. Nor for those that were taken together with one that is gone.
  std::vector<Result<Receipt>> answers;
  if (!is_gone) answers = store_.CommitMany(context, store::ReleaseEach(grants_));
  if (!lost_because.empty()) return Fenced("was lost: " + lost_because);
  for (Result<Receipt>& answer : answers) {
    if (answer) continue;
    Error error = std::move(answer).error();
    error.detail.operation.reset();
    if (error.code == ErrorCode::kFenced) {
      base::MutexLock lock(mutex_);
      lost_because_ = error.message;
    }
    return std::unexpected(std::move(error));
  }
  return {};
}

Result<std::unique_ptr<HeldLock>> HeldLock::Acquire(Store& store, const Context& context,
                                                    AcquireLock request) {
  if (request.owner.empty()) request.owner = store::MadeUpName('/');
  // Ahead of the lock: if the system refuses the thread, nothing is left behind.
  HF_ASSIGN_OR_RETURN(store::LeaseKeeper * keeper, store.LockKeeper());
  const LeaseTime sent = keeper->Now();
  HF_ASSIGN_OR_RETURN(std::vector<LockGrant> grants, store.Acquire(context, std::move(request)));
  const LeaseTime granted = GrantedAt(grants, sent);
  auto impl = std::make_shared<Impl>(store, *keeper, context, std::move(grants), granted);
  keeper->Hold(impl, granted);
  return std::unique_ptr<HeldLock>(new HeldLock(std::move(impl)));
}

HeldLock::~HeldLock() {
  impl_->GiveBack();
}

const std::vector<LockGrant>& HeldLock::grants() const {
  return impl_->grants();
}

const std::string& HeldLock::name() const {
  return impl_->grants().front().name;
}

Token HeldLock::token() const {
  return impl_->grants().front().token;
}

const std::string& HeldLock::owner() const {
  return impl_->grants().front().owner;
}

LockState HeldLock::state() const {
  return impl_->state();
}

Duration HeldLock::remaining() const {
  return impl_->remaining();
}

std::stop_token HeldLock::stop() const {
  return impl_->stop();
}

std::string HeldLock::lost_because() const {
  return impl_->lost_because();
}

std::vector<Guard> HeldLock::Guards() const {
  return impl_->Guards();
}

Result<Receipt> HeldLock::Commit(const Context& context, Batch batch) {
  return impl_->Commit(context, std::move(batch));
}

Result<void> HeldLock::Release(const Context& context) {
  return impl_->Release(context);
}

Result<void> WithLock(Store& store, const Context& context, AcquireLock request,
                      const std::function<Result<void>(HeldLock& lock)>& work) {
  if (!work) return Fail(ErrorCode::kInvalidArgument, "there is nothing to do under the lock");
  HF_ASSIGN_OR_RETURN(std::unique_ptr<HeldLock> lock,
                      HeldLock::Acquire(store, context, std::move(request)));
  Result<void> done = work(*lock);  // if it throws, the destructor gives the lock back
  (void)lock->Release(context.ForCleanUp());
  const std::string lost_because = lock->lost_because();
  if (!done || lost_because.empty()) return done;
  return Fail(
      ErrorCode::kFenced,
      fmt::format("lock {} was lost before the work was done: {}", lock->name(), lost_because),
      {.lock = lock->name()});
}

}  // namespace holdfast
