// Parameters and results in PostgreSQL's binary form: numbers as they are, texts without quoting,
// and arrays, by which one statement reads or writes any number of rows.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/time.h"

namespace holdfast::engine::postgres {

/// Types by their numbers in pg_type, which are the same in every database.
enum class Type : std::uint32_t {
  kBool = 16,
  kInteger = 20,  // bigint
  kText = 25,
  kReal = 701,   // double precision
  kTime = 1184,  // timestamp with time zone
};

/// One parameter that is an array, filled value by value; the SQL names its type: `$1::bigint[]`.
class Column {
 public:
  explicit Column(Type type) : type_(type) {}
  /// Of texts.
  template <typename Texts>
  static Column Of(const Texts& texts) {
    Column column(Type::kText);
    for (const std::string& text : texts) column.Add(text);
    return column;
  }

  Column& Add(std::int64_t value);
  Column& Add(std::string_view text);
  Column& Add(bool value);
  Column& Add(double value);
  Column& Add(Time time);
  Column& AddNull();
  template <typename T>
  Column& Add(const std::optional<T>& value) {
    return value ? Add(*value) : AddNull();
  }
  Column& Add(const std::string& text) { return Add(std::string_view(text)); }
  /// NULL for the empty text.
  Column& AddOrNull(std::string_view text) { return text.empty() ? AddNull() : Add(text); }

  std::size_t size() const { return size_; }

 private:
  friend class Parameters;
  void Begin(Type type, std::size_t bytes);

  Type type_;
  std::string bytes_;
  std::size_t size_ = 0;
  bool has_null_ = false;
};

/// The parameters of one execution, in their order.
class Parameters {
 public:
  Parameters& Add(std::int64_t value);
  Parameters& Add(std::string_view text);
  Parameters& Add(Time time);
  Parameters& Add(const std::string& text) { return Add(std::string_view(text)); }
  /// As an array.
  Parameters& Add(const Column& column);

  const std::vector<std::string>& values() const { return values_; }

 private:
  std::vector<std::string> values_;
};

/// The rows that a statement answered with.
class Answer {
 public:
  explicit Answer(PGresult* result) : result_(result) {}

  int size() const { return PQntuples(result_.get()); }
  /// Rows that a statement without RETURNING has changed.
  std::int64_t affected() const;

 private:
  friend class Row;
  struct Clear {
    void operator()(PGresult* result) const { PQclear(result); }
  };
  std::unique_ptr<PGresult, Clear> result_;
};

/// One row of an answer, which must outlive it. Columns count from 0.
class Row {
 public:
  Row(const Answer& answer, int row) : result_(answer.result_.get()), row_(row) {}

  bool IsNull(int column) const { return PQgetisnull(result_, row_, column) != 0; }
  /// Of bigint columns.
  std::int64_t Integer(int column) const;
  int Int(int column) const { return static_cast<int>(Integer(column)); }
  bool Bool(int column) const { return *PQgetvalue(result_, row_, column) != 0; }
  double Real(int column) const;
  /// Of timestamptz columns.
  Time TimeAt(int column) const;
  std::string_view Text(int column) const {
    return {PQgetvalue(result_, row_, column),
            static_cast<std::size_t>(PQgetlength(result_, row_, column))};
  }
  std::string String(int column) const { return std::string(Text(column)); }
  std::optional<Time> OptionalTime(int column) const {
    if (IsNull(column)) return std::nullopt;
    return TimeAt(column);
  }
  std::optional<std::int64_t> OptionalInteger(int column) const {
    if (IsNull(column)) return std::nullopt;
    return Integer(column);
  }

 private:
  const PGresult* result_;
  int row_;
};

}  // namespace holdfast::engine::postgres
