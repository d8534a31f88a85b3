#include "lab/race.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <thread>

#include "base/result.h"
#include "lab/race_scenario.h"

namespace holdfast::lab {
namespace {

struct Race {
  RaceInfo info;
  MakeRaceScenario make;
};

constexpr Race kRaces[] = {
    {{.name = "lost-update",
      .stake = "every worker adds 1 to a counter, 5 times",
      .naive = "reads the counter, adds 1, writes it back",
      .guard = "writes only over the version that it read (REC-1), and reads again if that is gone",
      .counts = "the counter"},
     &MakeLostUpdate},
    {{.name = "double-claim",
      .stake = "every job is to be done once",
      .naive = "lists the jobs that wait, does the first one, marks it as done",
      .guard = "claims a job before it does it (JOB-2, JOB-3)",
      .counts = "jobs that were done"},
     &MakeDoubleClaim},
    {{.name = "overflow",
      .stake = "a campaign of 3 places, of which one is left, and every worker applies",
      .naive = "counts who is in, and applies if there is room",
      .guard = "the kind declares the capacity, which every commit is held to (REC-5)",
      .counts = "places taken"},
     &MakeOverflow},
    {{.name = "overdraft",
      .stake = "an account of 100, from which every worker wants 100",
      .naive = "looks whether the balance is enough, and takes the money",
      .guard = "the kind declares that the balance is never below 0 (REC-3)",
      .counts = "paid out"},
     &MakeOverdraft},
    {{.name = "double-booking",
      .stake = "one seat that is free, and every worker books it",
      .naive = "looks whether the seat is free, and writes its name on it",
      .guard = "the kind declares that free becomes booked once (REC-4)",
      .counts = "guests who were told that it is theirs"},
     &MakeDoubleBooking},
    {{.name = "toctou",
      .stake = "orders that one worker ships and another one refunds: one of them, not both",
      .naive = "checks that the order is open, then ships or refunds it",
      .guard = "acts only on the version that it checked (REC-1)",
      .counts = "orders settled",
      .in_pairs = true},
     &MakeToctou},
    {{.name = "stale-holder",
      .stake = "two workers add 1 to a counter under a lock; the first is paused past its lease",
      .naive = "takes it for granted that it still has the lock when it writes",
      .guard = "commits under the guard of its lock's token (LOCK-8), and starts over if refused",
      .counts = "the counters",
      .in_pairs = true},
     &MakeStaleHolder},
    {{.name = "deadlock",
      .stake = "two workers each need two locks, and take them crosswise",
      .naive = "holds one, and tries for the other until it is told to give up",
      .guard = "waits in the store, which refuses the request that closes the circle (LOCK-7)",
      .counts = "workers who got their work done",
      .in_pairs = true},
     &MakeDeadlock},
};

Result<std::size_t> IndexOf(std::string_view name) {
  const auto* race = std::ranges::find(kRaces, name, [](const Race& r) { return r.info.name; });
  if (race != std::end(kRaces)) return static_cast<std::size_t>(race - std::begin(kRaces));
  std::string names;
  for (const Race& r : kRaces) {
    names += (names.empty() ? "" : ", ") + std::string(r.info.name);
  }
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("there is no race {}; there are {}", name.substr(0, 64), names));
}

/// All workers at once. Errors: the first one that a worker met.
Result<void> RunWorkers(RaceScenario& scenario, std::vector<Racer>& racers) {
  std::vector<Result<void>> ends(racers.size());
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < racers.size(); ++i) {
      threads.emplace_back([&, i] {
        racers[i].track().Signal("start");
        racers[i].track().Await("start", static_cast<int>(racers.size()));
        ends[i] = scenario.Run(racers[i]);
        racers[i].track().Leave();
      });
    }
  }
  for (Result<void>& end : ends) HF_RETURN_IF_ERROR(std::move(end));
  return {};
}

}  // namespace

std::vector<RaceInfo> AllRaces() {
  std::vector<RaceInfo> all;
  for (const Race& race : kRaces) all.push_back(race.info);
  return all;
}

Result<RaceInfo> FindRace(std::string_view name) {
  HF_ASSIGN_OR_RETURN(std::size_t index, IndexOf(name));
  return kRaces[index].info;
}

Result<RaceOutcome> RunRace(Store& store, std::string_view name, const RaceOptions& options) {
  HF_ASSIGN_OR_RETURN(std::size_t index, IndexOf(name));
  if (options.threads < 2 || options.threads > kRaceThreadsMost) {
    return Fail(ErrorCode::kInvalidArgument, fmt::format("a race is of 2 to {} threads, not of {}",
                                                         kRaceThreadsMost, options.threads));
  }
  RaceOutcome outcome{.info = kRaces[index].info, .is_unsafe = options.is_unsafe};
  outcome.threads = options.threads - (outcome.info.in_pairs ? options.threads % 2 : 0);

  RaceGround ground{.store = store,
                    .context = options.context,
                    .is_unsafe = options.is_unsafe,
                    .workers = outcome.threads,
                    .run = fmt::format("{:08x}", Random::System().Next() >> 32),
                    .pass_time = options.pass_time};
  ground.context.correlation_id = fmt::format("race-{}-{}", name, ground.run);
  std::unique_ptr<RaceScenario> scenario = kRaces[index].make(std::move(ground));

  Result<void> done = scenario->Prepare();
  RaceTrack track(outcome.threads);
  std::vector<Racer> racers;
  for (int i = 0; i < outcome.threads; ++i) racers.emplace_back(track, i);
  if (done) done = RunWorkers(*scenario, racers);
  outcome.took = track.Now();
  Result<RaceCount> count = done ? scenario->Count() : std::unexpected(done.error());
  Result<void> cleaned = scenario->CleanUp();
  HF_RETURN_IF_ERROR(count);
  HF_RETURN_IF_ERROR(cleaned);
  outcome.expected = count->expected;
  outcome.happened = count->happened;
  outcome.picture = Picture(racers, options.is_unsafe);
  return outcome;
}

}  // namespace holdfast::lab
