// LOCK-1, LOCK-3, LOCK-4, LOCK-8, LOCK-9, LOCK-11: who may hold a lock, for how long, and what a
// token is good for. How locks are waited for is in lock_waits_suite_test.cc.
#include <gmock/gmock.h>

#include "testing/lock_suite.h"

namespace holdfast::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class Locks : public LockSuite {};

TEST_P(Locks, LOCK_1_AnExclusiveLockHasOneHolder) {
  LockGrant grant = Take("orders/7", "ada");
  EXPECT_EQ(grant.name, "orders/7");
  EXPECT_EQ(grant.owner, "ada");
  EXPECT_EQ(grant.mode, LockMode::kExclusive);
  EXPECT_EQ(grant.acquired_at, Now());
  EXPECT_EQ(grant.expires_at, Now() + seconds(10));
  EXPECT_THAT(TryTake("orders/7", "bob"), StatusIs(ErrorCode::kBusy, HasSubstr("held by ada")));
  EXPECT_THAT(Share("orders/7", "bob"), StatusIs(ErrorCode::kBusy));
  EXPECT_THAT(TryTake("orders/8", "bob"), IsOk());
  EXPECT_THAT(Release(grant), IsOk());
  EXPECT_THAT(TryTake("orders/7", "bob"), IsOk());
}

TEST_P(Locks, LOCK_2_BusyTellsHowLongTheLeaseStillLasts) {
  Take("l", "ada", {.ttl = seconds(30)});
  clock().Advance(seconds(12));
  Result<LockGrant> refused = TryTake("l", "bob");
  ASSERT_THAT(refused, StatusIs(ErrorCode::kBusy));
  EXPECT_EQ(refused.error().detail.retry_after, seconds(18));
  EXPECT_EQ(refused.error().detail.lock, "l");
}

TEST_P(Locks, LOCK_1_ASharedLockHasManyHoldersAndNoExclusiveOne) {
  std::vector<LockGrant> grants;
  for (int i = 0; i < 20; ++i) grants.push_back(Must(Share("l", "o" + std::to_string(i))));
  EXPECT_THAT(TryTake("l", "writer"), StatusIs(ErrorCode::kBusy, HasSubstr("20 holders")));
  EXPECT_THAT(Look("l").holders, SizeIs(20));
  for (const LockGrant& grant : grants) Must(Release(grant));
  EXPECT_THAT(TryTake("l", "writer"), IsOk());
}

TEST_P(Locks, LOCK_1_ASemaphoreOfNHasAtMostNHolders) {
  std::vector<LockGrant> grants;
  for (int i = 0; i < 5; ++i) grants.push_back(Must(Share("pool", "same owner", 5)));
  EXPECT_THAT(Share("pool", "other", 5), StatusIs(ErrorCode::kBusy));
  EXPECT_EQ(Look("pool").limit, 5);
  Must(Release(grants[2]));
  EXPECT_THAT(Share("pool", "other", 5), IsOk());
  EXPECT_THAT(Share("pool", "another", 5), StatusIs(ErrorCode::kBusy));
}

TEST_P(Locks, LOCK_1_HoldersMustAgreeOnTheLimit) {
  LockGrant grant = Must(Share("pool", "ada", 5));
  EXPECT_THAT(Share("pool", "bob", 6),
              StatusIs(ErrorCode::kInvalidArgument, HasSubstr("shared with limit 5, not limit 6")));
  EXPECT_THAT(Share("pool", "bob"),
              StatusIs(ErrorCode::kInvalidArgument, HasSubstr("not no limit")));
  EXPECT_THAT(Look("pool").holders, SizeIs(1));
  Must(Release(grant));
  EXPECT_THAT(Share("pool", "bob", 6), IsOk());
}

TEST_P(Locks, LOCK_1_TheOwnerOfAnExclusiveLockIsToldThatItHasIt) {
  LockGrant grant = Take("l", "ada");
  Result<LockGrant> again = TryTake("l", "ada");
  ASSERT_THAT(again, StatusIs(ErrorCode::kAlreadyExists, HasSubstr("holds lock l already")));
  EXPECT_EQ(again.error().detail.id, grant.token);
  // And does not wait for itself.
  EXPECT_THAT(TryTake("l", "ada", {.wait = minutes(1)}), StatusIs(ErrorCode::kAlreadyExists));
  // Nor does it as a reader that wants to write, as far as it does not wait.
  LockGrant shared = Must(Share("m", "ada"));
  EXPECT_THAT(TryTake("m", "ada"), StatusIs(ErrorCode::kBusy));
}

TEST_P(Locks, LOCK_3_TokensRiseOverAllLocksAndJobs) {
  Token last = 0;
  for (int i = 0; i < 10; ++i) {
    LockGrant grant = Take("l" + std::to_string(i % 3), "o");
    EXPECT_GT(grant.token, last);
    last = grant.token;
    Push();
    Job job = ClaimOne();
    EXPECT_GT(job.token, last);
    last = job.token;
    Must(Release(grant));
  }
}

TEST_P(Locks, LOCK_3_AFailedAcquireChangesNothing) {
  LockGrant grant = Take("l", "ada");
  Lock before = Look("l");
  for (int i = 0; i < 20; ++i) EXPECT_THAT(TryTake("l", "bob"), StatusIs(ErrorCode::kBusy));
  EXPECT_EQ(Look("l"), before);
  const Token next = Take("m", "bob").token;
  EXPECT_GT(next, grant.token);
  if (traits().has_dense_tokens) {
    EXPECT_EQ(next, grant.token + 1);
  }
}

TEST_P(Locks, LOCK_4_ALeaseEndsByItself) {
  Take("l", "ada", {.ttl = seconds(3)});
  clock().Advance(seconds(3) - microseconds(1));
  EXPECT_THAT(TryTake("l", "bob"), StatusIs(ErrorCode::kBusy));
  clock().Advance(microseconds(1));
  EXPECT_THAT(Look("l").holders, IsEmpty());
  EXPECT_THAT(TryTake("l", "bob"), IsOk());
}

TEST_P(Locks, LOCK_4_RenewingSetsTheEndToNowAndTheTtl) {
  LockGrant grant = Take("l", "ada", {.ttl = seconds(10)});
  clock().Advance(seconds(9));
  EXPECT_EQ(Must(store().Renew({}, {"l", grant.token})).expires_at, Now() + seconds(10));
  clock().Advance(seconds(1));
  EXPECT_EQ(Must(store().Renew({}, {"l", grant.token, seconds(4)})).expires_at, Now() + seconds(4));
  clock().Advance(seconds(3));
  // As long as it was asked for last.
  EXPECT_EQ(Must(store().Renew({}, {"l", grant.token})).expires_at, Now() + seconds(4));
  EXPECT_THAT(TryTake("l", "bob"), StatusIs(ErrorCode::kBusy));
}

TEST_P(Locks, LOCK_4_AnEndedLeaseIsNeverRevived) {
  LockGrant grant = Take("l", "ada");
  clock().Advance(seconds(10));
  // Though nobody else has the lock, and no maintenance has seen it end.
  EXPECT_THAT(store().Renew({}, {"l", grant.token}), StatusIs(ErrorCode::kFenced));
  EXPECT_THAT(Release(grant), StatusIs(ErrorCode::kFenced, HasSubstr("stop the work")));
  Pass(seconds(1));
  EXPECT_THAT(store().Renew({}, {"l", grant.token}), StatusIs(ErrorCode::kFenced));
}

TEST_P(Locks, LOCK_4_OnlyTheTokenCounts) {
  LockGrant stale = Take("l", "ada");
  Pass(seconds(11));
  LockGrant fresh = Take("l", "ada");  // the same owner, another lease
  EXPECT_THAT(Release(stale), StatusIs(ErrorCode::kFenced, HasSubstr(std::to_string(fresh.token))));
  EXPECT_THAT(store().Renew({}, {"l", stale.token}), StatusIs(ErrorCode::kFenced));
  EXPECT_THAT(store().Release({}, {"l", fresh.token + 100}), StatusIs(ErrorCode::kFenced));
  EXPECT_THAT(store().Release({}, {"m", fresh.token}), StatusIs(ErrorCode::kFenced));
  EXPECT_THAT(Look("l").holders, SizeIs(1));
  EXPECT_THAT(Release(fresh), IsOk());
  EXPECT_THAT(Release(fresh), StatusIs(ErrorCode::kFenced));
}

TEST_P(Locks, LOCK_8_ABatchIsGuardedByALock) {
  Declare("account");
  Make("account", "a", R"({"n":0})");
  LockGrant grant = Take("l", "ada");
  const IncrementRecord increment{{"account", "a"}, "/n"};
  EXPECT_THAT(Commit({increment}, {LockGuard{"l", grant.token}}), IsOk());
  Pass(seconds(11));
  LockGrant next = Take("l", "bob");
  Result<Receipt> refused = Commit({increment}, {LockGuard{"l", grant.token}});
  ASSERT_THAT(refused, StatusIs(ErrorCode::kFenced));
  EXPECT_EQ(refused.error().detail.guard, 0);
  EXPECT_EQ(refused.error().detail.lock, "l");
  EXPECT_EQ(DataOf("account", "a")["n"], 1);
  EXPECT_THAT(Commit({increment}, {LockGuard{"l", next.token}}), IsOk());
}

TEST_P(Locks, LOCK_8_AGuardSeesALeaseThatHasRunOutThoughNobodyElseHasTheLock) {
  Declare("account");
  Make("account", "a", R"({"n":0})");
  LockGrant grant = Take("l", "ada");
  clock().Advance(seconds(10));
  EXPECT_THAT(Commit({IncrementRecord{{"account", "a"}, "/n"}}, {LockGuard{"l", grant.token}}),
              StatusIs(ErrorCode::kFenced));
}

TEST_P(Locks, LOCK_8_OperationsOnLocksGoIntoABatchWithEverythingElse) {
  Declare("account");
  Make("account", "a", R"({"n":0})");
  Push();
  Job job = ClaimOne();
  LockGrant grant = Take("l", "ada");
  Receipt receipt =
      Must(Commit({IncrementRecord{{"account", "a"}, "/n"}, CompleteJob{job.id, job.token, {}},
                   ReleaseLock{"l", grant.token}, AcquireLock{.name = "m", .owner = "ada"}},
                  {LockGuard{"l", grant.token}}));
  ASSERT_TRUE(receipt.results[3].lock);
  EXPECT_EQ(receipt.results[3].lock->grants.front().name, "m");
  EXPECT_THAT(Look("l").holders, IsEmpty());
  EXPECT_THAT(Look("m").holders, SizeIs(1));

  // All or nothing.
  Result<Receipt> refused =
      Commit({AcquireLock{.name = "n", .owner = "ada"}, IncrementRecord{{"account", "a"}, "/n"},
              AcquireLock{.name = "m", .owner = "bob"}});
  ASSERT_THAT(refused, StatusIs(ErrorCode::kBusy));
  EXPECT_EQ(refused.error().detail.operation, 2);
  EXPECT_THAT(Look("n").holders, IsEmpty());
  EXPECT_EQ(DataOf("account", "a")["n"], 1);
}

TEST_P(Locks, LOCK_9_ADelayKeepsTheLockAfterAnExpiryButNotAfterARelease) {
  const AcquireLock how{.ttl = seconds(10), .lock_delay = seconds(15)};
  Must(Release(Take("l", "ada", how)));
  LockGrant grant = Take("l", "bob", how);
  Pass(seconds(10));
  Result<LockGrant> refused = TryTake("l", "eve");
  ASSERT_THAT(refused, StatusIs(ErrorCode::kBusy, HasSubstr("lock delay")));
  EXPECT_EQ(refused.error().detail.retry_after, seconds(15));
  EXPECT_THAT(Look("l").holders, IsEmpty());
  EXPECT_EQ(Look("l").delayed_until, Now() + seconds(15));
  EXPECT_THAT(store().Renew({}, {"l", grant.token}), StatusIs(ErrorCode::kFenced));
  Pass(seconds(15) - microseconds(1));
  EXPECT_THAT(TryTake("l", "eve"), StatusIs(ErrorCode::kBusy));
  Pass(microseconds(1));
  EXPECT_THAT(TryTake("l", "eve"), IsOk());
}

TEST_P(Locks, LOCK_11_PresetsNameALeaseAndAWait) {
  LockGrant grant = Take("l", "ada", {.preset = "PARENT_CHILD", .wait = Duration::zero()});
  EXPECT_EQ(grant.expires_at - grant.acquired_at, seconds(20));
  // What is said counts before what the preset says.
  grant = Take("m", "ada", {.ttl = seconds(3), .preset = "JOB_WORKFLOW", .wait = Duration::zero()});
  EXPECT_EQ(grant.expires_at - grant.acquired_at, seconds(3));
  EXPECT_THAT(TryTake("n", "ada", {.preset = "FASTEST"}),
              StatusIs(ErrorCode::kInvalidArgument,
                       HasSubstr("preset FASTEST does not exist (but DEFAULT, JOB_WORKFLOW")));
  EXPECT_THAT(Commit({AcquireLock{.name = "n", .owner = "a", .preset = "FASTEST"}}),
              StatusIs(ErrorCode::kInvalidArgument));
}

TEST_P(Locks, LOCK_4_BreakingEndsLeasesAndIsAudited) {
  LockGrant grant = Take("l", "ada");
  Context admin{.actor = "root"};
  std::vector<LockGrant> broken = Must(store().Break(admin, {"l", "worker 7 is on fire"}));
  EXPECT_THAT(broken, SizeIs(1));
  EXPECT_EQ(broken[0].token, grant.token);
  EXPECT_THAT(Release(grant), StatusIs(ErrorCode::kFenced));
  std::vector<AuditEntry> trail = Trail("lock/l");
  ASSERT_GE(trail.size(), 2U);
  EXPECT_EQ(trail[1].operation, "lock.break");
  EXPECT_EQ(trail[1].actor, "root");
  EXPECT_GT(trail[1].token, grant.token);
  EXPECT_EQ(Json::parse(trail[1].details)["reason"], "worker 7 is on fire");
  EXPECT_EQ(Json::parse(trail[1].details)["owner"], "ada");
  EXPECT_GT(Take("l", "bob").token, trail[1].token);
  EXPECT_THAT(store().Break({}, {"nobody's", "r"}), StatusIs(ErrorCode::kNotFound));

  // One of several holders.
  LockGrant one = Must(Share("pool", "one", 2));
  LockGrant two = Must(Share("pool", "two", 2));
  Must(store().Break({}, {"pool", "just this one", one.token}));
  EXPECT_THAT(Release(one), StatusIs(ErrorCode::kFenced));
  EXPECT_THAT(Release(two), IsOk());
}

TEST_P(Locks, AUD_1_TheTrailTellsWhoHadTheLockAndHowItEnded) {
  Context context{.actor = "billing", .correlation_id = "r-1"};
  AcquireLock request{.name = "l", .owner = "ada", .ttl = seconds(5)};
  LockGrant grant = Must(store().Acquire(context, request)).front();
  Must(Release(grant));
  request.owner = "bob";
  LockGrant late = Must(store().Acquire(context, request)).front();
  Pass(seconds(6));
  std::vector<AuditEntry> trail = Trail("lock/l");
  ASSERT_EQ(trail.size(), 4U);
  EXPECT_EQ(trail[0].operation, "lock.acquire");
  EXPECT_EQ(trail[0].actor, "billing");
  EXPECT_EQ(trail[0].correlation_id, "r-1");
  EXPECT_EQ(trail[0].token, grant.token);
  EXPECT_EQ(trail[0].old_status, "free");
  EXPECT_EQ(trail[0].new_status, "exclusive");
  EXPECT_EQ(trail[0].details, R"({"owner":"ada"})");
  EXPECT_EQ(trail[1].operation, "lock.release");
  EXPECT_EQ(trail[1].new_status, "free");
  EXPECT_EQ(trail[3].operation, "lock.expire");
  EXPECT_EQ(trail[3].actor, "holdfast");
  EXPECT_EQ(trail[3].token, late.token);
  EXPECT_EQ(trail[3].details, R"({"owner":"bob"})");
}

TEST_P(Locks, AUD_1_AStaleTokenIsRecordedAndBusyIsNot) {
  LockGrant grant = Take("l", "ada");
  EXPECT_THAT(TryTake("l", "bob"), StatusIs(ErrorCode::kBusy));
  Must(Release(grant));
  for (int i = 0; i < 3; ++i) EXPECT_THAT(Release(grant), StatusIs(ErrorCode::kFenced));
  Pass(seconds(1));
  AuditPage page = Must(store().ListAudit({}, {.target = "lock/l", .refused = true}));
  ASSERT_EQ(page.items.size(), 1U);
  EXPECT_EQ(page.items[0].operation, "lock.release");
  EXPECT_EQ(page.items[0].error, "fenced");
  EXPECT_EQ(page.items[0].count, 3);
  EXPECT_EQ(page.items[0].token, grant.token);
}

TEST_P(Locks, IDEM_1_TheSameAcquireTwiceIsOneLease) {
  Batch batch{.operations = {AcquireLock{.name = "l", .owner = "ada"}}, .idempotency_key = "k"};
  Receipt first = Must(store().Commit({}, batch));
  Receipt second = Must(store().Commit({}, batch));
  EXPECT_TRUE(second.replayed);
  EXPECT_EQ(second.results, first.results);
  EXPECT_THAT(Trail("lock/l"), SizeIs(1));
}

TEST_P(Locks, LOCK_4_LocksSurviveAReopenForTheTimeThatIsLeft) {
  if (!traits().survives_process_kill) GTEST_SKIP();
  LockGrant grant = Take("l", "ada", {.ttl = seconds(10), .lock_delay = seconds(2)});
  LockGrant shared = Must(Share("pool", "ada", 3));
  clock().Advance(seconds(4));
  Lock before = Look("l");
  fixture_.Reopen();
  EXPECT_EQ(Look("l"), before);
  Result<LockGrant> refused = TryTake("l", "bob");
  ASSERT_THAT(refused, StatusIs(ErrorCode::kBusy));
  EXPECT_EQ(refused.error().detail.retry_after, seconds(8));  // with its delay
  EXPECT_GT(Take("m", "bob").token, shared.token);
  EXPECT_THAT(Share("pool", "bob", 4), StatusIs(ErrorCode::kInvalidArgument));
  EXPECT_THAT(store().Renew({}, {"l", grant.token}), IsOk());
  EXPECT_THAT(Release(grant), IsOk());
}

TEST_P(Locks, LocksAreListedByNameAndOwner) {
  Take("b/2", "ada");
  Take("b/1", "bob");
  Must(Share("a", "ada", 5));
  Must(Share("a", "bob", 5));
  Must(Release(Take("gone", "ada")));
  auto names = [&](LockFilter filter) {
    std::vector<std::string> all;
    do {
      LockPage page = Must(store().ListLocks({}, filter));
      for (const Lock& lock : page.items) all.push_back(lock.name);
      filter.cursor = page.next_cursor;
    } while (!filter.cursor.empty());
    return all;
  };
  EXPECT_THAT(names({}), ElementsAre("a", "b/1", "b/2"));
  EXPECT_THAT(names({.limit = 1}), ElementsAre("a", "b/1", "b/2"));
  EXPECT_THAT(names({.prefix = "b/"}), ElementsAre("b/1", "b/2"));
  EXPECT_THAT(names({.prefix = "b/", .limit = 1}), ElementsAre("b/1", "b/2"));
  EXPECT_THAT(names({.owner = "ada"}), ElementsAre("a", "b/2"));
  EXPECT_THAT(names({.owner = "nobody"}), IsEmpty());
  Lock free = Look("gone");
  EXPECT_EQ(free.name, "gone");
  EXPECT_THAT(free.holders, IsEmpty());
  clock().Advance(seconds(10));
  EXPECT_THAT(names({}), IsEmpty());
}

TEST_P(Locks, BadInputIsRefusedAndChangesNothing) {
  LockGrant grant = Take("held", "ada");
  auto refused = [&](AcquireLock request, const std::string& message) {
    EXPECT_THAT(store().Acquire({}, std::move(request)),
                StatusIs(ErrorCode::kInvalidArgument, HasSubstr(message)));
  };
  const std::vector<std::string> many(10'000, "n");
  refused({.owner = "o"}, "lock name is empty (1-512 bytes)");
  refused({.name = std::string(513, 'x'), .owner = "o"}, "lock name has 513 bytes (at most 512)");
  refused({.name = "a\nb", .owner = "o"}, "control character");
  refused({.name = "..", .owner = "o"}, "a path cannot carry");
  refused({.name = "\xff", .owner = "o"}, "not UTF-8");
  refused({.name = "l"}, "owner is empty (1-128 bytes)");
  refused({.name = "l", .owner = std::string(129, 'x')}, "owner has 129 bytes");
  refused({.name = "l", .owner = "o", .ttl = Duration::zero()}, "ttl is 0s (100ms to 1d)");
  refused({.name = "l", .owner = "o", .ttl = hours(24) + microseconds(1)}, "100ms to 1d");
  refused({.name = "l", .owner = "o", .ttl = seconds(-1)}, "ttl is negative");
  refused({.name = "l", .owner = "o", .wait = seconds(-1)}, "wait is negative");
  refused({.name = "l", .owner = "o", .wait = hours(25)}, "wait is 25h");
  refused({.name = "l", .owner = "o", .lock_delay = hours(25)}, "lock_delay is 25h");
  refused({.name = "l", .owner = "o", .mode = LockMode::kShared, .limit = 0}, "limit is 0");
  refused({.name = "l", .owner = "o", .mode = LockMode::kShared, .limit = -3}, "limit is -3");
  refused({.name = "l", .owner = "o", .limit = 3}, "limit is for shared locks");
  refused({.names = many, .owner = "o"}, "names has 10000 entries (at most 1000)");
  refused({.names = {"a", "b", "a"}, .owner = "o"}, "names has a twice");
  refused({.name = "a", .names = {"b"}, .owner = "o"}, "exclude each other");
  EXPECT_THAT(store().Renew({}, {"held", grant.token, hours(25)}),
              StatusIs(ErrorCode::kInvalidArgument));
  EXPECT_THAT(store().Break({}, {"held", ""}),
              StatusIs(ErrorCode::kInvalidArgument, HasSubstr("reason is empty")));
  EXPECT_THAT(Commit({AcquireLock{.name = "l", .owner = "o", .wait = seconds(1)}}),
              StatusIs(ErrorCode::kInvalidArgument, HasSubstr("a batch does not wait")));
  EXPECT_THAT(store().GetLock({}, ""), StatusIs(ErrorCode::kInvalidArgument));
  EXPECT_THAT(store().ListLocks({}, {.limit = 0}), StatusIs(ErrorCode::kInvalidArgument));
  EXPECT_THAT(Must(store().ListLocks({}, {})).items, SizeIs(1));
}

TEST_P(Locks, OddNamesAreNamesLikeAnyOther) {
  for (const std::string name :
       {"a b", "a/b/c?d=e&f", "100%", "ключ", "\"quoted\"", "acquire", "#", "a+b", "%2F"}) {
    LockGrant grant = Take(name, "ada");
    EXPECT_EQ(Look(name).holders.front().token, grant.token) << name;
    EXPECT_THAT(store().Renew({}, {name, grant.token}), IsOk()) << name;
    EXPECT_THAT(Release(grant), IsOk()) << name;
  }
}

HOLDFAST_FOR_ALL_VARIANTS(Locks);

}  // namespace
}  // namespace holdfast::testing
