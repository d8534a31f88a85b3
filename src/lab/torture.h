// The attack suite: many threads do to a live store, at the same time, what must not go wrong; what
// they were told is recorded and checked, and so is what is there afterwards.
//
// It touches nothing but what it makes: kinds whose names begin with "torture-", and records, jobs,
// queues and locks whose names begin with "torture-" and the number of the run.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "history/check.h"
#include "history/history.h"
#include "holdfast/store.h"

namespace holdfast::lab {

struct TortureOptions {
  std::vector<std::string> scenarios{};  ///< empty: all of them
  int threads = 50;                      ///< where a scenario does not say itself how many
  /// At most so many calls of one sort in each scenario. Nothing: as many as it is made for.
  std::optional<std::int64_t> operations{};
  Duration duration = std::chrono::seconds(60);  ///< a scenario that takes longer has failed
  Duration combined = std::chrono::seconds(5);   ///< how long `combined` goes on
  std::uint64_t seed = 0;
  /// A kind whose rules are attacked: records of this kind are made. `example` is what their data
  /// begins with; empty: what its rules have as their example, or else one is made up.
  std::string kind{};
  std::string example{};
  /// Called now and then, on the thread of RunTorture: the scenario and its calls so far.
  std::function<void(std::string_view scenario, std::int64_t calls)> on_progress{};
};

struct ScenarioReport {
  std::string name;
  std::string title;
  std::int64_t calls = 0;
  std::int64_t succeeded = 0;
  std::map<ErrorCode, std::int64_t> refused{};
  double seconds = 0;
  // Of a call, in microseconds.
  double p50 = 0;
  double p95 = 0;
  double p99 = 0;
  history::Checked checked{};  ///< of the history: its violations are among those below
  std::vector<history::Violation> violations{};

  /// Calls that lost to another one and may be tried again, or again with what is there now.
  std::int64_t Conflicts() const;
  bool Held() const { return violations.empty(); }
};

struct TortureReport {
  std::vector<ScenarioReport> scenarios;
  history::History history;
  /// What could not be removed afterwards, and why; empty: everything was.
  std::vector<std::string> left_behind;

  bool Held() const;
};

/// "claim-one", "one job, many threads: one has it", and how many.
struct ScenarioInfo {
  std::string_view name;
  std::string_view title;
};
/// Those that are run unless some are named, in their order.
std::vector<ScenarioInfo> ListScenarios();

/// Blocks until it is done. Errors: invalid_argument (no such scenario; rules that cannot be
/// attacked), not_found (the kind), and those of a store that cannot be used at all.
Result<TortureReport> RunTorture(Store& store, const TortureOptions& options);

}  // namespace holdfast::lab
