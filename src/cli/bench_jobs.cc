// holdfast bench jobs: how many job life cycles a second, and how long each call takes.
#include <fmt/format.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <thread>

#include "base/result.h"
#include "base/store_url.h"
#include "cli/bench.h"
#include "cli/bench_commands.h"
#include "cli/bench_pgbench.h"
#include "cli/bench_target.h"
#include "cli/process.h"
#include "engine/postgres/settings.h"

namespace holdfast::cli {
namespace {

constexpr std::string_view kSqlite = "sqlite:";
constexpr int kClientsMost = 32;  // of pgbench: a server has a hundred connections
constexpr int kClaims = 1000;     // before what was pushed counts as lost
constexpr Duration kRawLength = std::chrono::seconds(3);

struct JobsOptions {
  bool given_store = false;
  std::string folder = ".";
  int batch = 100;
  int batch_threads = 4;
  int threads = 64;
  int payload = 250;
  std::optional<std::int64_t> jobs;
  Duration seconds = std::chrono::seconds(5);
  bool http = false;
};

/// The work that is left: so many jobs, or so much time. Threads: any.
class Budget {
 public:
  explicit Budget(const JobsOptions& options)
      : left_(options.jobs.value_or(std::numeric_limits<std::int64_t>::max())),
        end_(options.jobs ? SteadyTime::max()
                          : std::chrono::steady_clock::now() + options.seconds) {}
  /// Up to `group` jobs to do now; 0: that was all.
  int Take(int group) {
    if (std::chrono::steady_clock::now() >= end_) return 0;
    std::int64_t before = left_.fetch_sub(group);
    return static_cast<int>(std::clamp<std::int64_t>(before, 0, group));
  }

 private:
  std::atomic<std::int64_t> left_;
  const SteadyTime end_;
};

template <typename Call>
auto Timed(Samples& samples, Call call) {
  auto start = std::chrono::steady_clock::now();
  auto result = call();
  samples.Add(std::chrono::steady_clock::now() - start);
  return result;
}

/// Takes jobs through their life, `group` at a time, on one thread.
class Cycler {
 public:
  Cycler(Store& store, int group, int payload_bytes, std::string queue)
      : store_(store),
        group_(group),
        payload_(MakePayload(payload_bytes)),
        queue_(std::move(queue)) {}

  void Run(Budget& budget) {
    while (int jobs = budget.Take(group_)) {
      auto done = LifeCycles(jobs);
      if (!done) {
        error_ = done.error();
        return;
      }
      finished_ += jobs;
    }
  }

  const std::optional<Error>& error() const { return error_; }
  std::int64_t finished() const { return finished_; }
  Samples enqueue_, claim_, complete_;

 private:
  Result<void> LifeCycles(int jobs) {
    Batch enqueue;
    for (int i = 0; i < jobs; ++i) {
      enqueue.operations.push_back(
          EnqueueJob{{.kind = "bench", .queue = queue_, .payload = payload_}});
    }
    HF_RETURN_IF_ERROR(Timed(enqueue_, [&] { return store_.Commit({}, std::move(enqueue)); }));
    // Of others as well, who take as many of ours: whoever has pushed finds as many again.
    Batch complete;
    for (int tries = 0; static_cast<int>(complete.operations.size()) < jobs; ++tries) {
      if (tries == kClaims) {
        return Fail(ErrorCode::kInternal,
                    fmt::format("{} has fewer jobs than were pushed into it", queue_));
      }
      ClaimRequest request{.worker = "bench",
                           .queues = {queue_},
                           .max = jobs - static_cast<int>(complete.operations.size())};
      auto claimed = Timed(claim_, [&] { return store_.Claim({}, request); });
      if (!claimed) return std::unexpected(claimed.error());
      for (const Job& job : *claimed) {
        complete.operations.push_back(CompleteJob{.id = job.id, .token = job.token});
      }
    }
    HF_RETURN_IF_ERROR(Timed(complete_, [&] { return store_.Commit({}, std::move(complete)); }));
    return {};
  }

  Store& store_;
  const int group_;
  const std::string payload_;
  const std::string queue_;
  std::int64_t finished_ = 0;
  std::optional<Error> error_;
};

/// One way of doing it.
struct Shape {
  std::string name;
  int threads = 1;
  int group = 1;      // jobs to a call
  int raw_group = 1;  // jobs to a transaction of the hand-written statements
};

std::vector<Shape> ShapesOf(const JobsOptions& options) {
  std::vector<Shape> shapes = {
      {fmt::format("batches of {}, 1 thread", options.batch), 1, options.batch, options.batch}};
  if (options.batch_threads > 1) {
    shapes.push_back(
        {fmt::format("batches of {}, {} threads", options.batch, options.batch_threads),
         options.batch_threads, options.batch, options.batch});
  }
  // One-job calls of many threads share commits: about half of the threads are in one at a time.
  shapes.push_back({fmt::format("one job a call, {} threads", options.threads), options.threads, 1,
                    std::max(1, options.threads / 2)});
  return shapes;
}

Result<CaseFigures> Measure(Store& store, const JobsOptions& options, const Shape& shape) {
  const std::string queue = fmt::format("bench-{}-{}", shape.threads, shape.group);
  std::vector<std::unique_ptr<Cycler>> cyclers;
  for (int i = 0; i < shape.threads; ++i) {
    cyclers.push_back(std::make_unique<Cycler>(store, shape.group, options.payload, queue));
  }
  Budget budget(options);
  auto start = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> running;
    for (auto& cycler : cyclers) running.emplace_back([&] { cycler->Run(budget); });
  }
  CaseFigures figures;
  figures.name = shape.name;
  figures.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  Samples enqueue, claim, complete;
  for (const auto& cycler : cyclers) {
    if (cycler->error()) return std::unexpected(*cycler->error());
    figures.life_cycles += cycler->finished();
    enqueue.Merge(cycler->enqueue_);
    claim.Merge(cycler->claim_);
    complete.Merge(cycler->complete_);
  }
  figures.calls = {{"enqueue", std::move(enqueue)},
                   {"claim", std::move(claim)},
                   {"complete", std::move(complete)}};
  return figures;
}

void PrintTable(std::vector<CaseFigures>& cases) {
  Table table({{"CASE"},
               {"CALL"},
               {"CALLS/S", true},
               {"P50 MS", true},
               {"P95 MS", true},
               {"P99 MS", true},
               {"MAX MS", true}});
  for (CaseFigures& figures : cases) {
    for (CallFigures& call : figures.calls) {
      std::vector<std::string> row = {figures.name, call.name};
      row.push_back(WithCommas(static_cast<std::int64_t>(static_cast<double>(call.samples.count()) /
                                                         std::max(figures.seconds, 1e-9))));
      for (double part : {0.5, 0.95, 0.99, 1.0}) {
        row.push_back(fmt::format("{:.3f}", call.samples.Percentile(part) / 1000));
      }
      table.AddRow(std::move(row));
    }
  }
  table.Print();
  std::fputc('\n', stdout);
  Table summary({{"CASE"}, {"LIFE CYCLES/S", true}, {"RAW/S", true}, {"RATIO", true}});
  for (const CaseFigures& figures : cases) {
    bool raw = figures.raw_per_second > 0;
    summary.AddRow(
        {figures.name, WithCommas(static_cast<std::int64_t>(figures.PerSecond())),
         raw ? WithCommas(static_cast<std::int64_t>(figures.raw_per_second)) : "-",
         raw ? fmt::format("{:.2f}", figures.PerSecond() / figures.raw_per_second) : "-"});
  }
  summary.Print();
}

void PrintCasesJson(std::vector<CaseFigures>& cases, const std::string& store) {
  base::JsonWriter json;
  json.BeginObject();
  json.Field("store", store);
  json.Key("cases");
  json.BeginArray();
  for (CaseFigures& figures : cases) {
    json.BeginObject();
    json.Field("case", figures.name);
    json.Field("life_cycles", figures.life_cycles);
    json.Field("seconds", figures.seconds);
    json.Field("life_cycles_per_second", figures.PerSecond());
    if (figures.raw_per_second > 0) {
      json.Field("raw_per_second", figures.raw_per_second);
      json.Field("ratio", figures.PerSecond() / figures.raw_per_second);
    }
    json.Key("calls");
    json.BeginArray();
    for (CallFigures& call : figures.calls) {
      json.BeginObject();
      json.Field("call", call.name);
      json.Field("count", call.samples.count());
      json.Field("p50_us", call.samples.Percentile(0.5));
      json.Field("p95_us", call.samples.Percentile(0.95));
      json.Field("p99_us", call.samples.Percentile(0.99));
      json.Field("max_us", call.samples.Percentile(1));
      json.EndObject();
    }
    json.EndArray();
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
  PrintJson(json);
}

/// The hand-written statements on the same engine, measured once for each number of clients and
/// jobs. Threads: one.
class Yardstick {
 public:
  Yardstick(const JobsOptions& options, std::string url, std::string folder)
      : options_(options), url_(std::move(url)), folder_(std::move(folder)) {}

  /// 0: there are none.
  Result<double> PerSecond(const Shape& shape) {
    if (url_.starts_with(kSqlite)) {  // which has one writer, whoever asks it
      return Once({1, shape.raw_group}, [&](const std::string& file, Duration length) {
        return MeasureRawSqlite(file, shape.raw_group, options_.payload, length);
      });
    }
    if (!engine::postgres::IsPostgresUrl(url_) || !FindProgram("pgbench") || !FindProgram("psql"))
      return 0;
    const int clients = std::min(shape.threads, kClientsMost);
    return Once({clients, shape.group}, [&](const std::string&, Duration length) {
      return MeasureRawPostgres(url_, clients, shape.group,
                                static_cast<std::size_t>(options_.payload), length);
    });
  }

 private:
  template <typename Way>
  Result<double> Once(std::pair<int, int> shape, Way measure) {
    double& per_second = known_[shape];
    if (per_second > 0) return per_second;
    HF_ASSIGN_OR_RETURN(per_second, measure(fmt::format("{}/raw-{}.db", folder_, known_.size()),
                                            std::min(options_.seconds, kRawLength)));
    return per_second;
  }

  const JobsOptions& options_;
  const std::string url_;
  const std::string folder_;
  std::map<std::pair<int, int>, double> known_;  // by clients and jobs
};

Result<int> BenchJobs(Cli& cli, const JobsOptions& options) {
  if (options.batch > 1000) {
    return Fail(ErrorCode::kInvalidArgument, "--batch is at most 1000, the most a commit may hold");
  }
  std::string url = cli.globals().store;
  bool is_sqlite = !options.given_store || url.starts_with(kSqlite);
  std::string parent = options.folder;
  if (options.given_store && is_sqlite) {  // the yardstick belongs on the same disk
    parent = std::filesystem::path(url.substr(kSqlite.size())).parent_path().string();
    if (parent.empty()) parent = ".";
  }
  HF_ASSIGN_OR_RETURN(TemporaryFolder folder, TemporaryFolder::Make(parent));
  if (!options.given_store) url = std::string(kSqlite) + folder.path() + "/jobs.db";

  Yardstick yardstick(options, url, folder.path());
  std::vector<CaseFigures> cases;
  for (const Shape& shape : ShapesOf(options)) {
    {
      HF_ASSIGN_OR_RETURN(BenchTarget target, OpenBenchTarget(url, options.http));
      HF_ASSIGN_OR_RETURN(CaseFigures figures, Measure(target.Use(), options, shape));
      cases.push_back(std::move(figures));
    }
    // Right behind what it is held against: disks change their mind.
    HF_ASSIGN_OR_RETURN(cases.back().raw_per_second, yardstick.PerSecond(shape));
  }
  url = base::ShownUrl(url);
  if (options.http) url += " behind HTTP";
  if (cli.globals().output == OutputFormat::kJson) {
    PrintCasesJson(cases, url);
  } else {
    fmt::print("{}, payloads of {} bytes\n\n", url, options.payload);
    PrintTable(cases);
  }
  return 0;
}

}  // namespace

void AddBenchJobs(Cli& cli, CLI::App& group) {
  auto options = std::make_shared<JobsOptions>();
  CLI::App& jobs = cli.AddCommand(
      group, "jobs",
      "Measures job life cycles (enqueue, claim, complete), in batches and one at a time.\n"
      "Without --store, on a fresh SQLite file that is removed afterwards. Beside them "
      "hand-written\n"
      "statements: on the same tables of SQLite, and by pgbench, if it is there, on a lean table "
      "of\n"
      "PostgreSQL.",
      "holdfast bench jobs\n"
      "holdfast bench jobs --http --seconds 10\n"
      "holdfast bench jobs --store memory: --jobs 1000000",
      [&cli, options] {
        options->given_store = cli.root().get_option("--store")->count() > 0;
        return BenchJobs(cli, *options);
      });
  cli.AddText(jobs, "--dir", options->folder, "DIR", "where the fresh file is made (.)");
  cli.AddNumber(jobs, "--batch", options->batch, 1, "jobs in a batch (100)");
  cli.AddNumber(jobs, "--batch-threads", options->batch_threads, 1,
                "threads that commit batches (4)");
  cli.AddNumber(jobs, "--threads", options->threads, 1, "threads that do one job a call (64)");
  auto* count = cli.AddNumber<std::optional<std::int64_t>>(jobs, "--jobs", options->jobs, 1,
                                                           "so many jobs for each case");
  cli.AddDuration(jobs, "--seconds", options->seconds, "or so long (5s)")->excludes(count);
  cli.AddNumber(jobs, "--payload", options->payload, 2, "bytes of payload (250)");
  jobs.add_flag("--http", options->http, "through a server in this process");
}

}  // namespace holdfast::cli
