// holdfast torture: attacks a store, and checks what was recorded; see docs/torture.md.
#include "lab/torture.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>

#include "base/result.h"
#include "base/store_url.h"
#include "cli/bench.h"
#include "cli/cli.h"
#include "cli/input.h"
#include "cli/progress.h"
#include "history/check.h"
#include "history/history_file.h"

namespace holdfast::cli {
namespace {

constexpr int kViolated = 1;  // exit code: something did not hold

struct TortureCommand {
  lab::TortureOptions torture;
  std::optional<std::uint64_t> seed;
  bool given_store = false;
  std::string history;
  std::string check;
  std::string exported;
};

void WriteViolations(base::JsonWriter& json, const std::vector<history::Violation>& violations) {
  json.Key("violations");
  json.BeginArray();
  for (const history::Violation& violation : violations) {
    json.BeginObject();
    json.Field("invariant", violation.invariant);
    json.Field("detail", violation.detail);
    json.EndObject();
  }
  json.EndArray();
}

void WriteChecked(base::JsonWriter& json, const history::Checked& checked) {
  json.Field("parts", checked.parts);
  json.Field("searched", checked.searched);
  json.Field("too_large", checked.too_large);
  json.Field("illegal", checked.illegal);
  json.Field("undecided", checked.undecided);
}

void WriteScenario(base::JsonWriter& json, const lab::ScenarioReport& report) {
  json.BeginObject();
  json.Field("scenario", report.name);
  json.Field("title", report.title);
  json.Field("held", report.Held());
  json.Field("calls", report.calls);
  json.Field("succeeded", report.succeeded);
  json.Field("conflicts", report.Conflicts());
  json.Key("refused");
  json.BeginObject();
  for (const auto& [code, count] : report.refused) json.Field(InfoOf(code).name, count);
  json.EndObject();
  json.Field("seconds", report.seconds);
  json.Field("p50_us", report.p50);
  json.Field("p95_us", report.p95);
  json.Field("p99_us", report.p99);
  WriteChecked(json, report.checked);
  WriteViolations(json, report.violations);
  json.EndObject();
}

void PrintReportJson(const lab::TortureReport& report, const TortureCommand& command,
                     const std::string& url, const std::string& saved) {
  base::JsonWriter json;
  json.BeginObject();
  json.Field("store", url);
  json.Field("engine", report.history.source.engine);
  json.Field("seed", fmt::to_string(command.torture.seed));
  json.Field("threads", command.torture.threads);
  json.Field("held", report.Held());
  json.Key("scenarios");
  json.BeginArray();
  for (const lab::ScenarioReport& scenario : report.scenarios) WriteScenario(json, scenario);
  json.EndArray();
  json.Key("left_behind");
  json.BeginArray();
  for (const std::string& what : report.left_behind) json.String(what);
  json.EndArray();
  if (!saved.empty()) json.Field("history", saved);
  json.EndObject();
  PrintJson(json);
}

std::string RefusalsOf(const lab::ScenarioReport& report) {
  std::string text;
  for (const auto& [code, count] : report.refused) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", InfoOf(code).name, WithCommas(count));
  }
  return text.empty() ? "-" : text;
}

std::string CheckedOf(const history::Checked& checked) {
  return fmt::format("{} of {}", checked.searched, checked.parts);
}

void PrintViolations(std::string_view where, const std::vector<history::Violation>& violations) {
  for (const history::Violation& violation : violations) {
    fmt::print("\n{}: {}: ", where, violation.invariant);
    std::string_view rest = violation.detail;
    for (std::size_t end; !rest.empty(); rest.remove_prefix(std::min(end + 1, rest.size()))) {
      end = std::min(rest.find('\n'), rest.size());
      fmt::print("{}\n", Printable(rest.substr(0, end)));
    }
  }
}

void PrintReport(const lab::TortureReport& report, const TortureCommand& command,
                 const std::string& url, const std::string& saved) {
  fmt::print("{}, {} threads, seed {}\n\n", url, command.torture.threads, command.torture.seed);
  Table table({{"SCENARIO"},
               {"CALLS", true},
               {"OK", true},
               {"CONFLICTS", true},
               {"P50 MS", true},
               {"P95 MS", true},
               {"P99 MS", true},
               {"SEARCHED", true},
               {"VERDICT"},
               {"REFUSED"}});
  for (const lab::ScenarioReport& scenario : report.scenarios) {
    table.AddRow({scenario.name, WithCommas(scenario.calls), WithCommas(scenario.succeeded),
                  WithCommas(scenario.Conflicts()), fmt::format("{:.3f}", scenario.p50 / 1000),
                  fmt::format("{:.3f}", scenario.p95 / 1000),
                  fmt::format("{:.3f}", scenario.p99 / 1000), CheckedOf(scenario.checked),
                  scenario.Held() ? "held" : "VIOLATED", RefusalsOf(scenario)});
  }
  table.Print();
  for (const lab::ScenarioReport& scenario : report.scenarios) {
    PrintViolations(scenario.name, scenario.violations);
  }
  for (const std::string& what : report.left_behind) {
    fmt::print("\nleft behind: {}", Printable(what));
  }
  const auto held = std::ranges::count_if(report.scenarios, &lab::ScenarioReport::Held);
  fmt::print("\n{} of {} scenarios held\n", held, report.scenarios.size());
  if (saved.empty()) return;
  fmt::print("the history: {}; to check it again: holdfast torture --check {}\n", saved, saved);
}

/// A history that shows a violation is kept, wherever it was asked for.
Result<std::string> Save(const lab::TortureReport& report, const TortureCommand& command) {
  if (!command.exported.empty()) {
    HF_RETURN_IF_ERROR(history::ExportJepsen(report.history, command.exported));
  }
  std::string path = command.history;
  if (path.empty() && !report.Held()) {
    path = fmt::format("torture-{}.jsonl", command.torture.seed);
  }
  if (!path.empty()) HF_RETURN_IF_ERROR(history::WriteHistory(report.history, path));
  return path;
}

Result<int> CheckSaved(Cli& cli, const TortureCommand& command) {
  HF_ASSIGN_OR_RETURN(history::History history, history::ReadHistory(command.check));
  if (!command.exported.empty()) {
    HF_RETURN_IF_ERROR(history::ExportJepsen(history, command.exported));
  }
  HF_ASSIGN_OR_RETURN(history::Checked checked, history::CheckHistory(history));
  if (cli.globals().output == OutputFormat::kJson) {
    base::JsonWriter json;
    json.BeginObject();
    json.Field("history", command.check);
    json.Field("engine", history.source.engine);
    json.Field("scenario", history.source.scenario);
    json.Field("seed", fmt::to_string(history.source.seed));
    json.Field("held", checked.Held());
    json.Field("calls", checked.calls);
    WriteChecked(json, checked);
    WriteViolations(json, checked.violations);
    json.EndObject();
    PrintJson(json);
    return checked.Held() ? 0 : kViolated;
  }
  PrintLine("engine", Printable(history.source.engine));
  PrintLine("scenario", Printable(history.source.scenario));
  PrintLine("calls", WithCommas(checked.calls));
  PrintLine("searched", CheckedOf(checked));
  PrintLine("illegal", WithCommas(checked.illegal));
  PrintLine("undecided", WithCommas(checked.undecided));
  PrintLine("verdict", checked.Held() ? "held" : "VIOLATED");
  PrintViolations(Printable(command.check), checked.violations);
  return checked.Held() ? 0 : kViolated;
}

/// A kind that is given as a file is declared under a name of torture's.
Result<void> DeclareFile(Store& store, std::string& kind) {
  if (!kind.ends_with(".json")) return {};
  HF_ASSIGN_OR_RETURN(std::string rules, ReadWhole(kind));
  const std::string name = "torture-" + std::filesystem::path(kind).stem().string();
  HF_RETURN_IF_ERROR(store.Apply({}, {.name = name, .rules = std::string(TrimBlanks(rules))}));
  kind = name;
  return {};
}

Result<int> RunTortureCommand(Cli& cli, TortureCommand command) {
  if (!command.check.empty()) return CheckSaved(cli, command);
  command.torture.seed = command.seed ? *command.seed : Random::System().Next() % 1'000'000'000;
  std::string url = cli.globals().store;
  std::optional<TemporaryFolder> folder;
  if (!command.given_store) {
    HF_ASSIGN_OR_RETURN(TemporaryFolder made, TemporaryFolder::Make("."));
    folder.emplace(std::move(made));
    url = "sqlite:" + folder->path() + "/torture.db";
  }
  // Jobs that fail and locks that are broken are what it is about.
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store,
                      OpenStore(url, {.log = &cli.Log(LogLevel::kError)}));
  HF_RETURN_IF_ERROR(DeclareFile(*store, command.torture.kind));
  std::string shown;
  std::unique_ptr<Progress> progress;
  command.torture.on_progress = [&](std::string_view scenario, std::int64_t calls) {
    if (shown != scenario) {
      progress.reset();
      shown = scenario;
      progress = std::make_unique<Progress>("torture: " + shown, std::nullopt);
    }
    progress->Update(calls);
  };
  Result<lab::TortureReport> report = lab::RunTorture(*store, command.torture);
  progress.reset();
  if (!report) return std::unexpected(std::move(report).error());
  HF_ASSIGN_OR_RETURN(std::string saved, Save(*report, command));
  if (cli.globals().output == OutputFormat::kJson) {
    PrintReportJson(*report, command, base::ShownUrl(url), saved);
  } else {
    PrintReport(*report, command, base::ShownUrl(url), saved);
  }
  return report->Held() ? 0 : kViolated;
}

}  // namespace

void AddTortureCommand(Cli& cli) {
  auto command = std::make_shared<TortureCommand>();
  std::string names;
  for (const lab::ScenarioInfo& scenario : lab::ListScenarios()) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", scenario.name);
  }
  CLI::App& torture = cli.AddCommand(
      cli.root(), "torture",
      "Attacks a store with many threads at once, and checks that nothing gave way.\n"
      "It touches only what it makes itself, and removes that again; kinds whose names begin with\n"
      "torture- stay. Without --store, on a fresh SQLite file that is removed afterwards.\n"
      "Scenarios: " +
          names,
      "holdfast torture\n"
      "holdfast torture --store postgres://localhost/jobs --scenario places transfers\n"
      "holdfast torture --store http://127.0.0.1:8420 --scenario combined --duration 1m\n"
      "holdfast torture --kind kinds/account.json\n"
      "holdfast torture --history run.jsonl && holdfast torture --check run.jsonl",
      [&cli, command] {
        command->given_store = cli.root().get_option("--store")->count() > 0;
        return RunTortureCommand(cli, *command);
      });
  cli.AddRepeated(torture, "--scenario", command->torture.scenarios, "NAME",
                  "only these; else all of them, in this order")
      ->expected(-1);
  cli.AddNumber(torture, "--threads", command->torture.threads, 2,
                "threads, where a scenario does not say itself how many (50)");
  cli.AddNumber(torture, "--operations", command->torture.operations, 1,
                "at most so many calls of one sort in each scenario");
  cli.AddDuration(torture, "--duration", command->torture.combined,
                  "how long combined goes on at most (5s)");
  cli.AddNumber(torture, "--seed", command->seed, 0, "what chance begins with, to do it again");
  cli.AddText(torture, "--history", command->history, "FILE", "keep what was seen there")
      ->check(RefuseEmpty);
  cli.AddText(torture, "--kind", command->torture.kind, "KIND",
              "attack what this kind's rules declare: one of the store's, or a FILE.json")
      ->check(RefuseEmpty);
  cli.AddText(torture, "--example", command->torture.example, "JSON",
              "data that a record of that kind may have");
  cli.AddText(torture, "--check", command->check, "FILE",
              "attack nothing, but check a history that was kept")
      ->check(RefuseEmpty);
  cli.AddText(torture, "--export", command->exported, "FILE",
              "write the history for the checkers of others (JSON, as Jepsen has it)")
      ->check(RefuseEmpty);
}

}  // namespace holdfast::cli
