// holdfast bench records: how many changes to records are committed a second, by many threads that
// each wait for their own commit, beside hand-written SQLite statements and PostgreSQL.
#include "cli/bench_records.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <thread>

#include "base/result.h"
#include "base/store_url.h"
#include "cli/bench.h"
#include "cli/bench_commands.h"
#include "cli/bench_pgbench.h"
#include "cli/bench_scenarios.h"

namespace holdfast::cli {
namespace {

constexpr std::string_view kRecordsOnSqlite = "sqlite:";
constexpr Duration kRawRecordsLength = std::chrono::seconds(3);

struct RecordsOptions {
  bool given_store = false;
  std::string folder = ".";
  int threads = 64;
  Duration duration = std::chrono::seconds(5);
  std::string scenario = "all";
  bool raw = false;
  std::string postgres;
  int postgres_clients = 8;
};

struct ScenarioFigures {
  std::string name;
  std::string title;
  std::int64_t commits = 0;
  double seconds = 0;
  Samples samples;
  double group = 0;  ///< commits that shared a transaction, on average; 0: not known
  std::optional<double> raw_per_second;

  double PerSecond() const { return seconds > 0 ? static_cast<double>(commits) / seconds : 0; }
};

/// The instant of the transaction that did it: all that share one have the same.
Time InstantOf(const OperationResult& result) {
  return result.record ? result.record->updated_at : result.transfer->created_at;
}

/// What one thread has done.
struct Lane {
  std::vector<Time> instants;
  Samples samples;
  std::optional<Error> error;
};

void RunLane(Store& store, Scenario& scenario, std::size_t thread, SteadyTime end,
             std::atomic<bool>& failed, Lane& lane) {
  while (!failed && std::chrono::steady_clock::now() < end) {
    Batch batch = scenario.Next(thread);
    auto start = std::chrono::steady_clock::now();
    Result<Receipt> receipt = store.Commit({}, std::move(batch));
    if (!receipt) {
      lane.error = receipt.error();
      failed = true;
      return;
    }
    lane.samples.Add(std::chrono::steady_clock::now() - start);
    lane.instants.push_back(InstantOf(receipt->results.front()));
    scenario.Committed(thread);
  }
}

Result<ScenarioFigures> Run(Store& store, Scenario& scenario, const RecordsOptions& options) {
  std::vector<Lane> lanes(static_cast<std::size_t>(options.threads));
  std::atomic<bool> failed = false;
  auto start = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> running;
    for (std::size_t i = 0; i < lanes.size(); ++i) {
      running.emplace_back(
          [&, i] { RunLane(store, scenario, i, start + options.duration, failed, lanes[i]); });
    }
  }
  ScenarioFigures figures;
  figures.name = scenario.name();
  figures.title = scenario.title();
  figures.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::vector<Time> instants;
  for (const Lane& lane : lanes) {
    if (lane.error) return std::unexpected(*lane.error);
    figures.samples.Merge(lane.samples);
    instants.insert(instants.end(), lane.instants.begin(), lane.instants.end());
  }
  figures.commits = figures.samples.count();
  std::sort(instants.begin(), instants.end());
  auto groups = std::unique(instants.begin(), instants.end()) - instants.begin();
  if (groups > 0)
    figures.group = static_cast<double>(figures.commits) / static_cast<double>(groups);
  return figures;
}

/// Prepares, runs, checks and cleans up. What was left behind by a failure is removed, too.
Result<ScenarioFigures> Measure(Store& store, Scenario& scenario, const RecordsOptions& options) {
  HF_RETURN_IF_ERROR(scenario.Prepare(store));
  auto figures = Run(store, scenario, options);
  Result<void> checked;
  if (figures) checked = scenario.Check(store, figures->commits);
  // Nobody looks at a fresh file again.
  Result<void> cleaned = options.given_store ? scenario.CleanUp(store) : Result<void>();
  if (!checked) {
    Error error = checked.error();
    error.message = fmt::format("{}: {}", scenario.name(), error.message);
    return std::unexpected(std::move(error));
  }
  if (figures && !cleaned) return std::unexpected(cleaned.error());
  return figures;
}

void PrintTable(std::vector<ScenarioFigures>& all) {
  Table table({{"SCENARIO"},
               {"COMMITS/S", true},
               {"P50 MS", true},
               {"P95 MS", true},
               {"P99 MS", true},
               {"MAX MS", true},
               {"GROUP", true},
               {"RAW SQLITE/S", true},
               {"RATIO", true}});
  for (ScenarioFigures& figures : all) {
    std::vector<std::string> row = {figures.title, Whole(figures.PerSecond())};
    for (double part : {0.5, 0.95, 0.99, 1.0}) {
      row.push_back(fmt::format("{:.3f}", figures.samples.Percentile(part) / 1000));
    }
    row.push_back(figures.group > 0 ? fmt::format("{:.1f}", figures.group) : "-");
    auto raw = figures.raw_per_second;
    row.push_back(raw ? Whole(*raw) : "-");
    row.push_back(raw ? fmt::format("{:.2f}", figures.PerSecond() / *raw) : "-");
    table.AddRow(std::move(row));
  }
  table.Print();
}

void PrintPostgres(const std::vector<ScenarioFigures>& all, const PostgresFigures& postgres,
                   const RecordsOptions& options) {
  fmt::print("\n{}: {} transfers/s under row locks, with {} clients\n", postgres.server,
             Whole(postgres.transfers_per_second), options.postgres_clients);
  for (const ScenarioFigures& figures : all) {
    if (figures.name != "transfer") continue;
    fmt::print("Holdfast: {} transfers/s, with {} threads: {:.2f} times as many\n",
               Whole(figures.PerSecond()), options.threads,
               figures.PerSecond() / postgres.transfers_per_second);
  }
}

void PrintFiguresJson(std::vector<ScenarioFigures>& all,
                      const std::optional<PostgresFigures>& postgres, const std::string& store,
                      const RecordsOptions& options) {
  base::JsonWriter json;
  json.BeginObject();
  json.Field("store", store);
  json.Field("threads", options.threads);
  json.Key("scenarios");
  json.BeginArray();
  for (ScenarioFigures& figures : all) {
    json.BeginObject();
    json.Field("scenario", figures.name);
    json.Field("commits", figures.commits);
    json.Field("seconds", figures.seconds);
    json.Field("commits_per_second", figures.PerSecond());
    json.Field("p50_us", figures.samples.Percentile(0.5));
    json.Field("p95_us", figures.samples.Percentile(0.95));
    json.Field("p99_us", figures.samples.Percentile(0.99));
    json.Field("max_us", figures.samples.Percentile(1));
    if (figures.group > 0) json.Field("mean_group", figures.group);
    if (figures.raw_per_second) {
      json.Field("raw_per_second", *figures.raw_per_second);
      json.Field("ratio", figures.PerSecond() / *figures.raw_per_second);
    }
    json.EndObject();
  }
  json.EndArray();
  if (postgres) {
    json.Key("postgres");
    json.BeginObject();
    json.Field("server", postgres->server);
    json.Field("clients", options.postgres_clients);
    json.Field("transfers_per_second", postgres->transfers_per_second);
    json.EndObject();
  }
  json.EndObject();
  PrintJson(json);
}

/// Where the fresh file and the raw ones are made: on the disk of the store that is measured.
std::string FolderOf(const RecordsOptions& options, const std::string& url) {
  if (!options.given_store || !url.starts_with(kRecordsOnSqlite)) return options.folder;
  std::string parent =
      std::filesystem::path(url.substr(kRecordsOnSqlite.size())).parent_path().string();
  return parent.empty() ? "." : parent;
}

Result<std::vector<ScenarioFigures>> MeasureAll(const RecordsOptions& options,
                                                const std::string& url, const std::string& folder) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, OpenStore(url));
  HF_ASSIGN_OR_RETURN(StoreStats stats, store->GetStats({}));
  std::vector<ScenarioFigures> all;
  for (auto& scenario : MakeScenarios(static_cast<std::size_t>(options.threads))) {
    if (options.scenario != "all" && options.scenario != scenario->name()) continue;
    HF_ASSIGN_OR_RETURN(ScenarioFigures figures, Measure(*store, *scenario, options));
    // In memory commits do not share anything, and two in one microsecond only look as if.
    if (stats.engine == "memory") figures.group = 0;
    if (options.raw) {  // right behind what it is held against: disks change their mind
      HF_ASSIGN_OR_RETURN(
          figures.raw_per_second,
          MeasureRawRecords(fmt::format("{}/raw-{}.db", folder, figures.name), figures.name,
                            std::max(1, static_cast<int>(figures.group + 0.5)),
                            std::min(options.duration, kRawRecordsLength)));
    }
    all.push_back(std::move(figures));
  }
  return all;
}

Result<int> BenchRecords(Cli& cli, const RecordsOptions& options) {
  std::string url = cli.globals().store;
  if (options.raw && options.given_store && !url.starts_with(kRecordsOnSqlite)) {
    return Fail(ErrorCode::kInvalidArgument,
                "--raw is held against an sqlite: store, on the same disk");
  }
  if (!options.postgres.empty()) HF_RETURN_IF_ERROR(CheckPostgres(options.postgres));
  HF_ASSIGN_OR_RETURN(TemporaryFolder folder, TemporaryFolder::Make(FolderOf(options, url)));
  if (!options.given_store) url = std::string(kRecordsOnSqlite) + folder.path() + "/records.db";

  HF_ASSIGN_OR_RETURN(std::vector<ScenarioFigures> all, MeasureAll(options, url, folder.path()));
  std::optional<PostgresFigures> postgres;
  if (!options.postgres.empty()) {
    HF_ASSIGN_OR_RETURN(
        postgres, MeasurePostgres(options.postgres, options.postgres_clients, options.duration));
  }
  if (cli.globals().output == OutputFormat::kJson) {
    PrintFiguresJson(all, postgres, base::ShownUrl(url), options);
    return 0;
  }
  fmt::print("{}, {} threads, each waiting for its own commit\n\n", base::ShownUrl(url),
             options.threads);
  PrintTable(all);
  if (postgres) PrintPostgres(all, *postgres, options);
  return 0;
}

}  // namespace

void AddBenchRecords(Cli& cli, CLI::App& group) {
  auto options = std::make_shared<RecordsOptions>();
  CLI::App& records = cli.AddCommand(
      group, "records",
      "Measures changes to records, and checks that the store holds exactly what it acknowledged.\n"
      "Without --store, on a fresh SQLite file that is removed afterwards. In a store that is\n"
      "named, the kinds bench_counter, bench_account and bench_ticket stay behind.",
      "holdfast bench records --raw\n"
      "holdfast bench records --scenario transfer --postgres postgresql://localhost/bench\n"
      "holdfast bench records --store http://127.0.0.1:8420 --duration 10s",
      [&cli, options] {
        options->given_store = cli.root().get_option("--store")->count() > 0;
        return BenchRecords(cli, *options);
      });
  cli.AddText(records, "--dir", options->folder, "DIR", "where the fresh file is made (.)");
  cli.AddNumber(records, "--threads", options->threads, 1, "threads that commit (64)");
  cli.AddDuration(records, "--duration", options->duration, "how long each scenario takes (5s)");
  std::vector<std::pair<std::string, std::string>> words;
  for (const char* word : {"hot", "spread", "transfer", "transition", "mixed", "all"}) {
    words.emplace_back(word, word);
  }
  cli.AddChoice<std::string, std::string>(records, "--scenario", options->scenario, words,
                                          "one of them, or all (all)");
  records.add_flag("--raw", options->raw,
                   "beside the same statements written by hand, in transactions of the same size");
  cli.AddText(records, "--postgres", options->postgres, "URL",
              "beside transfers under row locks on PostgreSQL, by pgbench");
  cli.AddNumber(records, "--postgres-clients", options->postgres_clients, 1,
                "connections of pgbench (8)");
}

}  // namespace holdfast::cli
