// holdfast bench claim and claim-by-id: what a claim costs with a short and with a long backlog,
// and how quickly single jobs can be taken by their ids.
#include <fmt/format.h>

#include <memory>

#include "base/result.h"
#include "base/store_url.h"
#include "cli/bench.h"
#include "cli/bench_commands.h"

namespace holdfast::cli {
namespace {

struct ClaimOptions {
  std::string folder = ".";
  std::int64_t few = 10'000;
  std::int64_t many = 1'000'000;
  int claims = 500;
  int payload = 250;
  std::int64_t jobs = 200'000;
};

/// What claims cost with so many jobs pending.
struct Backlog {
  std::int64_t pending = 0;
  Samples one;      // claims of one job
  Samples hundred;  // claims of a hundred
  double memory_mib = 0;
};

Result<Backlog> MeasureBacklog(const std::string& url, std::int64_t pending,
                               const ClaimOptions& options) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, OpenStore(url));
  const std::string queue = QueueOfItsOwn("claim");
  HF_RETURN_IF_ERROR(FillQueue(*store, queue, pending, options.payload));
  Backlog backlog;
  backlog.pending = pending;
  // First the claims of one, of which the first few warm the caches; never more than half of it
  // all.
  for (auto [max, samples] : {std::pair{1, &backlog.one}, std::pair{100, &backlog.hundred}}) {
    int warm_up = 20;
    auto most = static_cast<int>(std::min<std::int64_t>(options.claims, pending / 4 / max));
    for (int i = 0; i < most + warm_up; ++i) {
      auto start = std::chrono::steady_clock::now();
      auto jobs = store->Claim({}, {.worker = "bench", .queues = {queue}, .max = max});
      if (!jobs) return std::unexpected(jobs.error());
      if (i >= warm_up) samples->Add(std::chrono::steady_clock::now() - start);
    }
  }
  backlog.memory_mib = ResidentMiB();
  return backlog;
}

double RatioOf(Samples& many, Samples& few) {
  double base = few.Percentile(0.5);
  return base > 0 ? many.Percentile(0.5) / base : 0;
}

void PrintBacklogs(Backlog& few, Backlog& many, OutputFormat format) {
  double one = RatioOf(many.one, few.one);
  double hundred = RatioOf(many.hundred, few.hundred);
  if (format == OutputFormat::kTable) {
    Table table({{"PENDING", true},
                 {"CLAIM 1: P50 MS", true},
                 {"P95 MS", true},
                 {"CLAIM 100: P50 MS", true},
                 {"P95 MS", true},
                 {"MEMORY MIB", true}});
    for (Backlog* backlog : {&few, &many}) {
      table.AddRow({WithCommas(backlog->pending),
                    fmt::format("{:.3f}", backlog->one.Percentile(0.5) / 1000),
                    fmt::format("{:.3f}", backlog->one.Percentile(0.95) / 1000),
                    fmt::format("{:.3f}", backlog->hundred.Percentile(0.5) / 1000),
                    fmt::format("{:.3f}", backlog->hundred.Percentile(0.95) / 1000),
                    fmt::format("{:.0f}", backlog->memory_mib)});
    }
    table.Print();
    fmt::print("\nratio at the median: {:.2f} for claims of 1, {:.2f} for claims of 100\n", one,
               hundred);
    return;
  }
  base::JsonWriter json;
  json.BeginObject();
  json.Key("backlogs");
  json.BeginArray();
  for (Backlog* backlog : {&few, &many}) {
    json.BeginObject();
    json.Field("pending", backlog->pending);
    json.Field("claim_1_p50_us", backlog->one.Percentile(0.5));
    json.Field("claim_1_p95_us", backlog->one.Percentile(0.95));
    json.Field("claim_100_p50_us", backlog->hundred.Percentile(0.5));
    json.Field("claim_100_p95_us", backlog->hundred.Percentile(0.95));
    json.Field("resident_mib", backlog->memory_mib);
    json.EndObject();
  }
  json.EndArray();
  json.Field("ratio_1", one);
  json.Field("ratio_100", hundred);
  json.EndObject();
  PrintJson(json);
}

Result<int> BenchClaim(Cli& cli, const ClaimOptions& options) {
  const bool given = cli.root().get_option("--store")->count() > 0;
  HF_ASSIGN_OR_RETURN(TemporaryFolder folder, TemporaryFolder::Make(options.folder));
  auto url = [&](std::string_view file) {
    return given ? cli.globals().store : fmt::format("sqlite:{}/{}", folder.path(), file);
  };
  HF_ASSIGN_OR_RETURN(Backlog few, MeasureBacklog(url("few.db"), options.few, options));
  HF_ASSIGN_OR_RETURN(Backlog many, MeasureBacklog(url("many.db"), options.many, options));
  PrintBacklogs(few, many, cli.globals().output);
  return 0;
}

/// On one thread: claims jobs by their ids, one after the other.
Result<int> BenchClaimById(Cli& cli, const ClaimOptions& options) {
  bool given = cli.root().get_option("--store")->count() > 0;
  std::string url = given ? cli.globals().store : "memory:";
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, OpenStore(url));
  HF_RETURN_IF_ERROR(FillQueue(*store, "default", options.jobs, options.payload));
  std::vector<JobId> ids;
  JobFilter filter{.state = JobState::kPending, .kind = "bench", .limit = 1000};
  do {
    HF_ASSIGN_OR_RETURN(JobPage page, store->ListJobs({}, filter));
    for (const Job& job : page.items) ids.push_back(job.id);
    filter.cursor = page.next_cursor;
  } while (!filter.cursor.empty());

  auto start = std::chrono::steady_clock::now();
  for (JobId id : ids) {
    auto job = store->ClaimById({}, id, "bench");
    if (!job) return std::unexpected(job.error());
    if (!*job) return Fail(ErrorCode::kInternal, fmt::format("job {} was not claimed", id));
  }
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  double rate = static_cast<double>(ids.size()) / seconds;
  if (cli.globals().output == OutputFormat::kJson) {
    std::string store_text;
    base::AppendJsonString(store_text, base::ShownUrl(url));
    fmt::print("{{\"store\":{},\"claims\":{},\"seconds\":{:.6f},\"claims_per_second\":{:.0f}}}\n",
               store_text, ids.size(), seconds, rate);
  } else {
    fmt::print("{}: {} claims by id a second, on one thread\n", base::ShownUrl(url),
               WithCommas(static_cast<std::int64_t>(rate)));
  }
  return 0;
}

}  // namespace

void AddBenchClaim(Cli& cli, CLI::App& group) {
  auto options = std::make_shared<ClaimOptions>();
  CLI::App& claim =
      cli.AddCommand(group, "claim",
                     "Compares what a claim costs with few and with many jobs pending.\n"
                     "Without --store, on fresh SQLite files that are removed afterwards; in a "
                     "store that is named\n"
                     "the jobs stay.",
                     "holdfast bench claim --many 100000\n"
                     "holdfast bench claim --store postgres://localhost/app?schema=bench",
                     [&cli, options] { return BenchClaim(cli, *options); });
  cli.AddText(claim, "--dir", options->folder, "DIR", "where the files are made (.)");
  cli.AddNumber(claim, "--few", options->few, 1000, "jobs pending (10000)");
  cli.AddNumber(claim, "--many", options->many, 1000, "jobs pending (1000000)");
  cli.AddNumber(claim, "--claims", options->claims, 1, "claims of each size (500)");
  cli.AddNumber(claim, "--payload", options->payload, 2, "bytes of payload (250)");

  CLI::App& by_id = cli.AddCommand(
      group, "claim-by-id", "Measures claims by id on one thread (memory:, or --store).",
      "holdfast bench claim-by-id", [&cli, options] { return BenchClaimById(cli, *options); });
  cli.AddNumber(by_id, "--jobs", options->jobs, 1, "how many (200000)");
}

}  // namespace holdfast::cli
