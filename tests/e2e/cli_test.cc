// The commands on an embedded store: what they print, what they change, how they end.
#include <gmock/gmock.h>
#include <sqlite3.h>

#include "e2e/harness.h"

namespace holdfast::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class Cli : public CliTest {};

TEST_F(Cli, PushedJobsAreFoundAgain) {
  std::string id = Push({"email", R"({"to":"ada","n":12345678901234567890})", "--queue", "mail",
                         "--priority", "2", "--tag", "a", "--tag", "b c", "--metadata",
                         R"({"trace":"x"})", "--max-attempts", "3"});
  Json job(Holdfast({"-o", "json", "job", "get", id}).out);
  EXPECT_EQ(job.At("/state"), "pending");
  EXPECT_EQ(job.At("/queue"), "mail");
  EXPECT_EQ(job.At("/kind"), "email");
  EXPECT_EQ(job.At("/priority"), "2");
  EXPECT_EQ(job.At("/max_attempts"), "3");
  EXPECT_EQ(job.At("/tags"), R"(["a","b c"])");
  EXPECT_EQ(job.At("/metadata/trace"), "x");
  EXPECT_EQ(job.At("/payload/n"), "12345678901234567890") << "numbers stay exact";
  EXPECT_THAT(Holdfast({"job", "get", id}).out, HasSubstr("state         pending"));
}

TEST_F(Cli, AKindMayBeNamedLikeACommand) {
  EXPECT_EQ(JobField(Push({"work"}), "/kind"), "work");
  EXPECT_EQ(JobField(Push({"list", "[1,2]"}), "/payload"), "[1,2]");
}

TEST_F(Cli, DelayedJobsAreScheduled) {
  EXPECT_EQ(JobField(Push({"later", "--delay", "1h"}), "/state"), "scheduled");
  EXPECT_EQ(JobField(Push({"later", "--run-at", "2199-01-01T00:00:00+01:00"}), "/run_at"),
            "2198-12-31T23:00:00.000000Z");
}

TEST_F(Cli, AnIdempotencyKeyStoresOnce) {
  std::string first = Push({"pay", "1", "--idempotency-key", "order-1"});
  EXPECT_EQ(Push({"pay", "1", "--idempotency-key", "order-1"}), first);
  Ended other = Holdfast({"job", "push", "pay", "2", "--idempotency-key", "order-1"});
  EXPECT_EQ(other.exit_code, 5);
  EXPECT_THAT(other.err, StartsWith("holdfast: idempotency_mismatch: "));
}

TEST_F(Cli, AUniqueKeyIsRejectedReturnedOrReplaced) {
  std::string first = Push({"report", "1", "--unique-key", "may"});
  Ended rejected = Holdfast({"job", "push", "report", "2", "--unique-key", "may"});
  EXPECT_EQ(rejected.exit_code, 5);
  EXPECT_THAT(rejected.err, StartsWith("holdfast: already_exists: "));
  EXPECT_EQ(Push({"report", "2", "--unique-key", "may", "--on-conflict", "return"}), first);
  EXPECT_EQ(JobField(first, "/payload"), "1");
  EXPECT_EQ(Push({"report", "3", "--unique-key", "may", "--on-conflict", "replace"}), first);
  EXPECT_EQ(JobField(first, "/payload"), "3");
}

TEST_F(Cli, ClaimCompleteAndFailAreFenced) {
  std::string id = Push({"sum", "1"});
  Json claimed(Holdfast({"-o", "json", "job", "claim", "--worker", "w1"}).out);
  EXPECT_EQ(claimed.At("/jobs/0/id"), id);
  std::string token = claimed.At("/jobs/0/token");
  EXPECT_THAT(Holdfast({"job", "claim"}).out, HasSubstr("no job is ready"));

  Ended stale = Holdfast({"job", "complete", id, "--token", "999999"});
  EXPECT_EQ(stale.exit_code, 5);
  EXPECT_THAT(stale.err, StartsWith("holdfast: fenced: "));
  EXPECT_EQ(JobField(id, "/state"), "processing");

  Ended failed = Holdfast({"job", "fail", id, "--token", token, "no luck", "--retry-in", "1h"});
  EXPECT_EQ(failed.exit_code, 0) << failed.err;
  EXPECT_EQ(JobField(id, "/state"), "scheduled");
  EXPECT_EQ(JobField(id, "/errors/0/message"), "no luck");
}

TEST_F(Cli, ClaimByIdAnswersWhetherItWasClaimed) {
  std::string id = Push({"sum", "1"});
  Json claimed(Holdfast({"-o", "json", "job", "claim", id}).out);
  EXPECT_EQ(claimed.At("/claimed"), "true");
  EXPECT_EQ(Json(Holdfast({"-o", "json", "job", "claim", id}).out).At("/claimed"), "false");
  EXPECT_EQ(Json(Holdfast({"-o", "json", "job", "claim", "77"}).out).At("/claimed"), "false");
  Ended done = Holdfast(
      {"-o", "json", "job", "complete", id, "--token", claimed.At("/job/token"), R"({"sum":3})"});
  EXPECT_EQ(Json(done.out).At("/state"), "completed");
  EXPECT_EQ(JobField(id, "/result/sum"), "3");
}

TEST_F(Cli, ListFiltersAndPages) {
  for (int i = 0; i < 3; ++i) Push({"a", "--queue", "one"});
  Push({"b", "--queue", "two"});
  EXPECT_EQ(Json(Holdfast({"-o", "json", "job", "list"}).out).SizeOf("/items"), 4U);
  EXPECT_EQ(
      Json(Holdfast({"-o", "json", "job", "list", "-k", "a", "-q", "one"}).out).SizeOf("/items"),
      3U);
  Json page(Holdfast({"-o", "json", "job", "list", "--limit", "2"}).out);
  EXPECT_EQ(page.SizeOf("/items"), 2U);
  EXPECT_NE(page.At("/next_cursor"), "(none)");
  Ended table = Holdfast({"job", "list", "--limit", "2"});
  EXPECT_THAT(table.out, StartsWith("ID  STATE"));
  EXPECT_THAT(table.err, HasSubstr("there are more"));
  EXPECT_EQ(Json(Holdfast({"-o", "json", "job", "list", "--state", "failed"}).out).SizeOf("/items"),
            0U);
}

TEST_F(Cli, ChildrenAreListedByTheirParent) {
  std::string parent = Push({"a"});
  std::string child = Push({"b", "--parent", parent});
  Json list(Holdfast({"-o", "json", "job", "list", "--parent", parent}).out);
  EXPECT_EQ(list.At("/items/0/id"), child);
  EXPECT_EQ(Holdfast({"job", "push", "b", "--parent", "99"}).exit_code, 3);
}

TEST_F(Cli, CancelRetryAndDelete) {
  std::string id = Push({"a"});
  EXPECT_EQ(Holdfast({"job", "cancel", id}).exit_code, 0);
  EXPECT_EQ(JobField(id, "/state"), "cancelled");
  EXPECT_EQ(Holdfast({"job", "cancel", id}).exit_code, 5) << "invalid_transition";
  EXPECT_EQ(Holdfast({"job", "retry", id}).exit_code, 0);
  EXPECT_EQ(JobField(id, "/state"), "pending");
  EXPECT_EQ(Holdfast({"job", "retry", id, "99"}).exit_code, 5);
  EXPECT_EQ(Holdfast({"job", "delete", id}).exit_code, 0);
  Ended gone = Holdfast({"job", "get", id});
  EXPECT_EQ(gone.exit_code, 3);
  EXPECT_EQ(gone.err, "holdfast: not_found: job " + id + " does not exist\n");
}

TEST_F(Cli, RetryAllTakesEveryJobOfTheFilter) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Holdfast({"job", "cancel", Push({"a"})}).exit_code, 0);
  EXPECT_EQ(Holdfast({"job", "cancel", Push({"b"})}).exit_code, 0);
  EXPECT_EQ(Holdfast({"job", "retry", "--all"}).exit_code, 2) << "which ones?";
  Ended retried = Holdfast({"-o", "json", "job", "retry", "--all", "-s", "cancelled", "-k", "a"});
  EXPECT_EQ(retried.out, "{\"retried\":3,\"refused\":[]}\n") << retried.err;
  EXPECT_EQ(Json(Holdfast({"-o", "json", "job", "list", "-s", "pending"}).out).SizeOf("/items"),
            3U);
}

TEST_F(Cli, WatchEndsWithTheJob) {
  std::string id = Push({"a"});
  Process watch(Command({"job", "watch", id}));
  ASSERT_TRUE(Eventually([&] { return watch.out().find("pending") != std::string::npos; }));
  EXPECT_EQ(Holdfast({"job", "cancel", id}).exit_code, 0);
  Ended ended = watch.Wait();
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_THAT(ended.out, HasSubstr("cancelled"));
  EXPECT_EQ(Holdfast({"job", "watch", Push({"b"}), "--timeout", "300ms"}).exit_code, 6);
}

TEST_F(Cli, QueuesArePausedAndLimited) {
  Push({"a", "--queue", "mail"});
  EXPECT_EQ(Holdfast({"queue", "pause", "mail"}).exit_code, 0);
  EXPECT_THAT(Holdfast({"job", "claim"}).out, HasSubstr("no job is ready"));
  EXPECT_EQ(Holdfast({"queue", "resume", "mail"}).exit_code, 0);
  Ended set = Holdfast({"-o", "json", "queue", "set", "mail", "--max-pending", "1", "--audit", "on",
                        "--retain-failed", "30d"});
  EXPECT_EQ(Json(set.out).At("/max_pending"), "1") << set.err;
  EXPECT_EQ(Json(set.out).At("/audit"), "true");
  Ended full = Holdfast({"job", "push", "a", "--queue", "mail"});
  EXPECT_EQ(full.exit_code, 8);
  EXPECT_THAT(full.err, StartsWith("holdfast: queue_full: "));
  EXPECT_EQ(Holdfast({"queue", "set", "mail", "--max-pending", "none"}).exit_code, 0);
  Push({"a", "--queue", "mail"});
  Json list(Holdfast({"-o", "json", "queue", "list"}).out);
  EXPECT_EQ(list.At("/items/0/name"), "mail");
  EXPECT_EQ(list.At("/items/0/counts/pending"), "2");
  EXPECT_THAT(Holdfast({"queue", "list"}).out, StartsWith("QUEUE  PAUSED"));
}

TEST_F(Cli, TheAuditTrailNamesTheActor) {
  std::string id = Push({"a"});
  EXPECT_EQ(Holdfast({"--actor", "ada", "job", "cancel", id}).exit_code, 0);
  Json list(Holdfast({"-o", "json", "audit", "list", "--target", "job/" + id}).out);
  EXPECT_EQ(list.At("/items/0/operation"), "job.cancel");
  EXPECT_EQ(list.At("/items/0/actor"), "ada");
  EXPECT_EQ(Json(Holdfast({"-o", "json", "audit", "list", "--actor", "bob"}).out).SizeOf("/items"),
            0U);
}

TEST_F(Cli, EmbeddedStoresAreForThisProcessAlone) {
  set_store("memory:");
  EXPECT_EQ(Json(Holdfast({"-o", "json", "job", "list"}).out).SizeOf("/items"), 0U);
  EXPECT_FALSE(Push({"a"}).empty());
}

TEST_F(Cli, TheStoreComesFromTheEnvironment) {
  Process push({HOLDFAST_BINARY, "job", "push", "a"}, "", {{"HOLDFAST_STORE", store()}});
  EXPECT_EQ(push.Wait().exit_code, 0);
  Process here({HOLDFAST_BINARY, "job", "push", "a"}, "", {}, folder_.path());
  EXPECT_EQ(here.Wait().exit_code, 0);
  EXPECT_FALSE(ReadAll(folder_.File("holdfast.db")).empty());
  EXPECT_EQ(Json(Holdfast({"-o", "json", "job", "list"}).out).SizeOf("/items"), 1U);
}

TEST_F(Cli, HelpBeginsWithExamples) {
  for (std::vector<std::string> command : std::vector<std::vector<std::string>>{
           {}, {"job", "push"}, {"job", "list"}, {"work"}, {"serve"}, {"bench", "jobs"}}) {
    command.push_back("--help");
    Ended help = Holdfast(command);
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_THAT(help.out, StartsWith("Examples:\n  holdfast "));
    EXPECT_THAT(help.out, HasSubstr("--store"));
  }
}

TEST_F(Cli, CompletionKnowsEveryCommand) {
  Ended script = Holdfast({"completion", "bash"});
  EXPECT_EQ(script.exit_code, 0);
  std::string file = folder_.Write("completion", script.out);
  auto complete = [&](const std::string& words, int at) {
    std::string program = "source " + file + "; COMP_WORDS=(" + words +
                          "); COMP_CWORD=" + std::to_string(at) +
                          "; _holdfast; echo ${COMPREPLY[*]}";
    return Process({"bash", "-c", program}).Wait().out;
  };
  EXPECT_EQ(complete("holdfast qu", 1), "queue\n");
  EXPECT_EQ(complete("holdfast job wa", 2), "watch\n");
  EXPECT_EQ(complete("holdfast lock rel", 2), "release\n");
  EXPECT_EQ(complete("holdfast lock run a --kill", 4), "--kill-after\n");
  EXPECT_EQ(complete("holdfast -o json job list --state p", 6), "pending processing\n");
  EXPECT_EQ(complete("holdfast job push email --prio", 4), "--priority\n");
  EXPECT_EQ(complete("holdfast job list -o t", 4), "table\n");
  EXPECT_EQ(complete("holdfast job list --sto", 3), "--store\n");
}

TEST_F(Cli, MigrateSaysFromWhichSchemaToWhich) {
  Ended first = Holdfast({"-o", "json", "migrate"});
  EXPECT_EQ(Json(first.out).At("/from"), "0") << first.err;
  std::string current = Json(first.out).At("/to");
  Ended second = Holdfast({"migrate"});
  EXPECT_EQ(second.exit_code, 0);
  EXPECT_THAT(second.out, HasSubstr("schema " + current + " is current"));
  set_store("memory:");
  EXPECT_EQ(Holdfast({"migrate"}).exit_code, 2);
}

TEST_F(Cli, ADatabaseOfANewerSchemaIsLeftAlone) {
  Push({"a"});
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(folder_.File("jobs.db").c_str(), &db), SQLITE_OK);
  sqlite3_exec(db, "PRAGMA user_version = 999", nullptr, nullptr, nullptr);
  sqlite3_close(db);
  for (const char* command : {"migrate", "serve"}) {
    Ended refused = Holdfast({command});
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_THAT(refused.err, StartsWith("holdfast: corrupt: "));
    EXPECT_THAT(refused.err, HasSubstr("999"));
  }
}

TEST_F(Cli, VersionIsQuick) {
  EXPECT_THAT(Holdfast({"version"}).out, StartsWith("holdfast 0."));
  EXPECT_NE(Json(Holdfast({"version", "-o", "json"}).out).At("/version"), "(none)");
}

TEST_F(Cli, StoredTextCannotCommandTheTerminal) {
  std::string id = Push({"a", "\"\\u001b[2J\\u009b\"", "--tag", "\x1b]0;evil\x07"});
  std::string out = Holdfast({"job", "get", id}).out;
  EXPECT_EQ(out.find('\x1b'), std::string::npos);
  EXPECT_EQ(out.find('\x07'), std::string::npos);
}

}  // namespace
}  // namespace holdfast::e2e
