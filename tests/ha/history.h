// What clients of a store saw while it was away and came back.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "holdfast/holdfast.h"

namespace holdfast::drill {

enum class Sort : std::uint8_t { kEnqueue, kComplete, kLock, kIncrement };
inline constexpr std::size_t kSorts = 4;
inline constexpr const char* kSortNames[kSorts] = {"enqueue", "complete", "lock", "increment"};

/// Of one sort of work.
struct Counts {
  std::int64_t acknowledged = 0;
  std::int64_t unavailable = 0;  ///< answers that said so: no effect, tried again
  std::int64_t unknown = 0;      ///< answers that said so: tried again under the same key
  std::int64_t replayed = 0;     ///< tries that found it had been done
};

/// A token that was acknowledged, and between which moments it was issued.
struct Issued {
  Token token = 0;
  SteadyTime sent;
  SteadyTime answered;
};

/// Threads: any.
class History {
 public:
  void Acknowledge(Sort sort, bool was_replayed) {
    base::MutexLock lock(mutex_);
    Counts& counts = counts_[static_cast<std::size_t>(sort)];
    ++counts.acknowledged;
    counts.replayed += was_replayed ? 1 : 0;
    // What had been done is only looked up: it does not show that commits go on.
    if (was_replayed) return;
    successes_[static_cast<std::size_t>(sort)].push_back(std::chrono::steady_clock::now());
  }
  void Refuse(Sort sort, const Error& error) {
    base::MutexLock lock(mutex_);
    Counts& counts = counts_[static_cast<std::size_t>(sort)];
    if (error.code == ErrorCode::kOutcomeUnknown) {
      ++counts.unknown;
    } else if (error.code == ErrorCode::kUnavailable) {
      ++counts.unavailable;
    } else {
      Complain(std::string(InfoOf(error.code).name) + ": " + error.message);
    }
  }
  void Issue(Token token, SteadyTime sent) {
    base::MutexLock lock(mutex_);
    issued_.push_back({token, sent, std::chrono::steady_clock::now()});
  }
  void Enqueued(JobId id) {
    base::MutexLock lock(mutex_);
    if (!enqueued_.insert(id).second) Complain("job " + std::to_string(id) + " was made twice");
  }
  /// Acknowledged, under that token.
  void Completed(JobId id, Token token) {
    base::MutexLock lock(mutex_);
    if (!completed_.try_emplace(id, token).second) {
      Complain("job " + std::to_string(id) + " was completed twice");
    }
  }
  void Note(std::string complaint) {
    base::MutexLock lock(mutex_);
    Complain(std::move(complaint));
  }

  /// How many successes of the sort began to count after that.
  std::size_t CountSince(Sort sort, SteadyTime since) const {
    base::MutexLock lock(mutex_);
    const auto& all = successes_[static_cast<std::size_t>(sort)];
    return static_cast<std::size_t>(all.end() - std::ranges::upper_bound(all, since));
  }
  /// The longest time without a success of the sort, from the last before `since` on.
  Duration LongestGap(Sort sort, SteadyTime since) const {
    base::MutexLock lock(mutex_);
    const auto& all = successes_[static_cast<std::size_t>(sort)];
    Duration longest{};
    for (auto at = std::ranges::upper_bound(all, since); at != all.end(); ++at) {
      if (at == all.begin()) continue;
      longest = std::max(longest, std::chrono::duration_cast<Duration>(*at - *std::prev(at)));
    }
    return longest;
  }

  /// Only when nobody adds to them any more.
  const Counts& counts(Sort sort) const { return counts_[static_cast<std::size_t>(sort)]; }
  const std::set<JobId>& enqueued() const { return enqueued_; }
  const std::map<JobId, Token>& completed() const { return completed_; }
  const std::vector<std::string>& complaints() const { return complaints_; }
  std::vector<Issued>& issued() { return issued_; }

 private:
  void Complain(std::string complaint) { complaints_.push_back(std::move(complaint)); }

  mutable base::Mutex mutex_{base::LockRank::kWait};
  Counts counts_[kSorts];
  std::vector<SteadyTime> successes_[kSorts];
  std::set<JobId> enqueued_;
  std::map<JobId, Token> completed_;
  std::vector<Issued> issued_;
  std::vector<std::string> complaints_;
};

}  // namespace holdfast::drill
