// Histories of everything at once, recorded on a real store: for checking the store, and the
// checker.
#pragma once

#include <atomic>
#include <optional>
#include <string>

#include "history/check.h"
#include "holdfast/version.h"
#include "lab/mix.h"
#include "testing/matchers.h"

namespace holdfast::testing {

inline constexpr int kMixClients = 8;

/// What kMixClients clients were told of one Mix, in about `calls` calls. `number` tells it from
/// the other histories of the store.
inline history::History RecordMix(Store& store, std::uint64_t seed, int number, int calls) {
  const lab::TortureOptions options{.threads = kMixClients, .seed = seed};
  history::Recording recording;
  lab::Arena arena(store, options, std::to_string(number), recording, "mix");
  lab::Mix mix(arena, "m");
  Must(mix.Prepare());
  arena.Attack(kMixClients, [&](lab::Attacker& attacker) {
    lab::Hands hands;
    for (int i = 0; i < calls / kMixClients; ++i) mix.Step(attacker, hands);
    mix.End(attacker, hands);
  });
  Must(mix.Check());
  const lab::ScenarioReport report = arena.Finish("everything at once");
  for (const history::Violation& violation : report.violations) {
    ADD_FAILURE() << violation.invariant << ": " << violation.detail;
  }
  history::History history{.source = {.engine = Must(store.GetStats({})).engine,
                                      .version = kVersion,
                                      .seed = seed,
                                      .scenario = "mix"},
                           .calls = arena.TakeCalls()};
  history::SortByBeginning(history);
  return history;
}

inline std::string TextOf(const history::Checked& checked) {
  std::string text;
  for (const history::Violation& violation : checked.violations) {
    text += violation.invariant + ": " + violation.detail + "\n";
  }
  return text;
}

}  // namespace holdfast::testing
