// What a store says of itself, from the outcomes of its calls.
#include "store/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/fake_clock.h"
#include "testing/matchers.h"
#include "testing/recording_log.h"

namespace holdfast::testing {
namespace {

using std::chrono::seconds;

class SteadyFakeClock final : public FakeClock {
 public:
  SteadyTime Steady() const override { return SteadyTime(SinceBoot()); }
};

class HealthOfAStore : public ::testing::Test {
 protected:
  SteadyFakeClock clock_;
  RecordingLog log_;
  store::Health health_{&log_, clock_};
  const Error full_{ErrorCode::kUnavailable, "the disk is full", {}};
};

TEST_F(HealthOfAStore, IsThatOfTheLatestWrite) {
  EXPECT_THAT(health_.Check(), IsOk());
  health_.WriteFailed(full_);
  EXPECT_TRUE(health_.IsFailing());
  EXPECT_THAT(health_.Check(), StatusIs(ErrorCode::kUnavailable, "the disk is full"));
  health_.WriteSucceeded();
  EXPECT_FALSE(health_.IsFailing());
  EXPECT_THAT(health_.Check(), IsOk());
  EXPECT_EQ(log_.All("store_recovered").size(), 1U);
}

TEST_F(HealthOfAStore, IsNotTouchedByAnswers) {
  for (ErrorCode code : {ErrorCode::kBusy, ErrorCode::kNotFound, ErrorCode::kDeadlineExceeded,
                         ErrorCode::kShuttingDown, ErrorCode::kFenced}) {
    health_.WriteFailed({code, "", {}});
    health_.ReadFailed({code, "", {}});
  }
  EXPECT_THAT(health_.Check(), IsOk());
  EXPECT_TRUE(log_.All("store_failing").empty());
}

TEST_F(HealthOfAStore, RemembersCorruptionThatAReadMet) {
  health_.ReadFailed({ErrorCode::kUnavailable, "no descriptors", {}});
  EXPECT_THAT(health_.Check(), IsOk());
  health_.ReadFailed({ErrorCode::kCorrupt, "page 7", {}});
  health_.WriteSucceeded();
  EXPECT_THAT(health_.Check(), StatusIs(ErrorCode::kCorrupt, "page 7"));
}

TEST_F(HealthOfAStore, IsLoggedAtOnceAndThenOnceAMinute) {
  for (int i = 0; i < 600; ++i) {
    health_.WriteFailed(full_);
    clock_.Advance(std::chrono::milliseconds(200));
  }
  auto events = log_.All("store_failing");
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].fields.at("failures"), "1");
  EXPECT_EQ(events[1].fields.at("failures"), "300");
  EXPECT_EQ(events[1].fields.at("code"), "unavailable");
  EXPECT_EQ(events[1].fields.at("error"), "the disk is full");
  // Reads are another matter, and so is the next time.
  health_.ReadFailed(full_);
  health_.WriteSucceeded();
  health_.WriteFailed(full_);
  EXPECT_EQ(log_.All("store_failing").size(), 4U);
}

}  // namespace
}  // namespace holdfast::testing
