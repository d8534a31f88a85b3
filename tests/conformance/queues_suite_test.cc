// JOB-11, JOB-13: queues paused, bounded and limited; finished jobs pruned.
#include <thread>

#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

using enum JobState;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Queues : public StoreSuite {
 protected:
  Queue Set(SetQueue change) {
    if (change.name.empty()) change.name = "default";
    return Must(store().Set({}, std::move(change)));
  }
  static std::optional<std::optional<std::int64_t>> Bound(std::int64_t value) {
    return std::optional<std::int64_t>(value);
  }
  static std::optional<std::optional<std::int64_t>> NoBound() {
    return std::optional<std::int64_t>();
  }
};

TEST_P(Queues, JOB_11_AQueueComesToBeWithItsFirstJobOrSetting) {
  EXPECT_THAT(Must(store().ListQueues({})).items, IsEmpty());
  Push({.kind = "k", .queue = "b"});
  Set({.name = "a", .paused = true});
  std::vector<Queue> queues = Must(store().ListQueues({})).items;
  ASSERT_EQ(queues.size(), 2U);
  EXPECT_EQ(queues[0].name, "a");
  EXPECT_EQ(queues[1].name, "b");
  EXPECT_FALSE(queues[1].paused);
  EXPECT_FALSE(queues[1].audit);
  EXPECT_EQ(queues[1].max_pending, std::nullopt);
  EXPECT_EQ(queues[1].max_running, std::nullopt);
  EXPECT_EQ(queues[1].retain_completed, hours(24));
  EXPECT_EQ(queues[1].retain_failed, hours(24 * 7));
}

TEST_P(Queues, JOB_11_QueuesAreListedByPagesAndReadOneByOne) {
  for (const char* name : {"c", "a", "b"}) Push({.kind = "k", .queue = name});
  QueuePage first = Must(store().ListQueues({}, {.limit = 2}));
  ASSERT_EQ(first.items.size(), 2U);
  EXPECT_EQ(first.items[1].name, "b");
  EXPECT_EQ(first.next_cursor, "b");
  QueuePage second = Must(store().ListQueues({}, {.limit = 2, .cursor = first.next_cursor}));
  ASSERT_EQ(second.items.size(), 1U);
  EXPECT_EQ(second.items[0], Must(store().GetQueue({}, "c")));
  EXPECT_EQ(second.items[0].oldest_pending_at, Now());
  EXPECT_THAT(second.next_cursor, IsEmpty());
  EXPECT_EQ(Must(store().GetQueue({}, "d")), std::nullopt);
  EXPECT_THAT(store().ListQueues({}, {.limit = 0}), StatusIs(ErrorCode::kInvalidArgument));
  EXPECT_THAT(store().ListQueues({}, {.limit = 1'001}), StatusIs(ErrorCode::kInvalidArgument));
  EXPECT_THAT(store().ListQueues({}, {.cursor = "a b"}), StatusIs(ErrorCode::kInvalidArgument));
}

TEST_P(Queues, JOB_11_TheTotalsAreTheSumOfTheQueues) {
  Push({.kind = "k", .queue = "a"});
  Push({.kind = "k", .queue = "b"});
  Push({.kind = "k", .queue = "b", .delay = hours(1)});
  Job job = ClaimOne();
  Must(store().Complete({}, job.id, job.token));
  Must(store().Cancel({}, Push({.kind = "k", .queue = "c"}).id));
  Pass(hours(25));  // prunes what is completed
  StoreStats stats = Must(store().GetStats({}));
  std::array<std::int64_t, kJobStateCount> sum{};
  std::vector<Queue> queues = Must(store().ListQueues({})).items;
  for (const Queue& queue : queues) {
    for (std::size_t i = 0; i < kJobStateCount; ++i) sum[i] += queue.counts[i];
  }
  EXPECT_EQ(stats.counts, sum);
  EXPECT_EQ(stats.queues, 3);
}

TEST_P(Queues, JOB_11_OnlyWhatIsNamedIsSet) {
  Set({.paused = true, .max_pending = Bound(5), .max_running = Bound(3), .audit = true});
  Queue queue = Set({.max_running = NoBound(), .retain_failed = hours(1)});
  EXPECT_TRUE(queue.paused);
  EXPECT_EQ(queue.max_pending, 5);
  EXPECT_EQ(queue.max_running, std::nullopt);
  EXPECT_TRUE(queue.audit);
  EXPECT_EQ(queue.retain_completed, hours(24));
  EXPECT_EQ(queue.retain_failed, hours(1));
  EXPECT_EQ(GetQueue(), queue);
}

TEST_P(Queues, JOB_11_SettingsSurviveWhatTheStoreSurvives) {
  if (!traits().survives_process_kill) GTEST_SKIP() << "this store ends with its process";
  Set({.paused = true,
       .max_pending = Bound(5),
       .max_running = Bound(0),
       .audit = true,
       .retain_completed = seconds(1),
       .retain_failed = minutes(1)});
  Push();
  Queue before = GetQueue();
  fixture_.Reopen();
  EXPECT_EQ(GetQueue(), before);
  EXPECT_THAT(Claim({}), IsEmpty());
}

TEST_P(Queues, JOB_11_NothingIsClaimedFromAPausedQueue) {
  JobId id = Push().id;
  JobId other = Push({.kind = "k", .queue = "other"}).id;
  Set({.paused = true});
  std::vector<Job> claimed = Claim({.max = 10});
  ASSERT_EQ(claimed.size(), 1U);
  EXPECT_EQ(claimed[0].id, other);
  EXPECT_EQ(Must(store().ClaimById({}, id, "w")), std::nullopt);
  EXPECT_EQ(StateOf(Push().id), kPending);  // it still takes jobs
  Set({.paused = false});
  EXPECT_EQ(Claim({.max = 10}).size(), 2U);
}

TEST_P(Queues, JOB_11_WorkUnderWayInAPausedQueueCanBeReported) {
  Push();
  Job job = ClaimOne();
  Set({.paused = true});
  EXPECT_THAT(store().Renew({}, job.id, job.token), IsOk());
  EXPECT_THAT(store().Complete({}, job.id, job.token), IsOk());
}

TEST_P(Queues, JOB_11_ResumingWakesThoseWhoWait) {
  Push();
  Set({.paused = true});
  std::vector<Job> claimed;
  {
    std::jthread waiter([&] { claimed = Claim({.wait = seconds(60)}); });
    Set({.paused = false});
  }
  EXPECT_EQ(claimed.size(), 1U);
}

TEST_P(Queues, JOB_11_AFullQueueTakesNothing) {
  Set({.max_pending = Bound(2)});
  Push();
  Push({.kind = "k", .delay = hours(1)});  // scheduled jobs count as well
  Queue before = GetQueue();
  Result<Job> refused = store().Enqueue({}, {.kind = "k"});
  ASSERT_THAT(refused, StatusIs(ErrorCode::kQueueFull,
                                ::testing::AllOf(HasSubstr("default"), HasSubstr("2"))));
  EXPECT_TRUE(refused.error().detail.retry_after.has_value());
  EXPECT_EQ(GetQueue(), before);
  EXPECT_EQ(Must(store().ListJobs({}, {})).items.size(), 2U);
  EXPECT_THAT(store().Enqueue({}, {.kind = "k", .queue = "other"}), IsOk());
  ClaimOne();
  EXPECT_THAT(store().Enqueue({}, {.kind = "k"}), IsOk());
  Set({.max_pending = NoBound()});
  EXPECT_THAT(store().Enqueue({}, {.kind = "k"}), IsOk());
}

TEST_P(Queues, JOB_11_JobsThatComeBackAreNotRefusedByAFullQueue) {
  for (int i = 0; i < 4; ++i) Push();
  std::vector<Job> jobs = Claim({.max = 4});
  Must(store().Cancel({}, Push().id));
  JobId cancelled = Must(store().ListJobs({}, {.state = kCancelled})).items.at(0).id;
  Set({.max_pending = Bound(0)});
  EXPECT_THAT(store().FailAttempt({}, {jobs[0].id, jobs[0].token, "no"}), IsOk());
  EXPECT_THAT(store().Release({}, jobs[1].id, jobs[1].token), IsOk());
  EXPECT_THAT(store().Snooze({}, jobs[2].id, jobs[2].token, seconds(1)), IsOk());
  EXPECT_THAT(store().Retry({}, cancelled), IsOk());
  Pass(seconds(31));
  EXPECT_EQ(CountOf(kPending), 5);
  EXPECT_THAT(store().Enqueue({}, {.kind = "k"}), StatusIs(ErrorCode::kQueueFull));
}

TEST_P(Queues, JOB_11_TheBoundHoldsUnderConcurrency) {
  Set({.max_pending = Bound(10)});
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < 5; ++n) {
          Result<Job> job = store().Enqueue({}, {.kind = "k"});
          if (!job) {
            EXPECT_EQ(job.error().code, ErrorCode::kQueueFull);
          }
        }
      });
    }
  }
  EXPECT_EQ(CountOf(kPending), 10);
}

TEST_P(Queues, JOB_11_ALimitedQueueRunsNoMoreThanItMay) {
  for (int i = 0; i < 5; ++i) Push();
  Set({.max_running = Bound(2)});
  std::vector<Job> jobs = Claim({.max = 5});
  ASSERT_EQ(jobs.size(), 2U);
  EXPECT_THAT(Claim({.max = 5}), IsEmpty());
  JobId waiting = Must(store().ListJobs({}, {.state = kPending})).items.at(0).id;
  EXPECT_EQ(Must(store().ClaimById({}, waiting, "w")), std::nullopt);
  Must(store().Complete({}, jobs[0].id, jobs[0].token));
  EXPECT_EQ(Claim({.max = 5}).size(), 1U);
  Set({.max_running = Bound(0)});
  EXPECT_THAT(Claim({.max = 5}), IsEmpty());
  Set({.max_running = NoBound()});
  EXPECT_EQ(Claim({.max = 5}).size(), 2U);
}

TEST_P(Queues, JOB_11_ALimitedQueueDoesNotHoldUpOthers) {
  Set({.max_running = Bound(1)});
  for (int i = 0; i < 3; ++i) Push({.kind = "k", .priority = 0});
  JobId other = Push({.kind = "k", .queue = "other", .priority = 9}).id;
  std::vector<Job> jobs = Claim({.max = 10});
  ASSERT_EQ(jobs.size(), 2U);
  EXPECT_EQ(jobs[1].id, other);
}

TEST_P(Queues, JOB_11_TheLimitHoldsUnderConcurrency) {
  for (int i = 0; i < 20; ++i) Push();
  Set({.max_running = Bound(7)});
  std::atomic<std::size_t> claimed = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] { claimed += Claim({.max = 3}).size(); });
    }
  }
  EXPECT_EQ(claimed, 7U);
  EXPECT_EQ(CountOf(kProcessing), 7);
}

TEST_P(Queues, JOB_11_APlaceThatBecomesFreeWakesThoseWhoWait) {
  Push();
  Push();
  Set({.max_running = Bound(1)});
  Job running = ClaimOne();
  std::vector<Job> claimed;
  {
    std::jthread waiter([&] { claimed = Claim({.wait = seconds(60)}); });
    Must(store().Complete({}, running.id, running.token));
  }
  EXPECT_EQ(claimed.size(), 1U);
}

TEST_P(Queues, JOB_11_AQueueTellsWhatIsInIt) {
  Time first = Now();
  Push();
  clock().Advance(seconds(5));
  Push();
  Push({.kind = "k", .delay = hours(1)});
  Job running = ClaimThis(Push().id);
  Queue queue = GetQueue();
  EXPECT_EQ(queue.CountOf(kPending), 2);
  EXPECT_EQ(queue.CountOf(kScheduled), 1);
  EXPECT_EQ(queue.CountOf(kProcessing), 1);
  EXPECT_EQ(queue.Waiting(), 3);
  EXPECT_EQ(queue.oldest_pending_at, first);
  Claim({.max = 2});
  EXPECT_EQ(GetQueue().oldest_pending_at, std::nullopt);
  StoreStats stats = Must(store().GetStats({}));
  EXPECT_EQ(stats.queues, 1);
  EXPECT_EQ(stats.counts, GetQueue().counts);
}

class Pruning : public Queues {
 protected:
  struct Finished {
    JobId completed, failed, cancelled;
  };
  Finished MakeFinished(const std::string& queue = "default") {
    Finished ids;
    auto claimed = [&] { return ClaimThis(Push({.kind = "k", .queue = queue}).id); };
    Job job = claimed();
    ids.completed = Must(store().Complete({}, job.id, job.token)).id;
    job = claimed();
    ids.failed = Must(store().FailAttempt({}, {job.id, job.token, "no", true})).id;
    ids.cancelled = Must(store().Cancel({}, Push({.kind = "k", .queue = queue}).id)).id;
    return ids;
  }
  bool Exists(JobId id) { return Must(store().GetJob({}, id)).has_value(); }
};

TEST_P(Pruning, JOB_13_FinishedJobsAreKeptAsLongAsTheirQueueSays) {
  Finished ids = MakeFinished();
  Pass(hours(24) - seconds(1));
  EXPECT_TRUE(Exists(ids.completed));
  EXPECT_TRUE(Exists(ids.cancelled));
  Pass(seconds(2));
  EXPECT_FALSE(Exists(ids.completed));
  EXPECT_FALSE(Exists(ids.cancelled));
  EXPECT_TRUE(Exists(ids.failed));
  Pass(hours(24 * 6) - seconds(2));
  EXPECT_TRUE(Exists(ids.failed));
  Pass(seconds(2));
  EXPECT_FALSE(Exists(ids.failed));
  EXPECT_EQ(GetQueue().counts, Queue{}.counts);
}

TEST_P(Pruning, JOB_13_RetentionIsPerQueue) {
  Set({.name = "short", .retain_completed = minutes(1), .retain_failed = minutes(2)});
  Finished brief = MakeFinished("short");
  Finished normal = MakeFinished();
  Pass(minutes(1) + seconds(1));
  EXPECT_FALSE(Exists(brief.completed));
  EXPECT_FALSE(Exists(brief.cancelled));
  EXPECT_TRUE(Exists(brief.failed));
  Pass(minutes(1));
  EXPECT_FALSE(Exists(brief.failed));
  EXPECT_TRUE(Exists(normal.completed));
  EXPECT_TRUE(Exists(normal.failed));
}

TEST_P(Pruning, JOB_13_LiveJobsAreNeverPruned) {
  Set({.retain_completed = Duration::zero(), .retain_failed = Duration::zero()});
  JobId pending = Push({.kind = "k", .priority = 9}).id;
  JobId scheduled = Push({.kind = "k", .delay = hours(24 * 3000)}).id;
  Job running = ClaimThis(Push().id, hours(24));
  MakeFinished();
  for (int day = 0; day < 10; ++day) {
    Pass(hours(23));
    Must(store().Renew({}, running.id, running.token, hours(24)));
  }
  EXPECT_EQ(StateOf(pending), kPending);
  EXPECT_EQ(StateOf(scheduled), kScheduled);
  EXPECT_EQ(StateOf(running.id), kProcessing);
  EXPECT_EQ(Must(store().ListJobs({}, {})).items.size(), 3U);
}

TEST_P(Pruning, JOB_13_PruningIsBoundedWork) {
  constexpr int kJobs = 2'500;
  for (int done = 0; done < kJobs; done += 500) {
    Batch push;
    for (int i = 0; i < 500; ++i) push.operations.push_back(EnqueueJob{{.kind = "k"}});
    Receipt receipt = Must(store().Commit({}, push));
    Batch cancel;
    for (const OperationResult& result : receipt.results) {
      cancel.operations.push_back(CancelJob{result.job->id});
    }
    Must(store().Commit({}, cancel));
  }
  JobId live = Push().id;
  clock().Advance(hours(24) + seconds(1));
  std::int64_t pruned = 0;
  for (int step = 0; pruned < kJobs; ++step) {
    ASSERT_LT(step, 100);
    MaintainReport report = Must(backing().Maintain({}));
    EXPECT_LE(report.pruned, 1'000);
    pruned += report.pruned;
    EXPECT_EQ(CountOf(kCancelled), kJobs - pruned);
    EXPECT_EQ(report.more, pruned < kJobs);
  }
  EXPECT_EQ(pruned, kJobs);
  EXPECT_EQ(StateOf(live), kPending);
}

HOLDFAST_FOR_ALL_VARIANTS(Queues);
HOLDFAST_FOR_ALL_VARIANTS(Pruning);

}  // namespace
}  // namespace holdfast::testing
