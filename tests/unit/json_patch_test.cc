// JSON Patch (REC-2): what the standard says, and that no patch can do harm beyond its size.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rules/edits.h"

namespace holdfast::rules {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

Result<Json> ApplyJsonPatch(Json data, const Json& patch) {
  Effort effort;
  return rules::ApplyJsonPatch(std::move(data), patch, effort);
}

TEST(JsonPatch, REC_2_DoesWhatTheStandardSays) {
  struct Case {
    const char* before;
    const char* patch;
    const char* after;
  };
  for (const Case& c : std::initializer_list<Case>{
           {R"({"a":1})", "[]", R"({"a":1})"},
           {R"({"a":1})", R"([{"op":"add","path":"/b","value":[1]}])", R"({"a":1,"b":[1]})"},
           {R"({"a":1})", R"([{"op":"add","path":"/a","value":null}])", R"({"a":null})"},
           {R"({"a":[1,3]})", R"([{"op":"add","path":"/a/1","value":2}])", R"({"a":[1,2,3]})"},
           {R"({"a":[1]})", R"([{"op":"add","path":"/a/1","value":2}])", R"({"a":[1,2]})"},
           {R"({"a":[1]})", R"([{"op":"add","path":"/a/-","value":2}])", R"({"a":[1,2]})"},
           {R"({"a":[]})", R"([{"op":"add","path":"/a/0","value":2}])", R"({"a":[2]})"},
           {R"({"a":1})", R"([{"op":"add","path":"","value":{"b":2}}])", R"({"b":2})"},
           {R"({"a":1,"b":2})", R"([{"op":"remove","path":"/a"}])", R"({"b":2})"},
           {R"({"a":[1,2,3]})", R"([{"op":"remove","path":"/a/1"}])", R"({"a":[1,3]})"},
           {R"({"a":[1,2]})", R"([{"op":"replace","path":"/a/0","value":{}}])", R"({"a":[{},2]})"},
           {R"({"a":1})", R"([{"op":"replace","path":"","value":{}}])", "{}"},
           {R"({"a":{"b":1},"c":{}})", R"([{"op":"move","from":"/a/b","path":"/c/d"}])",
            R"({"a":{},"c":{"d":1}})"},
           {R"({"a":[1,2,3]})", R"([{"op":"move","from":"/a/0","path":"/a/2"}])",
            R"({"a":[2,3,1]})"},
           {R"({"a":1})", R"([{"op":"move","from":"/a","path":"/a"}])", R"({"a":1})"},
           {R"({"a":{"b":1}})", R"([{"op":"move","from":"/a/b","path":"/a"}])", R"({"a":1})"},
           {R"({"a":1,"ab":2})", R"([{"op":"move","from":"/a","path":"/ab"}])", R"({"ab":1})"},
           {R"({"a":{"b":1}})", R"([{"op":"copy","from":"/a","path":"/a/c"}])",
            R"({"a":{"b":1,"c":{"b":1}}})"},
           {R"({"a":{"b":1}})", R"([{"op":"copy","from":"","path":"/c"}])",
            R"({"a":{"b":1},"c":{"a":{"b":1}}})"},
           {R"({"a/b":1,"m~n":2})",
            R"([{"op":"test","path":"/a~1b","value":1},{"op":"remove","path":"/m~0n"}])",
            R"({"a/b":1})"},
           {R"({"a":{"x":[1],"y":null}})",
            R"([{"op":"test","path":"/a","value":{"y":null,"x":[1]},"comment":"ignored"}])",
            R"({"a":{"x":[1],"y":null}})"}}) {
    auto after = ApplyJsonPatch(Json::parse(c.before), Json::parse(c.patch));
    ASSERT_TRUE(after) << c.patch << ": " << after.error().message;
    EXPECT_EQ(*after, Json::parse(c.after)) << c.patch;
  }
}

TEST(JsonPatch, REC_2_WhatDoesNotFitIsRefusedWithItsIndex) {
  struct Case {
    const char* patch;
    const char* reason;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"1", "must be an object"},
           {"{}", "op must be a string"},
           {R"({"op":1,"path":"/n"})", "op must be a string"},
           {R"({"op":"jump","path":"/n"})", "op must be add, remove"},
           {R"({"op":"add","value":1})", "path must be a string"},
           {R"({"op":"add","path":"n","value":1})", "is not a JSON pointer"},
           {R"({"op":"add","path":"/n"})", "value is missing"},
           {R"({"op":"add","path":"/x/y","value":1})", "no object and no array"},
           // Below what is no container: an error, not an operation that does nothing.
           {R"({"op":"add","path":"/n/x","value":1})", "no object and no array"},
           {R"({"op":"add","path":"/null/x","value":1})", "no object and no array"},
           {R"({"op":"add","path":"/s/0","value":1})", "no object and no array"},
           {R"({"op":"add","path":"/l/3","value":1})", "there is nothing at '/l/3'"},
           {R"({"op":"add","path":"/l/01","value":1})", "there is nothing at"},
           {R"({"op":"add","path":"/l/-1","value":1})", "there is nothing at"},
           {R"({"op":"add","path":"/l/x","value":1})", "there is nothing at"},
           {R"({"op":"remove","path":"/x"})", "there is nothing at '/x'"},
           {R"({"op":"remove","path":"/l/-"})", "there is nothing at"},
           {R"({"op":"remove","path":"/n/x"})", "there is nothing at"},
           {R"({"op":"remove","path":""})", "cannot take away the whole document"},
           {R"({"op":"replace","path":"/x","value":1})", "there is nothing at"},
           {R"({"op":"replace","path":"/l/-","value":1})", "there is nothing at"},
           {R"({"op":"move","path":"/x"})", "from must be a string"},
           {R"({"op":"move","from":"/x","path":"/y"})", "there is nothing at '/x'"},
           {R"({"op":"move","from":"/o","path":"/o/p"})", "moves a value into itself"},
           {R"({"op":"move","from":"","path":"/o/p"})", "moves a value into itself"},
           {R"({"op":"copy","from":"/x","path":"/y"})", "there is nothing at '/x'"},
           {R"({"op":"copy","from":"/n","path":"/x/y"})", "no object and no array"}}) {
    Json patch = Json::array({Json::parse(R"({"op":"test","path":"/n","value":1})")});
    patch.push_back(Json::parse(c.patch));
    auto after = ApplyJsonPatch(
        Json::parse(R"({"n":1,"s":"text","null":null,"l":[1,2],"o":{"p":1}})"), patch);
    ASSERT_FALSE(after) << c.patch;
    EXPECT_EQ(after.error().code, ErrorCode::kInvalidArgument) << c.patch;
    EXPECT_THAT(after.error().message, StartsWith("patch[1]: ")) << c.patch;
    EXPECT_THAT(after.error().message, HasSubstr(c.reason)) << c.patch;
  }
  EXPECT_EQ(ApplyJsonPatch({}, Json::object()).error().code, ErrorCode::kInvalidArgument);
}

TEST(JsonPatch, REC_2_ATestThatFailsIsARuleViolation) {
  for (const char* value : {"2", "\"1\"", "null", "[1]", "true"}) {
    Json patch = Json::array({{{"op", "test"}, {"path", "/n"}, {"value", Json::parse(value)}}});
    auto after = ApplyJsonPatch({{"n", 1}}, patch);
    ASSERT_FALSE(after) << value;
    EXPECT_EQ(after.error().code, ErrorCode::kRuleViolation);
    EXPECT_EQ(after.error().message, "the test in patch[0] failed");
    EXPECT_EQ(after.error().detail.rule, "test");
  }
}

TEST(JsonPatch, REC_2_CopiesOfCopiesEndBeforeMemoryDoes) {
  // Each round puts two copies of /a into the next /a: 2 to the power of 60 of them.
  Json patch = Json::array();
  for (int i = 0; i < 60; ++i) {
    patch.push_back({{"op", "copy"}, {"from", "/a"}, {"path", "/b/x"}});
    patch.push_back({{"op", "copy"}, {"from", "/a"}, {"path", "/b/y"}});
    patch.push_back({{"op", "move"}, {"from", "/b"}, {"path", "/a"}});
    patch.push_back({{"op", "add"}, {"path", "/b"}, {"value", Json::object()}});
  }
  auto after = ApplyJsonPatch({{"a", std::string(1000, 'x')}, {"b", Json::object()}}, patch);
  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().code, ErrorCode::kPayloadTooLarge);
}

TEST(JsonPatch, REC_2_WideCopiesAreBounded) {
  Json data = {{"a", std::string(100'000, 'x')}, {"l", Json::array()}};
  Json patch = Json::array();
  for (int i = 0; i < 1000; ++i) {
    patch.push_back({{"op", "copy"}, {"from", "/a"}, {"path", "/l/-"}});
  }
  auto after = ApplyJsonPatch(data, patch);
  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().code, ErrorCode::kPayloadTooLarge);
  EXPECT_THAT(after.error().message, StartsWith("patch[83]: "));
}

TEST(JsonPatch, K4_WhatAnInsertionMovesIsCounted) {
  Json data = {{"l", Json::array()}};
  for (int i = 0; i < 400'000; ++i) data["l"].push_back(1);
  auto many = [](const char* op, const char* path) {
    Json patch = Json::array();
    for (int i = 0; i < 100; ++i) patch.push_back({{"op", op}, {"path", path}, {"value", 2}});
    return patch;
  };
  for (const char* op : {"add", "remove"}) {
    auto head = ApplyJsonPatch(data, many(op, "/l/0"));
    ASSERT_FALSE(head) << op;
    EXPECT_EQ(head.error().code, ErrorCode::kPayloadTooLarge);
    EXPECT_THAT(head.error().message, HasSubstr("2000000 steps"));
  }
  EXPECT_EQ((*ApplyJsonPatch(data, many("add", "/l/-")))["l"].size(), 400'100u);
  EXPECT_EQ((*ApplyJsonPatch(data, many("replace", "/l/0")))["l"].size(), 400'000u);
  EXPECT_EQ((*ApplyJsonPatch(data, many("add", "/l/399990")))["l"].size(), 400'100u);
}

TEST(JsonPatch, REC_2_NestsNoDeeperThanDataMay) {
  Json patch = Json::array();
  std::string path = "/a";
  for (int i = 0; i < 70; ++i, path += "/a") {
    patch.push_back({{"op", "add"}, {"path", path}, {"value", Json::object()}});
  }
  auto after = ApplyJsonPatch(Json::object(), patch);
  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().message, "patch[63]: data would be nested over 64 deep");
  Json doubling = Json::array({{{"op", "add"}, {"path", "/a"}, {"value", Json::object()}}});
  path = "/a/x";
  for (int i = 0; i < 70; ++i, path += "/x") {
    doubling.push_back({{"op", "copy"}, {"from", "/a"}, {"path", path}});
  }
  EXPECT_FALSE(ApplyJsonPatch(Json::object(), doubling));
}

TEST(JsonPatch, REC_2_TakesAThousandOperationsAndNoMore) {
  Json patch = Json::array();
  for (int i = 0; i < 1000; ++i) {
    patch.push_back({{"op", "add"}, {"path", "/l/0"}, {"value", i}});
  }
  auto after = ApplyJsonPatch({{"l", Json::array()}}, patch);
  ASSERT_TRUE(after) << after.error().message;
  EXPECT_EQ((*after)["l"].size(), 1000u);
  EXPECT_EQ((*after)["l"][0], 999);
  patch.push_back(patch[0]);
  after = ApplyJsonPatch({{"l", Json::array()}}, patch);
  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().message, "the patch has 1001 operations (at most 1000)");
}

}  // namespace
}  // namespace holdfast::rules
