// Worker pools that claim before a handler is free: while that is of use, and at nobody's expense.
#include <gtest/gtest.h>

#include <atomic>

#include "contention/worker_pool_fixture.h"

namespace holdfast::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Jobs of kind "short" are done at once and make the pool claim ahead; each other kind has its own
/// handler. Priorities keep the short ones first, and the others in the order they were pushed.
class ClaimsAhead : public WorkerPools {
 protected:
  static constexpr int kShort = 100;

  void PushShort() {
    Batch batch;
    for (int i = 0; i < kShort; ++i) {
      batch.operations.emplace_back(EnqueueJob{{.kind = "short", .priority = 0}});
    }
    Must(store().Commit({}, std::move(batch)));
  }

  /// Starts a pool of one handler.
  void Start(WorkerOptions options, const Handler& work) {
    pool_ = std::make_unique<WorkerPool>(store(), std::move(options));
    pool_->Handle("short", [](Attempt&) -> Outcome { return Completed{}; });
    pool_->Handle("work", work);
    Must(pool_->Start());
  }

  std::int64_t CountOf(JobState state) {
    return Must(store().GetQueue({}, "default")).value().CountOf(state);
  }
  /// Until nothing is claimed but the job whose handler calls this.
  bool WaitUntilAlone() {
    return WaitUntilTrue([&] { return CountOf(JobState::kProcessing) == 1; });
  }

  std::unique_ptr<WorkerPool> pool_;
};

INSTANTIATE_TEST_SUITE_P(Stores, ClaimsAhead, ::testing::ValuesIn(AllVariants()),
                         [](const auto& variant) { return variant.param.name; });

TEST_P(ClaimsAhead, WhileHandlersAreShortAndGiveBackWhatDoesNotBegin) {
  PushShort();
  const std::vector<JobId> ids = PushMany(20);
  Start(Options(1), [&](Attempt& attempt) -> Outcome {
    if (attempt.job().id != ids.front()) return Completed{};
    // This one is long: what was claimed behind it goes back to those who have time.
    EXPECT_TRUE(log_.WaitFor("job_released", 1));
    EXPECT_TRUE(WaitUntilAlone());
    EXPECT_EQ(CountOf(JobState::kPending), 19);
    return Completed{};
  });
  EXPECT_TRUE(log_.WaitFor("job_completed", kShort + ids.size()));
  pool_->Stop();
  for (JobId id : ids) EXPECT_EQ(Get(id).attempt, 1) << "giving back uses up no attempt";
}

TEST_P(ClaimsAhead, NotIfToldNotTo) {
  PushShort();
  const std::vector<JobId> ids = PushMany(20);
  WorkerOptions options = Options(1);
  options.claim_ahead = 0;
  Start(options, [&](Attempt& attempt) -> Outcome {
    if (attempt.job().id != ids.front()) return Completed{};
    EXPECT_EQ(pool_->stats().claimed, kShort + 1);
    EXPECT_TRUE(WaitUntilAlone()) << "the reports of the short ones were on their way";
    EXPECT_EQ(pool_->stats().claimed, kShort + 1);
    return Completed{};
  });
  EXPECT_TRUE(log_.WaitFor("job_completed", kShort + ids.size()));
  pool_->Stop();
  EXPECT_EQ(pool_->stats().released, 0);
}

TEST_P(ClaimsAhead, NotWhileHandlersAreLong) {
  PushMany(10);
  std::atomic<int> runs = 0;
  Start(Options(1), [&](Attempt& attempt) -> Outcome {
    WaitForStop(attempt.stop(), milliseconds(25));  // how long it lasts
    EXPECT_EQ(pool_->stats().claimed, ++runs);
    return Completed{};
  });
  EXPECT_TRUE(log_.WaitFor("job_completed", 10));
  pool_->Stop();
  EXPECT_EQ(pool_->stats().released, 0);
}

TEST_P(ClaimsAhead, JOB_6_NotBehindAJobWhoseLeaseRanOut) {
  PushShort();
  const std::vector<JobId> ids = PushMany(20);
  for (JobId id : ids) ASSERT_TRUE(Must(store().ClaimById({}, id, "killed")));
  fixture_.Pass(seconds(31));
  // One of these may have ended its worker. If it ends this pool, too, it must be alone.
  std::atomic<int> expired = 0;
  Start(Options(1), [&](Attempt& attempt) -> Outcome {
    if (attempt.job().lease_expiries == 0) return Completed{};  // was given back meanwhile
    ++expired;
    EXPECT_TRUE(WaitUntilAlone());
    return Completed{};
  });
  EXPECT_TRUE(log_.WaitFor("job_completed", kShort + ids.size()));
  pool_->Stop();
  EXPECT_GT(expired, 0);
  for (JobId id : ids) EXPECT_EQ(Get(id).attempt, 2) << "killed, then run once";
}

TEST_P(ClaimsAhead, JOB_9_EndAJobThatIsCancelledBeforeItBeginsWithoutRunningIt) {
  PushShort();
  const std::vector<JobId> ids = PushMany(2);
  WorkerOptions options = Options(1);
  options.lease = milliseconds(900);  // renewed every 300, of which the pool hears of it
  Runs runs;
  Start(options, [&](Attempt& attempt) -> Outcome {
    runs.Add(attempt.job().id);
    EXPECT_TRUE(WaitUntilTrue([&] { return Get(ids.back()).state == JobState::kProcessing; }));
    Must(store().Cancel({}, ids.back()));
    // The second renewal is sent when the first is answered. Or it was given back meanwhile.
    for (int renewals = 0; renewals < 2; ++renewals) {
      const auto before = Get(ids.back()).lease_expires_at;
      fixture_.clock().Advance(milliseconds(1));
      EXPECT_TRUE(
          WaitUntilTrue([&] { return !before || Get(ids.back()).lease_expires_at != before; }));
    }
    return Completed{};
  });
  EXPECT_TRUE(log_.WaitFor("job_released", 1));
  pool_->Stop();
  EXPECT_EQ(Get(ids.back()).state, JobState::kCancelled);
  EXPECT_EQ(runs.Get(), (std::map<JobId, int>{{ids.front(), 1}}));
}

TEST_P(ClaimsAhead, CountTheTimeOfAnAttemptFromWhereItBegins) {
  PushShort();
  const std::vector<JobId> ids = PushMany(2);
  WorkerOptions options = Options(1);
  options.timeout = milliseconds(500);
  std::atomic<bool> was_ahead = false;
  std::atomic<StopReason> first = StopReason::kNone;
  std::atomic<StopReason> second = StopReason::kNone;
  Start(options, [&](Attempt& attempt) -> Outcome {
    if (attempt.job().id == ids.front()) {
      was_ahead = Get(ids.back()).state == JobState::kProcessing;
      first = ReasonToEnd(attempt);
    } else {
      second = attempt.stop_reason();
    }
    return Completed{};
  });
  EXPECT_TRUE(log_.WaitFor("job_completed", kShort + 1));
  EXPECT_TRUE(log_.WaitFor("job_retried", 1));
  pool_->Stop();
  EXPECT_EQ(first, StopReason::kTimeout);
  EXPECT_EQ(second, StopReason::kNone) << "claimed ahead: " << was_ahead;
}

}  // namespace
}  // namespace holdfast::testing
