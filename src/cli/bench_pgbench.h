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

/// What a tool of PostgreSQL prints. Errors: unavailable (it failed; its stderr was passed on).
Result<std::string> RunPostgresTool(const std::string& name, std::vector<std::string> arguments);
Result<std::string> QueryPostgres(const std::string& url, const std::string& sql);

/// "PostgreSQL 15.3, fsync=on, synchronous_commit=on".
Result<std::string> DescribePostgres(const std::string& url);

/// From "tps = 1234.567890 (without initial connection time)".
Result<double> PgbenchRateOf(std::string_view report);

}  // namespace holdfast::cli
