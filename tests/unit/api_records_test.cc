// What each endpoint about kinds, records and transfers answers, and what it refuses.
#include <fmt/format.h>

#include "api_client.h"

namespace holdfast::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kTicketRules = R"({
  "states": {"initial": ["NEW", "OPEN"],
             "transitions": {"NEW": ["OPEN", "CANCELLED"], "OPEN": ["CANCELLED"]},
             "final": ["CANCELLED"], "require": {"CANCELLED": ["/comment"]}},
  "bounds": {"/level": {"min": 0, "max": 3}},
  "unique": ["/number"],
  "actions": {"escalate": {"params": {"to": {"schema": {"type": "string"}}},
    "steps": [{"do": "record.increment", "path": "/level", "by": 1},
              {"do": "record.merge", "data": {"assignee": {"$param": "to"}}}]}}
})";

class ApiRecords : public ApiTest {
 protected:
  ApiRecords() {
    Put("/v1/kinds/ticket", kTicketRules);
    Put("/v1/kinds/account", R"({"bounds":{"/balance":{"min":0}}})");
    Put("/v1/kinds/any", "{}");
  }

  net::HttpResponse Put(std::string target, std::string body, net::Headers headers = {}) {
    return Call("PUT", std::move(target), std::move(body), std::move(headers));
  }
  net::HttpResponse Patch(std::string target, std::string body, std::string type) {
    return Call("PATCH", std::move(target), std::move(body), {{"Content-Type", std::move(type)}});
  }

  /// The record that an answer holds; checks that its ETag tells the version.
  static Record RecordOf(const net::HttpResponse& response) {
    auto record = wire::DecodeRecord(response.body);
    EXPECT_TRUE(record) << response.status << " " << response.body;
    if (!record) return {};
    EXPECT_EQ(net::FindHeader(response.headers, "ETag"), fmt::format("\"{}\"", record->version));
    return *record;
  }
  static Kind KindOf(const net::HttpResponse& response) {
    auto kind = wire::DecodeKind(response.body);
    EXPECT_TRUE(kind) << response.status << " " << response.body;
    if (!kind) return {};
    EXPECT_EQ(net::FindHeader(response.headers, "ETag"), fmt::format("\"{}\"", kind->version));
    return *kind;
  }
  static Transfer TransferOf(const net::HttpResponse& response) {
    auto transfer = wire::DecodeTransfer(response.body);
    EXPECT_TRUE(transfer) << response.status << " " << response.body;
    return transfer ? *transfer : Transfer{};
  }

  Record Added(std::string kind, std::string id, std::string data) {
    return RecordOf(
        Post("/v1/records/" + kind, fmt::format(R"({{"id":"{}","data":{}}})", id, data)));
  }
  std::string DataOf(std::string path) { return RecordOf(Get(std::move(path))).data; }
};

TEST_F(ApiRecords, AKindIsDeclaredChangedAndRead) {
  auto declared = Put("/v1/kinds/new", " {\"unique\": [\"/a\"]}\n");
  EXPECT_EQ(declared.status, 201) << declared.body;
  EXPECT_EQ(KindOf(declared).name, "new");
  EXPECT_EQ(KindOf(declared).version, 1);
  EXPECT_EQ(KindOf(declared).rules, R"({"unique": ["/a"]})");
  auto same = Put("/v1/kinds/new", R"({"unique": ["/a"]})");
  EXPECT_EQ(same.status, 200) << "nothing was added";
  EXPECT_EQ(KindOf(same).version, 1);
  auto changed = Call("PUT", "/v1/kinds/new", "{}", {{"X-Holdfast-Actor", "ada"}});
  EXPECT_EQ(changed.status, 200);
  EXPECT_EQ(KindOf(changed).version, 2);
  EXPECT_EQ(KindOf(changed).updated_by, "ada");
  auto read = Get("/v1/kinds/new");
  EXPECT_EQ(read.status, 200);
  EXPECT_EQ(KindOf(read), KindOf(changed));
  auto list = Get("/v1/kinds");
  EXPECT_THAT(list.body, HasSubstr(R"("next_cursor":null)"));
  auto kinds = wire::DecodeKinds(list.body);
  ASSERT_TRUE(kinds) << list.body;
  EXPECT_EQ(kinds->size(), 4U);
  EXPECT_EQ(ProblemOf(Get("/v1/kinds/none")).code, ErrorCode::kNotFound);
}

TEST_F(ApiRecords, AKindIsDeclaredOnceUnderOneKey) {
  net::Headers key = {{"Idempotency-Key", "declare"}};
  auto first = Put("/v1/kinds/new", "{}", key);
  auto second = Put("/v1/kinds/new", "{}", key);
  EXPECT_EQ(first.status, 201);
  EXPECT_EQ(second.status, 201);
  EXPECT_EQ(second.body, first.body);
  EXPECT_EQ(net::FindHeader(second.headers, "Idempotency-Replayed"), "true");
  EXPECT_EQ(ProblemOf(Put("/v1/kinds/new", R"({"unique":["/a"]})", key)).code,
            ErrorCode::kIdempotencyMismatch);
}

TEST_F(ApiRecords, RulesAreChangedUnderTheirVersion) {
  Error stale = ProblemOf(Put("/v1/kinds/any", R"({"unique":["/a"]})", {{"If-Match", "\"7\""}}));
  EXPECT_EQ(stale.code, ErrorCode::kVersionMismatch);
  EXPECT_EQ(stale.detail.expected, 7);
  EXPECT_EQ(stale.detail.current, 1);
  EXPECT_EQ(KindOf(Put("/v1/kinds/any", R"({"unique":["/a"]})", {{"If-Match", "\"1\""}})).version,
            2);
  EXPECT_EQ(Put("/v1/kinds/first", "{}", {{"If-Match", "0"}}).status, 201);
  EXPECT_EQ(ProblemOf(Put("/v1/kinds/first", "{}", {{"If-Match", "0"}})).code,
            ErrorCode::kVersionMismatch);
}

TEST_F(ApiRecords, RulesThatRecordsBreakAreAppliedOnlyByForce) {
  Added("any", "1", "{}");
  std::string rules = R"({"schema":{"type":"object","required":["title"]}})";
  Error broken = ProblemOf(Put("/v1/kinds/any", rules));
  EXPECT_EQ(broken.code, ErrorCode::kRuleViolation);
  ASSERT_EQ(broken.detail.violations.size(), 1U);
  EXPECT_THAT(broken.detail.violations[0], HasSubstr("any/1"));
  EXPECT_FALSE(broken.detail.operation) << "there is no list in which an index means anything";
  EXPECT_EQ(ProblemOf(Put("/v1/kinds/any?force=false", rules)).code, ErrorCode::kRuleViolation);
  EXPECT_EQ(KindOf(Put("/v1/kinds/any?force=true", rules)).version, 2);
}

TEST_F(ApiRecords, ARecordIsAddedReadListedAndRemoved) {
  auto added = Call("POST", "/v1/records/ticket",
                    R"({"id":"T:1","status":"OPEN","data":{"n":9007199254740993}})",
                    {{"X-Holdfast-Actor", "ada"}});
  EXPECT_EQ(added.status, 201) << added.body;
  Record record = RecordOf(added);
  EXPECT_EQ(record.version, 1);
  EXPECT_EQ(record.status, "OPEN");
  EXPECT_EQ(record.data, R"({"n":9007199254740993})");
  EXPECT_EQ(record.updated_by, "ada");
  std::string path(net::FindHeader(added.headers, "Location"));
  EXPECT_EQ(path, "/v1/records/ticket/T%3A1");
  EXPECT_EQ(RecordOf(Get(path)), record);
  EXPECT_EQ(RecordOf(Get("/v1/records/ticket/T:1")), record);

  auto chosen = Post("/v1/records/ticket", "{}");
  EXPECT_EQ(chosen.status, 201);
  EXPECT_NE(RecordOf(chosen).id, "");
  EXPECT_EQ(RecordOf(chosen).status, "NEW");
  EXPECT_EQ(ProblemOf(Post("/v1/records/ticket", R"({"id":"T:1"})")).code,
            ErrorCode::kAlreadyExists);

  auto removed = Call("DELETE", path);
  EXPECT_EQ(removed.status, 204);
  EXPECT_EQ(removed.body, "");
  Error gone = ProblemOf(Get(path));
  EXPECT_EQ(gone.code, ErrorCode::kNotFound);
  EXPECT_EQ(gone.message, "record ticket/T:1 does not exist");
  EXPECT_EQ(gone.detail.record, "ticket/T:1");
  EXPECT_EQ(ProblemOf(Call("DELETE", path)).code, ErrorCode::kNotFound);
}

TEST_F(ApiRecords, RecordsAreListedByStatusAndParentInPages) {
  Put("/v1/kinds/note", R"({"parent":{"kind":"ticket"}})");
  Added("ticket", "a", "{}");
  Added("ticket", "b", "{}");
  Post("/v1/records/ticket", R"({"id":"c","status":"OPEN"})");
  Post("/v1/records/note", R"({"id":"n1","parent":{"kind":"ticket","id":"a"}})");
  Post("/v1/records/note", R"({"id":"n2","parent":{"kind":"ticket","id":"b"}})");
  auto list = [&](std::string query) {
    auto page = wire::DecodeRecordPage(Get("/v1/records/" + query).body);
    EXPECT_TRUE(page) << query;
    return page ? *page : RecordPage{};
  };
  EXPECT_EQ(list("ticket").items.size(), 3U);
  EXPECT_EQ(list("ticket?status=NEW").items.size(), 2U);
  EXPECT_EQ(list("ticket?status=OPEN").items.at(0).id, "c");
  EXPECT_EQ(list("note?parent=ticket%2Fb").items.at(0).id, "n2");
  EXPECT_EQ(list("note?parent=ticket/a").items.size(), 1U);
  EXPECT_EQ(list("note?parent=ticket/c").items.size(), 0U);
  EXPECT_EQ(list("any").items.size(), 0U) << "a kind that has no records is no error";
  RecordPage first = list("ticket?limit=2");
  EXPECT_EQ(first.items.size(), 2U);
  ASSERT_FALSE(first.next_cursor.empty());
  EXPECT_EQ(list("ticket?limit=2&cursor=" + first.next_cursor).items.at(0).id, "c");
  EXPECT_THAT(Get("/v1/records/ticket").body, HasSubstr(R"("next_cursor":null)"));
  EXPECT_EQ(ProblemOf(Get("/v1/records/none")).code, ErrorCode::kNotFound);

  Record parent = RecordOf(Get("/v1/records/ticket/a"));
  ASSERT_EQ(parent.children.size(), 1U);
  EXPECT_EQ(parent.children[0], (ChildCount{"note", "", 1}));
}

TEST_F(ApiRecords, DataIsReplacedMergedAndPatched) {
  Added("any", "1", R"({"a":1,"b":2})");
  std::string path = "/v1/records/any/1";
  auto replaced = Put(path, "\n{\"c\":[1]} ");
  EXPECT_EQ(replaced.status, 200) << replaced.body;
  EXPECT_EQ(RecordOf(replaced).data, R"({"c":[1]})");
  EXPECT_EQ(RecordOf(replaced).version, 2);
  EXPECT_EQ(RecordOf(Patch(path, R"({"a":1,"c":null})", "application/merge-patch+json")).data,
            R"({"a":1})");
  EXPECT_EQ(RecordOf(Patch(path, R"({"b":2})", "application/json")).data, R"({"a":1,"b":2})");
  EXPECT_EQ(RecordOf(Patch(path, R"([{"op":"test","path":"/b","value":2},
                                     {"op":"remove","path":"/b"}])",
                           "Application/JSON-Patch+JSON; charset=utf-8"))
                .data,
            R"({"a":1})");
  EXPECT_EQ(ProblemOf(Patch(path, R"([{"op":"test","path":"/a","value":2}])",
                            "application/json-patch+json"))
                .code,
            ErrorCode::kRuleViolation);
  EXPECT_EQ(RecordOf(Get(path)).version, 5);
}

TEST_F(ApiRecords, APatchMustSayOfWhichTypeItIs) {
  Added("any", "1", "{}");
  for (std::string type : {"", "text/plain", "application/x-www-form-urlencoded",
                           "application/json-patch", "application/xml;application/json"}) {
    auto refused = Patch("/v1/records/any/1", R"({"a":1})", type);
    Error error = ProblemOf(refused, 415);
    EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.message, HasSubstr("application/merge-patch+json"));
    EXPECT_THAT(net::FindHeader(refused.headers, "Accept-Patch"),
                HasSubstr("application/json-patch+json"));
  }
  EXPECT_EQ(RecordOf(Get("/v1/records/any/1")).version, 1);
}

TEST_F(ApiRecords, NumbersAreIncrementedAndValuesAppended) {
  Added("any", "1", R"({"n":9007199254740993,"x":0.5,"list":[]})");
  auto increment = [&](std::string body) { return Post("/v1/records/any/1/increment", body); };
  EXPECT_THAT(RecordOf(increment(R"({"path":"/n"})")).data, HasSubstr("9007199254740994"));
  EXPECT_THAT(RecordOf(increment(R"({"path":"/n","by":-2})")).data, HasSubstr("9007199254740992"));
  EXPECT_THAT(RecordOf(increment(R"({"path":"/x","by":0.25})")).data, HasSubstr("0.75"));
  EXPECT_EQ(ProblemOf(increment(R"({"path":"/missing"})")).code, ErrorCode::kInvalidArgument);
  for (int i = 0; i < 3; ++i) {
    auto appended = Post("/v1/records/any/1/append",
                         fmt::format(R"({{"path":"/list","value":{{"i":{}}},"max_length":2}})", i));
    EXPECT_EQ(appended.status, 200) << appended.body;
  }
  EXPECT_THAT(DataOf("/v1/records/any/1"), HasSubstr(R"([{"i":1},{"i":2}])"));
}

TEST_F(ApiRecords, AStatusChangesAlongItsTransitions) {
  Added("ticket", "1", "{}");
  auto go = [&](std::string body) { return Post("/v1/records/ticket/1/transition", body); };
  EXPECT_EQ(RecordOf(go(R"({"to":"OPEN"})")).status, "OPEN");
  EXPECT_EQ(ProblemOf(go(R"({"to":"NEW"})")).code, ErrorCode::kInvalidTransition);
  Error missing = ProblemOf(go(R"({"to":"CANCELLED"})"));
  EXPECT_EQ(missing.code, ErrorCode::kRuleViolation);
  EXPECT_THAT(missing.detail.rule, HasSubstr("require"));
  Record cancelled = RecordOf(go(R"({"to":"CANCELLED","data":{"comment":"no"}})"));
  EXPECT_EQ(cancelled.status, "CANCELLED");
  EXPECT_EQ(cancelled.data, R"({"comment":"no"})");
  EXPECT_EQ(RecordOf(go(R"({"to":"NEW","force":true})")).status, "NEW");
}

TEST_F(ApiRecords, AnActionIsOneChange) {
  Added("ticket", "1", R"({"level":0})");
  auto escalate = [&](std::string body) {
    return Post("/v1/records/ticket/1/actions/escalate", std::move(body));
  };
  Record record = RecordOf(escalate(R"({"params":{"to":"ada"}})"));
  EXPECT_EQ(record.version, 2);
  EXPECT_EQ(record.data, R"({"assignee":"ada","level":1})");
  EXPECT_EQ(ProblemOf(escalate("")).code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(ProblemOf(escalate(R"({"params":{"to":7}})")).code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(ProblemOf(escalate(R"({"to":"ada"})")).message, "to is not a known field");
  EXPECT_EQ(ProblemOf(escalate(R"({"action":"x"})")).message, "action is not a known field");
  EXPECT_NE(Post("/v1/records/ticket/1/actions/none", "{}").status, 200);
  EXPECT_EQ(RecordOf(Get("/v1/records/ticket/1")).version, 2);
}

TEST_F(ApiRecords, REC_1_AWriteMayNameTheVersionItExpects) {
  Added("any", "1", R"({"n":0,"l":[]})");
  std::string path = "/v1/records/any/1";
  auto stale = [&](net::HttpResponse response) {
    Error error = ProblemOf(response);
    EXPECT_EQ(error.code, ErrorCode::kVersionMismatch);
    EXPECT_EQ(error.detail.expected, 9);
    EXPECT_EQ(error.detail.current, 1);
  };
  net::Headers nine = {{"If-Match", "\"9\""}, {"Content-Type", "application/json"}};
  stale(Call("PUT", path, "{}", nine));
  stale(Call("PATCH", path, "{}", nine));
  stale(Call("DELETE", path, "", nine));
  stale(Call("POST", path + "/increment", R"({"path":"/n"})", nine));
  stale(Call("POST", path + "/append", R"({"path":"/l","value":1})", nine));
  stale(Call("POST", path + "/increment", R"({"path":"/n","version":9})"));
  EXPECT_EQ(RecordOf(Get(path)).version, 1);

  EXPECT_EQ(RecordOf(Put(path, R"({"n":1})", {{"If-Match", "\"1\""}})).version, 2);
  EXPECT_EQ(RecordOf(Put(path, R"({"n":2})", {{"If-Match", "2"}})).version, 3);
  EXPECT_EQ(RecordOf(Put(path, R"({"n":3})", {{"If-Match", "*"}})).version, 4);
  EXPECT_EQ(ProblemOf(Put("/v1/records/any/none", "{}", {{"If-Match", "*"}})).code,
            ErrorCode::kNotFound);
  EXPECT_EQ(Call("DELETE", path, "", {{"If-Match", "\"4\""}}).status, 204);
}

TEST_F(ApiRecords, AConditionThatIsNotUnderstoodIsRefused) {
  Added("any", "1", "{}");
  for (std::string condition : {"W/\"1\"", "\"1\", \"2\"", "\"\"", "\"", "\"x\"", "-1", "1.0",
                                "\"1", "1\"", "99999999999999999999"}) {
    for (std::string target : {"/v1/records/any/1", "/v1/kinds/any"}) {
      Error error = ProblemOf(Put(target, "{}", {{"If-Match", condition}}));
      EXPECT_EQ(error.code, ErrorCode::kInvalidArgument) << condition;
      EXPECT_THAT(error.message, StartsWith("If-Match is ")) << condition;
    }
  }
  Error twice = ProblemOf(Call("POST", "/v1/records/any/1/increment",
                               R"({"path":"/n","version":1})", {{"If-Match", "\"1\""}}));
  EXPECT_EQ(twice.message, "version is given by the header If-Match, too");
  Error added = ProblemOf(Post("/v1/records/any", "{}", {{"If-Match", "\"1\""}}));
  EXPECT_THAT(added.message, StartsWith("If-Match is for records and kinds"));
  EXPECT_EQ(ProblemOf(Post("/v1/commit", R"({"operations":[]})", {{"If-Match", "\"1\""}})).message,
            added.message);
  Error absent = ProblemOf(Put("/v1/records/any/1", "{}", {{"If-None-Match", "*"}}));
  EXPECT_EQ(absent.message, "If-None-Match is for reads");
  Error keyless = ProblemOf(Put("/v1/records/any/1", "{}", {{"Idempotency-Key", ""}}));
  EXPECT_THAT(keyless.message, StartsWith("Idempotency-Key is empty"));
  EXPECT_EQ(RecordOf(Get("/v1/records/any/1")).version, 1);
}

TEST_F(ApiRecords, ARecordThatIsKnownIsNotSentAgain) {
  Added("any", "1", "{}");
  auto get = [&](std::string tag) {
    return Call("GET", "/v1/records/any/1", "", {{"If-None-Match", std::move(tag)}});
  };
  for (std::string tag : {"\"1\"", "W/\"1\"", "\"7\" , \"1\"", "*"}) {
    auto known = get(tag);
    EXPECT_EQ(known.status, 304) << tag;
    EXPECT_EQ(known.body, "");
    EXPECT_EQ(net::FindHeader(known.headers, "ETag"), "\"1\"");
  }
  for (std::string tag : {"\"2\"", "1", "\"11\"", ",", "\"1"}) {
    EXPECT_EQ(RecordOf(get(tag)).version, 1) << tag;
  }
}

TEST_F(ApiRecords, ARepeatedWriteHasOneEffect) {
  Added("any", "1", R"({"n":0})");
  net::Headers key = {{"Idempotency-Key", "once"}};
  auto first = Post("/v1/records/any/1/increment", R"({"path":"/n"})", key);
  auto second = Post("/v1/records/any/1/increment", R"({"path":"/n"})", key);
  EXPECT_EQ(second.body, first.body);
  EXPECT_EQ(RecordOf(second).version, 2);
  EXPECT_EQ(net::FindHeader(first.headers, "Idempotency-Replayed"), "");
  EXPECT_EQ(net::FindHeader(second.headers, "Idempotency-Replayed"), "true");
  EXPECT_EQ(ProblemOf(Post("/v1/records/any/1/increment", R"({"path":"/n","by":2})", key)).code,
            ErrorCode::kIdempotencyMismatch);
  EXPECT_EQ(DataOf("/v1/records/any/1"), R"({"n":1})");

  net::Headers other = {{"Idempotency-Key", "add"}};
  auto added = Post("/v1/records/any", R"({"data":{}})", other);
  auto again = Post("/v1/records/any", R"({"data":{}})", other);
  EXPECT_EQ(again.status, 201);
  EXPECT_EQ(RecordOf(again).id, RecordOf(added).id);
}

TEST_F(ApiRecords, AViolationNamesTheRuleAndTheRecord) {
  Added("ticket", "1", R"({"level":3,"number":"x"})");
  Error bound = ProblemOf(Post("/v1/records/ticket/1/increment", R"({"path":"/level"})"));
  EXPECT_EQ(bound.code, ErrorCode::kRuleViolation);
  EXPECT_THAT(bound.detail.rule, HasSubstr("/level"));
  auto taken = Post("/v1/records/ticket", R"({"data":{"number":"x"}})");
  Error unique = ProblemOf(taken);
  EXPECT_EQ(unique.code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(unique.detail.record, "ticket/1");
  EXPECT_THAT(taken.body, HasSubstr(R"("record":"ticket/1")"));
}

TEST_F(ApiRecords, AnAmountIsTransferred) {
  Added("account", "a", R"({"balance":100})");
  Added("account", "b", R"({"balance":0})");
  auto body = [](std::string more) {
    return fmt::format(R"({{"from":{{"kind":"account","id":"a"}},
                            "to":{{"kind":"account","id":"b"}},"path":"/balance",{}}})",
                       more);
  };
  auto moved = Call("POST", "/v1/transfers", body(R"("amount":30)"), {{"X-Holdfast-Actor", "ada"}});
  EXPECT_EQ(moved.status, 201) << moved.body;
  Transfer transfer = TransferOf(moved);
  EXPECT_EQ(transfer.state, TransferState::kPosted);
  EXPECT_EQ(transfer.created_by, "ada");
  EXPECT_EQ(net::FindHeader(moved.headers, "Location"),
            fmt::format("/v1/transfers/{}", transfer.id));
  EXPECT_EQ(TransferOf(Get(fmt::format("/v1/transfers/{}", transfer.id))), transfer);
  EXPECT_EQ(DataOf("/v1/records/account/b"), R"({"balance":30})");
  Error short_of = ProblemOf(Post("/v1/transfers", body(R"("amount":71)")));
  EXPECT_EQ(short_of.code, ErrorCode::kRuleViolation);

  Transfer pending =
      TransferOf(Post("/v1/transfers", body(R"("amount":50,"pending":true,"timeout":"1m")")));
  EXPECT_EQ(pending.state, TransferState::kPending);
  EXPECT_TRUE(pending.expires_at);
  EXPECT_EQ(RecordOf(Get("/v1/records/account/a")).reserved.at(0).amount, 50);
  std::string path = fmt::format("/v1/transfers/{}", pending.id);
  auto posted = Post(path + "/post", R"({"amount":20})");
  EXPECT_EQ(posted.status, 200);
  EXPECT_EQ(TransferOf(posted).posted, 20);
  EXPECT_EQ(DataOf("/v1/records/account/a"), R"({"balance":50})");
  EXPECT_EQ(ProblemOf(Post(path + "/void")).code, ErrorCode::kInvalidTransition);

  Transfer given_up = TransferOf(Post("/v1/transfers", body(R"("amount":1,"pending":true)")));
  EXPECT_EQ(TransferOf(Post(fmt::format("/v1/transfers/{}/void", given_up.id))).state,
            TransferState::kVoided);
  Error none = ProblemOf(Get("/v1/transfers/999"));
  EXPECT_EQ(none.code, ErrorCode::kNotFound);
  EXPECT_EQ(ProblemOf(Post("/v1/transfers/999/post", "{}")).code, ErrorCode::kNotFound);
}

TEST_F(ApiRecords, ACommitSpansRecordsAndJobs) {
  Added("any", "1", R"({"n":0})");
  auto commit = [&](int version) {
    return Post("/v1/commit",
                fmt::format(R"({{"guards":[{{"record":{{"kind":"any","id":"1"}},"version":{}}},
                    {{"record":{{"kind":"any","id":"2"}},"absent":true}}],
        "operations":[{{"do":"record.increment","kind":"any","id":"1","path":"/n"}},
                      {{"do":"job.enqueue","kind":"mail"}},
                      {{"do":"record.create","kind":"any"}}]}})",
                            version));
  };
  Error stale = ProblemOf(commit(7));
  EXPECT_EQ(stale.code, ErrorCode::kVersionMismatch);
  EXPECT_EQ(stale.detail.guard, 0);
  auto receipt = wire::DecodeReceipt(commit(1).body);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_EQ(receipt->results.at(0).record->version, 2);
  EXPECT_EQ(receipt->results.at(1).job->kind, "mail");
  EXPECT_EQ(receipt->results.at(2).record->version, 1);
}

TEST_F(ApiRecords, WhatIsNotThereIsToldApartFromWhatIsWrong) {
  for (std::string path : {"/v1/records/none/1", "/v1/records/any/none"}) {
    EXPECT_EQ(ProblemOf(Get(path)).code, ErrorCode::kNotFound) << path;
    EXPECT_EQ(ProblemOf(Put(path, "{}")).code, ErrorCode::kNotFound) << path;
    EXPECT_EQ(ProblemOf(Patch(path, "{}", "application/json")).code, ErrorCode::kNotFound) << path;
    EXPECT_EQ(ProblemOf(Call("DELETE", path)).code, ErrorCode::kNotFound) << path;
    for (std::string_view call : {R"(increment {"path":"/n"})", R"(append {"path":"/l","value":1})",
                                  R"(transition {"to":"X"})", "actions/a {}"}) {
      std::size_t space = call.find(' ');
      auto response = Post(fmt::format("{}/{}", path, call.substr(0, space)),
                           std::string(call.substr(space + 1)));
      EXPECT_EQ(ProblemOf(response).code, ErrorCode::kNotFound) << path << " " << call;
    }
  }
  EXPECT_EQ(ProblemOf(Post("/v1/records/none", "{}")).code, ErrorCode::kNotFound);
  auto wrong = Call("DELETE", "/v1/kinds/any");
  EXPECT_EQ(ProblemOf(wrong, 405).code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(net::FindHeader(wrong.headers, "Allow"), "GET, HEAD, PUT");
  EXPECT_EQ(net::FindHeader(Post("/v1/records/any/1").headers, "Allow"),
            "GET, HEAD, PUT, PATCH, DELETE");
  for (std::string path : {"/v1/records", "/v1/records/", "/v1/records/any/", "/v1/records/any//x",
                           "/v1/records/any/1/actions", "/v1/records/any/1/actions/a/b"}) {
    EXPECT_EQ(ProblemOf(Get(path)).code, ErrorCode::kNotFound) << path;
  }
}

struct BadRequest {
  std::string method;
  std::string target;
  std::string body;
  std::string complaint;
};

TEST_F(ApiRecords, BadInputIsRefusedByNameAndChangesNothing) {
  Added("any", "1", R"({"n":0,"l":[]})");
  const BadRequest bad[] = {
      {"PUT", "/v1/kinds/any?force=yes", "{}", "force must be true or false"},
      {"PUT", "/v1/kinds/any?x=1", "{}", "x is not a known query parameter (known are force)"},
      {"PUT", "/v1/kinds/any", "", "rules"},
      {"PUT", "/v1/kinds/any", "[]", ""},
      {"PUT", "/v1/kinds/a%20b", "{}", "kind has a character outside"},
      {"POST", "/v1/records/any", " ", "the body is not valid JSON"},
      {"POST", "/v1/records/any", R"({"kind":"any"})", "kind is not a known field"},
      {"POST", "/v1/records/any", R"({"id":""})", "id is empty"},
      {"POST", "/v1/records/any", R"({"id":"a/b"})", "record id has a character outside"},
      {"POST", "/v1/records/any", R"({"data":[]})", "data must be an object"},
      {"POST", "/v1/records/any", R"({"data":{"a":nul}})", "data"},
      {"POST", "/v1/records/any", R"({"parent":"a/b"})", "parent must be an object"},
      {"PUT", "/v1/records/any/1", "", "data"},
      {"PUT", "/v1/records/any/1", R"({"n":1}},"force":{})", "data"},
      {"PUT", "/v1/records/any/1", R"({"n":1,"n":2})", "data"},
      {"PUT", "/v1/records/any/1?x=1", "{}", "x is not a known query parameter"},
      {"PUT", "/v1/records/any/a%2Fb", "{}", "record id has a character outside"},
      {"PUT", "/v1/records/any/%zz", "{}", "the path is not percent-encoded"},
      {"PATCH", "/v1/records/any/1", "[]", "patch must be an object"},
      {"DELETE", "/v1/records/any/1", R"({"data":{}})", "data is not a known field"},
      {"POST", "/v1/records/any/1/increment", "", "path is missing"},
      {"POST", "/v1/records/any/1/increment", R"({"path":"n"})", "path"},
      {"POST", "/v1/records/any/1/increment", R"({"path":"/n","by":"1"})", "by must be a number"},
      {"POST", "/v1/records/any/1/increment", R"({"path":"/n","by":18446744073709551615})",
       "by is a whole number beyond 64 bits"},
      {"POST", "/v1/records/any/1/append", R"({"path":"/l"})", "value is missing"},
      {"POST", "/v1/records/any/1/append", R"({"path":"/l","value":1,"max_length":0})",
       "max_length is 0"},
      {"POST", "/v1/records/any/1/append", R"({"path":"/n","value":1})", ""},
      {"POST", "/v1/records/any/1/transition", "{}", "to is missing"},
      {"POST", "/v1/records/any/1/transition", R"({"to":"X","id":"2"})", "id is not a known field"},
      {"POST", "/v1/transfers", "{}", "from is missing"},
      {"POST", "/v1/transfers",
       R"({"from":{"kind":"any","id":"1"},"to":{"kind":"any","id":"1"},"path":"/n","amount":1})",
       "a transfer from any/1 to itself"},
      {"POST", "/v1/transfers/x/post", "{}", "'x' is not a transfer id"},
      {"POST", "/v1/transfers/1/void", R"({"amount":1})", "amount is not a known field"},
      {"GET", "/v1/transfers/x", "", "'x' is not a transfer id"},
      {"GET", "/v1/records/any?parent=x", "", "parent must be KIND/ID"},
      {"GET", "/v1/records/any?parent=%2Fx", "", "parent must be KIND/ID"},
      {"GET", "/v1/records/any?limit=0", "", "limit is 0 (1 to 1000)"},
      {"GET", "/v1/records/any?colour=red", "", "colour is not a known query parameter"},
      {"GET", "/v1/records/any/1?x=1", "", "x is not a known query parameter"},
  };
  for (const BadRequest& one : bad) {
    Error error =
        ProblemOf(Call(one.method, one.target, one.body, {{"Content-Type", "application/json"}}));
    EXPECT_EQ(error.code, ErrorCode::kInvalidArgument)
        << one.method << " " << one.target << " " << one.body << " " << error.message;
    EXPECT_THAT(error.message, StartsWith(one.complaint)) << one.target << " " << one.body;
  }
  EXPECT_EQ(RecordOf(Get("/v1/records/any/1")).version, 1);
  EXPECT_EQ(KindOf(Get("/v1/kinds/any")).version, 1);
}

TEST_F(ApiRecords, DataOfAMebibyteIsKeptAndNoMore) {
  auto data = [](std::size_t size) {
    return fmt::format(R"({{"x":"{}"}})", std::string(size - 8, 'x'));
  };
  Added("any", "1", "{}");
  EXPECT_EQ(Put("/v1/records/any/1", data(1 << 20)).status, 200);
  Error error = ProblemOf(Put("/v1/records/any/1", data((1 << 20) + 1)));
  EXPECT_EQ(error.code, ErrorCode::kPayloadTooLarge);
  EXPECT_THAT(error.message, StartsWith("data has 1048577 bytes (at most 1048576)"));
}

TEST_F(ApiRecords, WritesAreRefusedWhileDraining) {
  Added("any", "1", "{}");
  api_->Drain();
  EXPECT_EQ(ProblemOf(Put("/v1/records/any/1", "{}")).code, ErrorCode::kShuttingDown);
  EXPECT_EQ(ProblemOf(Put("/v1/kinds/any", "{}")).code, ErrorCode::kShuttingDown);
  EXPECT_EQ(Get("/v1/records/any/1").status, 200);
  EXPECT_THAT(Get("/metrics").body,
              HasSubstr("holdfast_http_requests_total{code=\"503\",method=\"PUT\","
                        "route=\"/v1/records/{kind}/{id}\"} 1"));
  EXPECT_THAT(Get("/metrics").body, Not(HasSubstr("/v1/records/any")));
}

}  // namespace
}  // namespace holdfast::testing
