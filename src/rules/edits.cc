#include "rules/edits.h"

#include <fmt/format.h>

#include <cmath>

#include "base/result.h"
#include "base/utf8.h"

namespace holdfast::rules {
namespace {

std::unexpected<Error> BadEdit(std::string message) {
  return Fail(ErrorCode::kInvalidArgument, std::move(message));
}

std::unexpected<Error> NothingAt(const JsonPointer& path) {
  return BadEdit(fmt::format("there is nothing at {}", base::CutUtf8(path.text(), 64)));
}

std::unexpected<Error> NotA(std::string_view type, const JsonPointer& path, const Json& value) {
  return BadEdit(
      fmt::format("{} is {}, not {}", base::CutUtf8(path.text(), 64), base::TypeName(value), type));
}

}  // namespace

Result<Json> ApplyMergePatch(Json data, const Json& patch) {
  if (!patch.is_object()) return BadEdit("a merge patch must be an object");
  data.merge_patch(patch);
  return data;
}

Result<void> ApplyIncrement(Json& data, const JsonPointer& path,
                            const std::variant<std::int64_t, double>& by) {
  Json* value = path.Find(data);
  if (value == nullptr) return NothingAt(path);
  if (!value->is_number()) return NotA("a number", path, *value);
  const auto* integer = std::get_if<std::int64_t>(&by);
  if (integer != nullptr && value->is_number_integer()) {
    std::int64_t sum = 0;
    if (__builtin_add_overflow(value->get<std::int64_t>(), *integer, &sum)) {
      return BadEdit(fmt::format("{} would go beyond 64 bits", base::CutUtf8(path.text(), 64)));
    }
    *value = sum;
    return {};
  }
  double sum = value->get<double>() +
               (integer != nullptr ? static_cast<double>(*integer) : std::get<double>(by));
  if (!std::isfinite(sum)) {
    return BadEdit(fmt::format("{} would not be finite", base::CutUtf8(path.text(), 64)));
  }
  *value = sum;
  return {};
}

Result<void> ApplyAppend(Json& data, const JsonPointer& path, Json value,
                         std::optional<std::int64_t> max_length) {
  Json* array = path.Find(data);
  if (array == nullptr) return NothingAt(path);
  if (!array->is_array()) return NotA("an array", path, *array);
  array->push_back(std::move(value));
  if (max_length && array->size() > static_cast<std::size_t>(*max_length)) {
    auto surplus =
        static_cast<std::ptrdiff_t>(array->size()) - static_cast<std::ptrdiff_t>(*max_length);
    array->erase(array->begin(), array->begin() + surplus);
  }
  return {};
}

Result<std::int64_t> IntegerAt(const Json& data, const JsonPointer& path) {
  const Json* value = path.Find(data);
  if (value == nullptr) return NothingAt(path);
  if (!value->is_number_integer()) return NotA("an integer", path, *value);
  return value->get<std::int64_t>();
}

}  // namespace holdfast::rules
