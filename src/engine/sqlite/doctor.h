// Looks at everything about the file of an SQLite store that can be wrong with it: `holdfast
// doctor`.
#pragma once

#include <string>

#include "engine/findings.h"
#include "holdfast/error.h"

namespace holdfast::engine {

/// Reads only. Blocks for `statement_limit` a check at most.
Examination ExamineSqlite(const std::string& path, const ExamineOptions& options);

}  // namespace holdfast::engine
