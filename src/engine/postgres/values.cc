#include "engine/postgres/values.h"

#include <bit>
#include <charconv>
#include <cstring>

#include "base/check.h"

namespace holdfast::engine::postgres {
namespace {

// PostgreSQL counts microseconds from 2000-01-01.
constexpr std::int64_t kEpoch = 946'684'800'000'000;

constexpr std::size_t kArrayHeader = 20;

template <typename T>
void AppendNetwork(std::string& bytes, T value) {
  if constexpr (std::endian::native == std::endian::little) value = std::byteswap(value);
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename T>
T ReadNetwork(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  if constexpr (std::endian::native == std::endian::little) value = std::byteswap(value);
  return value;
}

std::int64_t ToWire(Time time) {
  return time.time_since_epoch().count() - kEpoch;
}

}  // namespace

void Column::Begin(Type type, std::size_t bytes) {
  HF_CHECK(type_ == type);
  ++size_;
  AppendNetwork(bytes_, static_cast<std::uint32_t>(bytes));
}

Column& Column::Add(std::int64_t value) {
  Begin(Type::kInteger, sizeof value);
  AppendNetwork(bytes_, static_cast<std::uint64_t>(value));
  return *this;
}

Column& Column::Add(std::string_view text) {
  Begin(Type::kText, text.size());
  bytes_.append(text);
  return *this;
}

Column& Column::Add(bool value) {
  Begin(Type::kBool, 1);
  bytes_ += static_cast<char>(value);
  return *this;
}

Column& Column::Add(double value) {
  Begin(Type::kReal, sizeof value);
  AppendNetwork(bytes_, std::bit_cast<std::uint64_t>(value));
  return *this;
}

Column& Column::Add(Time time) {
  Begin(Type::kTime, sizeof(std::int64_t));
  AppendNetwork(bytes_, static_cast<std::uint64_t>(ToWire(time)));
  return *this;
}

Column& Column::AddNull() {
  ++size_;
  has_null_ = true;
  AppendNetwork(bytes_, ~std::uint32_t{0});
  return *this;
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
  AppendNetwork(bytes, std::uint32_t{column.size_ == 0 ? 0U : 1U});  // dimensions
  AppendNetwork(bytes, std::uint32_t{column.has_null_});
  AppendNetwork(bytes, static_cast<std::uint32_t>(column.type_));
  if (column.size_ == 0) return *this;
  AppendNetwork(bytes, static_cast<std::uint32_t>(column.size_));
  AppendNetwork(bytes, std::uint32_t{1});  // the first index
  bytes += column.bytes_;
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
