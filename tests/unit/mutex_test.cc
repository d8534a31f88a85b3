// The ranked mutex: exclusion, waiting, and death to whoever takes mutexes out of order.
#include "base/mutex.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace holdfast::base {
namespace {

TEST(Mutex, LetsOneThreadInAtATime) {
  Mutex mutex(LockRank::kStore);
  int count = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (int j = 0; j < 1000; ++j) {
          MutexLock lock(mutex);
          ++count;
        }
      });
    }
  }
  EXPECT_EQ(count, 8000);
}

TEST(SharedMutex, LetsReadersInTogetherAndWritersAlone) {
  SharedMutex mutex(LockRank::kEngine);
  int value = 0;
  std::atomic<int> inside = 0;
  {
    std::vector<std::jthread> threads;
    // Each reader waits inside for the other: they can only both get there together.
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&] {
        ReaderLock lock(mutex);
        ++inside;
        while (inside < 2) std::this_thread::yield();
        EXPECT_EQ(value, 0);
      });
    }
    threads.emplace_back([&] {
      while (inside < 2) std::this_thread::yield();
      WriterLock lock(mutex);
      value = 1;
    });
  }
  EXPECT_EQ(value, 1);
}

TEST(CondVar, WakesWhoWaits) {
  Mutex mutex(LockRank::kWait);
  CondVar changed;
  bool ready = false;
  std::jthread waker([&] {
    MutexLock lock(mutex);
    ready = true;
    changed.NotifyAll();
  });
  MutexLock lock(mutex);
  while (!ready) changed.Wait(mutex);
  EXPECT_TRUE(ready);
}

TEST(CondVar, GivesUpAtTheDeadline) {
  Mutex mutex(LockRank::kWait);
  CondVar changed;
  SteadyTime deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
  MutexLock lock(mutex);
  while (changed.WaitUntil(mutex, deadline)) {
  }
  EXPECT_GE(std::chrono::steady_clock::now(), deadline);
}

TEST(LockRank, MayBeTakenInRisingOrder) {
  Mutex outer(LockRank::kWorkers);
  Mutex inner(LockRank::kLog);
  for (int i = 0; i < 2; ++i) {
    MutexLock first(outer);
    MutexLock second(inner);
  }
}

#if !defined(NDEBUG) || defined(HOLDFAST_CHECK_RANKS)

TEST(LockRankDeathTest, DiesWhenMutexesAreTakenOutOfOrder) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Mutex outer(LockRank::kStore);
  Mutex inner(LockRank::kEngine);
  EXPECT_DEATH(
      {
        MutexLock second(inner);
        MutexLock first(outer);
      },
      "check failed: held_ranks");
}

TEST(LockRankDeathTest, DiesWhenARankNestsInItself) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Mutex one(LockRank::kStore);
  Mutex other(LockRank::kStore);
  EXPECT_DEATH(
      {
        MutexLock first(one);
        MutexLock second(other);
      },
      "check failed: held_ranks");
}

TEST(LockRankDeathTest, CountsSharedLocksToo) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  SharedMutex rows(LockRank::kEngine);
  Mutex store(LockRank::kStore);
  EXPECT_DEATH(
      {
        ReaderLock reader(rows);
        MutexLock lock(store);
      },
      "check failed: held_ranks");
}

#endif

}  // namespace
}  // namespace holdfast::base
