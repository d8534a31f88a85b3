#include "testing/sim_store.h"

#include <sqlite3.h>

#include "engine/sqlite/sqlite_engine.h"

namespace holdfast::testing {

Result<std::unique_ptr<engine::Engine>> OpenSimEngine(const std::string& file,
                                                      const SimClock& clock, SimDriver& driver) {
  return engine::OpenSqlite(file, {.clock = &clock, .maintain = false}, &driver);
}

Result<std::unique_ptr<Store>> OpenSimStore(const std::string& file, const SimClock& clock,
                                            SimDriver& driver) {
  Result<std::unique_ptr<engine::Engine>> engine = OpenSimEngine(file, clock, driver);
  if (!engine) return std::unexpected(std::move(engine).error());
  return std::make_unique<Store>(*std::move(engine),
                                 StoreOptions{.clock = &clock, .maintain = false});
}

std::string AskSqlite(const std::string& file, const std::string& sql) {
  sqlite3* db = nullptr;
  sqlite3_stmt* statement = nullptr;
  std::string answer;
  int code = sqlite3_open_v2(file.c_str(), &db, SQLITE_OPEN_READWRITE, nullptr);
  if (code == SQLITE_OK) code = sqlite3_prepare_v2(db, sql.c_str(), -1, &statement, nullptr);
  if (code == SQLITE_OK) code = sqlite3_step(statement);
  if (code == SQLITE_ROW && sqlite3_column_text(statement, 0) != nullptr) {
    answer = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
  } else if (code != SQLITE_DONE) {
    answer = std::string("error: ") + sqlite3_errmsg(db);
  }
  sqlite3_finalize(statement);
  sqlite3_close(db);
  return answer;
}

}  // namespace holdfast::testing
