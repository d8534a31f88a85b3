#include "store/locked_commit.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "holdfast/time.h"
#include "rules/limits.h"
#include "store/commit_one.h"

namespace holdfast::store {
namespace {

/// One batch on its way. Its steps follow one another, on whichever threads.
class LockedCommit : public std::enable_shared_from_this<LockedCommit> {
 public:
  using Done = std::move_only_function<void(Result<Receipt>)>;

  LockedCommit(engine::Engine& engine, LockWaiters& waiters, const Context& context, Batch batch,
               Done done)
      : engine_(engine),
        waiters_(waiters),
        context_(context),
        batch_(std::move(batch)),
        done_(std::move(done)),
        deadline_(std::chrono::steady_clock::now() + batch_.wait),
        owner_(fmt::format("commit/{:016x}", Random::System().Next())) {}

  void Try() {
    std::vector<Batch> batches{batch_};
    engine_.Commit(context_, std::move(batches),
                   [self = shared_from_this()](std::vector<Result<Receipt>> answers) {
                     self->OnTried(std::move(answers.front()));
                   });
  }

 private:
  void OnTried(Result<Receipt> answer) {
    if (answer) {
      batch_.held.clear();  // given back in the commit
      return done_(std::move(answer));
    }
    const ErrorDetail& detail = answer.error().detail;
    if (answer.error().code == ErrorCode::kFenced && Forget(detail.lock)) {
      return Wait(detail.lock, answer.error());  // the lease ended before its turn came to be used
    }
    const bool is_record_lock = answer.error().code == ErrorCode::kBusy && !detail.record.empty();
    if (is_record_lock) return Wait(detail.lock, answer.error());
    GiveUp(std::move(answer).error());
  }

  /// Whether the lock was one that this batch had taken.
  bool Forget(const std::string& name) {
    return std::erase_if(batch_.held, [&](const LockGuard& held) { return held.name == name; }) > 0;
  }

  void Wait(const std::string& name, const Error& why) {
    auto left = std::chrono::duration_cast<Duration>(deadline_ - std::chrono::steady_clock::now());
    if (left <= Duration::zero()) return GiveUp(why);
    AcquireLock request{.name = name, .owner = owner_, .wait = left};
    waiters_.Acquire(context_, std::move(request),
                     [self = shared_from_this()](Result<std::vector<LockGrant>> grants) {
                       if (!grants) return self->GiveUp(std::move(grants).error());
                       self->batch_.held.push_back({grants->front().name, grants->front().token});
                       self->Try();
                     });
  }

  void GiveUp(Error error) {
    if (batch_.held.empty()) return done_(std::unexpected(std::move(error)));
    engine_.Commit(context_.ForCleanUp(), ReleaseEach(batch_.held),
                   [self = shared_from_this(), error = std::move(error)](const auto&) mutable {
                     self->done_(std::unexpected(std::move(error)));
                   });
  }

  engine::Engine& engine_;
  LockWaiters& waiters_;
  const Context context_;
  Batch batch_;
  Done done_;
  const SteadyTime deadline_;
  const std::string owner_;
};

}  // namespace

void CommitWithLocks(engine::Engine& engine, LockWaiters& waiters, const Context& context,
                     std::vector<Batch> batches, CommitDone done) {
  struct Shared {
    std::vector<Result<Receipt>> answers;
    std::atomic<std::size_t> open;
    CommitDone done;
  };
  auto shared = std::make_shared<Shared>();
  shared->answers.resize(batches.size());
  shared->open = batches.size();
  shared->done = std::move(done);
  for (std::size_t i = 0; i < batches.size(); ++i) {
    auto finish = [shared, i](Result<Receipt> answer) {
      shared->answers[i] = std::move(answer);
      if (shared->open.fetch_sub(1) == 1) shared->done(std::move(shared->answers));
    };
    std::make_shared<LockedCommit>(engine, waiters, context, std::move(batches[i]),
                                   std::move(finish))
        ->Try();
  }
}

}  // namespace holdfast::store
