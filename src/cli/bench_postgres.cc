// Transfers on PostgreSQL, by its own pgbench: row locks, taken in order.
#include <fmt/format.h>

#include "base/result.h"
#include "cli/bench_pgbench.h"
#include "cli/bench_records.h"
#include "cli/bench_scenarios.h"

namespace holdfast::cli {
namespace {

// Both rows are locked by one statement, in the order of their ids: nobody can deadlock.
constexpr const char* kScript =
    "\\set a random(0, :records - 1)\n"
    "\\set b mod(:a + random(1, :records - 1), :records)\n"
    "\\set amount random(1, 100)\n"
    "BEGIN;\n"
    "SELECT id, balance FROM {table} WHERE id IN (:a, :b) ORDER BY id FOR UPDATE;\n"
    "UPDATE {table} SET balance = balance - :amount WHERE id = :a;\n"
    "UPDATE {table} SET balance = balance + :amount WHERE id = :b;\n"
    "COMMIT;\n";

}  // namespace

Result<PostgresFigures> MeasurePostgres(const std::string& url, int clients, Duration length) {
  PostgresFigures figures;
  HF_ASSIGN_OR_RETURN(figures.server, DescribePostgres(url));
  BenchTable accounts(url);
  HF_RETURN_IF_ERROR(accounts.Query(
      "CREATE TABLE {table} (id integer PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= "
      "0))"));
  HF_RETURN_IF_ERROR(
      accounts.Query(fmt::format("INSERT INTO {{table}} SELECT i, {} FROM generate_series(0, {}) i",
                                 kBenchBalance, kSpreadRecords - 1)));
  HF_RETURN_IF_ERROR(accounts.Query("VACUUM ANALYZE {table}"));
  HF_ASSIGN_OR_RETURN(figures.transfers_per_second,
                      RunPgbench(url, accounts.In(kScript), clients, length,
                                 {"-D", fmt::format("records={}", kSpreadRecords)}));
  HF_ASSIGN_OR_RETURN(std::string sum, accounts.Query("SELECT sum(balance) FROM {table}"));
  if (sum == std::to_string(kSpreadRecords * kBenchBalance)) return figures;
  return Fail(ErrorCode::kInternal, "the sum of the balances in PostgreSQL is " + sum);
}

}  // namespace holdfast::cli
