// Whether a store can be relied on, judged by what became of its calls, and the log of what failed.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/mutex.h"
#include "holdfast/error.h"
#include "holdfast/log.h"
#include "holdfast/time.h"

namespace holdfast::store {

/// A failure is an error that is the store's own: unavailable, corrupt, outcome_unknown, internal.
/// The first is logged at once, and those that follow once a minute with their number.
///
/// Threads: any.
class Health {
 public:
  Health(LogSink* log, const Clock& clock) : log_(log), clock_(clock) {}

  void ReadFailed(const Error& error);
  void WriteFailed(const Error& error);
  /// A write has become durable.
  void WriteSucceeded();

  /// The latest write failed.
  bool IsFailing() const { return is_failing_.load(std::memory_order_relaxed); }

  /// Nothing while writes succeed. Otherwise the error of the latest write; or that of a read which
  /// met corruption, which no write takes back.
  Result<void> Check() const;

 private:
  /// Failures of one sort, of which one a minute is logged.
  struct Failures {
    std::string_view call;
    std::int64_t number = 0;  // since the last that was logged
    std::optional<SteadyTime> logged;
  };

  void Report(Failures Health::*of, const Error& error);

  LogSink* const log_;
  const Clock& clock_;
  std::atomic<bool> is_failing_ = false;

  mutable base::Mutex mutex_{base::LockRank::kMetrics};
  Failures reads_ HF_GUARDED_BY(mutex_){.call = "read", .logged = {}};
  Failures writes_ HF_GUARDED_BY(mutex_){.call = "write", .logged = {}};
  std::optional<Error> failed_write_ HF_GUARDED_BY(mutex_);
  std::optional<Error> corrupt_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast::store
