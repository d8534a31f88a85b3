// What commands write: all of it or an error, no commands to a terminal, no password.
#include <gmock/gmock.h>
#include <signal.h>

#include "e2e/harness.h"
#include "testing/private_postgres.h"

namespace holdfast::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Output : public CliTest {
 protected:
  /// The command, with its stdout on a device that is always full.
  Ended OnFullDisk(const std::string& arguments) {
    return Process({"sh", "-c",
                    HOLDFAST_BINARY " --store " + store() + " " + arguments + " > /dev/full"})
        .Wait();
  }
  void PushMany(int count) {
    std::string lines;
    for (int i = 0; i < count; ++i) lines += std::to_string(i) + "\n";
    ASSERT_EQ(Holdfast({"job", "push", "a", "--stdin"}, lines).exit_code, 0);
  }
};

/// K13: short answers fail when the buffer is flushed, longer ones long before.
TEST_F(Output, AFullDiskIsAnError) {
  PushMany(200);
  for (const char* arguments :
       {"version", "job get 1", "job list --all", "-o json job list --all", "-o json job get 1",
        "queue list", "audit list", "doctor", "--help", "job push --help", "completion bash",
        "migrate", "bench jobs --help", "lock acquire a", "job watch 1 --timeout 100ms"}) {
    SCOPED_TRACE(arguments);
    Ended ended = OnFullDisk(arguments);
    EXPECT_NE(ended.exit_code, 0);
    EXPECT_EQ(ended.signal, 0) << "no exception ends it";
    if (!std::string_view(arguments).contains("watch")) {
      EXPECT_THAT(ended.err, HasSubstr("stdout"));
    }
  }
  EXPECT_NE(OnFullDisk("bench jobs --duration 50ms").exit_code, 0);
}

TEST_F(Output, TextOfOthersCommandsNoTerminal) {
  const std::string owner =
      "ada\x1b[2J\xe2\x80\xae"
      "bob\xc2\x9b"
      "1m";
  ASSERT_EQ(Holdfast({"lock", "acquire", "a", "--owner", owner}).exit_code, 0);
  ASSERT_EQ(Holdfast({"job", "push", "k", "\"\xe2\x80\xaex\""}).exit_code, 0);
  ASSERT_EQ(Holdfast({"job", "claim", "--worker", owner}).exit_code, 0);
  for (const std::vector<std::string>& command : {std::vector<std::string>{"lock", "list"},
                                                  {"lock", "show", "a"},
                                                  {"lock", "acquire", "a"},
                                                  {"job", "list"},
                                                  {"job", "get", "1"},
                                                  {"audit", "list"},
                                                  {"job", "push", owner},
                                                  {"lock", "release", "a", owner},
                                                  {"--log-level", owner, "job", "list"}}) {
    Ended ended = Holdfast(command);
    for (const std::string& text : {ended.out, ended.err}) {
      EXPECT_THAT(text, AllOf(Not(HasSubstr("\x1b")), Not(HasSubstr("\xe2\x80\xae")),
                              Not(HasSubstr("\xc2\x9b"))));
    }
  }
  EXPECT_EQ(Json(Holdfast({"-o", "json", "lock", "show", "a"}).out).At("/holders/0/owner"), owner)
      << "JSON is exact";
}

TEST_F(Output, ThePasswordOfAStoreIsNeverShown) {
  for (const char* url :
       {"postgres://ada:secret@127.0.0.1:1/x", "postgres://ada:se/cret@127.0.0.1:1/x",
        "postgres://127.0.0.1:1/x?password=secret", "http://ada:secret@127.0.0.1:1",
        "postgress://ada:secret@db", "host=db password=secret", "http://ada:secret"}) {
    for (const std::vector<std::string>& command : {std::vector<std::string>{"job", "list"},
                                                    {"doctor"},
                                                    {"migrate"},
                                                    {"serve"},
                                                    {"work", "--", "true"},
                                                    {"lock", "run", "a", "--", "true"},
                                                    {"race", "--all"},
                                                    {"bench", "jobs"},
                                                    {"-o", "json", "doctor"}}) {
      SCOPED_TRACE(std::string(url) + " " + command.front());
      set_store(url);
      Ended ended = Holdfast(command);
      EXPECT_NE(ended.exit_code, 0);
      EXPECT_THAT(ended.out + ended.err, Not(HasSubstr("cret")));
    }
  }
}

/// The server takes every password.
TEST_F(Output, APasswordThatWorksReachesNoLogTableOrCommand) {
  const std::string plain = testing::PrivatePostgres::Shared().Url("output");
  std::string url = plain;
  url.insert(url.find('@'), ":secret");
  set_store(url);
  const std::vector<std::string> run = {
      "lock", "run", "a", "--", "sh", "-c", "echo $HOLDFAST_STORE"};
  Ended ran = Holdfast(run);
  EXPECT_EQ(ran.out, plain + "\n") << ran.err;
  ASSERT_EQ(Holdfast({"job", "push", "k"}).exit_code, 0);
  Ended worked =
      Holdfast({"work", "--drain", "--", "sh", "-c", "echo $HOLDFAST_STORE >&2; exit 65"});
  EXPECT_THAT(worked.out + worked.err, Not(HasSubstr("secret")));
  EXPECT_THAT(JobField("1", "/errors/0/message"), HasSubstr(plain));
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"doctor"}, {"migrate"}, {"-o", "json", "migrate"}}) {
    Ended shown = Holdfast(command);
    EXPECT_THAT(shown.out + shown.err, Not(HasSubstr("secret")));
  }
  Process server(Command({"serve", "--listen", "127.0.0.1:0"}));
  server.LineAfter("listening on ");
  server.Signal(SIGTERM);
  EXPECT_THAT(server.Wait().err,
              AllOf(HasSubstr("store=postgres://127.0.0.1"), Not(HasSubstr("secret"))));
  // What a command would inherit anyway it gets as it is.
  std::vector<std::string> without = {HOLDFAST_BINARY};
  without.insert(without.end(), run.begin(), run.end());
  EXPECT_EQ(Process(without, "", {{"HOLDFAST_STORE", url}}).Wait().out, url + "\n");
}

TEST_F(Output, WhatARetryRefusesIsSaid) {
  const std::vector<std::string> report = {"report", "1", "--unique-key", "may"};
  std::string first = Push(report);
  ASSERT_EQ(Holdfast({"job", "cancel", first}).exit_code, 0);
  Push(report);
  std::string other = Push({"report", "2"});
  ASSERT_EQ(Holdfast({"job", "cancel", other}).exit_code, 0);
  Ended retried = Holdfast({"job", "retry", "--all", "--state", "cancelled"});
  EXPECT_EQ(retried.exit_code, 5);
  EXPECT_THAT(retried.out, AllOf(StartsWith("1 job will be tried again\n"),
                                 HasSubstr("refused: already_exists: ")));
  EXPECT_THAT(retried.err, StartsWith("holdfast: already_exists: "));
  Ended as_json = Holdfast({"-o", "json", "job", "retry", "--all", "--state", "cancelled"});
  EXPECT_EQ(Json(as_json.out).At("/retried"), "0");
  EXPECT_EQ(Json(as_json.out).At("/refused/0/id"), first);
  EXPECT_EQ(Json(as_json.out).At("/refused/0/code"), "already_exists");
  ExpectRefused({"job", "retry", "--all", "--state", "cancelled", "--queue", ""}, 2,
                "invalid_argument", "--queue");
}

TEST_F(Output, WhyAJobWasNotClaimedIsTrue) {
  auto reason = [&](const std::string& id) {
    Ended as_json = Holdfast({"-o", "json", "job", "claim", id});
    EXPECT_EQ(Json(as_json.out).At("/claimed"), "false");
    const std::string why = Json(as_json.out).At("/reason");
    EXPECT_THAT(Holdfast({"job", "claim", id}).out, HasSubstr(why));
    return why;
  };
  std::string running = Push({"a"});
  std::string pending = Push({"a"});
  EXPECT_EQ(reason("99"), "it does not exist");
  ASSERT_EQ(Holdfast({"queue", "set", "default", "--max-running", "1"}).exit_code, 0);
  ASSERT_EQ(Holdfast({"job", "claim", running}).exit_code, 0);
  EXPECT_EQ(reason(running), "it is processing");
  EXPECT_EQ(reason(pending), "its queue default runs 1 jobs, and may run 1 (max_running)");
  ASSERT_EQ(Holdfast({"queue", "pause", "default"}).exit_code, 0);
  EXPECT_EQ(reason(pending), "its queue default is paused");
}

TEST_F(Output, LinesOfAFileHaveUniqueKeysAndARetryPolicy) {
  std::string file = folder_.Write("jobs", "{\"id\":\"a\"}\n{\"id\":7}\n");
  std::vector<std::string> push = {"job",
                                   "push",
                                   "k",
                                   "--file",
                                   file,
                                   "--retry",
                                   "{\"initial\":\"5s\",\"max\":\"10m\"}",
                                   "--unique-key-from",
                                   "/id"};
  ASSERT_EQ(Holdfast(push).exit_code, 0);
  Ended again = Holdfast(push);
  EXPECT_EQ(again.exit_code, 5);
  EXPECT_THAT(again.err, AllOf(HasSubstr("already_exists: line 1"),
                               HasSubstr("; nothing was stored; refused: lines 1, 2; not tried: "
                                         "lines after 2")));
  push.insert(push.end(), {"--on-conflict", "return"});
  EXPECT_EQ(Holdfast(push).out, "2 jobs of kind k in queue default, 2 of them there before\n");
  EXPECT_EQ(JobField("2", "/unique_key"), "7");
  folder_.Write("jobs", "{\"id\":\"b\"}\n{\"id\":[]}\n");
  Ended bad = Holdfast(push);
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_THAT(bad.err,
              AllOf(HasSubstr("line 2: "), HasSubstr("/id"), HasSubstr("nothing was stored")));
  ExpectRefused({"job", "push", "k", "1", "--unique-key-from", "/id"}, 2, "invalid_argument",
                "--unique-key");
  ExpectRefused({"job", "push", "k", "1", "--retry", "5s"}, 2, "invalid_argument", "initial");
}

TEST_F(Output, ARunWithChangedInputSaysWhatBecameOfIt) {
  std::string file = folder_.Write("jobs", "1\n2\n");
  const std::vector<std::string> push = {"job",   "push", "k", "--file", file, "--idempotency-key",
                                         "import"};
  ASSERT_EQ(Holdfast(push).exit_code, 0);
  EXPECT_EQ(Holdfast(push).out, "2 jobs of kind k in queue default, 2 of them there before\n");
  folder_.Write("jobs", "3\n4\n");
  Ended changed = Holdfast(push);
  EXPECT_EQ(changed.exit_code, 5);
  EXPECT_THAT(changed.err,
              AllOf(StartsWith("holdfast: idempotency_mismatch: line 1: "),
                    HasSubstr("; nothing was stored; refused: lines 1, 2; not tried")));
}

TEST_F(Output, HelpNamesAnOptionOnce) {
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"work"}, {"transfer", "make"}, {"lock", "run"}, {"doctor"}}) {
    std::vector<std::string> arguments = command;
    arguments.emplace_back("--help");
    const std::string help = Holdfast(arguments).out;
    const std::size_t first = help.find("--timeout DURATION");
    ASSERT_NE(first, std::string::npos) << help;
    EXPECT_EQ(help.find("--timeout DURATION", first + 1), std::string::npos) << help;
  }
}

}  // namespace
}  // namespace holdfast::e2e
