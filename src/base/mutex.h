// Mutexes that the compiler and the tests can check.
//
// clang's thread-safety analysis proves that guarded members are used under their mutex. Ranks
// prove that mutexes are taken in one order: in checked builds, taking a mutex whose rank is not
// above every rank already held aborts.
#pragma once

#include <condition_variable>
#include <mutex>
#include <shared_mutex>

#include "base/check.h"
#include "holdfast/time.h"

#if defined(__clang__)
#define HF_TSA(x) __attribute__((x))
#else
#define HF_TSA(x)
#endif

#define HF_CAPABILITY(name) HF_TSA(capability(name))
#define HF_SCOPED_CAPABILITY HF_TSA(scoped_lockable)
#define HF_GUARDED_BY(mutex) HF_TSA(guarded_by(mutex))
#define HF_PT_GUARDED_BY(mutex) HF_TSA(pt_guarded_by(mutex))
#define HF_REQUIRES(...) HF_TSA(requires_capability(__VA_ARGS__))
#define HF_REQUIRES_SHARED(...) HF_TSA(requires_shared_capability(__VA_ARGS__))
#define HF_EXCLUDES(...) HF_TSA(locks_excluded(__VA_ARGS__))
#define HF_ACQUIRE(...) HF_TSA(acquire_capability(__VA_ARGS__))
#define HF_ACQUIRE_SHARED(...) HF_TSA(acquire_shared_capability(__VA_ARGS__))
#define HF_RELEASE(...) HF_TSA(release_capability(__VA_ARGS__))
#define HF_RELEASE_GENERIC(...) HF_TSA(release_generic_capability(__VA_ARGS__))
#define HF_RETURN_CAPABILITY(x) HF_TSA(lock_returned(x))
#define HF_NO_TSA HF_TSA(no_thread_safety_analysis)

namespace holdfast::base {

/// In which order mutexes are taken: smaller first. One rank never nests in itself.
enum class LockRank : int {
  kWorkers = 10,     // WorkerPool
  kStore = 20,       // Store: parked claims, refusals
  kServer = 30,      // net: sessions
  kEngine = 40,      // engines: the writer's queue, the memory engine's rows
  kEngineLeaf = 50,  // engines: the pool of readers
  kWait = 60,        // a thread waiting for its answer
  kMetrics = 80,
  kLog = 90,
};

#if !defined(NDEBUG) || defined(HOLDFAST_CHECK_RANKS)
constexpr bool kHasNoise = true;
void PushRank(LockRank rank);
void PopRank(LockRank rank);
/// Runs wherever threads can meet, until it is set anew: so a test can disturb their order
/// (testing/schedule_noise.h). Nothing: none.
void SetNoise(void (*noise)());
void MakeNoise();
#else
constexpr bool kHasNoise = false;
inline void PushRank(LockRank) {}
inline void PopRank(LockRank) {}
inline void SetNoise(void (*)()) {}
inline void MakeNoise() {}
#endif

class HF_CAPABILITY("mutex") Mutex {
 public:
  explicit Mutex(LockRank rank) : rank_(rank) {}
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() HF_ACQUIRE() {
    PushRank(rank_);
    MakeNoise();
    mutex_.lock();
  }
  // Nothing of the object is touched once it is unlocked: whoever gets it next may destroy it.
  void Unlock() HF_RELEASE() {
    PopRank(rank_);
    MakeNoise();
    mutex_.unlock();
    MakeNoise();
  }

 private:
  friend class CondVar;
  std::mutex mutex_;
  const LockRank rank_;
};

class HF_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) HF_ACQUIRE(mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~MutexLock() HF_RELEASE() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

/// Any number of readers, or one writer.
class HF_CAPABILITY("shared mutex") SharedMutex {
 public:
  explicit SharedMutex(LockRank rank) : rank_(rank) {}
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;

  void Lock() HF_ACQUIRE() {
    PushRank(rank_);
    MakeNoise();
    mutex_.lock();
  }
  void Unlock() HF_RELEASE() {
    PopRank(rank_);
    MakeNoise();
    mutex_.unlock();
    MakeNoise();
  }
  void LockShared() HF_ACQUIRE_SHARED() {
    PushRank(rank_);
    MakeNoise();
    mutex_.lock_shared();
  }
  void UnlockShared() HF_TSA(release_shared_capability()) {
    PopRank(rank_);
    mutex_.unlock_shared();
    MakeNoise();
  }

 private:
  std::shared_mutex mutex_;
  const LockRank rank_;
};

class HF_SCOPED_CAPABILITY WriterLock {
 public:
  explicit WriterLock(SharedMutex& mutex) HF_ACQUIRE(mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~WriterLock() HF_RELEASE() { mutex_.Unlock(); }
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

 private:
  SharedMutex& mutex_;
};

class HF_SCOPED_CAPABILITY ReaderLock {
 public:
  explicit ReaderLock(SharedMutex& mutex) HF_ACQUIRE_SHARED(mutex) : mutex_(mutex) {
    mutex_.LockShared();
  }
  ~ReaderLock() HF_RELEASE_GENERIC() { mutex_.UnlockShared(); }
  ReaderLock(const ReaderLock&) = delete;
  ReaderLock& operator=(const ReaderLock&) = delete;

 private:
  SharedMutex& mutex_;
};

/// Waits for a condition that a Mutex guards. The caller loops: a wait may end for no reason.
class CondVar {
 public:
  void Wait(Mutex& mutex) HF_REQUIRES(mutex) {
    MakeNoise();
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  /// False if `deadline` passed.
  bool WaitUntil(Mutex& mutex, SteadyTime deadline) HF_REQUIRES(mutex) {
    MakeNoise();
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    bool in_time = condition_.wait_until(lock, deadline) == std::cv_status::no_timeout;
    lock.release();
    return in_time;
  }
  void NotifyOne() {
    MakeNoise();
    condition_.notify_one();
  }
  void NotifyAll() {
    MakeNoise();
    condition_.notify_all();
  }

 private:
  std::condition_variable condition_;
};

}  // namespace holdfast::base
