// Locks that are held when their store fails or hangs, in this process and behind a server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "api/api.h"
#include "engine/memory/memory_engine.h"
#include "holdfast/held_lock.h"
#include "net/http_server.h"
#include "store/lease_keeper.h"
#include "testing/fake_clock.h"
#include "testing/faulty_engine.h"
#include "testing/matchers.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::steady_clock;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(LeaseMargin, LOCK_10_LeavesTimeToEndTheWorkInAndToRenewTheLease) {
  EXPECT_EQ(store::LeaseMargin(hours(1)), minutes(3) + seconds(36));
  EXPECT_EQ(store::LeaseMargin(seconds(10)), milliseconds(600));
  EXPECT_EQ(store::LeaseMargin(seconds(1)), milliseconds(60));
  EXPECT_EQ(store::LeaseMargin(milliseconds(200)), milliseconds(52));
  // A lease of 100 ms is renewed after 33 ms, and given up after 74 ms rather than 49 ms.
  EXPECT_EQ(store::LeaseMargin(milliseconds(100)), milliseconds(26));
}

enum class StoreIs { kHere, kBehindAServer };

class HeldLockFaults : public ::testing::TestWithParam<StoreIs> {
 protected:
  static constexpr Duration kTtl = seconds(3);

  HeldLockFaults() {
    auto engine = std::make_unique<FaultyEngine>(Must(engine::OpenMemory({})));
    engine_ = engine.get();
    backing_ = std::make_unique<Store>(std::move(engine), StoreOptions{});
    if (GetParam() == StoreIs::kHere) return;
    api_ = std::make_unique<api::Api>(*backing_, metrics_);
    server_ = std::make_unique<net::HttpServer>(net::ServerOptions{.port = 0}, *api_);
    Must(server_->Start());
    client_ = Must(OpenStore("http://127.0.0.1:" + std::to_string(server_->port())));
  }
  ~HeldLockFaults() override {
    engine_->Set(Fault::kNone);
    client_.reset();
    if (server_ == nullptr) return;
    api_->Drain();
    server_->Stop(seconds(10));
  }

  Store& store() { return client_ != nullptr ? *client_ : *backing_; }
  std::unique_ptr<HeldLock> Hold(const std::string& name = "a", Duration ttl = kTtl) {
    return Must(HeldLock::Acquire(store(), {}, {.name = name, .ttl = ttl}));
  }
  Lock Look(const std::string& name) { return Must(backing_->GetLock({}, name)); }
  Time EndOf(const std::string& name) { return Look(name).holders.at(0).expires_at; }

  /// The fault stays until the stop token has fired: how long before the end of the lease it has.
  void LoseBy(Fault fault, Duration& left) {
    auto lock = Hold("a", seconds(5));  // given up 300 ms before its end
    {
      std::stop_callback on_stop(lock->stop(), [&] {
        const Time now = Must(backing_->GetStats({})).now;
        const std::vector<LockHolder> holders = Look("a").holders;
        left = holders.empty() ? Duration::zero() : holders[0].expires_at - now;
      });
      engine_->Set(fault);
      ASSERT_TRUE(WaitForStop(lock->stop()));
    }  // waits for the callback
    EXPECT_LE(left, seconds(1)) << "given up although there was time to try";
    EXPECT_EQ(lock->state(), LockState::kLost);
    EXPECT_EQ(lock->lost_because(), "it could not be renewed in time");
    // The store would not answer: nothing is sent.
    EXPECT_THAT(lock->Commit({}, {.operations = {EnqueueJob{{.kind = "k"}}}}),
                StatusIs(ErrorCode::kFenced, HasSubstr("lock a was lost")));
    engine_->Set(Fault::kNone);
    EXPECT_THAT(lock->Release({}), StatusIs(ErrorCode::kFenced));
    EXPECT_THAT(Look("a").holders, IsEmpty()) << "it was given back before its lease had ended";
  }

  void ExpectToBeToldInTime(Fault fault) {
    // A machine under load may be late by 300 ms, but not three times.
    Duration left{};
    for (int tries = 0; left <= Duration::zero() && tries < 3; ++tries) {
      LoseBy(fault, left);
      ASSERT_FALSE(HasFailure());
    }
    EXPECT_GT(left, Duration::zero()) << "fired only when the lease had ended";
  }

  FaultyEngine* engine_ = nullptr;
  std::unique_ptr<Store> backing_;
  api::Metrics metrics_;
  std::unique_ptr<api::Api> api_;
  std::unique_ptr<net::HttpServer> server_;
  std::unique_ptr<Store> client_;
};

INSTANTIATE_TEST_SUITE_P(Stores, HeldLockFaults,
                         ::testing::Values(StoreIs::kHere, StoreIs::kBehindAServer),
                         [](const auto& where) {
                           return where.param == StoreIs::kHere ? "memory" : "http_over_memory";
                         });

TEST_P(HeldLockFaults, LOCK_10_FireTheStopTokenBeforeALeaseThatCannotBeRenewedEnds) {
  ExpectToBeToldInTime(Fault::kUnavailable);
  EXPECT_GT(engine_->faults(), 2) << "renewing must be tried again after an error";
}

TEST_P(HeldLockFaults, LOCK_10_FireTheStopTokenBeforeALeaseEndsInAStoreThatHangs) {
  ExpectToBeToldInTime(Fault::kHang);
}

TEST_P(HeldLockFaults, LOCK_10_AreSuspectWhileRenewalsFailAndThenHeldAgain) {
  auto lock = Hold();
  engine_->Set(Fault::kUnavailable);
  ASSERT_TRUE(WaitUntilTrue([&] { return lock->state() == LockState::kSuspect; }));
  EXPECT_GT(lock->remaining(), Duration::zero());
  engine_->Set(Fault::kNone);
  ASSERT_TRUE(WaitUntilTrue([&] { return lock->state() != LockState::kSuspect; }));
  EXPECT_EQ(lock->state(), LockState::kHeld);
  EXPECT_FALSE(lock->stop().stop_requested());
  Must(lock->Commit({}, {.operations = {EnqueueJob{{.kind = "k"}}}}));
  EXPECT_THAT(lock->Release({}), IsOk());
}

TEST_P(HeldLockFaults, LOCK_10_AreSuspectWhileARenewalIsOverdue) {
  auto lock = Hold("a", seconds(6));  // overdue after four, and lost after nearly six
  engine_->Set(Fault::kHang);
  ASSERT_TRUE(WaitUntilTrue([&] { return lock->state() == LockState::kSuspect; }));
  engine_->Set(Fault::kNone);
  ASSERT_TRUE(WaitUntilTrue([&] { return lock->state() != LockState::kSuspect; }));
  EXPECT_EQ(lock->state(), LockState::kHeld);
  EXPECT_THAT(lock->Release({}), IsOk());
}

TEST_P(HeldLockFaults, LOCK_10_AskAgainWhenTheOutcomeOfARenewalIsUnknown) {
  auto lock = Hold();
  const Time end = EndOf("a");
  engine_->Set(Fault::kOutcomeUnknown);
  ASSERT_TRUE(WaitUntilTrue([&] { return engine_->faults() >= 3; }));
  EXPECT_EQ(lock->state(), LockState::kSuspect) << "neither lost nor taken for renewed";
  EXPECT_GT(EndOf("a"), end);
  engine_->Set(Fault::kNone);
  ASSERT_TRUE(WaitUntilTrue([&] { return lock->state() != LockState::kSuspect; }));
  EXPECT_EQ(lock->state(), LockState::kHeld);
  EXPECT_EQ(Look("a").holders.at(0).token, lock->token());
  EXPECT_THAT(lock->Release({}), IsOk());
}

TEST_P(HeldLockFaults, LOCK_10_StayLostWhenTheStoreComesBack) {
  auto lock = Hold("a", seconds(1));
  engine_->Set(Fault::kHang);
  ASSERT_TRUE(WaitForStop(lock->stop()));
  engine_->Set(Fault::kNone);
  auto other = Hold("b", seconds(1));
  const Time end = EndOf("b");
  ASSERT_TRUE(WaitUntilTrue([&] { return EndOf("b") != end; }))
      << "the keeper goes on for the others";
  EXPECT_EQ(lock->state(), LockState::kLost);
}

TEST_P(HeldLockFaults, LOCK_10_AreNotLostToARenewalThatMetTheirRelease) {
  auto lock = Hold("a");
  auto other = Hold("b");
  std::atomic<bool> fired = false;
  std::stop_callback on_stop(lock->stop(), [&] { fired = true; });
  engine_->Set(Fault::kHangOnce);
  ASSERT_TRUE(WaitUntilTrue([&] { return engine_->hanging() > 0; }));
  EXPECT_THAT(lock->Release({}), IsOk());
  engine_->Set(Fault::kNone);
  const Time end = EndOf("b");
  ASSERT_TRUE(WaitUntilTrue([&] { return EndOf("b") > end; })) << "the keeper has taken the answer";
  EXPECT_EQ(lock->state(), LockState::kReleased);
  EXPECT_EQ(lock->lost_because(), "");
  EXPECT_FALSE(fired);
}

TEST_P(HeldLockFaults, LOCK_10_CountARenewalFromWhenItWasSent) {
  const Duration ttl = seconds(6);  // renewed after two: a try of two seconds
  auto lock = Hold("a", ttl);
  engine_->Set(Fault::kHangOnce);
  ASSERT_TRUE(WaitUntilTrue([&] { return engine_->hanging() > 0; }));
  const SteadyTime sent_by = steady_clock::now();
  // Its answer comes when much of the lease that it grants is over, as far as its sender knows.
  ASSERT_TRUE(WaitUntilTrue([&] { return lock->remaining() < milliseconds(2'500); }));
  const Duration left = lock->remaining();
  engine_->Set(Fault::kNone);
  ASSERT_TRUE(WaitUntilTrue([&] { return lock->remaining() > left; }));
  EXPECT_LE(steady_clock::now() + lock->remaining(), sent_by + ttl);
}

TEST_P(HeldLockFaults, LOCK_10_ShareOneCommitForAllThatAreDueTogether) {
  auto first = Hold("a");
  auto second = Hold("b");
  auto third = Hold("c");
  auto seldom = Hold("d", hours(1));
  const Time end = EndOf("d");
  engine_->Set(Fault::kHangOnce);
  ASSERT_TRUE(WaitUntilTrue([&] { return engine_->hanging() > 0; }));
  EXPECT_EQ(engine_->hanging(), 3U);
  engine_->Set(Fault::kNone);
  const Time before = EndOf("a");
  ASSERT_TRUE(WaitUntilTrue([&] { return EndOf("a") > before; }));
  EXPECT_EQ(EndOf("d"), end) << "a long lease need not be renewed as often as a short one";
}

TEST(HeldLockDeathTest, AStoreIsNotDestroyedWhileItsLocksAreHeld) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto store = Must(OpenStore("memory:"));
        auto lock = Must(HeldLock::Acquire(*store, {}, {.name = "a"}));
        store.reset();
      },
      "check failed");
}

TEST_P(HeldLockFaults, LOCK_10_CountFromTheGrantAndNotFromWhenTheWaitBegan) {
  const Duration ttl = seconds(3);
  Must(store().Acquire({}, {.name = "a", .owner = "ada", .ttl = ttl}));  // and never given back
  auto lock = Must(HeldLock::Acquire(store(), {}, {.name = "a", .ttl = ttl, .wait = minutes(1)}));
  EXPECT_GE(lock->grants().at(0).waited, seconds(1));
  EXPECT_GT(lock->remaining(), seconds(1));
  EXPECT_EQ(lock->state(), LockState::kHeld);
}

/// The clock of the machine goes on while it is suspended; its steady clock does not.
TEST(HeldLockClocks, LOCK_10_ASuspendedMachineLosesItsLease) {
  FakeClock clock;
  auto engine = std::make_unique<FaultyEngine>(Must(engine::OpenMemory({})));
  FaultyEngine& faulty = *engine;
  Store store(std::move(engine), {.lease_clock = &clock});
  auto lock = Must(HeldLock::Acquire(store, {}, {.name = "a", .ttl = hours(1)}));
  faulty.Set(Fault::kUnavailable);  // the keeper's thread runs again when the machine does
  clock.Advance(minutes(56));
  EXPECT_NE(lock->state(), LockState::kLost);
  EXPECT_EQ(lock->remaining(), seconds(24));
  clock.Advance(seconds(24));
  EXPECT_EQ(lock->state(), LockState::kLost);
  EXPECT_EQ(lock->remaining(), Duration::zero());
  EXPECT_THAT(lock->Commit({}, {.operations = {EnqueueJob{{.kind = "k"}}}}),
              StatusIs(ErrorCode::kFenced));
  faulty.Set(Fault::kNone);
}

}  // namespace
}  // namespace holdfast::testing
