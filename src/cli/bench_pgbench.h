// PostgreSQL as a yardstick, by its own tools: psql and pgbench.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "holdfast/error.h"
#include "holdfast/time.h"

namespace holdfast::cli {

/// Whether PostgreSQL can be measured, to be known before all else is.
/// Errors: invalid_argument (its tools are not installed), unavailable (it cannot be reached).
Result<void> CheckPostgres(const std::string& url);

/// Life cycles a second of hand-written statements on a lean table of their own, beside the store:
/// `group` inserts, claims and completions to a transaction each, for about `length`. Errors:
/// invalid_argument (a URL that is none), unavailable.
Result<double> MeasureRawPostgres(const std::string& store_url, int clients, int group,
                                  std::size_t payload_bytes, Duration length);

/// What psql prints. Errors: unavailable (it failed; its stderr was passed on).
Result<std::string> QueryPostgres(const std::string& url, const std::string& sql);

/// Transactions a second of a script, run by so many clients at once for about `length`, a second
/// at least. `more`: further arguments. Errors: unavailable, likewise.
Result<double> RunPgbench(const std::string& url, const std::string& script, int clients,
                          Duration length, std::vector<std::string> more = {});

/// The table of one run; dropped with the object. Threads: one.
class BenchTable {
 public:
  explicit BenchTable(std::string url);
  ~BenchTable();
  BenchTable(const BenchTable&) = delete;
  BenchTable& operator=(const BenchTable&) = delete;

  /// `text`, with the table's name where it has {table}.
  std::string In(std::string_view text) const;
  /// Runs the statement, of which In is asked. The first makes the table.
  Result<std::string> Query(std::string_view sql);

 private:
  const std::string url_;
  const std::string name_;
  bool is_made_ = false;
};

/// "PostgreSQL 15.3, fsync=on, synchronous_commit=on".
Result<std::string> DescribePostgres(const std::string& url);

}  // namespace holdfast::cli
