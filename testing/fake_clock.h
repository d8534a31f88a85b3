// Time that stands still until a test moves it, and chance that can be replayed.
#pragma once

#include <atomic>
#include <random>

#include "base/mutex.h"
#include "holdfast/time.h"

namespace holdfast::testing {

/// Starts at 2026-01-01T00:00:00Z. Threads: any.
class FakeClock : public Clock {
 public:
  Time Wall() const override { return Time(Duration(wall_us_.load())); }
  Duration SinceBoot() const override { return Duration(boot_us_.load()); }
  std::string BootId() const override { return "fake-boot-" + std::to_string(boots_.load()); }

  /// Time passes.
  void Advance(Duration by) {
    wall_us_ += by.count();
    boot_us_ += by.count();
  }
  /// Somebody sets the wall clock; no time passes.
  void JumpWall(Duration by) { wall_us_ += by.count(); }
  /// The machine restarts: time since boot begins anew.
  void Reboot() {
    boot_us_ = 0;
    ++boots_;
  }

 private:
  std::atomic<std::int64_t> wall_us_ = 1'767'225'600'000'000;
  std::atomic<std::int64_t> boot_us_ = 1'000'000'000;
  std::atomic<int> boots_ = 1;
};

/// Threads: any.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t Next() override {
    base::MutexLock lock(mutex_);
    return engine_();
  }

 private:
  base::Mutex mutex_{base::LockRank::kLog};
  std::mt19937_64 engine_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast::testing
