// REC-1 and REC-2: versions, and the edits of a record's data.
#include "testing/record_suite.h"

namespace holdfast::testing {
namespace {

using ::testing::HasSubstr;

class Records : public RecordSuite {
 protected:
  Records() { Declare("note"); }
};

TEST_P(Records, REC_1_ARecordBeginsAtVersionOne) {
  Record made =
      Must(store().Create({.actor = "ada"}, {.kind = "note", .id = "a", .data = R"({"n":1})"}));
  EXPECT_EQ(made.key(), (RecordKey{"note", "a"}));
  EXPECT_EQ(made.version, 1);
  EXPECT_EQ(made.status, "");
  EXPECT_EQ(made.data, R"({"n":1})");
  EXPECT_EQ(made.created_at, Now());
  EXPECT_EQ(made.updated_by, "ada");
  EXPECT_EQ(Read("note", "a"), made);
}

TEST_P(Records, REC_1_TheStoreChoosesAnIdThatIsFree) {
  Make("note", "2");
  std::set<std::string> ids{"2"};
  for (int i = 0; i < 5; ++i) ids.insert(Make("note", "").id);
  EXPECT_EQ(ids.size(), 6U);
}

TEST_P(Records, REC_1_AChosenIdNeverMeetsOneThatIsThere) {
  for (const char* id : {"1", "2", "4", "999999999999999", "1000000000000000"}) Make("note", id);
  Receipt receipt =
      Must(Commit({CreateRecord{.kind = "note"}, CreateRecord{.kind = "note", .id = "5"},
                   CreateRecord{.kind = "note"}, CreateRecord{.kind = "note"}}));
  EXPECT_EQ(receipt.results[0].record->id, "3");
  EXPECT_EQ(receipt.results[2].record->id, "6");
  EXPECT_EQ(receipt.results[3].record->id, "7");
  EXPECT_EQ(Make("note", "").id, "8");
  EXPECT_EQ(Must(store().ListRecords({}, {.kind = "note"})).items.size(), 10U);
}

TEST_P(Records, REC_1_AChosenIdPassesOverManyThatAreThere) {
  std::vector<Operation> operations;
  for (int id = 1; id <= 60; ++id) {
    operations.push_back(CreateRecord{.kind = "note", .id = std::to_string(id)});
  }
  Must(Commit(std::move(operations)));
  EXPECT_EQ(Make("note", "").id, "61");
  Receipt receipt = Must(Commit({CreateRecord{.kind = "note"}, CreateRecord{.kind = "note"}}));
  EXPECT_EQ(receipt.results[0].record->id, "62");
  EXPECT_EQ(receipt.results[1].record->id, "63");
}

TEST_P(Records, REC_2_AnAnswerBeyondAllMeasureIsRefused) {
  Make("note", "a", R"({"n":0,"s":")" + std::string(900'000, 'x') + R"("})");
  std::vector<Operation> operations(12, IncrementRecord{{"note", "a"}, "/n"});
  EXPECT_THAT(Commit(std::move(operations)),
              StatusIs(ErrorCode::kPayloadTooLarge, HasSubstr("8388608")));
  EXPECT_EQ(Read("note", "a").version, 1);
}

TEST_P(Records, REC_1_ASecondRecordOfAnIdIsRefused) {
  Record made = Make("note", "a", R"({"n":1})");
  Result<Record> again = store().Create({}, {.kind = "note", .id = "a"});
  ASSERT_THAT(again, StatusIs(ErrorCode::kAlreadyExists, HasSubstr("note/a")));
  EXPECT_EQ(again.error().detail.record, "note/a");
  EXPECT_EQ(Read("note", "a"), made);
}

TEST_P(Records, REC_1_EveryChangeAddsOneToTheVersion) {
  Make("note", "a", R"({"n":1,"list":[]})");
  clock().Advance(seconds(1));
  EXPECT_EQ(Must(store().Replace({}, {{"note", "a"}, R"({"n":0,"list":[]})"})).version, 2);
  EXPECT_EQ(Must(store().Merge({}, {{"note", "a"}, R"({"m":1})"})).version, 3);
  EXPECT_EQ(Must(store().Increment({}, {{"note", "a"}, "/n"})).version, 4);
  EXPECT_EQ(Must(store().Append({}, {{"note", "a"}, "/list", "1"})).version, 5);
  Record last = Must(store().Patch({}, {{"note", "a"}, R"([{"op":"remove","path":"/m"}])"}));
  EXPECT_EQ(last.version, 6);
  EXPECT_EQ(last.updated_at, Now());
  EXPECT_EQ(last.created_at + seconds(1), last.updated_at);
  EXPECT_EQ(last.data, R"({"list":[1],"n":1})");
}

TEST_P(Records, REC_1_AWriteMayNameTheVersionItExpects) {
  Make("note", "a");
  Must(store().Merge({}, {{"note", "a", 1}, R"({"n":1})"}));
  Result<Record> late = store().Merge({}, {{"note", "a", 1}, R"({"n":2})"});
  ASSERT_THAT(late, StatusIs(ErrorCode::kVersionMismatch, HasSubstr("version 2, not 1")));
  EXPECT_EQ(late.error().detail.expected, 1);
  EXPECT_EQ(late.error().detail.current, 2);
  EXPECT_EQ(DataOf("note", "a")["n"], 1);
}

TEST_P(Records, REC_1_GuardsLookAtVersionsAndAtAbsence) {
  Make("note", "a");
  Guard at_one = VersionGuard{{"note", "a"}, 1};
  Guard absent = AbsentGuard{{"note", "b"}};
  Must(Commit({CreateRecord{.kind = "note", .id = "b"}}, {at_one, absent}));
  Result<Receipt> taken = Commit({MergeRecord{{"note", "a"}, R"({"n":1})"}}, {at_one, absent});
  ASSERT_THAT(taken, StatusIs(ErrorCode::kAlreadyExists));
  EXPECT_EQ(taken.error().detail.guard, 1);
  Must(store().Merge({}, {{"note", "a"}, R"({"n":1})"}));
  Result<Receipt> late = Commit({MergeRecord{{"note", "a"}, R"({"n":2})"}}, {at_one});
  ASSERT_THAT(late, StatusIs(ErrorCode::kVersionMismatch));
  EXPECT_EQ(late.error().detail.guard, 0);
  EXPECT_THAT(Commit({CreateRecord{.kind = "note"}}, {VersionGuard{{"note", "none"}, 1}}),
              StatusIs(ErrorCode::kNotFound));
}

TEST_P(Records, REC_1_UpdateWithTriesAgainWhenSomebodyWasFaster) {
  Make("note", "a", R"({"n":0})");
  int calls = 0;
  RetryPolicy at_once{.name = "AT_ONCE", .retries = 3};
  Record updated = Must(store().UpdateWith(
      {}, {"note", "a"},
      [&](const Record& seen) -> Result<std::string> {
        if (++calls == 1) Must(store().Increment({}, {{"note", "a"}, "/n", std::int64_t{10}}));
        Json data = Data(seen);
        data["n"] = data["n"].get<int>() + 1;
        return data.dump();
      },
      at_once));
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(Data(updated)["n"], 11);
  EXPECT_EQ(updated.version, 3);
}

TEST_P(Records, REC_1_UpdateWithEndsWithTheErrorOfTheFunction) {
  Record made = Make("note", "a");
  auto fail = [](const Record&) -> Result<std::string> {
    return Fail(ErrorCode::kForbidden, "not today");
  };
  EXPECT_THAT(store().UpdateWith({}, {"note", "a"}, fail), StatusIs(ErrorCode::kForbidden));
  EXPECT_THAT(store().UpdateWith({}, {"note", "b"}, fail), StatusIs(ErrorCode::kNotFound));
  EXPECT_EQ(Read("note", "a"), made);
}

TEST_P(Records, REC_2_MergeFollowsItsStandard) {
  Make("note", "a", R"({"a":{"b":1,"c":2},"d":[1,2],"e":5})");
  Must(store().Merge({}, {{"note", "a"}, R"({"a":{"b":null,"x":{}},"d":[3],"f":null})"}));
  EXPECT_EQ(DataOf("note", "a"), Json::parse(R"({"a":{"c":2,"x":{}},"d":[3],"e":5})"));
}

TEST_P(Records, REC_2_PatchFollowsItsStandard) {
  Make("note", "a", R"({"a":[1,2],"b":{"c":"x"}})");
  Must(store().Patch({}, {{"note", "a"}, R"([
      {"op":"test","path":"/a/0","value":1}, {"op":"add","path":"/a/-","value":3},
      {"op":"move","from":"/b/c","path":"/d"}, {"op":"copy","from":"/a/2","path":"/e"},
      {"op":"replace","path":"/a/1","value":null}, {"op":"remove","path":"/a/0"}])"}));
  EXPECT_EQ(DataOf("note", "a"), Json::parse(R"({"a":[null,3],"b":{},"d":"x","e":3})"));
}

TEST_P(Records, REC_2_APatchThatDoesNotFitChangesNothing) {
  Record made = Make("note", "a", R"({"a":1})");
  Result<Record> failed = store().Patch(
      {}, {{"note", "a"},
           R"([{"op":"add","path":"/b","value":1},{"op":"test","path":"/a","value":2}])"});
  ASSERT_THAT(failed, StatusIs(ErrorCode::kRuleViolation, HasSubstr("patch[1]")));
  EXPECT_EQ(failed.error().detail.rule, "test");
  for (const char* patch :
       {R"({"op":"add"})", R"([{"op":"remove","path":"/x"}])", R"([{"op":"add","path":"/b"}])",
        R"([{"op":"jump","path":"/a"}])", R"([1])", R"([{"op":"replace","path":"","value":[]}])",
        R"([{"op":"add","path":"a","value":1}])", "not json", R"([{"op":"add","op":"add"}])"}) {
    EXPECT_THAT(store().Patch({}, {{"note", "a"}, patch}), StatusIs(ErrorCode::kInvalidArgument))
        << patch;
  }
  EXPECT_EQ(Read("note", "a"), made);
}

TEST_P(Records, REC_2_IntegersStayExactTo64Bits) {
  Make("note", "a", R"({"n":9007199254740993,"m":-9223372036854775807,"x":0.5})");
  Must(store().Increment({}, {{"note", "a"}, "/n", std::int64_t{9'000'000'000'000'000'000}}));
  Must(store().Increment({}, {{"note", "a"}, "/m", std::int64_t{-1}}));
  Must(store().Increment({}, {{"note", "a"}, "/x", 0.25}));
  EXPECT_EQ(Read("note", "a").data,
            R"({"m":-9223372036854775808,"n":9009007199254740993,"x":0.75})");
}

TEST_P(Records, REC_2_AnIncrementThatCannotBeIsRefused) {
  Record made = Make("note", "a", R"({"n":9223372036854775807,"s":"1","x":1e308,"o":{"n":null}})");
  auto increment = [&](std::string path, std::variant<std::int64_t, double> by) {
    return store().Increment({}, {{"note", "a"}, std::move(path), by});
  };
  using Code = ErrorCode;
  EXPECT_THAT(increment("/n", std::int64_t{1}),
              StatusIs(Code::kInvalidArgument, HasSubstr("64 bits")));
  EXPECT_THAT(increment("/s", std::int64_t{1}),
              StatusIs(Code::kInvalidArgument, HasSubstr("a string")));
  EXPECT_THAT(increment("/x", 1e308), StatusIs(Code::kInvalidArgument, HasSubstr("finite")));
  EXPECT_THAT(increment("/o/n", std::int64_t{1}),
              StatusIs(Code::kInvalidArgument, HasSubstr("null")));
  EXPECT_THAT(increment("/y", std::int64_t{1}),
              StatusIs(Code::kInvalidArgument, HasSubstr("nothing at /y")));
  EXPECT_THAT(increment("n", std::int64_t{1}),
              StatusIs(Code::kInvalidArgument, HasSubstr("pointer")));
  EXPECT_THAT(increment("/n", std::nan("")), StatusIs(Code::kInvalidArgument));
  EXPECT_EQ(Read("note", "a"), made);
}

TEST_P(Records, REC_2_AnAppendMayBeCappedAndKeepsTheNewest) {
  Make("note", "a", R"({"list":[1,2],"n":5})");
  Must(store().Append({}, {{"note", "a"}, "/list", R"({"x":3})"}));
  EXPECT_EQ(DataOf("note", "a")["list"], Json::parse(R"([1,2,{"x":3}])"));
  Must(store().Append({}, {{"note", "a"}, "/list", "4", 2}));
  EXPECT_EQ(DataOf("note", "a")["list"], Json::parse(R"([{"x":3},4])"));
  Record before = Read("note", "a");
  EXPECT_THAT(store().Append({}, {{"note", "a"}, "/n", "1"}),
              StatusIs(ErrorCode::kInvalidArgument, HasSubstr("not an array")));
  EXPECT_THAT(store().Append({}, {{"note", "a"}, "/none", "1"}),
              StatusIs(ErrorCode::kInvalidArgument, HasSubstr("nothing")));
  EXPECT_THAT(store().Append({}, {{"note", "a"}, "/list", "1", 0}),
              StatusIs(ErrorCode::kInvalidArgument, HasSubstr("max_length")));
  EXPECT_EQ(Read("note", "a"), before);
}

TEST_P(Records, REC_2_DataThatIsNoneIsRefused) {
  Record made = Make("note", "a");
  std::string deep = R"({"a":)" + std::string(64, '[') + std::string(64, ']') + "}";
  for (const std::string& data :
       {std::string("[]"), std::string("1"), std::string("null"), std::string(""),
        std::string(R"({"a":1)"), std::string(R"({"a":1,"a":2})"), std::string(R"({"a":NaN})"),
        std::string(R"({"a":9223372036854775808})"), std::string(R"({"a":1e999})"), deep,
        std::string("{\"a\":\"\xff\"}"), std::string("{} {}")}) {
    EXPECT_THAT(store().Replace({}, {{"note", "a"}, data}), StatusIs(ErrorCode::kInvalidArgument))
        << data.substr(0, 80);
    EXPECT_THAT(store().Create({}, {.kind = "note", .id = "b", .data = data}),
                StatusIs(ErrorCode::kInvalidArgument))
        << data.substr(0, 80);
  }
  EXPECT_EQ(Read("note", "a"), made);
  EXPECT_FALSE(Exists("note", "b"));
}

TEST_P(Records, REC_2_DataIsLimitedToAMebibyte) {
  std::string most = R"({"s":")" + std::string(1024 * 1024 - 8, 'x') + R"("})";
  ASSERT_EQ(most.size(), 1024U * 1024U);
  EXPECT_EQ(Make("note", "a", most).data, most);
  most.insert(most.size() - 2, "y");
  EXPECT_THAT(store().Replace({}, {{"note", "a"}, most}),
              StatusIs(ErrorCode::kPayloadTooLarge, HasSubstr("1048576")));
  EXPECT_THAT(store().Merge({}, {{"note", "a"}, R"({"t":1})"}),
              StatusIs(ErrorCode::kPayloadTooLarge, HasSubstr("note/a")));
  EXPECT_EQ(Read("note", "a").version, 1);
}

TEST_P(Records, REC_2_WhatDoesNotExistIsNotFound) {
  EXPECT_THAT(store().Merge({}, {{"note", "none"}, "{}"}),
              StatusIs(ErrorCode::kNotFound, HasSubstr("note/none")));
  EXPECT_THAT(store().Merge({}, {{"other", "a"}, "{}"}),
              StatusIs(ErrorCode::kNotFound, HasSubstr("kind other is not declared")));
  EXPECT_THAT(store().Create({}, {.kind = "other"}), StatusIs(ErrorCode::kNotFound));
  EXPECT_THAT(store().Delete({}, DeleteRecord{{"note", "none"}}), StatusIs(ErrorCode::kNotFound));
  EXPECT_EQ(Must(store().GetRecord({}, {"other", "a"})), std::nullopt);
  EXPECT_THAT(store().GetRecord({}, {"a b", "a"}), StatusIs(ErrorCode::kInvalidArgument));
  EXPECT_THAT(store().Create({}, {.kind = "note", .id = "a/b"}),
              StatusIs(ErrorCode::kInvalidArgument));
  EXPECT_THAT(store().Create({}, {.kind = "note", .id = std::string(129, 'a')}),
              StatusIs(ErrorCode::kInvalidArgument));
}

TEST_P(Records, REC_1_ADeletedRecordIsGone) {
  Make("note", "a", R"({"n":1})");
  EXPECT_THAT(store().Delete({}, DeleteRecord{{"note", "a", 2}}),
              StatusIs(ErrorCode::kVersionMismatch));
  Must(store().Delete({}, DeleteRecord{{"note", "a", 1}}));
  EXPECT_FALSE(Exists("note", "a"));
  EXPECT_EQ(Make("note", "a").version, 1);
}

TEST_P(Records, REC_2_OperationsOfABatchSeeWhatTheEarlierOnesDid) {
  Receipt receipt =
      Must(Commit({CreateRecord{.kind = "note", .id = "a", .data = R"({"n":1})"},
                   IncrementRecord{{"note", "a"}, "/n"}, IncrementRecord{{"note", "a", 2}, "/n"},
                   DeleteRecord{{"note", "a"}},
                   CreateRecord{.kind = "note", .id = "a", .data = R"({"n":7})"}}));
  EXPECT_EQ(DataOf("note", "a")["n"], 7);
  EXPECT_EQ(receipt.results.size(), 5U);
  EXPECT_EQ(receipt.results[4].record, Read("note", "a"));
}

TEST_P(Records, REC_6_AnErrorNamesTheOperationAndNothingIsDone) {
  Make("note", "a", R"({"n":1})");
  Record before = Read("note", "a");
  Job job = Push();
  Result<Receipt> refused =
      Commit({IncrementRecord{{"note", "a"}, "/n"}, CancelJob{job.id}, EnqueueJob{{.kind = "k"}},
              MergeRecord{{"note", "none"}, "{}"}});
  ASSERT_THAT(refused, StatusIs(ErrorCode::kNotFound));
  EXPECT_EQ(refused.error().detail.operation, 3);
  EXPECT_EQ(Read("note", "a"), before);
  EXPECT_EQ(StateOf(job.id), JobState::kPending);
  EXPECT_EQ(CountOf(JobState::kPending), 1);
  Result<Receipt> malformed =
      Commit({IncrementRecord{{"note", "a"}, "/n"}, MergeRecord{{"note", "a"}, "{"}});
  ASSERT_THAT(malformed, StatusIs(ErrorCode::kInvalidArgument));
  EXPECT_EQ(malformed.error().detail.operation, 1);
  EXPECT_EQ(Read("note", "a"), before);
}

TEST_P(Records, REC_6_JobsAndRecordsChangeTogetherOrNotAtAll) {
  Make("note", "stock", R"({"left":1})");
  Push();
  Job job = ClaimOne();
  auto take = [&](Token token) {
    return Commit({CompleteJob{job.id, token, {}},
                   PatchRecord{{"note", "stock"},
                               R"([{"op":"test","path":"/left","value":1},
                                   {"op":"replace","path":"/left","value":0}])"},
                   EnqueueJob{{.kind = "k"}}, EnqueueJob{{.kind = "k"}}, EnqueueJob{{.kind = "k"}}},
                  {JobGuard{job.id, token}});
  };
  EXPECT_THAT(take(job.token + 1), StatusIs(ErrorCode::kFenced));
  EXPECT_EQ(DataOf("note", "stock")["left"], 1);
  Must(take(job.token));
  EXPECT_EQ(StateOf(job.id), JobState::kCompleted);
  EXPECT_EQ(DataOf("note", "stock")["left"], 0);
  EXPECT_EQ(CountOf(JobState::kPending), 3);
}

TEST_P(Records, IDEM_1_AKeyCoversRecordsToo) {
  Make("note", "a", R"({"n":0})");
  Batch batch{.operations = {IncrementRecord{{"note", "a"}, "/n"}}, .idempotency_key = "k1"};
  Receipt first = Must(store().Commit({}, batch));
  Receipt second = Must(store().Commit({}, batch));
  EXPECT_TRUE(second.replayed);
  EXPECT_EQ(second.results, first.results);
  EXPECT_EQ(DataOf("note", "a")["n"], 1);
  batch.operations[0] = IncrementRecord{{"note", "a"}, "/n", std::int64_t{2}};
  EXPECT_THAT(store().Commit({}, batch), StatusIs(ErrorCode::kIdempotencyMismatch));
}

TEST_P(Records, AUD_1_EveryVersionHasItsEntry) {
  Must(store().Create({.actor = "ada", .correlation_id = "c-1"},
                      {.kind = "note", .id = "a", .data = R"({"n":1})"}));
  Must(store().Increment({.actor = "bob"}, {{"note", "a"}, "/n", std::int64_t{5}}));
  Must(store().Delete({}, DeleteRecord{{"note", "a"}}));
  std::vector<AuditEntry> trail = Trail("note/a");
  ASSERT_EQ(trail.size(), 3U);
  EXPECT_EQ(trail[0].operation, "record.create");
  EXPECT_EQ(trail[0].actor, "ada");
  EXPECT_EQ(trail[0].correlation_id, "c-1");
  EXPECT_EQ(trail[0].old_version, 0);
  EXPECT_EQ(trail[0].new_version, 1);
  EXPECT_EQ(trail[1].operation, "record.increment");
  EXPECT_EQ(trail[1].actor, "bob");
  EXPECT_EQ(trail[1].old_version, 1);
  EXPECT_EQ(trail[1].new_version, 2);
  EXPECT_EQ(Json::parse(trail[1].details), Json::parse(R"({"path":"/n","by":5})"));
  EXPECT_EQ(trail[2].operation, "record.delete");
  EXPECT_EQ(trail[2].old_version, 2);
  EXPECT_EQ(trail[2].new_version, 0);
}

TEST_P(Records, RecordsAreListedByPagesInTheOrderOfTheirIds) {
  Declare("other");
  for (const char* id : {"c", "a", "b", "e", "d"}) Make("note", id);
  Make("other", "x");
  RecordFilter filter{.kind = "note", .limit = 2};
  std::string ids;
  do {
    RecordPage page = Must(store().ListRecords({}, filter));
    EXPECT_LE(page.items.size(), 2U);
    for (const Record& record : page.items) ids += record.id;
    filter.cursor = page.next_cursor;
  } while (!filter.cursor.empty());
  EXPECT_EQ(ids, "abcde");
  EXPECT_THAT(store().ListRecords({}, {.kind = "misspelt"}), StatusIs(ErrorCode::kNotFound));
  EXPECT_THAT(store().ListRecords({}, {.kind = "note", .limit = 0}),
              StatusIs(ErrorCode::kInvalidArgument));
  EXPECT_THAT(store().ListRecords({}, {.kind = "note", .cursor = "a b"}),
              StatusIs(ErrorCode::kInvalidArgument));
}

HOLDFAST_FOR_ALL_VARIANTS(Records);

}  // namespace
}  // namespace holdfast::testing
