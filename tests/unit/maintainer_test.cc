// When the store looks after itself.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>

#include "engine/memory/memory_engine.h"
#include "holdfast/store.h"
#include "testing/fake_clock.h"
#include "testing/faulty_engine.h"
#include "testing/recording_log.h"
#include "testing/wait_for_stop.h"

namespace holdfast {
namespace {

constexpr int kJobs = 1000;

/// A busy store in small: during every round of maintenance somebody claims a job, whose lease is
/// one more thing that will come due.
class BusyEngine final : public testing::FaultyEngine {
 public:
  using FaultyEngine::FaultyEngine;

  Result<engine::MaintainResult> Maintain(const Context& context,
                                          engine::MaintainRequest request) override {
    Claim(context, {.worker = "busy", .queues = {}}, [this](Result<std::vector<Job>> jobs) {
      if (jobs && !jobs->empty()) ++claimed_;
    });
    Result<engine::MaintainResult> result = FaultyEngine::Maintain(context, std::move(request));
    ++rounds_;
    rounds_.notify_all();
    return result;
  }

  void AwaitRound() const { rounds_.wait(0); }
  int rounds() const { return rounds_; }
  int claimed() const { return claimed_; }

 private:
  std::atomic<int> rounds_ = 0;
  std::atomic<int> claimed_ = 0;
};

std::unique_ptr<engine::Engine> MemoryWithJobs() {
  auto engine = engine::OpenMemory({});
  Batch batch;
  for (int i = 0; i < kJobs; ++i) batch.operations.push_back(EnqueueJob{{.kind = "busy"}});
  std::vector<Batch> batches;
  batches.push_back(std::move(batch));
  (*engine)->Commit({}, std::move(batches), [](std::vector<Result<Receipt>> answers) {
    EXPECT_TRUE(answers.front().has_value());
  });
  return *std::move(engine);
}

TEST(Maintainer, AClaimDuringARoundDoesNotStartTheNext) {
  auto owned = std::make_unique<BusyEngine>(MemoryWithJobs());
  BusyEngine& engine = *owned;
  const auto began = std::chrono::steady_clock::now();
  Store store(std::move(owned), {});
  engine.AwaitRound();
  // Time enough for hundreds of rounds, if each were to start the next.
  for (int i = 0; i < kJobs; ++i) ASSERT_TRUE(store.Enqueue({}, {.kind = "more"}));
  const int rounds = engine.rounds();
  auto elapsed =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - began);
  EXPECT_GE(engine.claimed(), 1);
  // One when the store was opened, and one a second.
  EXPECT_LE(rounds, 2 + elapsed.count());
}

TEST(Maintainer, JOB_6_NoticesThatItStoodStill) {
  testing::FakeClock clock;
  testing::RecordingLog log;
  Store store(*engine::OpenMemory({.clock = &clock}), {.clock = &clock, .log = &log});
  // A first round has been when it has promoted the job.
  const JobId id = store.Enqueue({}, {.kind = "k", .delay = std::chrono::milliseconds(1)})->id;
  clock.Advance(std::chrono::milliseconds(10));
  ASSERT_TRUE(
      testing::WaitUntilTrue([&] { return (*store.GetJob({}, id))->state == JobState::kPending; }));
  // A lease that ends soon makes the rounds frequent.
  ASSERT_EQ(store.Claim({}, {.worker = "w", .lease = std::chrono::milliseconds(100)})->size(), 1U);
  for (int stall = 1; stall <= 3; ++stall) {
    clock.Advance(std::chrono::seconds(40));
    ASSERT_TRUE(log.WaitFor("store_stalled", static_cast<std::size_t>(stall)));
    ASSERT_TRUE(testing::WaitUntilTrue(
        [&] { return (*store.GetJob({}, id))->state == JobState::kPending; }));
    EXPECT_EQ((*store.GetJob({}, id))->lease_expiries, 0);
    ASSERT_EQ(store.Claim({}, {.worker = "w", .lease = std::chrono::milliseconds(100)})->size(),
              1U);
  }
}

}  // namespace
}  // namespace holdfast
