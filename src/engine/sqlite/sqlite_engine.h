// The default engine: one SQLite file, durable, with one thread that writes and readers that never
// block it. Several processes may open one file.
#pragma once

#include <memory>
#include <string>

#include "engine/driver.h"
#include "engine/engine.h"

namespace holdfast::engine {

/// Opens or creates the file and brings its schema up to date.
/// Errors: unavailable (a directory, no permission, no such folder), corrupt (not a Holdfast
/// database, or of a newer schema).
/// With a driver the engine starts no thread: all is done on those that call it.
Result<std::unique_ptr<Engine>> OpenSqlite(const std::string& path, const StoreOptions& options,
                                           Driver* driver = nullptr);

/// The schema of the file before and after it is brought up to date: for `holdfast migrate`.
struct SchemaVersions {
  std::int64_t before = 0;
  std::int64_t after = 0;
};
Result<SchemaVersions> MigrateSqlite(const std::string& path);

}  // namespace holdfast::engine
