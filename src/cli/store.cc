// holdfast migrate and version.
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <memory>

#include "base/result.h"
#include "cli/cli.h"
#include "engine/postgres/postgres_engine.h"
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

struct Versions {
  std::int64_t from = 0;
  std::int64_t to = 0;
};

int ShowMigration(const Cli& cli, std::string_view what, Versions schema) {
  if (cli.globals().output == OutputFormat::kJson) {
    fmt::print("{{\"from\":{},\"to\":{}}}\n", schema.from, schema.to);
  } else if (schema.from == schema.to) {
    fmt::print("{}: schema {} is current\n", what, schema.from);
  } else {
    fmt::print("{}: schema {} -> {}\n", what, schema.from, schema.to);
  }
  return 0;
}

Result<int> Migrate(Cli& cli) {
  const std::string& url = cli.globals().store;
  if (url.starts_with("postgres")) {
    HF_ASSIGN_OR_RETURN(engine::PostgresMigration done, engine::MigratePostgres(url));
    return ShowMigration(cli, done.store, {done.from, done.to});
  }
  if (!url.starts_with(kSqliteScheme)) {
    // Opening tells whether it is a store at all.
    HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
    return Fail(ErrorCode::kInvalidArgument,
                cli.ShownStore() +
                    " keeps no schema that can be migrated from here: name the sqlite: file or the "
                    "postgres:// database");
  }
  HF_ASSIGN_OR_RETURN(std::int64_t from, SchemaOf(url.substr(kSqliteScheme.size())));
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());  // which migrates
  return ShowMigration(cli, cli.ShownStore(), {from, engine::kSchemaVersion});
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
