#include "engine/postgres/values.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace holdfast::engine::postgres {
namespace {

// PostgreSQL counts microseconds from 2000-01-01.
constexpr std::int64_t kEpoch = 946'684'800'000'000;

constexpr std::size_t kArrayHeader = 20;
constexpr std::size_t kRowHeader = 8;  // its length, and how many columns it has

// In the place of a length.
constexpr std::uint32_t kNull = ~std::uint32_t{0};

template <typename T>
void AppendNetwork(std::string& bytes, T value) {
  if constexpr (std::endian::native == std::endian::little) value = std::byteswap(value);
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename T>
void WriteNetwork(char* to, T value) {
  if constexpr (std::endian::native == std::endian::little) value = std::byteswap(value);
  std::memcpy(to, &value, sizeof value);
}

template <typename T>
T ReadNetwork(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  if constexpr (std::endian::native == std::endian::little) value = std::byteswap(value);
  return value;
}

void AppendArrayHeader(std::string& bytes, std::size_t size, bool has_null, std::uint32_t type) {
  AppendNetwork(bytes, std::uint32_t{size == 0 ? 0U : 1U});  // dimensions
  AppendNetwork(bytes, std::uint32_t{has_null});
  AppendNetwork(bytes, type);
  if (size == 0) return;
  AppendNetwork(bytes, static_cast<std::uint32_t>(size));
  AppendNetwork(bytes, std::uint32_t{1});  // the first index
}

std::int64_t ToWire(Time time) {
  return time.time_since_epoch().count() - kEpoch;
}

}  // namespace

std::string_view NameOf(RowType type) {
  static constexpr std::array<std::string_view, kRowTypeCount> kNames = {
      "job_row",         "job_lease_row",   "job_claim_row",  "job_finish_row", "queue_row",
      "queue_count_row", "answer_row",      "audit_row",      "record_row",     "record_key_row",
      "transfer_row",    "lock_holder_row", "lock_waiter_row"};
  return kNames[static_cast<std::size_t>(type)];
}

void Values::Add(std::int64_t value) {
  Begin(Type::kInteger, sizeof value);
  AppendNetwork(bytes_, static_cast<std::uint64_t>(value));
}

void Values::Add(std::string_view text) {
  Begin(Type::kText, static_cast<std::uint32_t>(text.size()));
  bytes_.append(text);
}

void Values::Add(bool value) {
  Begin(Type::kBool, 1);
  bytes_ += static_cast<char>(value);
}

void Values::Add(double value) {
  Begin(Type::kReal, sizeof value);
  AppendNetwork(bytes_, std::bit_cast<std::uint64_t>(value));
}

void Values::Add(Time time) {
  Begin(Type::kTime, sizeof(std::int64_t));
  AppendNetwork(bytes_, static_cast<std::uint64_t>(ToWire(time)));
}

void Values::AddNull(Type type) {
  Begin(type, kNull);
}

void Column::Begin(Type type, std::uint32_t length) {
  HF_CHECK(type_ == type);
  ++size_;
  has_null_ |= length == kNull;
  AppendNetwork(bytes_, length);
}

void RowArray::NextRow() {
  if (size_ > 0) {
    EndRow();
  } else {
    bytes_.resize(kArrayHeader);  // which is written at the end
  }
  row_at_ = bytes_.size();
  bytes_.append(kRowHeader, '\0');
  ++size_;
  columns_ = 0;
}

void RowArray::EndRow() {
  char* header = bytes_.data() + row_at_;
  WriteNetwork(header, static_cast<std::uint32_t>(bytes_.size() - row_at_ - sizeof(std::uint32_t)));
  WriteNetwork(header + sizeof(std::uint32_t), columns_);
}

void RowArray::Begin(Type type, std::uint32_t length) {
  ++columns_;
  AppendNetwork(bytes_, static_cast<std::uint32_t>(type));
  AppendNetwork(bytes_, length);
}

Parameters& Parameters::Add(std::int64_t value) {
  AppendNetwork(values_.emplace_back(), static_cast<std::uint64_t>(value));
  return *this;
}

Parameters& Parameters::Add(std::string_view text) {
  values_.emplace_back(text);
  return *this;
}

Parameters& Parameters::Add(Time time) {
  AppendNetwork(values_.emplace_back(), static_cast<std::uint64_t>(ToWire(time)));
  return *this;
}

Parameters& Parameters::Add(const Column& column) {
  std::string& bytes = values_.emplace_back();
  bytes.reserve(kArrayHeader + column.bytes_.size());
  AppendArrayHeader(bytes, column.size_, column.has_null_,
                    static_cast<std::uint32_t>(column.type_));
  bytes += column.bytes_;
  return *this;
}

Parameters& Parameters::Add(RowArray&& rows, std::uint32_t oid) {
  HF_CHECK(!rows.IsEmpty());
  rows.EndRow();
  std::string header;
  AppendArrayHeader(header, rows.size_, false, oid);
  std::ranges::copy(header, rows.bytes_.begin());
  values_.push_back(std::move(rows.bytes_));
  return *this;
}

std::int64_t Answer::affected() const {
  const std::string_view text = PQcmdTuples(result_.get());
  std::int64_t rows = 0;
  std::from_chars(text.data(), text.data() + text.size(), rows);
  return rows;
}

std::int64_t Row::Integer(int column) const {
  HF_CHECK(PQgetlength(result_, row_, column) == sizeof(std::int64_t));
  return static_cast<std::int64_t>(ReadNetwork<std::uint64_t>(PQgetvalue(result_, row_, column)));
}

double Row::Real(int column) const {
  return std::bit_cast<double>(ReadNetwork<std::uint64_t>(PQgetvalue(result_, row_, column)));
}

Time Row::TimeAt(int column) const {
  return Time(Duration(Integer(column) + kEpoch));
}

}  // namespace holdfast::engine::postgres
