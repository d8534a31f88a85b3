// The operating system's clock and random numbers.
#include <time.h>

#include <fstream>
#include <random>

#include "base/mutex.h"
#include "holdfast/time.h"

namespace holdfast {
namespace {

class SystemClock final : public Clock {
 public:
  Time Wall() const override {
    return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
  }

  // CLOCK_BOOTTIME rather than CLOCK_MONOTONIC: a lease also runs out while the machine sleeps.
  Duration SinceBoot() const override {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return std::chrono::duration_cast<Duration>(std::chrono::seconds(now.tv_sec) +
                                                std::chrono::nanoseconds(now.tv_nsec));
  }

  std::string BootId() const override {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string id;
    std::getline(file, id);
    return id;
  }
};

class SystemRandom final : public Random {
 public:
  std::uint64_t Next() override {
    base::MutexLock lock(mutex_);
    return engine_();
  }

 private:
  base::Mutex mutex_{base::LockRank::kLog};
  std::mt19937_64 engine_ HF_GUARDED_BY(mutex_){
      (static_cast<std::uint64_t>(std::random_device{}()) << 32) | std::random_device{}()};
};

}  // namespace

const Clock& Clock::System() {
  static const SystemClock clock;
  return clock;
}

Random& Random::System() {
  static SystemRandom random;
  return random;
}

}  // namespace holdfast
