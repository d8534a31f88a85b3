// Another server takes over, or the same one comes back from a crash: what a store that names them
// all makes of it, and what it must not believe of a server that has forgotten.
#include <gtest/gtest.h>

#include <future>

#include "holdfast/holdfast.h"
#include "testing/matchers.h"
#include "testing/private_postgres.h"
#include "testing/store_checks.h"
#include "testing/tcp_gate.h"

namespace holdfast::testing {
namespace {

using std::chrono::seconds;
using Moment = TcpGate::Moment;

/// Of all these, on the loopback. `lanes` 1: so that it is known which connection does what.
std::string UrlOf(const std::string& schema, const std::vector<std::uint16_t>& ports) {
  std::string hosts;
  for (std::uint16_t port : ports) {
    hosts += (hosts.empty() ? "127.0.0.1:" : ",127.0.0.1:") + std::to_string(port);
  }
  return "postgres://holdfast@" + hosts + "/postgres?schema=" + schema + "&lanes=1&notify=off";
}

std::unique_ptr<Store> Open(const std::string& url) {
  return Must(OpenStore(url, {.maintain = false}));
}

Batch OneJob(const std::string& key) {
  return {.operations = {EnqueueJob{{.kind = "k"}}}, .idempotency_key = key};
}

/// Numbers of transactions are used up, by some that are committed.
void UseUpTransactions(const PrivatePostgres& server) {
  server.Execute(
      "DO $$ BEGIN FOR i IN 1..200 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$");
}

class Failover : public ::testing::Test {
 protected:
  Failover() { Open(primary_.Url("s")); }  // makes the tables, which the standby then has

  PrivatePostgres primary_;
};

TEST_F(Failover, OfSeveralHostsThePrimaryIsFoundAndItsSuccessorToo) {
  PrivatePostgres standby({.standby_of = &primary_});
  auto store = Open(UrlOf("s", {standby.port(), primary_.port()}));
  ASSERT_THAT(store->Commit({}, OneJob("before")), IsOk());
  standby.Promote();
  primary_.Stop(PrivatePostgres::StopMode::kImmediate);
  ASSERT_THAT(store->Commit({}, OneJob("after")), IsOk());
  EXPECT_TRUE(Must(store->Commit({}, OneJob("before"))).replayed);
  EXPECT_EQ(ListAllJobs(*store).size(), 2U);
}

TEST_F(Failover, AStandbyAloneIsRefused) {
  PrivatePostgres standby({.standby_of = &primary_});
  EXPECT_THAT(OpenStore(UrlOf("s", {standby.port()})),
              StatusIs(ErrorCode::kUnavailable, ::testing::HasSubstr("is a standby")));
  EXPECT_THAT(OpenStore(UrlOf("s", {standby.port(), standby.port()})),
              StatusIs(ErrorCode::kUnavailable, ::testing::HasSubstr("read-only")));
}

TEST_F(Failover, AServerThatTakesNoWritesAnyMoreIsLeftForOneThatDoes) {
  PrivatePostgres standby({.standby_of = &primary_});
  auto store = Open(UrlOf("s", {primary_.port(), standby.port()}));
  ASSERT_THAT(store->Commit({}, OneJob("before")), IsOk());
  standby.Promote();
  primary_.Execute("ALTER SYSTEM SET default_transaction_read_only = on");
  primary_.Execute("SELECT pg_reload_conf()");
  // The session hears of it in its own time.
  for (int i = 0; Open(standby.Url("s"))->GetQueue({}, "default")->value().counts[1] < 2; ++i) {
    ASSERT_THAT(store->Commit({}, OneJob("after " + std::to_string(i))), IsOk());
  }
}

TEST_F(Failover, ASuccessorIsNotAskedWhatBecameOfACommitOfItsPredecessor) {
  // Its first checkpoint takes a while: what it says of its last one is still its predecessor's.
  PrivatePostgres standby({.settings = {"checkpoint_timeout = 1h"}, .standby_of = &primary_});
  auto direct = Open(primary_.Url("s"));
  for (int i = 0; i < 300; ++i) ASSERT_THAT(direct->Enqueue({}, {.kind = "k"}), IsOk());
  standby.Promote();
  UseUpTransactions(standby);

  TcpGate gate(primary_.port());
  auto store = Open(UrlOf("s", {gate.port(), standby.port()}));
  gate.CutOn({.text = "COMMIT", .moment = Moment::kBefore});
  // There is a committed transaction of that number, which is another.
  EXPECT_THAT(store->Commit({}, OneJob("key")), StatusIs(ErrorCode::kOutcomeUnknown));
  Receipt receipt = Must(store->Commit({}, OneJob("key")));
  EXPECT_FALSE(receipt.replayed);
  EXPECT_EQ(ListAllJobs(*Open(standby.Url("s"))).size(), 301U);
}

TEST_F(Failover, AServerIsNotAskedWhatBecameOfACommitBeforeItsCrash) {
  PrivatePostgres server({.settings = {"wal_writer_delay = 10s"}});
  TcpGate gate(server.port());
  TcpGate other_way(server.port());
  auto store =
      Open(UrlOf("s", {gate.port(), other_way.port(), server.port()}) + "&connect_timeout=60");
  ASSERT_THAT(store->Commit({}, OneJob("before")), IsOk());
  // The store asks only when the server is back, and has given that number to another transaction.
  other_way.Freeze();
  gate.CutOn({.text = "COMMIT", .moment = Moment::kBefore});
  auto answer = std::async(std::launch::async, [&] { return store->Commit({}, OneJob("key")); });
  ASSERT_TRUE(gate.AwaitCut());
  server.Restart(PrivatePostgres::StopMode::kImmediate);
  UseUpTransactions(server);
  other_way.Thaw();
  EXPECT_THAT(answer.get(), StatusIs(ErrorCode::kOutcomeUnknown));
  EXPECT_FALSE(Must(store->Commit({}, OneJob("key"))).replayed);
  EXPECT_EQ(ListAllJobs(*store).size(), 2U);
}

TEST_F(Failover, IdsThatThePredecessorHandedOutAreNotUsedOnItsSuccessor) {
  PrivatePostgres standby({.standby_of = &primary_});
  standby.Promote();
  TcpGate gate(primary_.port());
  auto store = Open(UrlOf("s", {gate.port(), standby.port()}));
  // Nobody but the predecessor knows that these ids are taken.
  ASSERT_THAT(store->Enqueue({}, {.kind = "k"}), IsOk());
  auto other = Open(standby.Url("s"));
  for (int i = 0; i < 5; ++i) ASSERT_THAT(other->Enqueue({}, {.kind = "k"}), IsOk());
  gate.Cut();
  for (int i = 0; i < 5; ++i) ASSERT_THAT(store->Enqueue({}, {.kind = "k"}), IsOk());
  EXPECT_EQ(ListAllJobs(*other).size(), 10U);
}

TEST_F(Failover, ACommitThatNoStandbyHasIsNoSuccess) {
  primary_.Execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
  primary_.Restart();
  auto store = Open(UrlOf("s", {primary_.port()}));
  const std::string waiting =
      " FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND usename = 'holdfast'";
  auto answer = std::async(std::launch::async, [&] { return store->Enqueue({}, {.kind = "k"}); });
  while (primary_.Execute("SELECT 1" + waiting).empty()) {
  }
  // The server gives up waiting, and shows the commit to everybody.
  primary_.Execute("SELECT pg_terminate_backend(pid)" + waiting);
  while (primary_.Execute("SELECT 1 FROM s.jobs").empty()) {
  }
  EXPECT_EQ(answer.wait_for(seconds(1)), std::future_status::timeout);
  primary_.Execute("ALTER SYSTEM RESET synchronous_standby_names");
  primary_.Execute("SELECT pg_reload_conf()");
  EXPECT_THAT(answer.get(), IsOk());
}

}  // namespace
}  // namespace holdfast::testing
