// The tables of a PostgreSQL store, and how they are brought up to date.
#pragma once

#include <cstdint>

#include "engine/postgres/connection.h"

namespace holdfast::engine::postgres {

inline constexpr int kPostgresSchema = 2;

/// Brings the schema up to date, in one transaction; safe from any number of nodes at once. The
/// version before; 0: there was none.
/// Errors: corrupt (a newer schema, or one of somebody else's), unavailable, internal (no right to
/// create a schema).
Result<std::int64_t> MigrateSchema(Connection& connection, const Settings& settings);

}  // namespace holdfast::engine::postgres
