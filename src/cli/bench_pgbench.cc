#include "cli/bench_pgbench.h"

#include <fmt/format.h>

#include <charconv>

#include "base/result.h"
#include "cli/input.h"
#include "cli/process.h"

namespace holdfast::cli {

Result<std::string> RunPostgresTool(const std::string& name, std::vector<std::string> arguments) {
  ChildSpec spec;
  HF_ASSIGN_OR_RETURN(spec.program, FindProgram(name));
  spec.command = std::move(arguments);
  spec.command.insert(spec.command.begin(), name);
  HF_ASSIGN_OR_RETURN(ChildResult result, RunChild(spec, {}, {}));
  if (result.exit_code == 0 && result.signal == 0) return std::move(result.output);
  return Fail(ErrorCode::kUnavailable, name + " failed: it says why above");
}

Result<std::string> QueryPostgres(const std::string& url, const std::string& sql) {
  HF_ASSIGN_OR_RETURN(std::string out,
                      RunPostgresTool("psql", {"-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, url}));
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

}  // namespace holdfast::cli
