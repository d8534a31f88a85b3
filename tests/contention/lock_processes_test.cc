// Locks between processes on one store, without a server of ours: the holder that was stopped, the
// waiter that died, the line that spans processes.
#include <chrono>
#include <fstream>
#include <memory>
#include <thread>

#include "testing/environment.h"
#include "testing/helper_process.h"
#include "testing/store_suite.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

class LockProcesses : public ::testing::TestWithParam<Variant> {
 protected:
  LockProcesses() : store_(Must(OpenStore(url()))) {
    Must(store_->Apply({}, ApplyKind{.name = "account", .rules = "{}"}));
    Must(store_->Create({}, CreateRecord{.kind = "account", .id = "a", .data = R"({"n":0})"}));
  }
  const std::string& url() const { return place_->url(); }
  std::unique_ptr<HelperProcess> Start(const std::string& helper,
                                       std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), url());
    return std::make_unique<HelperProcess>(helper, arguments);
  }
  LockGrant Take(const std::string& owner, Duration wait = minutes(2)) {
    return Must(store_->Acquire({}, {.name = "l", .owner = owner, .wait = wait})).front();
  }
  std::string Data() { return Must(store_->GetRecord({}, {"account", "a"}))->data; }
  void AwaitInLine(std::size_t count) {
    ASSERT_TRUE(
        WaitUntilTrue([&] { return Must(store_->GetLock({}, "l")).waiters.size() == count; }));
  }
  /// A holder is stopped past its lease, a successor takes the lock and sets the number to 1, the
  /// first goes on and adds 100, with or without the guard. What it was told.
  std::string StaleHolderWrites(const std::string& how) {
    auto stalled = Start("lock", {"l", "200"});
    const Token token = std::stoll(stalled->ReadLine().value());
    stalled->Pause();
    stalled->WriteLine(how);
    LockGrant successor = Take("successor");
    EXPECT_GT(successor.token, token);
    Must(store_->Commit({}, {.guards = {LockGuard{"l", successor.token}},
                             .operations = {ReplaceRecord{{"account", "a"}, R"({"n":1})"}}}));
    stalled->Resume();
    std::string answer = stalled->ReadLine().value_or("nothing");
    EXPECT_EQ(stalled->Wait(), 0);
    return answer;
  }

  /// How long the next in line waits for a lock that is free, because the one before it has died.
  Duration DelayByADeadWaiter() {
    LockGrant first = Take("first");
    auto dead = Start("lock_wait", {"l", "dead"});
    EXPECT_EQ(dead->ReadLine(), "waiting");
    AwaitInLine(1);
    auto next = Start("lock_wait", {"l", "next"});
    EXPECT_EQ(next->ReadLine(), "waiting");
    AwaitInLine(2);
    dead->Signal(SIGKILL);
    EXPECT_EQ(dead->Wait(), -SIGKILL);
    const auto released = std::chrono::steady_clock::now();
    Must(store_->Release({}, {"l", first.token}));
    const Token token = std::stoll(next->ReadLine().value());
    const auto took = std::chrono::steady_clock::now() - released;
    EXPECT_GT(token, first.token);
    next->Signal(SIGKILL);
    Must(store_->Break({}, {"l", "its process is dead", token}));
    return std::chrono::duration_cast<Duration>(took);
  }

  TempDir dir_;
  const std::unique_ptr<StorePlace> place_ = GetParam().make_place();
  std::unique_ptr<Store> store_;
};

TEST_P(LockProcesses, LOCK_8_AHolderThatWasStoppedPastItsLeaseIsFenced) {
  EXPECT_EQ(StaleHolderWrites("guarded"), "fenced");
  EXPECT_EQ(Data(), R"({"n":1})");
}

// What the guard is for: without it the same course of events does the damage.
TEST_P(LockProcesses, LOCK_8_WithoutTheGuardTheStoppedHolderDoesDamage) {
  EXPECT_EQ(StaleHolderWrites("unguarded"), "ok");
  EXPECT_EQ(Data(), R"({"n":101})");
}

TEST_P(LockProcesses, LOCK_2_AWaiterThatDiesDelaysTheNextByTwoSecondsAtMost) {
  // Two seconds, and what a loaded machine takes to notice: which may be long, but not three times.
  const Duration most = seconds(4);
  Duration took = most;
  for (int tries = 0; took >= most && tries < 3; ++tries) took = DelayByADeadWaiter();
  EXPECT_LT(took, most);
}

TEST_P(LockProcesses, LOCK_2_TheLineSpansProcesses) {
  LockGrant first = Take("first");
  auto second = Start("lock_wait", {"l", "second"});
  AwaitInLine(1);
  std::jthread third([&] {
    LockGrant grant = Take("third");
    Must(store_->Release({}, {"l", grant.token}));
  });
  AwaitInLine(2);
  Must(store_->Release({}, {"l", first.token}));
  EXPECT_EQ(second->ReadLine(), "waiting");
  Token token = std::stoll(second->ReadLine().value());
  EXPECT_EQ(Must(store_->GetLock({}, "l")).holders.at(0).owner, "second");
  // A holder that is killed keeps the lock for its lease, unless somebody ends it.
  second->Signal(SIGKILL);
  Must(store_->Break({}, {"l", "its process is dead", token}));
}

TEST_P(LockProcesses, LOCK_1_FourProcessesCountExactly) {
  const int each = Scaled(50, 10);
  const std::string tally = dir_.File("tally");
  std::vector<std::unique_ptr<HelperProcess>> helpers;
  for (int i = 0; i < 4; ++i)
    helpers.push_back(Start("lock_count", {"l", std::to_string(each), tally}));
  for (auto& helper : helpers) {
    Token last = 0;
    while (std::optional<std::string> line = helper->ReadLine()) {
      EXPECT_GT(std::stoll(*line), last);
      last = std::stoll(*line);
    }
    EXPECT_EQ(helper->Wait(), 0);
  }
  long number = 0;
  std::ifstream(tally) >> number;
  EXPECT_EQ(number, 4 * each);
}

TEST_P(LockProcesses, LOCK_4_AProcessThatIsKilledAndRestartedHonoursLeases) {
  auto holder = Start("lock_wait", {"l", "holder"});
  EXPECT_EQ(holder->ReadLine(), "waiting");
  Token token = std::stoll(holder->ReadLine().value());
  auto waiter = Start("lock_wait", {"l", "waiter"});
  AwaitInLine(1);
  for (auto* process : {&holder, &waiter}) {
    (*process)->Signal(SIGKILL);
    (*process)->Wait();
  }
  store_.reset();
  store_ = Must(OpenStore(url()));
  Lock lock = Must(store_->GetLock({}, "l"));
  ASSERT_EQ(lock.holders.size(), 1U);
  EXPECT_EQ(lock.holders[0].token, token);
  EXPECT_THAT(store_->Acquire({}, {.name = "l", .owner = "new"}), StatusIs(ErrorCode::kBusy));
  // The waiter is gone within two seconds, without anybody's help.
  AwaitInLine(0);
  EXPECT_GT(Must(store_->Acquire({}, {.name = "m", .owner = "new"})).front().token, token);
  EXPECT_THAT(store_->Renew({}, {"l", token}), IsOk());
}

TEST_P(LockProcesses, LOCK_1_EachSeesWhatTheOtherTookAndGaveBack) {
  const std::unique_ptr<Store> other = Must(OpenStore(url()));
  Store* stores[] = {store_.get(), other.get()};
  Token last = 0;
  for (int i = 0; i < 6; ++i) {
    Store& holder = *stores[i % 2];
    Store& refused = *stores[(i + 1) % 2];
    const LockGrant grant = Must(holder.Acquire({}, {.name = "l", .owner = "ada"})).front();
    EXPECT_GT(grant.token, last);
    last = grant.token;
    EXPECT_THAT(refused.Acquire({}, {.name = "l", .owner = "bob"}), StatusIs(ErrorCode::kBusy));
    // By whichever of the two: the token says whose it is.
    Must(stores[i / 2 % 2]->Release({}, {.name = "l", .token = grant.token}));
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, LockProcesses, ::testing::ValuesIn(SharedVariants()), VariantName);

}  // namespace
}  // namespace holdfast::testing
