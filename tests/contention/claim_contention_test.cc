// Many threads race for the same jobs: each is had by one at a time, and done once.
#include <atomic>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "testing/store_checks.h"
#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

using enum JobState;

class ClaimContention : public StoreSuite {
 protected:
  /// Runs `body(i)` on that many threads, which begin together.
  template <typename Body>
  static void RunThreads(int count, Body body) {
    std::atomic<int> ready = 0;
    std::vector<std::jthread> threads;
    for (int i = 0; i < count; ++i) {
      threads.emplace_back([&, i] {
        ++ready;
        while (ready < count) std::this_thread::yield();
        body(i);
      });
    }
  }

  std::vector<JobId> PushMany(int count, const JobSpec& spec = {.kind = "k"}) {
    std::vector<JobId> ids;
    while (count > 0) {
      Batch batch;
      for (; count > 0 && batch.operations.size() < 1'000; --count) {
        batch.operations.push_back(EnqueueJob{spec});
      }
      for (const OperationResult& result : Must(store().Commit({}, std::move(batch))).results) {
        ids.push_back(result.job->id);
      }
    }
    return ids;
  }
};

TEST_P(ClaimContention, JOB_2_FiftyThreadsClaimOneJobAndOneWins) {
  for (int round = 0; round < Scaled(5); ++round) {
    JobId id = Push().id;
    std::atomic<int> winners = 0;
    std::atomic<Token> token = 0;
    RunThreads(50, [&](int i) {
      std::optional<Job> job = Must(store().ClaimById({}, id, "w" + std::to_string(i)));
      if (!job) return;
      ++winners;
      token = job->token;
    });
    EXPECT_EQ(winners, 1);
    EXPECT_EQ(Get(id).attempt, 1);
    EXPECT_THAT(store().Complete({}, id, token), IsOk());
  }
}

TEST_P(ClaimContention, JOB_3_FiftyThreadsClaimTheNextJobAndOneWins) {
  for (int round = 0; round < Scaled(5); ++round) {
    JobId id = Push().id;
    std::atomic<int> winners = 0;
    RunThreads(50, [&](int) {
      std::vector<Job> jobs = Claim({.max = 10});
      if (jobs.empty()) return;
      EXPECT_EQ(jobs.size(), 1U);
      EXPECT_EQ(jobs[0].id, id);
      ++winners;
    });
    EXPECT_EQ(winners, 1);
  }
}

TEST_P(ClaimContention, JOB_3_SixteenThreadsDrainTenThousandJobsEachOnce) {
  const int count = Scaled(traits().is_remote ? 2'000 : 10'000);
  std::vector<JobId> ids = PushMany(count);
  std::mutex mutex;
  std::multiset<JobId> done;
  std::set<Token> tokens;
  std::atomic<Token> newest = 0;  // of the claims that have been answered
  RunThreads(16, [&](int thread) {
    std::mt19937 random(thread);
    while (true) {
      Token older = newest;
      std::vector<Job> jobs = Claim({.worker = std::to_string(thread),
                                     .max = std::uniform_int_distribution(1, 8)(random)});
      if (jobs.empty()) return;
      Token last = older;
      std::vector<Batch> finish;
      for (const Job& job : jobs) {
        // A claim that began after another was answered has larger tokens (JOB-4).
        EXPECT_GT(job.token, last);
        last = job.token;
        finish.push_back({.operations = {CompleteJob{job.id, job.token}}});
      }
      for (Token seen = newest; seen < last && !newest.compare_exchange_weak(seen, last);) {
      }
      for (const Result<Receipt>& result : store().CommitMany({}, std::move(finish))) {
        EXPECT_THAT(result, IsOk());
      }
      std::lock_guard lock(mutex);
      for (const Job& job : jobs) {
        done.insert(job.id);
        EXPECT_TRUE(tokens.insert(job.token).second) << "a token was given twice";
      }
    }
  });
  EXPECT_EQ(done, std::multiset<JobId>(ids.begin(), ids.end()));
  EXPECT_EQ(CountOf(kCompleted), count);
  ExpectCountsToBeExact(store());
}

TEST_P(ClaimContention, JOB_4_ProducersAndConsumersKeepPaceAndNothingIsLost) {
  const int count = Scaled(traits().is_remote ? 100 : 400);
  constexpr int kSide = 8;
  std::atomic<int> left = kSide * count;
  std::mutex mutex;
  std::set<JobId> done;
  RunThreads(2 * kSide, [&](int thread) {
    if (thread < kSide) {
      for (int i = 0; i < count; ++i) Push({.kind = "k", .priority = i % 10});
      return;
    }
    while (left > 0) {
      for (const Job& job : Claim({.max = 4, .wait = milliseconds(100)})) {
        EXPECT_THAT(store().Complete({}, job.id, job.token), IsOk());
        --left;
        std::lock_guard lock(mutex);
        EXPECT_TRUE(done.insert(job.id).second);
      }
    }
  });
  EXPECT_EQ(CountOf(kCompleted), kSide * count);
  ExpectCountsToBeExact(store());
}

TEST_P(ClaimContention, JOB_10_AUniqueKeyChangesHandsWithoutEverBeingHeldTwice) {
  const int rounds = Scaled(traits().is_remote ? 20 : 100);
  std::atomic<int> holders = 0;
  RunThreads(8, [&](int) {
    for (int i = 0; i < rounds; ++i) {
      Result<Job> job = store().Enqueue({}, {.kind = "u", .unique = UniqueKey{.key = "one"}});
      if (!job) {
        EXPECT_EQ(job.error().code, ErrorCode::kAlreadyExists);
        continue;
      }
      EXPECT_EQ(++holders, 1);
      --holders;
      Must(store().Cancel({}, job->id));
    }
  });
  ExpectCountsToBeExact(store());
}

TEST_P(ClaimContention, IDEM_1_ManyDuplicatesOfManyRequestsExecuteOnceEach) {
  const int keys = Scaled(traits().is_remote ? 10 : 50, 2);
  std::mutex mutex;
  std::map<int, std::set<JobId>> answers;
  RunThreads(16, [&](int) {
    for (int key = 0; key < keys; ++key) {
      Batch batch{.operations = {EnqueueJob{{.kind = "k", .payload = std::to_string(key)}}},
                  .idempotency_key = "key " + std::to_string(key)};
      JobId id = Must(store().Commit({}, std::move(batch))).results.at(0).job->id;
      std::lock_guard lock(mutex);
      answers[key].insert(id);
    }
  });
  for (const auto& [key, ids] : answers) EXPECT_EQ(ids.size(), 1U);
  EXPECT_EQ(CountOf(kPending), keys);
}

HOLDFAST_FOR_ALL_VARIANTS(ClaimContention);

}  // namespace
}  // namespace holdfast::testing
