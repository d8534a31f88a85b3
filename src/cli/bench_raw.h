// A plain SQLite file with the tables, indexes and settings of the sqlite engine, for statements
// written by hand.
#pragma once

#include <sqlite3.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include "holdfast/error.h"

namespace holdfast::cli {

struct CloseRawDatabase {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};
struct FinalizeRaw {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using RawStatement = std::unique_ptr<sqlite3_stmt, FinalizeRaw>;

/// Errors of every call: unavailable. Threads: one.
class RawDatabase {
 public:
  /// A fresh file.
  Result<void> Open(const std::string& path);
  Result<void> PrepareAll(std::initializer_list<std::pair<RawStatement*, const char*>> statements);
  Result<void> Execute(const char* sql);
  /// A statement that answers with no row.
  Result<void> Run(const RawStatement& statement);
  /// How many rows the last statement changed.
  int changes() const { return sqlite3_changes(db_.get()); }
  /// What SQLite says is wrong.
  std::unexpected<Error> Broken() const;

 private:
  std::unique_ptr<sqlite3, CloseRawDatabase> db_;
};

}  // namespace holdfast::cli
