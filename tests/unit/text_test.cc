// Times and durations as text: what is written can be read, and nothing else can.
#include "base/text.h"

#include <gtest/gtest.h>

#include <random>

namespace holdfast::base {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

Time At(int year, unsigned month, unsigned day, Duration since_midnight) {
  std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month),
                                   std::chrono::day(day)};
  return Time(std::chrono::sys_days(date)) + since_midnight;
}

TEST(Time, IsWrittenInUtcWithMicroseconds) {
  EXPECT_EQ(FormatTime(At(2026, 11, 23, hours(8) + minutes(15) + seconds(30) + Duration(125))),
            "2026-11-23T08:15:30.000125Z");
  EXPECT_EQ(FormatTime(Time{}), "1970-01-01T00:00:00.000000Z");
}

TEST(Time, IsReadWithAnyOffsetAndFraction) {
  Time expected = At(2026, 11, 23, hours(8) + minutes(15) + seconds(30));
  for (std::string_view text :
       {"2026-11-23T08:15:30Z", "2026-11-23t08:15:30z", "2026-11-23 08:15:30Z",
        "2026-11-23T10:15:30+02:00", "2026-11-23T04:45:30-03:30", "2026-11-23T08:15:30.0Z",
        "2026-11-23T08:15:30.000000000Z", "2026-11-24T07:15:30+23:00"}) {
    auto time = ParseTime(text);
    ASSERT_TRUE(time) << text;
    EXPECT_EQ(*time, expected) << text;
  }
  EXPECT_EQ(*ParseTime("2026-11-23T08:15:30.5Z"), expected + milliseconds(500));
  EXPECT_EQ(*ParseTime("2026-11-23T08:15:30.123456789Z"), expected + Duration(123456));
  EXPECT_EQ(*ParseTime("2024-02-29T00:00:00Z"), At(2024, 2, 29, Duration::zero()));
}

TEST(Time, IsRefusedUnlessItIsRfc3339) {
  for (std::string_view text :
       {"", "now", "2026-11-23", "2026-11-23T08:15:30", "2026-11-23T08:15Z", "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z", "2026-11-23T24:00:00Z", "2026-11-23T08:60:00Z",
        "2026-11-23T08:15:30.Z", "2026-11-23T08:15:30.1234567890Z", "2026-11-23T08:15:30+2:00",
        "2026-11-23T08:15:30+24:00", "2026-11-23T08:15:30Z ", " 2026-11-23T08:15:30Z",
        "-026-11-23T08:15:30Z", "2026-11-23T08:15:30ZZ"}) {
    auto time = ParseTime(text);
    ASSERT_FALSE(time) << text;
    EXPECT_EQ(time.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(time.error().message.find("RFC 3339"), std::string::npos) << time.error().message;
  }
}

TEST(Time, SurvivesBeingWrittenAndRead) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<std::int64_t> any(0, 253'370'764'800'000'000);  // to 9999
  for (int i = 0; i < 2000; ++i) {
    Time time{Duration(any(random))};
    ASSERT_EQ(ParseTime(FormatTime(time)), time) << FormatTime(time);
  }
}

TEST(DurationText, UsesTheLargestUnitThatGivesAWholeNumber) {
  EXPECT_EQ(FormatDuration(Duration::zero()), "0s");
  EXPECT_EQ(FormatDuration(seconds(30)), "30s");
  EXPECT_EQ(FormatDuration(seconds(90)), "90s");
  EXPECT_EQ(FormatDuration(minutes(90)), "90m");
  EXPECT_EQ(FormatDuration(hours(48)), "2d");
  EXPECT_EQ(FormatDuration(milliseconds(1500)), "1500ms");
  EXPECT_EQ(FormatDuration(Duration(15)), "15us");
}

TEST(DurationText, IsReadInEveryUnit) {
  EXPECT_EQ(*ParseDuration("30s"), seconds(30));
  EXPECT_EQ(*ParseDuration("250ms"), milliseconds(250));
  EXPECT_EQ(*ParseDuration("15us"), Duration(15));
  EXPECT_EQ(*ParseDuration("2m"), minutes(2));
  EXPECT_EQ(*ParseDuration("1.5h"), minutes(90));
  EXPECT_EQ(*ParseDuration("7d"), hours(24 * 7));
  EXPECT_EQ(*ParseDuration("0s"), Duration::zero());
  EXPECT_EQ(*ParseDuration("0.25s"), milliseconds(250));
  EXPECT_EQ(*ParseDuration("10000d"), hours(240'000));
}

TEST(DurationText, IsRefusedWithoutANumberAndAUnit) {
  for (std::string_view text :
       {"", "30", "s", "-30s", "+30s", "30 s", "30s ", "30sec", "1h30m", "1.2.3s", ".", "1e3s",
        "0x10s", "10001d", "9999999999999999999h", "infs", "nans"}) {
    auto duration = ParseDuration(text);
    ASSERT_FALSE(duration) << text;
    EXPECT_EQ(duration.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(duration.error().message.find("is not a duration"), std::string::npos);
  }
}

TEST(DurationText, OfAnHostileLengthIsNotRepeatedInTheMessage) {
  auto duration = ParseDuration(std::string(100'000, 'x'));
  ASSERT_FALSE(duration);
  EXPECT_LT(duration.error().message.size(), 300u);
}

TEST(Integer, IsDigitsAndNothingElse) {
  EXPECT_EQ(ParseInteger("0"), 0);
  EXPECT_EQ(ParseInteger("9223372036854775807"), INT64_MAX);
  for (std::string_view text : {"", "-1", "+1", " 1", "1 ", "1.0", "0x1", "9223372036854775808"}) {
    EXPECT_EQ(ParseInteger(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace holdfast::base
