// holdfast work: how the end of a command decides the outcome of its job, and how workers stop.
#include <gmock/gmock.h>
#include <signal.h>

#include "e2e/harness.h"

namespace holdfast::e2e {
namespace {

using ::testing::HasSubstr;

class Work : public CliTest {
 protected:
  std::vector<std::string> WorkCommand(std::vector<std::string> options,
                                       const std::vector<std::string>& command) const {
    options.insert(options.begin(), {"work", "--log-level", "warning"});
    options.push_back("--");
    options.insert(options.end(), command.begin(), command.end());
    return Command(options);
  }
  /// Runs a shell program for every job that is ready.
  Ended Drain(const std::string& program, std::vector<std::string> options = {}) {
    options.push_back("--drain");
    return Process(WorkCommand(options, {"sh", "-c", program})).Wait();
  }
  bool Becomes(const std::string& id, const std::string& state) {
    return Eventually([&] { return JobField(id, "/state") == state; });
  }
};

TEST_F(Work, TheCommandGetsThePayloadAndItsStdoutIsTheResult) {
  std::string id = Push({"sum", R"({"n":12345678901234567890})", "--queue", "q"});
  Ended ended = Drain("cat");
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("1 claimed, 1 completed, 0 failed"));
  EXPECT_EQ(JobField(id, "/state"), "completed");
  EXPECT_EQ(JobField(id, "/result"), R"({"n":12345678901234567890})");
}

TEST_F(Work, OutputThatIsNotJsonIsKeptAsAString) {
  std::string text = Push({"a", "1"});
  EXPECT_EQ(Drain("printf 'two \"lines\"\\nof text\\n'").exit_code, 0);
  EXPECT_EQ(JobField(text, "/result"), "two \"lines\"\nof text");
  std::string nothing = Push({"a"});
  EXPECT_EQ(Drain("true").exit_code, 0);
  EXPECT_EQ(JobField(nothing, "/result"), "(none)");
  std::string binary = Push({"a"});
  EXPECT_EQ(Drain("printf '\\377\\376x'").exit_code, 0);
  EXPECT_THAT(JobField(binary, "/result"), HasSubstr("x"));
}

TEST_F(Work, TheEnvironmentNamesTheAttempt) {
  std::string id = Push({"a", "--queue", "q"});
  Ended ended = Drain(
      "echo $HOLDFAST_JOB_ID $HOLDFAST_ATTEMPT $HOLDFAST_KIND $HOLDFAST_QUEUE "
      "$HOLDFAST_WORKER $HOLDFAST_STORE; test \"$HOLDFAST_TOKEN\" -gt 0",
      {"--name", "w1"});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(JobField(id, "/result"), id + " 1 a q w1 " + store());
}

TEST_F(Work, ExitCode75TriesAgainAnd65FailsForGood) {
  std::string again = Push({"a"});
  Drain("echo not now >&2; exit 75");
  EXPECT_EQ(JobField(again, "/state"), "scheduled");
  EXPECT_THAT(JobField(again, "/errors/0/message"),
              HasSubstr("exited with 75 (try again): not now"));
  std::string never = Push({"b"});
  Ended ended = Drain("echo bad data >&2; exit 65");
  EXPECT_THAT(ended.err, HasSubstr("bad data")) << "stderr is passed on";
  EXPECT_EQ(JobField(never, "/state"), "failed");
  EXPECT_EQ(JobField(never, "/errors/0/message"), "the command exited with 65: bad data");
}

TEST_F(Work, AnyOtherExitCodeIsAFailedAttempt) {
  std::string again = Push({"a"});
  Drain("exit 3");
  EXPECT_EQ(JobField(again, "/state"), "scheduled");
  EXPECT_EQ(JobField(again, "/errors/0/message"), "the command exited with 3");
  std::string last = Push({"a", "--max-attempts", "1"});
  Drain("exit 3");
  EXPECT_EQ(JobField(last, "/state"), "failed");
}

TEST_F(Work, ACommandKilledByASignalIsNamed) {
  std::string id = Push({"a", "--max-attempts", "1"});
  Drain("kill -SEGV $$");
  EXPECT_EQ(JobField(id, "/state"), "failed");
  EXPECT_EQ(JobField(id, "/errors/0/message"), "the command was killed by SIGSEGV");
}

TEST_F(Work, TheEndOfALongErrorOutputIsKept) {
  std::string id = Push({"a", "--max-attempts", "1"});
  Drain("yes | head -c 100000 >&2; echo the end >&2; exit 1");
  std::string message = JobField(id, "/errors/0/message");
  EXPECT_LE(message.size(), 4096U);
  EXPECT_TRUE(message.starts_with("the command exited with 1: ")) << message.substr(0, 80);
  EXPECT_TRUE(message.ends_with("the end")) << message.size();
}

TEST_F(Work, AResultOverOneMiBFailsClearly) {
  std::string most = Push({"a"});
  EXPECT_EQ(Drain("head -c 1048574 /dev/zero | tr '\\0' x").exit_code, 0);
  EXPECT_EQ(JobField(most, "/state"), "completed");
  std::string over = Push({"a"});
  EXPECT_EQ(Drain("exec cat /dev/zero").exit_code, 0);  // it would never end by itself
  EXPECT_EQ(JobField(over, "/state"), "failed");
  EXPECT_THAT(JobField(over, "/errors/0/message"), HasSubstr("1 MiB"));
}

TEST_F(Work, ACommandThatDoesNotReadItsInputIsFine) {
  std::string file = folder_.Write("big", "\"" + std::string(250'000, 'x') + "\"\n");
  EXPECT_EQ(Holdfast({"job", "push", "a", "--file", file}).exit_code, 0);
  EXPECT_THAT(Drain("true").out, HasSubstr("1 completed"));
}

TEST_F(Work, AJobThatTakesTooLongIsEnded) {
  std::string id = Push({"a", "--max-attempts", "1"});
  Ended ended = Drain("sleep 60", {"--attempt-timeout", "200ms"});
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(JobField(id, "/state"), "failed");
  EXPECT_EQ(JobField(id, "/errors/0/message"), "timed out after 200ms");
}

TEST_F(Work, ACommandThatIgnoresSigtermIsKilled) {
  std::string id = Push({"a", "--max-attempts", "1"});
  Ended ended = Drain("trap '' TERM; while :; do sleep 1; done",
                      {"--attempt-timeout", "200ms", "--kill-after", "100ms"});
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(JobField(id, "/state"), "failed");
}

TEST_F(Work, ACancelledJobIsStopped) {
  std::string id = Push({"a"});
  Process work(WorkCommand({"--lease", "600ms"}, {"sleep", "60"}));
  ASSERT_TRUE(Becomes(id, "processing"));
  EXPECT_EQ(Holdfast({"job", "cancel", id}).exit_code, 0);
  EXPECT_TRUE(Becomes(id, "cancelled"));
  work.Signal(SIGTERM);
  EXPECT_EQ(work.Wait().exit_code, 0);
}

TEST_F(Work, SigtermLetsJobsFinish) {
  std::string gate = folder_.File("gate");
  std::string id = Push({"a"});
  Process work(
      WorkCommand({}, {"sh", "-c", "until test -e " + gate + "; do sleep 0.02; done; echo 1"}));
  ASSERT_TRUE(Becomes(id, "processing"));
  std::string later = Push({"a"});
  std::string third = Push({"a"});
  work.Signal(SIGTERM);
  folder_.Write("gate", "");
  Ended ended = work.Wait();
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(JobField(id, "/state"), "completed");
  EXPECT_EQ(JobField(id, "/result"), "1");
}

TEST_F(Work, AfterTheGracePeriodJobsAreGivenBack) {
  std::string id = Push({"a"});
  Process work(WorkCommand({"--grace", "100ms"}, {"sleep", "60"}));
  ASSERT_TRUE(Becomes(id, "processing"));
  work.Signal(SIGTERM);
  Ended ended = work.Wait();
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_THAT(ended.out, HasSubstr("1 given back"));
  EXPECT_EQ(JobField(id, "/state"), "pending");
  EXPECT_EQ(JobField(id, "/attempt"), "0") << "no attempt is used up";
}

TEST_F(Work, ASecondSignalEndsAtOnceAndGivesJobsBack) {
  std::string id = Push({"a"});
  Process work(WorkCommand({}, {"sh", "-c", "trap '' TERM; sleep 60"}));
  ASSERT_TRUE(Becomes(id, "processing"));
  work.Signal(SIGINT);
  // Two signals of one kind that are both pending are one: send until it has ended.
  ASSERT_TRUE(Eventually([&] {
    work.Signal(SIGTERM);
    return !work.IsRunning();
  }));
  Ended ended = work.Wait();
  EXPECT_EQ(ended.exit_code, 128 + SIGTERM);
  EXPECT_EQ(JobField(id, "/state"), "pending");
  EXPECT_EQ(JobField(id, "/attempt"), "0");
}

TEST_F(Work, TheCommandsOfAKilledWorkerDieWithIt) {
  std::string pids = folder_.File("pid");
  Push({"a"});
  Process work(WorkCommand({}, {"sh", "-c", "echo $$ >" + pids + "; exec sleep 60"}));
  int pid = 0;
  ASSERT_TRUE(Eventually([&] { return (pid = std::atoi(ReadAll(pids).c_str())) > 0; }));
  work.Signal(SIGKILL);
  EXPECT_EQ(work.Wait().signal, SIGKILL);
  EXPECT_TRUE(Eventually([&] {
    // An orphan that nobody reaps would stay as a zombie, which is dead enough.
    std::string status = ReadAll("/proc/" + std::to_string(pid) + "/stat");
    return status.empty() || status.find(") Z ") != std::string::npos;
  }));
}

TEST_F(Work, WhatACommandLeavesBehindEndsWithIt) {
  std::string pids = folder_.File("pid");
  Push({"a"});
  EXPECT_EQ(Drain("sleep 60 >/dev/null 2>&1 & echo $! >" + pids).exit_code, 0);
  int pid = std::atoi(ReadAll(pids).c_str());
  ASSERT_GT(pid, 0);
  EXPECT_TRUE(Eventually([&] {
    std::string status = ReadAll("/proc/" + std::to_string(pid) + "/stat");
    return status.empty() || status.find(") Z ") != std::string::npos;
  }));
}

TEST_F(Work, DrainLeavesOtherKindsToOthers) {
  std::string mine = Push({"mine"});
  std::string other = Push({"other"});
  Ended ended = Drain("true", {"--kind", "mine"});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(JobField(mine, "/state"), "completed");
  EXPECT_NE(JobField(other, "/state"), "completed");
  EXPECT_EQ(JobField(other, "/attempt"), "0");
}

/// The worker is paused past its lease, wakes up, and cannot damage what its successor did.
TEST_F(Work, JOB_5_APausedWorkerIsFencedByItsSuccessor) {
  std::string gate = folder_.File("gate");
  std::string id = Push({"a"});
  Process paused(
      WorkCommand({"--lease", "500ms", "--name", "paused"},
                  {"sh", "-c", "until test -e " + gate + "; do sleep 0.02; done; echo 1"}));
  ASSERT_TRUE(Becomes(id, "processing"));
  paused.Signal(SIGSTOP);
  Process successor(WorkCommand({"--name", "successor"}, {"echo", "2"}));
  ASSERT_TRUE(Eventually([&] {
    return JobField(id, "/worker") == "successor" && JobField(id, "/state") == "completed";
  }));
  folder_.Write("gate", "");
  paused.Signal(SIGCONT);
  successor.Signal(SIGTERM);
  EXPECT_EQ(successor.Wait().exit_code, 0);
  paused.Signal(SIGTERM);
  Ended ended = paused.Wait();
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(JobField(id, "/result"), "2");
  EXPECT_EQ(JobField(id, "/worker"), "successor");
  EXPECT_EQ(JobField(id, "/attempt"), "2");
  EXPECT_THAT(ended.out, HasSubstr("1 lost"));
}

TEST_F(Work, AHangUpEndsAsAnyOtherSignal) {
  std::string pids = folder_.File("pid");
  std::string id = Push({"a"});
  Process work(WorkCommand({"--grace", "100ms"},
                           {"sh", "-c", "sleep 60 & echo $! >" + pids + "; wait; sleep 60"}));
  int pid = 0;
  ASSERT_TRUE(Eventually([&] { return (pid = std::atoi(ReadAll(pids).c_str())) > 0; }));
  work.Signal(SIGHUP);
  EXPECT_EQ(work.Wait().exit_code, 0);
  EXPECT_EQ(JobField(id, "/state"), "pending");
  EXPECT_EQ(JobField(id, "/attempt"), "0") << "no attempt is used up";
  EXPECT_TRUE(Eventually([&] {
    std::string status = ReadAll("/proc/" + std::to_string(pid) + "/stat");
    return status.empty() || status.find(") Z ") != std::string::npos;
  }));
}

TEST_F(Work, DrainEndsWithWhatCannotRunAndSaysWhatItLeft) {
  std::string done = Push({"a", "--queue", "open"});
  Push({"a", "--queue", "closed"});
  EXPECT_EQ(Holdfast({"queue", "pause", "closed"}).exit_code, 0);
  Push({"a", "--queue", "narrow"});
  Push({"a", "--queue", "narrow"});
  EXPECT_EQ(Holdfast({"queue", "set", "narrow", "--max-running", "1"}).exit_code, 0);
  EXPECT_EQ(Holdfast({"job", "claim", "--queue", "narrow", "--lease", "1h"}).exit_code, 0);
  Ended left = Drain("true");
  EXPECT_EQ(left.exit_code, 75) << left.err;
  EXPECT_EQ(JobField(done, "/state"), "completed");
  EXPECT_THAT(left.out, HasSubstr("1 completed"));
  EXPECT_THAT(left.out, HasSubstr("left: 1 in paused queues, 1 in queues at max_running, 0 to be"));
  EXPECT_EQ(Drain("true", {"--queue", "open"}).exit_code, 0) << "only what it was to take counts";
  EXPECT_EQ(Drain("true", {"--kind", "b"}).exit_code, 0);
}

TEST_F(Work, DrainTellsOfAttemptsThatWillBeRetried) {
  std::string id = Push({"a"});
  Push({"a", "--delay", "1h"});
  Ended ended = Process(WorkCommand({"-o", "json", "--drain"}, {"false"})).Wait();
  EXPECT_EQ(ended.exit_code, 75);
  EXPECT_EQ(Json(ended.out).At("/left/retrying"), "1") << ended.out;
  Json retrying(Holdfast({"-o", "json", "job", "list", "--retrying"}).out);
  EXPECT_EQ(retrying.SizeOf("/items"), 1U);
  EXPECT_EQ(retrying.At("/items/0/id"), id);
}

TEST_F(Work, LinesOfStderrNameTheirJob) {
  std::string id = Push({"a", "--max-attempts", "1"});
  Ended ended = Drain("printf 'one\\ntwo' >&2; exit 1");
  EXPECT_THAT(ended.err, HasSubstr("job " + id + ": one\njob " + id + ": two\n"));
  EXPECT_EQ(JobField(id, "/errors/0/message"), "the command exited with 1: one\ntwo");
}

TEST_F(Work, AJobThatItsCommandCompletedItselfIsCompleted) {
  std::string id = Push({"a"});
  Ended ended = Drain(
      "echo \"{\\\"guards\\\":[{\\\"job\\\":\\\"$HOLDFAST_JOB_ID\\\","
      "\\\"token\\\":\\\"$HOLDFAST_TOKEN\\\"}],\\\"operations\\\":[{\\\"do\\\":\\\"job."
      "complete\\\","
      "\\\"id\\\":\\\"$HOLDFAST_JOB_ID\\\",\\\"token\\\":\\\"$HOLDFAST_TOKEN\\\",\\\"result\\\":7}]"
      "}\" | " HOLDFAST_BINARY " commit - >&2");
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("1 claimed, 1 completed, 0 failed, 0 given back, 0 lost"));
  EXPECT_EQ(ended.err.find("lease_lost"), std::string::npos) << ended.err;
  EXPECT_EQ(JobField(id, "/result"), "7");
}

TEST_F(Work, WithJsonOutputTheFiguresAreJson) {
  Push({"a"});
  Ended ended = Process(WorkCommand({"-o", "json", "--drain"}, {"true"})).Wait();
  EXPECT_EQ(Json(ended.out).At("/completed"), "1") << ended.out;
}

}  // namespace
}  // namespace holdfast::e2e
