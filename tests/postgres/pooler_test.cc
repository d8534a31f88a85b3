// Behind PgBouncer in transaction mode: every transaction may be on another server connection, so
// that nothing may be left on one.
#include "testing/pooler.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "engine/findings.h"
#include "engine/postgres/doctor.h"
#include "holdfast/holdfast.h"
#include "postgres/other_session.h"
#include "testing/matchers.h"
#include "testing/private_postgres.h"
#include "testing/store_checks.h"
#include "testing/wait_for_stop.h"

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

/// Transactions state what they rely on: through a pooler they run in sessions of the database's
/// own defaults.
class Defaults : public ::testing::TestWithParam<const char*> {};

TEST_P(Defaults, LOCK_5_OfADatabaseDoNotMakeASemaphoreOfTwoGrantFour) {
  constexpr int kOwners = 4;
  PrivatePostgres server({.settings = {"unix_socket_permissions = 0777"}});
  server.Execute(
      fmt::format("ALTER DATABASE postgres SET default_transaction_isolation = '{}'", GetParam()));
  Pooler pooler(server, 2 * kOwners + 2);
  std::vector<std::unique_ptr<Store>> stores;
  for (int i = 0; i < kOwners; ++i) {
    stores.push_back(Must(OpenStore(pooler.Url("s") + "&lanes=1", {.maintain = false})));
  }
  Must(stores[0]->Acquire({},
                          {.name = "l", .owner = "first", .mode = LockMode::kShared, .limit = 3}));
  Must(stores[0]->Enqueue({}, {.kind = "k"}));
  // All have looked before the first of them writes.
  OtherSession holder(server, "holdfast", "holder");
  holder.Run("BEGIN; SELECT FROM s.locks WHERE name = 'l' FOR UPDATE");
  std::atomic<int> granted = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kOwners; ++i) {
      threads.emplace_back([&, i] {
        auto grants =
            stores[static_cast<std::size_t>(i)]->Acquire({}, {.name = "l",
                                                              .owner = "owner-" + std::to_string(i),
                                                              .mode = LockMode::kShared,
                                                              .limit = 3});
        if (grants) ++granted;
      });
    }
    const std::string waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    EXPECT_TRUE(
        WaitUntilTrue([&] { return std::stoi(server.Execute(waiting).at(0).at(0)) == kOwners; }));
    holder.Run("COMMIT");
  }
  EXPECT_EQ(granted, 2);
  EXPECT_EQ(Must(stores[0]->GetLock({}, "l")).holders.size(), 3U);
}

TEST_P(Defaults, OfADatabaseDoNotReachStatements) {
  PrivatePostgres server({.settings = {"unix_socket_permissions = 0777"}});
  server.Execute(
      fmt::format("ALTER DATABASE postgres SET default_transaction_isolation = '{}'; "
                  "ALTER DATABASE postgres SET search_path = 'elsewhere'; "
                  "ALTER DATABASE postgres SET standard_conforming_strings = off; "
                  "ALTER DATABASE postgres SET TimeZone = 'Asia/Kathmandu'",
                  GetParam()));
  Pooler pooler(server, kFewConnections);
  auto store = Must(OpenStore(pooler.Url("s"), {.maintain = false}));
  server.Execute(
      "CREATE TABLE s.seen (isolation text, lock_timeout text, statement_timeout text, idle text); "
      "CREATE FUNCTION s.see() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO s.seen "
      "VALUES (current_setting(''transaction_isolation''), current_setting(''lock_timeout''), "
      "current_setting(''statement_timeout''), "
      "current_setting(''idle_in_transaction_session_timeout'')); RETURN new; END'; "
      "CREATE TRIGGER see BEFORE INSERT ON s.jobs FOR EACH ROW EXECUTE FUNCTION s.see(); "
      "GRANT ALL ON s.seen TO holdfast");
  Must(store->Enqueue({}, {.kind = "k"}));
  const auto seen = server.Execute("SELECT * FROM s.seen").at(0);
  EXPECT_EQ(seen[0], "read committed");
  EXPECT_NE(seen[1], "0");
  EXPECT_EQ(seen[2], "1min");
  EXPECT_EQ(seen[3], "10s");
  EXPECT_EQ(ListAllJobs(*store).size(), 1U);
  ExpectCountsToBeExact(*store);
}

INSTANTIATE_TEST_SUITE_P(Isolation, Defaults, ::testing::Values("repeatable read", "serializable"),
                         [](const auto& defaults) {
                           return defaults.index == 0 ? "Repeatable" : "Serial";
                         });

TEST(Encoding, OfADatabaseMustHoldEveryText) {
  PrivatePostgres& server = PrivatePostgres::Shared();
  server.Execute("DROP DATABASE IF EXISTS latin");
  server.Execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
  std::string url = server.Url("s");
  url.replace(url.find("/postgres?"), 10, "/latin?");
  EXPECT_THAT(OpenStore(url, {.maintain = false}),
              StatusIs(ErrorCode::kUnavailable, ::testing::HasSubstr("has the encoding LATIN1")));
  const engine::Examination examination = Must(engine::ExaminePostgres(url, {}));
  EXPECT_TRUE(std::ranges::any_of(examination.findings, [](const engine::Finding& finding) {
    return finding.check == "encoding" && finding.health == engine::Health::kFail;
  }));
  server.Execute("DROP DATABASE latin");
}

}  // namespace
}  // namespace holdfast::testing
