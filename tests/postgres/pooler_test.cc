// Behind PgBouncer in transaction mode: every transaction may be on another server connection, so
// that nothing may be left on one.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "base/check.h"
#include "holdfast/holdfast.h"
#include "testing/matchers.h"
#include "testing/private_postgres.h"
#include "testing/store_checks.h"

namespace holdfast::testing {
namespace {

constexpr int kFewConnections = 3;

/// A pooler with fewer connections to the server than its clients have to it.
class Pooler {
 public:
  explicit Pooler(PrivatePostgres& server) : port_(20'000 + ::getpid() % 20'000) {
    std::ofstream config(file("pooler.ini"));
    config << fmt::format(
        "[databases]\n* = host={} port={} user=holdfast\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        "listen_port = {}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n"
        "default_pool_size = {}\nmax_client_conn = 200\npidfile = {}\nlogfile = {}\n",
        server.socket_directory(), server.port(), port_, kFewConnections, file("pooler.pid"),
        file("pooler.log"));
    config.close();
    // It refuses to run as root, and must then write its files as somebody else.
    const bool is_root = ::geteuid() == 0;
    ::chmod(dir_.path().c_str(), 0777);
    const std::string command = fmt::format("/usr/sbin/pgbouncer -q -d {} {}",
                                            is_root ? "-u nobody" : "", file("pooler.ini"));
    HF_CHECK(std::system(command.c_str()) == 0);
  }
  ~Pooler() {
    pid_t pid = 0;
    std::ifstream(file("pooler.pid")) >> pid;
    if (pid > 0) ::kill(pid, SIGKILL);
  }

  std::uint16_t port() const { return static_cast<std::uint16_t>(port_); }

 private:
  std::string file(const std::string& name) const { return dir_.File(name); }

  TempDir dir_;
  const int port_;
};

TEST(Pooler, ManyThreadsWorkThroughFewConnections) {
  PrivatePostgres server({.settings = {"unix_socket_permissions = 0777"}});
  Pooler pooler(server);
  const std::string url = server.Url("s", pooler.port()) + "&prepare=off&notify=off&lanes=4";
  while (!OpenStore(url, {.maintain = false})) std::this_thread::yield();  // it has just begun
  auto open = [&] { return Must(OpenStore(url, {.maintain = false})); };
  auto one = open();
  auto two = open();
  Must(one->Apply({}, {.name = "account", .rules = "{}"}));
  Must(one->Create({}, {.kind = "account", .id = "a", .data = R"({"n":0})"}));
  constexpr int kThreads = 10;
  constexpr int kTimes = 20;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        Store& store = thread % 2 == 0 ? *one : *two;
        const std::string owner = "owner-" + std::to_string(thread);
        for (int i = 0; i < kTimes; ++i) {
          Must(store.Enqueue({}, {.kind = "k"}));
          for (const Job& job : Must(store.Claim({}, {.worker = owner}))) {
            LockGrant grant =
                Must(store.Acquire({},
                                   {.name = "l", .owner = owner, .wait = std::chrono::seconds(60)}))
                    .front();
            Batch batch{
                .guards = {LockGuard{"l", grant.token}, JobGuard{job.id, job.token}},
                .operations = {IncrementRecord{{"account", "a"}, "/n"},
                               CompleteJob{job.id, job.token}, ReleaseLock{"l", grant.token}}};
            Must(store.Commit({}, batch));
          }
        }
      });
    }
  }
  const Queue queue = *Must(one->GetQueue({}, "default"));
  const std::int64_t done = queue.CountOf(JobState::kCompleted);
  EXPECT_EQ(done + queue.CountOf(JobState::kPending), kThreads * kTimes);
  EXPECT_EQ(Must(one->GetRecord({}, {"account", "a"}))->data, fmt::format(R"({{"n":{}}})", done));
  EXPECT_GT(done, kTimes);
  ExpectCountsToBeExact(*one);
}

}  // namespace
}  // namespace holdfast::testing
