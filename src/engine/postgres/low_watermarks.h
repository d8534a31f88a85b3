// Where claims begin to look for jobs that are ready. A snapshot that somebody holds open keeps the
// index entries of every job that was claimed since; without this every claim walks over them all.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "holdfast/job.h"
#include "holdfast/time.h"
#include "rules/limits.h"

namespace holdfast::engine::postgres {

/// Below a mark this node knows of nothing that is ready. It lowers the mark when it makes such a
/// job ready itself. What another node makes ready below it is found by a sweep, a claim that looks
/// from the beginning: once a second, and whenever a claim finds nothing; if sweeps have become
/// slow, only if the counts say that there is something. A claim may therefore pass such a job over
/// for a while in favour of later ones, but it does not take a queue for empty. Threads: any.
class LowWatermarks {
 public:
  /// The least key that may be ready, in the order of claims within a priority.
  struct Mark {
    Time run_at;
    JobId id = 0;
    auto operator<=>(const Mark&) const = default;
  };
  /// By priority; nothing: from the beginning.
  using Marks = std::array<std::optional<Mark>, rules::kLowestPriority + 1>;

  struct View {
    std::string queue;
    Marks marks;
    bool is_sweep = false;
    std::int64_t generation = 0;
  };

  /// Where a claim shall begin.
  View Look(const std::string& queue, SteadyTime now);
  /// Those of all queues that were ever looked at.
  std::vector<View> LookAtAll(SteadyTime now);
  /// A view from the beginning.
  View Sweep(const std::string& queue);
  /// Whether a claim that found nothing may sweep without a reason.
  bool IsSweepCheap(const std::string& queue, SteadyTime now);

  /// A claim under the view found `first` before all others of the queue, or nothing; `now` is the
  /// time of the database. Marks rise to it, unless a job was made ready since.
  void Raise(const View& view, const Job* first, Time now, SteadyTime began, SteadyTime ended);
  /// The jobs are ready, and everybody can see it `now`: marks above them are lowered.
  void Lower(const std::vector<const Job*>& ready, Time now);

 private:
  struct OfQueue {
    Marks marks;
    std::int64_t generation = 0;  // counts when a claim under way may have missed a job
    SteadyTime sweep_at;          // the next one
    SteadyTime sweep_again_at;    // not before, for a claim that found nothing
  };

  static View ViewOf(const std::string& queue, const OfQueue& known, SteadyTime now);

  base::Mutex mutex_{base::LockRank::kEngineLeaf};
  std::map<std::string, OfQueue> queues_ HF_GUARDED_BY(mutex_);
};

/// The same for leases that may run out: the least token of a job that runs, as far as this node
/// knows. A transaction that drew its stamp before others may commit after them, so every so often
/// maintenance looks at all that run. Threads: any.
class RunningMark {
 public:
  /// The token from which on to look.
  Token Look(SteadyTime now);
  /// `least` is the least token of the jobs that run from `from` on, or nothing.
  void Raise(Token from, std::optional<Token> least, SteadyTime began, SteadyTime ended);

 private:
  base::Mutex mutex_{base::LockRank::kEngineLeaf};
  Token mark_ HF_GUARDED_BY(mutex_) = 0;
  SteadyTime sweep_at_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast::engine::postgres
