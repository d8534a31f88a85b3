// Everything at once. Clients are gathered in groups that share objects, small enough that what
// they were told can be searched for an order that explains it; new objects before there are too
// many calls for that.
#include <fmt/format.h>

#include "lab/mix.h"
#include "lab/scenarios.h"

namespace holdfast::lab {
namespace {

constexpr int kGroupSize = history::kMostClients;
// All calls of a round may be about one object.
constexpr int kCallsPerRound = static_cast<int>(history::kMostCalls) / kGroupSize * 3 / 5;
constexpr int kCombinedCalls = 20'000;

}  // namespace

Result<void> AttackCombined(Arena& arena) {
  const SteadyTime end = std::chrono::steady_clock::now() + arena.options().combined;
  const int groups = (arena.threads() + kGroupSize - 1) / kGroupSize;
  int left = arena.Size(kCombinedCalls);
  for (int round = 0; left > 0 && std::chrono::steady_clock::now() < end; ++round) {
    std::vector<Mix> mixes;
    for (int group = 0; group < groups; ++group) {
      mixes.emplace_back(arena, fmt::format("{}-{}", round, group));
      HF_RETURN_IF_ERROR(mixes.back().Prepare());
    }
    const int calls = std::max(1, std::min(kCallsPerRound, left / arena.threads()));
    left -= calls * arena.threads();
    arena.Attack(arena.threads(), [&](Attacker& attacker) {
      const Mix& mix = mixes[static_cast<std::size_t>(attacker.number / kGroupSize)];
      Hands hands;
      for (int i = 0; i < calls && !arena.Over(); ++i) mix.Step(attacker, hands);
      mix.End(attacker, hands);
    });
    for (Mix& mix : mixes) HF_RETURN_IF_ERROR(mix.Check());
  }
  return {};
}

}  // namespace holdfast::lab
