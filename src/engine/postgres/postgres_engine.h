// The engine for many nodes: one PostgreSQL database, any number of processes on any number of
// machines, each of which may die at any time.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/engine.h"

namespace holdfast::engine {

/// Connects, and brings the schema up to date.
/// Errors: invalid_argument (the URL), unavailable (no server, a standby, lossy settings), corrupt
/// (a newer schema).
Result<std::unique_ptr<Engine>> OpenPostgres(std::string_view url, const StoreOptions& options);

/// For `holdfast migrate`.
struct PostgresMigration {
  std::string store;  // what may be said of its URL: no password
  std::int64_t from = 0;
  std::int64_t to = 0;
};
Result<PostgresMigration> MigratePostgres(std::string_view url);

}  // namespace holdfast::engine
