// JSON as text: what a reader gets is what was written.
#include "base/json_writer.h"

#include <gtest/gtest.h>
#include <simdjson.h>

#include <cmath>
#include <limits>
#include <random>

namespace holdfast::base {
namespace {

std::string Quoted(std::string_view text) {
  std::string out;
  AppendJsonString(out, text);
  return out;
}

TEST(JsonWriter, SeparatesMembersAndNestsContainers) {
  JsonWriter json;
  json.BeginObject();
  json.Field("name", "ada");
  json.Field("count", 3);
  json.Field("ok", true);
  json.Field("ratio", 0.5);
  json.Key("none");
  json.Null();
  json.Key("list");
  json.BeginArray();
  json.Integer(1);
  json.BeginObject();
  json.EndObject();
  json.BeginArray();
  json.EndArray();
  json.Bool(false);
  json.EndArray();
  json.Key("raw");
  json.Raw(R"({"a":1e400})");
  json.Field("last", std::string_view("x"));
  json.EndObject();
  EXPECT_EQ(json.text(), R"({"name":"ada","count":3,"ok":true,"ratio":0.5,"none":null,)"
                         R"("list":[1,{},[],false],"raw":{"a":1e400},"last":"x"})");
}

TEST(JsonWriter, WritesIdsAsDecimalStrings) {
  JsonWriter json;
  json.BeginArray();
  json.Id(0);
  json.Id(std::numeric_limits<std::int64_t>::max());
  json.Id(std::numeric_limits<std::int64_t>::min());
  json.EndArray();
  EXPECT_EQ(json.text(), R"(["0","9223372036854775807","-9223372036854775808"])");
}

TEST(JsonWriter, KeepsIntegersExactAtBothEnds) {
  JsonWriter json;
  json.BeginArray();
  json.Integer(std::numeric_limits<std::int64_t>::max());
  json.Integer(std::numeric_limits<std::int64_t>::min());
  json.EndArray();
  EXPECT_EQ(json.text(), "[9223372036854775807,-9223372036854775808]");
}

TEST(JsonWriter, HasNoWordForWhatIsNotANumber) {
  JsonWriter json;
  json.BeginArray();
  json.Double(std::numeric_limits<double>::infinity());
  json.Double(std::nan(""));
  json.Double(1.5);
  json.EndArray();
  EXPECT_EQ(json.text(), "[null,null,1.5]");
}

TEST(JsonWriter, EscapesWhatJsonCannotHold) {
  EXPECT_EQ(Quoted("plain"), R"("plain")");
  EXPECT_EQ(Quoted(""), R"("")");
  EXPECT_EQ(Quoted("a\"b\\c\nd\re\tf"), R"("a\"b\\c\nd\re\tf")");
  EXPECT_EQ(Quoted(std::string_view("\0\x01\x1f", 3)), R"("\u0000\u0001\u001f")");
  EXPECT_EQ(Quoted("\x7f/ü€😀"), "\"\x7f/ü€😀\"");
}

TEST(JsonWriter, WritesTextsAndNumbersThatAParserReadsBack) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  simdjson::dom::parser parser;
  for (int i = 0; i < 500; ++i) {
    std::string text;
    for (auto n = random() % 40; n > 0; --n) text += static_cast<char>(random() % 128);
    // Below 2^53: there is no use for more, and some readers refuse integers above 2^64.
    double number =
        std::ldexp(static_cast<double>(random()), -11 - static_cast<int>(random() % 300));
    JsonWriter json;
    json.BeginArray();
    json.String(text);
    json.Double(number);
    json.EndArray();
    simdjson::dom::array array = parser.parse(json.text());
    std::string_view read_text = array.at(0);
    double read_number = array.at(1);
    ASSERT_EQ(read_text, text);
    ASSERT_EQ(read_number, number);
  }
}

}  // namespace
}  // namespace holdfast::base
