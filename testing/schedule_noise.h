// Threads that are slow where it matters: wherever one locks, unlocks, waits or wakes another, it
// may let the others go first. It finds orders of events that a machine at rest does not produce.
#pragma once

#include <cstdint>

namespace holdfast::testing {

/// For as long as it lives, in checked builds (base::kHasNoise). The seed decides what each thread
/// does at its how-manieth meeting; what comes of it is up to the machine. One at a time. No test
/// is right because of it: it changes when things happen, and not what.
class ScheduleNoise {
 public:
  explicit ScheduleNoise(std::uint64_t seed);
  ~ScheduleNoise();
  ScheduleNoise(const ScheduleNoise&) = delete;
  ScheduleNoise& operator=(const ScheduleNoise&) = delete;

  /// How often threads let others go first: noise that nobody hears tests nothing.
  std::int64_t disturbances() const;
};

}  // namespace holdfast::testing
