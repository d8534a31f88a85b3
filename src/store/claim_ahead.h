// How many jobs a worker pool claims before a handler is free for them.
#pragma once

#include <cstddef>
#include <span>

#include "holdfast/job.h"

namespace holdfast::store {

/// A handler that is done sooner than the next claim is answered waits for it. So while handlers
/// are short, a pool claims ahead: what they will begin within 20 ms, and at most 8 MiB of it.
/// Others cannot take those jobs, and a crash delays each by its lease without its having begun.
///
/// A job whose lease ran out may be what ended its worker, and may end this one. What the pool
/// holds then counts as a victim of the same kind, and after three such ends as the cause (JOB-6).
/// So nothing is held behind such a job but what a handler is there for.
///
/// Threads: guarded by its owner.
class ClaimAhead {
 public:
  /// `most`: the bound; 0: nothing is claimed ahead.
  ClaimAhead(std::size_t concurrency, std::size_t most);

  /// A handler was done with a job.
  void OnRun(Duration took);
  /// A claim brought these, at least one. How many to keep, the first; the others should go back:
  /// none behind the last whose lease ran out, and of these as many as there are handlers. The
  /// cause is likely to be among them (what its worker had claimed before it and not done was
  /// running) and should not go back: its expiries would count anew.
  [[nodiscard]] std::size_t OnClaimed(std::span<const Job> jobs);
  /// Of a claimed job an outcome is known, or it was given back.
  void OnEnded(const Job& job);
  /// Jobs that were claimed ahead had to wait for long. Nothing is claimed ahead until handlers
  /// were short again.
  void OnOverdue();

  /// How many jobs to hold beyond those that run.
  std::size_t jobs() const;

 private:
  const std::size_t concurrency_;
  const double most_;
  double run_seconds_;        // of a job, the recent ones weighing most
  double payload_bytes_ = 0;  // of a job, likewise
  std::size_t expired_ = 0;   // jobs held whose lease ran out before
};

}  // namespace holdfast::store
