// What bench records does over and over: commits of one sort, and the invariant that must hold
// after so many of them.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/store.h"

namespace holdfast::cli {

/// Threads: Next and Committed from any, each with a number of its own; the rest from one.
class Scenario {
 public:
  virtual ~Scenario() = default;
  virtual std::string_view name() const = 0;  ///< "hot"
  virtual std::string_view title() const = 0;
  /// Declares the kinds and makes the records, all of them this run's own.
  virtual Result<void> Prepare(Store& store) = 0;
  /// What this thread commits next.
  virtual Batch Next(std::size_t thread) = 0;
  /// The batch of this thread was acknowledged.
  virtual void Committed(std::size_t thread) { (void)thread; }
  /// Whether the store holds exactly what was acknowledged. Errors: internal.
  virtual Result<void> Check(Store& store, std::int64_t commits) = 0;
  /// Removes what Prepare and the commits have left behind.
  virtual Result<void> CleanUp(Store& store) = 0;
};

/// hot, spread, transfer, transition and mixed.
std::vector<std::unique_ptr<Scenario>> MakeScenarios(std::size_t threads);

/// The records over which spread, transfer and mixed are spread.
inline constexpr std::int64_t kSpreadRecords = 10'000;
/// What each account begins with.
inline constexpr std::int64_t kBenchBalance = 1'000'000;

}  // namespace holdfast::cli
