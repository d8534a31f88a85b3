// Takes the place of an engine's thread in a simulation, where one thread decides what happens
// when.
#pragma once

#include <functional>

namespace holdfast::engine {

class Driver {
 public:
  virtual ~Driver() = default;

  /// Work was submitted, on the calling thread. `run`, called on this thread, now or later, does
  /// all that waits by then as one group and answers it.
  virtual void OnSubmit(const std::function<void()>& run) = 0;
};

}  // namespace holdfast::engine
