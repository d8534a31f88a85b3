// The renaming of tokens refuses what no order-preserving, one to one renaming can be.
#include "testing/token_names.h"

#include <gtest/gtest.h>

namespace holdfast::testing {
namespace {

std::string Json(Token token) {
  return R"({"id":"7","token":")" + std::to_string(token) + R"("})";
}

TEST(TokenNames, ATokenMayBeAnotherNumberAndThenStaysIt) {
  TokenNames names(false);
  EXPECT_TRUE(names.Match(Json(1), Json(64)));
  EXPECT_TRUE(names.Match("token 1 does not hold", "token 64 does not hold"));
  EXPECT_TRUE(names.Match("has seen token 1, newer than 1;", "has seen token 64, newer than 64;"));
  EXPECT_TRUE(names.Match(R"({"fence":"1"})", R"({"fence":"64"})"));
  EXPECT_FALSE(names.Match(Json(1), Json(65))) << "a name for two tokens";
  EXPECT_FALSE(names.Match(Json(2), Json(64))) << "two names for a token";
}

TEST(TokenNames, TheirOrderIsTheSame) {
  TokenNames names(false);
  EXPECT_TRUE(names.Match(Json(1), Json(10)));
  EXPECT_TRUE(names.Match(Json(5), Json(50)));
  EXPECT_FALSE(names.Match(Json(3), Json(9)));
  EXPECT_FALSE(names.Match(Json(3), Json(51)));
  EXPECT_FALSE(names.Match(Json(6), Json(49)));
  EXPECT_FALSE(names.Match(Json(3) + Json(4), Json(31) + Json(30))) << "swapped";
  EXPECT_TRUE(names.Match(Json(3) + Json(4), Json(30) + Json(31)));
}

TEST(TokenNames, TextsThatDoNotMatchTellNothing) {
  TokenNames names(false);
  EXPECT_FALSE(names.Match(Json(1) + Json(1), Json(10) + Json(11)));
  EXPECT_FALSE(names.Match(Json(1) + "a", Json(10) + "b"));
  EXPECT_TRUE(names.Match(Json(1), Json(11)));
}

TEST(TokenNames, ARefusalIsCheckedButNothingIsLearntFromIt) {
  TokenNames names(false);
  EXPECT_TRUE(names.Match(Json(1), Json(10)));
  EXPECT_FALSE(names.MatchRefusal("held under token 1", "held under token 11"));
  EXPECT_FALSE(names.MatchRefusal("held under token 2", "held under token 9"));
  EXPECT_TRUE(names.MatchRefusal("held under token 2", "held under token 11"));
  EXPECT_TRUE(names.Match(Json(2), Json(20)));
}

TEST(TokenNames, EveryOtherNumberIsEqual) {
  TokenNames names(false);
  EXPECT_FALSE(names.Match(R"({"id":"7"})", R"({"id":"8"})"));
  EXPECT_FALSE(names.Match("job 1 under token 1", "job 2 under token 2"));
  EXPECT_FALSE(names.Match(R"({"version":1})", R"({"version":2})"));
  EXPECT_FALSE(names.Match(Json(1), Json(1) + Json(1)));
}

TEST(TokenNames, DenseTokensAreTheSameNumbers) {
  TokenNames names(true);
  EXPECT_TRUE(names.Match(Json(1), Json(1)));
  EXPECT_FALSE(names.Match(Json(2), Json(3)));
  Batch specification{.guards = {LockGuard{"l", 4}}, .operations = {CompleteJob{1, 5}}};
  Batch subject;
  names.Name(specification, subject);
  EXPECT_EQ(std::get<LockGuard>(subject.guards.at(0)).token, 4);
  EXPECT_EQ(std::get<CompleteJob>(subject.operations.at(0)).token, 5);
}

TEST(TokenNames, ABatchSpeaksOfTheSameTokensToBoth) {
  TokenNames names(false);
  EXPECT_TRUE(names.Match(Json(1), Json(100)));
  Batch specification{.guards = {JobGuard{7, 1}},
                      .operations = {ReleaseLock{"l", 1}, BreakLock{.name = "l", .token = 1},
                                     BreakLock{.name = "l"}, CompleteJob{7, 100}}};
  Batch subject;
  names.Name(specification, subject);
  EXPECT_EQ(std::get<JobGuard>(subject.guards.at(0)).token, 100);
  EXPECT_EQ(std::get<ReleaseLock>(subject.operations.at(0)).token, 100);
  EXPECT_EQ(std::get<BreakLock>(subject.operations.at(1)).token, 100);
  EXPECT_FALSE(std::get<BreakLock>(subject.operations.at(2)).token.has_value());
  EXPECT_EQ(std::get<JobGuard>(specification.guards.at(0)).token, 1);
  // 100 is a token of the subject, but not of the specification: nobody's token in either.
  const Token unknown = std::get<CompleteJob>(specification.operations.at(3)).token;
  EXPECT_NE(unknown, 100);
  EXPECT_EQ(std::get<CompleteJob>(subject.operations.at(3)).token, unknown);
  EXPECT_TRUE(names.Match(Json(unknown), Json(unknown)));
  EXPECT_TRUE(names.Match(Json(2), Json(101)));
}

}  // namespace
}  // namespace holdfast::testing
