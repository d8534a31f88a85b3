// Doing nothing is (nearly) free: a store in which everything waits writes what its sessions need,
// and takes no processor.
#include <sys/resource.h>

#include <fstream>
#include <future>

#include "testing/helper_process.h"
#include "testing/private_postgres.h"
#include "testing/store_suite.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

struct Usage {
  double cpu = 0;          // seconds, of this process
  std::int64_t bytes = 0;  // written, of files or of the server's log
  std::int64_t commits = 0;
};

class Quiescence : public ::testing::TestWithParam<Variant> {
 protected:
  static constexpr int kMany = 1000;
  static constexpr int kDead = 100;

  const engine::Traits& traits() const { return GetParam().traits; }
  bool has_server() const { return traits().shared_between_processes && !traits().keeps_time; }

  Usage Measure() const {
    Usage usage;
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    for (const timeval& time : {used.ru_utime, used.ru_stime}) {
      usage.cpu += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    }
    if (has_server()) {
      const auto row = server_->Execute(
          "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint, "
          "pg_snapshot_xmax(pg_current_snapshot())")[0];
      usage.bytes = std::stoll(row[0]);
      usage.commits = std::stoll(row[1]);
    } else {
      std::ifstream io("/proc/self/io");
      std::string name;
      while (io >> name && name != "wchar:") {
      }
      io >> usage.bytes;
    }
    return usage;
  }

  void AddJobs(Store& store) {
    Must(store.Set({}, {.name = "paused", .paused = true}));
    Must(store.Set({}, {.name = "limited", .max_running = 1}));
    for (int i = 0; i < 10; ++i) {
      Batch batch;
      for (int j = 0; j < kMany; ++j) {
        JobSpec job{.kind = "k", .queue = j % 2 == 0 ? "paused" : "later"};
        if (j % 2 != 0) job.delay = hours(1);
        if (j % 100 == 0) job.queue = "limited";
        batch.operations.emplace_back(EnqueueJob{std::move(job)});
      }
      Must(store.Commit({}, std::move(batch)));
    }
    ASSERT_EQ(
        Must(store.Claim({}, {.worker = "w", .queues = {"limited"}, .lease = hours(1)})).size(),
        1U);
  }
  void ParkClaims(Store& store) {
    for (int i = 0; i < kMany; ++i) {
      store.ClaimAsync({},
                       {.worker = "w",
                        .queues = {"paused", "limited", "later", "q" + std::to_string(i)},
                        .wait = minutes(5)},
                       [](const auto&) {});
    }
  }
  /// On many locks and on one.
  void QueueForLocks(Store& store) {
    for (int i = 0; i < kMany; ++i) {
      const std::string name = i % 2 == 0 ? "l" + std::to_string(i) : "one";
      if (i < 2 || i % 2 == 0) {
        Must(store.Acquire({}, {.name = name, .owner = "holder", .ttl = hours(1)}));
      }
      store.AcquireAsync({}, {.name = name, .owner = "o" + std::to_string(i), .wait = hours(1)},
                         [](const auto&) {});
    }
    ASSERT_TRUE(
        WaitUntilTrue([&] { return Must(store.GetLock({}, "one")).waiters.size() == kMany / 2; }));
  }
  /// Behind those that live: nothing but maintenance removes them.
  void LeaveTheDead(Store& store) {
    HelperProcess dead("lock_wait", {url(), "one", "dead", std::to_string(kDead)});
    ASSERT_TRUE(WaitUntilTrue(
        [&] { return Must(store.GetLock({}, "one")).waiters.size() == kMany / 2 + kDead; }));
    dead.Signal(SIGKILL);
    EXPECT_EQ(dead.Wait(), -SIGKILL);
    ASSERT_TRUE(
        WaitUntilTrue([&] { return Must(store.GetLock({}, "one")).waiters.size() == kMany / 2; }));
  }

  const std::string& url() const { return server_ ? server_url_ : place_->url(); }

  const std::unique_ptr<StorePlace> place_ = GetParam().make_place();
  // Of its own: what other tests do on the shared one would count.
  const std::unique_ptr<PrivatePostgres> server_ =
      has_server() ? std::make_unique<PrivatePostgres>() : nullptr;
  const std::string server_url_ = server_ ? server_->Url("quiet") : std::string();
};

TEST_P(Quiescence, AStoreInWhichEverythingWaitsDoesNearlyNothing) {
  auto store = Must(OpenStore(url()));
  AddJobs(*store);
  ParkClaims(*store);
  QueueForLocks(*store);
  if (traits().shared_between_processes) LeaveTheDead(*store);
  // The quietest of a few windows: whatever the test has caused, and what a server does by itself,
  // comes to an end; what goes round in circles does not.
  constexpr double kWindow = 1.5;
  double cpu = 1e9, bytes = 1e9, commits = 1e9;
  auto is_quiet = [&] { return cpu <= 0.05 && bytes <= 48 * 1024.0 && commits <= 4; };
  for (int i = 0; i < 8 && !is_quiet(); ++i) {
    std::promise<void> never;
    const Usage before = Measure();
    (void)never.get_future().wait_for(std::chrono::duration<double>(kWindow));
    const Usage after = Measure();
    cpu = (after.cpu - before.cpu) / kWindow;
    bytes = static_cast<double>(after.bytes - before.bytes) / kWindow;
    commits = static_cast<double>(after.commits - before.commits) / kWindow;
  }
  EXPECT_TRUE(is_quiet()) << "a second: " << cpu << " s of a processor, " << bytes
                          << " bytes written, " << commits << " transactions that wrote";
  store->StopWaiting();
}

INSTANTIATE_TEST_SUITE_P(Stores, Quiescence, ::testing::ValuesIn(EmbeddedVariants()), VariantName);

}  // namespace
}  // namespace holdfast::testing
