#include "testing/schedule_noise.h"

#include <atomic>
#include <random>
#include <thread>

#include "base/check.h"
#include "base/mutex.h"

namespace holdfast::testing {
namespace {

std::atomic<std::uint64_t> noise_seed = 0;  // 0: there is none
std::atomic<std::uint64_t> noisy_threads = 0;
std::atomic<std::int64_t> noise_disturbances = 0;

/// What a thread is like for a while. As in PCT (Burckhardt and others, 2010) a few changes of who
/// is slow find more than much that is random everywhere.
class Temper {
 public:
  void Meet() {
    const std::uint64_t seed = noise_seed.load(std::memory_order_relaxed);
    if (seed == 0) return;
    if (seed != seed_) {
      seed_ = seed;
      random_.seed(seed + 0x9e3779b97f4a7c15 * ++noisy_threads);
      left_ = 0;
    }
    if (left_-- == 0) {
      left_ = static_cast<int>(random_() % 48);
      mood_ = random_() % 8;
    }
    if (mood_ < 4) return;  // quick
    const auto chance = random_() % 16;
    if (mood_ == 7 && chance < 4) {
      Pause(std::chrono::microseconds(random_() % 300));
    } else if (chance < 6) {
      Pause({});
    }
  }

 private:
  static void Pause(std::chrono::microseconds time) {
    noise_disturbances.fetch_add(1, std::memory_order_relaxed);
    if (time.count() == 0) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(time);
    }
  }

  std::uint64_t seed_ = 0;
  std::minstd_rand random_;
  int left_ = 0;
  std::uint64_t mood_ = 0;
};

void Disturb() {
  thread_local Temper temper;
  temper.Meet();
}

}  // namespace

ScheduleNoise::ScheduleNoise(std::uint64_t seed) {
  HF_CHECK(noise_seed == 0);
  noisy_threads = 0;
  noise_disturbances = 0;
  noise_seed = seed | 1;
  base::SetNoise(Disturb);
}

ScheduleNoise::~ScheduleNoise() {
  base::SetNoise(nullptr);
  noise_seed = 0;
}

std::int64_t ScheduleNoise::disturbances() const {
  return noise_disturbances;
}

}  // namespace holdfast::testing
