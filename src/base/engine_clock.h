// The clock by which an engine judges leases (TIME-1).
#pragma once

#include <string>

#include "base/mutant.h"
#include "holdfast/time.h"

namespace holdfast::base {

/// Where an engine's time was tied to the wall clock. Kept with the data, so that every process on
/// this machine, now and after a restart of the process, has the same time.
struct ClockAnchor {
  Time wall;
  Duration since_boot{};
  std::string boot_id;
};

/// Wall time as of the anchor, plus the time that has really passed since. A wall clock that jumps,
/// here or at a client, therefore neither ends a lease early nor extends it.
class EngineClock {
 public:
  EngineClock(const Clock& clock, ClockAnchor anchor) : clock_(clock), anchor_(std::move(anchor)) {}

  Time Now() const {
    if (HF_MUTANT(leases_by_wall_clock)) return clock_.Wall();
    return anchor_.wall + (clock_.SinceBoot() - anchor_.since_boot);
  }

  /// By how much this time is ahead of the wall clock (behind: negative), if they differ by more
  /// than a clock that is kept in order does; otherwise zero. The anchor was made while the wall
  /// clock was wrong, or the wall clock is wrong now.
  Duration Ahead() const {
    const Duration ahead = Now() - clock_.Wall();
    return ahead > kTolerance || ahead < -kTolerance ? ahead : Duration::zero();
  }

  SteadyTime Steady() const { return clock_.Steady(); }

  /// Ties to the present.
  static ClockAnchor Anchor(const Clock& clock) {
    return {.wall = clock.Wall(), .since_boot = clock.SinceBoot(), .boot_id = clock.BootId()};
  }

 private:
  static constexpr Duration kTolerance = std::chrono::minutes(1);

  const Clock& clock_;
  const ClockAnchor anchor_;
};

}  // namespace holdfast::base
