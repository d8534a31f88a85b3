// Transfers on PostgreSQL, by its own pgbench: row locks, taken in order.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "base/result.h"
#include "cli/bench.h"
#include "cli/bench_pgbench.h"
#include "cli/bench_records.h"
#include "cli/bench_scenarios.h"

namespace holdfast::cli {
namespace {

// Both rows are locked by one statement, in the order of their ids: nobody can deadlock.
constexpr const char* kScript =
    "\\set a random(0, {records} - 1)\n"
    "\\set b mod(:a + random(1, {records} - 1), {records})\n"
    "\\set amount random(1, 100)\n"
    "BEGIN;\n"
    "SELECT id, balance FROM {table} WHERE id IN (:a, :b) ORDER BY id FOR UPDATE;\n"
    "UPDATE {table} SET balance = balance - :amount WHERE id = :a;\n"
    "UPDATE {table} SET balance = balance + :amount WHERE id = :b;\n"
    "COMMIT;\n";

/// The table of one run. Threads: one.
class Accounts {
 public:
  explicit Accounts(std::string url)
      : url_(std::move(url)),
        table_(fmt::format("holdfast_bench_{:016x}", Random::System().Next())) {}
  ~Accounts() {
    if (made_) (void)QueryPostgres(url_, "DROP TABLE " + table_);
  }
  Accounts(const Accounts&) = delete;
  Accounts& operator=(const Accounts&) = delete;

  const std::string& table() const { return table_; }

  Result<void> Make() {
    HF_RETURN_IF_ERROR(QueryPostgres(
        url_, fmt::format("CREATE TABLE {} (id integer PRIMARY KEY, balance bigint NOT NULL CHECK "
                          "(balance >= 0))",
                          table_)));
    made_ = true;
    HF_RETURN_IF_ERROR(
        QueryPostgres(url_, fmt::format("INSERT INTO {} SELECT i, {} FROM generate_series(0, {}) i",
                                        table_, kBenchBalance, kSpreadRecords - 1)));
    HF_RETURN_IF_ERROR(QueryPostgres(url_, "VACUUM ANALYZE " + table_));
    return {};
  }

  Result<void> Check() const {
    HF_ASSIGN_OR_RETURN(std::string sum, QueryPostgres(url_, "SELECT sum(balance) FROM " + table_));
    if (sum == std::to_string(kSpreadRecords * kBenchBalance)) return {};
    return Fail(ErrorCode::kInternal, "the sum of the balances in PostgreSQL is " + sum);
  }

 private:
  const std::string url_;
  const std::string table_;
  bool made_ = false;
};

}  // namespace

Result<PostgresFigures> MeasurePostgres(const std::string& url, int clients, Duration length) {
  PostgresFigures figures;
  HF_ASSIGN_OR_RETURN(figures.server, DescribePostgres(url));
  Accounts accounts(url);
  HF_RETURN_IF_ERROR(accounts.Make());
  HF_ASSIGN_OR_RETURN(TemporaryFolder folder, TemporaryFolder::Make("."));
  std::string file = folder.path() + "/transfer.sql";
  {
    std::ofstream script(file);
    script << fmt::format(fmt::runtime(kScript), fmt::arg("records", kSpreadRecords),
                          fmt::arg("table", accounts.table()));
  }
  auto seconds =
      std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::seconds>(length).count());
  HF_ASSIGN_OR_RETURN(std::string report,
                      RunPostgresTool("pgbench", {"-n", "-c", std::to_string(clients), "-j",
                                                  std::to_string(std::min(clients, 2)), "-T",
                                                  std::to_string(seconds), "-f", file, url}));
  HF_ASSIGN_OR_RETURN(figures.transfers_per_second, PgbenchRateOf(report));
  HF_RETURN_IF_ERROR(accounts.Check());
  return figures;
}

}  // namespace holdfast::cli
