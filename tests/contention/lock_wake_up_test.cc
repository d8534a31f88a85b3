// The interleavings in which the grant to somebody in line can get lost, each brought about on
// purpose: it is broken while its owner looks by itself, or before its owner hears of it.
#include <atomic>
#include <functional>
#include <future>
#include <utility>

#include "base/mutex.h"
#include "engine/memory/memory_engine.h"
#include "testing/faulty_engine.h"
#include "testing/store_suite.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

/// The memory engine, as if other processes changed it too, so that those in line look by
/// themselves. Their looks, and the news of grants, can be kept back.
class DelayingEngine final : public FaultyEngine, public engine::ChangeListener {
 public:
  using FaultyEngine::FaultyEngine;

  const engine::Traits& traits() const override { return traits_; }
  bool ChangedElsewhere() override { return has_changed.exchange(false); }

  void Commit(const Context& context, std::vector<Batch> batches, CommitDone done) override {
    const auto* await = std::get_if<AwaitLock>(&batches[0].operations[0]);
    if (await != nullptr && keeps_answers.exchange(false)) {
      return FaultyEngine::Commit(
          context, std::move(batches), [this, done = std::move(done)](auto answers) mutable {
            base::MutexLock lock(mutex_);
            kept_.emplace_back([done = std::move(done), answers = std::move(answers)]() mutable {
              done(std::move(answers));
            });
          });
    }
    const bool is_look = await != nullptr && await->ticket != 0;
    auto run = [this, context, batches = std::move(batches), done = std::move(done)]() mutable {
      FaultyEngine::Commit(context, std::move(batches), std::move(done));
    };
    if (!is_look) return run();
    if (keeps_looks) {
      base::MutexLock lock(mutex_);
      kept_.emplace_back(std::move(run));
    } else {
      run();
    }
    ++looks;
  }

  void Listen(engine::ChangeListener* listener) override {
    listener_ = listener;
    FaultyEngine::Listen(this);
  }
  void OnChange(const engine::Change& change) override {
    if (!keeps_news || change.locks.granted.empty()) return listener_->OnChange(change);
    base::MutexLock lock(mutex_);
    kept_.emplace_back([this, change] { listener_->OnChange(change); });
  }

  /// What was kept back goes on.
  void LetGo() {
    keeps_looks = keeps_news = false;
    std::vector<std::move_only_function<void()>> kept;
    {
      base::MutexLock lock(mutex_);
      kept.swap(kept_);
    }
    for (auto& go : kept) go();
  }

  std::atomic<bool> has_changed = false;
  std::atomic<bool> keeps_looks = false;
  std::atomic<bool> keeps_news = false;
  std::atomic<bool> keeps_answers = false;  // the next, of a request to be in line
  std::atomic<int> looks = 0;

 private:
  const engine::Traits traits_{.name = "memory", .shared_between_processes = true};
  engine::ChangeListener* listener_ = nullptr;
  base::Mutex mutex_{base::LockRank::kMetrics};
  std::vector<std::move_only_function<void()>> kept_ HF_GUARDED_BY(mutex_);
};

class LockWakeUps : public ::testing::Test {
 protected:
  static constexpr StoreOptions kOptions{.maintain = false, .poll_interval = milliseconds(1)};

  LockWakeUps() {
    auto engine = std::make_unique<DelayingEngine>(Must(engine::OpenMemory(kOptions)));
    engine_ = engine.get();
    store_ = std::make_unique<Store>(std::move(engine), kOptions);
  }

  Result<LockGrant> Acquire(const std::string& owner) {
    auto grants = store_->Acquire({}, {.name = "l", .owner = owner});
    if (!grants) return std::unexpected(grants.error());
    return grants->front();
  }
  /// In line behind whoever has the lock.
  std::future<Result<std::vector<LockGrant>>> WaitInLine(const std::string& owner,
                                                         const Context& context = {}) {
    auto answer = std::make_shared<std::promise<Result<std::vector<LockGrant>>>>();
    store_->AcquireAsync(context, {.name = "l", .owner = owner, .wait = hours(1)},
                         [answer](auto grants) { answer->set_value(std::move(grants)); });
    return answer->get_future();
  }
  void Release(Token token) { Must(store_->Release({}, {.name = "l", .token = token})); }
  void Break() { Must(store_->Break({}, {.name = "l", .reason = "for the test"})); }

  /// Whoever is in line looks by itself, once.
  void LookAgain() {
    const int before = engine_->looks;
    engine_->has_changed = true;
    ASSERT_TRUE(WaitUntilTrue([&] { return engine_->looks != before; }));
  }

  static bool IsAnswered(const std::future<Result<std::vector<LockGrant>>>& answer) {
    return answer.wait_for(seconds(0)) == std::future_status::ready;
  }
  /// The answer is a lease that is good, and the last there is.
  void ExpectGoodLease(std::future<Result<std::vector<LockGrant>>>& answer) {
    const std::vector<LockGrant> grants = Must(answer.get());
    EXPECT_THAT(store_->Renew({}, {.name = "l", .token = grants.front().token}), IsOk());
    Release(grants.front().token);
    const Lock lock = Must(store_->GetLock({}, "l"));
    EXPECT_TRUE(lock.holders.empty());
    EXPECT_TRUE(lock.waiters.empty());
  }

  DelayingEngine* engine_ = nullptr;
  std::unique_ptr<Store> store_;
};

TEST_F(LockWakeUps, LOCK_2_AGrantThatIsHeardOfBeforeThePlaceInLineIsNotLost) {
  const Token first = Must(Acquire("a")).token;
  engine_->keeps_answers = true;
  auto waiting = WaitInLine("b");
  Release(first);  // to b, which does not know yet that it is in line
  engine_->LetGo();
  ASSERT_TRUE(IsAnswered(waiting)) << "the grant was lost";
  ExpectGoodLease(waiting);
}

TEST_F(LockWakeUps, LOCK_5_AGrantToACallerThatHasGivenUpGoesBack) {
  std::stop_source stop;
  Context context;
  context.stop = stop.get_token();
  const Token first = Must(Acquire("a")).token;
  auto waiting = WaitInLine("b", context);
  engine_->keeps_news = true;
  Release(first);  // to b, which has not heard of it when it leaves the line
  stop.request_stop();
  ASSERT_TRUE(IsAnswered(waiting));
  EXPECT_THAT(waiting.get(), StatusIs(ErrorCode::kCancelled));
  EXPECT_THAT(Must(store_->GetLock({}, "l")).holders, ::testing::IsEmpty());
  engine_->LetGo();
  EXPECT_THAT(Acquire("c"), IsOk());
}

TEST_F(LockWakeUps, LOCK_5_AGrantThatIsBrokenDuringALookLeavesNoPlaceInLineBehind) {
  const Token first = Must(Acquire("a")).token;
  auto waiting = WaitInLine("b");
  engine_->keeps_looks = true;
  LookAgain();
  Release(first);  // to b, which hears of it while it looks
  Break();
  const Token third = Must(Acquire("c")).token;
  engine_->LetGo();
  EXPECT_FALSE(IsAnswered(waiting));
  Release(third);
  ExpectGoodLease(waiting);
}

TEST_F(LockWakeUps, LOCK_5_ALookFindsTheLockFreeAfterItsGrantWasBroken) {
  const Token first = Must(Acquire("a")).token;
  auto waiting = WaitInLine("b");
  engine_->keeps_looks = true;
  LookAgain();
  Release(first);
  Break();
  engine_->LetGo();
  ExpectGoodLease(waiting);
}

TEST_F(LockWakeUps, LOCK_5_NewsOfAGrantThatWasBrokenSinceAreOldNews) {
  const Token first = Must(Acquire("a")).token;
  auto waiting = WaitInLine("b");
  engine_->keeps_news = true;
  Release(first);
  Break();
  const Token third = Must(Acquire("c")).token;
  LookAgain();  // and is in line again, behind c
  engine_->LetGo();
  EXPECT_FALSE(IsAnswered(waiting));
  Release(third);
  ExpectGoodLease(waiting);
}

// The caller has been answered, and the engine has queued it: nothing may hold the lock for it.
TEST_F(LockWakeUps, LOCK_5_AGrantToAWaitOfUnknownOutcomeGoesBack) {
  const Token first = Must(Acquire("a")).token;
  engine_->Set(Fault::kOutcomeUnknown);
  auto waiting = WaitInLine("b");
  engine_->Set(Fault::kNone);
  ASSERT_TRUE(IsAnswered(waiting));
  EXPECT_THAT(waiting.get(), StatusIs(ErrorCode::kOutcomeUnknown));
  Release(first);  // to b
  EXPECT_THAT(Acquire("c"), IsOk());
}

TEST_F(LockWakeUps, LOCK_5_AGrantThatIsHeardOfBeforeTheUnknownOutcomeGoesBack) {
  const Token first = Must(Acquire("a")).token;
  engine_->Set(Fault::kOutcomeUnknown);
  engine_->keeps_answers = true;
  auto waiting = WaitInLine("b");
  engine_->Set(Fault::kNone);
  Release(first);  // to b, which does not know yet what became of its request
  engine_->LetGo();
  ASSERT_TRUE(IsAnswered(waiting));
  EXPECT_THAT(waiting.get(), StatusIs(ErrorCode::kOutcomeUnknown));
  EXPECT_THAT(Acquire("c"), IsOk());
}

}  // namespace
}  // namespace holdfast::testing
