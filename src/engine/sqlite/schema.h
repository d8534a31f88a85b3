// The tables of an SQLite store, and the numbered migrations that lead to them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/engine_clock.h"
#include "engine/sqlite/connection.h"

namespace holdfast::engine {

/// The schema this version writes.
inline constexpr int kSchemaVersion = 5;

/// Durable settings, and those that make it quick. On every connection, and after Migrate: a file
/// that is not ours must stay as it is.
Result<void> Configure(Connection& connection, Connection::Mode mode);

/// Errors: corrupt (not a Holdfast database).
Result<void> CheckOwner(Connection& connection, std::string_view path);

/// Brings the database to kSchemaVersion, in one transaction a step, safely from several processes
/// at once. The answer is the schema it had before.
/// Errors: corrupt (not a Holdfast database, or of a newer schema), unavailable.
Result<std::int64_t> Migrate(Connection& connection, std::string_view path);

/// The entry of `meta` with EngineClock::Ahead(), in microseconds, as maintenance has last seen it.
inline constexpr std::string_view kClockAhead = "clock_ahead_us";

/// The anchor of the file, perhaps of an earlier start of the machine. Nothing: there is none yet.
Result<std::optional<base::ClockAnchor>> ReadClockAnchor(Connection& connection);

/// The anchor that all processes on this machine share. Made anew after the machine restarted,
/// never behind the time that the store has already seen; but a clock that was known to differ from
/// the wall clock follows it then, and every time that is kept moves with it.
Result<base::ClockAnchor> LoadClockAnchor(Connection& connection, const Clock& clock);

/// The statements of the migrations from `from` to `to`.
std::string SchemaSql(int from = 0, int to = kSchemaVersion);

}  // namespace holdfast::engine
