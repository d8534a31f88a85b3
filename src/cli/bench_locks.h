// What bench locks does over and over, on any system that has locks, and the systems that
// Holdfast's locks are held against.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/bench.h"
#include "holdfast/job.h"

namespace holdfast::cli {

/// Somebody who takes locks and gives them back, one at a time. Threads: one.
class LockUser {
 public:
  virtual ~LockUser() = default;
  /// Blocks until it is granted. The token; 0 if the system has none.
  virtual Result<Token> Acquire(const std::string& name) = 0;
  virtual Result<void> Release(const std::string& name) = 0;
};

struct LockScenario {
  std::string name;  ///< "contended-8"
  std::string title;
  int owners = 1;
  std::int64_t places = 1;  ///< so many may have the lock at once; above 1 it is shared
  /// Every owner has names of its own, and does not wait.
  bool is_spread = false;
};

/// spread-1, spread, contended-1, contended-8, contended and semaphore; `threads` is how many
/// owners most of them have.
std::vector<LockScenario> LockScenariosOf(int threads);

struct LockFigures {
  std::string scenario;
  std::string system;  ///< "Holdfast", "Redis", "PostgreSQL"
  std::int64_t pairs = 0;
  double seconds = 0;
  Samples pair;      ///< from the acquire being sent until the release was answered
  Samples handover;  ///< from a release being sent until the grant to the next was answered

  double PerSecond() const { return seconds > 0 ? static_cast<double>(pairs) / seconds : 0; }
};

using MakeLockUser = std::function<Result<std::unique_ptr<LockUser>>(int owner)>;

/// Names of this run begin with `prefix`. Errors: those of the users; internal (two who should not
/// had the lock at once, a token did not rise, or the pairs do not add up).
Result<LockFigures> MeasureLocks(const LockScenario& scenario, const std::string& prefix,
                                 const MakeLockUser& make, Duration length);

/// A redis-server of this process's own, which dies with it: every write is in its append-only file
/// on the disk before it is answered.
class RedisServer {
 public:
  virtual ~RedisServer() = default;
  /// "Redis 7.0.15, appendfsync=always".
  virtual const std::string& description() const = 0;
  /// One who takes a lock by SET NX PX, again every millisecond until it is free, and gives it back
  /// by a script that compares and deletes.
  virtual Result<std::unique_ptr<LockUser>> Connect(int owner) = 0;

  /// In `folder`. Errors: invalid_argument (it is not installed), unavailable.
  static Result<std::unique_ptr<RedisServer>> Start(const std::string& folder);
};

/// Advisory locks of PostgreSQL, taken and given back by pgbench, which does not look whether they
/// exclude. Errors: unavailable, internal.
Result<LockFigures> MeasurePostgresLocks(const std::string& url, const std::string& folder,
                                         const LockScenario& scenario, Duration length);

}  // namespace holdfast::cli
