#include "engine/sqlite/connection.h"

#include <fmt/format.h>

namespace holdfast::engine {
namespace {

int PrimaryCode(int code) {
  return code & 0xff;
}

}  // namespace

Result<std::unique_ptr<Connection>> Connection::Open(const std::string& path, Mode mode) {
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  // A reader of a WAL database must be able to write the shared-memory index, so it is opened for
  // writing as well, and kept from it by query_only.
  flags |= SQLITE_OPEN_READWRITE | (mode == Mode::kReadWrite ? SQLITE_OPEN_CREATE : 0);
  sqlite3* db = nullptr;
  int code = sqlite3_open_v2(path.c_str(), &db, flags, nullptr);
  auto connection = std::unique_ptr<Connection>(new Connection(db));
  if (code != SQLITE_OK) {
    return Fail(ErrorCode::kUnavailable,
                fmt::format("cannot open {}: {}", path,
                            db == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(db)));
  }
  // Room for the cursors and rows of a statement at once: otherwise each step calls malloc. Only
  // possible before the first statement.
  sqlite3_db_config(db, SQLITE_DBCONFIG_LOOKASIDE, nullptr, 1200, 256);
  connection->SetLogIsKept(mode == Mode::kReadOnly);
  return connection;
}

Connection::~Connection() {
  sqlite3_close_v2(db_);
}

Result<void> Connection::Execute(const std::string& sql) {
  if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return std::unexpected(LastError("execute"));
}

Result<std::optional<std::string>> Connection::QueryText(const std::string& sql) {
  Statement statement;
  if (Result<void> prepared = statement.Prepare(*this, sql); !prepared) {
    return std::unexpected(std::move(prepared).error());
  }
  Result<bool> row = statement.Step();
  if (!row) return std::unexpected(std::move(row).error());
  if (!*row) return std::nullopt;
  return std::string(statement.Text(0));
}

Result<std::int64_t> Connection::QueryInteger(const std::string& sql) {
  Result<std::optional<std::string>> text = QueryText(sql);
  if (!text) return std::unexpected(std::move(text).error());
  return text->has_value() ? std::strtoll((*text)->c_str(), nullptr, 10) : 0;
}

Error Connection::LastError(std::string_view doing) const {
  int code = last_code();
  std::string message =
      fmt::format("sqlite could not {}: {} ({})", doing, sqlite3_errmsg(db_), sqlite3_errstr(code));
  switch (PrimaryCode(code)) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {ErrorCode::kBusy, std::move(message), {}};
    case SQLITE_FULL:
      return {ErrorCode::kUnavailable, "the disk is full; nothing was changed", {}};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {ErrorCode::kCorrupt, std::move(message), {}};
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_NOMEM:
    case SQLITE_PROTOCOL:
      return {ErrorCode::kUnavailable, std::move(message), {}};
    case SQLITE_INTERRUPT:
      return {ErrorCode::kCancelled, std::move(message), {}};
    default:
      return {ErrorCode::kInternal, std::move(message), {}};
  }
}

bool Connection::IsLastErrorFatal() const {
  switch (PrimaryCode(last_code())) {
    case SQLITE_IOERR:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_PROTOCOL:
      return true;
    default:
      return false;
  }
}

Result<void> Statement::Prepare(Connection& connection, std::string_view sql) {
  connection_ = &connection;
  int code = sqlite3_prepare_v3(connection.handle(), sql.data(), static_cast<int>(sql.size()),
                                SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
  if (code != SQLITE_OK) return std::unexpected(connection.LastError("prepare"));
  return {};
}

Result<bool> Statement::Step() {
  int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    Reset();
    return false;
  }
  Error error = connection_->LastError("step");
  Reset();
  return std::unexpected(std::move(error));
}

Result<void> Statement::Run() {
  Result<bool> row = Step();
  if (!row) return std::unexpected(std::move(row).error());
  Reset();
  return {};
}

void Statement::Reset() {
  sqlite3_reset(statement_);
  bound_ = 0;
}

}  // namespace holdfast::engine
