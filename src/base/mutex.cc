#include "base/mutex.h"

#if !defined(NDEBUG) || defined(HOLDFAST_CHECK_RANKS)

#include <algorithm>
#include <atomic>
#include <vector>

namespace holdfast::base {
namespace {
thread_local std::vector<LockRank> held_ranks;
std::atomic<void (*)()> noise_maker = nullptr;
}  // namespace

void PushRank(LockRank rank) {
  HF_CHECK(held_ranks.empty() || held_ranks.back() < rank);
  held_ranks.push_back(rank);
}

void PopRank(LockRank rank) {
  HF_CHECK(!held_ranks.empty());
  auto last = std::find(held_ranks.rbegin(), held_ranks.rend(), rank);
  HF_CHECK(last != held_ranks.rend());
  held_ranks.erase(std::next(last).base());
}

void SetNoise(void (*noise)()) {
  noise_maker = noise;
}

void MakeNoise() {
  if (auto* noise = noise_maker.load(std::memory_order_relaxed)) noise();
}

}  // namespace holdfast::base

#endif
