// One connection to an SQLite database and its prepared statements, with errors as results.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "holdfast/error.h"
#include "holdfast/time.h"

namespace holdfast::engine {

/// Confined to one thread at a time.
class Connection {
 public:
  enum class Mode { kReadWrite, kReadOnly };

  /// Errors: unavailable (the message says why).
  static Result<std::unique_ptr<Connection>> Open(const std::string& path, Mode mode);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Runs statements that answer nothing.
  Result<void> Execute(const std::string& sql);
  /// The first column of the first row of a query, or nothing.
  Result<std::optional<std::string>> QueryText(const std::string& sql);
  Result<std::int64_t> QueryInteger(const std::string& sql);

  /// Whether the log stays as it is if this is the last connection to the file that is closed.
  /// Otherwise SQLite moves it into the file and removes it. One for reading alone leaves that to
  /// whoever writes, and knows whether what is in the log was synced.
  void SetLogIsKept(bool is_kept) {
    sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, is_kept ? 1 : 0, nullptr);
  }

  bool InTransaction() const { return sqlite3_get_autocommit(db_) == 0; }
  sqlite3* handle() const { return db_; }

  /// The latest failure as an error: unavailable, busy, corrupt or internal, with SQLite's words.
  Error LastError(std::string_view doing) const;
  /// Whether the latest failure forbids any further write: the state of the disk is not known.
  bool IsLastErrorFatal() const;
  int last_code() const { return sqlite3_extended_errcode(db_); }

 private:
  explicit Connection(sqlite3* db) : db_(db) {}
  sqlite3* db_;
};

/// A prepared statement. Texts that are bound must live until the statement was stepped.
class Statement {
 public:
  Statement() = default;
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  /// Once, before anything else.
  Result<void> Prepare(Connection& connection, std::string_view sql);

  /// Binds the next parameter, from the first on.
  Statement& Bind(std::int64_t value) {
    sqlite3_bind_int64(statement_, ++bound_, value);
    return *this;
  }
  Statement& Bind(std::string_view text) {
    // An empty view may have no data, which SQLite would take for NULL.
    sqlite3_bind_text(statement_, ++bound_, text.data() == nullptr ? "" : text.data(),
                      static_cast<int>(text.size()), SQLITE_STATIC);
    return *this;
  }
  Statement& Bind(double value) {
    sqlite3_bind_double(statement_, ++bound_, value);
    return *this;
  }
  Statement& Bind(Time time) { return Bind(time.time_since_epoch().count()); }
  Statement& BindNull() {
    sqlite3_bind_null(statement_, ++bound_);
    return *this;
  }
  template <typename T>
  Statement& Bind(const std::optional<T>& value) {
    return value ? Bind(*value) : BindNull();
  }
  /// NULL for the empty text.
  Statement& BindOrNull(std::string_view text) { return text.empty() ? BindNull() : Bind(text); }

  /// The next row: false if there is none. After false or an error the statement is reset, ready to
  /// be bound anew.
  Result<bool> Step();
  /// For statements that answer nothing.
  Result<void> Run();
  void Reset();

  std::int64_t Integer(int column) const { return sqlite3_column_int64(statement_, column); }
  bool Bool(int column) const { return Integer(column) != 0; }
  double Real(int column) const { return sqlite3_column_double(statement_, column); }
  bool IsNull(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  /// Good until the next step or reset.
  std::string_view Text(int column) const {
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return {text == nullptr ? "" : text,
            static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
  }
  Time TimeAt(int column) const { return Time(Duration(Integer(column))); }
  std::optional<Time> OptionalTime(int column) const {
    if (IsNull(column)) return std::nullopt;
    return TimeAt(column);
  }
  std::optional<std::int64_t> OptionalInteger(int column) const {
    if (IsNull(column)) return std::nullopt;
    return Integer(column);
  }

 private:
  Connection* connection_ = nullptr;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
};

}  // namespace holdfast::engine
