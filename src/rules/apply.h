// The semantics of every write: pure functions over rows. No I/O, no clock, no threads, no JSON.
//
// Rule ids in comments are those of the design; the test that pins a rule carries its id.
#pragma once

#include <algorithm>
#include <string_view>

#include "holdfast/error.h"
#include "rules/limits.h"
#include "rules/rows.h"

namespace holdfast::rules {

/// A time in which the store served no renewals. A lease that ran out in it says nothing of its
/// worker, so it does not count towards a poison pill (JOB-6). Nothing covers no time.
struct Stall {
  Time from = Time::max();
  Time until = Time::min();

  /// Between two looks at the clock: nothing, if they are as near as they should be. A holder gives
  /// its lease up before the lease ends, so what runs out soon afterwards is part of it: as long
  /// again as the store was away.
  static Stall Between(Time alive, Time now) {
    if (now - alive <= kStallMin) return {};
    return {.from = alive, .until = now + (now - alive)};
  }
  bool IsEmpty() const { return until < from; }
  bool Covers(Time time) const { return from <= time && time <= until; }
  void Add(const Stall& other) {
    from = std::min(from, other.from);
    until = std::max(until, other.until);
  }
};

/// When, by whom, and how long the call waited for its turn: for the rows and the audit trail.
struct Origin {
  Time now;
  std::string_view actor;
  std::string_view correlation_id;
  Duration lock_wait{};
  Duration ahead{};  ///< of the wall clock, if the engine's differs from it: see EngineClock
  Stall stall{};     ///< of maintenance
};

/// Checks every guard, then does every operation. On an error, whose detail names the guard or
/// operation, the rows are to be thrown away (or undone).
Result<void> Apply(Rows& rows, const Batch& batch, const Origin& origin);

/// Takes one pending job (JOB-2, JOB-4). False: it cannot be claimed, and nothing changed.
bool ClaimOne(Rows& rows, JobRow* row, std::string_view worker, Duration lease,
              const Origin& origin);

/// Claims the candidates in their order, as far as limits and the bound of an answer allow, and
/// notes the outcomes.
void ClaimAll(Rows& rows, const std::vector<JobId>& candidates, const ClaimRequest& request,
              const Origin& origin);

/// How many more jobs the queue lets run, were they there (JOB-11).
std::int64_t RoomOf(const Queue& queue);

/// How many of its jobs may be claimed.
std::int64_t ClaimableOf(const Queue& queue);

/// The job is due: its lease ran out without a report (JOB-6), and then it is true; or it was
/// scheduled for now.
bool EndDue(Rows& rows, JobRow& row, const Origin& origin);

/// Ends the timed statuses and pending transfers among the rows whose time is up: how many.
std::int64_t LapseDue(Rows& rows, const Origin& origin);

/// Ends the leases of locks that ran out, among the locks that were loaded, and gives the locks to
/// those who are next.
void SettleLocks(Rows& rows, const Origin& origin);

/// Whether the batch may have changed live rows when an operation of it is refused: one operation
/// on a job checks everything before it changes anything.
bool NeedsUndo(const Batch& batch);

/// Finished jobs of this state that finished before this instant are to be pruned (JOB-13).
Time PruneBefore(const Queue& queue, JobState state, Time now);

/// How long a failed attempt waits for the next (JOB-7). The jitter is drawn from the token, so
/// that the same commit gives the same delay on every engine and in every replay.
Duration RetryDelayOf(const Job& job);

/// Same key, other batch (IDEM-1).
Result<void> CheckFingerprint(std::string_view key, std::string_view stored,
                              std::string_view given);

/// Whether the batch takes or renews leases, and does nothing else (IDEM-1).
bool TakesOnlyLeases(const Batch& batch);

/// Before such a batch, whose rows are loaded, is answered with the stored receipt: whether each
/// lease in it is still held. Errors: fenced, whose detail names the operation.
Result<void> CheckReplay(Rows& rows, const Batch& batch, const Receipt& receipt,
                         const Origin& origin);

/// Whether a job may go from one state to the other (JOB-1).
bool CanMove(JobState from, JobState to);

}  // namespace holdfast::rules
