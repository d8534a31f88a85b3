// Advisory locks of PostgreSQL, by its own pgbench.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/result.h"
#include "cli/bench_locks.h"
#include "cli/bench_pgbench.h"

namespace holdfast::cli {
namespace {

constexpr const char* kSpread =
    "\\set name random(0, 99)\n"
    "SELECT pg_advisory_lock(:client_id, :name);\n"
    "SELECT pg_advisory_unlock(:client_id, :name);\n";
constexpr const char* kContended =
    "SELECT pg_advisory_lock({name});\n"
    "SELECT pg_advisory_unlock({name});\n";

/// One line a transaction: the client, its count, then how many microseconds it took.
void ReadLog(const std::filesystem::path& file, Samples& samples) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::int64_t client = 0;
    std::int64_t count = 0;
    std::int64_t micros = 0;
    if (words >> client >> count >> micros) samples.Add(std::chrono::microseconds(micros));
  }
}

}  // namespace

Result<LockFigures> MeasurePostgresLocks(const std::string& url, const std::string& folder,
                                         const LockScenario& scenario, Duration length) {
  HF_ASSIGN_OR_RETURN(TemporaryFolder logs, TemporaryFolder::Make(folder));
  const auto name = static_cast<std::int64_t>(Random::System().Next() >> 2);
  const std::string script =
      scenario.is_spread ? kSpread : fmt::format(fmt::runtime(kContended), fmt::arg("name", name));
  HF_ASSIGN_OR_RETURN(double rate,
                      RunPgbench(url, script, scenario.owners, length,
                                 {"-M", "prepared", "-l", "--log-prefix=" + logs.path() + "/log"}));
  LockFigures figures{.scenario = scenario.name, .system = "PostgreSQL"};
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(logs.path(), ignored)) {
    ReadLog(entry.path(), figures.pair);
  }
  figures.pairs = figures.pair.count();
  figures.seconds = static_cast<double>(figures.pairs) / rate;
  return figures;
}

}  // namespace holdfast::cli
