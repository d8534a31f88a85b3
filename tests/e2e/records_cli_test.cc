// Records on the command line: what the commands print, what they change, how they end.
#include <gmock/gmock.h>

#include "e2e/harness.h"

namespace holdfast::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kTicketRules = R"({
  "states": {
    "initial": "NEW",
    "transitions": {"NEW": ["OPEN"], "OPEN": ["RESOLVED", "NEW"], "RESOLVED": ["CLOSED"]},
    "final": ["CLOSED"],
    "require": {"RESOLVED": ["/comment"]}
  },
  "parent": {"kind": "project"},
  "actions": {
    "escalate": {
      "params": {"assignee": {"schema": {"type": "string"}}, "by": {"default": 1}},
      "steps": [
        {"do": "record.increment", "path": "/level", "by": {"$param": "by"}},
        {"do": "record.merge", "data": {"assignee": {"$param": "assignee"}}}
      ]
    }
  }
})";

class RecordsCli : public CliTest {
 protected:
  RecordsCli() {
    ApplyRules("counter", "{}");
    ApplyRules("project", "{}");
    ApplyRules("account", R"({"bounds":{"/balance":{"min":0}}})");
    ApplyRules("ticket", kTicketRules);
  }

  void ApplyRules(const std::string& kind, const std::string& rules) {
    Ended applied = Holdfast({"kind", "apply", folder_.Write(kind + ".json", rules)});
    EXPECT_EQ(applied.exit_code, 0) << applied.err;
  }
  std::string Balance(const std::string& id) {
    return Field("/data/balance", {"record", "get", "account", id});
  }
};

TEST_F(RecordsCli, CreatedRecordsAreFoundAgain) {
  Json created(Done({"--actor", "ada", "record", "create", "ticket", "T-1", "--data",
                     R"({"title":"x","n":12345678901234567})"})
                   .out);
  EXPECT_EQ(created.At("/id"), "T-1");
  EXPECT_EQ(created.At("/version"), "1");
  EXPECT_EQ(created.At("/status"), "NEW") << "the initial state";
  Json got(Done({"record", "get", "ticket", "T-1"}).out);
  EXPECT_EQ(got.At("/data/n"), "12345678901234567") << "numbers stay exact";
  EXPECT_EQ(got.At("/updated_by"), "ada");
  std::string shown = Holdfast({"record", "get", "ticket", "T-1"}).out;
  EXPECT_THAT(shown, StartsWith("record        ticket/T-1\nversion       1\n"));
  EXPECT_THAT(shown, HasSubstr("status        NEW\n"));
}

TEST_F(RecordsCli, DataComesFromTheLineAFileOrStdin) {
  std::string file = folder_.Write("data.json", "{\"n\": 1}\n");
  EXPECT_EQ(Field("/data/n", {"record", "create", "counter", "a", "--data", "@" + file}), "1");
  Ended piped = Done({"record", "create", "counter", "b", "--data", "-"}, "{\"n\": 2}\n");
  EXPECT_EQ(Json(piped.out).At("/data/n"), "2");
  EXPECT_EQ(Field("/data/n", {"record", "replace", "counter", "b", "@" + file}), "1");
  ExpectRefused({"record", "create", "counter", "c", "--data", "@" + folder_.File("none")}, 2,
                "invalid_argument", "none");
  ExpectRefused({"record", "create", "counter", "c", "--data", "[1]"}, 2, "invalid_argument",
                "data");
}

TEST_F(RecordsCli, WithoutAnIdTheStoreChoosesANumber) {
  std::string first = Field("/id", {"record", "create", "counter"});
  std::string second = Field("/id", {"record", "create", "counter"});
  EXPECT_GT(std::stoll(first), 0);
  EXPECT_NE(first, second);
}

TEST_F(RecordsCli, ListFiltersAndPages) {
  Done({"record", "create", "project", "P"});
  for (const char* id : {"A", "B", "C"}) Done({"record", "create", "ticket", id});
  Done({"record", "create", "ticket", "D", "--parent", "project/P"});
  Done({"record", "transition", "ticket", "B", "OPEN"});
  Json all(Done({"record", "list", "ticket"}).out);
  EXPECT_EQ(all.SizeOf("/items"), 4U);
  EXPECT_EQ(all.At("/items/0/id"), "A") << "by id";
  EXPECT_EQ(Field("/items/0/id", {"record", "list", "ticket", "--status", "OPEN"}), "B");
  Json children(Done({"record", "list", "ticket", "--parent", "project/P"}).out);
  EXPECT_EQ(children.SizeOf("/items"), 1U);
  EXPECT_EQ(children.At("/items/0/parent/id"), "P");
  Json page(Done({"record", "list", "ticket", "--limit", "2"}).out);
  EXPECT_EQ(page.SizeOf("/items"), 2U);
  EXPECT_NE(page.At("/next_cursor"), "(none)");
  Ended table = Holdfast({"record", "list", "ticket", "--limit", "3"});
  EXPECT_THAT(table.out, StartsWith("ID  VERSION  STATUS"));
  EXPECT_THAT(table.err, HasSubstr("there are more"));
  EXPECT_THAT(Holdfast({"record", "get", "project", "P"}).out, HasSubstr("1 ticket, NEW"));
}

TEST_F(RecordsCli, REC_2_EveryEditHasItsCommand) {
  Done({"record", "create", "counter", "c", "--data", R"({"n":1,"log":[],"old":true})"});
  EXPECT_EQ(Field("/data/n", {"record", "increment", "counter", "c", "/n"}), "2");
  EXPECT_EQ(Field("/data/n", {"record", "increment", "counter", "c", "/n", "-5"}), "-3");
  EXPECT_EQ(Field("/data/n", {"record", "increment", "counter", "c", "/n", "9007199254740995"}),
            "9007199254740992")
      << "exact beyond the integers of a double";
  EXPECT_EQ(Field("/data/old", {"record", "merge", "counter", "c", R"({"old":null,"x":"y"})"}),
            "(none)");
  EXPECT_EQ(Field("/data/n", {"record", "patch", "counter", "c",
                              R"([{"op":"replace","path":"/n","value":7}])"}),
            "7");
  for (const char* value : {"1", "\"two\"", "-3"}) {
    Done({"record", "append", "counter", "c", "/log", value, "--max-length", "2"});
  }
  Json record(Done({"record", "get", "counter", "c"}).out);
  EXPECT_EQ(record.At("/data/log"), R"(["two",-3])");
  EXPECT_EQ(record.At("/data/x"), "y");
  EXPECT_EQ(record.At("/version"), "9");
  EXPECT_EQ(Field("/data", {"record", "replace", "counter", "c", R"({"n":0.5})"}), R"({"n":0.5})");
  EXPECT_EQ(Field("/data/n", {"record", "increment", "counter", "c", "/n", "0.25"}), "0.75");
}

TEST_F(RecordsCli, EditsThatDoNotFitAreRefused) {
  Done({"record", "create", "counter", "c", "--data", R"({"n":1,"s":"x"})"});
  ExpectRefused({"record", "increment", "counter", "c", "/s"}, 2, "invalid_argument", "/s");
  ExpectRefused({"record", "increment", "counter", "c", "/none"}, 2, "invalid_argument", "/none");
  ExpectRefused({"record", "increment", "counter", "c", "/n", "many"}, 2, "invalid_argument",
                "many");
  ExpectRefused({"record", "increment", "counter", "c", "/n", "9223372036854775808"}, 2,
                "invalid_argument", "9223372036854775808");
  ExpectRefused({"record", "append", "counter", "c", "/n", "1"}, 2, "invalid_argument", "/n");
  ExpectRefused({"record", "merge", "counter", "c", "[]"}, 2, "invalid_argument", "patch");
  EXPECT_EQ(Field("/version", {"record", "get", "counter", "c"}), "1") << "nothing changed";
}

TEST_F(RecordsCli, REC_1_AnotherVersionIsAConflict) {
  Done({"record", "create", "counter", "c", "--data", R"({"n":0})"});
  EXPECT_EQ(Field("/version", {"record", "increment", "counter", "c", "/n", "--version", "1"}),
            "2");
  std::vector<std::string> stale = {"record", "increment", "counter", "c", "/n", "--version", "1"};
  ExpectRefused(stale, 5, "version_mismatch", "counter/c");
  stale.insert(stale.begin(), {"-o", "json"});
  Json error(Holdfast(stale).err);
  EXPECT_EQ(error.At("/expected"), "1");
  EXPECT_EQ(error.At("/current"), "2");
}

TEST_F(RecordsCli, IDEM_1_AnIdempotencyKeyChangesOnce) {
  Done({"record", "create", "counter", "c", "--data", R"({"n":0})"});
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Field("/data/n",
                    {"record", "increment", "counter", "c", "/n", "--idempotency-key", "once"}),
              "1");
  }
  ExpectRefused({"record", "increment", "counter", "c", "/n", "2", "--idempotency-key", "once"}, 5,
                "idempotency_mismatch", "once");
}

TEST_F(RecordsCli, REC_4_TransitionsFollowTheRules) {
  Done({"record", "create", "ticket", "T"});
  ExpectRefused({"record", "transition", "ticket", "T", "CLOSED"}, 5, "invalid_transition", "NEW");
  EXPECT_EQ(Field("/status", {"record", "transition", "ticket", "T", "OPEN"}), "OPEN");
  ExpectRefused({"record", "transition", "ticket", "T", "RESOLVED"}, 5, "rule_violation",
                "/comment");
  Json resolved(
      Done({"record", "transition", "ticket", "T", "RESOLVED", "--data", R"({"comment":"ok"})"})
          .out);
  EXPECT_EQ(resolved.At("/status"), "RESOLVED");
  EXPECT_EQ(resolved.At("/data/comment"), "ok");
  EXPECT_EQ(Field("/status", {"record", "transition", "ticket", "T", "NEW", "--force"}), "NEW");
  EXPECT_EQ(Field("/status", {"record", "create", "ticket", "U", "--status", "CLOSED", "--force"}),
            "CLOSED");
}

TEST_F(RecordsCli, REC_8_ActionsTakeParameters) {
  Done({"record", "create", "ticket", "T", "--data", R"({"level":0})"});
  Json by_pairs(
      Done({"record", "action", "ticket", "T", "escalate", "-p", "assignee=ada", "-p", "by=2"})
          .out);
  EXPECT_EQ(by_pairs.At("/data/level"), "2") << "2 is JSON";
  EXPECT_EQ(by_pairs.At("/data/assignee"), "ada") << "ada is not: a string";
  Json by_object(
      Done({"record", "action", "ticket", "T", "escalate", "--params", R"({"assignee":"bob"})"})
          .out);
  EXPECT_EQ(by_object.At("/data/level"), "3");
  EXPECT_EQ(by_object.At("/version"), "3") << "an action is one change";
  ExpectRefused({"record", "action", "ticket", "T", "escalate", "-p", "assignee=5"}, 2,
                "invalid_argument", "assignee");
  ExpectRefused({"record", "action", "ticket", "T", "escalate", "-p", "assignee"}, 2,
                "invalid_argument", "NAME=VALUE");
  ExpectRefused({"record", "action", "ticket", "T", "escalate", "-p", "a=1", "-p", "a=2"}, 2,
                "invalid_argument", "a is given twice");
  ExpectRefused({"record", "action", "ticket", "T", "explode"}, 2, "invalid_argument", "explode");
}

TEST_F(RecordsCli, DeletedRecordsAreGone) {
  Done({"record", "create", "counter", "c"});
  ExpectRefused({"record", "delete", "counter", "c", "--version", "4"}, 5, "version_mismatch",
                "counter/c");
  EXPECT_EQ(Done({"record", "delete", "counter", "c"}).out,
            "{\"deleted\":{\"kind\":\"counter\",\"id\":\"c\"}}\n");
  ExpectRefused({"record", "get", "counter", "c"}, 3, "not_found", "counter/c");
  ExpectRefused({"record", "delete", "counter", "c"}, 3, "not_found", "counter/c");
  ExpectRefused({"record", "create", "unheard-of", "c"}, 3, "not_found", "unheard-of");
  Done({"record", "create", "counter", "c"});
  ExpectRefused({"record", "create", "counter", "c"}, 5, "already_exists", "counter/c");
  EXPECT_EQ(Holdfast({"record", "delete", "counter", "c"}).out, "counter/c deleted\n");
}

TEST_F(RecordsCli, AUD_1_HistoryShowsWhoChangedWhat) {
  Done({"--actor", "ada", "record", "create", "ticket", "T"});
  Done({"--actor", "bob", "record", "transition", "ticket", "T", "OPEN"});
  Done({"record", "create", "ticket", "other"});
  Json history(Done({"record", "history", "ticket", "T"}).out);
  ASSERT_EQ(history.SizeOf("/items"), 2U);
  EXPECT_EQ(history.At("/items/0/operation"), "record.transition") << "newest first";
  EXPECT_EQ(history.At("/items/0/actor"), "bob");
  EXPECT_EQ(history.At("/items/0/old_status"), "NEW");
  EXPECT_EQ(history.At("/items/0/new_status"), "OPEN");
  EXPECT_EQ(history.At("/items/0/old_version"), "1");
  EXPECT_EQ(history.At("/items/0/new_version"), "2");
  std::string table = Holdfast({"record", "history", "ticket", "T"}).out;
  EXPECT_THAT(table, HasSubstr("VERSION"));
  EXPECT_THAT(table, HasSubstr("NEW -> OPEN  1 -> 2"));
  Json slow(Done({"audit", "list", "--min-lock-wait", "1h"}).out);
  EXPECT_EQ(slow.SizeOf("/items"), 0U);
  EXPECT_THAT(Holdfast({"audit", "list", "--min-lock-wait", "0s"}).out, HasSubstr(" ms "));
}

TEST_F(RecordsCli, AUD_1_RefusalsCanBeListedAlone) {
  Done({"record", "create", "ticket", "T"});
  ExpectRefused({"--actor", "eve", "record", "transition", "ticket", "T", "CLOSED"}, 5,
                "invalid_transition", "ticket/T");
  Json refused(Done({"audit", "list", "--refused", "--target", "ticket/T"}).out);
  ASSERT_EQ(refused.SizeOf("/items"), 1U);
  EXPECT_EQ(refused.At("/items/0/error"), "invalid_transition");
  EXPECT_EQ(refused.At("/items/0/actor"), "eve");
  std::string id = Push({"a"});
  Done({"job", "cancel", id});
  ExpectRefused({"job", "cancel", id}, 5, "invalid_transition", id);
  std::string twice = R"({"do":"record.transition","kind":"ticket","id":"T","to":"CLOSED"})";
  EXPECT_EQ(Holdfast({"commit", "-"}, R"({"operations":[)" + twice + "]}").exit_code, 5);
  EXPECT_EQ(Json(Done({"audit", "list", "--refused"}).out).SizeOf("/items"), 3U);
}

TEST_F(RecordsCli, BadRulesAreRefusedWithThePointerToThePlace) {
  std::string bad = folder_.Write(
      "door.json", R"({"states":{"initial":"OPEN","transitions":{"OPEN":["SHUT", 5]}}})");
  Ended refused = Holdfast({"kind", "apply", bad});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, StartsWith("holdfast: invalid_argument: "));
  EXPECT_THAT(refused.err, HasSubstr("door.json: "));
  EXPECT_THAT(refused.err, HasSubstr("/states/transitions/OPEN/1"));
  ExpectRefused({"kind", "get", "door"}, 3, "not_found", "door");
  ExpectRefused({"kind", "apply", folder_.File("none.json")}, 2, "invalid_argument", "none.json");

  std::string good = folder_.Write("window.json", "{}");
  EXPECT_EQ(Holdfast({"kind", "apply", good, bad}).exit_code, 2);
  ExpectRefused({"kind", "get", "window"}, 3, "not_found", "window");
}

TEST_F(RecordsCli, REC_9_RulesHaveVersionsAndAreReadAgain) {
  std::string file = folder_.Write("rules.json", R"({"bounds":{"/n":{"min":0}}})");
  Json first(Done({"kind", "apply", file, "--name", "meter", "--version", "0"}).out);
  EXPECT_EQ(first.At("/name"), "meter");
  EXPECT_EQ(first.At("/version"), "1");
  EXPECT_EQ(Field("/version", {"kind", "apply", file, "--name", "meter"}), "1")
      << "equal rules change nothing";
  ExpectRefused({"kind", "apply", file, "--name", "meter", "--version", "4"}, 5, "version_mismatch",
                "meter");
  EXPECT_THAT(Holdfast({"kind", "get", "meter"}).out, HasSubstr("\"bounds\""));
  EXPECT_EQ(Field("/rules/bounds", {"kind", "get", "meter"}), R"({"/n":{"min":0}})");
  Json list(Done({"kind", "list"}).out);
  EXPECT_EQ(list.SizeOf("/items"), 5U);
  EXPECT_THAT(Holdfast({"kind", "list"}).out, StartsWith("KIND"));

  Done({"record", "create", "meter", "m-7", "--data", R"({"n":3})"});
  folder_.Write("rules.json", R"({"bounds":{"/n":{"min":5}}})");
  Ended refused = Holdfast({"kind", "apply", file, "--name", "meter"});
  EXPECT_EQ(refused.exit_code, 5);
  EXPECT_THAT(refused.err, StartsWith("holdfast: rule_violation: "));
  EXPECT_THAT(refused.err, HasSubstr("\n  meter/m-7"));
  EXPECT_EQ(Field("/version", {"kind", "apply", file, "--name", "meter", "--force"}), "2");
  Ended piped = Done({"kind", "apply", "-", "--name", "meter"}, "{}");
  EXPECT_EQ(Json(piped.out).At("/version"), "3");
}

TEST_F(RecordsCli, ACommitIsAllOrNothing) {
  Done({"record", "create", "counter", "c", "--data", R"({"n":0})"});
  std::string good = folder_.Write("good.json", R"({
    "guards": [{"record": {"kind": "counter", "id": "c"}, "version": 1}],
    "operations": [
      {"do": "record.increment", "kind": "counter", "id": "c", "path": "/n", "by": 2},
      {"do": "job.enqueue", "kind": "email"}
    ]})");
  Ended table = Holdfast({"commit", good});
  EXPECT_EQ(table.exit_code, 0) << table.err;
  EXPECT_THAT(table.out, StartsWith("OPERATION  DO"));
  EXPECT_THAT(table.out, HasSubstr("record.increment  counter/c, version 2"));
  EXPECT_THAT(table.out, HasSubstr("job.enqueue       job 1, pending"));
  Ended guarded = Holdfast({"commit", good});
  EXPECT_EQ(guarded.exit_code, 5);
  EXPECT_THAT(guarded.err, StartsWith("holdfast: version_mismatch: guard 0: "));

  std::string bad = R"({"operations": [
    {"do": "record.increment", "kind": "counter", "id": "c", "path": "/n"},
    {"do": "record.increment", "kind": "counter", "id": "none", "path": "/n"}]})";
  Ended refused = Holdfast({"commit", "-"}, bad);
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_THAT(refused.err, StartsWith("holdfast: not_found: operation 1 (record.increment): "));
  EXPECT_EQ(Json(Holdfast({"-o", "json", "commit", "-"}, bad).err).At("/operation"), "1");
  EXPECT_EQ(Field("/data/n", {"record", "get", "counter", "c"}), "2") << "nothing of it was done";
  Ended malformed = Holdfast({"commit", folder_.Write("bad.json", R"({"operations":[{}]})")});
  EXPECT_EQ(malformed.exit_code, 2);
  EXPECT_THAT(malformed.err, HasSubstr("bad.json: operations[0]"));
}

TEST_F(RecordsCli, BatchesStandAlone) {
  Done({"record", "create", "counter", "c", "--data", R"({"n":0})"});
  std::string one = R"({"operations":[{"do":"record.increment","kind":"counter","id":"c",)"
                    R"("path":"/n"}]})";
  std::string none = R"({"operations":[{"do":"record.delete","kind":"counter","id":"none"}]})";
  std::string all = R"({"batches":[)" + one + "," + none + "," + one + "]}";
  Ended table = Holdfast({"commit", "-"}, all);
  EXPECT_EQ(table.exit_code, 3);
  EXPECT_THAT(table.err, HasSubstr("batch 1: operation 0 (record.delete): "));
  EXPECT_THAT(table.out, HasSubstr("counter/c, version 3")) << "the batch after it was done";
  Ended json = Holdfast({"-o", "json", "commit", "-"}, all);
  EXPECT_EQ(Json(json.out).At("/items/2/results/0/record/data/n"), "4");
  EXPECT_EQ(Json(json.out).At("/items/1/error/code"), "not_found");
  for (int i = 0; i < 2; ++i) {
    Json once(Done({"commit", "-", "--idempotency-key", "k"}, one).out);
    EXPECT_EQ(once.At("/results/0/record/data/n"), "5");
  }
}

TEST_F(RecordsCli, REC_7_TransfersMoveReserveAndEnd) {
  Done({"record", "create", "account", "A", "--data", R"({"balance":100})"});
  Done({"record", "create", "account", "B", "--data", R"({"balance":0})"});
  Json moved(Done({"transfer", "make", "account/A", "account/B", "/balance", "30"}).out);
  EXPECT_EQ(moved.At("/state"), "posted");
  EXPECT_EQ(moved.At("/from/id"), "A");
  EXPECT_EQ(Balance("A"), "70");
  EXPECT_EQ(Balance("B"), "30");
  ExpectRefused({"transfer", "make", "account/A", "account/B", "/balance", "71"}, 5,
                "rule_violation", "/balance");

  std::string id = Field("/id", {"transfer", "make", "account/A", "account/B", "/balance", "50",
                                 "--pending", "--expires-in", "1h"});
  EXPECT_EQ(Balance("B"), "30");
  EXPECT_THAT(Holdfast({"record", "get", "account", "A"}).out, HasSubstr("50 of /balance"));
  std::string shown = Holdfast({"transfer", "get", id}).out;
  EXPECT_THAT(shown, HasSubstr("state         pending\n"));
  EXPECT_THAT(shown, HasSubstr("ends "));
  Json posted(Done({"transfer", "post", id, "--amount", "20"}).out);
  EXPECT_EQ(posted.At("/posted"), "20");
  EXPECT_EQ(Balance("A"), "50");
  EXPECT_EQ(Balance("B"), "50");
  ExpectRefused({"transfer", "void", id}, 5, "invalid_transition", id);

  std::string other =
      Field("/id", {"transfer", "make", "account/A", "account/B", "/balance", "50", "--pending"});
  EXPECT_EQ(Field("/state", {"transfer", "void", other}), "voided");
  EXPECT_EQ(Balance("A"), "50");
}

TEST_F(RecordsCli, TransfersThatCannotBeReadAreRefused) {
  ExpectRefused({"transfer", "get", "99"}, 3, "not_found", "99");
  ExpectRefused({"transfer", "get", "x"}, 2, "invalid_argument", "'x'");
  ExpectRefused({"transfer", "make", "A", "account/B", "/balance", "1"}, 2, "invalid_argument",
                "'A' is not KIND/ID");
  ExpectRefused({"transfer", "make", "account/A", "account/B", "/balance", "0"}, 2,
                "invalid_argument", "'0'");
  ExpectRefused(
      {"transfer", "make", "account/A", "account/B", "/balance", "1", "--expires-in", "1h"}, 2,
      "invalid_argument", "--pending");
}

TEST_F(RecordsCli, HelpAndCompletionKnowTheCommands) {
  for (std::vector<std::string> command :
       std::vector<std::vector<std::string>>{{"record", "create"},
                                             {"record", "increment"},
                                             {"kind", "apply"},
                                             {"transfer", "make"},
                                             {"commit"},
                                             {"bench", "records"}}) {
    command.push_back("--help");
    EXPECT_THAT(Holdfast(command).out, StartsWith("Examples:\n  holdfast "));
  }
  std::string script = Holdfast({"completion", "bash"}).out;
  EXPECT_THAT(script, HasSubstr("\"record transition\") words=\"--"));
  EXPECT_THAT(script, HasSubstr("\"bench records --scenario\") values=\"hot spread transfer"));
}

TEST_F(RecordsCli, RulesCannotCommandTheTerminal) {
  ApplyRules("evil", "{\"description\": \"\u009b2J\x7f\"}");
  std::string out = Holdfast({"kind", "get", "evil"}).out;
  EXPECT_THAT(out, Not(HasSubstr("\u009b")));
  EXPECT_THAT(out, Not(HasSubstr("\x7f")));
  EXPECT_EQ(Json(out).At("/description"), "\u009b2J\x7f") << "and it means the same";
}

TEST_F(RecordsCli, TheBenchmarkChecksWhatItCounts) {
  Ended bench = Holdfast(
      {"-o", "json", "bench", "records", "--threads", "4", "--duration", "200ms", "--raw"});
  EXPECT_EQ(bench.exit_code, 0) << bench.err;
  Json figures(bench.out);
  ASSERT_EQ(figures.SizeOf("/scenarios"), 5U);
  EXPECT_EQ(figures.At("/scenarios/4/scenario"), "mixed");
  EXPECT_GT(std::stod(figures.At("/scenarios/4/commits")), 0);
  EXPECT_GT(std::stod(figures.At("/scenarios/2/raw_per_second")), 0);
  EXPECT_EQ(Json(Done({"record", "list", "bench_counter"}).out).SizeOf("/items"), 0U)
      << "what it made in this store is gone";
  EXPECT_EQ(Json(Done({"job", "list"}).out).SizeOf("/items"), 0U);
}

TEST_F(RecordsCli, TheBenchmarkFailsIfTheStoreHoldsAnotherNumber) {
  Process server(Command({"serve", "--listen", "127.0.0.1:0"}));
  set_store(server.LineAfter("listening on "));
  Process bench(
      Command({"bench", "records", "--scenario", "hot", "--threads", "2", "--duration", "2s"}));
  std::string id;
  ASSERT_TRUE(Eventually([&] {
    Ended list = Holdfast({"-o", "json", "record", "list", "bench_counter"});
    if (list.exit_code == 0) id = Json(list.out).At("/items/0/id");
    return list.exit_code == 0 && id != "(none)";
  }));
  Done({"record", "increment", "bench_counter", id, "/n"});
  Ended ended = bench.Wait();
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_THAT(ended.err, StartsWith("holdfast: internal: hot: the sum of the counters: "));
  EXPECT_EQ(ended.out, "");
}

TEST_F(RecordsCli, WithoutPgbenchTheBenchmarkSaysSo) {
  Process bench({HOLDFAST_BINARY, "bench", "records", "--postgres", "postgresql://nowhere"}, "",
                {{"PATH", folder_.path()}});
  Ended ended = bench.Wait();
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_THAT(ended.err, HasSubstr("--postgres needs psql, which is not on the PATH"));
}

}  // namespace
}  // namespace holdfast::e2e
