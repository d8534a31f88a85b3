// What waits for an engine whose threads turn it into transactions: batches, claims, maintenance.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "engine/engine.h"
#include "rules/apply.h"

namespace holdfast::engine {

struct CommitWork {
  std::vector<Batch> batches;
  std::vector<std::string> fingerprints;  // of those with an idempotency key
  CommitDone done;
  std::vector<Result<Receipt>> answers;
};

struct ClaimWork {
  ClaimRequest request;
  ClaimDone done;
  Result<std::vector<Job>> answer;
};

using MaintainDone = std::move_only_function<void(Result<MaintainResult>)>;

struct MaintainWork {
  MaintainRequest request;
  MaintainDone done;
  Result<MaintainResult> answer;
};

/// One call on its way, with the answer once there is one. Confined to one thread at a time.
struct Work {
  Context context;
  SteadyTime called;
  std::size_t size = 1;      // operations, roughly: groups are bounded by it
  bool is_answered = false;  // refused before it was tried
  std::variant<CommitWork, ClaimWork, MaintainWork> what;

  static Work Of(const Context& context, SteadyTime called, std::vector<Batch> batches,
                 CommitDone done);
  static Work Of(const Context& context, SteadyTime called, ClaimRequest request, ClaimDone done);
  static Work Of(const Context& context, SteadyTime called, MaintainRequest request,
                 MaintainDone done);

  /// Unless it was already refused for a reason of its own.
  void Refuse(const Error& error);
  /// Runs its completion. Once.
  void Answer();
};

/// When, by whom, and how long it has waited.
rules::Origin OriginOf(const Context& context, SteadyTime called, SteadyTime steady, Time now);

}  // namespace holdfast::engine
