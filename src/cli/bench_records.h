// The yardsticks of bench records: statements written by hand for SQLite, and PostgreSQL.
#pragma once

#include <string>
#include <string_view>

#include "holdfast/error.h"
#include "holdfast/time.h"

namespace holdfast::cli {

/// Commits a second of the hand-written statements of a scenario (its name) on a fresh SQLite file,
/// `group` of them to a transaction, for about `length`.
Result<double> MeasureRawRecords(const std::string& file, std::string_view scenario, int group,
                                 Duration length);

struct PostgresFigures {
  double transfers_per_second = 0;
  std::string server;  ///< "PostgreSQL 15.3, fsync=on, synchronous_commit=on"
};

/// Transfers a second between 10,000 accounts of PostgreSQL, each a transaction that locks both
/// rows in the order of their ids. Driven by pgbench, in a table that is dropped afterwards.
/// Errors: invalid_argument, unavailable, internal (the sum of the balances has changed).
Result<PostgresFigures> MeasurePostgres(const std::string& url, int clients, Duration length);

}  // namespace holdfast::cli
