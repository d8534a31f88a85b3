// holdfast serve, and the commands against it: a server must look like a file.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "e2e/harness.h"
#include "unit/raw_tcp.h"

namespace holdfast::e2e {
namespace {

using ::testing::HasSubstr;

class Serve : public CliTest {
 protected:
  void SetUp() override {
    server_ = std::make_unique<Process>(Command({"serve", "--listen", "127.0.0.1:0"}));
    set_store(server_->LineAfter("listening on "));
  }
  std::unique_ptr<Process> server_;
};

TEST_F(Serve, CommandsAgainstAServerDoWhatTheyDoOnAFile) {
  std::string id = Push({"email", R"({"n":12345678901234567890})", "--queue", "mail"});
  Json claimed(Holdfast({"-o", "json", "job", "claim", "--wait", "5s"}).out);
  EXPECT_EQ(claimed.At("/jobs/0/id"), id);
  EXPECT_EQ(claimed.At("/jobs/0/payload/n"), "12345678901234567890");
  EXPECT_EQ(
      Holdfast({"job", "complete", id, "--token", claimed.At("/jobs/0/token"), "7"}).exit_code, 0);
  EXPECT_EQ(JobField(id, "/result"), "7");
  EXPECT_EQ(Holdfast({"job", "get", "99"}).exit_code, 3);
  EXPECT_EQ(Holdfast({"job", "push", "no spaces"}).exit_code, 2);
  EXPECT_EQ(Holdfast({"job", "cancel", id}).exit_code, 5);
  EXPECT_EQ(Holdfast({"queue", "set", "mail", "--max-pending", "0"}).exit_code, 0);
  Ended full = Holdfast({"job", "push", "email", "--queue", "mail"});
  EXPECT_EQ(full.exit_code, 8) << full.err;
  EXPECT_EQ(Holdfast({"--actor", "ada", "queue", "pause", "mail"}).exit_code, 0);
  Json audit(Holdfast({"-o", "json", "audit", "list", "--actor", "ada"}).out);
  EXPECT_EQ(audit.At("/items/0/operation"), "queue.set");
  EXPECT_EQ(Holdfast({"migrate"}).exit_code, 2);
  EXPECT_EQ(Holdfast({"serve"}).exit_code, 2) << "a server of a server";
}

TEST_F(Serve, ManyLinesArePushedAndWorkedThroughTheServer) {
  std::string lines;
  for (int i = 1; i <= 600; ++i) lines += std::to_string(i) + "\n";
  Ended pushed = Holdfast({"job", "push", "square", "--stdin"}, lines);
  ASSERT_EQ(pushed.exit_code, 0) << pushed.err;
  EXPECT_EQ(pushed.out, "600 jobs of kind square in queue default\n");
  Ended worked = Holdfast({"work", "--drain", "-c", "4", "--log-level", "warning", "--", "cat"});
  EXPECT_EQ(worked.exit_code, 0) << worked.err;
  EXPECT_THAT(worked.out, HasSubstr("600 claimed, 600 completed, 0 failed"));
}

TEST_F(Serve, SigtermAnswersWaitingClaimsAndEnds) {
  Process claim(Command({"job", "claim", "--wait", "60s"}));
  ASSERT_TRUE(Eventually([&] {
    return Process({"curl", "-s", store() + "/v1/stats"}).Wait().out.find("\"waiting_claims\":1") !=
           std::string::npos;
  }));
  server_->Signal(SIGTERM);
  Ended server = server_->Wait();
  EXPECT_EQ(server.exit_code, 0);
  EXPECT_THAT(server.err, HasSubstr("server_stopping"));
  EXPECT_THAT(server.err, HasSubstr("server_stopped"));
  EXPECT_FALSE(claim.Wait().exit_code == -1);
}

/// Of every command that stays around; `work` and `lock run` have tests of their own.
TEST_F(Serve, EverySignalEndsWhatWaitsAndTheServerInOrder) {
  std::string id = Push({"a", "--delay", "1h"});
  Done({"lock", "acquire", "l", "--owner", "ada", "--ttl", "10m"});
  for (int number : {SIGTERM, SIGINT, SIGHUP}) {
    SCOPED_TRACE(number);
    Process watch(Command({"job", "watch", id}));
    Process acquire(Command({"lock", "acquire", "l", "--wait", "60s", "--owner", "bob"}));
    ASSERT_TRUE(Eventually([&] {
      return Json(Done({"lock", "show", "l"}).out).SizeOf("/waiters") == 1;
    }));
    ASSERT_TRUE(Eventually([&] { return !watch.out().empty(); }));
    for (Process* process : {&watch, &acquire}) {
      process->Signal(number);
      EXPECT_EQ(process->Wait().exit_code, 128 + number);
    }
    EXPECT_TRUE(Eventually([&] {
      return Json(Done({"lock", "show", "l"}).out).SizeOf("/waiters") == 0;
    })) << "it has left the wait queue";
    Process server({HOLDFAST_BINARY, "serve", "--listen", "127.0.0.1:0", "--store", "memory:"});
    server.LineAfter("listening on ");
    server.Signal(number);
    Ended ended = server.Wait();
    EXPECT_EQ(ended.exit_code, 0);
    EXPECT_THAT(ended.err, HasSubstr("server_stopped"));
  }
}

TEST_F(Serve, AMovedFileIsToldByHealthAndLog) {
  Push({"a"});
  std::filesystem::rename(folder_.File("jobs.db"), folder_.File("moved.db"));
  ExpectRefused({"job", "push", "a"}, 7, "unavailable", "deleted or renamed");
  Ended ready =
      Process({"curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", store() + "/readyz"}).Wait();
  EXPECT_EQ(ready.out, "503");
  EXPECT_EQ(Holdfast({"doctor"}).exit_code, 7);
  EXPECT_TRUE(
      Eventually([&] { return server_->err().find("store_failing") != std::string::npos; }));
}

TEST_F(Serve, WhatWasAcknowledgedSurvivesSigkill) {
  std::string id = Push({"a", "1"});
  server_->Signal(SIGKILL);
  EXPECT_EQ(server_->Wait().signal, SIGKILL);
  EXPECT_EQ(Holdfast({"job", "get", id}).exit_code, 7) << "nobody is there";
  set_store("sqlite:" + folder_.File("jobs.db"));
  EXPECT_EQ(JobField(id, "/payload"), "1");
}

TEST_F(Serve, LOCK_4_AServerThatWasKilledHonoursLeasesWhenItComesBack) {
  auto token_of = [](const Ended& ended) { return std::stoll(Json(ended.out).At("/token")); };
  const auto held =
      token_of(Holdfast({"-o", "json", "lock", "acquire", "l", "--ttl", "10m", "--owner", "ada"}));
  Process waiting(Command({"lock", "acquire", "l", "--wait", "10m", "--owner", "bob"}));
  ASSERT_TRUE(Eventually([&] {
    return Json(Holdfast({"-o", "json", "lock", "show", "l"}).out).SizeOf("/waiters") == 1;
  }));
  server_->Signal(SIGKILL);
  EXPECT_EQ(server_->Wait().signal, SIGKILL);
  EXPECT_EQ(waiting.Wait().exit_code, 7) << "nobody knows what came of it";
  set_store("sqlite:" + folder_.File("jobs.db"));
  server_ = std::make_unique<Process>(Command({"serve", "--listen", "127.0.0.1:0"}));
  set_store(server_->LineAfter("listening on "));
  Json lock(Holdfast({"-o", "json", "lock", "show", "l"}).out);
  EXPECT_EQ(lock.At("/holders/0/token"), std::to_string(held));
  EXPECT_EQ(Holdfast({"lock", "acquire", "l", "--owner", "eve"}).exit_code, 75);
  EXPECT_GT(token_of(Holdfast({"-o", "json", "lock", "acquire", "m"})), held);
  // Who waited in the process that is gone is out of the line, and delays nobody.
  ASSERT_TRUE(Eventually([&] {
    return Json(Holdfast({"-o", "json", "lock", "show", "l"}).out).SizeOf("/waiters") == 0;
  }));
  EXPECT_EQ(Holdfast({"lock", "release", "l", std::to_string(held)}).exit_code, 0);
  EXPECT_GT(token_of(Holdfast({"-o", "json", "lock", "acquire", "l", "--wait", "10s"})), held);
}

TEST_F(Serve, K13_AHangUpOfTheTerminalStopsItGracefullyUnlessItIsIgnored) {
  server_->Signal(SIGHUP);
  Ended ended = server_->Wait();
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_THAT(ended.err, HasSubstr("server_stopped"));

  set_store("sqlite:" + folder_.File("jobs.db"));
  Process ignoring({"sh", "-c", "trap '' HUP; exec \"$@\"", "sh", HOLDFAST_BINARY, "serve",
                    "--listen", "127.0.0.1:0", "--store", store()});
  set_store(ignoring.LineAfter("listening on "));
  ignoring.Signal(SIGHUP);
  EXPECT_EQ(Process({"curl", "-s", store() + "/healthz"}).Wait().out, R"({"status":"ok"})");
  ignoring.Signal(SIGTERM);
  EXPECT_EQ(ignoring.Wait().exit_code, 0);
}

/// Holds back every write to a store, as a process that is within its transaction.
class WriteLock {
 public:
  explicit WriteLock(const std::string& file) : fd_(open((file + "-shm").c_str(), O_RDWR)) {
    struct flock all {};
    all.l_type = F_WRLCK;
    all.l_whence = SEEK_SET;
    all.l_start = 120;  // WAL_WRITE_LOCK of SQLite's WAL-index
    all.l_len = 1;
    is_held_ = fcntl(fd_, F_SETLKW, &all) == 0;
  }
  ~WriteLock() { close(fd_); }
  bool is_held() const { return is_held_; }

 private:
  int fd_;
  bool is_held_ = false;
};

TEST_F(Serve, K4_AfterItsGraceItEndsWithoutWaitingForACommit) {
  server_->Signal(SIGTERM);
  EXPECT_EQ(server_->Wait().exit_code, 0);
  set_store("sqlite:" + folder_.File("jobs.db"));
  // One thread, so that it has read the first request when it answers the second.
  Process server(
      Command({"serve", "--listen", "127.0.0.1:0", "--threads", "1", "--grace", "200ms"}));
  const std::string url = server.LineAfter("listening on ");
  WriteLock lock(folder_.File("jobs.db"));
  ASSERT_TRUE(lock.is_held());
  auto commit = holdfast::testing::RawPeer::ConnectTo(
      static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
  ASSERT_TRUE(
      commit.Send("POST /v1/jobs HTTP/1.1\r\nHost: t\r\nContent-Length: 12\r\n\r\n"
                  R"({"kind":"k"})"));
  for (int i = 0; i < 2; ++i) Process({"curl", "-s", url + "/healthz"}).Wait();
  server.Signal(SIGTERM);
  Ended ended = server.Wait();
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_THAT(ended.err, HasSubstr("server_stopped"));
  EXPECT_THAT(ended.err, HasSubstr("unfinished"));
  EXPECT_EQ(commit.ReadToEnd(), "") << "nothing is acknowledged that is not durable";
}

TEST_F(Serve, ATakenAddressIsSaidSo) {
  std::string address = store().substr(std::string("http://").size());
  Ended second =
      Process({HOLDFAST_BINARY, "serve", "--listen", address, "--store", "memory:"}).Wait();
  EXPECT_EQ(second.exit_code, 7);
  EXPECT_THAT(second.err, HasSubstr(address));
}

TEST_F(Serve, TheCurlSessionRuns) {
  Ended ended = Process({HOLDFAST_SOURCE_DIR "/examples/http.sh", store()}).Wait();
  EXPECT_EQ(ended.exit_code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr(R"("result":{"sent":true})"));
  EXPECT_THAT(ended.out, HasSubstr("prioritty"));
}

}  // namespace
}  // namespace holdfast::e2e
