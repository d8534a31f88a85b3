// A file whose clock was tied to a wall clock that was wrong (decision 4, TIME-1).
#include <gtest/gtest.h>

#include "testing/environment.h"
#include "testing/fake_clock.h"
#include "testing/recording_log.h"
#include "testing/store_checks.h"

namespace holdfast::testing {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr Duration kYear = hours(24 * 365);

class WrongClock : public ::testing::TestWithParam<int> {
 protected:
  /// The wall clock was wrong by this when the file was made, and is right since.
  WrongClock() {
    clock_.JumpWall(off_);
    Open();
    clock_.JumpWall(-off_);
  }

  void Open() {
    store_.reset();
    store_ = Must(OpenStore("sqlite:" + dir_.File("store.db"),
                            {.clock = &clock_, .log = &log_, .maintain = false}));
  }
  void Reboot() {
    store_.reset();
    clock_.Reboot();
    Open();
  }
  void Pass(Duration time) {
    clock_.Advance(time);
    Must(store_->Maintain({}));
  }
  Time Now() { return Must(store_->GetStats({})).now; }
  Job Get(JobId id) { return *Must(store_->GetJob({}, id)); }

  const Duration off_ = GetParam() * kYear;
  TempDir dir_{TempDir::Where::kMemory};
  FakeClock clock_;
  RecordingLog log_;
  std::unique_ptr<Store> store_;
};

INSTANTIATE_TEST_SUITE_P(Years, WrongClock, ::testing::Values(1, -10),
                         [](const auto& years) { return years.param > 0 ? "Ahead" : "Behind"; });

TEST_P(WrongClock, AJobIsDueWhenTheWallClockSaysSo) {
  const Job at = Must(store_->Enqueue({}, {.kind = "k", .run_at = clock_.Wall() + hours(1)}));
  const Job after = Must(store_->Enqueue({}, {.kind = "k", .delay = hours(1)}));
  for (JobId id : {at.id, after.id}) EXPECT_EQ(Get(id).state, JobState::kScheduled);
  Pass(minutes(59));
  for (JobId id : {at.id, after.id}) EXPECT_EQ(Get(id).state, JobState::kScheduled);
  Pass(minutes(1));
  for (JobId id : {at.id, after.id}) EXPECT_EQ(Get(id).state, JobState::kPending);
}

TEST_P(WrongClock, TIME_1_TheNextStartOfTheMachineFollowsTheWallClockAndEndsNothingEarly) {
  const Job later = Must(store_->Enqueue({}, {.kind = "k", .run_at = clock_.Wall() + hours(1)}));
  const Job held = Must(store_->Enqueue({}, {.kind = "k"}));
  Must(store_->ClaimById({}, held.id, "w", seconds(100)));
  Must(store_->Acquire({}, {.name = "l", .owner = "ada", .ttl = seconds(100)}));
  Pass(seconds(10));
  EXPECT_EQ(Now(), clock_.Wall() + off_);
  Reboot();
  EXPECT_EQ(Now(), clock_.Wall());
  EXPECT_EQ(Get(later.id).run_at, clock_.Wall() + hours(1) - seconds(10));
  Pass(seconds(89));
  EXPECT_EQ(Get(held.id).state, JobState::kProcessing);
  EXPECT_EQ(Must(store_->GetLock({}, "l")).holders.size(), 1U);
  Pass(seconds(1));
  EXPECT_EQ(Get(held.id).state, JobState::kPending);
  EXPECT_TRUE(Must(store_->GetLock({}, "l")).holders.empty());
  Pass(hours(1) - seconds(101));
  EXPECT_EQ(Get(later.id).state, JobState::kScheduled);
  Pass(seconds(1));
  EXPECT_EQ(Get(later.id).state, JobState::kPending);
  // Once and for all.
  Reboot();
  EXPECT_EQ(Now(), clock_.Wall());
  ExpectCountsToBeExact(*store_);
}

TEST_P(WrongClock, ItIsSaidWhenTheStoreIsOpened) {
  EXPECT_TRUE(log_.All("store_clock_differs").empty());
  Open();
  ASSERT_EQ(log_.All("store_clock_differs").size(), 1U);
  Must(store_->Maintain({}));
  Reboot();
  EXPECT_EQ(log_.All("store_clock_differs").size(), 1U);
}

}  // namespace
}  // namespace holdfast::testing
