// Workers that release, fail, stall and report too late, while time passes and leases run out: no
// job is lost, none is done twice, and nothing a stalled worker does has an effect.
#include <atomic>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "base/mutex.h"
#include "testing/store_checks.h"
#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

using enum JobState;

class Chaos : public StoreSuite {
 protected:
  Chaos() : seed_(PrintedSeed()) {}

  /// One worker's turn with one job: something a worker might do, or fail to do.
  void Work(const Job& job, std::mt19937_64& random) {
    switch (random() % 10) {
      case 0:
        Note(store().Release({}, job.id, job.token));
        break;
      case 1:
        Note(store().Snooze({}, job.id, job.token, seconds(random() % 20)));
        break;
      case 2:
        Note(store().FailAttempt({}, {job.id, job.token, "no", false, seconds(random() % 20)}));
        break;
      case 3:
        break;  // dies: the lease runs out
      case 4:
        Pass(seconds(40));  // stalls beyond its lease, then reports all the same
        Complete(job);
        break;
      case 5:
        Note(store().Renew({}, job.id, job.token, seconds(60)));
        Complete(job);
        break;
      case 6:
        Note(store().ReportProgress({}, {job.id, job.token, 0.5, "half"}));
        Complete(job);
        break;
      default:
        Complete(job);
        Complete(job);  // the answer was lost, so it reports again
    }
  }

  void Complete(const Job& job) {
    Result<Job> result = store().Complete({}, job.id, job.token);
    Note(result);
    if (!result) return;
    base::MutexLock lock(mutex_);
    EXPECT_TRUE(completed_.emplace(job.id, job.token).second) << "completed twice: " << job.id;
  }

  /// The only ways in which a report may be refused.
  static void Note(const Result<Job>& result) {
    if (result) return;
    EXPECT_THAT(result, ::testing::AnyOf(StatusIs(ErrorCode::kFenced),
                                         StatusIs(ErrorCode::kInvalidTransition)));
  }

  const std::uint64_t seed_;
  base::Mutex mutex_{base::LockRank::kMetrics};
  std::map<JobId, Token> completed_;
};

TEST_P(Chaos, JOB_5_EveryJobEndsAndNoneIsDoneTwice) {
  const int count = Scaled(traits().is_remote ? 300 : 1'500);
  constexpr int kWorkers = 8;
  // Much time passes: nothing is to be pruned before it was looked at.
  Must(store().Set({}, {.name = "default",
                        .retain_completed = hours(24 * 3'000),
                        .retain_failed = hours(24 * 3'000)}));
  for (int i = 0; i < count; ++i) Push({.kind = "k", .priority = i % 10, .max_attempts = 1'000});
  std::atomic<bool> is_over = false;
  {
    std::vector<std::jthread> threads;
    for (int worker = 0; worker < kWorkers; ++worker) {
      threads.emplace_back([&, worker] {
        std::mt19937_64 random(seed_ + worker);
        while (!is_over) {
          std::vector<Job> jobs =
              Claim({.worker = std::to_string(worker), .max = static_cast<int>(1 + random() % 5)});
          for (const Job& job : jobs) Work(job, random);
          if (jobs.empty()) Pass(seconds(5));
        }
      });
    }
    threads.emplace_back([&] {
      std::mt19937_64 random(seed_ - 1);
      int cancels = count / 10;
      while (!is_over) {
        // Somebody cancels something, now and then.
        if (cancels > 0 && random() % 4 == 0) {
          (void)store().Cancel({}, 1 + static_cast<JobId>(random() % count));
          --cancels;
        }
        Queue queue = GetQueue();
        is_over = queue.Waiting() + queue.CountOf(kProcessing) == 0;
      }
    });
  }
  std::int64_t completed = 0;
  for (const Job& job : ListAllJobs(store())) {
    EXPECT_FALSE(kLiveStates.Has(job.state));
    EXPECT_EQ(job.state == kCompleted, completed_.contains(job.id)) << "job " << job.id;
    completed += job.state == kCompleted ? 1 : 0;
    if (job.state == kFailed) {
      EXPECT_EQ(job.lease_expiries, 3);
    }
  }
  std::fprintf(stderr, "%lld of %d completed\n", static_cast<long long>(completed), count);
  EXPECT_GT(completed, count / 10);  // how many depends on how the threads are scheduled
  ExpectCountsToBeExact(store());
}

TEST_P(Chaos, JOB_5_AStalledWorkersEffectsNeverMixWithItsSuccessors) {
  // Every attempt leaves traces under a guard. Seen in the order of their commits, the token of the
  // traces never goes back: whoever was superseded has no effect any more.
  constexpr int kWorkers = 6;
  std::atomic<int> left = Scaled(traits().is_remote ? 60 : 300);
  JobId source = Push({.kind = "source", .queue = "source", .max_attempts = 1'000}).id;
  Must(store().Apply({}, {.name = "log", .rules = "{}"}));
  Must(store().Create({}, {.kind = "log", .id = "effects", .data = R"({"tokens":[]})"}));
  std::atomic<int> refused = 0;
  {
    std::vector<std::jthread> threads;
    for (int worker = 0; worker < kWorkers; ++worker) {
      threads.emplace_back([&, worker] {
        std::mt19937_64 random(seed_ + worker);
        while (left > 0) {
          std::optional<Job> job = Must(store().ClaimById({}, source, std::to_string(worker)));
          if (!job) {
            (void)store().Retry({}, source);  // if too many stalled in a row
            continue;
          }
          --left;
          for (int effect = 0; effect < 3; ++effect) {
            if (random() % 8 == 0) Pass(seconds(31));
            Batch batch{.guards = {JobGuard{source, job->token}},
                        .operations = {AppendRecord{
                            {"log", "effects"}, "/tokens", std::to_string(job->token)}}};
            Result<Receipt> receipt = store().Commit({}, std::move(batch));
            if (receipt) continue;
            EXPECT_EQ(receipt.error().code, ErrorCode::kFenced);
            ++refused;
          }
          (void)store().Release({}, source, job->token);
        }
      });
    }
  }
  Token last = 0;
  const Record log = *Must(store().GetRecord({}, {"log", "effects"}));
  const auto effects = nlohmann::json::parse(log.data)["tokens"].get<std::vector<Token>>();
  for (Token token : effects) {
    EXPECT_GE(token, last) << "an effect of a superseded attempt";
    last = token;
  }
  EXPECT_FALSE(effects.empty());
  std::fprintf(stderr, "%zu effects, %d refused\n", effects.size(), refused.load());
  ExpectCountsToBeExact(store());
}

TEST_P(Chaos, JOB_13_PruningDeletingAndListingGoOnDuringWork) {
  Must(store().Set({}, {.name = "default", .retain_completed = seconds(1)}));
  const int rounds = Scaled(traits().is_remote ? 20 : 100);
  std::atomic<bool> is_over = false;
  std::jthread reader([&] {
    while (!is_over) {
      // A page is a snapshot: sorted, and never a job in two states at once.
      JobId last = 0;
      for (const Job& job : Must(store().ListJobs({}, {.limit = 50})).items) {
        EXPECT_GT(job.id, last);
        last = job.id;
        EXPECT_EQ(job.state == kProcessing, job.lease_expires_at.has_value());
        EXPECT_EQ(kLiveStates.Has(job.state), !job.finished_at.has_value());
      }
    }
  });
  {
    std::vector<std::jthread> threads;
    for (int worker = 0; worker < 4; ++worker) {
      threads.emplace_back([&, worker] {
        std::mt19937_64 random(seed_ + worker);
        for (int round = 0; round < rounds; ++round) {
          JobId id = Push().id;
          if (random() % 4 == 0) {
            (void)store().Delete({}, id);
          } else if (auto job = Must(store().ClaimById({}, id, "w", hours(24)))) {
            (void)store().Complete({}, id, job->token);
          }
          if (round % 10 == 0) Pass(seconds(2));
        }
      });
    }
  }
  is_over = true;
  reader.join();
  ExpectCountsToBeExact(store());
  Pass(seconds(5));
  EXPECT_TRUE(ListAllJobs(store()).empty());
}

HOLDFAST_FOR_ALL_VARIANTS(Chaos);

}  // namespace
}  // namespace holdfast::testing
