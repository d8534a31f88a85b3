// The worker pool over every store: each job once, the four ways to end, and every reason to stop.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <map>
#include <thread>

#include "contention/worker_pool_fixture.h"

namespace holdfast::testing {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::HasSubstr;

INSTANTIATE_TEST_SUITE_P(Stores, WorkerPools, ::testing::ValuesIn(AllVariants()),
                         [](const auto& variant) { return variant.param.name; });

TEST_P(WorkerPools, RunEachOfManyPendingJobsOnceWithSixteenHandlers) {
  const std::vector<JobId> ids = PushMany(Scaled(2000, 200));
  Runs runs;
  WorkerPool pool(store(), Options(16));
  pool.Handle("work", [&](Attempt& attempt) -> Outcome {
    runs.Add(attempt.job().id);
    return Completed{std::to_string(attempt.job().id)};
  });
  Must(pool.Start());
  EXPECT_TRUE(log_.WaitFor("job_completed", ids.size(), seconds(120)));
  pool.Stop();

  for (JobId id : ids) {
    Job job = Get(id);
    ASSERT_EQ(job.state, JobState::kCompleted) << id;
    ASSERT_EQ(job.result, std::to_string(id));
    ASSERT_EQ(job.attempt, 1);
  }
  std::map<JobId, int> counts = runs.Get();
  EXPECT_EQ(counts.size(), ids.size());
  for (const auto& [id, count] : counts) ASSERT_EQ(count, 1) << "job " << id;
  WorkerStats stats = pool.stats();
  EXPECT_EQ(stats.claimed, static_cast<std::int64_t>(ids.size()));
  EXPECT_EQ(stats.completed, static_cast<std::int64_t>(ids.size()));
  EXPECT_EQ(stats.failed + stats.released + stats.lost + stats.running, 0);
}

TEST_P(WorkerPools, WakeForAJobThatComesWhileTheyWait) {
  Job job = RunOne(
      Options(), [](Attempt&) -> Outcome { return Completed{}; }, "job_completed");
  EXPECT_EQ(job.state, JobState::kCompleted);
  EXPECT_EQ(job.worker, "pool");
}

TEST_P(WorkerPools, LoseNothingWhenTheyStartAndStopFiftyTimes) {
  std::vector<JobId> ids;
  Runs runs;
  for (int round = 0; round < 50; ++round) {
    std::vector<JobId> more = PushMany(20);  // so that no round runs dry
    ids.insert(ids.end(), more.begin(), more.end());
    RecordingLog log;
    WorkerOptions options = Options(4);
    options.log = &log;
    WorkerPool pool(store(), options);
    pool.Handle("work", [&](Attempt& attempt) -> Outcome {
      runs.Add(attempt.job().id);
      return Completed{};
    });
    Must(pool.Start());
    // Some rounds stop in the middle of work, some at once, some after a few jobs.
    if (round % 3 != 0)
      log.WaitFor("job_completed", static_cast<std::size_t>(round % 7), seconds(1));
    pool.Stop();
    Queue queue = Must(store().GetQueue({}, "default")).value();
    ASSERT_EQ(queue.CountOf(JobState::kProcessing), 0) << "round " << round;
    WorkerStats stats = pool.stats();
    ASSERT_EQ(stats.claimed, stats.completed + stats.released) << "round " << round;
    ASSERT_EQ(stats.failed + stats.lost, 0) << "round " << round;
  }
  int completed = 0;
  std::map<JobId, int> counts = runs.Get();
  for (JobId id : ids) {
    Job job = Get(id);
    ASSERT_EQ(job.attempt, job.state == JobState::kCompleted ? 1 : 0) << id;
    ASSERT_EQ(counts[id], job.attempt) << id;
    completed += job.state == JobState::kCompleted ? 1 : 0;
  }
  EXPECT_GT(completed, 0);
}

TEST_P(WorkerPools, JOB_9_EndTheHandlerOfACancelledJobAndTheJobEndsCancelled) {
  WorkerOptions options = Options();
  options.lease = seconds(3);  // hears of it after one
  WorkerPool pool(store(), options);
  std::atomic<StopReason> reason = StopReason::kNone;
  pool.Handle("work", [&](Attempt& attempt) -> Outcome {
    reason = ReasonToEnd(attempt);
    return Failed{.error = "interrupted"};
  });
  Must(pool.Start());
  Job job = Push();
  ASSERT_TRUE(log_.WaitFor("job_started", 1));
  EXPECT_TRUE(Must(store().Cancel({}, job.id)).cancel_requested);
  ASSERT_TRUE(log_.WaitFor("job_released", 1));
  pool.Stop();
  EXPECT_EQ(reason, StopReason::kCancelled);
  EXPECT_EQ(Get(job.id).state, JobState::kCancelled);
  EXPECT_EQ(log_.All("job_released").front().fields["state"], "cancelled");
}

TEST_P(WorkerPools, JOB_9_HearOfACancelWithTheirNextProgress) {
  std::atomic<StopReason> reason = StopReason::kNone;
  WorkerPool pool(store(), Options());  // the first renewal is ten seconds away
  pool.Handle("work", [&](Attempt& attempt) -> Outcome {
    Must(store().Cancel({}, attempt.job().id));
    Must(attempt.ReportProgress(0.5, "half"));
    reason = attempt.stop_reason();
    return Released{};
  });
  Must(pool.Start());
  Job job = Push();
  ASSERT_TRUE(log_.WaitFor("job_released", 1));
  pool.Stop();
  EXPECT_EQ(reason, StopReason::kCancelled);
  EXPECT_EQ(Get(job.id).state, JobState::kCancelled);
}

TEST_P(WorkerPools, JOB_5_EndTheHandlerWhoseLeaseWasLostAndReportNothing) {
  WorkerOptions options = Options();
  options.lease = milliseconds(900);
  WorkerPool pool(store(), options);
  std::atomic<StopReason> reason = StopReason::kNone;
  pool.Handle("work", [&](Attempt& attempt) -> Outcome {
    reason = ReasonToEnd(attempt);
    return Completed{R"("from the grave")"};
  });
  Must(pool.Start());
  Job job = Push();
  ASSERT_TRUE(log_.WaitFor("job_started", 1));
  Must(store().Set({}, {.name = "default", .paused = true}));  // nobody takes it again
  // A renewal that comes between gives the lease back its length: until one comes too late.
  while (fixture_.Pass(seconds(2)).expired == 0) {
  }
  ASSERT_TRUE(log_.WaitFor("lease_lost", 1));
  pool.Stop();
  EXPECT_EQ(reason, StopReason::kLeaseLost);
  job = Get(job.id);
  EXPECT_EQ(job.state, JobState::kPending);
  EXPECT_EQ(job.result, std::nullopt);
  EXPECT_EQ(pool.stats().lost, 1);
  EXPECT_EQ(pool.stats().completed, 0);
}

TEST_P(WorkerPools, JOB_5_CountALateOutcomeAsLostWhenASuccessorHoldsTheJob) {
  Token successor = 0;
  WorkerPool pool(store(), Options(1));  // while its one handler is busy, it takes nothing
  pool.Handle("work", [&](Attempt& attempt) -> Outcome {
    // This worker is paused past its lease, and another one takes the job.
    fixture_.Pass(seconds(31));
    successor = Must(store().ClaimById({}, attempt.job().id, "successor")).value().token;
    EXPECT_GT(successor, attempt.job().token);
    Batch batch{.guards = {attempt.Guard()}, .operations = {EnqueueJob{{.kind = "child"}}}};
    EXPECT_THAT(store().Commit({}, batch), StatusIs(ErrorCode::kFenced));
    return Completed{R"("late")"};
  });
  Must(pool.Start());
  Job job = Push();
  ASSERT_TRUE(log_.WaitFor("lease_lost", 1));
  pool.Stop();
  EXPECT_EQ(pool.stats().lost, 1);
  EXPECT_EQ(pool.stats().completed, 0);
  EXPECT_EQ(Get(job.id).state, JobState::kProcessing);
  EXPECT_EQ(Get(job.id).worker, "successor");
  EXPECT_THAT(store().Complete({}, job.id, successor), IsOk());
}

TEST_P(WorkerPools, JOB_5_RefuseTheProgressOfALostLeaseAndEndTheHandler) {
  StopReason reason = StopReason::kNone;
  WorkerPool pool(store(), Options());
  pool.Handle("work", [&](Attempt& attempt) -> Outcome {
    EXPECT_THAT(attempt.ReportProgress(0.25, "a quarter"), IsOk());
    Must(store().Set({}, {.name = "default", .paused = true}));
    fixture_.Pass(seconds(31));
    EXPECT_THAT(attempt.ReportProgress(0.5, "half"), StatusIs(ErrorCode::kFenced));
    reason = attempt.stop_reason();
    EXPECT_THAT(attempt.ReportProgress(0.75, "more"), StatusIs(ErrorCode::kFenced));
    return Completed{};
  });
  Must(pool.Start());
  Job job = Push();
  ASSERT_TRUE(log_.WaitFor("lease_lost", 1));
  pool.Stop();
  EXPECT_EQ(reason, StopReason::kLeaseLost);
  EXPECT_EQ(log_.All("lease_lost").size(), 1u);
  EXPECT_EQ(Get(job.id).state, JobState::kPending);
}

TEST_P(WorkerPools, ShowTheProgressOfAnAttempt) {
  Job seen;
  Job job = RunOne(
      Options(),
      [&](Attempt& attempt) -> Outcome {
        Must(attempt.ReportProgress(0.5, "half"));
        seen = Get(attempt.job().id);
        EXPECT_THAT(attempt.ReportProgress(1.5, ""), StatusIs(ErrorCode::kInvalidArgument));
        EXPECT_FALSE(attempt.stop().stop_requested());
        return Completed{};
      },
      "job_completed");
  EXPECT_EQ(seen.progress, 0.5);
  EXPECT_EQ(seen.message, "half");
  EXPECT_EQ(job.state, JobState::kCompleted);
}

TEST_P(WorkerPools, FailTheAttemptThatIsOutOfTime) {
  WorkerOptions options = Options();
  options.timeout = milliseconds(50);
  std::atomic<StopReason> reason = StopReason::kNone;
  Job job = RunOne(
      options,
      [&](Attempt& attempt) -> Outcome {
        reason = ReasonToEnd(attempt);
        return Completed{};
      },
      "job_retried");
  EXPECT_EQ(reason, StopReason::kTimeout);
  EXPECT_EQ(job.state, JobState::kScheduled);
  ASSERT_EQ(job.errors.size(), 1u);
  EXPECT_EQ(job.errors.front().message, "timed out after 50ms");
}

TEST_P(WorkerPools, JOB_8_GiveBackWhatDoesNotEndInTimeAndUseUpNoAttempt) {
  WorkerOptions options = Options();
  options.grace = milliseconds(20);
  std::atomic<StopReason> reason = StopReason::kNone;
  WorkerPool pool(store(), options);
  pool.Handle("work", [&](Attempt& attempt) -> Outcome {
    reason = ReasonToEnd(attempt);
    return Failed{.error = "interrupted", .permanent = true};
  });
  Must(pool.Start());
  Job job = Push();
  ASSERT_TRUE(log_.WaitFor("job_started", 1));
  pool.Stop();
  EXPECT_EQ(reason, StopReason::kShutdown);
  job = Get(job.id);
  EXPECT_EQ(job.state, JobState::kPending);
  EXPECT_EQ(job.attempt, 0);
  EXPECT_TRUE(job.errors.empty());
  EXPECT_EQ(pool.stats().released, 1);
  EXPECT_EQ(log_.All("worker_stopped").size(), 1u);
}

TEST_P(WorkerPools, KeepTheCompletionOfAHandlerThatWasToldToEnd) {
  WorkerOptions options = Options();
  options.grace = Duration::zero();
  WorkerPool pool(store(), options);
  pool.Handle("work", [&](Attempt& attempt) -> Outcome {
    ReasonToEnd(attempt);
    return Completed{R"("done all the same")"};
  });
  Must(pool.Start());
  Job job = Push();
  ASSERT_TRUE(log_.WaitFor("job_started", 1));
  pool.Stop();
  EXPECT_EQ(Get(job.id).state, JobState::kCompleted);
}

TEST_P(WorkerPools, LetHandlersFinishWithinTheGracePeriod) {
  std::latch may_finish(1);
  WorkerPool pool(store(), Options());
  pool.Handle("work", [&](Attempt& attempt) -> Outcome {
    may_finish.wait();
    EXPECT_FALSE(attempt.stop().stop_requested());
    return Completed{};
  });
  Must(pool.Start());
  Job job = Push();
  ASSERT_TRUE(log_.WaitFor("job_started", 1));
  std::jthread stopper([&] { pool.Stop(); });
  may_finish.count_down();
  pool.Stop();  // waits for the other one
  EXPECT_EQ(Get(job.id).state, JobState::kCompleted);
  EXPECT_EQ(pool.stats().running, 0);
}

TEST_P(WorkerPools, FailTheAttemptWhoseHandlerThrows) {
  WorkerPool pool(store(), Options());
  pool.Handle("std", [](Attempt&) -> Outcome { throw std::runtime_error("the disk is on fire"); });
  pool.Handle("odd", [](Attempt&) -> Outcome { throw 7; });
  Must(pool.Start());
  Job std_job = Push("std");
  Job odd_job = Push("odd");
  ASSERT_TRUE(log_.WaitFor("job_retried", 2));
  pool.Stop();
  EXPECT_EQ(Get(std_job.id).errors.at(0).message, "the disk is on fire");
  EXPECT_THAT(Get(odd_job.id).errors.at(0).message, HasSubstr("no std::exception"));
  EXPECT_EQ(pool.stats().failed, 2);
}

TEST_P(WorkerPools, FailForGoodWhenTheHandlerSaysSo) {
  Job job = RunOne(
      Options(),
      [](Attempt&) -> Outcome { return Failed{.error = "no such file", .permanent = true}; },
      "job_failed");
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(job.errors.at(0).message, "no such file");
  EXPECT_EQ(job.errors.at(0).worker, "pool");
}

TEST_P(WorkerPools, RetryAfterTheDelayThatTheHandlerNamed) {
  Job job = RunOne(
      Options(), [](Attempt&) -> Outcome { return Failed{.error = "later", .retry_in = hours(2)}; },
      "job_retried");
  EXPECT_EQ(job.state, JobState::kScheduled);
  EXPECT_EQ(job.run_at, fixture_.clock().Wall() + hours(2));
}

TEST_P(WorkerPools, JOB_8_SnoozeWithoutUsingUpTheAttempt) {
  Job job = RunOne(
      Options(), [](Attempt&) -> Outcome { return Snoozed{minutes(5)}; }, "job_released");
  EXPECT_EQ(job.state, JobState::kScheduled);
  EXPECT_EQ(job.attempt, 0);
  EXPECT_EQ(job.run_at, fixture_.clock().Wall() + minutes(5));
}

TEST_P(WorkerPools, FailTheAttemptWhoseOutcomeBreaksALimit) {
  WorkerPool pool(store(), Options());
  pool.Handle("json", [](Attempt&) -> Outcome { return Completed{"{not json"}; });
  pool.Handle("size",
              [](Attempt&) -> Outcome { return Completed{'"' + std::string(2 << 20, 'x') + '"'}; });
  pool.Handle("delay", [](Attempt&) -> Outcome { return Snoozed{-minutes(1)}; });
  Must(pool.Start());
  std::vector<JobId> ids = {Push("json").id, Push("size").id, Push("delay").id};
  ASSERT_TRUE(log_.WaitFor("job_retried", 3));
  pool.Stop();
  for (JobId id : ids) {
    EXPECT_EQ(Get(id).state, JobState::kScheduled);
    EXPECT_THAT(Get(id).errors.at(0).message, HasSubstr("the outcome was refused"));
  }
}

// K15: pools for other kinds took one another's jobs and put them off for a minute.
TEST_P(WorkerPools, JOB_3_LeaveJobsOfOtherKindsToOthers) {
  WorkerPool pool(store(), Options());
  pool.Handle("known", [](Attempt&) -> Outcome { return Completed{}; });
  Must(pool.Start());
  Job unknown = Push("unknown");
  Push("known");
  ASSERT_TRUE(log_.WaitFor("job_completed", 1));
  pool.Stop();
  EXPECT_EQ(Get(unknown.id), unknown);
  EXPECT_EQ(pool.stats().claimed, 1);
}

TEST_P(WorkerPools, JOB_12_HaveAtMostAHundredKinds) {
  WorkerPool pool(store(), Options());
  for (int i = 0; i <= 100; ++i) {
    pool.Handle("k" + std::to_string(i), [](Attempt&) -> Outcome { return Completed{}; });
  }
  EXPECT_THAT(pool.Start(), StatusIs(ErrorCode::kInvalidArgument, HasSubstr("kinds has 101")));
}

TEST_P(WorkerPools, HandTheOtherKindsToTheHandlerOfAll) {
  std::atomic<int> others = 0;
  WorkerPool pool(store(), Options());
  pool.Handle("known", [](Attempt&) -> Outcome { return Completed{}; });
  pool.Handle("*", [&](Attempt&) -> Outcome {
    ++others;
    return Completed{};
  });
  Must(pool.Start());
  for (const char* kind : {"known", "one", "two"}) Push(kind);
  ASSERT_TRUE(log_.WaitFor("job_completed", 3));
  pool.Stop();
  EXPECT_EQ(others, 2);
}

TEST_P(WorkerPools, TakeJobsOfTheirQueuesOnly) {
  WorkerOptions options = Options();
  options.queues = {"mine"};
  WorkerPool pool(store(), options);
  pool.Handle("*", [](Attempt&) -> Outcome { return Completed{}; });
  Job other = Must(store().Enqueue({}, {.kind = "work", .queue = "other"}));
  Must(pool.Start());
  Must(store().Enqueue({}, {.kind = "work", .queue = "mine"}));
  ASSERT_TRUE(log_.WaitFor("job_completed", 1));
  pool.Stop();
  EXPECT_EQ(Get(other.id).state, JobState::kPending);
}

TEST_P(WorkerPools, JOB_6_NeverSeeTheJobThatKilledThreeWorkers) {
  Job poison = Push();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Must(store().ClaimById({}, poison.id, "doomed")));
    fixture_.Pass(seconds(31));  // the worker is gone without a word
  }
  Runs runs;
  WorkerPool pool(store(), Options());
  pool.Handle("work", [&](Attempt& attempt) -> Outcome {
    runs.Add(attempt.job().id);
    return Completed{};
  });
  Must(pool.Start());
  Job good = Push();
  ASSERT_TRUE(log_.WaitFor("job_completed", 1));
  pool.Stop();
  EXPECT_EQ(runs.Get(), (std::map<JobId, int>{{good.id, 1}}));
  EXPECT_EQ(Get(poison.id).state, JobState::kFailed);
  EXPECT_THAT(Get(poison.id).errors.back().message, HasSubstr("lease_expired"));
}

TEST_P(WorkerPools, ShareAQueueSoThatEachJobIsRunOnce) {
  const std::vector<JobId> ids = PushMany(Scaled(600, 100));
  Runs runs;
  std::vector<std::unique_ptr<WorkerPool>> pools;
  for (int i = 0; i < 4; ++i) {
    WorkerOptions options = Options(3);
    options.name = "pool-" + std::to_string(i);
    pools.push_back(std::make_unique<WorkerPool>(store(), options));
    pools.back()->Handle("work", [&](Attempt& attempt) -> Outcome {
      runs.Add(attempt.job().id);
      return Completed{};
    });
    Must(pools.back()->Start());
  }
  EXPECT_TRUE(log_.WaitFor("job_completed", ids.size(), seconds(120)));
  for (auto& pool : pools) pool->Stop();
  std::map<JobId, int> counts = runs.Get();
  EXPECT_EQ(counts.size(), ids.size());
  for (const auto& [id, count] : counts) ASSERT_EQ(count, 1) << "job " << id;
}

}  // namespace
}  // namespace holdfast::testing
