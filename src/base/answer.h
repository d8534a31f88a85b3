// How a blocking call waits for a completion that runs on another thread, or has already run.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "base/mutex.h"

namespace holdfast::base {

/// One value, set once and taken once. Shared by the two threads, so that the setter may still be
/// waking the taker when the taker is long gone.
///
/// Not std::atomic::wait: it yields several times before it sleeps, which costs 64 waiting threads
/// on two cores a tenth of the machine.
template <typename T>
class Answer {
 public:
  void Set(T value) {
    {
      MutexLock lock(mutex_);
      value_ = std::move(value);
    }
    is_set_.NotifyOne();
  }

  T Take() {
    MutexLock lock(mutex_);
    while (!value_) is_set_.Wait(mutex_);
    return *std::move(value_);
  }

 private:
  Mutex mutex_{LockRank::kWait};
  CondVar is_set_;
  std::optional<T> value_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast::base
