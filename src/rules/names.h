// The characters of names.
#pragma once

#include <string_view>

#include "holdfast/error.h"

namespace holdfast::rules {

/// 1-128 of [A-Za-z0-9_.:-]: kinds of jobs, queues. Errors: invalid_argument, which begins with
/// `what`.
Result<void> CheckName(std::string_view what, std::string_view name);

/// The same with @: kinds and ids of records, statuses, actions, parameters.
Result<void> CheckRecordName(std::string_view what, std::string_view name);

/// 1-512 bytes of UTF-8 without control characters; not "." or "..". Errors: invalid_argument.
Result<void> CheckLockName(std::string_view name);

}  // namespace holdfast::rules
