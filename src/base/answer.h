// How a blocking call waits for a completion that runs on another thread, or has already run.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

namespace holdfast::base {

/// One value, set once and taken once. Shared by the two threads, so that the setter may still be
/// waking the taker when the taker is long gone.
template <typename T>
class Answer {
 public:
  void Set(T value) {
    value_ = std::move(value);
    is_set_.store(true, std::memory_order_release);  // pairs with the acquire in Take
    is_set_.notify_one();
  }

  T Take() {
    is_set_.wait(false, std::memory_order_acquire);
    return std::move(*value_);
  }

 private:
  std::optional<T> value_;
  std::atomic<bool> is_set_ = false;
};

}  // namespace holdfast::base
