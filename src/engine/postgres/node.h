// What the connections of one process share: how it is known to the others, its clock, and the
// numbers it gives out.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/engine_clock.h"
#include "base/mutex.h"
#include "engine/postgres/connection.h"
#include "engine/postgres/low_watermarks.h"

namespace holdfast::engine::postgres {

/// Consecutive numbers, from one of the ranges that a sequence hands out: taken by one transaction
/// at a time. Numbers that it does not use go back, so that there are no gaps as long as one node
/// is alone. Threads: any.
class IdPool {
 public:
  struct Range {
    std::int64_t last = 0;  // the last number that is used up
    std::int64_t end = 0;   // the last that may be used
    std::string server;     // Connection::server of where it was drawn
  };

  IdPool(const Settings& settings, std::string_view sequence);

  /// A range, new if there is none with `count` numbers left. Blocks for a round trip then. What
  /// was drawn from another server, or in an earlier life of this one, is left alone: if no commit
  /// made it durable, the sequence gives it to somebody else. Errors: invalid_argument (more than a
  /// range holds).
  Result<Range> Take(Connection& connection, std::int64_t count);
  void GiveBack(Range range);

 private:
  const Sql next_;
  base::Mutex mutex_{base::LockRank::kEngineLeaf};
  std::vector<Range> ranges_ HF_GUARDED_BY(mutex_);
};

struct Node {
  Node(const Settings& settings, std::optional<base::EngineClock> test_clock);

  const Settings settings;
  const std::int64_t session;  // by which other nodes know the waiters of this one
  /// Nothing: the clock of the database, which is the same for all nodes.
  const std::optional<base::EngineClock> test_clock;
  IdPool job_ids;
  IdPool record_ids;
  IdPool transfer_ids;
  LowWatermarks low_watermarks;
  RunningMark running_mark;
  std::atomic<int> slots_left = 0;  // of queue_counts, since maintenance last folded them
};

}  // namespace holdfast::engine::postgres
