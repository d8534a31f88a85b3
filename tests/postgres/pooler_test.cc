// Behind PgBouncer in transaction mode: every transaction may be on another server connection, so
// that nothing may be left on one.
#include "testing/pooler.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <thread>

#include "holdfast/holdfast.h"
#include "testing/matchers.h"
#include "testing/private_postgres.h"
#include "testing/store_checks.h"

namespace holdfast::testing {
namespace {

constexpr int kFewConnections = 3;

TEST(Pooler, ManyThreadsWorkThroughFewConnections) {
  PrivatePostgres server({.settings = {"unix_socket_permissions = 0777"}});
  Pooler pooler(server, kFewConnections);
  const std::string url = pooler.Url("s") + "&lanes=4";
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
