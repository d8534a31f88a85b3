// How programs that stay around end: SIGTERM, SIGINT or SIGHUP once means gracefully, twice means
// at once.
#pragma once

#include <functional>
#include <optional>

#include "holdfast/time.h"

namespace holdfast::cli {

/// Made before any thread is, so that every thread leaves these signals to this object. SIGPIPE is
/// ignored from then on: a reader that went away is an error of write, not the end of the program.
///
/// Threads: one.
class StopSignals {
 public:
  /// SIGHUP stays ignored if it was (nohup).
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// The next signal, or nothing when `timeout` has passed. Without a timeout, waits for ever.
  std::optional<int> Wait(std::optional<Duration> timeout = {});

  /// Runs `graceful`. If another signal comes while it runs, calls `at_once`, which must make it
  /// return soon. Until then it calls `tick` every second. The answer: the signal that cut it
  /// short, if one did.
  std::optional<int> Finish(const std::function<void()>& graceful,
                            const std::function<void()>& at_once,
                            const std::function<void()>& tick = {});

  /// Readable when there is a signal to Wait for.
  int fd() const { return fd_; }

 private:
  std::optional<int> WaitFor(int timeout_ms, int wake_fd);
  int fd_ = -1;
};

}  // namespace holdfast::cli
