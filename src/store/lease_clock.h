// The clock by which a holder counts its own leases.
#pragma once

#include <chrono>

#include "base/mutant.h"
#include "holdfast/time.h"

namespace holdfast::store {

struct SinceBoot {};  // names the clock

/// Counts the time that the machine is suspended, as the engine's clock does (CLOCK_BOOTTIME). A
/// steady clock stands still meanwhile, and its holder would believe in a lease that others have
/// been given since.
using LeaseTime = std::chrono::time_point<SinceBoot, Duration>;

inline LeaseTime LeaseNow(const Clock& clock) {
  if (HF_MUTANT(lease_counted_awake)) {
    return LeaseTime(std::chrono::duration_cast<Duration>(clock.Steady().time_since_epoch()));
  }
  return LeaseTime(clock.SinceBoot());
}

}  // namespace holdfast::store
