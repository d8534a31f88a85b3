// The tables of a PostgreSQL store, and how they are brought up to date.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/postgres/connection.h"

namespace holdfast::engine::postgres {

inline constexpr int kPostgresSchema = 6;

/// Brings the schema up to date, in one transaction; safe from any number of nodes at once. The
/// version before; 0: there was none.
/// Errors: corrupt (a newer schema, or one of somebody else's), unavailable, internal (no right to
/// create a schema).
Result<std::int64_t> MigrateSchema(Connection& connection, const Settings& settings);

/// The version that is there: nothing if there is no such schema, or no table of ours in it.
Result<std::optional<std::int64_t>> FindSchemaVersion(Connection& connection,
                                                      const Settings& settings);

/// Something that the migrations make.
struct SchemaObject {
  std::string kind;  // "table", "index", "sequence", "type"; "function": enqueue alone
  std::string name;
  std::string statement;  // that makes it, on one line; of a function nothing
};
std::vector<SchemaObject> SchemaObjects(const Settings& settings);

}  // namespace holdfast::engine::postgres
