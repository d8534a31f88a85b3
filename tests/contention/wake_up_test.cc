// The interleavings that a wake-up can get lost in, each brought about on purpose: something
// happens just before a waiting claim looks for jobs, or between its look and its parking.
#include <functional>

#include "engine/memory/memory_engine.h"
#include "testing/faulty_engine.h"
#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

/// The memory engine, with something happening around its claims.
class InterruptedEngine final : public FaultyEngine {
 public:
  using FaultyEngine::FaultyEngine;
  using Hook = std::function<void(int claim)>;  // told which claim it is, from 1 on

  void Claim(const Context& context, ClaimRequest request, ClaimDone done) override {
    const int claim = ++claims_;
    if (before_look) before_look(claim);
    FaultyEngine::Claim(context, std::move(request),
                        [this, claim, done = std::move(done)](auto result) mutable {
                          if (after_look) after_look(claim);
                          done(std::move(result));
                        });
  }

  Hook before_look;
  Hook after_look;

 private:
  std::atomic<int> claims_ = 0;
};

class WakeUps : public ::testing::Test {
 protected:
  static constexpr StoreOptions kOptions{.maintain = false};

  WakeUps() {
    auto engine = std::make_unique<InterruptedEngine>(Must(engine::OpenMemory(kOptions)));
    engine_ = engine.get();
    store_ = std::make_unique<Store>(std::move(engine), kOptions);
  }

  void Push(std::string kind = "k") { Must(store_->Enqueue({}, {.kind = std::move(kind)})); }
  /// A claim that waits. On this engine everything happens on the calling thread: when this
  /// returns the claim is parked, unless `answer` is there already.
  using Answer = std::optional<Result<std::vector<Job>>>;
  void Claim(Answer& answer, const Context& context = {}, std::vector<std::string> kinds = {}) {
    store_->ClaimAsync(context, {.worker = "w", .kinds = std::move(kinds), .wait = minutes(1)},
                       [&answer](auto result) { answer = std::move(result); });
  }
  static void ExpectOneJob(const Answer& answer) {
    ASSERT_TRUE(answer.has_value()) << "a wake-up was lost";
    EXPECT_EQ(Must(*answer).size(), 1U);
  }

  InterruptedEngine* engine_;
  std::unique_ptr<Store> store_;
};

TEST_F(WakeUps, JOB_3_AJobThatArrivesBetweenLookAndParkingIsSeen) {
  // A claim looks once before it is registered and once after.
  for (int at : {1, 2}) {
    SCOPED_TRACE("after look " + std::to_string(at));
    int looks = 0;
    engine_->after_look = [&](int) {
      if (++looks == at) Push();
    };
    Answer answer;
    Claim(answer);
    ExpectOneJob(answer);
  }
}

TEST_F(WakeUps, JOB_3_AClaimWhoseJobIsSnatchedWaitsForTheNext) {
  Answer answer;
  Claim(answer);
  bool snatched = false;
  engine_->before_look = [&](int) {
    if (std::exchange(snatched, true)) return;
    EXPECT_EQ(Must(store_->Claim({}, {.worker = "thief"})).size(), 1U);
  };
  Push();
  EXPECT_TRUE(snatched);
  EXPECT_FALSE(answer.has_value());
  Push();
  ExpectOneJob(answer);
}

TEST_F(WakeUps, CTX_1_AWakeUpOfAClaimThatGivesUpGoesToTheNext) {
  std::stop_source stop;
  Context context;
  context.stop = stop.get_token();
  Answer first;
  Answer second;
  Claim(first, context);
  Claim(second);
  // The first is woken for the job, and gives up before it gets to look.
  engine_->before_look = [&](int) { stop.request_stop(); };
  Push();
  ASSERT_TRUE(first.has_value());
  EXPECT_THAT(*first, StatusIs(ErrorCode::kCancelled));
  ExpectOneJob(second);
}

TEST_F(WakeUps, JOB_3_AClaimThatTakesTheJobOfAnotherQueuePassesItsWakeUpOn) {
  auto claim = [&](Answer& answer, std::vector<std::string> queues) {
    store_->ClaimAsync({}, {.worker = "w", .queues = std::move(queues), .wait = minutes(1)},
                       [&answer](auto result) { answer = std::move(result); });
  };
  // Whichever queue it is woken for, once it takes the job of the other one.
  for (auto [urgent, other] : {std::pair("a", "b"), std::pair("b", "a")}) {
    Answer of_both, of_other;
    claim(of_both, {"a", "b"});
    claim(of_other, {other});
    Must(store_->Commit(
        {}, {.operations = {EnqueueJob{{.kind = "k", .queue = other}},
                            EnqueueJob{{.kind = "k", .queue = urgent, .priority = 0}}}}));
    ExpectOneJob(of_both);
    ExpectOneJob(of_other);
  }
}

TEST_F(WakeUps, CTX_1_AJobThatWasClaimedForAClaimThatGivesUpIsNotLost) {
  std::stop_source stop;
  Context context;
  context.stop = stop.get_token();
  Answer answer;
  Claim(answer, context);
  engine_->after_look = [&](int) { stop.request_stop(); };
  Push();
  // It gave up after the job was its own: it is told, rather than the job being held by nobody.
  ExpectOneJob(answer);
}

TEST_F(WakeUps, JOB_3_WaitingClaimsAreWokenInTheirOrder) {
  std::vector<Answer> answers(3);
  for (Answer& answer : answers) Claim(answer);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    EXPECT_FALSE(answers[i].has_value());
    Push();
    ExpectOneJob(answers[i]);
  }
}

TEST_F(WakeUps, JOB_3_AJobWakesTheFirstWhoTakesItsKind) {
  Answer of_a, of_b, of_any;
  Claim(of_a, {}, {"a"});
  Claim(of_b, {}, {"b"});
  Claim(of_any);
  int looks = 0;
  engine_->before_look = [&](int) { ++looks; };
  Push("b");
  ExpectOneJob(of_b);
  EXPECT_EQ(looks, 1);
  Push("c");
  ExpectOneJob(of_any);
  EXPECT_FALSE(of_a.has_value());
  Push("a");
  ExpectOneJob(of_a);
  EXPECT_EQ(looks, 3);
  store_->StopWaiting();  // the answers are locals
}

TEST_F(WakeUps, JOB_3_AQueueThatIsResumedWakesThoseOfAnyKind) {
  Must(store_->Set({}, {.name = "default", .paused = true}));
  Push("b");
  Answer of_a, of_b;
  Claim(of_a, {}, {"a"});
  Claim(of_b, {}, {"b"});
  Must(store_->Set({}, {.name = "default", .paused = false}));
  EXPECT_FALSE(of_a.has_value());
  ExpectOneJob(of_b);
  store_->StopWaiting();  // of_a is a local
}

TEST_F(WakeUps, JOB_3_StoppingDuringALookEndsTheWait) {
  engine_->after_look = [&](int claim) {
    if (claim == 2) store_->StopWaiting();
  };
  Answer answer;
  Claim(answer);
  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(Must(*answer).empty());
}

}  // namespace
}  // namespace holdfast::testing
