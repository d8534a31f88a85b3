// holdfast bench work: how fast a pool of workers gets through jobs that are there.
#include <fmt/format.h>

#include <memory>

#include "base/mutex.h"
#include "base/result.h"
#include "cli/bench.h"
#include "cli/bench_commands.h"
#include "cli/progress.h"
#include "holdfast/worker.h"

namespace holdfast::cli {
namespace {

struct WorkOptions {
  std::string folder = ".";
  std::int64_t jobs = 30'000;
  int concurrency = 64;
  int payload = 250;
};

/// Jobs a second, by handlers that do nothing.
Result<double> Work(Store& store, const WorkOptions& options) {
  const std::string queue = QueueOfItsOwn("work");
  HF_RETURN_IF_ERROR(FillQueue(store, queue, options.jobs, options.payload));
  WorkerPool pool(store, {.queues = {queue}, .concurrency = options.concurrency});
  pool.Handle("bench", [](Attempt&) -> Outcome { return Completed(); });
  Progress progress(fmt::format("working {}", WithCommas(options.jobs)), options.jobs);
  const auto start = std::chrono::steady_clock::now();
  HF_RETURN_IF_ERROR(pool.Start());
  base::Mutex mutex(base::LockRank::kWait);
  base::CondVar a_moment;
  for (WorkerStats stats; stats.completed < options.jobs; stats = pool.stats()) {
    if (stats.failed + stats.released + stats.lost > 0) {
      return Fail(ErrorCode::kUnavailable, "the store refused what came of a job");
    }
    progress.Update(stats.completed);
    base::MutexLock lock(mutex);
    (void)a_moment.WaitUntil(mutex,
                             std::chrono::steady_clock::now() + std::chrono::milliseconds(1));
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  pool.Stop();
  return static_cast<double>(options.jobs) / took.count();
}

Result<int> BenchWork(Cli& cli, const WorkOptions& options) {
  HF_ASSIGN_OR_RETURN(TemporaryFolder folder, TemporaryFolder::Make(options.folder));
  const bool given = cli.root().get_option("--store")->count() > 0;
  HF_ASSIGN_OR_RETURN(
      std::unique_ptr<Store> store,
      OpenStore(given ? cli.globals().store : fmt::format("sqlite:{}/work.db", folder.path())));
  HF_ASSIGN_OR_RETURN(double per_second, Work(*store, options));
  if (cli.globals().output == OutputFormat::kTable) {
    fmt::print("{} jobs, {} handlers that do nothing: {} jobs/s\n", WithCommas(options.jobs),
               options.concurrency, Whole(per_second));
    return 0;
  }
  base::JsonWriter json;
  json.BeginObject();
  json.Field("jobs", options.jobs);
  json.Field("concurrency", std::int64_t{options.concurrency});
  json.Field("jobs_per_second", per_second);
  json.EndObject();
  PrintJson(json);
  return 0;
}

}  // namespace

void AddBenchWork(Cli& cli, CLI::App& group) {
  auto options = std::make_shared<WorkOptions>();
  CLI::App& work = cli.AddCommand(
      group, "work",
      "Measures how fast a pool of workers gets through jobs that are there.\n"
      "Without --store, on a fresh SQLite file that is removed afterwards; in a store that is "
      "named the jobs stay.",
      "holdfast bench work --concurrency 16\n"
      "holdfast bench work --store postgres://localhost/app?schema=bench",
      [&cli, options] { return BenchWork(cli, *options); });
  cli.AddText(work, "--dir", options->folder, "DIR", "where the file is made (.)");
  cli.AddNumber(work, "--jobs", options->jobs, 1, "how many (30000)");
  cli.AddNumber(work, "--concurrency", options->concurrency, 1, "handlers at a time (64)");
  cli.AddNumber(work, "--payload", options->payload, 2, "bytes of payload (250)");
}

}  // namespace holdfast::cli
