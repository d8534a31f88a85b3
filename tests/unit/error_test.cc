// The one table of errors is consistent with itself and with the published list.
#include "holdfast/error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace holdfast {
namespace {

TEST(ErrorTable, HasOneRowPerCodeInTheOrderOfTheEnum) {
  int index = 0;
  for (const ErrorCodeInfo& info : kErrorCodes) {
    EXPECT_EQ(static_cast<int>(info.code), index++) << info.name;
    EXPECT_EQ(&InfoOf(info.code), &info);
  }
  EXPECT_EQ(index, 23);
}

TEST(ErrorTable, NamesEveryCodeOnceInLowerCase) {
  std::set<std::string_view> names;
  for (const ErrorCodeInfo& info : kErrorCodes) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_EQ(info.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string_view::npos)
        << info.name;
    EXPECT_EQ(ParseErrorCode(info.name), info.code);
    EXPECT_FALSE(info.advice.empty()) << info.name;
  }
  EXPECT_EQ(ParseErrorCode(""), std::nullopt);
  EXPECT_EQ(ParseErrorCode("Fenced"), std::nullopt);
  EXPECT_EQ(ParseErrorCode("no_such_code"), std::nullopt);
}

TEST(ErrorTable, GivesTheExitCodesThatFollowFromTheStatus) {
  // Several statuses share an exit code, but no status has two, save for 409 and 500.
  const std::map<int, std::set<int>> expected{
      {400, {2}}, {401, {4}}, {403, {4}},  {404, {3}}, {408, {6}},    {409, {5}}, {412, {5}},
      {413, {2}}, {422, {5}}, {423, {75}}, {429, {8}}, {500, {1, 7}}, {503, {7}}};
  for (const ErrorCodeInfo& info : kErrorCodes) {
    auto exits = expected.find(info.http_status);
    ASSERT_NE(exits, expected.end()) << info.name;
    EXPECT_TRUE(exits->second.contains(info.exit_code)) << info.name;
    EXPECT_NE(info.exit_code, 0) << info.name;
  }
}

TEST(ErrorTable, PinsTheCodesThatProgramsRelyOn) {
  EXPECT_EQ(InfoOf(ErrorCode::kFenced).http_status, 409);
  EXPECT_FALSE(InfoOf(ErrorCode::kFenced).retryable);
  EXPECT_EQ(InfoOf(ErrorCode::kBusy).exit_code, 75);
  EXPECT_EQ(InfoOf(ErrorCode::kQueueFull).http_status, 429);
  EXPECT_EQ(InfoOf(ErrorCode::kOutcomeUnknown).http_status, 500);
  EXPECT_FALSE(InfoOf(ErrorCode::kOutcomeUnknown).retryable)
      << "only the caller knows whether there was a key";
}

TEST(ErrorTable, CallsNothingRetryableThatTheCallerMustFix) {
  for (const ErrorCodeInfo& info : kErrorCodes) {
    if (info.exit_code == 2 || info.exit_code == 3 || info.exit_code == 4) {
      EXPECT_FALSE(info.retryable) << info.name;
    }
  }
}

TEST(Fail, CarriesTheDetailThatItsCodeCallsFor) {
  Result<int> result = Fail(ErrorCode::kVersionMismatch, "record a/1 is at version 3",
                            {.expected = 2, .current = 3});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kVersionMismatch);
  EXPECT_EQ(result.error().detail.expected, 2);
  EXPECT_EQ(result.error().detail.current, 3);
  EXPECT_EQ(result.error().detail.operation, std::nullopt);
}

TEST(Fail, KeepsMessagesToOneLine) {
  Result<int> result =
      Fail(ErrorCode::kInvalidArgument, "'a\nb\r\tc\x7f' is none, but \xC3\xA4 is");
  EXPECT_EQ(result.error().message, "'a b  c ' is none, but \xC3\xA4 is");
}

}  // namespace
}  // namespace holdfast
