// Data against the rules of its kind: bounds, exactly, and what is reserved.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/json_values.h"
#include "rules/kind_rules.h"

namespace holdfast::rules {
namespace {

using base::CompareNumbers;
using ::testing::StartsWith;

KindRulesPtr Account(std::string_view document) {
  auto rules = CompileRules("account", 1, document);
  EXPECT_TRUE(rules) << document << "\n" << rules.error().message;
  return rules ? *rules : std::make_shared<KindRules>();
}

TEST(KindRules, REC_3_NumbersAreComparedExactly) {
  // Ascending; every one is less than all that follow.
  const std::vector<const char*> ascending = {"-1e300",
                                              "-9223372036854777856.0",
                                              "-9223372036854775808",
                                              "-9223372036854775807",
                                              "-9007199254740993",
                                              "-9007199254740992.0",
                                              "-1.5",
                                              "-1",
                                              "-1e-300",
                                              "0",
                                              "1e-300",
                                              "0.5",
                                              "1",
                                              "1.5",
                                              "2",
                                              "9007199254740991",
                                              "9007199254740992.0",
                                              "9007199254740993",
                                              "9007199254740994.0",
                                              "9223372036854774784.0",
                                              "9223372036854775806",
                                              "9223372036854775807",
                                              "9223372036854775808.0",
                                              "1e300"};
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    for (std::size_t j = 0; j < ascending.size(); ++j) {
      int order =
          CompareNumbers(*base::ParseJson("a", ascending[i]), *base::ParseJson("b", ascending[j]));
      int sign = order < 0 ? -1 : static_cast<int>(order > 0);
      int expected = i < j ? -1 : static_cast<int>(i > j);
      EXPECT_EQ(sign, expected) << ascending[i] << " and " << ascending[j];
    }
  }
  EXPECT_EQ(CompareNumbers(1, 1.0), 0);
  EXPECT_EQ(CompareNumbers(-0.0, 0), 0);
  EXPECT_EQ(CompareNumbers(std::int64_t{1} << 53, 0x1p53), 0);
  EXPECT_EQ(CompareNumbers(std::numeric_limits<std::int64_t>::min(), -0x1p63), 0);
}

struct BoundCase {
  const char* bound;
  const char* data;
  std::int64_t reserved;
  const char* message;  // nothing: it holds
};

constexpr BoundCase kBounds[] = {
    {R"({"min":0})", R"({"n":0})", 0, nullptr},
    {R"({"min":0})", R"({})", 0, nullptr},
    {R"({"min":0})", R"({"n":-1})", 0, "/n would be -1: at least 0"},
    {R"({"min":0})", R"({"n":-0.5})", 0, "/n would be -0.5: at least 0"},
    {R"({"min":0})", R"({"n":"5"})", 0, "/n is a string, not a number"},
    {R"({"min":0})", R"({"n":null})", 0, "/n is null, not a number"},
    {R"({})", R"({"n":[]})", 0, "/n is an array, not a number"},
    {R"({"max":9})", R"({"n":9})", 0, nullptr},
    {R"({"max":9})", R"({"n":10})", 0, "/n would be 10: at most 9"},
    {R"({"max":9007199254740992})", R"({"n":9007199254740993})", 0,
     "/n would be 9007199254740993: at most 9007199254740992"},
    {R"({"max":"/m"})", R"({"n":5,"m":5})", 0, nullptr},
    {R"({"max":"/m"})", R"({"n":5,"m":4})", 0, "/n would be 5: at most 4"},
    {R"({"min":"/m/0"})", R"({"n":5,"m":[6]})", 0, "/n would be 5: at least 6"},
    {R"({"max":"/m"})", R"({"n":5})", 0, nullptr},
    {R"({"max":"/m"})", R"({"n":5,"m":null})", 0, nullptr},
    {R"({"max":"/m"})", R"({"n":5,"m":"9"})", 0, "/m, the limit of /n, is a string, not a number"},
    // What is reserved counts as gone for the lower bound, and as there for the upper one.
    {R"({"min":0})", R"({"n":10})", 10, nullptr},
    {R"({"min":0})", R"({"n":10})", 11, "/n would be 10 (11 of it reserved): at least 0"},
    {R"({"min":5})", R"({"n":10})", 6, "/n would be 10 (6 of it reserved): at least 5"},
    {R"({"max":9})", R"({"n":10})", 5, "/n would be 10: at most 9"},
    {R"({"min":0})", R"({"n":10.5})", 10, nullptr},
    {R"({"min":0})", R"({"n":10.5})", 11, "/n would be 10.5 (11 of it reserved): at least 0"},
    {R"({"min":0})", R"({})", 1, "/n would be gone, and 1 of it are reserved"},
    {R"({"min":0})", R"({"n":-9223372036854775808})", 1, "/n would be -9223372036854775808 (1 of"},
    {R"({"max":0})", R"({"n":-9223372036854775808})", 1, nullptr},
};

TEST(KindRules, REC_3_BoundsAreKept) {
  for (const BoundCase& c : kBounds) {
    KindRulesPtr rules = Account(std::string(R"({"bounds":{"/n":)") + c.bound + "}}");
    std::map<std::string, std::int64_t> reserved;
    if (c.reserved != 0) reserved["/n"] = c.reserved;
    auto violation = CheckData(*rules, *base::ParseJson("data", c.data), reserved);
    ASSERT_EQ(violation.has_value(), c.message != nullptr)
        << c.bound << " " << c.data << (violation ? violation->message : "");
    if (!violation) continue;
    EXPECT_EQ(violation->rule, "bounds /n");
    EXPECT_THAT(violation->message, StartsWith(c.message)) << c.bound << " " << c.data;
  }
}

TEST(KindRules, REC_3_SchemaComesBeforeBounds) {
  KindRulesPtr rules =
      Account(R"({"schema":{"required":["n"]},"bounds":{"/a":{"min":1},"/b":{"min":1}}})");
  EXPECT_EQ(CheckData(*rules, {{"a", 0}}, {})->rule, "schema");
  EXPECT_EQ(CheckData(*rules, {{"a", 0}}, {})->message, "Missing required property 'n'.");
  EXPECT_EQ(CheckData(*rules, {{"n", 0}, {"a", 1}, {"b", 0}}, {})->rule, "bounds /b");
  EXPECT_EQ(CheckData(*rules, {{"n", 0}, {"a", 1}}, {{"/c", 5}}), std::nullopt);
}

}  // namespace
}  // namespace holdfast::rules
