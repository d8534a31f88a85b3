// CTX-1: what a context says before a call begins.
#include "holdfast/context.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

TEST(Context, CTX_1_WithoutDeadlineOrStopTokenNeverEnds) {
  EXPECT_TRUE(Context{}.Check());
}

TEST(Context, CTX_1_ThatWasCancelledSaysSo) {
  std::stop_source stop;
  Context context;
  context.stop = stop.get_token();
  EXPECT_TRUE(context.Check());
  stop.request_stop();
  ASSERT_FALSE(context.Check());
  EXPECT_EQ(context.Check().error().code, ErrorCode::kCancelled);
}

TEST(Context, CTX_1_PastItsDeadlineSaysSo) {
  Context context;
  context.deadline = std::chrono::steady_clock::now();
  ASSERT_FALSE(context.Check());
  EXPECT_EQ(context.Check().error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_FALSE(Context::WithTimeout(Duration::zero()).Check());
  EXPECT_TRUE(Context::WithTimeout(std::chrono::hours(1)).Check());
}

TEST(Context, CTX_1_ThatIsBothCancelledAndLateIsCancelled) {
  std::stop_source stop;
  stop.request_stop();
  Context context = Context::WithTimeout(Duration::zero());
  context.stop = stop.get_token();
  EXPECT_EQ(context.Check().error().code, ErrorCode::kCancelled);
}

TEST(Context, ErrorsOfAnEndedContextHaveNoEffectAndMayBeRetried) {
  EXPECT_TRUE(InfoOf(ErrorCode::kCancelled).retryable);
  EXPECT_TRUE(InfoOf(ErrorCode::kDeadlineExceeded).retryable);
}

}  // namespace
}  // namespace holdfast
