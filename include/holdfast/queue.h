// Queues: their settings, and what is in them.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "holdfast/job.h"

namespace holdfast {

/// A queue comes to be with its first job or its first setting. All of this survives a restart.
struct Queue {
  std::string name{};
  bool paused = false;  ///< nothing is claimed from it
  std::optional<std::int64_t>
      max_pending;  ///< jobs waiting (scheduled + pending); nothing: no bound
  std::optional<std::int64_t> max_running{};  ///< jobs processing, across all nodes
  bool audit = false;                         ///< claims and finishes leave audit entries, too
  Duration retain_completed = std::chrono::hours(24);   ///< completed and cancelled jobs
  Duration retain_failed = std::chrono::hours(24 * 7);  ///< dead letters
  std::array<std::int64_t, kJobStateCount> counts{};    ///< exact, by JobState
  std::optional<Time> oldest_pending_at{};  ///< the due time of the oldest pending job; reads only

  std::int64_t CountOf(JobState state) const { return counts[static_cast<std::size_t>(state)]; }
  std::int64_t& CountOf(JobState state) { return counts[static_cast<std::size_t>(state)]; }
  std::int64_t Waiting() const {
    return CountOf(JobState::kScheduled) + CountOf(JobState::kPending);
  }

  bool operator==(const Queue&) const = default;
};

/// Which queues to list, in the order of their names.
struct QueueFilter {
  int limit = 1000;    ///< 1-1,000
  std::string cursor;  ///< the next_cursor of the page before; empty: from the beginning
};

struct QueuePage {
  std::vector<Queue> items;
  std::string next_cursor;  ///< empty: this was the last page
};

/// What is in all queues together.
struct QueueTotals {
  std::array<std::int64_t, kJobStateCount> counts{};  ///< by JobState
  std::int64_t queues = 0;
};

}  // namespace holdfast
