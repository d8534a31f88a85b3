// The named retry policies: which errors are retried, how long each retry waits, and what ends
// them.
#include "holdfast/retry.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "testing/fake_clock.h"

namespace holdfast {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

RetryPolicy Policy(std::string_view name) {
  return *FindRetryPolicy(name);
}

/// A generator that always gives the same number.
class FixedRandom final : public Random {
 public:
  explicit FixedRandom(std::uint64_t value) : value_(value) {}
  std::uint64_t Next() override { return value_; }

 private:
  const std::uint64_t value_;
};

std::vector<Duration> DelaysOf(RetryPolicy policy, int count) {
  policy.jitter = false;
  FixedRandom random(0);
  std::vector<Duration> delays;
  for (int i = 0; i < count; ++i) delays.push_back(DelayOf(policy, i, random));
  return delays;
}

/// Counts calls and records waits instead of waiting.
struct Recorded {
  int calls = 0;
  std::vector<Duration> waits;

  RetryOptions Options() {
    RetryOptions options;
    options.wait = [this](const Context&, Duration delay) { waits.push_back(delay); };
    return options;
  }
  std::function<Result<void>()> Failing(ErrorCode code, int times) {
    return [this, code, times]() -> Result<void> {
      if (calls++ < times) return Fail(code, "no luck");
      return {};
    };
  }
};

TEST(RetryPolicy, HasTheRetriesAndDelaysOfItsName) {
  using ms = milliseconds;
  EXPECT_EQ(Policy("DEFAULT").retries, 3);
  EXPECT_EQ(DelaysOf(Policy("DEFAULT"), 8),
            (std::vector<Duration>{ms(100), ms(200), ms(400), ms(800), ms(1600), ms(3200),
                                   seconds(5), seconds(5)}));
  EXPECT_EQ(Policy("AGGRESSIVE").retries, 5);
  EXPECT_EQ(DelaysOf(Policy("AGGRESSIVE"), 4),
            (std::vector<Duration>{ms(50), ms(75), Duration(112'500), Duration(168'750)}));
  EXPECT_EQ(DelaysOf(Policy("AGGRESSIVE"), 20).back(), seconds(3));
  EXPECT_EQ(Policy("CONSERVATIVE").retries, 2);
  EXPECT_FALSE(Policy("CONSERVATIVE").jitter);
  EXPECT_EQ(DelaysOf(Policy("CONSERVATIVE"), 5),
            (std::vector<Duration>{ms(500), ms(1250), ms(3125), Duration(7'812'500), seconds(10)}));
  EXPECT_EQ(Policy("DATABASE_OPERATION").retries, 3);
  EXPECT_EQ(DelaysOf(Policy("DATABASE_OPERATION"), 6),
            (std::vector<Duration>{ms(200), ms(400), ms(800), ms(1600), ms(3200), seconds(4)}));
  EXPECT_EQ(Policy("LOCK_ACQUISITION").retries, 4);
  EXPECT_EQ(DelaysOf(Policy("LOCK_ACQUISITION"), 3),
            (std::vector<Duration>{ms(100), ms(150), ms(225)}));
  EXPECT_EQ(DelaysOf(Policy("LOCK_ACQUISITION"), 20).back(), seconds(2));
}

TEST(RetryPolicy, JittersByTenPercentEitherWay) {
  FixedRandom least(0);
  FixedRandom most(std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(DelayOf(Policy("DEFAULT"), 0, least), milliseconds(90));
  EXPECT_NEAR(DelayOf(Policy("DEFAULT"), 0, most).count(), 110'000, 1);
  EXPECT_EQ(DelayOf(Policy("CONSERVATIVE"), 0, least), milliseconds(500));

  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  testing::SeededRandom random(seed);
  Duration smallest = Duration::max();
  Duration largest = Duration::zero();
  for (int i = 0; i < 1000; ++i) {
    Duration delay = DelayOf(Policy("DEFAULT"), 10, random);
    smallest = std::min(smallest, delay);
    largest = std::max(largest, delay);
  }
  EXPECT_GE(smallest, milliseconds(4500));
  EXPECT_LE(largest, milliseconds(5500));
  EXPECT_LT(smallest, milliseconds(4700)) << "the jitter does not spread";
  EXPECT_GT(largest, milliseconds(5300)) << "the jitter does not spread";
}

TEST(RetryPolicy, OfAnUnknownNameIsAnErrorThatListsTheKnownOnes) {
  auto policy = FindRetryPolicy("FAST");
  ASSERT_FALSE(policy);
  EXPECT_EQ(policy.error().code, ErrorCode::kInvalidArgument);
  for (std::string_view name : {"FAST", "DEFAULT", "AGGRESSIVE", "CONSERVATIVE",
                                "DATABASE_OPERATION", "LOCK_ACQUISITION"}) {
    EXPECT_NE(policy.error().message.find(name), std::string::npos) << policy.error().message;
  }
  EXPECT_FALSE(FindRetryPolicy("default"));
  EXPECT_FALSE(FindRetryPolicy(""));
}

TEST(Retry, RetriesPassingErrorsOnly) {
  for (const ErrorCodeInfo& info : kErrorCodes) {
    bool passing = info.code == ErrorCode::kBusy || info.code == ErrorCode::kDeadlock ||
                   info.code == ErrorCode::kVersionMismatch || info.code == ErrorCode::kUnavailable;
    Error error{info.code, "", {}};
    EXPECT_EQ(IsTransient(error, false), passing) << info.name;
    EXPECT_EQ(IsTransient(error, true), passing || info.code == ErrorCode::kOutcomeUnknown)
        << info.name;

    Recorded recorded;
    auto result = Retry({}, Policy("DEFAULT"), recorded.Options(), recorded.Failing(info.code, 99));
    EXPECT_EQ(result.error().code, info.code);
    EXPECT_EQ(recorded.calls, passing ? 4 : 1) << info.name;
  }
}

TEST(Retry, RetriesAnUnknownOutcomeOnlyWithAKey) {
  Recorded recorded;
  RetryOptions options = recorded.Options();
  options.has_idempotency_key = true;
  EXPECT_TRUE(
      Retry({}, Policy("DEFAULT"), options, recorded.Failing(ErrorCode::kOutcomeUnknown, 2)));
  EXPECT_EQ(recorded.calls, 3);
}

TEST(Retry, WaitsAsThePolicySaysAndStopsAtTheFirstSuccess) {
  Recorded recorded;
  auto result = Retry({}, Policy("CONSERVATIVE"), recorded.Options(),
                      recorded.Failing(ErrorCode::kUnavailable, 1));
  EXPECT_TRUE(result);
  EXPECT_EQ(recorded.calls, 2);
  EXPECT_EQ(recorded.waits, std::vector<Duration>{milliseconds(500)});
}

TEST(Retry, PrefersTheCallersOwnCount) {
  for (int retries : {0, 1, 7}) {
    Recorded recorded;
    RetryOptions options = recorded.Options();
    options.retries = retries;
    EXPECT_FALSE(Retry({}, Policy("DEFAULT"), options, recorded.Failing(ErrorCode::kBusy, 99)));
    EXPECT_EQ(recorded.calls, retries + 1);
  }
}

TEST(Retry, TellsOfEachRetryBeforeItWaits) {
  Recorded recorded;
  FixedRandom middle(std::uint64_t{1} << 63);
  RetryOptions options = recorded.Options();
  options.random = &middle;
  std::vector<std::pair<int, Duration>> told;
  options.on_retry = [&](int retry, const Error& error, Duration delay) {
    EXPECT_EQ(error.code, ErrorCode::kDeadlock);
    EXPECT_EQ(told.size(), recorded.waits.size());
    told.emplace_back(retry, delay);
  };
  EXPECT_TRUE(Retry({}, Policy("DEFAULT"), options, recorded.Failing(ErrorCode::kDeadlock, 2)));
  EXPECT_EQ(told, (std::vector<std::pair<int, Duration>>{{0, milliseconds(100)},
                                                         {1, milliseconds(200)}}));
}

TEST(Retry, NeverOutlivesTheContextsDeadline) {
  Recorded recorded;
  Context context = Context::WithTimeout(milliseconds(300));
  auto result = Retry(context, Policy("CONSERVATIVE"), recorded.Options(),
                      recorded.Failing(ErrorCode::kUnavailable, 99));
  EXPECT_EQ(result.error().code, ErrorCode::kUnavailable) << "the last error, not the deadline";
  EXPECT_EQ(recorded.calls, 1);
  EXPECT_TRUE(recorded.waits.empty());
}

TEST(Retry, DoesNotCallWithAContextThatHasEnded) {
  Recorded recorded;
  std::stop_source stop;
  stop.request_stop();
  Context context;
  context.stop = stop.get_token();
  auto result = Retry(context, Policy("DEFAULT"), recorded.Options(),
                      recorded.Failing(ErrorCode::kUnavailable, 99));
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(recorded.calls, 0);
}

TEST(Retry, StopsWaitingWhenTheContextIsCancelled) {
  std::stop_source stop;
  Context context;
  context.stop = stop.get_token();
  RetryPolicy forever{"FOREVER", 5, std::chrono::hours(1), 1, std::chrono::hours(1), false};
  RetryOptions options;  // waits really
  options.on_retry = [&](int, const Error&, Duration) { stop.request_stop(); };
  int calls = 0;
  auto result = Retry(context, forever, options, [&]() -> Result<void> {
    ++calls;
    return Fail(ErrorCode::kUnavailable, "no luck");
  });
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(calls, 1);
}

TEST(Retry, ReallyWaitsThatLong) {
  RetryPolicy once{"ONCE", 1, milliseconds(20), 1, milliseconds(20), false};
  auto begin = std::chrono::steady_clock::now();
  Recorded recorded;
  EXPECT_TRUE(Retry({}, once, {}, recorded.Failing(ErrorCode::kBusy, 1)));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(20));
}

}  // namespace
}  // namespace holdfast
