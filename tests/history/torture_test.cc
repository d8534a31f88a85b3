// The attack suite: every scenario holds on every store, in small; it leaves nothing behind; and a
// store that is wrong is found out.
#include "lab/torture.h"

#include <condition_variable>
#include <fstream>
#include <mutex>
#include <sstream>

#include "engine/memory/memory_engine.h"
#include "history/mix_suite.h"
#include "testing/store_suite.h"
#include "testing/twisted_engine.h"

namespace holdfast::testing {
namespace {

using lab::RunTorture;
using lab::ScenarioReport;
using lab::TortureOptions;
using lab::TortureReport;

std::string TextOfReport(const TortureReport& report) {
  std::string text;
  for (const ScenarioReport& scenario : report.scenarios) {
    for (const history::Violation& violation : scenario.violations) {
      text += scenario.name + ": " + violation.invariant + ": " + violation.detail + "\n";
    }
  }
  return text;
}

std::string ShippedRules(const std::string& name) {
  std::ifstream file(HOLDFAST_KINDS_DIR "/" + name + ".json");
  std::ostringstream rules;
  rules << file.rdbuf();
  return rules.str();
}

class TortureSuite : public StoreSuite {
 protected:
  TortureOptions InSmall() {
    return {.threads = 8,
            .operations = Scaled(24, 12),
            .duration = minutes(5),
            .combined = minutes(1),
            .seed = PrintedSeed()};
  }
  void ExpectHeld(const TortureReport& report) {
    EXPECT_TRUE(report.Held()) << TextOfReport(report);
    EXPECT_EQ(report.left_behind, std::vector<std::string>());
    for (const ScenarioReport& scenario : report.scenarios) {
      EXPECT_GT(scenario.calls, 0) << scenario.name;
      EXPECT_GT(scenario.succeeded, 0) << scenario.name;
      EXPECT_GT(scenario.checked.parts, 0) << scenario.name;
    }
  }
  void ExpectNothingLeft() {
    EXPECT_TRUE(Must(store().ListJobs({}, {})).items.empty());
    EXPECT_TRUE(Must(store().ListLocks({}, {})).items.empty());
    for (const Kind& kind : Must(store().ListKinds({}))) {
      EXPECT_TRUE(Must(store().ListRecords({}, {.kind = kind.name})).items.empty()) << kind.name;
    }
  }
};

TEST_P(TortureSuite, EveryScenarioHoldsAndLeavesNothingBehind) {
  const TortureReport report = Must(RunTorture(store(), InSmall()));
  ExpectHeld(report);
  EXPECT_EQ(report.scenarios.size(), lab::ListScenarios().size());
  ExpectNothingLeft();
}

TEST_P(TortureSuite, EverythingAtOnceIsSearchedWhole) {
  TortureOptions options = InSmall();
  options.scenarios = {"combined"};
  options.threads = 12;
  options.operations = Scaled(600, 200);
  const TortureReport report = Must(RunTorture(store(), options));
  ExpectHeld(report);
  EXPECT_EQ(report.scenarios[0].checked.too_large, 0);
  EXPECT_GE(report.scenarios[0].checked.searched, 2 * 9);
}

TEST_P(TortureSuite, WhatAKindDeclaresIsAttacked) {
  const std::map<std::string, std::vector<std::string>> kinds = {
      {"account", {"kind-bounds", "kind-transfers"}},
      {"application", {"kind-transitions", "kind-unique", "kind-capacity"}},
      {"ticket", {"kind-transitions", "kind-bounds", "kind-transfers"}},
      {"seat", {"kind-transitions"}},
      {"jobneed", {"kind-transitions"}}};
  for (const char* name : {"account", "campaign", "application", "ticket", "seat", "jobneed"}) {
    Must(store().Apply({}, {.name = name, .rules = ShippedRules(name)}));
  }
  for (const auto& [kind, expected] : kinds) {
    TortureOptions options = InSmall();
    options.kind = kind;
    const TortureReport report = Must(RunTorture(store(), options));
    ExpectHeld(report);
    std::vector<std::string> names;
    for (const ScenarioReport& scenario : report.scenarios) names.push_back(scenario.name);
    EXPECT_EQ(names, expected) << kind;
  }
  ExpectNothingLeft();
  EXPECT_EQ(Must(store().GetKind({}, "ticket"))->version, 1);
}

HOLDFAST_FOR_ALL_VARIANTS(TortureSuite);

/// A store whose engine is not to be trusted.
class WrongStore : public ::testing::Test {
 protected:
  Store& Open(TwistedEngine::Before before, TwistedEngine::After after = {}) {
    auto engine = std::make_unique<TwistedEngine>(Must(engine::OpenMemory({})), std::move(before),
                                                  std::move(after));
    store_ = std::make_unique<Store>(std::move(engine), StoreOptions());
    return *store_;
  }
  /// Runs one scenario, which must find this invariant violated.
  void ExpectFound(Store& store, const std::string& scenario, const std::string& invariant,
                   int operations = 100) {
    const TortureReport report = Must(RunTorture(store, {.scenarios = {scenario},
                                                         .threads = 8,
                                                         .operations = operations,
                                                         .combined = std::chrono::minutes(1),
                                                         .seed = PrintedSeed()}));
    EXPECT_FALSE(report.Held());
    EXPECT_THAT(TextOfReport(report), ::testing::HasSubstr(scenario + ": " + invariant));
  }

  std::atomic<int> count_ = 0;
  std::mutex mutex_;
  std::unique_ptr<Store> store_;
};

/// Calls `change` with every operation of that type.
template <typename T, typename Change>
void ForEach(Batch& batch, Change change) {
  for (Operation& operation : batch.operations) {
    if (auto* op = std::get_if<T>(&operation)) change(*op);
  }
}

TEST_F(WrongStore, ALostUpdateIsFound) {
  Store& store = Open([this](Batch& batch) {
    ForEach<IncrementRecord>(batch, [this](IncrementRecord& op) {
      if (++count_ % 20 == 0) op.by = std::int64_t{0};  // it is acknowledged all the same
    });
  });
  ExpectFound(store, "increments", "the counter");
  ExpectFound(store, "counters", "the counter");
}

TEST_F(WrongStore, AnEffectThatIsLostAmongManyIsFound) {
  Store& store = Open([](Batch& batch) {
    ForEach<IncrementRecord>(batch, [](IncrementRecord& op) { op.by = std::int64_t{0}; });
  });
  ExpectFound(store, "combined", "linearizable", 400);  // of which every ninth would show it
}

TEST_F(WrongStore, VersionsThatAreNotComparedAreFound) {
  Store& store = Open([](Batch& batch) {
    ForEach<ReplaceRecord>(batch, [](ReplaceRecord& op) { op.version.reset(); });
  });
  ExpectFound(store, "versions", "calls that succeed");
}

TEST_F(WrongStore, AJobThatIsGivenTwiceIsFound) {
  std::map<JobId, Job> claimed;
  std::condition_variable is_claimed;
  Store& store = Open({}, [&, this](const Batch& asked, Result<Receipt>& answer) {
    const auto* claim = std::get_if<ClaimJob>(&asked.operations.front());
    if (claim == nullptr || !answer) return;
    std::unique_lock lock(mutex_);
    std::optional<Job>& job = answer->results.front().job;
    if (job) {
      claimed[claim->id] = *job;
      is_claimed.notify_all();
    } else {  // somebody has it, and is about to say so here
      is_claimed.wait_for(lock, minutes(1), [&] { return claimed.contains(claim->id); });
      job = claimed[claim->id];
    }
  });
  ExpectFound(store, "claim-one", "claims that got the job");
  ExpectFound(store, "claim-one", "a token is given once");
}

TEST_F(WrongStore, AGuardThatIsNotLookedAtIsFound) {
  Store& store = Open([](Batch& batch) { batch.guards.clear(); });
  ExpectFound(store, "stale-holder", "changes under the good token");
}

TEST_F(WrongStore, APlaceThatIsGivenTwiceIsFound) {
  Store& store = Open([](Batch& batch) {
    ForEach<CreateRecord>(batch, [](CreateRecord& op) { op.force = true; });
  });
  ExpectFound(store, "places", "places that are taken");
}

TEST_F(WrongStore, AKeyThatIsForgottenIsFound) {
  Store& store = Open([](Batch& batch) { batch.idempotency_key.clear(); });
  ExpectFound(store, "idempotency", "effects");
}

TEST_F(WrongStore, ATransitionThatIsNotDeclaredIsFound) {
  Store& store = Open([](Batch& batch) {
    ForEach<TransitionRecord>(batch, [](TransitionRecord& op) { op.force = true; });
  });
  Must(store.Apply({}, {.name = "ticket", .rules = ShippedRules("ticket")}));
  const TortureReport report = Must(
      RunTorture(store, {.threads = 8, .operations = 40, .seed = PrintedSeed(), .kind = "ticket"}));
  EXPECT_FALSE(report.Held());
  EXPECT_THAT(TextOfReport(report), ::testing::HasSubstr("only declared transitions happen"));
}

TEST_F(WrongStore, MoneyThatIsMadeIsFound) {
  Store& store = Open([this](Batch& batch) {
    // The giver is not told of every other transfer: somebody else has to pay.
    ForEach<MakeTransfer>(batch, [this](MakeTransfer& op) {
      if (!op.pending && ++count_ % 2 == 0) op.amount += 1;
    });
  });
  ExpectFound(store, "payments", "what is left");
}

TEST_F(WrongStore, AStoreThatRefusesEverythingHasNotHeld) {
  auto engine = std::make_unique<FaultyEngine>(Must(engine::OpenMemory({})));
  engine->Set(Fault::kUnavailable);
  Store store(std::move(engine), {});
  ExpectFound(store, "increments", "the store can be used");
}

TEST_F(WrongStore, WhatCannotBeAttackedIsRefused) {
  Store& store = Open({});
  auto refused = [&](TortureOptions options, ErrorCode code, const std::string& message) {
    const Result<TortureReport> report = RunTorture(store, options);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().code, code);
    EXPECT_THAT(report.error().message, ::testing::HasSubstr(message));
  };
  refused({.scenarios = {"nonsense"}}, ErrorCode::kInvalidArgument, "no scenario nonsense");
  refused({.threads = 1}, ErrorCode::kInvalidArgument, "at least 2 threads");
  refused({.kind = "unknown"}, ErrorCode::kNotFound, "kind unknown is not declared");
  Must(store.Apply({}, {.name = "plain", .rules = "{}"}));
  refused({.kind = "plain"}, ErrorCode::kInvalidArgument, "nothing that could be attacked");
  Must(store.Apply({}, {.name = "odd", .rules = R"({"schema":{"type":"object","required":["a"],
                          "properties":{"a":{"type":"string","pattern":"^[0-9]{9}$"}}},
                          "states":{"initial":"A","transitions":{"A":["B"]},"final":["B"]}})"}));
  refused({.kind = "odd"}, ErrorCode::kInvalidArgument, "--example");
  const TortureReport report =
      Must(RunTorture(store, {.threads = 4, .kind = "odd", .example = R"({"a":"123456789"})"}));
  EXPECT_TRUE(report.Held()) << TextOfReport(report);
}

}  // namespace
}  // namespace holdfast::testing
