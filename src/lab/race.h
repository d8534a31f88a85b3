// The race lab: eight races that programs lose, each run on a real store by workers that do the
// naive thing, and by workers that use what the store offers against it (systems.md S15).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/context.h"
#include "holdfast/store.h"

namespace holdfast::lab {

/// What is at stake in a race, and how each side runs it. One line each.
struct RaceInfo {
  std::string_view name;    ///< "lost-update"
  std::string_view stake;   ///< what the workers want
  std::string_view naive;   ///< how the unsafe side goes about it
  std::string_view guard;   ///< what the safe side uses
  std::string_view counts;  ///< what `expected` and `happened` count
  bool in_pairs = false;    ///< workers meet two by two: an odd one does not take part
};

std::vector<RaceInfo> AllRaces();
/// Errors: invalid_argument; the message lists the names.
Result<RaceInfo> FindRace(std::string_view name);

inline constexpr int kRaceThreadsMost = 200;

struct RaceOptions {
  bool is_unsafe = false;
  int threads = 8;  ///< 2 to 200
  /// Of every call; each worker adds its name as the actor and the run's as the correlation id.
  Context context;
  /// Makes leases of the store end that are as long. Nothing: time passes by itself. For tests,
  /// whose clock stands still.
  std::function<void(Duration)> pass_time;
};

/// Something that a worker did or was told, when it did: since the start of the race.
struct RaceStep {
  Duration at{};
  int worker = 0;  ///< from 1
  std::string what;
};

/// What two workers did who had seen the same and were under way at the same time.
struct RacePicture {
  int left = 0;  ///< who saw it first
  int right = 0;
  std::vector<RaceStep> steps;  ///< of both, as they happened
};

struct RaceOutcome {
  RaceInfo info;
  bool is_unsafe = false;
  int threads = 0;  ///< that took part
  std::int64_t expected = 0;
  std::int64_t happened = 0;
  Duration took{};
  /// Unsafe: two who both went through with it. Safe: two of whom one was refused. Nothing: there
  /// were none such.
  std::optional<RacePicture> picture;

  std::int64_t lost() const {
    return happened < expected ? expected - happened : happened - expected;
  }
  bool held() const { return lost() == 0; }
  /// The unsafe side must lose and the safe side must hold.
  bool as_promised() const { return held() != is_unsafe; }
};

/// Runs one side of a race. What it makes in the store has names of this run, and is removed again;
/// the kinds (`race-...`), the queue of double-claim and the audit entries stay. Blocks until the
/// race is over: a second or so, unless the store is slow. Threads: any.
///
/// Errors: invalid_argument (no such race, too few or too many threads), busy (somebody else has
/// been running double-claim on this store for 30 s), those of the store.
Result<RaceOutcome> RunRace(Store& store, std::string_view name, const RaceOptions& options);

}  // namespace holdfast::lab
