// How tests wait: for a stop token to fire, and for what becomes true.
#pragma once

#include <stop_token>

#include "base/mutex.h"

namespace holdfast::testing {

/// Waits until the token fires, at most that long. Whether it has.
inline bool WaitForStop(const std::stop_token& token, Duration timeout = std::chrono::minutes(2)) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + timeout;
  base::Mutex mutex(base::LockRank::kWait);
  base::CondVar changed;
  bool fired = false;
  // Gone before the mutex is: its end waits for a call under way.
  std::stop_callback on_stop(token, [&] {
    base::MutexLock lock(mutex);
    fired = true;
    changed.NotifyAll();
  });
  base::MutexLock lock(mutex);
  while (!fired && changed.WaitUntil(mutex, deadline)) {
  }
  return fired;
}

/// Looks until the condition holds, at most that long. Whether it does. Between two looks it
/// pauses: spinning would take the core from those who bring it about.
template <typename Condition>
[[nodiscard]] bool WaitUntilTrue(Condition condition, Duration timeout = std::chrono::minutes(1)) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + timeout;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    base::Mutex mutex(base::LockRank::kWait);
    base::CondVar nobody;
    base::MutexLock lock(mutex);
    (void)nobody.WaitUntil(mutex, std::chrono::steady_clock::now() + std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace holdfast::testing
