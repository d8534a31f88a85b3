// The JSON shapes of records, kinds and transfers: what is written can be read back, and what is
// not right is refused by name.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "unit/wire_checks.h"
#include "wire/decode.h"
#include "wire/encode.h"

namespace holdfast::wire {
namespace {

using std::chrono::seconds;

Record SmallRecord() {
  return Record{.kind = "ticket",
                .id = "T-1",
                .version = 1,
                .data = "{}",
                .created_at = At(0),
                .updated_at = At(1)};
}

Record FullRecord() {
  Record record = SmallRecord();
  record.version = 9'007'199'254'740'993;  // not a double
  record.status = "OPEN";
  record.data = R"({"n": 9007199254740993, "s":"é\u00e9\n\"", "x":[1.10, {}, []]})";
  record.parent = RecordKey{"project", "p:1@x"};
  record.updated_by = "ada \"l\"";
  record.expires_at = At(5);
  record.reserved = {{"/balance", 9'223'372'036'854'775'807}, {"/a~1b", 1}};
  record.children = {{"note", "", 2}, {"task", "ASSIGNED", 3}};
  return record;
}

Kind FullKind() {
  return Kind{.name = "ticket",
              .version = 3,
              .rules = R"({"bounds": {"/a":{"min":-1.50}}})",
              .updated_at = At(2),
              .updated_by = "ada"};
}

Transfer FullTransfer() {
  return Transfer{.id = 9'007'199'254'740'993,
                  .from = {"account", "a"},
                  .to = {"account", "b"},
                  .path = "/balance",
                  .amount = 100,
                  .posted = 40,
                  .state = TransferState::kExpired,
                  .created_at = At(3),
                  .expires_at = At(4),
                  .finished_at = At(5),
                  .created_by = "bob"};
}

Transfer SmallTransfer() {
  return Transfer{.id = 1,
                  .from = {"account", "a"},
                  .to = {"account", "b"},
                  .path = "/balance",
                  .amount = 1,
                  .state = TransferState::kPending,
                  .created_at = At(0)};
}

RecordTarget Bare() {
  return {.kind = "ticket", .id = "T-1"};
}

RecordTarget Full() {
  return {.kind = "ticket", .id = "T-1", .version = 7, .parent = RecordKey{"project", "p"}};
}

std::vector<Operation> EveryRecordOperation() {
  return {CreateRecord{.kind = "ticket"},
          CreateRecord{.kind = "ticket",
                       .id = "T-1",
                       .data = R"({"a" : [1 ,2]})",
                       .status = "OPEN",
                       .parent = RecordKey{"project", "p"},
                       .force = true},
          ReplaceRecord{Bare(), R"({"a":1})"},
          ReplaceRecord{Full(), "{ }"},
          MergeRecord{Full(), R"({"a":null})"},
          PatchRecord{Full(), R"([{"op":"remove","path":"/a"}])"},
          IncrementRecord{Bare(), "/n"},
          IncrementRecord{Full(), "/a/~01/\"", std::numeric_limits<std::int64_t>::min()},
          IncrementRecord{Full(), "/n", 0.1},
          IncrementRecord{Full(), "/n", -3.0},
          IncrementRecord{Full(), "/n", 1e300},
          AppendRecord{Bare(), "/list", "\"x\""},
          AppendRecord{Full(), "/list", "null", 100},
          TransitionRecord{Bare(), "CLOSED"},
          TransitionRecord{Full(), "CLOSED", R"({"comment":"c"})", true},
          RunAction{Bare(), "escalate"},
          RunAction{Full(), "escalate", R"({"to":"ada"})"},
          DeleteRecord{Bare()},
          DeleteRecord{Full()},
          ApplyKind{.name = "ticket", .rules = "{}"},
          ApplyKind{.name = "ticket", .rules = R"({"unique":["/a"]})", .version = 0, .force = true},
          MakeTransfer{{"account", "a"}, {"account", "b"}, "/balance", 5},
          MakeTransfer{{"account", "a"}, {"account", "b"}, "/balance", 5, true, seconds(9)},
          PostTransfer{8},
          PostTransfer{8, 3},
          VoidTransfer{9}};
}

std::vector<Guard> EveryGuard() {
  return {JobGuard{1, 2}, VersionGuard{{"ticket", "T-1"}, 7}, AbsentGuard{{"ticket", "T-2"}}};
}

/// The operations of a batch, from their JSON. Fails the test if they cannot be read.
std::vector<Operation> OperationsOf(std::string_view text) {
  auto batch = DecodeBatch(fmt::format(R"({{"operations":[{}]}})", text));
  EXPECT_TRUE(batch) << batch.error().message;
  return batch ? batch->operations : std::vector<Operation>(1);
}

TEST(WireRecords, ARecordSurvivesTheRoundTrip) {
  for (const Record& record : {SmallRecord(), FullRecord()}) {
    auto read = DecodeRecord(ToText(WriteRecord, record));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, record);
  }
  auto page = DecodeRecordPage(fmt::format(R"({{"items":[{},{}],"next_cursor":"c"}})",
                                           ToText(WriteRecord, FullRecord()),
                                           ToText(WriteRecord, SmallRecord())));
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_EQ(page->items, (std::vector{FullRecord(), SmallRecord()}));
  EXPECT_EQ(page->next_cursor, "c");
}

TEST(WireRecords, RecordsKindsAndTransfersHaveTheShapeOfTheContract) {
  EXPECT_EQ(ToText(WriteRecord, SmallRecord()),
            R"({"kind":"ticket","id":"T-1","version":1,"data":{},)"
            R"("created_at":"2026-01-01T00:00:00.000000Z",)"
            R"("updated_at":"2026-01-01T00:00:00.000001Z"})");
  Record record = SmallRecord();
  record.parent = RecordKey{"project", "p"};
  record.reserved = {{"/n", 5}};
  record.children = {{"note", "", 2}, {"task", "DONE", 3}};
  std::string text = ToText(WriteRecord, record);
  EXPECT_NE(text.find(R"("parent":{"kind":"project","id":"p"})"), std::string::npos) << text;
  EXPECT_NE(text.find(R"("reserved":[{"path":"/n","amount":5}])"), std::string::npos) << text;
  EXPECT_NE(text.find(R"("children":[{"kind":"note","count":2},)"
                      R"({"kind":"task","status":"DONE","count":3}])"),
            std::string::npos)
      << text;
  EXPECT_EQ(ToText(WriteKind, Kind{.name = "t", .version = 1, .rules = "{}", .updated_at = At(0)}),
            R"({"name":"t","version":1,"rules":{},"updated_at":"2026-01-01T00:00:00.000000Z"})");
  EXPECT_EQ(ToText(WriteTransfer, SmallTransfer()),
            R"({"id":"1","from":{"kind":"account","id":"a"},"to":{"kind":"account","id":"b"},)"
            R"("path":"/balance","amount":1,"posted":0,"state":"pending",)"
            R"("created_at":"2026-01-01T00:00:00.000000Z"})");
}

TEST(WireRecords, KindsAndTransfersSurviveTheRoundTrip) {
  auto kind = DecodeKind(ToText(WriteKind, FullKind()));
  ASSERT_TRUE(kind) << kind.error().message;
  EXPECT_EQ(*kind, FullKind());
  auto kinds =
      DecodeKinds(fmt::format(R"({{"items":[{}],"next_cursor":null}})", ToText(WriteKind, *kind)));
  ASSERT_TRUE(kinds) << kinds.error().message;
  EXPECT_EQ(*kinds, std::vector{FullKind()});
  for (Transfer transfer : {SmallTransfer(), FullTransfer()}) {
    for (std::size_t i = 0; i < kTransferStateCount; ++i) {
      transfer.state = static_cast<TransferState>(i);
      auto read = DecodeTransfer(ToText(WriteTransfer, transfer));
      ASSERT_TRUE(read) << read.error().message;
      EXPECT_EQ(*read, transfer);
    }
  }
  std::string text = ToText(WriteTransfer, SmallTransfer());
  text.replace(text.find("pending"), 7, "gone");
  EXPECT_EQ(MessageOf(DecodeTransfer(text)), "state: 'gone' is not a transfer state");
}

TEST(WireRecords, EveryOperationAndGuardSurvivesTheRoundTrip) {
  Batch batch{EveryGuard(), EveryRecordOperation(), "key"};
  std::string text = TextOf(batch);
  auto read = DecodeBatch(text);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(TextOf(*read), text);
  ASSERT_EQ(read->operations.size(), batch.operations.size());
  for (std::size_t i = 0; i < batch.operations.size(); ++i) {
    EXPECT_EQ(read->operations[i].index(), batch.operations[i].index()) << i;
  }
  ASSERT_EQ(read->guards.size(), 3U);
  EXPECT_EQ(std::get<JobGuard>(read->guards[0]).token, 2);
  EXPECT_EQ(std::get<VersionGuard>(read->guards[1]).record, (RecordKey{"ticket", "T-1"}));
  EXPECT_EQ(std::get<VersionGuard>(read->guards[1]).version, 7);
  EXPECT_EQ(std::get<AbsentGuard>(read->guards[2]).record, (RecordKey{"ticket", "T-2"}));
}

TEST(WireRecords, WhatAnOperationSaysIsReadAsItWasMeant) {
  auto of = [](std::string_view text) { return OperationsOf(text).at(0); };
  auto create = std::get<CreateRecord>(of(R"({"do":"record.create","kind":"t"})"));
  EXPECT_EQ(create.kind, "t");
  EXPECT_EQ(create.id, "");
  EXPECT_EQ(create.data, "{}");
  EXPECT_FALSE(create.parent);
  EXPECT_FALSE(create.force);
  create = std::get<CreateRecord>(of(R"({"parent":{"id":"p","kind":"project"},"status":"OPEN",
      "data": {"n" : 1e400} ,"force":true,"id":"T-1","kind":"t","do":"record.create"})"));
  EXPECT_EQ(create.parent, (RecordKey{"project", "p"}));
  EXPECT_EQ(create.status, "OPEN");
  EXPECT_EQ(create.data, R"({"n" : 1e400})") << "handed on as it was sent";
  EXPECT_TRUE(create.force);

  auto merge = std::get<MergeRecord>(of(R"({"do":"record.merge","kind":"t","id":"1","version":5,
      "parent":{"kind":"project","id":"p"},"patch":{"a":null}})"));
  EXPECT_EQ(merge.version, 5);
  EXPECT_EQ(merge.parent, (RecordKey{"project", "p"}));
  EXPECT_EQ(merge.patch, R"({"a":null})");
  auto append = std::get<AppendRecord>(of(R"({"do":"record.append","kind":"t","id":"1",
      "path":"/l","value":[1, 2],"max_length":3})"));
  EXPECT_EQ(append.value, "[1, 2]");
  EXPECT_EQ(append.max_length, 3);
  auto transition =
      std::get<TransitionRecord>(of(R"({"do":"record.transition","kind":"t","id":"1","to":"X"})"));
  EXPECT_EQ(transition.to, "X");
  EXPECT_EQ(transition.data, "{}");
  auto action = std::get<RunAction>(
      of(R"({"do":"record.action","kind":"t","id":"1","action":"a","params":{"p":1}})"));
  EXPECT_EQ(action.action, "a");
  EXPECT_EQ(action.params, R"({"p":1})");
  auto apply = std::get<ApplyKind>(of(R"({"do":"kind.apply","name":"t","rules":{},"version":0})"));
  EXPECT_EQ(apply.version, 0);
  auto transfer = std::get<MakeTransfer>(of(R"({"do":"transfer","from":{"kind":"a","id":"1"},
      "to":{"kind":"a","id":"2"},"path":"/n","amount":9223372036854775807,"pending":true,
      "timeout":"5s"})"));
  EXPECT_EQ(transfer.from, (RecordKey{"a", "1"}));
  EXPECT_EQ(transfer.to, (RecordKey{"a", "2"}));
  EXPECT_EQ(transfer.amount, 9'223'372'036'854'775'807);
  EXPECT_EQ(transfer.timeout, seconds(5));
  auto post = std::get<PostTransfer>(of(R"({"do":"transfer.post","id":"8","amount":2})"));
  EXPECT_EQ(post.id, 8);
  EXPECT_EQ(post.amount, 2);
}

TEST(WireRecords, AnIncrementIsAnIntegerOrADoubleAsItIsWritten) {
  auto by = [](std::string_view text) {
    return std::get<IncrementRecord>(
               OperationsOf(
                   fmt::format(
                       R"({{"do":"record.increment","kind":"t","id":"1","path":"/n","by":{}}})",
                       text))
                   .at(0))
        .by;
  };
  using By = std::variant<std::int64_t, double>;
  EXPECT_EQ(by("-1"), By(std::int64_t{-1}));
  EXPECT_EQ(by("0"), By(std::int64_t{0}));
  EXPECT_EQ(by("9223372036854775807"), By(std::numeric_limits<std::int64_t>::max()));
  EXPECT_EQ(by("-9223372036854775808"), By(std::numeric_limits<std::int64_t>::min()));
  EXPECT_EQ(by("1.0"), By(1.0));
  EXPECT_EQ(by("-2.5"), By(-2.5));
  EXPECT_EQ(by("1e3"), By(1000.0));
  EXPECT_EQ(by("1E-2"), By(0.01));
  auto message = [](std::string_view text) {
    return MessageOf(DecodeBatch(fmt::format(
        R"({{"operations":[{{"do":"record.increment","kind":"t","id":"1","path":"/n","by":{}}}]}})",
        text)));
  };
  for (std::string_view big : {"9223372036854775808", "-9223372036854775809",
                               "18446744073709551615", "123456789012345678901234567890"}) {
    EXPECT_TRUE(message(big).starts_with("operations[0].by is a whole number beyond 64 bits"))
        << message(big);
  }
  for (std::string_view big : {"1e999", "-1e999"}) {
    EXPECT_TRUE(message(big).ends_with("beyond the range of a floating-point number"))
        << message(big);
  }
  for (std::string_view other : {"\"1\"", "null", "true", "[1]", "{}"}) {
    EXPECT_EQ(message(other), "operations[0].by must be a number") << other;
  }
  for (std::string_view broken : {"NaN", "Infinity", "1.", "01", "1e", "-", "+1", "0x1"}) {
    EXPECT_FALSE(DecodeBatch(fmt::format(
        R"({{"operations":[{{"do":"record.increment","kind":"t","id":"1","path":"/n","by":{}}}]}})",
        broken)))
        << broken;
  }
}

TEST(WireRecords, BadOperationsAndGuardsAreRefusedByName) {
  const std::pair<std::string, std::string> bad[] = {
      {R"("operations":[{"do":"record.create"}])", "operations[0].kind is missing"},
      {R"("operations":[{"do":"record.create","kind":"t","id":7}])",
       "operations[0].id must be a string"},
      {R"("operations":[{"do":"record.create","kind":"t","id":""}])",
       "operations[0].id is empty (leave it out instead)"},
      {R"("operations":[{"do":"record.create","kind":"t","version":1}])",
       "operations[0].version is not a known field"},
      {R"("operations":[{"do":"record.create","kind":"t","parent":"project/p"}])",
       "operations[0].parent must be an object"},
      {R"("operations":[{"do":"record.create","kind":"t","parent":{"kind":"project"}}])",
       "operations[0].parent.id is missing"},
      {R"("operations":[{"do":"record.merge","kind":"t","id":"1"}])",
       "operations[0].patch is missing"},
      {R"("operations":[{"do":"record.merge","kind":"t","id":"1","patch":{},"version":"5"}])",
       "operations[0].version must be a whole number of 64 bits"},
      {R"("operations":[{"do":"record.delete","kind":"t","id":"1","data":{}}])",
       "operations[0].data is not a known field"},
      {R"("operations":[{"do":"record.append","kind":"t","id":"1","path":"/l"}])",
       "operations[0].value is missing"},
      {R"("operations":[{"do":"transfer","from":{"kind":"a","id":"1"}}])",
       "operations[0].to is missing"},
      {R"("operations":[{"do":"transfer","from":{"kind":"a","id":"1","x":1}}])",
       "operations[0].from.x is not a known field"},
      {R"("operations":[{"do":"transfer.post","id":"8","amount":1.5}])",
       "operations[0].amount must be a whole number of 64 bits"},
      {R"("operations":[],"guards":[{"record":{"kind":"t","id":"1"}}])",
       "guards[0].version is missing (or absent, or fence)"},
      {R"("operations":[],"guards":[{"record":{"kind":"t","id":"1"},"version":1,"absent":true}])",
       "guards[0].version does not go with absent"},
      {R"("operations":[],"guards":[{"record":{"kind":"t","id":"1"},"absent":false}])",
       "guards[0].absent can only be true"},
      {R"("operations":[],"guards":[{"record":"t/1","version":1}])",
       "guards[0].record must be an object"},
      {R"("operations":[],"guards":[{"record":{"kind":"t","id":"1"},"job":"1","token":"2"}])",
       "guards[0].job is not a known field"},
      {R"("operations":[],"guards":[{"job":"1","token":"2","absent":true}])",
       "guards[0].absent is not a known field"},
      {R"("operations":[],"guards":[{}])", "guards[0].job is missing"},
      {R"("operations":[],"guards":[7])", "guards[0] must be an object"},
  };
  for (const auto& [members, complaint] : bad) {
    EXPECT_EQ(MessageOf(DecodeBatch("{" + members + "}")), complaint) << members;
  }
  auto second = DecodeBatch(
      R"({"operations":[],"guards":[{"job":"1","token":"2"},{"record":{"kind":"t","id":"1"}}]})");
  EXPECT_EQ(second.error().detail.guard, 1);
}

TEST(WireRecords, AnOperationOfAPathTakesItsKeyFromThere) {
  MergeRecord start;
  start.kind = "t";
  start.id = "1";
  auto merge = DecodeOperation(start, R"({"patch":{"a":1},"version":5})", {"kind", "id"});
  ASSERT_TRUE(merge) << merge.error().message;
  EXPECT_EQ(std::get<MergeRecord>(*merge).id, "1");
  EXPECT_EQ(std::get<MergeRecord>(*merge).version, 5);
  for (std::string_view known : {"kind", "id"}) {
    EXPECT_EQ(MessageOf(DecodeOperation(start, fmt::format(R"({{"patch":{{}},"{}":"x"}})", known),
                                        {"kind", "id"})),
              fmt::format("{} is not a known field", known));
  }
  EXPECT_EQ(MessageOf(DecodeOperation(start, "", {"kind", "id"})), "patch is missing");
  EXPECT_EQ(MessageOf(DecodeOperation(start, R"({"patch":{}})", {"kind"})), "id is missing");
  EXPECT_TRUE(DecodeOperation(VoidTransfer{7}, "", {"id"}));
}

TEST(WireRecords, ResultsAndProblemsSurviveTheRoundTrip) {
  Receipt receipt{
      {{.record = FullRecord()}, {.kind = FullKind()}, {.transfer = FullTransfer()}, {}}};
  auto read = DecodeReceipt(ToText(WriteReceipt, receipt));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->results, receipt.results);

  Error error{ErrorCode::kRuleViolation,
              "no",
              {.rule = "bounds /n", .record = "ticket/T-1", .violations = {"a", "b \"c\""}}};
  base::JsonWriter json;
  json.BeginObject();
  WriteErrorFields(json, error);
  json.EndObject();
  EXPECT_EQ(json.text(), R"({"code":"rule_violation","detail":"no","retryable":false,)"
                         R"("rule":"bounds /n","record":"ticket/T-1",)"
                         R"("violations":["a","b \"c\""]})");
  EXPECT_EQ(DecodeProblem(json.text(), 409), error);
}

TEST(WireRecords, AuditEntriesTellVersionsWhereThereAreAny) {
  AuditEntry entry{.sequence = 1,
                   .at = At(0),
                   .operation = "record.create",
                   .target = "ticket/T-1",
                   .new_version = 1};
  std::string text = ToText(WriteAuditEntry, entry);
  EXPECT_EQ(text.find("old_version"), std::string::npos) << text;
  EXPECT_NE(text.find(R"("new_version":1)"), std::string::npos) << text;
  auto page = DecodeAuditPage(fmt::format(R"({{"items":[{}]}})", text));
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_EQ(page->items.at(0), entry);
}

TEST(WireRecords, AnswersOfNewerServersAreUnderstood) {
  std::string text = ToText(WriteRecord, FullRecord());
  for (std::string_view object : {R"("parent":{)", R"("reserved":[{)", R"("children":[{)", "{"}) {
    text.insert(text.find(object) + object.size(), R"("colour":{"red":[1,2]},)");
  }
  auto record = DecodeRecord(text);
  ASSERT_TRUE(record) << record.error().message << "\n" << text;
  EXPECT_EQ(*record, FullRecord());
}

TEST(WireRecords, ColumnsSurviveTheRoundTripAndSayWhenTheyAreCorrupt) {
  EXPECT_EQ(EncodeReservations({{"/n", 5}}), R"([{"path":"/n","amount":5}])");
  EXPECT_EQ(*DecodeReservations(EncodeReservations(FullRecord().reserved)), FullRecord().reserved);
  EXPECT_EQ(*DecodeChildren(EncodeChildren(FullRecord().children)), FullRecord().children);
  EXPECT_EQ(EncodeChildren({}), "[]");
  EXPECT_EQ(*DecodeReservations("[]"), std::vector<Reservation>());
  EXPECT_EQ(*DecodeChildren("[]"), std::vector<ChildCount>());
  for (std::string_view corrupt : {"", "[", "{}", "[7]", "[{}]", R"([{"path":"/n","amount":"5"}])",
                                   R"([{"kind":"k","count":null}])"}) {
    EXPECT_EQ(DecodeReservations(corrupt).error().code, ErrorCode::kCorrupt) << corrupt;
    EXPECT_EQ(DecodeChildren(corrupt).error().code, ErrorCode::kCorrupt) << corrupt;
  }
}

TEST(WireRecords, AFingerprintCoversEveryMemberOfOperationsAndGuards) {
  auto of = [](Guard guard, Operation operation) {
    return FingerprintOf(Batch{{std::move(guard)}, {std::move(operation)}, ""});
  };
  std::vector<std::string> all;
  for (const Operation& operation : EveryRecordOperation()) {
    for (const Guard& guard : EveryGuard()) all.push_back(of(guard, operation));
  }
  for (Guard guard :
       {Guard(VersionGuard{{"ticket", "T-1"}, 8}), Guard(VersionGuard{{"ticket", "T-2"}, 7}),
        Guard(AbsentGuard{{"t", "T-2"}})}) {
    all.push_back(of(guard, CreateRecord{.kind = "ticket"}));
  }
  std::ranges::sort(all);
  EXPECT_EQ(std::ranges::adjacent_find(all), all.end());
  // Pinned: keys outlive an upgrade, so that the text behind a fingerprint may not change.
  EXPECT_EQ(of(VersionGuard{{"ticket", "T-1"}, 7}, IncrementRecord{Full(), "/n", std::int64_t{2}}),
            "d76aa7cc2bdd7c901c58571ae7db2d48d63ea2c501ec28b230b872d9d59888a9");
}

}  // namespace
}  // namespace holdfast::wire
