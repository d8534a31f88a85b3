// Batches that a node applies to what it remembers, and sends with their COMMIT in one go: whatever
// another node has changed meanwhile, they do what they would have done had they looked first.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "holdfast/holdfast.h"
#include "testing/environment.h"
#include "testing/matchers.h"
#include "testing/private_postgres.h"
#include "testing/store_checks.h"

namespace holdfast::testing {
namespace {

using std::chrono::minutes;

/// `here_` remembers what it claims; `there_` is another node.
class AtOnce : public ::testing::Test {
 protected:
  void SetUp() override {
    here_ = Must(OpenStore(schema_.url() + "&lanes=1&notify=off", {.maintain = false}));
    there_ = Must(OpenStore(schema_.url() + "&lanes=1&notify=off", {.maintain = false}));
    // Of the second the queue is looked up, and known from then on.
    for (int i = 0; i < 2; ++i) Push();
  }

  Job Push() { return Must(here_->Enqueue({}, {.kind = "k"})); }
  /// As `here_` has claimed it.
  Job Claim() { return Must(here_->Claim({}, {.worker = "w", .lease = minutes(5)})).at(0); }
  /// What the latest commit that was sent in one go has left; 0: there was none.
  std::int64_t Mark() {
    auto rows = schema_.server().Execute("SELECT max(mark) FROM " + schema_.name() + ".commits");
    return rows[0][0].empty() ? 0 : std::stoll(rows[0][0]);
  }

  PostgresSchema schema_;
  std::unique_ptr<Store> here_, there_;
};

TEST_F(AtOnce, IsHowKnownJobsAndQueuesAreWritten) {
  std::int64_t mark = Mark();
  auto expect_at_once = [&](const char* what) {
    EXPECT_NE(Mark(), mark) << what;
    mark = Mark();
  };
  Push();
  expect_at_once("enqueue");
  const Job job = Claim();
  ASSERT_THAT(here_->Renew({}, job.id, job.token, minutes(7)), IsOk());
  expect_at_once("renew");
  ASSERT_THAT(here_->Complete({}, job.id, job.token), IsOk());
  expect_at_once("complete");
  Must(here_->Commit({}, {.operations = {EnqueueJob{{.kind = "k"}}}, .idempotency_key = "key"}));
  expect_at_once("with a key");
  EXPECT_EQ(Must(there_->GetJob({}, job.id))->state, JobState::kCompleted);
  const auto rows = schema_.server().Execute("SELECT FROM " + schema_.name() + ".commits");
  EXPECT_EQ(rows.size(), 1U) << "each takes the mark of the one before away";
}

TEST_F(AtOnce, JOB_9_ACancelThatWasAskedForElsewhereIsSeen) {
  for (int i = 0; i < 3; ++i) {
    if (i > 0) Push();
    const Job job = Claim();
    Must(there_->Cancel({}, job.id));
    const Job renewed = Must(here_->Renew({}, job.id, job.token, minutes(7)));
    EXPECT_TRUE(renewed.cancel_requested);
    EXPECT_TRUE(Must(there_->GetJob({}, job.id))->cancel_requested);
    Must(here_->Release({}, job.id, job.token));
    EXPECT_EQ(Must(there_->GetJob({}, job.id))->state, JobState::kCancelled);
  }
}

TEST_F(AtOnce, JOB_5_WhoHoldsAJobNowIsAskedOfTheServer) {
  const Job job = Claim();
  Must(there_->Release({}, job.id, job.token));
  const Job taken = Must(there_->Claim({}, {.worker = "other"})).at(0);
  ASSERT_EQ(taken.id, job.id);
  EXPECT_THAT(here_->Complete({}, job.id, job.token), StatusIs(ErrorCode::kFenced));
  EXPECT_THAT(here_->Complete({}, job.id, taken.token), IsOk()) << "not what this node remembers";
}

TEST_F(AtOnce, JOB_7_AJobIsFinishedOnceByWhicheverNode) {
  const Job job = Claim();
  Must(there_->Complete({}, job.id, job.token, "1"));
  EXPECT_THAT(here_->Complete({}, job.id, job.token, "2"), StatusIs(ErrorCode::kInvalidTransition));
  EXPECT_EQ(Must(there_->GetJob({}, job.id))->result, "1");
}

TEST_F(AtOnce, JOB_11_ALimitThatWasSetElsewhereHolds) {
  Must(there_->Set({}, {.name = "default", .max_pending = 3}));
  Push();
  EXPECT_THAT(here_->Enqueue({}, {.kind = "k"}), StatusIs(ErrorCode::kQueueFull));
}

TEST_F(AtOnce, AUD_1_AnAuditThatWasSwitchedOnElsewhereIsKept) {
  Must(there_->Set({}, {.name = "default", .audit = true}));
  const Job job = Push();
  EXPECT_EQ(Must(here_->ListAudit({}, {.target = fmt::format("job/{}", job.id)})).items.size(), 1U);
}

TEST_F(AtOnce, IDEM_1_AKeyThatWasUsedElsewhereIsAnswered) {
  const Batch batch{.operations = {EnqueueJob{{.kind = "k"}}}, .idempotency_key = "key"};
  const Receipt first = Must(there_->Commit({}, batch));
  const Receipt again = Must(here_->Commit({}, batch));
  EXPECT_TRUE(again.replayed);
  EXPECT_EQ(again.results[0].job->id, first.results[0].job->id);
}

// While one node reports what it has claimed, another asks it to stop: every cancel is either
// refused, because the job was over, or seen by whoever finished it.
TEST_F(AtOnce, JOB_9_NoCancelIsLostInARaceWithReports) {
  const int count = Scaled(300, 60);
  std::atomic<JobId> newest = 0;
  std::atomic<bool> is_over = false;
  std::set<JobId> asked;
  std::jthread canceller([&] {
    for (JobId seen = 0; !is_over;) {
      const JobId id = newest;
      if (id == seen) continue;
      seen = id;
      if (there_->Cancel({}, id)) asked.insert(id);
    }
  });
  std::set<JobId> told;
  for (int i = 0; i < count; ++i) {
    const Job job = Claim();
    newest = job.id;
    for (int renewal = 0; renewal < 3; ++renewal) {
      if (Must(here_->Renew({}, job.id, job.token, minutes(5))).cancel_requested) {
        told.insert(job.id);
      }
    }
    if (Must(here_->Complete({}, job.id, job.token)).cancel_requested) told.insert(job.id);
    Push();
  }
  is_over = true;
  canceller.join();
  EXPECT_FALSE(asked.empty());
  EXPECT_EQ(told, asked);
}

}  // namespace
}  // namespace holdfast::testing
