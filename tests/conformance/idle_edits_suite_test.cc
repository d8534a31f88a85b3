// REC-1: an edit that leaves a record as it is changes nothing, and says so by the version.
#include "testing/record_suite.h"

namespace holdfast::testing {
namespace {

class IdleEdits : public RecordSuite {
 protected:
  IdleEdits() {
    Declare("note", R"({"history":{"path":"/history","on":["record.merge","noted"]},
        "actions":{
          "touch":{"steps":[{"do":"record.merge","data":{"n":1},"if":{"at":"/n","equals":1}}]},
          "noted":{"steps":[]},
          "call":{"steps":[{"do":"job.enqueue","kind":"k"}]},
          "spread":{"params":{"x":{}},"steps":[
            {"do":"record.merge","data":{"x":{"$param":"x"}},"on":{"children":["on"]}}]}}})");
    Make("note", "a", kData);
    before_ = Read("note", "a");
  }

  void ExpectUntouched() {
    EXPECT_EQ(Read("note", "a"), before_);
    EXPECT_EQ(Trail("note/a").size(), 1U);
  }

  static constexpr const char* kData = R"({"history":[],"list":[1,2],"n":1,"o":{"b":[],"c":1}})";
  const RecordTarget a_{"note", "a"};
  Record before_;
};

TEST_P(IdleEdits, REC_1_AnEditThatChangesNothingMakesNoVersion) {
  EXPECT_EQ(Must(store().Merge({}, {a_, "{}"})), before_);
  EXPECT_EQ(Must(store().Merge({}, {a_, R"({"n":1,"o":{"b":[]},"absent":null})"})), before_);
  EXPECT_EQ(Must(store().Patch({}, {a_, "[]"})), before_);
  EXPECT_EQ(Must(store().Patch({}, {a_, R"([{"op":"test","path":"/n","value":1}])"})), before_);
  EXPECT_EQ(Must(store().Patch({}, {a_, R"([{"op":"add","path":"/x","value":1},
                                             {"op":"remove","path":"/x"}])"})),
            before_);
  EXPECT_EQ(
      Must(store().Replace({}, {a_, R"({"o":{"c":1,"b":[]}, "n":1, "list":[1,2], "history":[]})"})),
      before_);
  EXPECT_EQ(Must(store().Increment({}, {a_, "/n", 0})), before_);
  ExpectUntouched();
}

TEST_P(IdleEdits, REC_1_WhatIsStoredOtherwiseIsAChange) {
  EXPECT_EQ(Must(store().Merge({}, {a_, R"({"o":{"c":1.0}})"})).version, 2);
  EXPECT_EQ(Must(store().Append({}, {a_, "/list", "1"})).version, 3);
  EXPECT_EQ(Must(store().Append({}, {a_, "/list", "5", 2})).version, 4);
}

TEST_P(IdleEdits, REC_1_TheVersionThatAnIdleEditExpectsIsCompared) {
  EXPECT_THAT(store().Merge({}, {{"note", "a", 2}, "{}"}), StatusIs(ErrorCode::kVersionMismatch));
  EXPECT_EQ(Must(store().Merge({}, {{"note", "a", 1}, "{}"})).version, 1);
  EXPECT_THAT(Commit({MergeRecord{a_, "{}"}}, {VersionGuard{{"note", "a"}, 2}}),
              StatusIs(ErrorCode::kVersionMismatch));
  EXPECT_THAT(store().Merge({}, {{"note", "b"}, "{}"}), StatusIs(ErrorCode::kNotFound));
  EXPECT_THAT(store().Increment({}, {a_, "/list", 0}), StatusIs(ErrorCode::kInvalidArgument));
  ExpectUntouched();
}

TEST_P(IdleEdits, REC_1_OfABatchOnlyWhatChangesCounts) {
  Receipt receipt = Must(
      Commit({MergeRecord{a_, "{}"}, MergeRecord{a_, R"({"n":2})"}, MergeRecord{a_, R"({"n":2})"},
              IncrementRecord{a_, "/n", 3}, IncrementRecord{a_, "/n", 0},
              CreateRecord{.kind = "note", .id = "b"}, ReplaceRecord{{"note", "b"}, "{}"}}));
  EXPECT_EQ(receipt.results[4].record->version, 3);
  EXPECT_EQ(receipt.results[6].record->version, 1);
  EXPECT_EQ(Read("note", "a").version, 3);
  EXPECT_EQ(DataOf("note", "a")["n"], 5);
  EXPECT_EQ(Trail("note/a").size(), 3U);
  EXPECT_EQ(Trail("note/b").size(), 1U);
}

TEST_P(IdleEdits, REC_6_AnIdleEditOfAChildDoesNotTouchTheParent) {
  Declare("page", R"({"parent":{"kind":"note","touch":true}})");
  Make("page", "p", R"({"x":1})", RecordKey{"note", "a"});
  const std::int64_t version = Read("note", "a").version;
  Must(store().Merge({}, {{"page", "p"}, R"({"x":1})"}));
  EXPECT_EQ(Read("note", "a").version, version);
  Must(store().Merge({}, {{"page", "p"}, R"({"x":2})"}));
  EXPECT_EQ(Read("note", "a").version, version + 1);
}

TEST_P(IdleEdits, REC_8_AnActionThatDoesNothingMakesNoVersion) {
  EXPECT_EQ(Must(Run("note", "a", "touch")), before_);
  ExpectUntouched();
  EXPECT_EQ(Must(Run("note", "a", "call")).version, 2);  // a job was enqueued
  Record noted = Must(Run("note", "a", "noted"));
  EXPECT_EQ(noted.version, 3);
  EXPECT_EQ(Data(noted)["history"].size(), 1U);
}

TEST_P(IdleEdits, REC_8_OfTheChildrenOfAnActionOnlyWhatChangesCounts) {
  Declare("page", R"({"parent":{"kind":"note"},"states":{"initial":"on","final":["on"]}})");
  Make("page", "p", R"({"x":1})", RecordKey{"note", "a"});
  Make("page", "q", R"({"x":2})", RecordKey{"note", "a"});
  EXPECT_EQ(Must(Run("note", "a", "spread", R"({"x":2})")).version, 2);
  EXPECT_EQ(Read("page", "p").version, 2);
  EXPECT_EQ(Read("page", "q").version, 1);
  EXPECT_EQ(Must(Run("note", "a", "spread", R"({"x":2})")).version, 2);
  EXPECT_EQ(Trail("note/a").size(), 2U);
  EXPECT_EQ(Trail("page/p").size(), 2U);
  EXPECT_EQ(Trail("page/q").size(), 1U);
}

TEST_P(IdleEdits, REC_8_AParentThatAnActionLeavesAsItIsIsStillTouchedByItsChild) {
  Declare("page", R"({"parent":{"kind":"note","touch":true},"actions":{"turn":{"steps":[
      {"do":"record.merge","data":{"n":1},"on":"parent"},
      {"do":"record.increment","path":"/x"}]}}})");
  Make("page", "p", R"({"x":1})", RecordKey{"note", "a"});
  const std::int64_t version = Read("note", "a").version;
  Must(Run("page", "p", "turn"));
  EXPECT_EQ(Read("note", "a").version, version + 1);
  EXPECT_EQ(Trail("note/a").back().operation, "record.touch");
}

HOLDFAST_FOR_ALL_VARIANTS(IdleEdits);

}  // namespace
}  // namespace holdfast::testing
