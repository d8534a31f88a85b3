// REC-2 and REC-3: values are compared by value and exactly, wherever they are compared.
#include "testing/record_suite.h"

namespace holdfast::testing {
namespace {

using ::testing::HasSubstr;

// A double holds the first and not the second: rounded they would be equal.
constexpr const char* kReal = "9007199254740992.0";
constexpr const char* kNext = "9007199254740993";

class Equality : public RecordSuite {
 protected:
  /// {"n": TEXT}
  static std::string With(const char* number) { return std::string(R"({"n":)") + number + "}"; }
};

TEST_P(Equality, REC_2_ATestOfAPatchIsExact) {
  Declare("note");
  Make("note", "a", R"({"n":9007199254740993,"one":1,"list":[{"b":1,"a":2}]})");
  auto test = [&](const std::string& path, const std::string& value) {
    return store().Patch(
        {}, {{"note", "a"}, R"([{"op":"test","path":")" + path + R"(","value":)" + value + "}]"});
  };
  EXPECT_THAT(test("/n", kReal), StatusIs(ErrorCode::kRuleViolation, HasSubstr("test")));
  Must(test("/n", kNext));
  Must(test("/one", "1.0"));
  Must(test("/list", R"([{"a":2.0,"b":1e0}])"));
  EXPECT_THAT(test("/list", R"([{"a":2.5,"b":1}])"), StatusIs(ErrorCode::kRuleViolation));
  EXPECT_THAT(test("/one", R"("1")"), StatusIs(ErrorCode::kRuleViolation));
}

TEST_P(Equality, REC_8_AConditionOfAnActionIsExact) {
  Declare("note", R"({"actions":{"mark":{"params":{"n":{}},
      "require":{"at":"/n","equals":{"$param":"n"}},
      "steps":[{"do":"record.merge","data":{"marked":true}}]}}})");
  Make("note", "a", With(kNext));
  EXPECT_THAT(Run("note", "a", "mark", With(kReal)), StatusIs(ErrorCode::kRuleViolation));
  Must(Run("note", "a", "mark", With(kNext)));
  Make("note", "b", With("2"));
  Must(Run("note", "b", "mark", With("2.0")));
}

TEST_P(Equality, REC_3_UniqueKeysAreValues) {
  Declare("note", R"({"unique":["/n"]})");
  auto make = [&](const char* id, const char* number) {
    return store().Create({}, {.kind = "note", .id = id, .data = With(number)});
  };
  Must(make("a", "[1]"));
  EXPECT_THAT(make("b", "[1.0]"), StatusIs(ErrorCode::kAlreadyExists, HasSubstr("note/a")));
  EXPECT_THAT(make("b", "[1e0]"), StatusIs(ErrorCode::kAlreadyExists));
  Must(make("b", R"({"x":1,"y":[2.0]})"));
  EXPECT_THAT(make("c", R"({"y":[2],"x":1.0})"), StatusIs(ErrorCode::kAlreadyExists));
  Must(make("c", kReal));
  EXPECT_THAT(make("d", "9007199254740992"), StatusIs(ErrorCode::kAlreadyExists));
  Must(make("d", kNext));
  Must(make("e", "9007199254740994"));
  EXPECT_THAT(make("f", "9007199254740994.0"), StatusIs(ErrorCode::kAlreadyExists));
}

TEST_P(Equality, REC_3_SchemasCompareValues) {
  Declare("note", R"({"schema":{"properties":{
      "c":{"const":9007199254740993},"e":{"enum":[1,[2.0]]},"u":{"uniqueItems":true},
      "m":{"multipleOf":2.0}}}})");
  auto make = [&](const std::string& data) {
    return store().Create({}, {.kind = "note", .data = data});
  };
  Must(make(R"({"c":9007199254740993,"e":1.0,"u":[9007199254740993,9007199254740992.0],"m":4})"));
  Must(make(R"({"e":[2]})"));
  for (const char* data : {R"({"c":9007199254740992.0})", R"({"e":[2.5]})", R"({"u":[1,1.0]})",
                           R"({"u":[[{"a":1}],[{"a":1.0}]]})", R"({"m":9007199254740993})"}) {
    EXPECT_THAT(make(data), StatusIs(ErrorCode::kRuleViolation)) << data;
  }
}

TEST_P(Equality, REC_9_ABoundThatChangedIsAppliedAndAudited) {
  auto rules = [](const char* most) {
    return std::string(R"({"bounds":{"/n":{"max":)") + most + "}}}";
  };
  EXPECT_EQ(Declare("note", rules(kNext)).version, 1);
  EXPECT_EQ(Declare("note", rules(kReal)).version, 2);
  EXPECT_THAT(store().Create({}, {.kind = "note", .data = With(kNext)}),
              StatusIs(ErrorCode::kRuleViolation));
  std::vector<AuditEntry> trail = Trail("kind/note");
  ASSERT_EQ(trail.size(), 2U);
  EXPECT_EQ(trail[1].new_version, 2);
}

TEST_P(Equality, REC_3_AnAuditedChangeIsSeenHoweverSmall) {
  Declare("note", R"({"audit":["/n"]})");
  Make("note", "a", With(kReal));
  Must(store().Merge({}, {{"note", "a"}, With(kNext)}));
  Json details = Json::parse(Trail("note/a").back().details);
  EXPECT_EQ(details["changed"]["/n"]["new"].dump(), kNext);
}

TEST_P(Equality, REC_5_AConditionOnTheParentIsExact) {
  Declare("room");
  Declare("seat", R"({"parent":{"kind":"room","when":{"/n":9007199254740993}}})");
  Make("room", "a", With(kReal));
  Make("room", "b", With(kNext));
  auto sit = [&](const char* room) {
    return store().Create({}, {.kind = "seat", .parent = RecordKey{"room", room}});
  };
  EXPECT_THAT(sit("a"), StatusIs(ErrorCode::kRuleViolation));
  Must(sit("b"));
}

HOLDFAST_FOR_ALL_VARIANTS(Equality);

}  // namespace
}  // namespace holdfast::testing
