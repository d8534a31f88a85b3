// Looks at everything around a PostgreSQL store that can be wrong with it: `holdfast doctor`.
#pragma once

#include <string_view>

#include "engine/findings.h"
#include "holdfast/error.h"

namespace holdfast::engine {

/// Reads only, on one connection, with the rights of the store's user. Blocks for a connection, and
/// for `statement_limit` a check at most. A server that cannot be reached is a finding.
/// Errors: invalid_argument (the URL).
Result<Examination> ExaminePostgres(std::string_view url, const ExamineOptions& options);

}  // namespace holdfast::engine
