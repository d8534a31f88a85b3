// How a handler in a test does nothing until it is told to end.
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

}  // namespace holdfast::testing
