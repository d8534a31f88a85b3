// Claims that wait: however pushes and claims interleave, no wake-up is lost and no job is handed
// to a claim that has given up.
#include <atomic>
#include <latch>
#include <random>
#include <set>
#include <thread>

#include "base/mutex.h"
#include "testing/store_checks.h"
#include "testing/store_suite.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

using enum JobState;

class Waiting : public StoreSuite {
 protected:
  static constexpr int kClaims = 100;

  /// Starts a blocking claim on a thread each, and returns what each of them got.
  class Waiters {
   public:
    Waiters(Store& store, int count, ClaimRequest request) : got_(count) {
      for (int i = 0; i < count; ++i) {
        threads_.emplace_back([&store, this, i, request]() mutable {
          request.worker = "w" + std::to_string(i);
          got_[i] = Must(store.Claim({}, request));
        });
      }
    }
    const std::vector<std::vector<Job>>& Join() {
      threads_.clear();
      return got_;
    }

   private:
    std::vector<std::vector<Job>> got_;
    std::vector<std::jthread> threads_;
  };

  void AwaitParked(int count) {
    ASSERT_TRUE(
        WaitUntilTrue([&] { return Must(backing().GetStats({})).waiting_claims >= count; }));
  }

  /// Every job of the queue is with somebody who knows of it, or free. A remote claim that is given
  /// up while its answer is on the way may lose it to its lease; one in this process may not.
  void AwaitAllFound(const std::string& queue, const std::set<JobId>& got) {
    auto is_lost = [&](const Job& job) {
      return job.state == kProcessing && !got.contains(job.id);
    };
    const auto give_up = std::chrono::steady_clock::now() + seconds(30);
    std::vector<Job> jobs = ListAllJobs(store(), {.queue = queue});
    while (traits().is_remote && std::ranges::any_of(jobs, is_lost)) {
      ASSERT_LT(std::chrono::steady_clock::now(), give_up);
      Pass(seconds(31));
      jobs = ListAllJobs(store(), {.queue = queue});
    }
    for (const Job& job : jobs) {
      EXPECT_FALSE(is_lost(job)) << "job " << job.id << " went to nobody";
      if (job.state == kPending) Must(store().Delete({}, job.id));
    }
  }

  static void ExpectOneEach(const std::vector<std::vector<Job>>& got) {
    std::set<JobId> ids;
    for (const std::vector<Job>& jobs : got) {
      ASSERT_EQ(jobs.size(), 1U) << "a claim was not woken, or got nothing";
      EXPECT_TRUE(ids.insert(jobs[0].id).second);
    }
  }
};

TEST_P(Waiting, JOB_3_EachOfAHundredParkedClaimsGetsOneOfAHundredJobs) {
  const int claims = Scaled(kClaims);
  Waiters waiters(store(), claims, {.wait = minutes(2)});
  AwaitParked(claims);
  for (int i = 0; i < claims; ++i) Push();
  ExpectOneEach(waiters.Join());
  EXPECT_EQ(Must(backing().GetStats({})).waiting_claims, 0);
}

TEST_P(Waiting, JOB_3_AHundredJobsInOneBatchWakeAHundredClaims) {
  const int claims = Scaled(kClaims);
  Waiters waiters(store(), claims, {.queues = {"a", "default", "b"}, .wait = minutes(2)});
  AwaitParked(claims);
  Batch batch;
  for (int i = 0; i < claims; ++i) batch.operations.push_back(EnqueueJob{{.kind = "k"}});
  Must(store().Commit({}, std::move(batch)));
  ExpectOneEach(waiters.Join());
}

TEST_P(Waiting, JOB_3_NoWakeUpIsLostBetweenLookingAndParking) {
  // Pushes race with claims that are about to park: any loss leaves a claim waiting for minutes.
  for (int round = 0; round < Scaled(10); ++round) {
    constexpr int kEach = 12;
    Waiters waiters(store(), kEach, {.wait = minutes(2)});
    for (int i = 0; i < kEach; ++i) Push();
    ExpectOneEach(waiters.Join());
  }
  EXPECT_EQ(CountOf(kPending), 0);
}

TEST_P(Waiting, JOB_3_ClaimsForDifferentQueuesGetTheirOwn) {
  const std::vector<std::string> names = {"a", "b", "c"};
  std::vector<std::unique_ptr<Waiters>> waiters;
  for (const std::string& name : names) {
    waiters.push_back(
        std::make_unique<Waiters>(store(), 10, ClaimRequest{.queues = {name}, .wait = minutes(2)}));
  }
  for (int i = 0; i < 10; ++i) {
    for (const std::string& name : names) Push({.kind = "k", .queue = name});
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto& got = waiters[i]->Join();
    ExpectOneEach(got);
    for (const auto& jobs : got) EXPECT_EQ(jobs.at(0).queue, names[i]);
  }
}

TEST_P(Waiting, JOB_3_JobsThatComeBackWakeWaitingClaims) {
  // Released, snoozed, failed, expired, resumed: each makes a job claimable, each must wake.
  for (int i = 0; i < 4; ++i) Push();
  std::vector<Job> held = Claim({.max = 4});
  ASSERT_EQ(held.size(), 4U);
  Waiters waiters(store(), 4, {.lease = hours(1), .wait = minutes(2)});
  AwaitParked(4);
  Must(store().Release({}, held[0].id, held[0].token));
  Must(store().Snooze({}, held[1].id, held[1].token, seconds(1)));
  Must(store().FailAttempt({}, {held[2].id, held[2].token, "no", false, seconds(1)}));
  Pass(seconds(31));  // due, and the last lease runs out
  ExpectOneEach(waiters.Join());
}

TEST_P(Waiting, JOB_11_APlaceUnderTheLimitWakesOneClaimAfterAnother) {
  Must(store().Set({}, {.name = "default", .max_running = std::optional<std::int64_t>(1)}));
  constexpr int kJobs = 20;
  for (int i = 0; i < kJobs; ++i) Push();
  std::vector<std::jthread> threads;
  for (int i = 0; i < kJobs; ++i) {
    threads.emplace_back([&] {
      std::vector<Job> jobs = Claim({.wait = minutes(2)});
      ASSERT_EQ(jobs.size(), 1U);
      EXPECT_EQ(CountOf(kProcessing), 1);
      Must(store().Complete({}, jobs[0].id, jobs[0].token));
    });
  }
  threads.clear();
  EXPECT_EQ(CountOf(kCompleted), kJobs);
}

TEST_P(Waiting, JOB_3_StopWaitingAnswersEverybodyAtOnce) {
  const int claims = Scaled(kClaims);
  Waiters waiters(store(), claims, {.wait = minutes(2)});
  AwaitParked(claims);
  backing().StopWaiting();
  for (const std::vector<Job>& jobs : waiters.Join()) EXPECT_TRUE(jobs.empty());
  // And nobody parks any more.
  EXPECT_TRUE(Claim({.wait = minutes(2)}).empty());
  EXPECT_EQ(Must(backing().GetStats({})).waiting_claims, 0);
}

TEST_P(Waiting, CTX_1_ClaimsThatGiveUpTakeNothingWithThem) {
  const std::uint64_t seed = PrintedSeed();
  const int claims = 20;
  for (int round = 0; round < Scaled(5); ++round) {
    std::vector<std::stop_source> sources(claims);
    base::Mutex mutex{base::LockRank::kMetrics};
    std::set<JobId> got;
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < claims; ++i) {
        threads.emplace_back([&, i] {
          Context context;
          context.stop = sources[i].get_token();
          Result<std::vector<Job>> jobs =
              store().Claim(context, {.worker = "w", .lease = hours(1), .wait = milliseconds(200)});
          if (!jobs) return;
          base::MutexLock lock(mutex);
          for (const Job& job : *jobs) EXPECT_TRUE(got.insert(job.id).second);
        });
      }
      std::mt19937_64 random(seed + round);
      for (int i = 0; i < claims; ++i) {
        if (random() % 2 == 0) sources[random() % claims].request_stop();
        if (random() % 2 == 0) Push({.kind = "round", .queue = "r" + std::to_string(round)});
      }
    }
    AwaitAllFound("r" + std::to_string(round), got);
  }
}

class AsyncWaiting : public Waiting {};

TEST_P(AsyncWaiting, JOB_3_AThousandClaimsWaitWithoutAThreadEach) {
  const int claims = Scaled(1'000);
  std::latch answered(claims);
  base::Mutex mutex{base::LockRank::kMetrics};
  std::set<JobId> got;
  for (int i = 0; i < claims; ++i) {
    store().ClaimAsync({}, {.worker = "w", .wait = minutes(2)}, [&](Result<std::vector<Job>> jobs) {
      {
        base::MutexLock lock(mutex);
        for (const Job& job : Must(std::move(jobs))) {
          EXPECT_TRUE(got.insert(job.id).second);
        }
      }
      answered.count_down();
    });
  }
  AwaitParked(claims);
  std::vector<Batch> batches;
  for (int i = 0; i < claims; ++i) batches.push_back({.operations = {EnqueueJob{{.kind = "k"}}}});
  for (const auto& result : store().CommitMany({}, std::move(batches))) EXPECT_THAT(result, IsOk());
  answered.wait();
  EXPECT_EQ(got.size(), static_cast<std::size_t>(claims));
}

HOLDFAST_FOR_ALL_VARIANTS(Waiting);
INSTANTIATE_TEST_SUITE_P(Stores, AsyncWaiting, ::testing::ValuesIn(EmbeddedVariants()),
                         VariantName);

}  // namespace
}  // namespace holdfast::testing
