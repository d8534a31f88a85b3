// PostgreSQL as a yardstick, by its own tools: psql and pgbench.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "holdfast/error.h"

namespace holdfast::cli {

/// Whether PostgreSQL can be measured, to be known before all else is.
/// Errors: invalid_argument (its tools are not installed), unavailable (it cannot be reached).
Result<void> CheckPostgres(const std::string& url);

/// What a tool of PostgreSQL prints. Errors: unavailable (it failed; its stderr was passed on).
Result<std::string> RunPostgresTool(const std::string& name, std::vector<std::string> arguments);
Result<std::string> QueryPostgres(const std::string& url, const std::string& sql);

/// "PostgreSQL 15.3, fsync=on, synchronous_commit=on".
Result<std::string> DescribePostgres(const std::string& url);

/// From "tps = 1234.567890 (without initial connection time)".
Result<double> PgbenchRateOf(std::string_view report);

}  // namespace holdfast::cli
