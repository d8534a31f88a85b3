// Where claims begin to look: what a snapshot that is held open costs, and that nothing is missed.
#include "engine/postgres/low_watermarks.h"

#include <gtest/gtest.h>

#include <thread>

#include "holdfast/holdfast.h"
#include "testing/matchers.h"
#include "testing/private_postgres.h"
#include "testing/store_checks.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

using engine::postgres::LowWatermarks;
using std::chrono::milliseconds;
using std::chrono::seconds;

void Enqueue(Store& store, int count) {
  Batch batch;
  for (int i = 0; i < count; ++i) batch.operations.emplace_back(EnqueueJob{{.kind = "k"}});
  Must(store.Commit({}, batch));
}

class Marks : public ::testing::Test {
 protected:
  static constexpr Time kNow{seconds(1'000'000)};

  Marks() {
    // The first claim that finds a job makes the queue a marked one, the next sweeps.
    const Job job = Ready(seconds(-1), 1);
    Raise(marks_.Look("q", at_), &job);
    marks_.Raise(marks_.Look("q", at_), nullptr, kNow, at_, at_ + milliseconds(6));
    at_ += milliseconds(100);
  }
  static Job Ready(Duration run_at, JobId id, int priority = 4) {
    return {.id = id, .queue = "q", .priority = priority, .run_at = kNow + run_at};
  }
  void Raise(const LowWatermarks::View& view, const Job* first) {
    marks_.Raise(view, first, kNow, at_, at_ + milliseconds(1));
  }
  std::optional<LowWatermarks::Mark> MarkOf(int priority) {
    return marks_.Look("q", at_).marks.at(static_cast<std::size_t>(priority));
  }

  LowWatermarks marks_;
  SteadyTime at_{seconds(10)};
};

TEST_F(Marks, RiseToWhatMayBeOnItsWayIfNothingIsReady) {
  for (int priority = 0; priority <= 9; ++priority) {
    EXPECT_EQ(MarkOf(priority)->run_at, kNow - milliseconds(100));
  }
}

TEST_F(Marks, RiseNoFurtherThanTheFirstThatIsReady) {
  const Job first = Ready(seconds(-5), 7);
  Raise(marks_.Look("p", at_), &first);
  Raise(marks_.Look("p", at_), &first);
  const LowWatermarks::Marks marks = marks_.Look("p", at_).marks;
  EXPECT_EQ(marks[3]->run_at, kNow - milliseconds(100));
  EXPECT_EQ(*marks[4], (LowWatermarks::Mark{kNow - seconds(5), 7}));
  EXPECT_EQ(marks[5], std::nullopt);
}

TEST_F(Marks, AreLoweredByWhatIsMadeReadyBelowThem) {
  const Job job = Ready(seconds(-60), 3);
  marks_.Lower({&job}, kNow);
  EXPECT_EQ(*MarkOf(4), (LowWatermarks::Mark{kNow - seconds(60), 3}));
  EXPECT_EQ(MarkOf(5)->run_at, kNow - milliseconds(100));
}

TEST_F(Marks, DoNotRiseByAClaimThatMayHaveMissedAJob) {
  const LowWatermarks::View before = marks_.Look("q", at_);
  const Job job = Ready(seconds(-60), 3);
  marks_.Lower({&job}, kNow);
  Raise(before, nullptr);
  EXPECT_EQ(*MarkOf(4), (LowWatermarks::Mark{kNow - seconds(60), 3}));
  Raise(marks_.Look("q", at_), nullptr);
  EXPECT_EQ(MarkOf(4)->run_at, kNow - milliseconds(100));
}

TEST_F(Marks, AreSweptOnceASecondAndLessOftenIfThatTakesLong) {
  const LowWatermarks::View view = marks_.Look("q", at_);
  EXPECT_FALSE(view.is_sweep);
  at_ += seconds(1);
  const LowWatermarks::View sweep = marks_.Look("q", at_);
  EXPECT_TRUE(sweep.is_sweep);
  EXPECT_EQ(sweep.marks[4], std::nullopt);
  EXPECT_EQ(marks_.LookAgain(sweep, at_), std::nullopt) << "it was one";
  marks_.Raise(sweep, nullptr, kNow, at_, at_ + milliseconds(200));
  at_ += milliseconds(200);
  EXPECT_EQ(marks_.LookAgain(view, at_ + milliseconds(999)), std::nullopt);
  EXPECT_TRUE(marks_.LookAgain(view, at_ + milliseconds(1000))->is_sweep);
  EXPECT_FALSE(marks_.Look("q", at_ + milliseconds(3999)).is_sweep);
  EXPECT_TRUE(marks_.Look("q", at_ + milliseconds(4000)).is_sweep);
}

// K8: names of queues that do not exist, or in which nothing is ready, cost no memory.
TEST_F(Marks, AreKeptOfAFewQueuesInWhichSomethingWasFound) {
  for (int i = 0; i < 30'000; ++i) {
    Raise(marks_.Look("absent" + std::to_string(i), at_), nullptr);
  }
  EXPECT_EQ(marks_.size(), 1U);
  const Job job = Ready(seconds(-1), 1);
  for (int i = 0; i < 1000; ++i) {
    at_ += milliseconds(1);
    Raise(marks_.Look("q", at_), &job);
    Raise(marks_.Look("used" + std::to_string(i), at_), &job);
  }
  EXPECT_EQ(marks_.size(), LowWatermarks::kMarkedQueues);
  EXPECT_EQ(marks_.LookAtAll(at_).front().queue, "q") << "it was claimed from all the time";
  EXPECT_FALSE(marks_.Look("used999", at_).marks[4]);
}

TEST_F(Marks, AreForgottenWhenAQuickSweepFindsNothing) {
  Raise(*marks_.LookAgain(marks_.Look("q", at_), at_ + seconds(1)), nullptr);
  EXPECT_EQ(marks_.size(), 0U);
}

/// A server that counts the pages that each statement looks at.
class CountingServer : public ::testing::Test {
 protected:
  CountingServer()
      : server_({.settings = {"shared_preload_libraries = 'pg_stat_statements'"}}),
        schema_(server_) {
    server_.Execute("CREATE EXTENSION pg_stat_statements");
  }

  std::int64_t PagesOfClaims() {
    return std::stoll(
        server_
            .Execute("SELECT coalesce(sum(shared_blks_hit + shared_blks_read), 0)::bigint FROM "
                     "pg_stat_statements WHERE query LIKE '%SKIP LOCKED%' AND "
                     "query LIKE '%ready_in%'")
            .at(0)
            .at(0));
  }

  PrivatePostgres server_;
  PostgresSchema schema_;
};

TEST_F(CountingServer, ASnapshotThatIsHeldOpenDoesNotMakeClaimsWalkOverWhatIsDone) {
  constexpr int kJobs = 4000;
  constexpr int kClaims = 20;
  auto store = Must(OpenStore(schema_.url(), {.maintain = false}));
  std::thread holder([&] {
    try {
      server_.Execute(
          "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class; "
          "SELECT pg_sleep(600)");
    } catch (const std::runtime_error&) {  // cancelled
    }
  });
  const char* holders =
      "FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()";
  ASSERT_TRUE(
      WaitUntilTrue([&] { return !server_.Execute(std::string("SELECT 1 ") + holders).empty(); }));
  for (int i = 0; i < kJobs / 1000; ++i) {
    Enqueue(*store, 1000);
    EXPECT_EQ(Must(store->Claim({}, {.worker = "w", .max = 1000})).size(), 1000U);
  }
  Enqueue(*store, kClaims);
  const std::int64_t before = PagesOfClaims();
  for (int i = 0; i < kClaims; ++i) {
    EXPECT_EQ(Must(store->Claim({}, {.worker = "w", .queues = {"default"}})).size(), 1U);
  }
  // Each would look at a page for every job that was claimed before; one sweep may be among them.
  EXPECT_LT(PagesOfClaims() - before, kJobs * kClaims / 4);
  server_.Execute(std::string("SELECT pg_cancel_backend(pid) ") + holders);
  holder.join();
}

// Whether it names its queue or not.
TEST_F(CountingServer, AClaimOfAKindReadsNothingOfJobsOfOtherKinds) {
  constexpr int kOthers = 5000;
  constexpr int kClaims = 10;
  auto store = Must(OpenStore(schema_.url(), {.maintain = false}));
  for (int i = 0; i < kOthers / 1000; ++i) Enqueue(*store, 1000);
  for (int i = 0; i < 2 * kClaims; ++i) Must(store->Enqueue({}, {.kind = "rare"}));
  const std::int64_t before = PagesOfClaims();
  for (int i = 0; i < kClaims; ++i) {
    for (const std::vector<std::string>& queues : {std::vector<std::string>{"default"}, {}}) {
      const ClaimRequest request{
          .worker = "w", .queues = queues, .kinds = {"absent", "rare"}, .max = 1};
      EXPECT_EQ(Must(store->Claim({}, request)).size(), 1U);
    }
  }
  EXPECT_LT(PagesOfClaims() - before, kClaims * kOthers / 50);
}

// K8: what a claim from any queue costs does not depend on how many queues there are, only on how
// many of them have pending jobs.
TEST_F(CountingServer, AClaimFromAnyQueueReadsNothingOfQueuesWithoutPendingJobs) {
  constexpr int kQueues = 3000;
  constexpr int kClaims = 10;
  auto store = Must(OpenStore(schema_.url(), {.maintain = false}));
  for (int done = 0; done < kQueues; done += 1000) {
    Batch batch;
    for (int i = 0; i < 1000; ++i) {
      batch.operations.emplace_back(
          EnqueueJob{{.kind = "k", .queue = "q" + std::to_string(done + i)}});
    }
    Must(store->Commit({}, batch));
  }
  std::int64_t claimed = 0;
  while (true) {
    const auto jobs = Must(store->Claim({}, {.worker = "w", .max = 1000}));
    if (jobs.empty()) break;
    claimed += static_cast<std::int64_t>(jobs.size());
  }
  EXPECT_EQ(claimed, kQueues);
  server_.Execute("VACUUM " + schema_.name() + ".jobs");
  Enqueue(*store, kClaims);
  const std::int64_t before = PagesOfClaims();
  for (int i = 0; i < kClaims; ++i) {
    EXPECT_EQ(Must(store->Claim({}, {.worker = "w"})).size(), 1U);
  }
  EXPECT_LT(PagesOfClaims() - before, kClaims * kQueues / 3);
}

/// Two nodes: what one makes ready, the other one has not marked.
class TwoNodes : public ::testing::Test {
 protected:
  std::unique_ptr<Store> Open() { return Must(OpenStore(schema_.url(), {.maintain = false})); }
  std::vector<Job> ClaimOne(Store& store) {
    return Must(store.Claim({}, {.worker = "w", .queues = {"default"}}));
  }

  PostgresSchema schema_;
  std::unique_ptr<Store> here_ = Open(), there_ = Open();
};

TEST_F(TwoNodes, JOB_3_AJobThatAnotherNodeGivesBackIsClaimedAtOnceIfItIsTheOnlyOne) {
  for (int i = 0; i < 50; ++i) {
    Enqueue(*here_, 3);
    std::vector<Job> held = ClaimOne(*here_);
    ASSERT_EQ(held.size(), 1U);
    ASSERT_EQ(ClaimOne(*there_).size(), 1U);
    ASSERT_EQ(ClaimOne(*there_).size(), 1U);
    ASSERT_TRUE(ClaimOne(*there_).empty());  // the marks there are beyond it now
    Must(here_->Release({}, held[0].id, held[0].token));
    std::vector<Job> again = ClaimOne(*there_);
    ASSERT_EQ(again.size(), 1U);
    EXPECT_EQ(again[0].id, held[0].id);
  }
}

TEST_F(TwoNodes, JOB_12_WhatWaitsInAPausedQueueIsClaimedInItsOrderWhenItGoesOn) {
  const Job first = Must(here_->Enqueue({}, {.kind = "k", .run_at = Time()}));
  Must(here_->Set({}, {.name = "default", .paused = true}));
  EXPECT_TRUE(ClaimOne(*here_).empty());
  EXPECT_TRUE(ClaimOne(*here_).empty());
  Must(here_->Set({}, {.name = "default", .paused = false}));
  Enqueue(*here_, 1);
  EXPECT_EQ(ClaimOne(*here_).at(0).id, first.id);
}

}  // namespace
}  // namespace holdfast::testing
