// Parameters and results in PostgreSQL's binary form: numbers as they are, texts without quoting,
// and arrays, of values or of rows, by which one statement reads or writes any number of rows.
#pragma once

#include <libpq-fe.h>

#include <concepts>
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

/// What is filled value by value.
class Values {
 public:
  void Add(std::int64_t value);
  void Add(std::string_view text);
  void Add(bool value);
  void Add(double value);
  void Add(Time time);
  void Add(const std::string& text) { Add(std::string_view(text)); }
  void AddNull(Type type);
  template <typename T>
  void Add(const std::optional<T>& value) {
    value ? Add(*value) : AddNull(kTypeOf<T>);
  }
  /// NULL for the empty text.
  void AddOrNull(std::string_view text) { text.empty() ? AddNull(Type::kText) : Add(text); }

 protected:
  ~Values() = default;
  /// Everything that stands before the value itself.
  virtual void Begin(Type type, std::uint32_t length) = 0;

  std::string bytes_;

 private:
  template <typename T>
  static constexpr Type kTypeOf = [] {
    if constexpr (std::same_as<T, bool>) return Type::kBool;
    if constexpr (std::same_as<T, double>) return Type::kReal;
    if constexpr (std::same_as<T, Time>) return Type::kTime;
    if constexpr (std::integral<T>) return Type::kInteger;
    return Type::kText;
  }();
};

/// One parameter that is an array; the SQL names its type: `$1::bigint[]`.
class Column final : public Values {
 public:
  explicit Column(Type type) : type_(type) {}
  /// Of texts.
  template <typename Texts>
  static Column Of(const Texts& texts) {
    Column column(Type::kText);
    for (const std::string& text : texts) column.Add(text);
    return column;
  }

  std::size_t size() const { return size_; }

 private:
  friend class Parameters;
  void Begin(Type type, std::uint32_t length) override;

  Type type_;
  std::size_t size_ = 0;
  bool has_null_ = false;
};

/// The composite types of the schema: what a statement that writes several rows takes them as.
enum class RowType : std::uint8_t {
  kJob,
  kJobLease,
  kJobClaim,
  kJobFinish,
  kQueue,
  kQueueCount,
  kAnswer,
  kAudit,
  kRecord,
  kRecordKey,
  kTransfer,
  kLockHolder,
  kLockWaiter,
};
inline constexpr std::size_t kRowTypeCount = 13;
/// "job_row".
std::string_view NameOf(RowType type);

/// One parameter that is an array of rows: `unnest($1::$.job_row[])`. The server makes a table of
/// every array that it takes apart, which costs more than most statements do: an INSERT of one row
/// of 32 columns takes it 0.51 ms from an array for each column, and 0.05 ms from an array of rows.
class RowArray final : public Values {
 public:
  explicit RowArray(RowType type) : type_(type) {}

  /// What is added from now on, column by column in the order of the type, is another row.
  void NextRow();

  RowType type() const { return type_; }
  bool IsEmpty() const { return size_ == 0; }

 private:
  friend class Parameters;
  void Begin(Type type, std::uint32_t length) override;
  /// Writes what stands before the latest row, which is whole.
  void EndRow();

  RowType type_;
  std::uint32_t size_ = 0;
  std::size_t row_at_ = 0;  // where the latest row begins
  std::uint32_t columns_ = 0;
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
  /// Likewise, of one row at least. `oid`: of their type, see Connection::QueueRows.
  Parameters& Add(RowArray&& rows, std::uint32_t oid);

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
