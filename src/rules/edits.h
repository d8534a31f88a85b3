// The edits of a record's data (REC-2): pure functions from data to data.
#pragma once

#include <optional>
#include <variant>

#include "base/json.h"
#include "rules/effort.h"

namespace holdfast::rules {

using base::Json;
using base::JsonPointer;

/// RFC 7396. Errors: invalid_argument (the patch is not an object).
Result<Json> ApplyMergePatch(Json data, const Json& patch);

/// RFC 6902. Errors: invalid_argument (not an array of at most 1,000 operations, or one that does
/// not fit: the message names its index); rule_violation, if a `test` fails; payload_too_large (the
/// effort is spent).
Result<Json> ApplyJsonPatch(Json data, const Json& patch, Effort& effort);

/// Adds to a number. Errors: invalid_argument (nothing there, no number, beyond 64 bits).
Result<void> ApplyIncrement(Json& data, const JsonPointer& path,
                            const std::variant<std::int64_t, double>& by);

/// Errors: invalid_argument (nothing there, no array).
Result<void> ApplyAppend(Json& data, const JsonPointer& path, Json value,
                         std::optional<std::int64_t> max_length);

/// The integer at `path`. Errors: invalid_argument.
Result<std::int64_t> IntegerAt(const Json& data, const JsonPointer& path);

}  // namespace holdfast::rules
