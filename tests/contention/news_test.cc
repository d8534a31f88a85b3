// What a change in another process makes those that wait in this one do: as many look as there may
// be work for, and no others.
#include <atomic>
#include <functional>
#include <future>
#include <map>

#include "base/check.h"
#include "base/mutex.h"
#include "engine/memory/memory_engine.h"
#include "engine/sqlite/sqlite_engine.h"
#include "testing/environment.h"
#include "testing/faulty_engine.h"
#include "testing/store_suite.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

/// The memory engine, as if other processes changed it, too: what is committed while it is deaf is
/// told to no listener.
class SharedEngine final : public FaultyEngine, public engine::ChangeListener {
 public:
  using FaultyEngine::FaultyEngine;

  const engine::Traits& traits() const override { return traits_; }
  bool ChangedElsewhere() override { return has_changed.exchange(false); }

  void Claim(const Context& context, ClaimRequest request, ClaimDone done) override {
    {
      base::MutexLock lock(mutex_);
      for (const std::string& queue : request.queues) ++claims_[queue];
    }
    FaultyEngine::Claim(context, std::move(request), std::move(done));
  }
  void Commit(const Context& context, std::vector<Batch> batches, CommitDone done) override {
    const auto* await = std::get_if<AwaitLock>(&batches[0].operations[0]);
    if (await != nullptr && await->ticket != 0) {
      base::MutexLock lock(mutex_);
      ++looks_[await->request.name];
    }
    FaultyEngine::Commit(context, std::move(batches), std::move(done));
  }
  Result<std::vector<std::string>> FindReady(const Context& context,
                                             const std::vector<std::string>& queues) override {
    std::vector<std::string> ready;
    for (const std::string& queue : queues) {
      HF_CHECK(!queue.empty());
      const JobFilter filter{.state = JobState::kPending, .queue = queue, .limit = 1};
      if (!Must(ListJobs(context, filter)).items.empty()) ready.push_back(queue);
    }
    ++reads;
    return ready;
  }
  Result<std::vector<bool>> FindTurns(const Context& context,
                                      const std::vector<engine::LockPlace>& places) override {
    std::vector<bool> turns;
    for (const engine::LockPlace& place : places) {
      turns.push_back(Must(GetLock(context, place.name)).holders.empty());
    }
    ++reads;
    return turns;
  }

  void Listen(engine::ChangeListener* listener) override {
    listener_ = listener;
    FaultyEngine::Listen(this);
  }
  void OnChange(const engine::Change& change) override {
    if (!is_deaf) listener_->OnChange(change);
  }

  int claims(const std::string& queue) {
    base::MutexLock lock(mutex_);
    return claims_[queue];
  }
  int looks(const std::string& lock_name) {
    base::MutexLock lock(mutex_);
    return looks_[lock_name];
  }

  std::atomic<bool> has_changed = false;
  std::atomic<bool> is_deaf = false;
  std::atomic<int> reads = 0;

 private:
  const engine::Traits traits_{.name = "memory", .shared_between_processes = true};
  engine::ChangeListener* listener_ = nullptr;
  base::Mutex mutex_{base::LockRank::kMetrics};
  std::map<std::string, int> claims_ HF_GUARDED_BY(mutex_);
  std::map<std::string, int> looks_ HF_GUARDED_BY(mutex_);
};

class News : public ::testing::Test {
 protected:
  static constexpr StoreOptions kOptions{.maintain = false, .poll_interval = milliseconds(1)};

  News() {
    auto engine = std::make_unique<SharedEngine>(Must(engine::OpenMemory(kOptions)));
    engine_ = engine.get();
    store_ = std::make_unique<Store>(std::move(engine), kOptions);
  }
  ~News() override { store_->StopWaiting(); }

  std::future<std::vector<Job>> Claim(std::vector<std::string> queues,
                                      std::vector<std::string> kinds = {}) {
    auto answer = std::make_shared<std::promise<std::vector<Job>>>();
    store_->ClaimAsync(
        {},
        {.worker = "w", .queues = std::move(queues), .kinds = std::move(kinds), .wait = minutes(5)},
        [answer](auto jobs) { answer->set_value(Must(std::move(jobs))); });
    return answer->get_future();
  }
  void TellNews() {
    const int before = engine_->reads;
    engine_->is_deaf = false;
    engine_->has_changed = true;
    ASSERT_TRUE(WaitUntilTrue([&] { return engine_->reads != before; }));
  }

  SharedEngine* engine_ = nullptr;
  std::unique_ptr<Store> store_;
};

TEST_F(News, JOB_3_WakeClaimsOfQueuesThatHaveJobsAndNoOthers) {
  auto first = Claim({"full", "empty"});
  auto second = Claim({"full"});
  auto other = Claim({"empty"});
  std::vector<std::future<std::vector<Job>>> many;
  for (int i = 0; i < 1500; ++i) many.push_back(Claim({"other-" + std::to_string(i)}));
  const int before = engine_->claims("empty");
  engine_->is_deaf = true;
  for (const char* queue : {"full", "full", "other-1499"}) {
    Must(store_->Enqueue({}, {.kind = "k", .queue = queue}));
  }
  TellNews();
  // The first that finds a job wakes the next.
  EXPECT_EQ(first.get().size(), 1U);
  EXPECT_EQ(second.get().size(), 1U);
  EXPECT_EQ(many.back().get().size(), 1U);
  EXPECT_EQ(engine_->claims("empty"), before + 1) << "that of the first";
  EXPECT_EQ(engine_->claims("other-7"), 2) << "one look before it was registered, and one after";
}

TEST_F(News, JOB_3_WakeOneClaimForEachListOfKinds) {
  auto of_a = Claim({"q"}, {"a"});
  auto also_of_a = Claim({"q"}, {"a"});
  auto of_b = Claim({"q"}, {"b"});
  const int before = engine_->claims("q");
  engine_->is_deaf = true;
  Must(store_->Enqueue({}, {.kind = "b", .queue = "q"}));
  TellNews();
  EXPECT_EQ(of_b.get().size(), 1U);
  EXPECT_EQ(engine_->claims("q"), before + 2);
}

TEST_F(News, LOCK_2_WakeWaitersWhoseTurnItMayBeAndNoOthers) {
  auto acquire = [&](const std::string& name, const std::string& owner, Duration wait) {
    auto answer = std::make_shared<std::promise<std::vector<LockGrant>>>();
    store_->AcquireAsync({}, {.name = name, .owner = owner, .wait = wait}, [answer](auto grants) {
      if (grants) answer->set_value(*std::move(grants));
    });
    return answer->get_future();
  };
  const Token token = acquire("freed", "holder", {}).get().front().token;
  (void)acquire("held", "holder", {}).get();
  auto next = acquire("freed", "next", hours(1));
  auto other = acquire("held", "other", hours(1));
  engine_->is_deaf = true;
  // On this engine the next is granted the lock by the release, so that its look finds the lease.
  Must(store_->Release({}, {.name = "freed", .token = token}));
  Must(store_->Break({}, {.name = "freed", .reason = "as if it were given back elsewhere"}));
  TellNews();
  EXPECT_EQ(next.get().size(), 1U);
  EXPECT_EQ(engine_->looks("freed"), 1);
  EXPECT_EQ(engine_->looks("held"), 0);
}

/// Something is always due, and never can be done: a row that another process has in its hands.
class StuckEngine final : public FaultyEngine {
 public:
  using FaultyEngine::FaultyEngine;

  Result<engine::MaintainResult> Maintain(const Context&, engine::MaintainRequest) override {
    ++rounds;
    return engine::MaintainResult{.next_due = Time()};
  }

  std::atomic<int> rounds = 0;
};

TEST(StuckMaintenance, ARoundInVainIsNotFollowedByOthersAtOnce) {
  auto owned = std::make_unique<StuckEngine>(Must(engine::OpenMemory({})));
  StuckEngine& engine = *owned;
  Store store(std::move(owned), {});
  // Time enough for thousands of rounds, if each were to start the next.
  std::promise<void> never;
  (void)never.get_future().wait_for(milliseconds(100));
  EXPECT_GE(engine.rounds, 1);
  EXPECT_LE(engine.rounds, 20);
}

TEST(SqliteNews, AProcessIsNoNewsToItself) {
  TempDir dir;
  const std::string path = (dir.path() / "news.db").string();
  auto ours = Must(engine::OpenSqlite(path, {}));
  auto theirs = Must(engine::OpenSqlite(path, {}));
  auto write = [](engine::Engine& engine) {
    Batch batch;
    batch.operations.emplace_back(EnqueueJob{{.kind = "k"}});
    Must(engine.CommitAndWait({}, std::move(batch)));
  };
  (void)ours->ChangedElsewhere();
  EXPECT_FALSE(ours->ChangedElsewhere());
  write(*ours);
  EXPECT_FALSE(ours->ChangedElsewhere());
  write(*theirs);
  EXPECT_TRUE(ours->ChangedElsewhere());
  EXPECT_FALSE(ours->ChangedElsewhere());
  write(*ours);
  write(*theirs);
  write(*ours);
  EXPECT_TRUE(ours->ChangedElsewhere());
  EXPECT_FALSE(ours->ChangedElsewhere());
}

}  // namespace
}  // namespace holdfast::testing
