// holdfast lock run: a command lives as long as its lock, and a lock as long as its command.
#include <signal.h>

#include <filesystem>

#include "e2e/lock_harness.h"

namespace holdfast::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

/// Says that it is there, and lives until it is ended.
constexpr const char* kUntilTerm =
    "trap 'echo got TERM; exit 7' TERM; echo up $$; while :; do sleep 0.02; done";
constexpr const char* kIgnoresTerm = "trap '' TERM INT; echo up $$; while :; do sleep 0.02; done";

class LockRun : public LockCliTest {
 protected:
  std::vector<std::string> RunCommand(std::vector<std::string> options,
                                      const std::string& program) const {
    options.insert(options.begin(), {"lock", "run"});
    options.insert(options.end(), {"--", "sh", "-c", program});
    return Command(options);
  }
  Ended Run(std::vector<std::string> options, const std::string& program,
            const std::string& input = {}) {
    return Process(RunCommand(std::move(options), program), input).Wait();
  }
  void Break(const std::string& name) { Done({"lock", "break", name, "--reason", "for a test"}); }
  /// A zombie that nobody has reaped yet does not run either.
  static bool IsRunning(const std::string& pid) {
    std::string stat = ReadAll("/proc/" + pid + "/stat");
    return !stat.empty() && stat.find(") Z ") == std::string::npos;
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, LockRun, ::testing::Values("sqlite", "server"), NameOfStore);

TEST_P(LockRun, TheCommandRunsUnderTheLockAndItsExitCodeIsPassedOn) {
  Ended done = Run({"a"}, "echo out; echo err >&2; cat; exit 3", "in\n");
  EXPECT_EQ(done.exit_code, 3);
  EXPECT_EQ(done.out, "out\nin\n");
  EXPECT_EQ(done.err, "err\n");
  EXPECT_TRUE(IsFree("a"));
  EXPECT_EQ(Run({"a"}, "true").exit_code, 0);
  EXPECT_EQ(Run({"a"}, "kill -KILL $$").exit_code, 128 + SIGKILL);
  EXPECT_EQ(Run({"a"}, "exit 75").exit_code, 75) << "its own, not that of a conflict";
  EXPECT_TRUE(IsFree("a"));
}

TEST_P(LockRun, K13_TheCommandInheritsNoDescriptorBeyondItsThree) {
  // 3 is the folder that ls reads.
  EXPECT_EQ(Run({"a"}, "exec ls /proc/self/fd").out, "0\n1\n2\n3\n");
}

TEST_P(LockRun, TheEnvironmentNamesTheLock) {
  Ended done = Run({"a b", "c", "--owner", "ada"},
                   "echo \"$HOLDFAST_LOCK_NAME|$HOLDFAST_LOCK_OWNER|$HOLDFAST_STORE\"; "
                   "echo $HOLDFAST_TOKEN; echo $HOLDFAST_GUARDS");
  ASSERT_EQ(done.exit_code, 0) << done.err;
  EXPECT_THAT(done.out, StartsWith("a b|ada|" + store() + "\n"));
  std::string token = done.out.substr(done.out.find('\n') + 1);
  Json guards(token.substr(token.find('\n') + 1));
  token.resize(token.find('\n'));
  EXPECT_EQ(guards.At("/0/lock"), "a b");
  EXPECT_EQ(guards.At("/0/token"), token);
  EXPECT_EQ(guards.At("/1/lock"), "c");
}

TEST_P(LockRun, ACommandCommitsUnderItsGuards) {
  const std::string program =
      "echo \"{\\\"guards\\\":$HOLDFAST_GUARDS,\\\"operations\\\":[{\\\"do\\\":\\\"job.enqueue\\\","
      "\\\"kind\\\":\\\"email\\\"}]}\" | " HOLDFAST_BINARY " commit -";
  Ended done = Run({"a", "b"}, program);
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_THAT(done.out, HasSubstr("job 1, pending"));
}

TEST_P(LockRun, ABusyLockStartsNothing) {
  Acquire("a", {"--owner", "ada"});
  const std::string program = "touch " + folder_.File("ran");
  Ended busy = Run({"a"}, program);
  EXPECT_EQ(busy.exit_code, 75);
  EXPECT_THAT(busy.err, StartsWith("holdfast: busy: lock a is held by ada"));
  EXPECT_THAT(busy.err, HasSubstr("unless it is renewed"));
  EXPECT_EQ(Run({"b", "a", "--conflict-exit-code", "9"}, program).exit_code, 9);
  EXPECT_EQ(Run({"a", "--conflict-exit-code", "0", "--wait", "200ms"}, program).exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(folder_.File("ran")));
  EXPECT_TRUE(IsFree("b"));
  // Only for a conflict.
  EXPECT_EQ(Run({"a", "--preset", "NOPE", "--conflict-exit-code", "9"}, program).exit_code, 2);
}

TEST_P(LockRun, TheLockIsRenewedAsLongAsTheCommandRuns) {
  Process run(
      RunCommand({"a", "--ttl", "600ms"},
                 "echo up $$; until test -e " + folder_.File("end") + "; do sleep 0.02; done"));
  run.LineAfter("u");
  const std::string first = Shown("a", "/holders/0/token");
  std::string end = Shown("a", "/holders/0/expires_at");
  for (int renewals = 0; renewals < 4; ++renewals) {
    ASSERT_TRUE(Eventually([&] { return Shown("a", "/holders/0/expires_at") > end; }));
    end = Shown("a", "/holders/0/expires_at");
  }
  EXPECT_EQ(Shown("a", "/holders/0/token"), first) << "the same lease all the time";
  folder_.Write("end", "");
  EXPECT_EQ(run.Wait().exit_code, 0);
  EXPECT_TRUE(IsFree("a"));
}

TEST_P(LockRun, ALostLockEndsTheCommand) {
  Process run(RunCommand({"a", "--ttl", "600ms"}, kUntilTerm));
  run.LineAfter("up ");
  Break("a");
  Ended ended = run.Wait();
  EXPECT_EQ(ended.exit_code, 5) << "fenced, whatever the command said";
  EXPECT_THAT(ended.out, HasSubstr("got TERM"));
  EXPECT_THAT(ended.err, HasSubstr("holdfast: lock a is lost"));
  EXPECT_THAT(ended.err, HasSubstr("holdfast: fenced: lock a was lost"));
  EXPECT_THAT(ended.err, HasSubstr("exited with 7"));
}

TEST_P(LockRun, ACommandThatIgnoresSigtermIsKilled) {
  Process run(RunCommand({"a", "--ttl", "600ms", "--kill-after", "100ms"}, kIgnoresTerm));
  std::string pid = run.LineAfter("up ");
  Break("a");
  Ended ended = run.Wait();
  EXPECT_EQ(ended.exit_code, 5);
  EXPECT_THAT(ended.err, HasSubstr("SIGKILL"));
  EXPECT_FALSE(IsRunning(pid));
}

TEST_P(LockRun, SignalsArePassedOnAndTheLockIsGivenBack) {
  for (int number : {SIGTERM, SIGINT, SIGHUP}) {
    Process run(RunCommand({"a", "--ttl", "10m"},
                           "trap 'exit 7' TERM INT HUP; echo up $$; while :; do sleep 0.02; done"));
    run.LineAfter("up ");
    run.Signal(number);
    Ended ended = run.Wait();
    EXPECT_EQ(ended.exit_code, 7) << number << ended.err;
    EXPECT_THAT(ended.err, Not(HasSubstr("holdfast")));
    EXPECT_TRUE(IsFree("a"));
  }
  Process run(RunCommand({"a", "--ttl", "10m"}, "echo up $$; exec sleep 1000"));
  run.LineAfter("up ");
  run.Signal(SIGTERM);
  EXPECT_EQ(run.Wait().exit_code, 128 + SIGTERM);
  EXPECT_TRUE(IsFree("a"));
}

TEST_P(LockRun, ASignalEndsTheWait) {
  Acquire("a", {"--owner", "ada"});
  Process run(RunCommand({"a", "--wait", "10m"}, "touch " + folder_.File("ran")));
  ASSERT_TRUE(WaitersAre("a", 1));
  run.Signal(SIGTERM);
  EXPECT_EQ(run.Wait().exit_code, 128 + SIGTERM);
  EXPECT_TRUE(WaitersAre("a", 0));
  EXPECT_FALSE(std::filesystem::exists(folder_.File("ran")));
}

TEST_P(LockRun, TheNextInLineRunsWhenTheFirstIsDone) {
  Process first(RunCommand({"a", "--ttl", "10m"}, kUntilTerm));
  first.LineAfter("up ");
  Process second(RunCommand({"a", "--wait", "60s"}, "echo second"));
  ASSERT_TRUE(WaitersAre("a", 1));
  EXPECT_EQ(second.out(), "");
  first.Signal(SIGTERM);
  EXPECT_EQ(second.Wait().out, "second\n");
  EXPECT_EQ(first.Wait().exit_code, 7);
}

TEST_P(LockRun, WhatTheCommandLeavesBehindIsKilled) {
  Ended done = Run({"a"}, "sleep 1000 >/dev/null 2>&1 & echo $!");
  EXPECT_EQ(done.exit_code, 0) << done.err;
  std::string pid = done.out.substr(0, done.out.find('\n'));
  EXPECT_TRUE(Eventually([&] { return !IsRunning(pid); }));
}

TEST_P(LockRun, KilledItselfItTakesTheCommandWithIt) {
  Process run(RunCommand({"a", "--ttl", "600ms"}, kIgnoresTerm));
  std::string pid = run.LineAfter("up ");
  run.Signal(SIGKILL);
  EXPECT_EQ(run.Wait().signal, SIGKILL);
  EXPECT_TRUE(Eventually([&] { return !IsRunning(pid); }));
  EXPECT_TRUE(Eventually([&] { return IsFree("a"); })) << "when its lease ends";
}

TEST_P(LockRun, SharedLocksLetSeveralRun) {
  std::vector<std::string> options = {"s", "--shared", "--limit", "2", "--ttl", "10m"};
  Process first(RunCommand(options, kUntilTerm));
  Process second(RunCommand(options, kUntilTerm));
  first.LineAfter("up ");
  second.LineAfter("up ");
  EXPECT_EQ(Run(options, "true").exit_code, 75);
}

TEST_P(LockRun, BadInputRunsNothing) {
  ExpectRefused({"lock", "run", "a"}, 2, "invalid_argument", "-- CMD");
  ExpectRefused({"lock", "run", "--", "true"}, 2, "invalid_argument", "NAME");
  ExpectRefused({"lock", "run", "a", "--", "no-such-program"}, 2, "invalid_argument",
                "no-such-program");
  ExpectRefused({"lock", "run", "a", "--conflict-exit-code", "256", "--", "true"}, 2,
                "invalid_argument", "256");
  ExpectRefused({"lock", "run", "", "--", "true"}, 2, "invalid_argument", "name");
  ExpectRefused({"lock", "run", "a", "--ttl", "1ms", "--", "true"}, 2, "invalid_argument", "ttl");
  ExpectRefused({"lock", "acquire", "a", "--", "true"}, 2, "invalid_argument", "acquire");
  std::string text = folder_.Write("text", "no program", true);
  EXPECT_EQ(Holdfast({"lock", "run", "a", "--", text}).exit_code, 2);
  EXPECT_TRUE(IsFree("a")) << "it could not be started: the lock is given back";
}

/// The terminal is the command's: what is typed reaches it.
TEST_P(LockRun, TheCommandCanBeTalkedToOnATerminal) {
  if (Process({"sh", "-c", "command -v script"}).Wait().exit_code != 0) {
    GTEST_SKIP() << "there is no script(1)";
  }
  std::string line;
  for (const std::string& word : RunCommand({"a"}, "read -r word; test -t 0 && echo got:$word")) {
    line += "'" + word + "' ";
  }
  Ended ended =
      Process({"script", "-qec", line, "/dev/null"}, "hello\n", {{"TERM", "xterm"}}).Wait();
  EXPECT_EQ(ended.exit_code, 0) << ended.out;
  EXPECT_THAT(ended.out, HasSubstr("got:hello"));
}

TEST_P(LockRun, AWaitOnATerminalIsExplained) {
  if (Process({"sh", "-c", "command -v script"}).Wait().exit_code != 0) {
    GTEST_SKIP() << "there is no script(1)";
  }
  std::string token = Acquire("a", {"--owner", "ada"});
  std::string line;
  for (const std::string& word : RunCommand({"a", "--wait", "60s"}, "echo there")) {
    line += "'" + word + "' ";
  }
  Process run({"script", "-qec", line, "/dev/null"}, {}, {{"TERM", "xterm"}});
  EXPECT_TRUE(
      Eventually([&] { return run.out().find("for lock a, held by ada") != std::string::npos; }));
  Done({"lock", "release", "a", token});
  EXPECT_THAT(run.Wait().out, HasSubstr("there"));
}

using LockRunServed = LockRun;
INSTANTIATE_TEST_SUITE_P(Stores, LockRunServed, ::testing::Values("server"), NameOfStore);

TEST_P(LockRunServed, WithoutItsServerALockIsLostWhenItsTimeIsUp) {
  Process run(RunCommand({"a", "--ttl", "600ms"}, kUntilTerm));
  run.LineAfter("up ");
  server_->Signal(SIGKILL);
  Ended ended = run.Wait();
  EXPECT_EQ(ended.exit_code, 5);
  EXPECT_THAT(ended.out, HasSubstr("got TERM"));
}

}  // namespace
}  // namespace holdfast::e2e
