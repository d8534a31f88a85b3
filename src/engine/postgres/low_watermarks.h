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

/// A *mark* says of a queue and a priority that this node knows of nothing ready below it. Claims
/// look from the marks on. The node lowers a mark when it makes such a job ready itself. What
/// another node makes ready below it is found by a *sweep*: a claim that looks from the beginning,
/// once a second and when a claim finds nothing. If sweeps are slow, the latter at most once a
/// second. A claim may therefore pass such a job over for a second.
///
/// Only queues in which claims find jobs, or in which a look from the beginning is slow, have
/// marks: at most kMarkedQueues, those that were claimed from last. For other queues nothing is
/// kept; claims look at them from the beginning. Threads: any.
class LowWatermarks {
 public:
  static constexpr std::size_t kMarkedQueues = 64;

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
    bool is_sweep = true;
    std::int64_t generation = 0;
  };

  /// Where a claim begins.
  View Look(const std::string& queue, SteadyTime now);
  /// Where it begins in each marked queue, in the order of their names.
  std::vector<View> LookAtAll(SteadyTime now);
  /// After a claim under the view has found nothing: a view from the beginning, unless that is what
  /// it was, or sweeps of this queue are slow and the last one was a moment ago.
  std::optional<View> LookAgain(const View& view, SteadyTime now);

  /// A claim under the view found `first` before all others of the queue, or nothing; `now` is the
  /// time of the database. Marks rise to it, unless a job was made ready since.
  void Raise(const View& view, const Job* first, Time now, SteadyTime began, SteadyTime ended);
  /// The jobs are ready, and everybody can see it `now`: marks above them are lowered.
  void Lower(const std::vector<const Job*>& ready, Time now);

  /// Queues that have marks.
  std::size_t size();

 private:
  struct OfQueue {
    Marks marks;
    std::int64_t generation = 0;  // another when a claim under way may have missed a job
    SteadyTime used_at;
    SteadyTime sweep_at;        // the next one
    SteadyTime sweep_again_at;  // not before, for a claim that found nothing
  };

  static View ViewOf(const std::string& queue, const OfQueue& known, SteadyTime now);
  void Add(const std::string& queue, SteadyTime now) HF_REQUIRES(mutex_);

  base::Mutex mutex_{base::LockRank::kEngineLeaf};
  std::map<std::string, OfQueue> queues_ HF_GUARDED_BY(mutex_);
  std::int64_t last_generation_ HF_GUARDED_BY(mutex_) = 0;
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
