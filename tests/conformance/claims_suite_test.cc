// JOB-2, JOB-3, JOB-4: who gets which job, in which order, under which token.
#include <algorithm>
#include <set>
#include <thread>

#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class Claims : public StoreSuite {
 protected:
  static std::vector<JobId> IdsOf(const std::vector<Job>& jobs) {
    std::vector<JobId> ids;
    for (const Job& job : jobs) ids.push_back(job.id);
    return ids;
  }
};

TEST_P(Claims, JOB_3_AClaimTakesJobsOfItsKindsAlone) {
  Job a = Push({.kind = "a"});
  Job b = Push({.kind = "b", .priority = 5});
  Job c = Push({.kind = "c", .queue = "other"});
  EXPECT_THAT(IdsOf(Claim({.kinds = {"none"}, .max = 10})), IsEmpty());
  EXPECT_THAT(IdsOf(Claim({.queues = {"default"}, .kinds = {"c"}, .max = 10})), IsEmpty());
  EXPECT_EQ(StateOf(a.id), JobState::kPending);
  EXPECT_THAT(IdsOf(Claim({.kinds = {"c", "b", "c"}, .max = 10})), ElementsAre(c.id, b.id));
  EXPECT_THAT(IdsOf(Claim({.max = 10})), ElementsAre(a.id));
}

TEST_P(Claims, JOB_3_ManyJobsOfAnotherKindAreNotInTheWay) {
  Batch batch;
  for (int i = 0; i < 300; ++i) batch.operations.push_back(EnqueueJob{{.kind = "a"}});
  Must(store().Commit({}, std::move(batch)));
  Job last = Push({.kind = "b", .priority = 9});
  Job limited = Push({.kind = "b", .queue = "limited", .priority = 9});
  Push({.kind = "a", .queue = "limited"});
  Must(store().Set({}, {.name = "limited", .max_running = 1}));
  EXPECT_THAT(IdsOf(Claim({.queues = {"default"}, .kinds = {"b"}})), ElementsAre(last.id));
  EXPECT_THAT(IdsOf(Claim({.kinds = {"b"}})), ElementsAre(limited.id));
  EXPECT_THAT(IdsOf(Claim({.queues = {"limited"}, .kinds = {"a"}})), IsEmpty());
  EXPECT_THAT(IdsOf(Claim({.kinds = {"a"}, .max = 300})), SizeIs(300));
}

TEST_P(Claims, JOB_2_AClaimByIdTakesThatJobAlone) {
  Job other = Push();
  Job wanted = Push();
  Job claimed = ClaimThis(wanted.id, seconds(5), "worker 1");
  EXPECT_EQ(claimed.id, wanted.id);
  EXPECT_EQ(claimed.state, JobState::kProcessing);
  EXPECT_EQ(claimed.worker, "worker 1");
  EXPECT_EQ(claimed.started_at, Now());
  EXPECT_EQ(claimed.lease_expires_at, Now() + seconds(5));
  EXPECT_EQ(Get(other.id), other);
  EXPECT_EQ(Must(store().ClaimById({}, wanted.id, "worker 2")), std::nullopt);
  EXPECT_EQ(Get(wanted.id), WithoutToken(claimed));
}

TEST_P(Claims, JOB_2_ExactlyOneOfManyClaimersWins) {
  constexpr int kClaimers = 16;
  for (int round = 0; round < Scaled(5); ++round) {
    Job job = Push();
    std::vector<Result<std::optional<Job>>> results(kClaimers, std::optional<Job>());
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < kClaimers; ++i) {
        threads.emplace_back(
            [&, i] { results[i] = store().ClaimById({}, job.id, "w" + std::to_string(i)); });
      }
    }
    int winners = 0;
    std::string winner;
    for (const auto& result : results) {
      ASSERT_THAT(result, IsOk());
      if (!*result) continue;
      ++winners;
      winner = (*result)->worker;
    }
    EXPECT_EQ(winners, 1);
    EXPECT_EQ(Get(job.id).worker, winner);
    EXPECT_EQ(Get(job.id).attempt, 1);
  }
}

TEST_P(Claims, JOB_3_ThereIsNothingToClaimInAnEmptyStore) {
  EXPECT_THAT(Claim({.max = 10}), IsEmpty());
  EXPECT_THAT(Claim({.queues = {"nowhere"}}), IsEmpty());
  EXPECT_EQ(Must(store().GetQueue({}, "nowhere")), std::nullopt);
}

TEST_P(Claims, JOB_3_TheOrderIsPriorityThenDueTimeThenId) {
  Time now = Now();
  auto push = [&](int priority, Duration before) {
    return Push({.kind = "k", .priority = priority, .run_at = now - before}).id;
  };
  JobId normal_late = push(4, seconds(1));
  JobId lazy_oldest = push(9, hours(1));
  JobId urgent_first = push(0, seconds(0));
  JobId urgent_second = push(0, seconds(0));
  JobId normal_early = push(4, seconds(2));
  JobId urgent_overdue = push(0, microseconds(1));
  EXPECT_THAT(IdsOf(Claim({.max = 100})), ElementsAre(urgent_overdue, urgent_first, urgent_second,
                                                      normal_early, normal_late, lazy_oldest));
}

TEST_P(Claims, JOB_3_TheOrderHoldsAcrossQueues) {
  JobId a = Push({.kind = "k", .queue = "a", .priority = 5}).id;
  JobId b = Push({.kind = "k", .queue = "b", .priority = 3}).id;
  JobId c = Push({.kind = "k", .queue = "c", .priority = 4}).id;
  JobId a2 = Push({.kind = "k", .queue = "a", .priority = 4}).id;
  EXPECT_THAT(IdsOf(Claim({.queues = {"a", "b"}, .max = 2})), ElementsAre(b, a2));
  EXPECT_THAT(IdsOf(Claim({.max = 9})), ElementsAre(c, a));
}

TEST_P(Claims, JOB_3_AClaimGetsAtMostWhatItAskedForAndOnlyItsQueues) {
  for (int i = 0; i < 5; ++i) Push({.kind = "k", .queue = "a"});
  JobId other = Push({.kind = "k", .queue = "b", .priority = 0}).id;
  EXPECT_EQ(Claim({.queues = {"a"}, .max = 3}).size(), 3U);
  EXPECT_EQ(Claim({.queues = {"a", "a"}, .max = 3}).size(), 2U);
  EXPECT_THAT(IdsOf(Claim({.max = 3})), ElementsAre(other));
}

TEST_P(Claims, JOB_3_AClaimNeverReturnsAJobTwice) {
  std::set<JobId> seen;
  for (int i = 0; i < 50; ++i) Push({.kind = "k", .priority = i % 10});
  while (true) {
    std::vector<Job> jobs = Claim({.max = 7});
    if (jobs.empty()) break;
    for (const Job& job : jobs) EXPECT_TRUE(seen.insert(job.id).second);
  }
  EXPECT_EQ(seen.size(), 50U);
}

TEST_P(Claims, JOB_3_NothingStarvesInsideAPriority) {
  // A job that has waited longest goes first, however many keep arriving after it.
  JobId first = Push().id;
  for (int i = 0; i < 5; ++i) {
    clock().Advance(seconds(1));
    Push();
  }
  EXPECT_EQ(ClaimOne().id, first);
  // A job that comes back does not lose its place to younger ones.
  JobId second = ClaimOne().id;
  Job held = Get(second);
  Pass(seconds(31));
  clock().Advance(seconds(1));
  Push();
  std::vector<Job> next = Claim({.max = 2});
  EXPECT_THAT(IdsOf(next), ElementsAre(first, held.id));
}

TEST_P(Claims, JOB_3_ScheduledJobsAreNotClaimedBeforeTheyAreDue) {
  JobId id = Push({.kind = "k", .delay = seconds(10)}).id;
  Pass(seconds(9));
  EXPECT_THAT(Claim({}), IsEmpty());
  Pass(seconds(1));
  EXPECT_THAT(IdsOf(Claim({})), ElementsAre(id));
}

TEST_P(Claims, JOB_4_EveryClaimAddsAnAttemptAndANewToken) {
  JobId id = Push().id;
  Token last = 0;
  for (int attempt = 1; attempt <= 4; ++attempt) {
    Job job = ClaimThis(id);
    EXPECT_EQ(job.attempt, attempt);
    EXPECT_GT(job.token, last);
    last = job.token;
    Must(store().FailAttempt({}, {id, job.token, "no", false, Duration::zero()}));
    Pass(Duration::zero());
  }
  // A claim that gives the attempt back has used its token all the same.
  Job released = ClaimThis(id);
  Must(store().Release({}, id, released.token));
  Job again = ClaimThis(id);
  EXPECT_EQ(again.attempt, released.attempt);
  EXPECT_GT(again.token, released.token);
}

TEST_P(Claims, JOB_4_TokensRiseAcrossJobsInTheOrderOfTheClaim) {
  for (int i = 0; i < 20; ++i) Push();
  Token last = 0;
  for (int i = 0; i < 4; ++i) {
    for (const Job& job : Claim({.max = 5})) {
      EXPECT_GT(job.token, last);
      last = job.token;
    }
  }
}

TEST_P(Claims, JOB_4_TokensNeverGoBackAcrossAReopen) {
  if (!traits().survives_process_kill) GTEST_SKIP() << "this store ends with its process";
  Push();
  Job before = ClaimOne();
  // Not even if the job that had the largest token is gone.
  Must(store().Complete({}, before.id, before.token));
  Must(store().Delete({}, before.id));
  fixture_.Reopen();
  Job after_push = Push();
  EXPECT_GT(after_push.id, before.id);
  EXPECT_GT(ClaimOne().token, before.token);
}

TEST_P(Claims, JOB_4_OnlyTheClaimerSeesTheToken) {
  Push();
  Job claimed = ClaimOne();
  EXPECT_GT(claimed.token, 0);
  EXPECT_EQ(Get(claimed.id).token, 0);
  JobPage page = Must(store().ListJobs({}, {}));
  ASSERT_EQ(page.items.size(), 1U);
  EXPECT_EQ(page.items[0].token, 0);
  // Nor does it leak to somebody who cancels or who finds the job by its unique key.
  EXPECT_EQ(Must(store().Cancel({}, claimed.id)).token, 0);
  JobSpec spec{.kind = "u", .unique = UniqueKey{.key = "u", .on_conflict = OnConflict::kReturn}};
  ClaimThis(Push(spec).id);
  EXPECT_EQ(Push(spec).token, 0);
}

TEST_P(Claims, JOB_3_AClaimThatWaitsGetsAJobThatArrives) {
  std::vector<Job> claimed;
  {
    std::jthread waiter([&] { claimed = Claim({.wait = seconds(60)}); });
    // The job may arrive before or after the claim parks: it must be got either way.
    Push();
  }
  EXPECT_EQ(claimed.size(), 1U);
}

TEST_P(Claims, JOB_3_AClaimThatWaitsGetsAJobThatComesDue) {
  Push({.kind = "k", .delay = seconds(10)});
  std::vector<Job> claimed;
  {
    std::jthread waiter([&] { claimed = Claim({.wait = seconds(60)}); });
    Pass(seconds(10));
  }
  EXPECT_EQ(claimed.size(), 1U);
}

TEST_P(Claims, JOB_3_AClaimThatWaitsGetsAJobThatIsGivenBack) {
  Push();
  Job held = ClaimOne();
  std::vector<Job> claimed;
  {
    std::jthread waiter([&] { claimed = Claim({.wait = seconds(60)}); });
    Must(store().Release({}, held.id, held.token));
  }
  EXPECT_EQ(claimed.size(), 1U);
}

TEST_P(Claims, JOB_3_AClaimThatWaitedInVainIsEmpty) {
  auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(Claim({.wait = milliseconds(50)}), IsEmpty());
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(50));
}

HOLDFAST_FOR_ALL_VARIANTS(Claims);

}  // namespace
}  // namespace holdfast::testing
