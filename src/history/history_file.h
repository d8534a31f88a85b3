// Histories as files: JSON lines, documented in docs/histories.md, and an export for the checkers
// of others.
#pragma once

#include <string>

#include "history/history.h"

namespace holdfast::history {

/// Over what was there. Errors: unavailable (it cannot be written).
Result<void> WriteHistory(const History& history, const std::string& path);

/// Strict: everything that WriteHistory does not write is refused. Errors: not_found (there is no
/// such file), unavailable (it cannot be read), invalid_argument (the message names the line).
Result<History> ReadHistory(const std::string& path);

/// One object's history for checkers of others, as Jepsen has it: a JSON array of events, each with
/// "index", "time", "process", "type" (invoke, ok, fail, info), "f" and "value", and with the
/// object's name as "key". A call that touches several objects stands under each of them.
/// Errors: unavailable.
Result<void> ExportJepsen(const History& history, const std::string& path);

}  // namespace holdfast::history
