// What the library counts and measures. Like logging, it only hands figures to a sink.
#pragma once

#include <cstdint>
#include <string_view>

#include "holdfast/time.h"

namespace holdfast {

enum class Counter : std::uint8_t {
  kJobsEnqueued,   ///< by queue
  kJobsClaimed,    ///< by queue
  kJobsCompleted,  ///< by queue
  kJobsFailed,     ///< by queue: became a dead letter
  kJobsRetried,    ///< by queue: an attempt failed, another will follow
  kJobsReleased,   ///< by queue: given back or snoozed
  kJobsCancelled,  ///< by queue
  kLeasesExpired,  ///< by queue
  kRefusals,       ///< by error code
  kClaimsEmpty,    ///< claims that found nothing
  kCommits,        ///< batches committed
  kLocksAcquired,  ///< by mode
  kLocksWaited,    ///< by mode: acquires that found the lock taken and waited in line
  kLocksRefused,   ///< by error code: acquires that failed
  kLocksReleased,  ///< by mode
  kLocksExpired,   ///< by mode: leases that ran out without a release
  kLocksBroken,    ///< by mode
};
inline constexpr std::size_t kCounterCount = 17;

enum class Histogram : std::uint8_t {
  kCommitSeconds,    ///< from the call until durable
  kJobWaitSeconds,   ///< from due until claimed
  kJobRunSeconds,    ///< from claimed until finished
  kLockWaitSeconds,  ///< from asked for until granted
  kLockHoldSeconds,  ///< from granted until released, expired or broken
};
inline constexpr std::size_t kHistogramCount = 5;

/// Where figures go. Threads: any, never under a lock. Must be quick: it is on the hot path.
class MetricSink {
 public:
  virtual ~MetricSink() = default;
  virtual void Add(Counter counter, std::string_view label, std::int64_t amount) = 0;
  virtual void Observe(Histogram histogram, Duration value) = 0;
};

}  // namespace holdfast
