// Locks that are held, over every store: renewed, lost, given back.
#include "holdfast/held_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "testing/store_suite.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::SizeIs;

class HeldLocks : public StoreSuite {
 protected:
  std::unique_ptr<HeldLock> Hold(AcquireLock request) {
    if (request.name.empty() && request.names.empty()) request.name = "a";
    return Must(HeldLock::Acquire(store(), {}, std::move(request)));
  }
  std::vector<LockHolder> HoldersOf(const std::string& name) {
    return Must(store().GetLock({}, name)).holders;
  }
  /// The lease ends that long from now: it was just granted or renewed.
  bool IsFresh(const std::string& name, Duration ttl) {
    std::vector<LockHolder> holders = HoldersOf(name);
    return holders.size() == 1 && holders[0].expires_at == Now() + ttl;
  }
  void Break(const std::string& name) { Must(backing().Break({}, {name, "a test"})); }
  Batch OneJob() { return {.operations = {EnqueueJob{{.kind = "k"}}}}; }
};

HOLDFAST_FOR_ALL_VARIANTS(HeldLocks);

TEST_P(HeldLocks, LOCK_10_AreRenewedForMuchLongerThanOneLease) {
  const Duration ttl = seconds(2);
  auto lock = Hold({.ttl = ttl});
  for (int round = 0; round < 4; ++round) {
    Pass(ttl - milliseconds(100));
    ASSERT_TRUE(WaitUntilTrue([&] { return IsFresh("a", ttl); })) << round;
  }
  EXPECT_EQ(lock->state(), LockState::kHeld);
  EXPECT_EQ(HoldersOf("a").at(0).token, lock->token());
  EXPECT_GT(lock->remaining(), Duration::zero());
  EXPECT_LT(lock->remaining(), ttl);
  EXPECT_FALSE(lock->stop().stop_requested());
  EXPECT_EQ(lock->lost_because(), "");
}

TEST_P(HeldLocks, LOCK_10_RenewSeveralNamesTogether) {
  const Duration ttl = seconds(2);
  auto lock = Hold({.names = {"a", "b", "c"}, .ttl = ttl});
  ASSERT_THAT(lock->grants(), SizeIs(3));
  for (int round = 0; round < 3; ++round) {
    Pass(ttl - milliseconds(100));
    for (const char* name : {"a", "b", "c"}) {
      ASSERT_TRUE(WaitUntilTrue([&] { return IsFresh(name, ttl); })) << name;
    }
  }
  ASSERT_TRUE(lock->Release({}).has_value());
  for (const char* name : {"a", "b", "c"}) EXPECT_THAT(HoldersOf(name), IsEmpty());
}

TEST_P(HeldLocks, LOCK_10_AreLostTogetherAndTheRestIsGivenBack) {
  auto lock = Hold({.names = {"a", "b", "c"}, .ttl = seconds(1)});
  Break("b");
  ASSERT_TRUE(WaitForStop(lock->stop()));
  EXPECT_EQ(lock->state(), LockState::kLost);
  EXPECT_THAT(lock->Release({}), StatusIs(ErrorCode::kFenced));
  EXPECT_THAT(HoldersOf("a"), IsEmpty());
  EXPECT_THAT(HoldersOf("c"), IsEmpty());
}

TEST_P(HeldLocks, LOCK_10_FireTheStopTokenWhenSomebodyBreaksThem) {
  auto lock = Hold({.ttl = seconds(3)});  // time for the store to say so, however slow it is
  Break("a");
  ASSERT_TRUE(WaitForStop(lock->stop()));
  EXPECT_EQ(lock->state(), LockState::kLost);
  EXPECT_EQ(lock->remaining(), Duration::zero());
  EXPECT_THAT(lock->lost_because(), HasSubstr("is not held under token"));
  EXPECT_THAT(lock->Commit({}, OneJob()),
              StatusIs(ErrorCode::kFenced, HasSubstr("lock a was lost")));
  EXPECT_THAT(lock->Release({}), StatusIs(ErrorCode::kFenced, HasSubstr("lock a was lost")));
  EXPECT_EQ(lock->state(), LockState::kReleased);
  EXPECT_THAT(lock->Release({}), IsOk()) << "once is enough";
}

TEST_P(HeldLocks, LOCK_10_LearnFromTheStoresRefusalOfACommitThatTheyAreLost) {
  auto lock = Hold({.ttl = hours(1)});  // not renewed within this test
  std::atomic<int> fired = 0;
  std::stop_callback count(lock->stop(), [&] { ++fired; });
  Must(lock->Commit({}, OneJob()));
  Break("a");
  EXPECT_EQ(lock->state(), LockState::kHeld) << "how should it know";
  Result<Receipt> refused = lock->Commit({}, OneJob());
  ASSERT_THAT(refused, StatusIs(ErrorCode::kFenced));
  EXPECT_EQ(refused.error().detail.guard, 0);
  EXPECT_EQ(lock->state(), LockState::kLost);
  EXPECT_THAT(lock->Commit({}, OneJob()), StatusIs(ErrorCode::kFenced));
  EXPECT_EQ(fired, 1);
  EXPECT_EQ(CountOf(JobState::kPending), 1);
}

TEST_P(HeldLocks, LOCK_10_CommitUnderTheirGuardsAheadOfTheCallers) {
  auto lock = Hold({.names = {"a", "b"}, .ttl = hours(1)});
  Job job = Push();
  Batch batch = OneJob();
  batch.guards.emplace_back(JobGuard{job.id, 1});  // nobody has claimed it
  Result<Receipt> refused = lock->Commit({}, std::move(batch));
  ASSERT_THAT(refused, StatusIs(ErrorCode::kFenced));
  EXPECT_EQ(refused.error().detail.guard, 2);
  EXPECT_EQ(lock->state(), LockState::kHeld) << "it was not the lock that failed";
  EXPECT_THAT(lock->Guards(), SizeIs(2));
}

TEST_P(HeldLocks, LOCK_10_AreGivenBackOnceAndThenNoLongerUsed) {
  auto lock = Hold({});
  std::stop_token stop = lock->stop();
  EXPECT_THAT(lock->Release({}), IsOk());
  EXPECT_THAT(HoldersOf("a"), IsEmpty());
  auto next = Hold({});
  EXPECT_THAT(lock->Release({}), IsOk());
  EXPECT_EQ(lock->state(), LockState::kReleased);
  EXPECT_EQ(lock->remaining(), Duration::zero());
  EXPECT_THAT(lock->Commit({}, OneJob()),
              StatusIs(ErrorCode::kFenced, HasSubstr("lock a was released")));
  lock.reset();
  EXPECT_FALSE(stop.stop_requested());
  ASSERT_THAT(HoldersOf("a"), SizeIs(1)) << "the next one's lease is not theirs to give back";
  EXPECT_EQ(next->state(), LockState::kHeld);
}

TEST_P(HeldLocks, CTX_1_AreGivenBackAlthoughTheContextIsCancelled) {
  std::stop_source source;
  Context context;
  context.stop = source.get_token();
  auto lock = Must(HeldLock::Acquire(store(), context, {.name = "a"}));
  source.request_stop();
  EXPECT_THAT(lock->Release(context), StatusIs(ErrorCode::kCancelled));
  EXPECT_EQ(lock->state(), LockState::kHeld);
  lock.reset();
  EXPECT_THAT(HoldersOf("a"), IsEmpty());
}

TEST_P(HeldLocks, MakeUpAnOwnerOfTheirOwn) {
  auto lock = Hold({.name = "a"});
  auto other = Hold({.name = "b"});
  EXPECT_THAT(lock->owner(), MatchesRegex("..*/[0-9]+/[0-9a-f]+"));
  EXPECT_NE(lock->owner(), other->owner());
  EXPECT_EQ(Hold({.name = "c", .owner = "ada"})->owner(), "ada");
  EXPECT_THAT(HeldLock::Acquire(store(), {}, {.name = "a"}), StatusIs(ErrorCode::kBusy));
}

TEST_P(HeldLocks, LOCK_10_WithLockGivesBackWhateverCameOfTheWork) {
  const AcquireLock request{.name = "a"};
  EXPECT_THAT(WithLock(store(), {}, request,
                       [&](HeldLock& lock) -> Result<void> {
                         EXPECT_EQ(HoldersOf("a").at(0).token, lock.token());
                         Must(lock.Commit({}, OneJob()));
                         return {};
                       }),
              IsOk());
  EXPECT_THAT(HoldersOf("a"), IsEmpty());
  EXPECT_THAT(
      WithLock(store(), {}, request,
               [](HeldLock&) -> Result<void> { return Fail(ErrorCode::kCapacityFull, "full"); }),
      StatusIs(ErrorCode::kCapacityFull, "full"));
  EXPECT_THAT(HoldersOf("a"), IsEmpty());
  EXPECT_THROW((void)WithLock(store(), {}, request,
                              [](HeldLock&) -> Result<void> { throw std::logic_error("thrown"); }),
               std::logic_error);
  EXPECT_THAT(HoldersOf("a"), IsEmpty());
  EXPECT_THAT(WithLock(store(), {}, request, nullptr), StatusIs(ErrorCode::kInvalidArgument));
}

TEST_P(HeldLocks, LOCK_10_WithLockTellsThatTheLockWasLostAlthoughTheWorkSucceeded) {
  auto lose = [&](HeldLock& lock) -> Result<void> {
    Break("a");
    EXPECT_EQ(lock.state(), LockState::kHeld);
    return {};
  };
  EXPECT_THAT(WithLock(store(), {}, {.name = "a", .ttl = hours(1)}, lose),
              StatusIs(ErrorCode::kFenced));
  auto notice = [&](HeldLock& lock) -> Result<void> {
    Break("a");
    EXPECT_TRUE(WaitForStop(lock.stop()));
    return {};
  };
  EXPECT_THAT(WithLock(store(), {}, {.name = "a", .ttl = seconds(1)}, notice),
              StatusIs(ErrorCode::kFenced, HasSubstr("lock a was lost")));
  auto fail = [&](HeldLock&) -> Result<void> {
    Break("a");
    return Fail(ErrorCode::kRuleViolation, "its own error");
  };
  EXPECT_THAT(WithLock(store(), {}, {.name = "a", .ttl = hours(1)}, fail),
              StatusIs(ErrorCode::kRuleViolation, "its own error"));
}

TEST_P(HeldLocks, LOCK_10_FiftyThreadsNeverMeetUnderOneLock) {
  constexpr int kThreads = 50;
  const int each = Scaled(20, 2);
  int unprotected = 0;  // but for the lock
  std::atomic<int> failures = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < each; ++n) {
          Result<void> done =
              WithLock(store(), {}, {.name = "a", .ttl = minutes(1), .wait = minutes(4)},
                       [&](HeldLock&) -> Result<void> {
                         const int read = unprotected;
                         std::this_thread::yield();
                         unprotected = read + 1;
                         return {};
                       });
          if (!done) ++failures;
        }
      });
    }
  }
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(unprotected, kThreads * each);
  EXPECT_THAT(HoldersOf("a"), IsEmpty());
}

}  // namespace
}  // namespace holdfast::testing
