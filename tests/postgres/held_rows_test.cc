// K4, K5: a session that keeps rows locked, and a call that the server refuses, hold up or fail the
// calls that need those rows, or are that call, and no others.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "engine/postgres/postgres_engine.h"
#include "holdfast/holdfast.h"
#include "postgres/other_session.h"
#include "testing/matchers.h"
#include "testing/private_postgres.h"
#include "testing/store_checks.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// What is allowed to an unrelated call on a machine that is busy. Rows are held for as long as the
/// test says, so that a call which waits for one never ends in time.
constexpr Duration kPrompt = seconds(5);

class HeldRows : public ::testing::Test {
 protected:
  std::unique_ptr<Store> Open(const std::string& more = "") {
    return Must(OpenStore(schema_.url() + more, {.maintain = false}));
  }
  /// Until End: the rows of a table for which the condition holds.
  void Hold(const std::string& table, const std::string& condition) {
    if (!std::exchange(is_open_, true)) holder_.Run("BEGIN");
    holder_.Run(
        fmt::format("SELECT FROM {}.{} WHERE {} FOR UPDATE", schema_.name(), table, condition));
  }
  void End() {
    if (std::exchange(is_open_, false)) holder_.Run("ROLLBACK");
  }
  bool IsWaitedFor() {
    return !schema_.server()
                .Execute(fmt::format("SELECT FROM pg_stat_activity WHERE {} = ANY "
                                     "(pg_blocking_pids(pid))",
                                     holder_.number()))
                .empty();
  }
  /// A record "counter/ID".
  void Create(Store& store, const std::string& id) {
    Must(store.Create({}, {.kind = "counter", .id = id, .data = R"({"n":0})"}));
  }
  Result<Record> Increment(Store& store, const std::string& id, const Context& context = {}) {
    return store.Increment(context, {{"counter", id}, "/n"});
  }

  PostgresSchema schema_;
  OtherSession holder_{schema_.server(), "holdfast", "holder"};
  bool is_open_ = false;
};

TEST_F(HeldRows, DelayOnlyTheCallsThatNeedThem) {
  auto store = Open();
  Must(store->Apply({}, {.name = "counter", .rules = "{}"}));
  Create(*store, "held");
  Create(*store, "free");
  Must(store->Set({}, {.name = "held", .max_pending = 100, .max_running = 10}));
  Must(store->Enqueue({}, {.kind = "k", .queue = "held"}));
  const LockGrant held = Must(store->Acquire({}, {.name = "held", .owner = "o"})).at(0);
  const LockGrant mine = Must(store->Acquire({}, {.name = "mine", .owner = "o"})).at(0);
  Must(store->Enqueue({}, {.kind = "k"}));
  const Job running = Must(store->Claim({}, {.worker = "w", .queues = {"default"}})).at(0);
  for (int i = 0; i < 20; ++i) Must(store->Enqueue({}, {.kind = "k"}));
  Hold("records", "id = 'held'");
  Hold("locks", "name = 'held'");
  Hold("queues", "name = 'held'");
  auto start = [](auto call) { return std::async(std::launch::async, std::move(call)); };
  auto increment = start([&] { return Increment(*store, "held"); });
  auto another = start([&] { return Increment(*store, "held"); });
  auto enqueue = start([&] { return store->Enqueue({}, {.kind = "k", .queue = "held"}); });
  auto renew = start([&] { return store->Renew({}, {.name = "held", .token = held.token}); });
  ASSERT_TRUE(WaitUntilTrue([&] { return IsWaitedFor(); }));

  for (int i = 0; i < 20; ++i) {
    auto prompt = [] { return Context::WithTimeout(kPrompt); };
    EXPECT_THAT(store->Enqueue(prompt(), {.kind = "k"}), IsOk());
    EXPECT_THAT(Increment(*store, "free", prompt()), IsOk());
    EXPECT_THAT(store->Renew(prompt(), {.name = "mine", .token = mine.token}), IsOk());
    EXPECT_THAT(store->Renew(prompt(), running.id, running.token), IsOk());
    const std::string name = "lock " + std::to_string(i);
    EXPECT_THAT(store->Acquire(prompt(), {.name = name, .owner = "o"}), IsOk());
    const auto jobs = store->Claim(prompt(), {.worker = "w"});
    ASSERT_THAT(jobs, IsOk());
    EXPECT_EQ(jobs->size(), 1U);
    const auto none = store->Claim(prompt(), {.worker = "w", .queues = {"held"}});
    ASSERT_THAT(none, IsOk());
    EXPECT_TRUE(none->empty()) << "its queue is held";
    ASSERT_THAT(store->Maintain(prompt()), IsOk());
  }
  EXPECT_NE(increment.wait_for(seconds(0)), std::future_status::ready);
  End();
  EXPECT_THAT(increment.get(), IsOk());
  EXPECT_THAT(another.get(), IsOk());
  EXPECT_THAT(enqueue.get(), IsOk());
  EXPECT_THAT(renew.get(), IsOk());
}

TEST_F(HeldRows, AreWaitedForUntilTheCallersDeadline) {
  auto store = Open();
  Must(store->Apply({}, {.name = "counter", .rules = "{}"}));
  Create(*store, "held");
  Hold("records", "id = 'held'");
  EXPECT_THAT(Increment(*store, "held", Context::WithTimeout(milliseconds(300))),
              StatusIs(ErrorCode::kDeadlineExceeded));
  EXPECT_THAT(Increment(*store, "held", Context::WithTimeout(milliseconds(1))),
              StatusIs(ErrorCode::kDeadlineExceeded));
  End();
  EXPECT_THAT(Increment(*store, "held"), IsOk());
}

TEST_F(HeldRows, DelayOfTheBatchesOfACallThoseThatNeedThem) {
  auto store = Open("&lanes=1");
  Must(store->Apply({}, {.name = "counter", .rules = "{}"}));
  Create(*store, "held");
  Create(*store, "free");
  Hold("records", "id = 'held'");
  std::vector<Batch> batches;
  for (const char* id : {"free", "held", "free"}) {
    batches.push_back({.operations = {IncrementRecord{{"counter", id}, "/n"}}});
  }
  auto answers =
      std::async(std::launch::async, [&] { return store->CommitMany({}, std::move(batches)); });
  ASSERT_TRUE(WaitUntilTrue([&] {
    return Must(store->GetRecord({}, {"counter", "free"}))->data == R"({"n":2})";
  }));
  End();
  for (const Result<Receipt>& answer : answers.get()) EXPECT_THAT(answer, IsOk());
  EXPECT_EQ(Must(store->GetRecord({}, {"counter", "held"}))->data, R"({"n":1})");
}

TEST_F(HeldRows, ArePassedOverByMaintenance) {
  auto store = Open();
  for (const char* name : {"held", "free"}) {
    Must(store->Acquire({}, {.name = name, .owner = "o", .ttl = milliseconds(100)}));
    Must(store->Enqueue({}, {.kind = name}));
  }
  const ClaimRequest both{.worker = "w", .max = 2, .lease = milliseconds(100)};
  const std::vector<Job> jobs = Must(store->Claim({}, both));
  ASSERT_EQ(jobs.size(), 2U);
  ASSERT_TRUE(WaitUntilTrue([&] {
    return schema_.server()
               .Execute(fmt::format("SELECT 1 FROM {0}.jobs WHERE lease_expires_at < "
                                    "clock_timestamp() UNION ALL SELECT 1 FROM {0}.lock_holders "
                                    "WHERE expires_at < clock_timestamp()",
                                    schema_.name()))
               .size() == 4;
  }));
  Hold("locks", "name = 'held'");
  Hold("jobs", "kind = 'held'");
  auto maintain = std::async(std::launch::async, [&] { return store->Maintain({}); });
  const bool is_prompt = maintain.wait_for(kPrompt) == std::future_status::ready;
  End();
  EXPECT_TRUE(is_prompt);
  const MaintainReport report = Must(maintain.get());
  EXPECT_EQ(report.expired, 1);
  EXPECT_EQ(report.unlocked, 1);
  const MaintainReport again = Must(store->Maintain({}));
  EXPECT_EQ(again.expired, 1);
  EXPECT_EQ(again.unlocked, 1);
}

TEST_F(HeldRows, AreNotComeBackToAtOnce) {
  auto engine = Must(engine::OpenPostgres(schema_.url(), {}));
  auto store = Open();
  Must(store->Acquire({}, {.name = "held", .owner = "o", .ttl = milliseconds(100)}));
  Hold("locks", "name = 'held'");
  ASSERT_TRUE(WaitUntilTrue([&] { return Must(store->GetLock({}, "held")).holders.empty(); }));
  const Time before = Must(engine->Now());
  const engine::MaintainResult result = Must(engine->Maintain({}, {}));
  ASSERT_TRUE(result.next_due);
  EXPECT_GT(*result.next_due, before) << "maintenance would never pause";
}

// Validation refuses such texts; the engine is asked below it.
TEST_F(HeldRows, AClaimThatTheServerRefusesFailsAlone) {
  constexpr int kGood = 20;
  constexpr int kBad = 5;
  auto store = Open();
  Must(store->Set({}, {.name = "held", .max_running = 1}));
  Must(store->Enqueue({}, {.kind = "k", .queue = "held"}));
  for (int i = 0; i < kGood + kBad; ++i) Must(store->Enqueue({}, {.kind = "k"}));
  Hold("queues", "name = 'held'");
  auto engine = Must(engine::OpenPostgres(schema_.url() + "&lanes=1", {}));
  std::vector<std::future<Result<std::vector<Job>>>> claims;
  auto claim = [&](ClaimRequest request) {
    auto answer = std::make_shared<std::promise<Result<std::vector<Job>>>>();
    claims.push_back(answer->get_future());
    engine->Claim({}, std::move(request),
                  [answer](Result<std::vector<Job>> jobs) { answer->set_value(std::move(jobs)); });
  };
  // While the first waits for its queue, the others gather.
  claim({.worker = "w", .queues = {"held"}});
  ASSERT_TRUE(WaitUntilTrue([&] { return IsWaitedFor(); }));
  for (int i = 0; i < kGood + kBad; ++i) {
    const std::string worker = i % 5 == 4 ? std::string("a\0b", 3) : "w";
    claim({.worker = worker, .queues = {"default"}});
  }
  EXPECT_THAT(claims[0].get(), IsOk());
  int claimed = 0;
  int refused = 0;
  for (std::size_t i = 1; i < claims.size(); ++i) {
    Result<std::vector<Job>> jobs = claims[i].get();
    if (jobs) {
      claimed += static_cast<int>(jobs->size());
    } else {
      ++refused;
    }
  }
  EXPECT_EQ(claimed, kGood);
  EXPECT_EQ(refused, kBad);
}

TEST_F(HeldRows, ABatchThatTheServerRefusesFailsAlone) {
  auto engine = Must(engine::OpenPostgres(schema_.url() + "&lanes=1", {}));
  std::vector<Batch> batches;
  for (int i = 0; i < 30; ++i) {
    const std::string kind = i % 10 == 3 ? std::string("a\0b", 3) : "k";
    batches.push_back({.operations = {EnqueueJob{{.kind = kind}}}});
  }
  std::promise<std::vector<Result<Receipt>>> done;
  engine->Commit({}, std::move(batches),
                 [&](std::vector<Result<Receipt>> answers) { done.set_value(std::move(answers)); });
  const std::vector<Result<Receipt>> answers = done.get_future().get();
  ASSERT_EQ(answers.size(), 30U);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    EXPECT_EQ(answers[i].has_value(), i % 10 != 3) << i;
  }
}

TEST_F(HeldRows, OfATableThatListsWaitForDoNotDelayReadsOfOneRow) {
  auto store = Open();
  const Job job = Must(store->Enqueue({}, {.kind = "k"}));
  holder_.Run("BEGIN");
  is_open_ = true;
  holder_.Run(fmt::format("LOCK TABLE {}.audit IN ACCESS EXCLUSIVE MODE", schema_.name()));
  std::vector<std::future<Result<AuditPage>>> lists;
  for (int i = 0; i < 10; ++i) {
    lists.push_back(std::async(std::launch::async, [&] { return store->ListAudit({}, {}); }));
  }
  ASSERT_TRUE(WaitUntilTrue([&] { return IsWaitedFor(); }));
  for (int i = 0; i < 10; ++i) {
    EXPECT_THAT(store->GetJob(Context::WithTimeout(kPrompt), job.id), IsOk());
    EXPECT_THAT(store->GetLock(Context::WithTimeout(kPrompt), "l"), IsOk());
  }
  End();
  for (auto& list : lists) EXPECT_THAT(list.get(), IsOk());
}

}  // namespace
}  // namespace holdfast::testing
