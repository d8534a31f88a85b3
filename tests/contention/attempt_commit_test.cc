// Handlers that report their attempt in a batch of their own, together with what else it changes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "contention/worker_pool_fixture.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

class AttemptCommits : public WorkerPools {
 protected:
  /// Runs one job with this handler.
  Job Run(Handler handler, WorkerStats& stats) {
    WorkerPool pool(store(), Options());
    pool.Handle("work", std::move(handler));
    Must(pool.Start());
    const Job job = Push();
    EXPECT_TRUE(WaitUntilTrue([&] {
      stats = pool.stats();
      return stats.completed + stats.failed + stats.released + stats.lost > 0;
    }));
    pool.Stop();
    stats = pool.stats();
    return Get(job.id);
  }
  static Operation Done(const Attempt& attempt) {
    return CompleteJob{attempt.job().id, attempt.job().token, "7"};
  }
};

INSTANTIATE_TEST_SUITE_P(Stores, AttemptCommits, ::testing::ValuesIn(AllVariants()),
                         [](const auto& variant) { return variant.param.name; });

TEST_P(AttemptCommits, CountAsWhatTheyReport) {
  WorkerStats stats;
  const Job job = Run(
      [&](Attempt& attempt) -> Outcome {
        Must(attempt.Commit({}, {.operations = {EnqueueJob{{.kind = "next"}}, Done(attempt)}}));
        return Completed{"8"};  // the job is finished already
      },
      stats);
  EXPECT_EQ(job.state, JobState::kCompleted);
  EXPECT_EQ(job.result, "7");
  EXPECT_EQ(stats.completed, 1);
  EXPECT_EQ(stats.lost + stats.failed + stats.released, 0);
  EXPECT_EQ(log_.All("job_completed").size(), 1U);
  EXPECT_TRUE(log_.All("lease_lost").empty());
}

TEST_P(AttemptCommits, MayReportAnyOutcomeWhateverTheHandlerReturns) {
  WorkerStats stats;
  const Job job = Run(
      [&](Attempt& attempt) -> Outcome {
        const Job& mine = attempt.job();
        Must(attempt.Commit({}, {.operations = {SnoozeJob{mine.id, mine.token, hours(1)}}}));
        return Completed{};
      },
      stats);
  EXPECT_EQ(job.state, JobState::kScheduled);
  EXPECT_EQ(stats.released, 1);
  EXPECT_EQ(stats.lost + stats.completed, 0);
  EXPECT_TRUE(log_.All("lease_lost").empty());
}

TEST_P(AttemptCommits, WithoutAReportLeaveItToThePool) {
  WorkerStats stats;
  const Job job = Run(
      [&](Attempt& attempt) -> Outcome {
        Must(attempt.Commit({}, {.operations = {EnqueueJob{{.kind = "next"}}}}));
        return Completed{"8"};
      },
      stats);
  EXPECT_EQ(job.result, "8");
  EXPECT_EQ(stats.completed, 1);
}

TEST_P(AttemptCommits, ThatThePoolHasNotSeenCountToo) {
  WorkerStats stats;
  const Job job = Run(
      [&](Attempt& attempt) -> Outcome {
        Must(store().Commit({}, {.guards = {attempt.Guard()}, .operations = {Done(attempt)}}));
        // As a renewal would, this finds that the job is over, which is no loss.
        EXPECT_THAT(attempt.ReportProgress(0.5, ""), StatusIs(ErrorCode::kInvalidTransition));
        EXPECT_FALSE(attempt.stop().stop_requested());
        return Completed{};
      },
      stats);
  EXPECT_EQ(job.result, "7");
  EXPECT_EQ(stats.completed, 1);
  EXPECT_EQ(stats.lost, 0);
  EXPECT_TRUE(log_.All("lease_lost").empty());
}

TEST_P(AttemptCommits, JOB_5_AreFencedOnceTheLeaseIsLost) {
  WorkerStats stats;
  Run(
      [&](Attempt& attempt) -> Outcome {
        if (attempt.job().attempt > 1) return Completed{};  // the pool has taken it again
        fixture_.Pass(seconds(31));
        EXPECT_THAT(attempt.Commit({}, {.operations = {Done(attempt)}}),
                    StatusIs(ErrorCode::kFenced));
        EXPECT_TRUE(attempt.stop().stop_requested());
        EXPECT_THAT(attempt.Commit({}, {.operations = {EnqueueJob{{.kind = "next"}}}}),
                    StatusIs(ErrorCode::kFenced));
        return Completed{};
      },
      stats);
  EXPECT_EQ(stats.lost, 1);
  EXPECT_EQ(log_.All("lease_lost").size(), 1U);
}

/// The last attempt is over because its lease ran out: that is no report, although the job is.
TEST_P(AttemptCommits, JOB_6_AJobThatFailedBecauseItsLeaseRanOutIsLost) {
  for (int expiry = 1; expiry <= 2; ++expiry) {
    if (expiry == 1) Push();
    ASSERT_EQ(Must(store().Claim({}, {.worker = "w"})).size(), 1U);
    fixture_.Pass(seconds(31));
  }
  WorkerPool pool(store(), Options(1));
  pool.Handle("work", [&](Attempt& attempt) -> Outcome {
    fixture_.Pass(seconds(31));
    EXPECT_THAT(attempt.ReportProgress(0.5, ""), StatusIs(ErrorCode::kFenced));
    EXPECT_TRUE(attempt.stop().stop_requested());
    return Completed{};
  });
  Must(pool.Start());
  EXPECT_TRUE(log_.WaitFor("lease_lost", 1));
  pool.Stop();
  EXPECT_EQ(pool.stats().lost, 1);
}

}  // namespace
}  // namespace holdfast::testing
