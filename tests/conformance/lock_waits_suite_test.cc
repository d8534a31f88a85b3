// LOCK-2, LOCK-5, LOCK-6, LOCK-7: how locks are waited for.
#include <gmock/gmock.h>

#include "testing/lock_suite.h"

namespace holdfast::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class LockWaits : public LockSuite {
 protected:
  std::vector<std::string> HoldersOf(const std::string& name) {
    std::vector<std::string> owners;
    for (const LockHolder& holder : Look(name).holders) owners.push_back(holder.owner);
    return owners;
  }
};

TEST_P(LockWaits, LOCK_2_AReleaseGivesTheLockToTheNextInTheSameCommit) {
  LockGrant ada = Take("l", "ada");
  WaitingAcquire bob = Wait("l", "bob");
  WaitingAcquire eve = Wait("l", "eve", 1);
  Lock lock = Look("l");
  ASSERT_THAT(lock.waiters, SizeIs(2));
  EXPECT_EQ(lock.waiters[0].owner, "bob");
  EXPECT_EQ(lock.waiters[1].owner, "eve");
  clock().Advance(seconds(3));
  Must(Release(ada));
  EXPECT_THAT(HoldersOf("l"), ElementsAre("bob"));  // without anybody having asked again
  LockGrant of_bob = bob.TakeOne();
  EXPECT_GT(of_bob.token, ada.token);
  EXPECT_EQ(of_bob.waited, seconds(3));
  EXPECT_EQ(of_bob.expires_at, Now() + seconds(10));  // the lease begins with the grant
  Must(Release(of_bob));
  LockGrant of_eve = eve.TakeOne();
  EXPECT_GT(of_eve.token, of_bob.token);
  std::vector<AuditEntry> trail = Trail("lock/l");
  ASSERT_GE(trail.size(), 3U);
  EXPECT_EQ(trail[2].operation, "lock.acquire");
  EXPECT_EQ(trail[2].lock_wait, seconds(3));
  EXPECT_EQ(trail[2].token, of_bob.token);
}

TEST_P(LockWaits, LOCK_2_NobodyOvertakes) {
  LockGrant reader = Must(Share("l", "reader"));
  WaitingAcquire writer = Wait("l", "writer");
  // It would fit beside the reader, but the writer was here before.
  EXPECT_THAT(Share("l", "late reader"), StatusIs(ErrorCode::kBusy, HasSubstr("1 in line")));
  WaitingAcquire late = Wait("l", "late reader", 1, LockMode::kShared);
  Must(Release(reader));
  LockGrant of_writer = writer.TakeOne();
  EXPECT_FALSE(late.IsAnswered());
  Must(Release(of_writer));
  late.TakeOne();
}

TEST_P(LockWaits, LOCK_1_ReadersThatAreNextGetTheLockTogether) {
  LockGrant writer = Take("l", "writer");
  std::vector<WaitingAcquire> readers;
  for (std::size_t i = 0; i < 3; ++i) {
    readers.push_back(Wait("l", "r" + std::to_string(i), i, LockMode::kShared));
  }
  WaitingAcquire second = Wait("l", "second writer", 3);
  Must(Release(writer));
  EXPECT_THAT(HoldersOf("l"), ElementsAre("r0", "r1", "r2"));
  for (WaitingAcquire& reader : readers) Must(Release(reader.TakeOne()));
  second.TakeOne();
}

TEST_P(LockWaits, LOCK_2_AWaitThatIsOverIsBusyAndLeavesTheLine) {
  LockGrant ada = Take("l", "ada", {.ttl = minutes(5)});
  Result<LockGrant> refused = TryTake("l", "bob", {.wait = milliseconds(30)});
  ASSERT_THAT(refused, StatusIs(ErrorCode::kBusy, HasSubstr("lock l was not free within 30ms")));
  EXPECT_EQ(refused.error().detail.retry_after, minutes(5));
  EXPECT_EQ(refused.error().detail.lock, "l");
  EXPECT_THAT(Look("l").waiters, IsEmpty());
  Must(Release(ada));
  EXPECT_THAT(Look("l").holders, IsEmpty());
  Take("l", "eve");
}

TEST_P(LockWaits, CTX_1_ACancelledWaitEndsAtOnceAndLeavesTheLine) {
  LockGrant ada = Take("l", "ada");
  std::stop_source stop;
  WaitingAcquire bob =
      Wait(AcquireLock{.name = "l", .owner = "bob"}, 0, Context{.stop = stop.get_token()});
  WaitingAcquire eve = Wait("l", "eve", 1);
  stop.request_stop();
  EXPECT_THAT(bob.Take(), StatusIs(ErrorCode::kCancelled));
  AwaitInLine("l", 1);
  Must(Release(ada));
  eve.TakeOne();
  EXPECT_THAT(HoldersOf("l"), ElementsAre("eve"));
}

TEST_P(LockWaits, CTX_1_AContextThatEndsWhileWaitingIsAnErrorOfItsOwn) {
  Take("l", "ada");
  AcquireLock request{.name = "l", .owner = "bob", .wait = minutes(1)};
  EXPECT_THAT(store().Acquire(Context::WithTimeout(milliseconds(30)), request),
              StatusIs(ErrorCode::kDeadlineExceeded));
  AwaitInLine("l", 0);
}

TEST_P(LockWaits, LOCK_2_AnExpiryGivesTheLockToTheNext) {
  Take("l", "ada", {.ttl = seconds(5)});
  WaitingAcquire bob = Wait("l", "bob");
  EXPECT_LE(Pass(seconds(5)).unlocked, 1);  // or by bob, who looks from time to time
  bob.TakeOne();
}

TEST_P(LockWaits, LOCK_9_ADelayIsWaitedFor) {
  Take("l", "ada", {.ttl = seconds(5), .lock_delay = seconds(5)});
  WaitingAcquire bob = Wait("l", "bob");
  Pass(seconds(5));
  EXPECT_FALSE(bob.IsAnswered());
  EXPECT_THAT(Look("l").waiters, SizeIs(1));
  Pass(seconds(5));
  bob.TakeOne();
}

TEST_P(LockWaits, LOCK_5_AWaitThatIsOverIsNotGrantedAnyMore) {
  Take("l", "ada", {.ttl = hours(1)});
  WaitingAcquire bob = Wait(AcquireLock{.name = "l", .owner = "bob", .wait = minutes(3)});
  WaitingAcquire eve = Wait(AcquireLock{.name = "l", .owner = "eve", .wait = hours(2)}, 1);
  // By the engine's clock bob's wait ended long ago when the lock comes free.
  Pass(hours(1));
  EXPECT_THAT(bob.Take(), StatusIs(ErrorCode::kBusy));
  EXPECT_EQ(eve.TakeOne().owner, "eve");
  EXPECT_THAT(HoldersOf("l"), ElementsAre("eve"));
}

TEST_P(LockWaits, LOCK_4_BreakingGivesTheLockToTheNext) {
  Take("l", "ada");
  WaitingAcquire bob = Wait("l", "bob");
  Must(store().Break({}, {"l", "stuck"}));
  bob.TakeOne();
}

TEST_P(LockWaits, LOCK_6_SeveralNamesAreTakenTogetherOrNotAtAll) {
  std::vector<LockGrant> grants =
      Must(store().Acquire({}, {.names = {"c", "a", "b"}, .owner = "ada"}));
  ASSERT_THAT(grants, SizeIs(3));
  EXPECT_EQ(grants[0].name, "c");
  EXPECT_EQ(grants[1].name, "a");
  Must(Release(grants[1]));
  EXPECT_THAT(store().Acquire({}, {.names = {"a", "b"}, .owner = "bob"}),
              StatusIs(ErrorCode::kBusy, HasSubstr("lock b")));
  EXPECT_THAT(Look("a").holders, IsEmpty());
}

TEST_P(LockWaits, LOCK_6_SeveralNamesAreWaitedForTogether) {
  LockGrant a = Take("a", "ada");
  LockGrant b = Take("b", "ada");
  WaitingAcquire bob = Wait(AcquireLock{.names = {"b", "a"}, .owner = "bob"});
  Must(Release(a));
  EXPECT_FALSE(bob.IsAnswered());
  EXPECT_THAT(Look("a").holders, IsEmpty());  // nothing is held while it waits for the rest
  EXPECT_THAT(TryTake("a", "eve"), StatusIs(ErrorCode::kBusy));  // and nobody overtakes
  Must(Release(b));
  std::vector<LockGrant> grants = Must(bob.Take());
  ASSERT_THAT(grants, SizeIs(2));
  EXPECT_EQ(grants[0].name, "b");
  EXPECT_THAT(Look("a").waiters, IsEmpty());
  EXPECT_THAT(Look("b").waiters, IsEmpty());
  Result<Receipt> done = Commit({ReleaseLock{"a", grants[1].token}},
                                {LockGuard{"a", grants[1].token}, LockGuard{"b", grants[0].token}});
  EXPECT_THAT(done, IsOk());
}

TEST_P(LockWaits, LOCK_2_AnyTakesTheFirstThatIsFree) {
  LockGrant a = Take("a", "ada");
  const AcquireLock any{.names = {"a", "b", "c"}, .policy = LockPolicy::kAny, .owner = "bob"};
  EXPECT_EQ(Must(store().Acquire({}, any)).front().name, "b");
  EXPECT_EQ(Must(store().Acquire({}, any)).front().name, "c");
  EXPECT_THAT(store().Acquire({}, any),
              StatusIs(ErrorCode::kBusy, HasSubstr("none of 3 locks is free")));
}

TEST_P(LockWaits, LOCK_2_AnyWaitsForWhicheverComesFreeFirst) {
  LockGrant a = Take("a", "ada");
  LockGrant b = Take("b", "ada");
  WaitingAcquire bob =
      Wait(AcquireLock{.names = {"a", "b"}, .policy = LockPolicy::kAny, .owner = "bob"});
  WaitingAcquire eve = Wait("a", "eve", 1);
  Must(Release(b));
  EXPECT_EQ(bob.TakeOne().name, "b");
  // It is out of the other line, too.
  AwaitInLine("a", 1);
  Must(Release(a));
  eve.TakeOne();
}

TEST_P(LockWaits, LOCK_7_ACircleOfTwoIsFoundAndNobodyElseIsDisturbed) {
  LockGrant a = Take("a", "ada");
  LockGrant b = Take("b", "bob");
  WaitingAcquire ada = Wait("b", "ada");
  Result<LockGrant> bob = TryTake("a", "bob", {.wait = minutes(1)});
  ASSERT_THAT(bob, StatusIs(ErrorCode::kDeadlock, HasSubstr("bob waits for ada waits for bob")));
  EXPECT_THAT(bob.error().detail.cycle, ElementsAre("bob", "ada"));
  EXPECT_THAT(Look("a").waiters, IsEmpty());
  EXPECT_FALSE(ada.IsAnswered());
  Must(Release(b));
  ada.TakeOne();
}

TEST_P(LockWaits, LOCK_7_CirclesOfAnySizeAreFound) {
  for (std::size_t size = 3; size <= 10; ++size) {
    const std::string round = std::to_string(size) + "/";
    auto name = [&](std::size_t i) { return round + std::to_string(i % size); };
    std::vector<LockGrant> grants;
    for (std::size_t i = 0; i < size; ++i) grants.push_back(Take(name(i), "o" + name(i)));
    std::vector<WaitingAcquire> waiting;
    for (std::size_t i = 0; i + 1 < size; ++i) {
      waiting.push_back(Wait(name(i + 1), "o" + name(i)));
    }
    Result<LockGrant> last = TryTake(name(0), "o" + name(size - 1), {.wait = minutes(1)});
    ASSERT_THAT(last, StatusIs(ErrorCode::kDeadlock));
    EXPECT_EQ(last.error().detail.cycle.size(), size);
    EXPECT_EQ(last.error().detail.cycle.front(), "o" + name(size - 1));
    EXPECT_EQ(last.error().detail.cycle[1], "o" + name(0));
    // The one that was refused lets go: one after the other gets through.
    for (std::size_t i = size; i-- > 0;) {
      Must(Release(grants[i]));
      if (i > 0) Must(Release(waiting[i - 1].TakeOne()));
    }
  }
}

TEST_P(LockWaits, LOCK_7_AReaderThatWouldWaitForItselfToWriteIsToldSo) {
  LockGrant shared = Must(Share("l", "ada"));
  Must(Share("l", "bob"));
  Result<LockGrant> upgrade = TryTake("l", "ada", {.wait = minutes(1)});
  ASSERT_THAT(upgrade, StatusIs(ErrorCode::kDeadlock));
  EXPECT_THAT(upgrade.error().detail.cycle, ElementsAre("ada"));
}

TEST_P(LockWaits, LOCK_7_ALineIsPartOfTheCircle) {
  // ada has a; bob waits for a; ada wants to share b, which eve shares and behind which cid waits
  // to write, who in turn waits for nobody: no circle, only a line.
  Must(Share("b", "eve"));
  LockGrant a = Take("a", "ada");
  WaitingAcquire bob = Wait("b", "bob");  // a writer, behind eve
  // Now bob also wants a, by another request of the same owner.
  WaitingAcquire bob_too = Wait("a", "bob");
  // ada would stand behind bob, who waits for ada.
  Result<LockGrant> ada = TryTake("b", "ada", {.mode = LockMode::kShared, .wait = minutes(1)});
  EXPECT_THAT(ada, StatusIs(ErrorCode::kDeadlock));
  Must(Release(a));
  bob_too.TakeOne();
  Must(store().Break({}, {"b", "end of the test"}));
  bob.TakeOne();
}

TEST_P(LockWaits, LOCK_7_APlaceOfASemaphoreThatMayComeFreeIsNoCircle) {
  Must(Share("pool", "bob", 2));
  LockGrant other = Must(Share("pool", "eve", 2));
  Take("a", "ada");
  WaitingAcquire bob = Wait("a", "bob");
  // bob waits for ada, but eve does not: a place will come free.
  AcquireLock request{.name = "pool", .owner = "ada", .mode = LockMode::kShared, .limit = 2};
  WaitingAcquire ada = Wait(request);
  Must(Release(other));
  ada.TakeOne();
  Must(store().Break({}, {"a", "end of the test"}));
  bob.TakeOne();
}

TEST_P(LockWaits, LOCK_7_ASemaphoreWhosePlacesAreAllStuckIsPartOfTheCircle) {
  // Both places are bob's, who waits for cid, who waits for ada: nobody else can make room.
  Must(Share("pool", "bob", 2));
  Must(Share("pool", "bob", 2));
  Take("c", "cid");
  Take("a", "ada");
  WaitingAcquire cid = Wait("a", "cid");
  WaitingAcquire bob = Wait("c", "bob");
  Result<LockGrant> ada =
      TryTake("pool", "ada", {.mode = LockMode::kShared, .limit = 2, .wait = minutes(1)});
  ASSERT_THAT(ada, StatusIs(ErrorCode::kDeadlock));
  EXPECT_THAT(ada.error().detail.cycle, ElementsAre("ada", "bob", "cid"));
  Must(store().Break({}, {"a", "end of the test"}));
  cid.TakeOne();
  Must(store().Break({}, {"c", "end of the test"}));
  bob.TakeOne();
}

TEST_P(LockWaits, LOCK_7_AStuckSemaphoreIsToldByOneOfItsOtherHolders) {
  // The asking owner has a place itself, and each of the others waits for it.
  Must(Share("pool", "ada", 3));
  Must(Share("pool", "bob", 3));
  Must(Share("pool", "cid", 3));
  Take("a", "ada");
  WaitingAcquire bob = Wait("a", "bob");
  WaitingAcquire cid = Wait("a", "cid", 1);
  Result<LockGrant> ada =
      TryTake("pool", "ada", {.mode = LockMode::kShared, .limit = 3, .wait = minutes(1)});
  ASSERT_THAT(ada, StatusIs(ErrorCode::kDeadlock));
  EXPECT_THAT(ada.error().detail.cycle, ElementsAre("ada", "bob"));
  Must(store().Break({}, {"a", "end of the test"}));
  LockGrant of_bob = bob.TakeOne();
  Must(Release(of_bob));
  cid.TakeOne();
}

TEST_P(LockWaits, AStoreThatIsClosedAnswersWhoWaits) {
  Take("l", "ada");
  WaitingAcquire bob = Wait("l", "bob");
  backing().StopWaiting();
  EXPECT_THAT(bob.Take(), StatusIs(ErrorCode::kShuttingDown));
  EXPECT_THAT(TryTake("l", "eve", {.wait = minutes(1)}), StatusIs(ErrorCode::kShuttingDown));
  EXPECT_THAT(Look("l").waiters, IsEmpty());
}

HOLDFAST_FOR_ALL_VARIANTS(LockWaits);

}  // namespace
}  // namespace holdfast::testing
