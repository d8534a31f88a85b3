// How many jobs a pool claims before a handler is free: store/claim_ahead.h.
#include "store/claim_ahead.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace holdfast::store {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

void RunTimes(ClaimAhead& ahead, Duration took, int times) {
  for (int i = 0; i < times; ++i) ahead.OnRun(took);
}

TEST(ClaimAhead, IsNothingBeforeAHandlerWasShort) {
  ClaimAhead ahead(8, 500);
  EXPECT_EQ(ahead.jobs(), 0u);
  ahead.OnRun(milliseconds(20));
  EXPECT_EQ(ahead.jobs(), 0u);
  ahead.OnRun(milliseconds(1));
  EXPECT_EQ(ahead.jobs(), 8u) << "a little under 20 ms: one for each handler";
}

TEST(ClaimAhead, IsWhatHandlersBeginInTwentyMilliseconds) {
  ClaimAhead ahead(8, 500);
  RunTimes(ahead, milliseconds(4), 200);
  EXPECT_EQ(ahead.jobs(), 8u * 20 / 4 - 1);  // the mean is a little above 4 ms
  RunTimes(ahead, milliseconds(21), 200);
  EXPECT_EQ(ahead.jobs(), 0u);
}

TEST(ClaimAhead, IsBounded) {
  ClaimAhead ahead(8, 500);
  RunTimes(ahead, microseconds(0), 2000);
  EXPECT_EQ(ahead.jobs(), 500u);
  ClaimAhead none(8, 0);
  RunTimes(none, microseconds(0), 2000);
  EXPECT_EQ(none.jobs(), 0u);
}

TEST(ClaimAhead, IsHardlyLessForOneOddJob) {
  ClaimAhead ahead(8, 500);
  RunTimes(ahead, milliseconds(1), 200);
  const std::size_t before = ahead.jobs();
  ahead.OnRun(milliseconds(16));
  EXPECT_GE(ahead.jobs(), before / 2);
}

TEST(ClaimAhead, HoldsNoMoreThanEightMebibytesOfPayload) {
  ClaimAhead ahead(8, 500);
  RunTimes(ahead, microseconds(0), 2000);
  const std::vector<Job> large(100, Job{.payload = std::string(256 * 1024, 'x')});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(ahead.OnClaimed(large), 100u);
  EXPECT_EQ(ahead.jobs(), 32u);
  const std::vector<Job> small(100);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(ahead.OnClaimed(small), 100u);
  EXPECT_EQ(ahead.jobs(), 500u);
}

TEST(ClaimAhead, JOB_6_IsNothingWhileAJobIsHeldWhoseLeaseRanOut) {
  ClaimAhead ahead(8, 500);
  RunTimes(ahead, microseconds(0), 2000);
  std::vector<Job> jobs(100);
  jobs[5].lease_expiries = 1;
  jobs[70].lease_expiries = 2;
  EXPECT_EQ(ahead.OnClaimed(jobs), 71u) << "nothing behind them";
  EXPECT_EQ(ahead.jobs(), 0u);
  for (std::size_t i = 0; i < 70; ++i) ahead.OnEnded(jobs[i]);
  EXPECT_EQ(ahead.jobs(), 0u);
  for (std::size_t i = 70; i < 100; ++i) ahead.OnEnded(jobs[i]);
  EXPECT_EQ(ahead.jobs(), 500u);
}

TEST(ClaimAhead, JOB_6_KeepsOneJobWhoseLeaseRanOutForEachHandler) {
  ClaimAhead ahead(8, 500);
  std::vector<Job> jobs(100);
  for (std::size_t i = 10; i < 60; ++i) jobs[i].lease_expiries = 1;
  EXPECT_EQ(ahead.OnClaimed(jobs), 18u);
}

TEST(ClaimAhead, IsNothingForAWhileAfterItWasTooMuch) {
  ClaimAhead ahead(8, 500);
  RunTimes(ahead, microseconds(100), 2000);
  ASSERT_EQ(ahead.jobs(), 500u);
  ahead.OnOverdue();
  EXPECT_EQ(ahead.jobs(), 0u);
  RunTimes(ahead, microseconds(100), 20);
  EXPECT_EQ(ahead.jobs(), 0u);
  RunTimes(ahead, microseconds(100), 200);
  EXPECT_EQ(ahead.jobs(), 500u);
  RunTimes(ahead, seconds(30), 20);
  ahead.OnOverdue();
  EXPECT_EQ(ahead.jobs(), 0u) << "it shortens no mean";
}

}  // namespace
}  // namespace holdfast::store
