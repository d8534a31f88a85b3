#include "cli/bench_pgbench.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>

#include "base/result.h"
#include "cli/bench.h"
#include "cli/input.h"
#include "cli/process.h"
#include "engine/postgres/tool_target.h"

namespace holdfast::cli {
namespace {

/// What a tool of PostgreSQL prints, connected to `url`, of which its last argument tells all but a
/// password.
Result<std::string> RunPostgresTool(const std::string& name, std::vector<std::string> arguments,
                                    const std::string& url) {
  HF_ASSIGN_OR_RETURN(engine::postgres::ToolTarget target, engine::postgres::TargetOfTools(url));
  ChildSpec spec;
  HF_ASSIGN_OR_RETURN(spec.program, FindProgram(name));
  spec.command = std::move(arguments);
  spec.command.insert(spec.command.begin(), name);
  spec.command.push_back(std::move(target.database));
  spec.environment = std::move(target.environment);
  HF_ASSIGN_OR_RETURN(ChildResult result, RunChild(spec, {}, {}));
  if (result.exit_code == 0 && result.signal == 0) return std::move(result.output);
  return Fail(ErrorCode::kUnavailable, name + " failed: it says why above");
}

/// From "tps = 1234.567890 (without initial connection time)".
Result<double> PgbenchRateOf(std::string_view report) {
  constexpr std::string_view kLabel = "tps = ";
  std::size_t at = report.find(kLabel);
  double rate = 0;
  if (at != std::string_view::npos) {
    std::string_view text = report.substr(at + kLabel.size());
    std::from_chars(text.data(), text.data() + text.size(), rate);
  }
  if (rate > 0) return rate;
  return Fail(ErrorCode::kInternal, "pgbench does not say how many transactions it did");
}

}  // namespace

Result<std::string> QueryPostgres(const std::string& url, const std::string& sql) {
  HF_ASSIGN_OR_RETURN(std::string out,
                      RunPostgresTool("psql", {"-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql}, url));
  return std::string(TrimBlanks(out));
}

Result<void> CheckPostgres(const std::string& url) {
  for (const char* name : {"psql", "pgbench"}) {
    if (FindProgram(name)) continue;
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("--postgres needs {}, which is not on the PATH: it comes with "
                            "PostgreSQL (Debian: postgresql)",
                            name));
  }
  HF_RETURN_IF_ERROR(QueryPostgres(url, "SELECT 1"));
  return {};
}

Result<std::string> DescribePostgres(const std::string& url) {
  return QueryPostgres(url,
                       "SELECT 'PostgreSQL ' || current_setting('server_version') || ', fsync=' || "
                       "current_setting('fsync') || ', synchronous_commit=' || "
                       "current_setting('synchronous_commit')");
}

Result<double> RunPgbench(const std::string& url, const std::string& script, int clients,
                          Duration length, std::vector<std::string> more) {
  HF_ASSIGN_OR_RETURN(TemporaryFolder folder, TemporaryFolder::Make("."));
  const std::string file = folder.path() + "/script.sql";
  std::ofstream(file) << script;
  const auto seconds =
      std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::seconds>(length).count());
  std::vector<std::string> arguments = {"-n",
                                        "-c",
                                        std::to_string(clients),
                                        "-j",
                                        std::to_string(std::min(clients, 2)),
                                        "-T",
                                        std::to_string(seconds),
                                        "-f",
                                        file};
  arguments.insert(arguments.end(), more.begin(), more.end());
  HF_ASSIGN_OR_RETURN(std::string report, RunPostgresTool("pgbench", std::move(arguments), url));
  return PgbenchRateOf(report);
}

BenchTable::BenchTable(std::string url)
    : url_(std::move(url)), name_(fmt::format("holdfast_bench_{:016x}", Random::System().Next())) {}

BenchTable::~BenchTable() {
  if (is_made_) (void)QueryPostgres(url_, In("DROP TABLE {table}"));
}

std::string BenchTable::In(std::string_view text) const {
  std::string whole(text);
  constexpr std::string_view kMark = "{table}";
  for (std::size_t at = 0; (at = whole.find(kMark, at)) != std::string::npos;) {
    whole.replace(at, kMark.size(), name_);
  }
  return whole;
}

Result<std::string> BenchTable::Query(std::string_view sql) {
  HF_ASSIGN_OR_RETURN(std::string out, QueryPostgres(url_, In(sql)));
  is_made_ = true;
  return out;
}

}  // namespace holdfast::cli
