// JOB-7, JOB-8, JOB-9: failing, giving back, cancelling.
#include <cmath>

#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

using enum JobState;

class Retries : public StoreSuite {
 protected:
  /// Fails the job's next attempt and returns the job as it is then.
  Job FailOnce(JobId id, std::string error = "no") {
    Job job = ClaimThis(id);
    return Must(store().FailAttempt({}, {id, job.token, std::move(error)}));
  }
  void MakeDue(const Job& job) {
    Pass(job.run_at - Now());
    ASSERT_EQ(StateOf(job.id), kPending);
  }
  static double SecondsOf(Duration duration) {
    return std::chrono::duration<double>(duration).count();
  }
};

TEST_P(Retries, JOB_7_TwentyFiveAttemptsMeansTwentyFive) {
  JobId id = Push().id;
  int attempts = 0;
  while (StateOf(id) == kPending) {
    Job job = ClaimThis(id);
    EXPECT_EQ(job.attempt, ++attempts);
    Job failed = Must(store().FailAttempt({}, {id, job.token, "no", false, Duration::zero()}));
    if (failed.state != kFailed) Pass(Duration::zero());
    ASSERT_LE(attempts, 25);
  }
  EXPECT_EQ(attempts, 25);
  EXPECT_EQ(StateOf(id), kFailed);
}

TEST_P(Retries, JOB_7_ARetryWaitsTheFourthPowerOfTheAttemptInSeconds) {
  JobId id = Push().id;
  for (int attempt = 1; attempt <= 24; ++attempt) {
    Job failed = FailOnce(id);
    ASSERT_EQ(failed.state, kScheduled);
    double delay = SecondsOf(failed.run_at - Now());
    double expected = std::pow(attempt, 4);
    EXPECT_GE(delay, 0.9 * expected - 1e-6);
    EXPECT_LE(delay, 1.1 * expected + 1e-6);
    MakeDue(failed);
  }
  EXPECT_EQ(FailOnce(id).state, kFailed);
}

TEST_P(Retries, JOB_7_TheDelayIsSpreadByTenPercent) {
  double least = 2;
  double most = 0;
  for (int i = 0; i < 500 && (least >= 0.95 || most <= 1.05); ++i) {
    double delay = SecondsOf(FailOnce(Push().id).run_at - Now());
    least = std::min(least, delay);
    most = std::max(most, delay);
  }
  EXPECT_LT(least, 0.95);
  EXPECT_GT(most, 1.05);
}

TEST_P(Retries, JOB_7_AJobsOwnPolicyDecidesItsDelay) {
  JobId id = Push({.kind = "k", .retry = RetryDelay{seconds(2), 3, seconds(20), 0}}).id;
  for (int expected : {2, 6, 18, 20, 20}) {
    Job failed = FailOnce(id);
    EXPECT_EQ(failed.run_at - Now(), seconds(expected));
    MakeDue(failed);
  }
  for (int i = 0; i < 10; ++i) {
    JobId jittered = Push({.kind = "k", .retry = RetryDelay{seconds(10), 1, hours(1), 0.5}}).id;
    double delay = SecondsOf(FailOnce(jittered).run_at - Now());
    EXPECT_GE(delay, 5);
    EXPECT_LE(delay, 15);
  }
}

TEST_P(Retries, JOB_7_AFailureMayNameItsOwnDelay) {
  Job job = ClaimThis(Push().id);
  Job failed = Must(store().FailAttempt({}, {job.id, job.token, "later", false, hours(2)}));
  EXPECT_EQ(failed.state, kScheduled);
  EXPECT_EQ(failed.run_at, Now() + hours(2));
}

TEST_P(Retries, JOB_7_APermanentFailureFailsAtOnce) {
  Job job = ClaimThis(Push().id);
  Job failed = Must(store().FailAttempt({}, {job.id, job.token, "never", true}));
  EXPECT_EQ(failed.state, kFailed);
  EXPECT_EQ(failed.finished_at, Now());
  EXPECT_EQ(failed.attempt, 1);
}

TEST_P(Retries, JOB_7_TheLastTenErrorsAreKept) {
  JobId id = Push().id;
  std::vector<Time> times;
  for (int attempt = 1; attempt <= 12; ++attempt) {
    times.push_back(Now());
    MakeDue(FailOnce(id, "error " + std::to_string(attempt)));
  }
  Job job = Get(id);
  ASSERT_EQ(job.errors.size(), 10U);
  for (int i = 0; i < 10; ++i) {
    int attempt = i + 3;
    EXPECT_EQ(job.errors[i].attempt, attempt);
    EXPECT_EQ(job.errors[i].worker, "w");
    EXPECT_EQ(job.errors[i].at, times[attempt - 1]);
    EXPECT_EQ(job.errors[i].message, "error " + std::to_string(attempt));
  }
}

TEST_P(Retries, JOB_7_ALongErrorIsCutOffNotRefused) {
  Job failed = FailOnce(Push().id, std::string(4 * 1024, 'x') + "y");
  EXPECT_EQ(failed.errors.at(0).message, std::string(4 * 1024, 'x'));
  // Between characters, not within one.
  Job utf8 = FailOnce(Push().id, std::string(4 * 1024 - 1, 'x') + "ü");
  EXPECT_EQ(utf8.errors.at(0).message, std::string(4 * 1024 - 1, 'x'));
  Job odd = FailOnce(Push().id, "tab\t quote\" line\n null");
  EXPECT_EQ(odd.errors.at(0).message, "tab\t quote\" line\n null");
  EXPECT_EQ(Get(odd.id), WithoutToken(odd));
}

TEST_P(Retries, JOB_8_ReleaseGivesTheAttemptBack) {
  JobId id = Push({.kind = "k", .max_attempts = 2}).id;
  for (int i = 0; i < 5; ++i) {
    Job job = ClaimThis(id);
    EXPECT_EQ(job.attempt, 1);
    Job released = Must(store().Release({}, id, job.token));
    EXPECT_EQ(released.state, kPending);
    EXPECT_EQ(released.attempt, 0);
    EXPECT_TRUE(released.errors.empty());
    EXPECT_EQ(released.lease_expires_at, std::nullopt);
  }
  MakeDue(FailOnce(id));
  EXPECT_EQ(FailOnce(id).state, kFailed);
}

TEST_P(Retries, JOB_8_SnoozeGivesTheAttemptBackAndComesLater) {
  JobId id = Push({.kind = "k", .max_attempts = 1}).id;
  for (int i = 0; i < 3; ++i) {
    Job job = ClaimThis(id);
    Job snoozed = Must(store().Snooze({}, id, job.token, minutes(5)));
    EXPECT_EQ(snoozed.state, kScheduled);
    EXPECT_EQ(snoozed.attempt, 0);
    EXPECT_EQ(snoozed.run_at, Now() + minutes(5));
    EXPECT_EQ(Pass(minutes(5) - microseconds(1)).promoted, 0);
    EXPECT_EQ(Pass(microseconds(1)).promoted, 1);
  }
  EXPECT_EQ(FailOnce(id).state, kFailed);
}

TEST_P(Retries, JOB_9_CancellingAWaitingJobIsImmediate) {
  for (Duration delay : {Duration::zero(), Duration(hours(1))}) {
    JobId id = Push({.kind = "k", .delay = delay}).id;
    Job cancelled = Must(store().Cancel({}, id));
    EXPECT_EQ(cancelled.state, kCancelled);
    EXPECT_EQ(cancelled.finished_at, Now());
    EXPECT_EQ(Must(store().ClaimById({}, id, "w")), std::nullopt);
  }
  Pass(hours(2));
  EXPECT_TRUE(Claim({.max = 10}).empty());
}

TEST_P(Retries, JOB_9_TheNextRenewalTellsOfACancelRequest) {
  Job job = ClaimThis(Push().id);
  EXPECT_FALSE(Must(store().Renew({}, job.id, job.token)).cancel_requested);
  Job requested = Must(store().Cancel({}, job.id));
  EXPECT_EQ(requested.state, kProcessing);
  EXPECT_TRUE(requested.cancel_requested);
  EXPECT_TRUE(Must(store().Renew({}, job.id, job.token)).cancel_requested);
  EXPECT_THAT(store().Cancel({}, job.id), IsOk());
  Job ended = Must(store().Release({}, job.id, job.token));
  EXPECT_EQ(ended.state, kCancelled);
  EXPECT_EQ(ended.finished_at, Now());
}

TEST_P(Retries, JOB_9_ACancelledJobEndsWhenItsLeaseDoes) {
  Job job = ClaimThis(Push().id);
  Must(store().Cancel({}, job.id));
  Pass(seconds(31));
  EXPECT_EQ(StateOf(job.id), kCancelled);
}

TEST_P(Retries, JOB_9_WorkThatWasDoneAnywayCounts) {
  Job job = ClaimThis(Push().id);
  Must(store().Cancel({}, job.id));
  Job completed = Must(store().Complete({}, job.id, job.token, "7"));
  EXPECT_EQ(completed.state, kCompleted);
  EXPECT_EQ(completed.result, "7");
}

TEST_P(Retries, JOB_9_ARetryForgetsTheCancelRequest) {
  Job job = ClaimThis(Push().id);
  Must(store().Cancel({}, job.id));
  Must(store().Release({}, job.id, job.token));
  EXPECT_FALSE(Must(store().Retry({}, job.id)).cancel_requested);
  Job again = ClaimThis(job.id);
  EXPECT_EQ(Must(store().FailAttempt({}, {job.id, again.token, "no"})).state, kScheduled);
}

HOLDFAST_FOR_ALL_VARIANTS(Retries);

}  // namespace
}  // namespace holdfast::testing
