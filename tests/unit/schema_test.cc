// Schemas of data: what they accept, what they say, and that none of them does harm.
#include "rules/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace holdfast::rules {
namespace {

using base::Json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::optional<std::string> Complaint(const Json& schema, const Json& data) {
  auto compiled = Schema::Compile(schema, "/schema");
  if (!compiled) return "NO SCHEMA: " + compiled.error().message;
  return compiled->Check(data);
}

struct KeywordCase {
  const char* schema;
  std::vector<const char*> fit;
  std::vector<const char*> unfit;
};

void ExpectAll(const std::vector<KeywordCase>& cases) {
  for (const KeywordCase& c : cases) {
    for (const char* data : c.fit) {
      EXPECT_EQ(Complaint(Json::parse(c.schema), *base::ParseJson("data", data)), std::nullopt)
          << c.schema << " should accept " << data;
    }
    for (const char* data : c.unfit) {
      auto complaint = Complaint(Json::parse(c.schema), *base::ParseJson("data", data));
      ASSERT_TRUE(complaint) << c.schema << " should not accept " << data;
      EXPECT_THAT(*complaint, Not(HasSubstr("NO SCHEMA"))) << c.schema;
      EXPECT_FALSE(complaint->empty()) << c.schema;
    }
  }
}

TEST(Schema, REC_3_TypesAndValues) {
  ExpectAll({
      {"true", {"1", "null", "{}"}, {}},
      {"{}", {"1", "null", "{}"}, {}},
      {"false", {}, {"1", "null", "{}"}},
      {R"({"type":"object"})", {"{}"}, {"[]", "null", "1", "\"\""}},
      {R"({"type":"array"})", {"[]"}, {"{}", "null"}},
      {R"({"type":"string"})", {"\"\""}, {"1", "null"}},
      {R"({"type":"boolean"})", {"true", "false"}, {"0", "\"true\"", "null"}},
      {R"({"type":"null"})", {"null"}, {"0", "\"\"", "false"}},
      {R"({"type":"number"})", {"1", "-1.5", "1e3"}, {"\"1\"", "true"}},
      {R"({"type":"integer"})", {"1", "-9223372036854775808"}, {"1.5", "1.0", "\"1\""}},
      {R"({"type":["string","null"]})", {"\"a\"", "null"}, {"1", "{}"}},
      {R"({"enum":[1,"a",null,{"a":[1]}]})",
       {"1", "1.0", "\"a\"", "null", R"({"a":[1]})"},
       {"2", "\"b\"", "true", R"({"a":[2]})", R"({"a":[1],"b":1})", "[]"}},
      {R"({"enum":[9007199254740993]})", {"9007199254740993"}, {"9007199254740992"}},
      {R"({"const":{"a":1,"b":[2.0]}})", {R"({"b":[2],"a":1.0})"}, {R"({"a":1})", "1"}},
      {R"({"const":"1"})", {"\"1\""}, {"1"}},
      {R"({"const":null})", {"null"}, {"0", "false"}},
      {R"({"const":[["a"],["b"]]})", {R"([["a"],["b"]])"}, {R"([["a","b"]])", R"(["a","b"])"}},
  });
}

TEST(Schema, REC_3_NumbersAreComparedExactly) {
  ExpectAll({
      {R"({"minimum":0})", {"0", "0.0", "1", "\"-1\""}, {"-1", "-1e-300"}},
      {R"({"maximum":9007199254740992})",
       {"9007199254740992", "9007199254740992.0"},
       {"9007199254740993", "9223372036854775807"}},
      {R"({"minimum":9223372036854775807})",
       {"9223372036854775807", "1e19"},
       {"9223372036854775806"}},
      {R"({"exclusiveMinimum":0})", {"1", "0.1"}, {"0", "-1"}},
      {R"({"exclusiveMaximum":9007199254740993})", {"9007199254740992"}, {"9007199254740993"}},
      {R"({"exclusiveMaximum":1.5})", {"1"}, {"1.5", "2"}},
      {R"({"multipleOf":3})", {"0", "3", "-9", "6.0", "\"a\""}, {"1", "3.5", "-1"}},
      {R"({"multipleOf":0.01})", {"19.99", "0", "-3", "1e10"}, {"0.005", "19.991"}},
      {R"({"multipleOf":1})", {"9223372036854775807", "-9223372036854775808"}, {"0.5"}},
  });
}

TEST(Schema, REC_3_Strings) {
  ExpectAll({
      {R"({"minLength":2})",
       {"\"ab\"", "\"äö\"", "1", "\"\\u0000\\u0000\""},
       {"\"a\"", "\"ä\"", "\"\""}},
      {R"({"maxLength":2})", {"\"ab\"", "\"äö\"", "\"\"", "[1,2,3]"}, {"\"abc\"", "\"\\u0000aa\""}},
      {R"({"pattern":"^[A-Z]{3}-[0-9]+$"})",
       {"\"ABC-1\"", "1"},
       {"\"ABC-\"", "\"xABC-1\"", "\"\""}},
      {R"({"pattern":"b"})", {"\"abc\"", "\"b\"", "\"a\\nb\""}, {"\"ac\"", "\"\""}},
      {R"({"pattern":"b$"})", {"\"ab\""}, {"\"ba\""}},
      {R"({"pattern":"a|^b"})", {"\"xa\"", "\"bx\""}, {"\"xb\""}},
      {R"({"pattern":"\\bword\\b"})", {"\"a word here\""}, {"\"swords\""}},
      {R"({"pattern":""})", {"\"\"", "\"x\""}, {}},
      {R"({"pattern":"^(a+)+$"})",
       {"\"aaaa\""},
       {"\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\""}},
      {R"({"format":"date-time"})",
       {"\"2026-11-23T08:15:30Z\"", "\"2026-11-23T08:15:30.5+02:00\"", "1", "{}"},
       {"\"2026-02-30T08:15:30Z\"", "\"today\"", "\"\""}},
      {R"({"format":"date"})",
       {"\"2024-02-29\"", "null"},
       {"\"2026-02-29\"", "\"2026-1-1\"", "\"x\""}},
      {R"({"format":"time"})", {"\"08:15:30Z\"", "[]"}, {"\"8:15\"", "\"25:00:00Z\""}},
      {R"({"format":"email"})", {"\"not checked\""}, {}},
  });
}

TEST(Schema, REC_3_Arrays) {
  ExpectAll({
      {R"({"items":{"type":"integer"}})", {"[]", "[1,2]", "{}"}, {"[1,\"2\"]", "[null]"}},
      {R"({"items":[{"type":"integer"},{"type":"string"}]})",
       {"[]", "[1]", "[1,\"a\",null]"},
       {"[\"a\"]", "[1,2]"}},
      {R"({"items":[true],"additionalItems":false})", {"[]", "[1]"}, {"[1,2]"}},
      {R"({"items":[true],"additionalItems":{"type":"null"}})", {"[1,null]"}, {"[1,2]"}},
      {R"({"items":false})", {"[]"}, {"[1]"}},
      {R"({"minItems":1,"maxItems":2})", {"[1]", "[1,2]", "{}"}, {"[]", "[1,2,3]"}},
      {R"({"uniqueItems":true})",
       {"[]", "[1,\"1\",true,null,[],{}]", R"([{"a":1},{"a":2}])", "[[1,[2]],[[1],2]]"},
       {"[1,1]", "[1,1.0]", R"([{"a":1,"b":2},{"b":2,"a":1}])", "[null,0,null]"}},
      {R"({"uniqueItems":false})", {"[1,1]"}, {}},
      {R"({"contains":{"const":2}})", {"[1,2]", "{}"}, {"[]", "[1,3]"}},
  });
}

TEST(Schema, REC_3_Objects) {
  ExpectAll({
      {R"({"required":["a","b"]})", {R"({"a":null,"b":1,"c":2})", "[]"}, {"{}", R"({"a":1})"}},
      {R"({"properties":{"a":{"type":"string"},"b":false}})",
       {"{}", R"({"a":"x","c":1})", "1"},
       {R"({"a":1})", R"({"b":1})"}},
      {R"({"properties":{"a":true},"additionalProperties":false})", {R"({"a":1})"}, {R"({"b":1})"}},
      {R"({"additionalProperties":{"type":"integer"}})", {R"({"a":1})"}, {R"({"a":"1"})"}},
      {R"({"patternProperties":{"^x_":{"type":"integer"}},"additionalProperties":false})",
       {R"({"x_a":1})", "{}"},
       {R"({"x_a":"1"})", R"({"y":1})"}},
      {R"({"propertyNames":{"pattern":"^[a-z]+$","maxLength":3}})",
       {R"({"abc":1})", "{}", "[]"},
       {R"({"A":1})", R"({"abcd":1})"}},
      {R"({"propertyNames":{"enum":["a"]}})", {R"({"a":1})"}, {R"({"b":1})"}},
      {R"({"propertyNames":false})", {"{}"}, {R"({"b":1})"}},
      {R"({"propertyNames":{"$ref":"#/definitions/n"},"definitions":{"n":{"const":"n"}}})",
       {R"({"n":1})"},
       {R"({"b":1})"}},
      {R"({"minProperties":1,"maxProperties":1})", {R"({"a":1})"}, {"{}", R"({"a":1,"b":1})"}},
      {R"({"dependencies":{"a":["b"],"c":{"required":["d"]},"e":false}})",
       {"{}", R"({"a":1,"b":1})", R"({"c":1,"d":1})"},
       {R"({"a":1})", R"({"c":1})", R"({"e":1})"}},
  });
}

TEST(Schema, REC_3_Combinations) {
  ExpectAll({
      {R"({"allOf":[{"minimum":1},{"maximum":2}]})", {"1", "2"}, {"0", "3"}},
      {R"({"anyOf":[{"type":"string"},{"minimum":1}]})", {"\"a\"", "1", "null"}, {"0"}},
      {R"({"oneOf":[{"minimum":1},{"maximum":2}]})", {"0", "3"}, {"1", "2"}},
      {R"({"oneOf":[false,true]})", {"1"}, {}},
      {R"({"not":{"type":"null"}})", {"1"}, {"null"}},
      {R"({"not":true})", {}, {"1"}},
      {R"({"if":{"minimum":10},"then":{"multipleOf":10},"else":{"multipleOf":2}})",
       {"20", "4"},
       {"15", "3"}},
      {R"({"if":true,"then":false})", {}, {"1"}},
      {R"({"then":false,"else":false})", {"1"}, {}},
  });
}

TEST(Schema, REC_3_ReferencesWithinTheDocument) {
  ExpectAll({
      {R"({"$ref":"#/definitions/a","type":"null","definitions":{"a":{"type":"string"}}})",
       {"\"beside a reference nothing counts\""},
       {"null"}},
      {R"({"properties":{"a":{"$ref":"#/definitions/x~1y%25"}},
           "definitions":{"x/y%":{"type":"string"}}})",
       {R"({"a":"b"})"},
       {R"({"a":1})"}},
      {R"({"properties":{"a":{"type":"integer"},"b":{"$ref":"#/properties/a"}}})",
       {R"({"b":1})"},
       {R"({"b":"1"})"}},
      {R"({"type":"object","properties":{"next":{"$ref":"#"}},"additionalProperties":false})",
       {R"({"next":{"next":{}}})"},
       {R"({"next":{"next":{"x":1}}})", R"({"next":1})"}},
      {R"({"$ref":"#/definitions/list","definitions":{"list":{"anyOf":[{"type":"null"},
           {"type":"object","required":["rest"],
            "properties":{"rest":{"$ref":"#/definitions/list"}}}]}}})",
       {"null", R"({"rest":{"rest":null}})"},
       {"1", R"({"rest":{"rest":1}})", R"({"rest":{}})"}},
      {R"({"allOf":[{"$ref":"#/x-shared/0"}],"x-shared":[{"type":"string"}]})", {"\"a\""}, {"1"}},
  });
}

struct RefusedCase {
  const char* schema;
  const char* message;  // how it begins
};

constexpr RefusedCase kRefused[] = {
    {"1", "/schema: must be a schema (an object, true or false), not a number"},
    {"null", "/schema: must be a schema"},
    {"[]", "/schema: must be a schema"},
    {R"({"requried":["a"]})", "/schema/requried: is no keyword"},
    {R"({"id":"a"})", "/schema/id: is no keyword"},
    {R"({"$schema":1})", "/schema/$schema: must be a string"},
    {R"({"$id":{}})", "/schema/$id: must be a string"},
    {R"({"properties":{"a":{"$id":"b"}}})", "/schema/properties/a/$id: is possible at"},
    {R"({"title":1})", "/schema/title: must be a string"},
    {R"({"description":[]})", "/schema/description: must be a string"},
    {R"({"type":"strnig"})", "/schema/type: 'strnig' is no type"},
    {R"({"type":"any"})", "/schema/type: 'any' is no type"},
    {R"({"type":1})", "/schema/type: must be the name of a type"},
    {R"({"type":{}})", "/schema/type: must be the name of a type"},
    {R"({"type":[]})", "/schema/type: names no type"},
    {R"({"type":["string","x"]})", "/schema/type/1: 'x' is no type"},
    {R"({"type":["string",{}]})", "/schema/type/1: must be the name of a type"},
    {R"({"enum":1})", "/schema/enum: must be a list"},
    {R"({"enum":[]})", "/schema/enum: must be a list of at least one"},
    {R"({"minimum":"1"})", "/schema/minimum: must be a number"},
    {R"({"maximum":null})", "/schema/maximum: must be a number"},
    {R"({"exclusiveMinimum":true})", "/schema/exclusiveMinimum: must be a number"},
    {R"({"exclusiveMaximum":true})", "/schema/exclusiveMaximum: must be a number"},
    {R"({"multipleOf":0})", "/schema/multipleOf: must be a number greater than 0"},
    {R"({"multipleOf":0.0})", "/schema/multipleOf: must be a number greater than 0"},
    {R"({"multipleOf":-1})", "/schema/multipleOf: must be a number greater than 0"},
    {R"({"multipleOf":"2"})", "/schema/multipleOf: must be a number greater than 0"},
    {R"({"minLength":-1})", "/schema/minLength: must be an integer"},
    {R"({"maxLength":1.5})", "/schema/maxLength: must be an integer"},
    {R"({"minItems":"1"})", "/schema/minItems: must be an integer"},
    {R"({"maxItems":[]})", "/schema/maxItems: must be an integer"},
    {R"({"minProperties":null})", "/schema/minProperties: must be an integer"},
    {R"({"maxProperties":-5})", "/schema/maxProperties: must be an integer"},
    {R"({"uniqueItems":"true"})", "/schema/uniqueItems: must be true or false"},
    {R"({"pattern":1})", "/schema/pattern: must be a string"},
    {R"({"pattern":"("})", "/schema/pattern: '(' is not a regular expression of RE2"},
    {R"({"pattern":"[a"})", "/schema/pattern: '[a' is not a regular expression of RE2"},
    {R"({"pattern":"*"})", "/schema/pattern: '*' is not a regular expression of RE2"},
    {R"({"pattern":"a{3,2}"})", "/schema/pattern: 'a{3,2}' is not a regular expression of RE2"},
    {R"({"pattern":"a\\"})", "/schema/pattern: 'a\\' is not a regular expression of RE2"},
    {R"({"pattern":"(a)|b)("})", "/schema/pattern: '(a)|b)(' is not a regular expression of RE2"},
    {R"({"pattern":"(a)\\1"})",
     "/schema/pattern: '(a)\\1' is not a regular expression of RE2: invalid escape"},
    {R"~({"pattern":"(?=a)"})~",
     "/schema/pattern: '(?=a)' is not a regular expression of RE2: invalid perl operator"},
    {R"~({"pattern":"x(?!a)"})~",
     "/schema/pattern: 'x(?!a)' is not a regular expression of RE2: invalid perl"},
    {R"({"pattern":"a{1001}"})",
     "/schema/pattern: 'a{1001}' is not a regular expression of RE2: invalid repetition"},
    {R"({"pattern":"((a{40}){40}){40}"})",
     "/schema/pattern: '((a{40}){40}){40}' is not a regular expression of RE2: invalid rep"},
    {R"({"pattern":"a\u0000b"})", "/schema/pattern: 'a"},
    {R"({"pattern":"(a{900}b{900}){1}c{900}"})",
     "/schema/pattern: '(a{900}b{900}){1}c{900}' is too large"},
    {R"({"patternProperties":{"[":true}})", "/schema/patternProperties/[: '[' is not a regular"},
    {R"({"patternProperties":[]})", "/schema/patternProperties: must be an object"},
    {R"({"format":1})", "/schema/format: must be a string"},
    {R"({"required":"a"})", "/schema/required: must be a list of names"},
    {R"({"required":true})", "/schema/required: must be a list of names"},
    {R"({"required":["a",1]})", "/schema/required/1: must be a string"},
    {R"({"required":["a\u0000"]})", "/schema/required/0: has a NUL"},
    {R"({"properties":[]})", "/schema/properties: must be an object"},
    {R"({"properties":{"a":1}})", "/schema/properties/a: must be a schema"},
    {R"({"properties":{"a~/b":null}})", "/schema/properties/a~0~1b: must be a schema"},
    {R"({"properties":{"a\u0000":{}}})", "/schema/properties/a?: has a NUL"},
    {R"({"additionalProperties":"no"})", "/schema/additionalProperties: must be a schema"},
    {R"({"propertyNames":[]})", "/schema/propertyNames: must be a schema"},
    {R"({"items":1})", "/schema/items: must be a schema"},
    {R"({"items":[{},2]})", "/schema/items/1: must be a schema"},
    {R"({"additionalItems":null})", "/schema/additionalItems: must be a schema"},
    {R"({"contains":"a"})", "/schema/contains: must be a schema"},
    {R"({"dependencies":[]})", "/schema/dependencies: must be an object"},
    {R"({"dependencies":{"a":"b"}})", "/schema/dependencies/a: must be a schema"},
    {R"({"dependencies":{"a":[1]}})", "/schema/dependencies/a/0: must be a string"},
    {R"({"allOf":{}})", "/schema/allOf: must be a list of at least one schema"},
    {R"({"anyOf":[]})", "/schema/anyOf: must be a list of at least one schema"},
    {R"({"oneOf":[1]})", "/schema/oneOf/0: must be a schema"},
    {R"({"not":1})", "/schema/not: must be a schema"},
    {R"({"if":1})", "/schema/if: must be a schema"},
    {R"({"then":1})", "/schema/then: must be a schema"},
    {R"({"definitions":[]})", "/schema/definitions: must be an object"},
    {R"({"definitions":{"a":{"type":"x"}}})", "/schema/definitions/a/type: 'x' is no type"},
    {R"({"$ref":1})", "/schema/$ref: must be a string"},
    {R"({"$ref":""})", "/schema/$ref: refers to another document"},
    {R"({"$ref":"http://example.org/a.json"})", "/schema/$ref: refers to another document"},
    {R"({"$ref":"other.json#/a"})", "/schema/$ref: refers to another document"},
    {R"({"$ref":"file:///etc/passwd"})", "/schema/$ref: refers to another document"},
    {R"({"$ref":"#a"})", "/schema/$ref: must be '#' and a JSON pointer"},
    {R"({"$ref":"#/a%2"})", "/schema/$ref: must be '#' and a JSON pointer"},
    {R"({"$ref":"#/a%ff"})", "/schema/$ref: must be '#' and a JSON pointer"},
    {R"({"$ref":"#/a%zz"})", "/schema/$ref: must be '#' and a JSON pointer"},
    {R"({"$ref":"#/definitions/a"})", "/schema/$ref: points at nothing"},
    {R"({"properties":{"a":{"$ref":"#/required"}},"required":["a"]})",
     "/schema/required: must be a schema"},
    {R"({"$ref":"#"})", "/schema: refers to itself"},
    {R"({"$ref":"#/definitions/a","definitions":{"a":{"$ref":"#/definitions/b"},
               "b":{"$ref":"#/definitions/a"}}})",
     "/schema/definitions/"},
    {R"({"allOf":[{"$ref":"#"}]})", "/schema: refers to itself without getting anywhere"},
    {R"({"not":{"anyOf":[{"$ref":"#"}]}})", "/schema"},
    {R"({"if":{"$ref":"#"}})", "/schema: refers to itself without"},
    {R"({"dependencies":{"a":{"$ref":"#"}}})", "/schema: refers to itself without"},
    {R"({"properties":{"a":{"oneOf":[{"$ref":"#/properties/a"}]}}})",
     "/schema/properties/a: refers to itself without"}};

TEST(Schema, REC_9_WhatIsNoSchemaIsRefusedWithItsPlace) {
  for (const RefusedCase& c : kRefused) {
    auto schema = Schema::Compile(Json::parse(c.schema), "/schema");
    ASSERT_FALSE(schema) << c.schema;
    EXPECT_EQ(schema.error().code, ErrorCode::kInvalidArgument) << c.schema;
    EXPECT_THAT(schema.error().message, StartsWith(c.message)) << c.schema;
    EXPECT_THAT(schema.error().message, StartsWith(schema.error().detail.rule + ": ")) << c.schema;
    EXPECT_EQ(schema.error().message.find('\n'), std::string::npos) << c.schema;
  }
}

TEST(Schema, REC_3_AComplaintNamesThePlaceAndNotTheValue) {
  struct Case {
    const char* schema;
    const char* data;
    const char* complaint;
  };
  for (const Case& c : std::initializer_list<Case>{
           {R"({"required":["title"]})", "{}", "Missing required property 'title'."},
           {R"({"properties":{"a":{"items":{"properties":{"b/c~":{"minimum":5}}}}}})",
            R"({"a":[{},{"b/c~":-12345}]})", "/a/1/b~1c~0: Number must be at least 5."},
           {R"({"properties":{"a":{"maxLength":3}}})", R"({"a":"secret"})",
            "/a: String has more than 3 characters."},
           {R"({"properties":{"a":{"enum":["x"]}}})", R"({"a":"secret"})",
            "/a: Value is none of those in 'enum'."},
           {R"({"properties":{"a":false}})", R"({"a":"secret"})", "/a: Value is not permitted."},
           {R"({"properties":{"a":{"type":"integer"}}})", R"({"a":"secret"})",
            "/a: Value type not permitted by 'type' constraint."}}) {
    EXPECT_EQ(Complaint(Json::parse(c.schema), Json::parse(c.data)), c.complaint) << c.schema;
  }
}

TEST(Schema, REC_3_AComplaintIsOneShortLine) {
  std::string name = "a\nb" + std::string(1000, 'x');
  auto complaint = Complaint(Json::parse(R"({"additionalProperties":{"type":"null"}})"),
                             Json::object({{name, 1}}));
  ASSERT_TRUE(complaint);
  EXPECT_EQ(complaint->find('\n'), std::string::npos);
  EXPECT_LE(complaint->size(), 300u);
}

TEST(Schema, REC_3_LongStringsAndNamesMatchNoPattern) {
  Json pattern = Json::parse(R"({"pattern":"^(a|b)*$"})");
  EXPECT_EQ(Complaint(pattern, std::string(4096, 'a')), std::nullopt);
  EXPECT_THAT(*Complaint(pattern, std::string(4097, 'a')), HasSubstr("too long for a pattern"));
  EXPECT_THAT(*Complaint(pattern, std::string(1'000'000, 'a')), HasSubstr("at most 4096 bytes"));
  Json names = Json::parse(R"({"patternProperties":{"^.*x$":true}})");
  EXPECT_EQ(Complaint(names, {{std::string(4096, 'a'), 1}}), std::nullopt);
  EXPECT_THAT(*Complaint(names, {{std::string(4097, 'a'), 1}}), HasSubstr("too long"));
}

TEST(Schema, REC_3_NamePatternsAreAnyPatterns) {
  Json schema = Json::parse(R"({
      "properties":{"x_id":{"type":"string"},"plain":{"type":"string"}},
      "patternProperties":{"^(x|y)_.*_?id$":{"minLength":2},"^x.*":{"maxLength":3},"z+z+$":true},
      "additionalProperties":{"type":"boolean"}})");
  for (const char* data : {R"({"x_id":"abc"})", R"({"plain":"long enough"})", R"({"zz":[1]})",
                           R"({"other":true})", R"({"y_id":"abcdef","x":"a","b":false})", "{}"}) {
    EXPECT_EQ(Complaint(schema, Json::parse(data)), std::nullopt) << data;
  }
  for (const char* data : {R"({"x_id":"a"})", R"({"x_id":"abcd"})", R"({"x_id":1})",
                           R"({"plain":1})", R"({"other":1})", R"({"y_id":"a"})"}) {
    EXPECT_NE(Complaint(schema, Json::parse(data)), std::nullopt) << data;
  }
  EXPECT_THAT(*Complaint(schema, Json::parse(R"({"a":true,"other":1})")), HasSubstr("/other: "));
  Json closed = Json::parse(R"({"patternProperties":{"^x":true},"additionalProperties":false})");
  EXPECT_EQ(Complaint(closed, Json::parse(R"({"x1":1})")), std::nullopt);
  EXPECT_NE(Complaint(closed, Json::parse(R"({"y1":1})")), std::nullopt);
}

TEST(Schema, K4_WhatACheckTakesIsCounted) {
  // 14 times doubled, on a string of 1 MB.
  Json definitions = Json::object();
  for (int i = 0; i < 14; ++i) {
    Json next = {{"$ref", "#/definitions/d" + std::to_string(i + 1)}};
    definitions["d" + std::to_string(i)] = {{"allOf", {next, next}}};
  }
  definitions["d14"] = {{"maxLength", 2'000'000}};
  Json doubled = {{"$ref", "#/definitions/d0"}, {"definitions", definitions}};
  const std::string slow = "takes too long to check against the schema";
  EXPECT_EQ(Complaint(doubled, std::string(1'000'000, 'x')), slow);
  EXPECT_EQ(Complaint(doubled, "x"), std::nullopt);

  Json pattern = Json::parse(R"({"items":{"pattern":"(a?){200}"}})");
  Json strings = Json::array();
  for (int i = 0; i < 100; ++i) strings.push_back(std::string(4096, 'a'));
  EXPECT_EQ(Complaint(pattern, strings), slow);
  EXPECT_EQ(Complaint(pattern, Json::array({std::string(4096, 'a')})), std::nullopt);
  // What anyone would write.
  Json plain = Json::parse(R"({"items":{"pattern":"^[A-Z]{3}-[0-9]+$","maxLength":10}})");
  Json codes = Json::array();
  for (int i = 0; i < 10'000; ++i) codes.push_back("ABC-12345");
  EXPECT_EQ(Complaint(plain, codes), std::nullopt);
}

/// What this thread has computed so far: whoever else uses the machine does not count.
double CpuSeconds() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

/// Runs `work`, and fails if that takes longer than a server could afford, sanitized or not.
template <typename Work>
void ExpectQuick(const char* what, Work work) {
  const double start = CpuSeconds();
  work();
  EXPECT_LT(CpuSeconds() - start, 20) << what;
}

TEST(Schema, REC_3_NoPatternTakesForEver) {
  for (const char* pattern :
       {"^(a+)+$", "^(a|a)*$", "^(a*)*$", "^([a-z]+)*[0-9]$", "(x+x+)+y", "^(a?){200}$", "a*b",
        "(((((((((a*)*)*)*)*)*)*)*)*)*b", "^(.*,){50}X", "(a|b|ab)*c"}) {
    auto schema = Schema::Compile({{"pattern", pattern}}, "/schema");
    ASSERT_TRUE(schema) << pattern << schema.error().message;
    ExpectQuick(pattern, [&] {
      (void)schema->Check(std::string(4095, 'a') + "!");
      (void)schema->Check(std::string(4096, 'x'));
    });
  }
  // Deep nesting of what matches nothing much: compiled and searched within the stack there is.
  std::string deep = std::string(400, '(') + "a?" + std::string(400, ')');
  (void)Complaint({{"pattern", deep}}, std::string(4096, 'a'));
  (void)Complaint({{"pattern", std::string(1024, '(')}}, "a");
  (void)Complaint({{"pattern", std::string(1024, '|')}}, "a");
  (void)Complaint({{"pattern", std::string(1024, '[')}}, "a");
  (void)Complaint({{"pattern", std::string(1024, '\\')}}, "a");
}

TEST(Schema, REC_3_NoSchemaTakesForEver) {
  // Each definition asks the next one twice: 2 to the power of 100 checks, if nobody counted.
  Json definitions = Json::object();
  for (int i = 0; i < 100; ++i) {
    Json next = {{"$ref", "#/definitions/d" + std::to_string(i + 1)}};
    definitions["d" + std::to_string(i)] = {{"allOf", {next, next}}};
  }
  definitions["d100"] = {{"type", "object"}};
  Json in_place = {{"$ref", "#/definitions/d0"}, {"definitions", definitions}};
  ExpectQuick("in place", [&] {
    EXPECT_EQ(Complaint(in_place, Json::object()), "takes too long to check against the schema");
  });

  // The same, going one level down into the data each time.
  Json twice = Json::parse(R"({"properties":{"a":{"anyOf":[{"$ref":"#"},{"$ref":"#"}]}},
                               "required":["b"]})");
  Json data = Json::object();
  for (int i = 0; i < 63; ++i) data = {{"a", data}};
  ExpectQuick("in depth", [&] { EXPECT_TRUE(Complaint(twice, data)); });

  // A long way through the document, for a value that stays the same.
  Json chain = Json::object();
  for (int i = 0; i < 1500; ++i) {
    chain["d" + std::to_string(i)] = {
        {"allOf", {{{"$ref", "#/definitions/d" + std::to_string(i + 1)}}}}};
  }
  chain["d1500"] = true;
  EXPECT_EQ(Complaint({{"$ref", "#/definitions/d0"}, {"definitions", chain}}, 1),
            "needs schemas nested too deep to be checked");

  // Many definitions that lead from one to the next through members.
  Json members = Json::object();
  for (int i = 0; i < 1500; ++i) {
    members["d" + std::to_string(i)] = {
        {"properties", {{"a", {{"$ref", "#/definitions/d" + std::to_string(i + 1)}}}}}};
  }
  members["d1500"] = true;
  EXPECT_EQ(Complaint({{"$ref", "#/definitions/d0"}, {"definitions", members}}, data),
            std::nullopt);

  Json many = Json::array();
  for (int i = 0; i < 2000; ++i) many.push_back(Json::object());
  EXPECT_THAT(*Complaint({{"anyOf", many}}, 1), HasSubstr("one schema too many (at most 2000)"));
}

TEST(Schema, REC_3_MuchDataIsCheckedAtOnce) {
  Json numbers = Json::array();
  for (int i = 0; i < 100'000; ++i) numbers.push_back(i);
  ExpectQuick("unique", [&] {
    EXPECT_EQ(Complaint({{"uniqueItems", true}, {"items", {{"type", "integer"}}}}, numbers),
              std::nullopt);
  });
  ExpectQuick("all wrong", [&] {
    EXPECT_THAT(*Complaint({{"items", {{"type", "string"}}}}, numbers), StartsWith("/0: "));
    EXPECT_TRUE(Complaint(Json::parse(R"({"anyOf":[{"items":{"type":"string"}},
                                                   {"items":{"type":"null"}}]})"),
                          numbers));
  });
}

TEST(Schema, REC_3_DeepDataAndDeepSchemasFitTheStack) {
  Json data = 1;
  for (int i = 0; i < 64; ++i) data = Json::array({data});
  EXPECT_EQ(
      Complaint(Json::parse(R"({"items":{"allOf":[{"anyOf":[{"oneOf":[{"$ref":"#"}]}]}]}})"), data),
      "needs schemas nested too deep to be checked");
  EXPECT_EQ(Complaint(Json::parse(R"({"items":{"allOf":[{"$ref":"#"}]}})"), data), std::nullopt);
}

TEST(Schema, REC_3_IsSharedAmongThreads) {
  auto schema =
      Schema::Compile(Json::parse(R"({"properties":{"a":{"pattern":"^[a-z]+$"},"n":{"$ref":"#"}},
                      "patternProperties":{"^x":{"format":"date"}},"additionalProperties":false})"),
                      "/schema");
  ASSERT_TRUE(schema);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([copy = *schema] {
      for (int i = 0; i < 300; ++i) {
        EXPECT_EQ(copy.Check({{"a", "abc"}, {"n", {{"a", "x"}}}, {"x", "2026-01-01"}}),
                  std::nullopt);
        EXPECT_TRUE(copy.Check({{"n", {{"a", "X"}}}}));
        EXPECT_TRUE(copy.Check({{"x1", "today"}}));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Schema, REC_3_OutlivesItsDocument) {
  std::optional<Schema> schema;
  {
    Json document = Json::parse(R"({"properties":{"a":{"enum":["x"],"pattern":"x"}}})");
    schema = *Schema::Compile(document, "/schema");
    document = nullptr;
  }
  Schema copy = *schema;
  schema.reset();
  EXPECT_EQ(copy.Check({{"a", "x"}}), std::nullopt);
  EXPECT_EQ(copy.Check({{"a", "y"}}), "/a: Value is none of those in 'enum'.");
}

}  // namespace
}  // namespace holdfast::rules
