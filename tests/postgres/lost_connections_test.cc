// What a caller is told when the connection to the server is lost, at every point of a commit: the
// truth, or that nobody knows; never a success that is none.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "holdfast/holdfast.h"
#include "testing/environment.h"
#include "testing/matchers.h"
#include "testing/private_postgres.h"
#include "testing/store_checks.h"
#include "testing/tcp_gate.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

using CutRule = TcpGate::CutRule;
using Moment = TcpGate::Moment;

class LostConnections : public ::testing::Test {
 protected:
  /// `lanes` 1: so that it is known on which connection a commit travels.
  std::string UrlThroughGate(const std::string& more = "&lanes=1&notify=off") {
    return schema_.server().Url(schema_.name(), gate_.port()) + more;
  }
  std::unique_ptr<Store> OpenThroughGate() {
    return Must(OpenStore(UrlThroughGate(), {.maintain = false}));
  }
  std::unique_ptr<Store> OpenDirectly() {
    return Must(OpenStore(schema_.url(), {.maintain = false}));
  }
  /// How many jobs there are, asked for behind the gate's back.
  std::size_t CountJobs() { return ListAllJobs(*OpenDirectly()).size(); }

  PostgresSchema schema_;
  TcpGate gate_{schema_.server().port()};
};

/// The sanitizers run fewer.
const int kRounds = Scaled(20, 6);

TEST_F(LostConnections, BeforeCommitNothingHasHappenedAndTheNextTryDoesIt) {
  auto store = OpenThroughGate();
  for (int i = 1; i <= kRounds; ++i) {
    gate_.CutOn({.text = "COMMIT", .moment = Moment::kBefore, .all = false});
    // The transaction had not reached the server's COMMIT: what became of it is found out, and it
    // is done again.
    Result<Job> job = store->Enqueue({}, {.kind = "k"});
    ASSERT_TRUE(gate_.AwaitCut());
    ASSERT_THAT(job, IsOk());
    ASSERT_EQ(CountJobs(), static_cast<std::size_t>(i));
  }
}

TEST_F(LostConnections, AfterCommitTheTruthIsFoundOut) {
  auto store = OpenThroughGate();
  for (int i = 1; i <= kRounds; ++i) {
    gate_.CutOn({.text = "COMMIT", .moment = Moment::kBeforeAnswer, .all = false});
    Result<Job> job = store->Enqueue({}, {.kind = "k"});
    ASSERT_TRUE(gate_.AwaitCut());
    ASSERT_THAT(job, IsOk()) << "it was committed, and the server knows";
    ASSERT_EQ(CountJobs(), static_cast<std::size_t>(i));
  }
}

TEST_F(LostConnections, IfNobodyCanBeAskedTheOutcomeIsUnknownAndTheKeyTellsIt) {
  auto store = OpenThroughGate();
  int unknown = 0;
  for (int i = 1; i <= kRounds; ++i) {
    Batch batch{.operations = {EnqueueJob{{.kind = "k"}}},
                .idempotency_key = "round-" + std::to_string(i)};
    gate_.CutOn(
        {.text = "COMMIT", .moment = i % 2 == 0 ? Moment::kBeforeAnswer : Moment::kRightAfter});
    Result<Receipt> receipt = store->Commit({}, batch);
    ASSERT_TRUE(gate_.AwaitCut());
    ASSERT_FALSE(receipt);
    EXPECT_EQ(receipt.error().code, ErrorCode::kOutcomeUnknown) << receipt.error().message;
    ++unknown;
    gate_.Heal();
    ASSERT_THAT(store->Commit({}, batch), IsOk());
    ASSERT_EQ(CountJobs(), static_cast<std::size_t>(i)) << "done once, whatever happened before";
  }
  EXPECT_EQ(unknown, kRounds);
}

TEST_F(LostConnections, AServerThatIsAwayIsUnavailableAndIsFoundAgain) {
  auto store = OpenThroughGate();
  ASSERT_THAT(store->Enqueue({}, {.kind = "k"}), IsOk());
  for (int i = 0; i < kRounds; ++i) {
    gate_.Cut();
    EXPECT_THAT(store->Enqueue({}, {.kind = "k"}), StatusIs(ErrorCode::kUnavailable));
    EXPECT_THAT(store->ListQueues({}), StatusIs(ErrorCode::kUnavailable));
    gate_.Heal();
    ASSERT_THAT(store->Enqueue({}, {.kind = "k"}), IsOk());
    ASSERT_THAT(store->ListQueues({}), IsOk());
  }
  EXPECT_EQ(CountJobs(), kRounds + 1U);
}

/// Ten threads that enqueue, each job under a key until it is known to be done.
class Load {
 public:
  explicit Load(Store& store) {
    for (int thread = 0; thread < 10; ++thread) {
      threads_.emplace_back([&, thread] {
        for (int i = 0; !is_over_; ++i) {
          Batch batch{.operations = {EnqueueJob{{.kind = "k"}}},
                      .idempotency_key = std::to_string(thread) + "/" + std::to_string(i)};
          while (!store.Commit({}, batch)) {
          }
          ++acknowledged_;
        }
      });
    }
  }

  /// Until so many more are done.
  void LetRun(int count) {
    const int before = acknowledged_;
    EXPECT_TRUE(
        WaitUntilTrue([&] { return acknowledged_ >= before + count; }, std::chrono::minutes(4)));
  }
  /// How many were acknowledged, by the end of it.
  std::size_t End() {
    is_over_ = true;
    threads_.clear();
    return static_cast<std::size_t>(acknowledged_);
  }

 private:
  std::atomic<int> acknowledged_ = 0;
  std::atomic<bool> is_over_ = false;
  std::vector<std::jthread> threads_;
};

TEST_F(LostConnections, BackendsThatAreKilledUnderLoadLoseNothingAndDoNothingTwice) {
  PrivatePostgres server;
  PostgresSchema schema(server);
  auto store = Must(OpenStore(schema.url(), {.maintain = false}));
  Load load(*store);
  for (int i = 0; i < kRounds; ++i) {
    load.LetRun(30);
    server.KillBackends();
  }
  const std::size_t acknowledged = load.End();
  EXPECT_EQ(ListAllJobs(*store).size(), acknowledged);
  ExpectCountsToBeExact(*store);
}

TEST_F(LostConnections, AServerThatCrashesUnderLoadLosesNothingThatWasAcknowledged) {
  PrivatePostgres server;
  PostgresSchema schema(server);
  auto store = Must(OpenStore(schema.url(), {.maintain = false}));
  Load load(*store);
  for (int i = 0; i < kRounds; ++i) {
    load.LetRun(20);
    server.Restart(PrivatePostgres::StopMode::kImmediate);
  }
  const std::size_t acknowledged = load.End();
  EXPECT_EQ(ListAllJobs(*store).size(), acknowledged);
  ExpectCountsToBeExact(*store);
}

}  // namespace
}  // namespace holdfast::testing
