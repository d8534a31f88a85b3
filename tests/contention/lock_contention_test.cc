// Locks under attack: exclusion is exact, the line is kept, semaphores never overflow, and whatever
// is given up, cancelled or cut off leaves nothing held and nobody waiting for ever.
#include <algorithm>
#include <atomic>
#include <fstream>
#include <random>
#include <thread>

#include "api/api.h"
#include "net/http_server.h"
#include "testing/environment.h"
#include "testing/lock_suite.h"
#include "testing/wait_for_stop.h"
#include "unit/raw_tcp.h"

namespace holdfast::testing {
namespace {

using ::testing::IsEmpty;

class LockContention : public LockSuite {
 protected:
  template <typename Body>
  static void RunThreads(int count, Body body) {
    std::vector<std::jthread> threads;
    for (int i = 0; i < count; ++i) threads.emplace_back([i, body] { body(i); });
  }
  void ExpectNothingLeft() {
    AwaitNobodyWaiting();
    EXPECT_THAT(Must(store().ListLocks({}, {})).items, IsEmpty());
  }
};

TEST_P(LockContention, LOCK_1_FiftyThreadsIncrementAnUnprotectedVariableExactly) {
  const int threads = 50;
  const int each = Scaled(20, 4);
  long unprotected = 0;
  Token last = 0;
  RunThreads(threads, [&](int thread) {
    for (int i = 0; i < each; ++i) {
      LockGrant grant = Take("l", "t" + std::to_string(thread), {.wait = minutes(5)});
      // As far as C++ knows this is a race, and it is none: the store stands between.
      ++unprotected;
      EXPECT_GT(grant.token, last);
      last = grant.token;
      Must(Release(grant));
    }
  });
  EXPECT_EQ(unprotected, threads * each);
  ExpectNothingLeft();
}

TEST_P(LockContention, LOCK_2_AHundredWaitersAreServedInTheirOrder) {
  const int count = Scaled(100, 20);
  LockGrant first = Take("l", "first");
  std::vector<WaitingAcquire> waiting;
  for (int i = 0; i < count; ++i) {
    waiting.push_back(Wait("l", "w" + std::to_string(i), static_cast<std::size_t>(i)));
  }
  Must(Release(first));
  Token last = first.token;
  for (WaitingAcquire& waiter : waiting) {
    LockGrant grant = waiter.TakeOne();
    EXPECT_GT(grant.token, last);
    last = grant.token;
    Must(Release(grant));
  }
  ExpectNothingLeft();
}

TEST_P(LockContention, LOCK_1_ASemaphoreOfFiveNeverShowsSix) {
  std::atomic<int> inside = 0;
  std::atomic<int> most = 0;
  const auto give_up = std::chrono::steady_clock::now() + minutes(1);
  const int each = Scaled(5, 2);
  RunThreads(100, [&](int thread) {
    AcquireLock how{.mode = LockMode::kShared, .limit = 5, .wait = minutes(5)};
    for (int i = 0; i < each; ++i) {
      LockGrant grant = Take("pool", "t" + std::to_string(thread), how);
      int now = ++inside;
      int seen = most.load();
      while (now > seen && !most.compare_exchange_weak(seen, now)) {
      }
      // Whoever is the first waits for company: a hundred are on their way.
      do {
        std::this_thread::yield();
      } while (most < 2 && std::chrono::steady_clock::now() < give_up);
      --inside;
      Must(Release(grant));
    }
  });
  EXPECT_LE(most, 5);
  EXPECT_GE(most, 2);  // it did let several in
  ExpectNothingLeft();
}

TEST_P(LockContention, LOCK_1_WritersDoNotStarveAmongReaders) {
  std::atomic<bool> written = false;
  std::atomic<int> reads = 0;
  std::vector<std::jthread> readers;
  for (int i = 0; i < 8; ++i) {
    readers.emplace_back([&, i] {
      AcquireLock how{.mode = LockMode::kShared, .wait = minutes(5)};
      while (!written) {
        LockGrant grant = Take("l", "r" + std::to_string(i), how);
        ++reads;
        Must(Release(grant));
      }
    });
  }
  AwaitTrue([&] { return reads > 20; });
  LockGrant grant = Take("l", "writer", {.wait = minutes(5)});
  written = true;
  Must(Release(grant));
  readers.clear();
  ExpectNothingLeft();
}

TEST_P(LockContention, LOCK_6_CrosswisePairsNeverDeadlock) {
  const int each = Scaled(20, 5);
  RunThreads(10, [&](int thread) {
    AcquireLock both{
        .names = {"a", "b"}, .owner = "t" + std::to_string(thread), .wait = minutes(5)};
    if (thread % 2 == 1) std::swap(both.names[0], both.names[1]);
    for (int i = 0; i < each; ++i) {
      for (const LockGrant& grant : Must(store().Acquire({}, both))) Must(Release(grant));
    }
  });
  ExpectNothingLeft();
}

TEST_P(LockContention, LOCK_7_WhoeverIsRefusedForACircleLetsTheOthersThrough) {
  std::atomic<int> deadlocks = 0;
  std::atomic<int> done = 0;
  const int threads = 10;
  const int each = Scaled(10, 3);
  RunThreads(threads, [&](int thread) {
    std::mt19937 random(static_cast<unsigned>(thread));
    const std::string owner = "t" + std::to_string(thread);
    for (int i = 0; i < each;) {
      std::string one = "l" + std::to_string(random() % 4);
      std::string two = "m" + std::to_string(random() % 4);
      if (random() % 2 == 0) std::swap(one, two);
      LockGrant first = Take(one, owner, {.wait = minutes(5)});
      Result<LockGrant> second = TryTake(two, owner, {.wait = minutes(5)});
      if (second) {
        Must(Release(*second));
        ++i;
        ++done;
      } else {
        EXPECT_EQ(second.error().code, ErrorCode::kDeadlock);
        ++deadlocks;
      }
      Must(Release(first));
    }
  });
  EXPECT_EQ(done, threads * each);
  ExpectNothingLeft();
}

TEST_P(LockContention, LOCK_5_GivingUpInTheInstantOfTheGrantLeavesNothingHeld) {
  const std::uint64_t seed = PrintedSeed();
  std::atomic<int> inside = 0;
  const int each = Scaled(30, 8);
  RunThreads(16, [&](int thread) {
    std::mt19937_64 random(seed + static_cast<std::uint64_t>(thread));
    for (int i = 0; i < each; ++i) {
      AcquireLock request{.name = "l", .owner = "t" + std::to_string(thread)};
      std::stop_source stop;
      Context context{.stop = stop.get_token()};
      request.wait = microseconds(1 + random() % 20'000);
      std::jthread canceller;
      if (random() % 3 == 0) {
        canceller = std::jthread([&stop] { stop.request_stop(); });
      } else if (random() % 2 == 0) {
        context.deadline = std::chrono::steady_clock::now() + microseconds(random() % 20'000);
      }
      Result<std::vector<LockGrant>> grants = store().Acquire(context, request);
      if (grants) {
        EXPECT_EQ(++inside, 1);
        --inside;
        Must(Release(grants->front()));
        continue;
      }
      const ErrorCode code = grants.error().code;
      EXPECT_TRUE(code == ErrorCode::kBusy || code == ErrorCode::kCancelled ||
                  code == ErrorCode::kDeadlineExceeded ||
                  // Over HTTP a caller that hangs up may not hear what came of it.
                  (traits().is_remote && code == ErrorCode::kOutcomeUnknown))
          << InfoOf(code).name << ": " << grants.error().message;
    }
  });
  AwaitNobodyWaiting();
  // Over HTTP a grant may be on its way to a caller that has gone: the lease ends it.
  if (traits().is_remote) Pass(seconds(11));
  ExpectNothingLeft();
}

TEST_P(LockContention, LOCK_8_WritersThatWaitForARecordAllGetThrough) {
  Declare("account");
  Make("account", "a", R"({"n":0})");
  const int each = Scaled(10, 3);
  std::jthread locker([&] {
    for (int i = 0; i < each; ++i) {
      LockGrant grant = Take("record:account/a", "locker", {.wait = minutes(5)});
      Must(Commit(
          {IncrementRecord{{"account", "a"}, "/n", 1000}, ReleaseLock{grant.name, grant.token}},
          {LockGuard{grant.name, grant.token}}));
    }
  });
  RunThreads(12, [&](int) {
    for (int i = 0; i < each; ++i) {
      Must(store().Commit(
          {}, {.operations = {IncrementRecord{{"account", "a"}, "/n"}}, .wait = minutes(5)}));
    }
  });
  locker.join();
  EXPECT_EQ(DataOf("account", "a")["n"], 1000 * each + 12 * each);
  ExpectNothingLeft();
}

TEST_P(LockContention, LOCK_2_EachFreeRecordIsTakenByOne) {
  Declare("seat",
          R"({"states":{"initial":["free"],"transitions":{"free":["booked"],"booked":["free"]}}})");
  const int count = Scaled(60, 20);
  for (int i = 0; i < count; ++i) Make("seat", std::to_string(100 + i));
  std::atomic<int> taken = 0;
  RunThreads(12, [&](int thread) {
    const RecordFilter free{.kind = "seat", .status = "free"};
    while (true) {
      std::optional<LockedRecord> next =
          Must(store().AcquireNext({}, free, {.owner = "t" + std::to_string(thread)}));
      if (!next) return;
      EXPECT_EQ(next->record.status, "free");
      ++taken;
      Must(Commit({TransitionRecord{{"seat", next->record.id}, "booked"},
                   ReleaseLock{next->lock.name, next->lock.token}},
                  {LockGuard{next->lock.name, next->lock.token}}));
    }
  });
  EXPECT_EQ(taken, count);
  ExpectNothingLeft();
}

HOLDFAST_FOR_ALL_VARIANTS(LockContention);

int ThreadsOfThisProcess() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Threads:")) return std::stoi(line.substr(8));
  }
  return -1;
}

TEST(LockWaiting, LOCK_2_ThousandsOfWaitersCostNoThreads) {
  const int count = Scaled(5'000, 500);
  std::unique_ptr<Store> store = Must(OpenStore("memory:"));
  LockGrant first =
      Must(store->Acquire({}, {.name = "l", .owner = "first", .ttl = hours(1)})).front();
  const int before = ThreadsOfThisProcess();
  std::atomic<int> served = 0;
  for (int i = 0; i < count; ++i) {
    AcquireLock request{.name = "l", .owner = "w" + std::to_string(i), .wait = hours(1)};
    store->AcquireAsync({}, request, [&](Result<std::vector<LockGrant>> grants) {
      ++served;
      LockGrant grant = Must(std::move(grants)).front();
      store->CommitAsync({}, {Batch{.operations = {ReleaseLock{grant.name, grant.token}}}},
                         [](std::vector<Result<Receipt>> answers) { Must(answers.front()); });
    });
  }
  EXPECT_EQ(Must(store->GetStats({})).waiting_locks, count);
  EXPECT_EQ(ThreadsOfThisProcess(), before);
  Must(store->Release({}, {"l", first.token}));
  EXPECT_EQ(served, count);
}

class LockServer : public ::testing::Test {
 protected:
  LockServer() : api_(*store_, metrics_), server_({.port = 0}, api_) { Must(server_.Start()); }
  ~LockServer() override {
    api_.Drain();
    server_.Stop(seconds(10));
  }
  RawPeer StartWaiting(int number) {
    RawPeer peer = RawPeer::ConnectTo(server_.port());
    const std::string body = R"({"owner":"w)" + std::to_string(number) + R"(","wait":"10m"})";
    EXPECT_TRUE(peer.Send("POST /v1/locks/l/acquire HTTP/1.1\r\nHost: h\r\nContent-Length: " +
                          std::to_string(body.size()) + "\r\n\r\n" + body));
    return peer;
  }
  void AwaitWaiting(int count) {
    ASSERT_TRUE(WaitUntilTrue([&] { return Must(store_->GetStats({})).waiting_locks == count; }));
  }

  std::unique_ptr<Store> store_ = Must(OpenStore("memory:"));
  api::Metrics metrics_;
  api::Api api_;
  net::HttpServer server_;
};

TEST_F(LockServer, LOCK_2_AThousandConnectionsThatWaitCostNoThreads) {
  const int count = Scaled(1'000, 200);
  LockGrant first =
      Must(store_->Acquire({}, {.name = "l", .owner = "first", .ttl = hours(1)})).front();
  const int before = ThreadsOfThisProcess();
  std::vector<RawPeer> peers;
  for (int i = 0; i < count; ++i) peers.push_back(StartWaiting(i));
  AwaitWaiting(count);
  EXPECT_EQ(ThreadsOfThisProcess(), before);
  // Whoever hangs up is out of the line at once; the next who is there gets the lock.
  for (int i = 0; i < count - 1; ++i) peers[static_cast<std::size_t>(i)].Close();
  AwaitWaiting(1);
  Must(store_->Release({}, {"l", first.token}));
  AwaitWaiting(0);
  Lock lock = Must(store_->GetLock({}, "l"));
  ASSERT_EQ(lock.holders.size(), 1U);
  EXPECT_EQ(lock.holders[0].owner, "w" + std::to_string(count - 1));
}

}  // namespace
}  // namespace holdfast::testing
