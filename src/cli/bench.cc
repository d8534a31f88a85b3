#include "cli/bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/result.h"
#include "cli/bench_commands.h"
#include "cli/progress.h"

namespace holdfast::cli {

double Samples::Percentile(double part) {
  if (micros_.empty()) return 0;
  std::sort(micros_.begin(), micros_.end());
  auto last = static_cast<double>(micros_.size() - 1);
  return micros_[static_cast<std::size_t>(part * last + 0.5)];
}

Result<TemporaryFolder> TemporaryFolder::Make(const std::string& parent) {
  std::string path = parent + "/holdfast-bench-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    return Fail(ErrorCode::kUnavailable,
                fmt::format("cannot make a folder in {}: {}", parent, std::strerror(errno)));
  }
  return TemporaryFolder(std::move(path));
}

TemporaryFolder::~TemporaryFolder() {
  if (path_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string MakePayload(int bytes) {
  std::string payload(static_cast<std::size_t>(std::max(bytes, 2)), 'x');
  payload.front() = payload.back() = '"';
  return payload;
}

std::string QueueOfItsOwn(std::string_view benchmark) {
  return fmt::format("bench_{}_{:08x}", benchmark, Random::System().Next() >> 32U);
}

Result<void> FillQueue(Store& store, const std::string& queue, std::int64_t jobs,
                       int payload_bytes) {
  Progress progress(fmt::format("pushing {}", WithCommas(jobs)), jobs);
  std::string payload = MakePayload(payload_bytes);
  for (std::int64_t done = 0; done < jobs;) {
    Batch batch;
    for (int i = 0; i < 1000 && done < jobs; ++i, ++done) {
      batch.operations.push_back(EnqueueJob{{.kind = "bench", .queue = queue, .payload = payload}});
    }
    HF_RETURN_IF_ERROR(store.Commit({}, std::move(batch)));
    progress.Update(done);
  }
  return {};
}

std::string Whole(double number) {
  return WithCommas(static_cast<std::int64_t>(number + 0.5));
}

double ResidentMiB() {
  std::ifstream statm("/proc/self/statm");
  double total = 0;
  double resident = 0;
  statm >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1024 * 1024);
}

void AddBenchCommands(Cli& cli) {
  CLI::App& group = cli.AddGroup(cli.root(), "bench", "Measures what this machine can do.");
  AddBenchJobs(cli, group);
  AddBenchClaim(cli, group);
  AddBenchWork(cli, group);
  AddBenchRecords(cli, group);
  AddBenchLocks(cli, group);
}

}  // namespace holdfast::cli
