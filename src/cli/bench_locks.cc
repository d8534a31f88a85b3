// holdfast bench locks: how many times a second a lock is taken and given back, and how long it
// takes from one owner's release to the next one's grant, beside Redis and PostgreSQL.
#include "cli/bench_locks.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "base/result.h"
#include "base/store_url.h"
#include "cli/bench_commands.h"
#include "cli/bench_pgbench.h"
#include "cli/bench_target.h"

namespace holdfast::cli {
namespace {

struct LocksOptions {
  bool given_store = false;
  std::string folder = ".";
  int threads = 64;
  Duration duration = std::chrono::seconds(5);
  std::string scenario = "all";
  bool http = false;
  bool redis = false;
  std::string postgres;
};

class StoreUser final : public LockUser {
 public:
  StoreUser(Store& store, const LockScenario& scenario, int owner) : store_(store) {
    request_.owner = fmt::format("owner-{}", owner);
    request_.ttl = std::chrono::minutes(1);
    if (!scenario.is_spread) request_.wait = std::chrono::minutes(1);
    if (scenario.places == 1) return;
    request_.mode = LockMode::kShared;
    request_.limit = scenario.places;
  }

  Result<Token> Acquire(const std::string& name) override {
    request_.name = name;
    HF_ASSIGN_OR_RETURN(std::vector<LockGrant> grants, store_.Acquire({}, request_));
    return token_ = grants.front().token;
  }
  Result<void> Release(const std::string& name) override {
    HF_RETURN_IF_ERROR(store_.Release({}, {.name = name, .token = token_}));
    return {};
  }

 private:
  Store& store_;
  AcquireLock request_;
  Token token_ = 0;
};

/// Another name for every run, so that runs on one store do not meet.
std::string MakePrefix() {
  return fmt::format("bench-{:08x}", static_cast<std::uint32_t>(Random::System().Next() >> 32));
}

/// And nothing may be left behind.
Result<LockFigures> MeasureStore(Store& store, const LockScenario& scenario, Duration length) {
  const std::string prefix = MakePrefix();
  auto make = [&](int owner) -> Result<std::unique_ptr<LockUser>> {
    return std::make_unique<StoreUser>(store, scenario, owner);
  };
  HF_ASSIGN_OR_RETURN(LockFigures figures, MeasureLocks(scenario, prefix, make, length));
  figures.system = "Holdfast";
  HF_ASSIGN_OR_RETURN(LockPage left, store.ListLocks({}, {.prefix = prefix}));
  if (left.items.empty()) return figures;
  return Fail(ErrorCode::kInternal,
              fmt::format("lock {} was given back, but is still there", left.items.front().name));
}

/// What is measured beside the store.
struct Yardsticks {
  std::unique_ptr<RedisServer> redis;
  std::string postgres;  // its URL; empty: not asked for
  std::string folder;
};

/// One scenario on every system that has such locks, one right after the other.
Result<void> MeasureScenario(Store& store, const LockScenario& scenario, Duration length,
                             Yardsticks& yardsticks, std::vector<LockFigures>& all) {
  HF_ASSIGN_OR_RETURN(LockFigures figures, MeasureStore(store, scenario, length));
  all.push_back(std::move(figures));
  if (scenario.places > 1) return {};  // the others have no such thing
  if (yardsticks.redis != nullptr) {
    auto make = [&](int owner) { return yardsticks.redis->Connect(owner); };
    HF_ASSIGN_OR_RETURN(LockFigures redis, MeasureLocks(scenario, MakePrefix(), make, length));
    redis.system = "Redis";
    all.push_back(std::move(redis));
  }
  if (!yardsticks.postgres.empty()) {
    HF_ASSIGN_OR_RETURN(
        LockFigures postgres,
        MeasurePostgresLocks(yardsticks.postgres, yardsticks.folder, scenario, length));
    all.push_back(std::move(postgres));
  }
  return {};
}

/// What Holdfast did in the scenario in which `figures` were measured.
const LockFigures& OursOf(const std::vector<LockFigures>& all, const LockFigures& figures) {
  return *std::ranges::find(all, figures.scenario, &LockFigures::scenario);
}

void PrintTable(std::vector<LockFigures>& all, const std::vector<LockScenario>& scenarios) {
  Table table({{"SCENARIO"},
               {"SYSTEM"},
               {"PAIRS/S", true},
               {"P50 MS", true},
               {"P99 MS", true},
               {"MAX MS", true},
               {"HAND-OVER P50", true},
               {"P99", true},
               {"MAX MS", true},
               {"HOLDFAST DOES", true}});
  for (LockFigures& figures : all) {
    const auto scenario = std::ranges::find(scenarios, figures.scenario, &LockScenario::name);
    const LockFigures& ours = OursOf(all, figures);
    const bool is_ours = &ours == &figures;
    std::vector<std::string> row = {is_ours ? scenario->title : "", figures.system,
                                    Whole(figures.PerSecond())};
    for (Samples* samples : {&figures.pair, &figures.handover}) {
      for (double part : {0.5, 0.99, 1.0}) {
        row.push_back(
            samples->count() == 0 ? "-" : fmt::format("{:.3f}", samples->Percentile(part) / 1000));
      }
    }
    row.push_back(is_ours ? ""
                          : fmt::format("{:.2f} times", ours.PerSecond() / figures.PerSecond()));
    table.AddRow(std::move(row));
  }
  table.Print();
}

void WriteSamples(base::JsonWriter& json, const std::string& name, Samples& samples) {
  if (samples.count() == 0) return;
  json.Field(name + "_count", samples.count());
  for (auto [suffix, part] :
       {std::pair{"_p50_us", 0.5}, {"_p95_us", 0.95}, {"_p99_us", 0.99}, {"_max_us", 1.0}}) {
    json.Field(name + suffix, samples.Percentile(part));
  }
}

void PrintFiguresJson(std::vector<LockFigures>& all, const std::string& store,
                      const std::vector<std::string>& others) {
  base::JsonWriter json;
  json.BeginObject();
  json.Field("store", store);
  json.Key("beside");
  json.BeginArray();
  for (const std::string& other : others) json.String(other);
  json.EndArray();
  json.Key("figures");
  json.BeginArray();
  for (LockFigures& figures : all) {
    const LockFigures& ours = OursOf(all, figures);
    json.BeginObject();
    json.Field("scenario", figures.scenario);
    json.Field("system", figures.system);
    json.Field("pairs", figures.pairs);
    json.Field("seconds", figures.seconds);
    json.Field("pairs_per_second", figures.PerSecond());
    WriteSamples(json, "pair", figures.pair);
    WriteSamples(json, "handover", figures.handover);
    if (&ours != &figures) json.Field("ratio", ours.PerSecond() / figures.PerSecond());
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
  PrintJson(json);
}

Result<int> BenchLocks(Cli& cli, const LocksOptions& options) {
  std::string url = cli.globals().store;
  if (!options.postgres.empty()) HF_RETURN_IF_ERROR(CheckPostgres(options.postgres));
  HF_ASSIGN_OR_RETURN(TemporaryFolder folder, TemporaryFolder::Make(options.folder));
  if (!options.given_store) url = "sqlite:" + folder.path() + "/locks.db";

  Yardsticks yardsticks{.postgres = options.postgres, .folder = folder.path()};
  std::vector<std::string> others;
  if (options.redis) {
    Result<std::unique_ptr<RedisServer>> redis = RedisServer::Start(folder.path());
    if (redis) {
      others.push_back((*redis)->description());
      yardsticks.redis = *std::move(redis);
    } else if (redis.error().code == ErrorCode::kInvalidArgument) {
      others.push_back("Redis is left out: " + redis.error().message);
    } else {
      return std::unexpected(redis.error());
    }
  }
  if (!options.postgres.empty()) {
    HF_ASSIGN_OR_RETURN(std::string server, DescribePostgres(options.postgres));
    others.push_back(std::move(server));
  }

  const std::vector<LockScenario> scenarios = LockScenariosOf(options.threads);
  std::vector<LockFigures> all;
  {
    HF_ASSIGN_OR_RETURN(BenchTarget target, OpenBenchTarget(url, options.http));
    for (const LockScenario& scenario : scenarios) {
      if (options.scenario != "all" && options.scenario != scenario.name) continue;
      HF_RETURN_IF_ERROR(
          MeasureScenario(target.Use(), scenario, options.duration, yardsticks, all));
    }
  }
  url = base::ShownUrl(url);
  if (options.http) url += " behind HTTP";
  if (cli.globals().output == OutputFormat::kJson) {
    PrintFiguresJson(all, url, others);
    return 0;
  }
  fmt::print("{}: pairs of acquire and release\n", url);
  for (const std::string& other : others) fmt::print("{}\n", other);
  fmt::print("\n");
  PrintTable(all, scenarios);
  return 0;
}

}  // namespace

void AddBenchLocks(Cli& cli, CLI::App& group) {
  auto options = std::make_shared<LocksOptions>();
  CLI::App& locks =
      cli.AddCommand(group, "locks",
                     "Measures taking locks and giving them back, alone and in line, and checks "
                     "that they exclude.\n"
                     "Without --store, on a fresh SQLite file that is removed afterwards.",
                     "holdfast bench locks --redis\n"
                     "holdfast bench locks --store memory: --scenario spread-1\n"
                     "holdfast bench locks --http --postgres postgresql://localhost/bench",
                     [&cli, options] {
                       options->given_store = cli.root().get_option("--store")->count() > 0;
                       return BenchLocks(cli, *options);
                     });
  cli.AddText(locks, "--dir", options->folder, "DIR", "where the fresh file is made (.)");
  cli.AddNumber(locks, "--threads", options->threads, 1, "owners, each a thread (64)");
  cli.AddDuration(locks, "--duration", options->duration, "how long each scenario takes (5s)");
  std::vector<std::pair<std::string, std::string>> words;
  for (const LockScenario& scenario : LockScenariosOf(1)) {
    words.emplace_back(scenario.name, scenario.name);
  }
  words.emplace_back("all", "all");
  cli.AddChoice<std::string, std::string>(locks, "--scenario", options->scenario, words,
                                          "one of them, or all (all)");
  locks.add_flag("--http", options->http, "through a server in this process");
  locks.add_flag("--redis", options->redis,
                 "beside a redis-server that is started for it, its file synced at every write");
  cli.AddText(locks, "--postgres", options->postgres, "URL",
              "beside advisory locks of PostgreSQL, by pgbench");
}

}  // namespace holdfast::cli
