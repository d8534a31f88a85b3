// S11 and LOCK-8 on records: their locks, fences for locks that live elsewhere, taking the next
// free one.
#include <gmock/gmock.h>

#include "testing/lock_suite.h"

namespace holdfast::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class RecordLocks : public LockSuite {
 protected:
  void SetUp() override {
    Declare("seat", R"({"states":{"initial":["free"],
                                  "transitions":{"free":["booked"],"booked":["free"]}}})");
  }
  LockGrant Lock1A(const std::string& owner = "ada", AcquireLock how = {}) {
    return Take(LockNameOf({"seat", "1A"}), owner, std::move(how));
  }
  Result<Receipt> Book(const std::string& id, std::vector<Guard> guards = {}) {
    return Commit({TransitionRecord{{"seat", id}, "booked"}}, std::move(guards));
  }
};

TEST_P(RecordLocks, LOCK_8_ALockedRecordIsBusyToOtherWriters) {
  Make("seat", "1A");
  LockGrant grant = Lock1A();
  EXPECT_EQ(grant.name, "record:seat/1A");
  Result<Receipt> refused = Book("1A");
  ASSERT_THAT(refused, StatusIs(ErrorCode::kBusy, HasSubstr("record:seat/1A is held by ada")));
  EXPECT_EQ(refused.error().detail.operation, 0);
  EXPECT_EQ(refused.error().detail.record, "seat/1A");
  EXPECT_EQ(refused.error().detail.lock, "record:seat/1A");
  EXPECT_EQ(refused.error().detail.retry_after, seconds(10));
  EXPECT_EQ(StatusOf("seat", "1A"), "free");
  EXPECT_THAT(store().Delete({}, DeleteRecord{{"seat", "1A"}}), StatusIs(ErrorCode::kBusy));
  // Reads are free, other records are, and so is who holds the lock.
  EXPECT_TRUE(Exists("seat", "1A"));
  Make("seat", "1B");
  EXPECT_THAT(Book("1B"), IsOk());
  EXPECT_THAT(Book("1A", {LockGuard{grant.name, grant.token}}), IsOk());
  Must(Release(grant));
  EXPECT_THAT(MoveTo("seat", "1A", "free"), IsOk());
}

TEST_P(RecordLocks, LOCK_8_ARecordThatDoesNotExistIsLockedAsOneThatDoes) {
  LockGrant grant = Lock1A();
  EXPECT_THAT(Commit({CreateRecord{.kind = "seat", .id = "1A"}}),
              StatusIs(ErrorCode::kBusy, HasSubstr("record:seat/1A is held by ada")));
  EXPECT_FALSE(Exists("seat", "1A"));
  EXPECT_THAT(
      Commit({CreateRecord{.kind = "seat", .id = "1A"}}, {LockGuard{grant.name, grant.token}}),
      IsOk());
}

TEST_P(RecordLocks, LOCK_8_ALockIsGivenBackInTheCommitThatUsesIt) {
  Make("seat", "1A");
  LockGrant grant = Lock1A();
  EXPECT_THAT(
      Commit({TransitionRecord{{"seat", "1A"}, "booked"}, ReleaseLock{grant.name, grant.token}},
             {LockGuard{grant.name, grant.token}}),
      IsOk());
  EXPECT_THAT(MoveTo("seat", "1A", "free"), IsOk());
}

TEST_P(RecordLocks, LOCK_8_WhoIsNextInLineDoesNotKeepOutTheBatchThatGivesTheLockBack) {
  Make("seat", "1A");
  LockGrant grant = Lock1A();
  WaitingAcquire next = Wait(grant.name, "bob");
  // The batch hands the lock to bob; what it changed before is not bob's business.
  EXPECT_THAT(
      Commit({TransitionRecord{{"seat", "1A"}, "booked"}, ReleaseLock{grant.name, grant.token}},
             {LockGuard{grant.name, grant.token}}),
      IsOk());
  EXPECT_EQ(StatusOf("seat", "1A"), "booked");
  EXPECT_THAT(MoveTo("seat", "1A", "free"), StatusIs(ErrorCode::kBusy));
  Must(Release(next.TakeOne()));
}

TEST_P(RecordLocks, LOCK_4_AnExpiredLockKeepsNobodyOut) {
  Make("seat", "1A");
  LockGrant grant = Lock1A();
  clock().Advance(seconds(10));
  EXPECT_THAT(Book("1A", {LockGuard{grant.name, grant.token}}), StatusIs(ErrorCode::kFenced));
  EXPECT_THAT(Book("1A"), IsOk());
}

TEST_P(RecordLocks, LOCK_1_ReadersHoldItTogetherAndNobodyWrites) {
  Make("seat", "1A");
  LockGrant one = Must(Share("record:seat/1A", "one"));
  LockGrant two = Must(Share("record:seat/1A", "two"));
  EXPECT_THAT(Book("1A"), StatusIs(ErrorCode::kBusy));
  EXPECT_THAT(Book("1A", {LockGuard{one.name, one.token}}), StatusIs(ErrorCode::kBusy));
  Must(Release(two));
  EXPECT_THAT(Book("1A", {LockGuard{one.name, one.token}}), IsOk());
}

TEST_P(RecordLocks, LOCK_8_ARecordThatIsNotThereYetCanBeLocked) {
  LockGrant grant = Lock1A();
  CreateRecord create{.kind = "seat", .id = "1A"};
  EXPECT_THAT(store().Create({}, create), StatusIs(ErrorCode::kBusy));
  EXPECT_THAT(Commit({create}, {LockGuard{grant.name, grant.token}}), IsOk());
}

TEST_P(RecordLocks, LOCK_2_ABatchWaitsForALockedRecordInLine) {
  Make("seat", "1A");
  LockGrant grant = Lock1A();
  auto booked = std::async(std::launch::async, [&] {
    return store().Commit(
        {}, {.operations = {TransitionRecord{{"seat", "1A"}, "booked"}}, .wait = minutes(2)});
  });
  AwaitInLine(grant.name, 1);
  EXPECT_EQ(StatusOf("seat", "1A"), "free");
  Must(Release(grant));
  Receipt receipt = Must(booked.get());
  ASSERT_EQ(receipt.results.size(), 1U);
  EXPECT_EQ(receipt.results[0].record->status, "booked");
  EXPECT_THAT(Look(grant.name).holders, IsEmpty());
  EXPECT_THAT(Look(grant.name).waiters, IsEmpty());
}

TEST_P(RecordLocks, LOCK_2_ABatchThatWaitedForNothingLeavesNothingBehind) {
  Make("seat", "1A");
  Make("seat", "1B");
  LockGrant grant = Lock1A();
  Batch both{.operations = {TransitionRecord{{"seat", "1A"}, "booked"},
                            TransitionRecord{{"seat", "1B"}, "booked"}},
             .wait = milliseconds(30)};
  EXPECT_THAT(store().Commit({}, both), StatusIs(ErrorCode::kBusy));
  LockGrant other = Take("record:seat/1B", "ada");  // nobody kept it
  // Got one, but not the other: gives the one back.
  auto waiting = std::async(std::launch::async, [&] {
    both.wait = seconds(1);
    return store().Commit({}, both);
  });
  AwaitInLine(grant.name, 1);
  Must(Release(grant));
  EXPECT_THAT(waiting.get(), StatusIs(ErrorCode::kBusy));
  EXPECT_THAT(Look(grant.name).holders, IsEmpty());
  EXPECT_THAT(Look(other.name).waiters, IsEmpty());
  EXPECT_EQ(StatusOf("seat", "1A"), "free");
}

TEST_P(RecordLocks, LOCK_2_ABatchThatLostOneOfItsLocksGivesTheOthersBack) {
  std::vector<LockGrant> grants;
  Batch all{.wait = minutes(2)};
  for (const char* id : {"1A", "1B", "1C"}) {
    Make("seat", id);
    grants.push_back(Take(LockNameOf({"seat", id})));
    all.operations.emplace_back(TransitionRecord{{"seat", id}, "booked"});
  }
  std::stop_source stop;
  auto waiting = std::async(std::launch::async,
                            [&] { return store().Commit({.stop = stop.get_token()}, all); });
  for (std::size_t i : {0, 1}) {
    AwaitInLine(grants[i].name, 1);
    Must(Release(grants[i]));
  }
  AwaitInLine(grants[2].name, 1);
  Must(store().Break({}, {grants[0].name, "test"}));
  ASSERT_THAT(Look(grants[1].name).holders, SizeIs(1));
  stop.request_stop();
  EXPECT_THAT(waiting.get(), StatusIs(ErrorCode::kCancelled));
  AwaitTrue([&] { return Look(grants[1].name).holders.empty(); });
}

TEST_P(RecordLocks, LOCK_8_WhatABatchHoldsIsForTheStoreToSay) {
  Make("seat", "1A");
  LockGrant grant = Lock1A();
  Batch batch{.operations = {TransitionRecord{{"seat", "1A"}, "booked"}},
              .held = {{grant.name, grant.token}}};
  EXPECT_THAT(store().Commit({}, batch),
              StatusIs(ErrorCode::kInvalidArgument, HasSubstr("held is set by the store")));
  EXPECT_THAT(Look(grant.name).holders, SizeIs(1));
}

TEST_P(RecordLocks, IDEM_1_ABatchThatWaitedIsFoundAgainByItsKey) {
  Make("seat", "1A");
  LockGrant grant = Lock1A();
  Batch batch{.operations = {TransitionRecord{{"seat", "1A"}, "booked"}},
              .idempotency_key = "k",
              .wait = minutes(2)};
  auto booked = std::async(std::launch::async, [&] { return store().Commit({}, batch); });
  AwaitInLine(grant.name, 1);
  Must(Release(grant));
  Receipt first = Must(booked.get());
  Receipt again = Must(store().Commit({}, batch));
  EXPECT_TRUE(again.replayed);
  EXPECT_EQ(again.results, first.results);
}

TEST_P(RecordLocks, LOCK_8_AFenceLetsNoLowerTokenThrough) {
  Make("seat", "1A", R"({"n":0})");
  const IncrementRecord increment{{"seat", "1A"}, "/n"};
  auto under = [&](Token token) {
    return Commit({increment}, {FenceGuard{{"seat", "1A"}, token}});
  };
  EXPECT_EQ(Read("seat", "1A").fence, 0);
  EXPECT_THAT(under(33), IsOk());
  EXPECT_THAT(under(33), IsOk());
  EXPECT_THAT(under(34), IsOk());
  Result<Receipt> stale = under(33);
  ASSERT_THAT(stale, StatusIs(ErrorCode::kFenced, HasSubstr("has seen token 34, newer than 33")));
  EXPECT_EQ(stale.error().detail.guard, 0);
  EXPECT_EQ(stale.error().detail.record, "seat/1A");
  Record record = Read("seat", "1A");
  EXPECT_EQ(record.fence, 34);
  EXPECT_EQ(record.version, 4);  // the fence itself is no change of it
  EXPECT_EQ(Data(record)["n"], 3);
  // A batch that is refused for another reason raises nothing.
  EXPECT_THAT(Commit({MergeRecord{{"seat", "nowhere"}, "{}"}}, {FenceGuard{{"seat", "1A"}, 99}}),
              StatusIs(ErrorCode::kNotFound));
  EXPECT_EQ(Read("seat", "1A").fence, 34);
  EXPECT_THAT(Commit({increment}, {FenceGuard{{"seat", "nowhere"}, 1}}),
              StatusIs(ErrorCode::kNotFound));
}

TEST_P(RecordLocks, LOCK_8_AFenceSurvivesAReopen) {
  if (!traits().survives_process_kill) GTEST_SKIP();
  Make("seat", "1A", R"({"n":0})");
  Must(Commit({IncrementRecord{{"seat", "1A"}, "/n"}}, {FenceGuard{{"seat", "1A"}, 7}}));
  fixture_.Reopen();
  EXPECT_EQ(Read("seat", "1A").fence, 7);
}

TEST_P(RecordLocks, LOCK_2_TakingTheNextFreeRecordSkipsTheLockedOnes) {
  for (const char* id : {"1A", "1B", "1C", "1D"}) Make("seat", id);
  Must(Book("1B"));
  const RecordFilter free{.kind = "seat", .status = "free"};
  auto next = [&](const std::string& owner) {
    return Must(store().AcquireNext({}, free, {.owner = owner}));
  };
  std::optional<LockedRecord> first = next("ada");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->record.id, "1A");
  EXPECT_EQ(first->lock.name, "record:seat/1A");
  EXPECT_EQ(next("bob")->record.id, "1C");
  EXPECT_EQ(next("eve")->record.id, "1D");
  EXPECT_FALSE(next("cid"));
  // Booked under its lock, which is given back: it is not free any more.
  Must(Commit({TransitionRecord{{"seat", "1A"}, "booked"},
               ReleaseLock{first->lock.name, first->lock.token}},
              {LockGuard{first->lock.name, first->lock.token}}));
  EXPECT_FALSE(next("cid"));
  EXPECT_THAT(store().AcquireNext({}, {.kind = "nothing"}, {.owner = "o"}),
              StatusIs(ErrorCode::kNotFound));
  EXPECT_THAT(store().AcquireNext({}, free, {.name = "x", .owner = "o"}),
              StatusIs(ErrorCode::kInvalidArgument));
  EXPECT_THAT(store().AcquireNext({}, free, {.owner = "o", .wait = seconds(1)}),
              StatusIs(ErrorCode::kInvalidArgument));
}

TEST_P(RecordLocks, LOCK_2_TakingTheNextFreeRecordLooksBeyondOnePage) {
  std::vector<Operation> creates;
  std::vector<std::string> names;
  for (int i = 0; i < 250; ++i) {
    std::string id = std::to_string(1000 + i);
    creates.emplace_back(CreateRecord{.kind = "seat", .id = id});
    if (i != 241) names.push_back(LockNameOf({"seat", id}));
  }
  Must(Commit(std::move(creates)));
  Must(store().Acquire({}, {.names = std::move(names), .owner = "ada"}));
  std::optional<LockedRecord> next =
      Must(store().AcquireNext({}, {.kind = "seat"}, {.owner = "bob"}));
  ASSERT_TRUE(next);
  EXPECT_EQ(next->record.id, "1241");
}

HOLDFAST_FOR_ALL_VARIANTS(RecordLocks);

}  // namespace
}  // namespace holdfast::testing
