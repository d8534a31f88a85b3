// Locks on the command line: what the commands print, what they change, how they end.
#include "e2e/lock_harness.h"

namespace holdfast::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

class LocksCli : public LockCliTest {};
INSTANTIATE_TEST_SUITE_P(Stores, LocksCli, ::testing::Values("sqlite", "server"), NameOfStore);

TEST_P(LocksCli, ALockIsTakenRenewedAndGivenBackOnce) {
  Json taken(Done({"lock", "acquire", "invoices/7", "--owner", "ada", "--ttl", "10m"}).out);
  EXPECT_EQ(taken.At("/name"), "invoices/7");
  EXPECT_EQ(taken.At("/owner"), "ada");
  EXPECT_EQ(taken.At("/mode"), "exclusive");
  EXPECT_EQ(taken.At("/waited_ms"), "0");
  const std::string token = taken.At("/token");
  EXPECT_EQ(Shown("invoices/7", "/holders/0/token"), token);
  Json renewed(Done({"lock", "renew", "invoices/7", token, "--ttl", "1h"}).out);
  EXPECT_EQ(renewed.At("/token"), token);
  EXPECT_GT(renewed.At("/expires_at"), taken.At("/expires_at"));
  EXPECT_EQ(Field("/token", {"lock", "release", "invoices/7", token}), token);
  EXPECT_TRUE(IsFree("invoices/7"));
  ExpectRefused({"lock", "release", "invoices/7", token}, 5, "fenced", "invoices/7");
  ExpectRefused({"lock", "renew", "invoices/7", token}, 5, "fenced", "invoices/7");
  EXPECT_GT(std::stoll(Acquire("invoices/7")), std::stoll(token)) << "tokens only grow";
}

TEST_P(LocksCli, NamesAreTakenAsTheyAreTyped) {
  const std::vector<std::string> names = {
      "a/b c%2F?x#y", "\u00fcn\u00ef \u2713", "[a,b]", "[a]", " a", "q\"\\", "+", "../x",
      "acquire",      std::string(512, 'n')};
  for (const std::string& name : names) {
    std::string token = Acquire(name);
    EXPECT_EQ(Shown(name, "/holders/0/token"), token) << name;
    Done({"lock", "renew", name, token});
    Done({"lock", "release", name, token});
    EXPECT_TRUE(IsFree(name));
  }
}

TEST_P(LocksCli, WhatIsPrintedForPeople) {
  Ended taken = Holdfast({"--actor", "ada", "lock", "acquire", "a", "--ttl", "10m"});
  EXPECT_EQ(taken.exit_code, 0) << taken.err;
  EXPECT_THAT(taken.out, StartsWith("lock          a\ntoken         "));
  EXPECT_THAT(taken.out,
              MatchesRegex("(.|\n)*owner         ada@[^\n]+/[0-9]+-[0-9a-f]{4}\n(.|\n)*"))
      << "an owner is made up, and told";
  Ended shown = Holdfast({"lock", "show", "a"});
  EXPECT_THAT(shown.out, StartsWith("lock          a\nmode          exclusive\n"));
  EXPECT_THAT(shown.out, HasSubstr("HOLDER"));
  Ended several = Holdfast({"lock", "acquire", "b", "c"});
  EXPECT_THAT(several.out, StartsWith("NAME"));
  EXPECT_THAT(Holdfast({"lock", "show", "nobody"}).out, HasSubstr("mode          free\n"));
  EXPECT_THAT(Holdfast({"lock", "acquire", "--help"}).out, StartsWith("Examples:\n"));
}

TEST_P(LocksCli, ABusyLockNamesItsHolderAndTheTime) {
  std::string token = Acquire("a", {"--owner", "ada"});
  Ended busy = Holdfast({"lock", "acquire", "a"});
  EXPECT_EQ(busy.exit_code, 75);
  EXPECT_THAT(busy.err, HasSubstr("held by ada"));
  EXPECT_THAT(busy.err, HasSubstr("unless it is renewed"));
  Ended waited = Holdfast({"lock", "acquire", "a", "--wait", "200ms"});
  EXPECT_EQ(waited.exit_code, 75);
  EXPECT_THAT(waited.err, HasSubstr("ada holds a"));
  Ended as_json = Holdfast({"-o", "json", "lock", "acquire", "a"});
  EXPECT_EQ(Json(as_json.err).At("/code"), "busy");
  EXPECT_EQ(Json(as_json.err).At("/lock"), "a");
  ExpectRefused({"lock", "acquire", "a", "--owner", "ada"}, 5, "already_exists", token);
}

TEST_P(LocksCli, SeveralAreTakenTogetherOrNotAtAll) {
  Acquire("b", {"--owner", "ada"});
  ExpectRefused({"lock", "acquire", "a", "b", "c"}, 75, "busy", "lock b");
  EXPECT_TRUE(IsFree("a"));
  EXPECT_TRUE(IsFree("c"));
  Json both(Done({"lock", "acquire", "a", "c"}).out);
  EXPECT_EQ(both.SizeOf("/locks"), 2U);
  Json any(Done({"lock", "acquire", "a", "b", "d", "e", "--any"}).out);
  EXPECT_EQ(any.SizeOf("/locks"), 1U);
  EXPECT_EQ(any.At("/locks/0/name"), "d") << "the first that is free";
}

TEST_P(LocksCli, ASharedLockHasAsManyHoldersAsItsLimit) {
  Acquire("s", {"--shared", "--limit", "2"});
  Acquire("s", {"--shared", "--limit", "2"});
  EXPECT_EQ(Shown("s", "/limit"), "2");
  ExpectRefused({"lock", "acquire", "s", "--shared", "--limit", "2"}, 75, "busy", "shared by 2");
  ExpectRefused({"lock", "acquire", "s", "--shared", "--limit", "3"}, 2, "invalid_argument",
                "limit 2");
  EXPECT_THAT(Holdfast({"lock", "list"}).out, HasSubstr("shared 2/2"));
}

TEST_P(LocksCli, WaitersAreShownInOrderAndServedInOrder) {
  std::string token = Acquire("a", {"--owner", "ada"});
  Process first(Command(
      {"lock", "acquire", "a", "--owner", "w1", "--wait", "60s", "--ttl", "10m", "-o", "json"}));
  ASSERT_TRUE(WaitersAre("a", 1));
  Process second(Command({"lock", "acquire", "a", "--owner", "w2", "--wait", "60s"}));
  ASSERT_TRUE(WaitersAre("a", 2));
  EXPECT_THAT(Holdfast({"lock", "list"}).out, HasSubstr("2: w1, w2"));
  EXPECT_THAT(Holdfast({"lock", "show", "a"}).out,
              MatchesRegex("(.|\n)*1  w1 (.|\n)*2  w2 (.|\n)*"));
  Done({"lock", "release", "a", token});
  Ended served = first.Wait();
  EXPECT_EQ(served.exit_code, 0) << served.err;
  EXPECT_EQ(Json(served.out).At("/owner"), "w1");
  EXPECT_EQ(Shown("a", "/waiters/0/owner"), "w2") << "still in line";
  // A signal ends the wait, and with it the place in line.
  second.Signal(SIGINT);
  EXPECT_EQ(second.Wait().exit_code, 128 + SIGINT);
  EXPECT_TRUE(WaitersAre("a", 0));
  EXPECT_EQ(Shown("a", "/holders/0/owner"), "w1");
}

TEST_P(LocksCli, ALockIsBrokenByForceWithAReason) {
  std::string token = Acquire("a", {"--owner", "ada"});
  std::string other = Acquire("s", {"--shared"});
  Acquire("s", {"--shared"});
  ExpectRefused({"lock", "break", "a"}, 2, "invalid_argument", "--reason");
  ExpectRefused({"lock", "break", "a", "--reason", ""}, 2, "invalid_argument", "reason");
  Json broken(Done({"lock", "break", "a", "--reason", "db3 is gone"}).out);
  EXPECT_EQ(broken.At("/locks/0/owner"), "ada");
  EXPECT_EQ(broken.At("/locks/0/token"), token);
  ExpectRefused({"lock", "renew", "a", token}, 5, "fenced", "lock a");
  ExpectRefused({"lock", "break", "a", "--reason", "again"}, 3, "not_found", "lock a");
  Done({"lock", "break", "s", "--reason", "stuck", "--token", other});
  EXPECT_EQ(Json(Done({"lock", "show", "s"}).out).SizeOf("/holders"), 1U) << "only that one";
  EXPECT_TRUE(Eventually([&] {
    return Json(Done({"lock", "history", "a"}).out).SizeOf("/items") == 3;
  })) << "taken, broken, and a renewal that was refused, which is written a little later";
  EXPECT_THAT(Holdfast({"lock", "history", "a"}).out, HasSubstr("db3 is gone"));
}

TEST_P(LocksCli, TheListIsFilteredAndPaged) {
  for (const char* name : {"a/1", "a/2", "a/3", "b/1"}) Acquire(name, {"--owner", name});
  EXPECT_EQ(Json(Done({"lock", "list"}).out).SizeOf("/items"), 4U);
  Json prefix(Done({"lock", "list", "--prefix", "a/", "--limit", "2"}).out);
  EXPECT_EQ(prefix.SizeOf("/items"), 2U);
  EXPECT_EQ(prefix.At("/items/0/name"), "a/1");
  EXPECT_NE(prefix.At("/next_cursor"), "(none)");
  EXPECT_EQ(Json(Done({"lock", "list", "--prefix", "a/", "--all"}).out).SizeOf("/items"), 3U);
  Json owned(Done({"lock", "list", "--owner", "b/1"}).out);
  EXPECT_EQ(owned.SizeOf("/items"), 1U);
  EXPECT_EQ(owned.At("/items/0/name"), "b/1");
  Ended table = Holdfast({"lock", "list", "--limit", "3"});
  EXPECT_THAT(table.out, MatchesRegex("NAME +MODE +HOLDER +TOKEN +AGE +LEFT +WAITERS\n(.|\n)*"));
  EXPECT_THAT(table.err, HasSubstr("there are more"));
  ExpectRefused({"lock", "list", "--limit", "0"}, 2, "invalid_argument", "limit");
}

TEST_P(LocksCli, TheNextFreeRecordIsTakenWithItsLock) {
  Done({"kind", "apply", folder_.Write("todo.json", R"({"states":{"initial":"OPEN",
        "transitions":{"OPEN":["DONE"]},"final":["DONE"]}})")});
  for (const char* id : {"A", "B", "C"}) Done({"record", "create", "todo", id});
  Done({"record", "transition", "todo", "A", "DONE"});
  std::vector<std::string> next = {"lock", "next", "todo", "--status", "OPEN", "--ttl", "10m"};
  Json first(Done(next).out);
  EXPECT_EQ(first.At("/acquired"), "true");
  EXPECT_EQ(first.At("/record/id"), "B");
  EXPECT_EQ(first.At("/lock/name"), "record:todo/B");
  EXPECT_EQ(Field("/record/id", next), "C");
  next.insert(next.begin(), {"-o", "json"});
  Ended none = Holdfast(next);
  EXPECT_EQ(none.exit_code, 75);
  EXPECT_EQ(Json(none.out).At("/acquired"), "false");
  EXPECT_THAT(Holdfast({"lock", "next", "todo", "--status", "OPEN"}).err,
              HasSubstr("no such todo is free"));
  ExpectRefused({"lock", "next", "nothing"}, 3, "not_found", "nothing");
}

TEST_P(LocksCli, ALockedRecordIsChangedUnderTheTokenAlone) {
  Done({"kind", "apply", folder_.Write("doc.json", "{}")});
  Done({"record", "create", "doc", "D"});
  Json taken(Done({"lock", "acquire", "--record", "doc/D", "--ttl", "10m"}).out);
  EXPECT_EQ(taken.At("/name"), "record:doc/D");
  const std::string guard = taken.At("/name") + "=" + taken.At("/token");
  ExpectRefused({"record", "merge", "doc", "D", R"({"n":1})"}, 75, "busy", "doc/D");
  Done({"record", "merge", "doc", "D", R"({"n":2})", "--lock", guard});
  ExpectRefused({"record", "merge", "doc", "D", R"({"n":3})", "--lock", "record:doc/D=999999"}, 5,
                "fenced", "doc/D");
  ExpectRefused({"record", "merge", "doc", "D", "{}", "--lock", "record:doc/D"}, 2,
                "invalid_argument", "NAME=TOKEN");
  Process waiting(Command({"record", "merge", "doc", "D", R"({"n":4})", "--wait", "60s"}));
  ASSERT_TRUE(WaitersAre("record:doc/D", 1));
  Done({"lock", "release", "record:doc/D", taken.At("/token")});
  EXPECT_EQ(waiting.Wait().exit_code, 0);
  EXPECT_EQ(Field("/data/n", {"record", "get", "doc", "D"}), "4");
}

TEST_P(LocksCli, ACommitTakesGuardsAndGivesLocksBack) {
  std::string token = Acquire("a", {"--owner", "ada"});
  auto commit = [](const std::string& guard) {
    return R"({"guards":[{"lock":"a","token":")" + guard +
           R"("}],"operations":[{"do":"job.enqueue","kind":"email"},)"
           R"({"do":"lock.acquire","name":"b","owner":"ada"},)"
           R"({"do":"lock.release","name":"a","token":")" +
           guard + R"("}],"wait":"1s"})";
  };
  Ended fenced = Holdfast({"commit", "-"}, commit("999999"));
  EXPECT_EQ(fenced.exit_code, 5);
  EXPECT_THAT(fenced.err, HasSubstr("guard 0: lock a"));
  Ended done = Holdfast({"commit", "-"}, commit(token));
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_THAT(done.out, HasSubstr("lock.acquire  lock b, token "));
  EXPECT_THAT(done.out, HasSubstr("lock.release  lock a, token " + token));
  EXPECT_TRUE(IsFree("a"));
  Ended odd = Holdfast({"commit", "-"},
                       R"({"operations":[{"do":"lock.acquire","name":"b","mode":"weird"}]})");
  EXPECT_EQ(odd.exit_code, 2);
  EXPECT_THAT(odd.err, HasSubstr("mode"));
}

TEST_P(LocksCli, PresetsAreShippedAndConfigured) {
  const Environment presets = {{"HOLDFAST_LOCK_PRESETS", " TINY=700ms/1s, DEFAULT=1m/0s"}};
  auto acquire = [&](const std::string& name, const std::string& preset) {
    return Process(Command({"lock", "acquire", name, "--preset", preset, "-o", "json"}), {},
                   presets)
        .Wait();
  };
  EXPECT_EQ(acquire("a", "JOB_WORKFLOW").exit_code, 0);
  Ended tiny = acquire("b", "TINY");
  EXPECT_EQ(tiny.exit_code, 0) << tiny.err;
  Acquire("c", {"--owner", "ada"});
  Ended busy = acquire("c", "TINY");
  EXPECT_EQ(busy.exit_code, 75);
  EXPECT_THAT(busy.err, HasSubstr("1s")) << "its wait";
  Ended unknown = acquire("d", "HUGE");
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("TINY")) << "the message lists those there are";
}

TEST_P(LocksCli, BadInputIsRefusedAndTakesNothing) {
  auto refuse = [&](std::vector<std::string> more, const std::string& names) {
    more.insert(more.begin(), {"lock", "acquire"});
    ExpectRefused(std::move(more), 2, "invalid_argument", names);
  };
  refuse({}, "NAME");
  refuse({""}, "name");
  refuse({std::string(513, 'n')}, "512");
  refuse({"a", "a"}, "twice");
  refuse({"a\tb"}, "name");
  refuse({"a", "--ttl", "0s"}, "100ms");
  refuse({"a", "--ttl", "25h"}, "1d");
  refuse({"a", "--ttl", "soon"}, "soon");
  refuse({"a", "--wait", "25h"}, "wait");
  refuse({"a", "--wait", "-1s"}, "-1s");
  refuse({"a", "--owner", ""}, "--owner");
  refuse({"a", "--owner", std::string(129, 'o')}, "128");
  refuse({"a", "--preset", "NOPE"}, "DEFAULT");
  refuse({"a", "--shared", "--limit", "0"}, "--limit");
  refuse({"a", "--limit", "2"}, "--shared");
  refuse({"a", "--mode", "weird"}, "--mode");
  refuse({"--record", "ticket"}, "KIND/ID");
  std::vector<std::string> many;
  for (int i = 0; i < 10'000; ++i) many.push_back("n" + std::to_string(i));
  refuse(std::move(many), "1000");
  ExpectRefused({"lock", "release", "a", "zero"}, 2, "invalid_argument", "zero");
  ExpectRefused({"lock", "release", "a", "0"}, 2, "invalid_argument", "token");
  ExpectRefused({"lock", "release", "a"}, 2, "invalid_argument", "TOKEN");
  ExpectRefused({"lock", "renew", "a", "1", "--ttl", "1ms"}, 2, "invalid_argument", "100ms");
  ExpectRefused({"lock", "show", ""}, 2, "invalid_argument", "name");
  ExpectRefused({"lock"}, 2, "invalid_argument", "lock needs a command: run, acquire");
  EXPECT_EQ(Json(Done({"lock", "list"}).out).SizeOf("/items"), 0U);
}

using LockPresets = CliTest;

TEST_F(LockPresets, AMalformedPresetIsSaidSo) {
  auto with = [&](const std::string& presets) {
    Ended ended =
        Process(Command({"lock", "list"}), {}, {{"HOLDFAST_LOCK_PRESETS", presets}}).Wait();
    EXPECT_EQ(ended.exit_code, 2) << presets;
    EXPECT_THAT(ended.err, StartsWith("holdfast: invalid_argument: HOLDFAST_LOCK_PRESETS: "));
    return ended.err;
  };
  EXPECT_THAT(with("X"), HasSubstr("NAME=TTL/WAIT"));
  EXPECT_THAT(with("A=1s/1s,X=1s"), HasSubstr("'X=1s'"));
  EXPECT_THAT(with("=1s/1s"), HasSubstr("name"));
  EXPECT_THAT(with("X=1s/soon"), HasSubstr("soon"));
  EXPECT_THAT(with("X=1ms/1s"), HasSubstr("100ms"));
  EXPECT_THAT(with("X=1s/2d"), HasSubstr("wait"));
  Ended serve = Holdfast({"serve", "--listen", "127.0.0.1:0", "--lock-preset", "X=1s"});
  EXPECT_EQ(serve.exit_code, 2);
  EXPECT_THAT(serve.err, HasSubstr("'X=1s'"));
}

}  // namespace
}  // namespace holdfast::e2e
