// JOB-5, JOB-6, TIME-1: what a lease protects, when it ends, and what cannot end it.
#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

using ::testing::HasSubstr;

class Leases : public StoreSuite {};

TEST_P(Leases, JOB_6_AJobComesBackWhenItsLeaseEnds) {
  JobId id = Push().id;
  Job job = ClaimThis(id, seconds(30));
  EXPECT_EQ(Pass(seconds(30) - microseconds(1)).expired, 0);
  EXPECT_EQ(StateOf(id), JobState::kProcessing);
  EXPECT_EQ(Pass(microseconds(1)).expired, 1);
  Job back = Get(id);
  EXPECT_EQ(back.state, JobState::kPending);
  EXPECT_EQ(back.attempt, 1);
  EXPECT_EQ(back.lease_expiries, 1);
  EXPECT_EQ(back.lease_expires_at, std::nullopt);
  ASSERT_EQ(back.errors.size(), 1U);
  EXPECT_EQ(back.errors[0].message, "lease_expired");
  EXPECT_EQ(back.errors[0].worker, "w");
  EXPECT_EQ(back.errors[0].attempt, 1);
  EXPECT_EQ(back.errors[0].at, Now());
  EXPECT_THAT(store().Complete({}, id, job.token), StatusIs(ErrorCode::kFenced));
}

TEST_P(Leases, JOB_5_ASupersededHolderChangesNothing) {
  JobId id = Push().id;
  Job stale = ClaimThis(id, seconds(30), "slow");
  Pass(seconds(31));
  Job fresh = ClaimThis(id, seconds(30), "fast");
  Job before = Get(id);
  EXPECT_THAT(store().Complete({}, id, stale.token, "1"),
              StatusIs(ErrorCode::kFenced, HasSubstr(std::to_string(stale.token))));
  EXPECT_THAT(store().FailAttempt({}, {id, stale.token, "no"}), StatusIs(ErrorCode::kFenced));
  EXPECT_THAT(store().Release({}, id, stale.token), StatusIs(ErrorCode::kFenced));
  EXPECT_THAT(store().Snooze({}, id, stale.token, seconds(1)), StatusIs(ErrorCode::kFenced));
  EXPECT_THAT(store().Renew({}, id, stale.token), StatusIs(ErrorCode::kFenced));
  EXPECT_THAT(store().ReportProgress({}, {id, stale.token, 0.5, "m"}),
              StatusIs(ErrorCode::kFenced));
  EXPECT_EQ(Get(id), before);
  EXPECT_THAT(store().Complete({}, id, fresh.token), IsOk());
  // Also once the successor is through.
  EXPECT_THAT(store().Complete({}, id, stale.token), StatusIs(ErrorCode::kFenced));
}

TEST_P(Leases, JOB_5_AReportIsTakenUntilTheLeaseIsReallyTakenAway) {
  JobId id = Push().id;
  Job job = ClaimThis(id, seconds(30));
  clock().Advance(hours(1));  // no maintenance: nobody else has the job
  EXPECT_THAT(store().Complete({}, id, job.token), IsOk());
}

TEST_P(Leases, JOB_6_ARenewedLeaseEndsThatMuchAfterTheRenewal) {
  JobId id = Push().id;
  Job job = ClaimThis(id, seconds(30));
  Pass(seconds(20));
  Job renewed = Must(store().Renew({}, id, job.token, seconds(30)));
  EXPECT_EQ(renewed.lease_expires_at, Now() + seconds(30));
  EXPECT_FALSE(renewed.cancel_requested);
  EXPECT_EQ(Pass(seconds(29)).expired, 0);
  EXPECT_EQ(Pass(seconds(1)).expired, 1);
}

TEST_P(Leases, JOB_6_ARenewalMayShortenTheLease) {
  JobId id = Push().id;
  Job job = ClaimThis(id, hours(1));
  Must(store().Renew({}, id, job.token, seconds(1)));
  EXPECT_EQ(Pass(seconds(1)).expired, 1);
}

TEST_P(Leases, JOB_6_AllLeasesOfAWorkerAreRenewedInOneCommit) {
  Batch batch;
  for (int i = 0; i < 10; ++i) {
    Push();
    Job job = ClaimOne(seconds(30));
    batch.operations.push_back(RenewJob{job.id, job.token, seconds(60)});
  }
  Receipt receipt = Must(store().Commit({}, batch));
  ASSERT_EQ(receipt.results.size(), 10U);
  for (const OperationResult& result : receipt.results) {
    ASSERT_TRUE(result.job.has_value());
    EXPECT_EQ(result.job->lease_expires_at, Now() + seconds(60));
  }
  EXPECT_EQ(Pass(seconds(59)).expired, 0);
  EXPECT_EQ(Pass(seconds(1)).expired, 10);
}

TEST_P(Leases, JOB_6_ThreeExpiriesInARowMakeAPoisonPill) {
  JobId id = Push().id;
  for (int expiry = 1; expiry <= 3; ++expiry) {
    ClaimThis(id);
    Pass(seconds(31));
    EXPECT_EQ(Get(id).lease_expiries, expiry);
    EXPECT_EQ(StateOf(id), expiry < 3 ? JobState::kPending : JobState::kFailed);
  }
  Job job = Get(id);
  EXPECT_EQ(job.errors.size(), 3U);
  EXPECT_EQ(job.errors.back().message, "lease_expired");
  EXPECT_EQ(job.finished_at, Now());
}

TEST_P(Leases, JOB_6_AReportBetweenExpiriesBreaksTheRow) {
  JobId id = Push().id;
  for (int round = 0; round < 2; ++round) {
    ClaimThis(id);
    Pass(seconds(31));
    ClaimThis(id);
    Pass(seconds(31));
    EXPECT_EQ(Get(id).lease_expiries, 2);
    Must(store().Release({}, id, ClaimThis(id).token));
    EXPECT_EQ(Get(id).lease_expiries, 0);
    EXPECT_EQ(StateOf(id), JobState::kPending);
  }
}

TEST_P(Leases, JOB_6_AnExpiryOfTheLastAttemptFailsTheJob) {
  JobId id = Push({.kind = "k", .max_attempts = 1}).id;
  ClaimThis(id);
  Pass(seconds(31));
  EXPECT_EQ(StateOf(id), JobState::kFailed);
}

TEST_P(Leases, JOB_6_ManyLeasesEndInBoundedSteps) {
  constexpr int kJobs = 1'500;
  Batch batch;
  for (int i = 0; i < kJobs; ++i) {
    batch.operations.push_back(EnqueueJob{{.kind = "k"}});
    if (batch.operations.size() == 500) {
      Must(store().Commit({}, std::exchange(batch, {})));
      ASSERT_EQ(Claim({.max = 500}).size(), 500U);
    }
  }
  clock().Advance(seconds(31));
  MaintainReport first = Must(backing().Maintain({}));
  EXPECT_GT(first.expired, 0);
  EXPECT_LE(first.expired, 1'000);
  EXPECT_TRUE(first.more);
  EXPECT_EQ(first.expired + Pass(Duration::zero()).expired, kJobs);
  EXPECT_EQ(CountOf(JobState::kPending), kJobs);
}

TEST_P(Leases, JOB_12_ProgressIsKeptUntilTheNextAttempt) {
  JobId id = Push().id;
  Job job = ClaimThis(id);
  Job reported = Must(store().ReportProgress({}, {id, job.token, 0.25, "a quarter"}));
  EXPECT_EQ(reported.progress, 0.25);
  EXPECT_EQ(reported.message, "a quarter");
  EXPECT_EQ(Get(id).progress, 0.25);
  EXPECT_THAT(store().ReportProgress({}, {id, job.token, 1, ""}), IsOk());
  Must(store().Release({}, id, job.token));
  Job next = ClaimThis(id);
  EXPECT_EQ(next.progress, std::nullopt);
  EXPECT_EQ(next.message, "");
}

TEST_P(Leases, TIME_1_WallClockJumpsNeitherEndNorExtendALease) {
  JobId id = Push().id;
  Job job = ClaimThis(id, seconds(30));
  clock().JumpWall(hours(5));
  EXPECT_EQ(Pass(seconds(15)).expired, 0);
  clock().JumpWall(-hours(10));
  EXPECT_EQ(Pass(seconds(15) - microseconds(1)).expired, 0);
  EXPECT_EQ(StateOf(id), JobState::kProcessing);
  EXPECT_EQ(Must(store().Renew({}, id, job.token)).lease_expires_at, Now() + seconds(30));
  EXPECT_EQ(Pass(seconds(30)).expired, 1);
}

TEST_P(Leases, TIME_1_WallClockJumpsDoNotMoveDueJobs) {
  JobId id = Push({.kind = "k", .delay = minutes(10)}).id;
  clock().JumpWall(hours(5));
  EXPECT_EQ(Pass(minutes(9)).promoted, 0);
  clock().JumpWall(-hours(10));
  EXPECT_EQ(Pass(minutes(1)).promoted, 1);
  EXPECT_EQ(StateOf(id), JobState::kPending);
}

TEST_P(Leases, TIME_1_TheStoresTimeNeverGoesBack) {
  Time last = Now();
  for (Duration jump : {Duration(hours(3)), Duration(-hours(6)), Duration(hours(1))}) {
    clock().JumpWall(jump);
    EXPECT_EQ(Now(), last);
    clock().Advance(seconds(1));
    EXPECT_EQ(Now(), last + seconds(1));
    last = Now();
  }
}

TEST_P(Leases, TIME_1_WallClockJumpsAcrossAReopenDoNotTouchLeases) {
  if (!traits().survives_process_kill) GTEST_SKIP() << "this store ends with its process";
  JobId id = Push().id;
  ClaimThis(id, seconds(30));
  Time before = Now();
  clock().JumpWall(hours(5));
  fixture_.Reopen();
  EXPECT_EQ(Now(), before);
  EXPECT_EQ(Pass(seconds(15)).expired, 0);
  clock().JumpWall(-hours(10));
  fixture_.Reopen();
  EXPECT_EQ(Pass(seconds(15) - microseconds(1)).expired, 0);
  EXPECT_EQ(Pass(microseconds(1)).expired, 1);
  EXPECT_EQ(StateOf(id), JobState::kPending);
}

TEST_P(Leases, TIME_1_ARestartOfTheMachineCountsByTheWallClock) {
  if (!traits().survives_process_kill) GTEST_SKIP() << "this store ends with its process";
  JobId id = Push().id;
  ClaimThis(id, seconds(30));
  Time before = Now();
  clock().Advance(seconds(10));
  clock().Reboot();
  fixture_.Reopen();
  EXPECT_GE(Now(), before);
  EXPECT_EQ(Pass(seconds(19)).expired, 0);
  EXPECT_EQ(Pass(seconds(1)).expired, 1);
  EXPECT_EQ(StateOf(id), JobState::kPending);
}

TEST_P(Leases, TIME_1_TimeDoesNotGoBackAcrossARestartWithAWrongWallClock) {
  if (!traits().keeps_time) GTEST_SKIP() << "time is that of a server";
  if (!traits().survives_process_kill) GTEST_SKIP() << "this store ends with its process";
  JobId id = Push().id;
  ClaimThis(id, seconds(30));
  Time before = Now();
  clock().Reboot();
  clock().JumpWall(-hours(5));
  fixture_.Reopen();
  EXPECT_GE(Now(), before);
  // The lease can at most start anew: it does not last until the wall clock has caught up.
  Pass(seconds(31));
  EXPECT_EQ(StateOf(id), JobState::kPending);
}

HOLDFAST_FOR_ALL_VARIANTS(Leases);

}  // namespace
}  // namespace holdfast::testing
