// holdfast migrate and version.
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <memory>

#include "base/result.h"
#include "cli/cli.h"
#include "engine/sqlite/connection.h"
#include "engine/sqlite/schema.h"
#include "holdfast/version.h"

namespace holdfast::cli {
namespace {

constexpr std::string_view kSqliteScheme = "sqlite:";

/// The schema of the file as it is: 0 if there is none yet.
Result<std::int64_t> SchemaOf(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0 || status.st_size == 0) return 0;
  if (S_ISDIR(status.st_mode)) return 0;  // OpenStore has the words for it
  HF_ASSIGN_OR_RETURN(auto connection,
                      engine::Connection::Open(path, engine::Connection::Mode::kReadOnly));
  return connection->QueryInteger("PRAGMA user_version");
}

Result<int> Migrate(Cli& cli) {
  const std::string& url = cli.globals().store;
  if (!url.starts_with(kSqliteScheme)) {
    // Opening tells whether it is a store at all.
    HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
    return Fail(ErrorCode::kInvalidArgument,
                url + " keeps no schema that can be migrated from here: name the sqlite: file");
  }
  HF_ASSIGN_OR_RETURN(std::int64_t from, SchemaOf(url.substr(kSqliteScheme.size())));
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());  // which migrates
  if (cli.globals().output == OutputFormat::kJson) {
    fmt::print("{{\"from\":{},\"to\":{}}}\n", from, engine::kSchemaVersion);
  } else if (from == engine::kSchemaVersion) {
    fmt::print("{}: schema {} is current\n", url, from);
  } else {
    fmt::print("{}: schema {} -> {}\n", url, from, engine::kSchemaVersion);
  }
  return 0;
}

Result<int> Version(Cli& cli) {
  if (cli.globals().output == OutputFormat::kJson) {
    fmt::print("{{\"version\":\"{}\",\"schema\":{},\"sqlite\":\"{}\"}}\n", kVersion,
               engine::kSchemaVersion, sqlite3_libversion());
  } else {
    fmt::print("holdfast {} (schema {}, SQLite {})\n", kVersion, engine::kSchemaVersion,
               sqlite3_libversion());
  }
  return 0;
}

}  // namespace

void AddStoreCommands(Cli& cli) {
  cli.AddCommand(cli.root(), "migrate",
                 "Brings a store to the schema of this version, which opening it does as well.",
                 "holdfast migrate --store sqlite:/var/lib/holdfast/holdfast.db",
                 [&cli] { return Migrate(cli); });
  cli.AddCommand(cli.root(), "version", "Prints the version.", "holdfast version -o json",
                 [&cli] { return Version(cli); });
}

}  // namespace holdfast::cli
