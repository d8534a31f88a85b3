// What torture does: one function a scenario, and the table of them all.
#pragma once

#include <string_view>

#include "lab/arena.h"

namespace holdfast::lab {

/// Attacks, and tells the arena what does not hold. Errors: the store cannot be used; what is found
/// by then is reported all the same.
using RunScenario = Result<void> (*)(Arena& arena);

struct Scenario {
  std::string_view name;
  std::string_view title;
  RunScenario run;
};

// jobs
Result<void> AttackOneJob(Arena& arena);
Result<void> AttackManyJobs(Arena& arena);
// JSON fields and counters
Result<void> AttackIncrements(Arena& arena);
Result<void> AttackAppends(Arena& arena);
Result<void> AttackCappedAppends(Arena& arena);
Result<void> AttackMerges(Arena& arena);
Result<void> AttackCounters(Arena& arena);
Result<void> AttackVersions(Arena& arena);
Result<void> AttackIdempotency(Arena& arena);
// workflows
Result<void> AttackAutoclose(Arena& arena);
Result<void> AttackChildren(Arena& arena);
Result<void> AttackEscalations(Arena& arena);
// locks
Result<void> AttackLock(Arena& arena);
Result<void> AttackSemaphore(Arena& arena);
Result<void> AttackLockPairs(Arena& arena);
Result<void> AttackStaleHolder(Arena& arena);
Result<void> AttackNextFree(Arena& arena);
// places and money
Result<void> AttackApplications(Arena& arena);
Result<void> AttackPlaces(Arena& arena);
Result<void> AttackApprovals(Arena& arena);
Result<void> AttackPayments(Arena& arena);
Result<void> AttackLastItem(Arena& arena);
Result<void> AttackSeat(Arena& arena);
Result<void> AttackTransfers(Arena& arena);
// everything at once
Result<void> AttackCombined(Arena& arena);

/// What the rules of TortureOptions::kind declare, attacked: transitions, bounds, unique keys,
/// capacity, transfers. Errors: invalid_argument (nothing in them can be attacked, or no data that
/// they allow could be made up).
Result<std::vector<Scenario>> ScenariosOfKind(Store& store, const TortureOptions& options);

}  // namespace holdfast::lab
