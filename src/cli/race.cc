// holdfast race: a race that is lost, and then won, on a real store.
#include "lab/race.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/result.h"
#include "cli/bench.h"
#include "cli/cli.h"
#include "cli/progress.h"

namespace holdfast::cli {
namespace {

constexpr const char* kEveryRace = "all";

struct RaceCommand {
  std::string scenario;
  bool is_unsafe = false;
  int threads = lab::RaceOptions().threads;
};

std::string_view SideOf(const lab::RaceOutcome& outcome) {
  return outcome.is_unsafe ? "unsafe" : "safe";
}

std::string Milliseconds(Duration duration) {
  return fmt::format("{:.3f}", std::chrono::duration<double, std::milli>(duration).count());
}

/// Two columns, one for each worker, from top to bottom as it happened.
void PrintPicture(const lab::RacePicture& picture) {
  Table table({{"MS", true},
               {fmt::format("WORKER {}", picture.left)},
               {fmt::format("WORKER {}", picture.right)}});
  for (const lab::RaceStep& step : picture.steps) {
    const bool is_left = step.worker == picture.left;
    const std::string what = Printable(step.what);
    table.AddRow({Milliseconds(step.at), is_left ? what : "", is_left ? "" : what});
  }
  table.Print();
}

std::string_view VerdictOf(const lab::RaceOutcome& outcome) {
  if (outcome.is_unsafe) {
    return outcome.held() ? "nothing was lost, which was luck" : "lost, as it must be";
  }
  return outcome.held() ? "held" : "LOST, WHICH MUST NEVER BE";
}

void PrintRace(const lab::RaceOutcome& outcome) {
  fmt::print("{}, {}: {}\n", outcome.info.name, SideOf(outcome), outcome.info.stake);
  PrintLine("each worker", outcome.is_unsafe ? outcome.info.naive
                                             : "does that, and " + std::string(outcome.info.guard));
  PrintLine("workers", fmt::to_string(outcome.threads));
  PrintLine("expected", fmt::format("{} ({})", outcome.expected, outcome.info.counts));
  PrintLine("happened", fmt::to_string(outcome.happened));
  PrintLine("lost", fmt::to_string(outcome.lost()));
  PrintLine("took", Milliseconds(outcome.took) + " ms");
  PrintLine("verdict", VerdictOf(outcome));
  if (!outcome.picture) return;
  fmt::print("\n{}:\n", outcome.is_unsafe ? "How two of them lost it" : "How two of them met");
  PrintPicture(*outcome.picture);
}

void WriteRace(base::JsonWriter& json, const lab::RaceOutcome& outcome) {
  json.BeginObject();
  json.Field("scenario", outcome.info.name);
  json.Field("side", SideOf(outcome));
  json.Field("threads", outcome.threads);
  json.Field("counts", outcome.info.counts);
  json.Field("expected", outcome.expected);
  json.Field("happened", outcome.happened);
  json.Field("lost", outcome.lost());
  json.Field("took_us", outcome.took.count());
  json.Field("held", outcome.held());
  json.Field("as_promised", outcome.as_promised());
  if (outcome.picture) {
    json.Key("timeline");
    json.BeginObject();
    json.Key("workers");
    json.BeginArray();
    json.Integer(outcome.picture->left);
    json.Integer(outcome.picture->right);
    json.EndArray();
    json.Key("steps");
    json.BeginArray();
    for (const lab::RaceStep& step : outcome.picture->steps) {
      json.BeginObject();
      json.Field("at_us", step.at.count());
      json.Field("worker", step.worker);
      json.Field("what", step.what);
      json.EndObject();
    }
    json.EndArray();
    json.EndObject();
  }
  json.EndObject();
}

/// Every race, the unsafe side and then the safe one.
Result<std::vector<lab::RaceOutcome>> RunEveryRace(Store& store, lab::RaceOptions options) {
  std::vector<lab::RaceOutcome> outcomes;
  Progress progress("races", 2 * static_cast<std::int64_t>(lab::AllRaces().size()));
  for (const lab::RaceInfo& info : lab::AllRaces()) {
    for (bool is_unsafe : {true, false}) {
      options.is_unsafe = is_unsafe;
      HF_ASSIGN_OR_RETURN(lab::RaceOutcome outcome, lab::RunRace(store, info.name, options));
      outcomes.push_back(std::move(outcome));
      progress.Update(static_cast<std::int64_t>(outcomes.size()));
    }
  }
  return outcomes;
}

bool AllAsPromised(const std::vector<lab::RaceOutcome>& outcomes) {
  return std::ranges::all_of(outcomes, &lab::RaceOutcome::as_promised);
}

void PrintEveryRace(const std::vector<lab::RaceOutcome>& outcomes) {
  Table table({{"RACE"},
               {"SIDE"},
               {"EXPECTED", true},
               {"HAPPENED", true},
               {"LOST", true},
               {"MS", true},
               {"VERDICT"}});
  for (const lab::RaceOutcome& outcome : outcomes) {
    table.AddRow({std::string(outcome.info.name), std::string(SideOf(outcome)),
                  WithCommas(outcome.expected), WithCommas(outcome.happened),
                  WithCommas(outcome.lost()), Milliseconds(outcome.took),
                  std::string(VerdictOf(outcome))});
  }
  table.Print();
  auto of_side = [&](bool is_unsafe) {
    return std::ranges::count_if(outcomes, [&](const lab::RaceOutcome& outcome) {
      return outcome.is_unsafe == is_unsafe && outcome.as_promised();
    });
  };
  fmt::print("{} of {} lost without protection, {} of {} held with it\n", of_side(true),
             outcomes.size() / 2, of_side(false), outcomes.size() / 2);
}

void PrintEveryRaceJson(const std::vector<lab::RaceOutcome>& outcomes, const std::string& store) {
  base::JsonWriter json;
  json.BeginObject();
  json.Field("store", store);
  json.Key("races");
  json.BeginArray();
  for (const lab::RaceOutcome& outcome : outcomes) WriteRace(json, outcome);
  json.EndArray();
  json.Field("as_promised", AllAsPromised(outcomes));
  json.EndObject();
  PrintJson(json);
}

Result<int> RaceOn(Store& store, Cli& cli, const RaceCommand& command) {
  const bool as_json = cli.globals().output == OutputFormat::kJson;
  lab::RaceOptions options{
      .is_unsafe = command.is_unsafe, .threads = command.threads, .context = cli.MakeContext()};
  if (command.scenario == kEveryRace) {
    HF_ASSIGN_OR_RETURN(std::vector<lab::RaceOutcome> outcomes, RunEveryRace(store, options));
    if (as_json) {
      PrintEveryRaceJson(outcomes, cli.ShownStore());
    } else {
      PrintEveryRace(outcomes);
    }
    return AllAsPromised(outcomes) ? 0 : 1;
  }
  HF_ASSIGN_OR_RETURN(lab::RaceOutcome outcome, lab::RunRace(store, command.scenario, options));
  if (as_json) {
    base::JsonWriter json;
    WriteRace(json, outcome);
    PrintJson(json);
  } else {
    PrintRace(outcome);
  }
  return outcome.as_promised() ? 0 : 1;
}

Result<int> Race(Cli& cli, const RaceCommand& command) {
  if (command.scenario == kEveryRace && command.is_unsafe) {
    return Fail(ErrorCode::kInvalidArgument, "race all runs both sides: leave --unsafe away");
  }
  // Leases that run out are a part of it, and no news.
  StoreOptions options{.log = &cli.Log(LogLevel::kError)};
  if (cli.root().get_option("--store")->count() > 0) {
    HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open(options));
    return RaceOn(*store, cli, command);
  }
  HF_ASSIGN_OR_RETURN(TemporaryFolder folder, TemporaryFolder::Make("."));
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store,
                      OpenStore("sqlite:" + folder.path() + "/race.db", options));
  return RaceOn(*store, cli, command);
}

}  // namespace

void AddRaceCommand(Cli& cli) {
  auto options = std::make_shared<RaceCommand>();
  CLI::App& command = cli.AddCommand(
      cli.root(), "race",
      "Runs a race on a real store: as programs lose it (--unsafe), or with what the store offers\n"
      "against it. Exits with 0 if the unsafe side lost, or the safe side held; else with 1.\n"
      "Without --store, on a fresh SQLite file that is removed afterwards. In a store that is\n"
      "named, the kinds race-*, the queue race and the audit entries stay behind.",
      "holdfast race lost-update --unsafe\n"
      "holdfast race lost-update\n"
      "holdfast race all\n"
      "holdfast race all --store postgres://localhost/app --threads 20\n"
      "holdfast race stale-holder --unsafe -o json | jq '.timeline.steps[]'",
      [&cli, options] { return Race(cli, *options); });
  std::vector<std::pair<std::string, std::string>> words;
  for (const lab::RaceInfo& info : lab::AllRaces()) {
    words.emplace_back(std::string(info.name), std::string(info.name));
  }
  words.emplace_back(kEveryRace, kEveryRace);
  cli.AddChoice<std::string, std::string>(command, "SCENARIO", options->scenario, words,
                                          "the race, or all of them, both sides each")
      ->required();
  command.add_flag("--unsafe", options->is_unsafe, "as programs lose it: without protection");
  cli.AddNumber(command, "--threads", options->threads, 2,
                "workers that race (8), at most 200; where they meet in pairs, an even number");
}

}  // namespace holdfast::cli
