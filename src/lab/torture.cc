#include "lab/torture.h"

#include <fmt/format.h>

#include <algorithm>

#include "holdfast/version.h"
#include "lab/scenarios.h"

namespace holdfast::lab {
namespace {

constexpr Scenario kScenarios[] = {
    {"claim-one", "one job, claimed and reported by all", AttackOneJob},
    {"claim-all", "10,000 jobs, 16 threads", AttackManyJobs},
    {"increments", "100 increments of one number", AttackIncrements},
    {"appends", "200 appends to one array", AttackAppends},
    {"capped-appends", "150 appends, of which 100 are kept", AttackCappedAppends},
    {"merges", "different keys merged into one record", AttackMerges},
    {"counters", "10 threads, 1,000 increments each", AttackCounters},
    {"versions", "updates of one version, retried", AttackVersions},
    {"idempotency", "every request sent by all", AttackIdempotency},
    {"autoclose", "one job in the field, closed by all", AttackAutoclose},
    {"children", "100 children closed by 10 threads", AttackChildren},
    {"escalations", "100 escalations over 10 tickets", AttackEscalations},
    {"lock", "an unprotected number under one lock", AttackLock},
    {"semaphore", "three places for all", AttackSemaphore},
    {"lock-pairs", "two locks, named crosswise", AttackLockPairs},
    {"stale-holder", "a holder whose time is over", AttackStaleHolder},
    {"next-free", "a free lock for everybody", AttackNextFree},
    {"applications", "everybody applies five times", AttackApplications},
    {"places", "20 applicants, 10 places", AttackPlaces},
    {"approvals", "20 approvals, 10 places", AttackApprovals},
    {"payments", "ten payments at once", AttackPayments},
    {"last-item", "one article, many buyers", AttackLastItem},
    {"seat", "one seat, many guests", AttackSeat},
    {"transfers", "transfers among five accounts", AttackTransfers},
    {"combined", "everything at once, in groups of eight", AttackCombined},
};

bool IsConflict(ErrorCode code) {
  return code == ErrorCode::kVersionMismatch || code == ErrorCode::kBusy ||
         code == ErrorCode::kDeadlock;
}

Result<std::vector<Scenario>> Chosen(Store& store, const TortureOptions& options) {
  std::vector<Scenario> chosen;
  if (options.kind.empty() || !options.scenarios.empty()) {
    for (const Scenario& scenario : kScenarios) {
      const bool is_named =
          std::ranges::find(options.scenarios, scenario.name) != options.scenarios.end();
      if (options.scenarios.empty() || is_named) chosen.push_back(scenario);
    }
  }
  for (const std::string& name : options.scenarios) {
    if (std::ranges::find(chosen, name, &Scenario::name) != chosen.end()) continue;
    return Fail(ErrorCode::kInvalidArgument, fmt::format("there is no scenario {}", name));
  }
  if (options.kind.empty()) return chosen;
  HF_ASSIGN_OR_RETURN(std::vector<Scenario> of_kind, ScenariosOfKind(store, options));
  chosen.insert(chosen.end(), of_kind.begin(), of_kind.end());
  return chosen;
}

class Torture {
 public:
  Torture(Store& store, const TortureOptions& options, history::Source source)
      : store_(store),
        options_(options),
        run_(fmt::format("{:08x}", static_cast<std::uint32_t>(Random::System().Next() >> 32))) {
    report_.history.source = std::move(source);
  }

  Result<void> Run(const Scenario& scenario) {
    Arena arena(store_, options_, run_, recording_, scenario.name);
    Result<void> done = scenario.run(arena);
    if (!done) {
      arena.Violated("the store can be used",
                     fmt::format("{}: {}", InfoOf(done.error().code).name, done.error().message));
    }
    ScenarioReport report = arena.Finish(scenario.title);
    history::History history{.source = report_.history.source, .calls = arena.TakeCalls()};
    history::SortByBeginning(history);
    HF_ASSIGN_OR_RETURN(report.checked, history::CheckHistory(history));
    report.violations.insert(report.violations.end(), report.checked.violations.begin(),
                             report.checked.violations.end());
    std::ranges::move(history.calls, std::back_inserter(report_.history.calls));
    report_.scenarios.push_back(std::move(report));
    arena.CleanUp(report_.left_behind);
    return {};
  }

  TortureReport Take() { return std::move(report_); }

 private:
  Store& store_;
  const TortureOptions& options_;
  const std::string run_;
  history::Recording recording_;
  TortureReport report_;
};

}  // namespace

std::int64_t ScenarioReport::Conflicts() const {
  std::int64_t count = 0;
  for (const auto& [code, times] : refused) count += IsConflict(code) ? times : 0;
  return count;
}

bool TortureReport::Held() const {
  return std::ranges::all_of(scenarios, &ScenarioReport::Held);
}

std::vector<ScenarioInfo> ListScenarios() {
  std::vector<ScenarioInfo> all;
  for (const Scenario& scenario : kScenarios) all.push_back({scenario.name, scenario.title});
  return all;
}

Result<TortureReport> RunTorture(Store& store, const TortureOptions& options) {
  if (options.threads < 2) {
    return Fail(ErrorCode::kInvalidArgument, "it takes at least 2 threads to race");
  }
  HF_ASSIGN_OR_RETURN(StoreStats stats, store.GetStats({}));
  HF_ASSIGN_OR_RETURN(std::vector<Scenario> chosen, Chosen(store, options));
  Torture torture(store, options,
                  {.engine = stats.engine,
                   .version = kVersion,
                   .seed = options.seed,
                   .scenario = chosen.size() == 1 ? std::string(chosen.front().name) : "torture"});
  for (const Scenario& scenario : chosen) HF_RETURN_IF_ERROR(torture.Run(scenario));
  return torture.Take();
}

}  // namespace holdfast::lab
