// Instants, durations and the two sources of the outside world that tests replace: time and chance.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace holdfast {

/// Every duration in this library has microsecond resolution.
using Duration = std::chrono::microseconds;

/// A point of wall-clock time (UTC), to the microsecond. Stored and sent in this resolution.
using Time = std::chrono::sys_time<Duration>;

/// A point of a clock that never jumps. Deadlines inside one process are of this kind.
using SteadyTime = std::chrono::steady_clock::time_point;

/// Where time comes from. Injected, so that tests move time instead of sleeping.
///
/// Threads: every method may be called from any thread.
class Clock {
 public:
  virtual ~Clock() = default;

  /// The wall clock, which may jump in either direction. Read once, when a store is opened.
  virtual Time Wall() const = 0;

  /// Time since the machine started, suspended time included. Never jumps, and is the same for
  /// every process on the machine: leases are judged by it.
  virtual Duration SinceBoot() const = 0;

  /// Differs after every start of the machine, so that a stored SinceBoot() can be told stale.
  virtual std::string BootId() const = 0;

  /// The clock of deadlines and of measured durations inside this process: never goes back. Does
  /// not block. Threads: any.
  virtual SteadyTime Steady() const { return std::chrono::steady_clock::now(); }

  /// The clock of the operating system. Lives for ever.
  static const Clock& System();
};

/// Where chance comes from (jitter). Injected, so that a test can replay its seed.
///
/// Threads: every method may be called from any thread.
class Random {
 public:
  virtual ~Random() = default;

  /// A uniformly distributed 64-bit number.
  virtual std::uint64_t Next() = 0;

  /// A generator seeded by the operating system. Lives for ever.
  static Random& System();
};

}  // namespace holdfast
