// Reading JSON strictly, and finding one's way in it.
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace holdfast::base {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Repeat(std::string_view text, std::size_t times) {
  std::string out;
  for (std::size_t i = 0; i < times; ++i) out += text;
  return out;
}

Json Parsed(std::string_view text) {
  auto json = ParseJson("data", text);
  EXPECT_TRUE(json) << text << ": " << json.error().message;
  return json ? *json : Json("unreadable");
}

TEST(Json, REC_2_IntegersAreExactTo64Bits) {
  EXPECT_EQ(Parsed("9223372036854775807").get<std::int64_t>(),
            std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(Parsed("-9223372036854775808").get<std::int64_t>(),
            std::numeric_limits<std::int64_t>::min());
  for (const char* text : {"0", "-1", "9007199254740993", "9223372036854775807",
                           "-9223372036854775808", "1.5", "1e+300"}) {
    Json json = Parsed(text);
    EXPECT_EQ(ToText(json), text);
    // One kind of integer alone: comparing signed with unsigned would be a trap.
    EXPECT_FALSE(json.is_number_unsigned()) << text;
  }
  EXPECT_TRUE(Parsed("1.0").is_number_float());
  EXPECT_TRUE(Parsed("1e2").is_number_float());
  EXPECT_TRUE(Parsed("18446744073709551616.0").is_number_float());
}

TEST(Json, WhatIsNotOneStrictValueIsRefusedWithTheReason) {
  struct Case {
    std::string text;
    const char* reason;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"", "is not valid JSON"},
           {" ", "is not valid JSON"},
           {"{", "is not valid JSON (at byte"},
           {"[1,]", "is not valid JSON"},
           {"{\"a\":1,}", "is not valid JSON"},
           {"{a:1}", "is not valid JSON"},
           {"'a'", "is not valid JSON"},
           {"01", "is not valid JSON"},
           {"+1", "is not valid JSON"},
           {".5", "is not valid JSON"},
           {"NaN", "is not valid JSON"},
           {"Infinity", "is not valid JSON"},
           {"tru", "is not valid JSON"},
           {"// x\n1", "is not valid JSON"},
           {"1 2", "is not valid JSON"},
           {"{} {}", "is not valid JSON"},
           {"\"\\ud800\"", "is not valid JSON"},
           {"\"\\x\"", "is not valid JSON"},
           {"\"a\nb\"", "is not valid JSON"},
           {std::string("1\0", 2), "is not valid JSON (at byte 2)"},
           {std::string("{}\0{", 4), "is not valid JSON (at byte 3)"},
           {"\xEF\xBB\xBF", "is not valid JSON"},
           {"\"\xff\"", "is not UTF-8"},
           {"\"\xed\xa0\x80\"", "is not UTF-8"},
           {"9223372036854775808", "has an integer beyond 64 bits"},
           {"-9223372036854775809", "has an integer beyond 64 bits"},
           {"[18446744073709551616]", "has an integer beyond 64 bits"},
           {"1e400", "out of range"},
           {"[-1e400]", "out of range"},
           {R"({"a":1,"a":2})", "has the member \"a\" twice"},
           {R"({"x":[{"a":{},"b":1,"a":null}]})", "has the member \"a\" twice"},
           {R"({"\u0061":1,"a":2})", "has the member \"a\" twice"},
           {R"({"":1,"":2})", "has the member \"\" twice"},
           {Repeat("[", 65) + Repeat("]", 65), "is nested over 64 deep"},
           {Repeat("[", 100'000), "is nested over 64 deep"},
           {Repeat(R"({"a":)", 65) + "1" + Repeat("}", 65), "is nested over 64 deep"}}) {
    auto json = ParseJson("the body", c.text);
    ASSERT_FALSE(json) << c.text.substr(0, 100);
    EXPECT_EQ(json.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(json.error().message, StartsWith("the body "));
    EXPECT_THAT(json.error().message, HasSubstr(c.reason)) << c.text.substr(0, 100);
  }
}

TEST(Json, ReadsWhatItShouldWhereverContainersMove) {
  EXPECT_EQ(Parsed(" {\"b\" : [ 1 , {\"c\":[]} , null ],\t\"a\":{} }\r\n"),
            Json::parse(R"({"a":{},"b":[1,{"c":[]},null]})"));
  EXPECT_EQ(DepthOf(Parsed(Repeat("[", 64) + Repeat("]", 64))), 64u);
  // Enough elements that arrays are moved in memory while others are being filled.
  std::string text = "[";
  for (int i = 0; i < 1000; ++i) text += R"({"a":[[1],[2]],"b":{"c":[3]}},)";
  text += "0]";
  EXPECT_EQ(Parsed(text), Json::parse(text));
  // The same name in another object is another member.
  EXPECT_EQ(ToText(Parsed(R"({"a":{"a":{"a":1}},"b":{"a":2}})")),
            R"({"a":{"a":{"a":1}},"b":{"a":2}})");
  EXPECT_EQ(Parsed(R"("\u00e4\ud83d\ude00\u0000")"), std::string("\xC3\xA4\xF0\x9F\x98\x80\0", 7));
}

TEST(Json, ARepeatedNameIsCutWhereItIsLong) {
  std::string name(10'000, 'x');
  auto json = ParseJson("data", "{\"" + name + "\":1,\"" + name + "\":2}");
  ASSERT_FALSE(json);
  EXPECT_LT(json.error().message.size(), 200u);
}

TEST(Json, KnowsDepthsAndTypes) {
  struct Case {
    const char* text;
    std::size_t depth;
    const char* type;
  };
  for (const Case& c : std::initializer_list<Case>{{"null", 0, "null"},
                                                   {"true", 0, "a boolean"},
                                                   {"1", 0, "a number"},
                                                   {"-1", 0, "a number"},
                                                   {"1.5", 0, "a number"},
                                                   {"\"a\"", 0, "a string"},
                                                   {"[]", 1, "an array"},
                                                   {"{}", 1, "an object"},
                                                   {R"({"a":[1,[2]],"b":{}})", 3, "an object"}}) {
    EXPECT_EQ(DepthOf(Parsed(c.text)), c.depth) << c.text;
    EXPECT_EQ(TypeName(Parsed(c.text)), c.type) << c.text;
  }
}

TEST(JsonPointer, FindsWhatTheStandardSays) {
  const Json root = Json::parse(
      R"({"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"k\"l":6," ":7,"m~n":8,"0":{"-":9}})");
  struct Case {
    const char* pointer;
    Json value;
  };
  for (const Case& c : std::initializer_list<Case>{{"", root},
                                                   {"/foo", root["foo"]},
                                                   {"/foo/0", "bar"},
                                                   {"/foo/1", "baz"},
                                                   {"/", 0},
                                                   {"/a~1b", 1},
                                                   {"/c%d", 2},
                                                   {"/e^f", 3},
                                                   {"/k\"l", 6},
                                                   {"/ ", 7},
                                                   {"/m~0n", 8},
                                                   {"/0/-", 9}}) {
    auto pointer = JsonPointer::Parse(c.pointer);
    ASSERT_TRUE(pointer) << c.pointer;
    EXPECT_EQ(pointer->text(), c.pointer);
    const Json* found = pointer->Find(root);
    ASSERT_NE(found, nullptr) << c.pointer;
    EXPECT_EQ(*found, c.value) << c.pointer;
  }
  for (const char* text :
       {"/foo/2", "/foo/-", "/foo/00", "/foo/01", "/foo/+1", "/foo/-1", "/foo/1 ", "/foo/",
        "/foo/18446744073709551616", "/bar", "/foo/0/x", "/a/b", "//", "/foo/x"}) {
    auto pointer = JsonPointer::Parse(text);
    ASSERT_TRUE(pointer) << text;
    EXPECT_EQ(pointer->Find(root), nullptr) << text;
  }
  // "~01" is "~1", never "/".
  EXPECT_EQ(JsonPointer::Parse("/~01")->tokens(), std::vector<std::string>{"~1"});
}

TEST(JsonPointer, IsRefusedUnlessItIsOne) {
  for (const std::string& text :
       {std::string("a"), std::string("a/b"), std::string("#/a"), std::string("/~"),
        std::string("/~2"), std::string("/a~"), std::string("/\xff"), "/" + std::string(1024, 'a'),
        Repeat("/a", 65)}) {
    auto pointer = JsonPointer::Parse(text);
    ASSERT_FALSE(pointer) << text;
    EXPECT_EQ(pointer.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(pointer.error().message, HasSubstr("is not a JSON pointer: "));
    EXPECT_LT(pointer.error().message.size(), 200u);
  }
  EXPECT_TRUE(JsonPointer::Parse("/" + std::string(1023, 'a')));
  EXPECT_TRUE(JsonPointer::Parse(Repeat("/a", 64)));
}

TEST(JsonPointer, PutsAndMakesTheObjectsOnTheWay) {
  struct Case {
    const char* before;
    const char* pointer;
    const char* after;  // nothing: it cannot be put there
  };
  for (const Case& c :
       std::initializer_list<Case>{{"{}", "/a", R"({"a":7})"},
                                   {"{}", "/a/b/0", R"({"a":{"b":{"0":7}}})"},
                                   {R"({"a":1})", "/a", R"({"a":7})"},
                                   {R"({"a":[1,2]})", "/a/1", R"({"a":[1,7]})"},
                                   {R"({"a":[{}]})", "/a/0/x", R"({"a":[{"x":7}]})"},
                                   {"[]", "", "7"},
                                   {R"({"a":[1]})", "/a/1", nullptr},
                                   {R"({"a":[1]})", "/a/-", nullptr},
                                   {R"({"a":1})", "/a/b", nullptr},
                                   {R"({"a":null})", "/a/b", nullptr}}) {
    Json json = Json::parse(c.before);
    EXPECT_EQ(JsonPointer::Parse(c.pointer)->Put(json, 7), c.after != nullptr) << c.pointer;
    if (c.after != nullptr) {
      EXPECT_EQ(json, Json::parse(c.after)) << c.pointer;
    }
  }
}

TEST(JsonPointer, ChangesWhatItFinds) {
  Json json = Json::parse(R"({"a":[1]})");
  *JsonPointer::Parse("/a/0")->Find(json) = 2;
  EXPECT_EQ(ToText(json), R"({"a":[2]})");
}

}  // namespace
}  // namespace holdfast::base
