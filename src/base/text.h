// Times and durations as text, in the one format that the API, the command line and logs use.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "holdfast/error.h"
#include "holdfast/time.h"

namespace holdfast::base {

/// "2026-11-23T08:15:30.000125Z": RFC 3339, UTC, always with microseconds.
std::string FormatTime(Time time);

/// RFC 3339 with any offset and up to nine digits of fraction (cut to microseconds).
/// Errors: invalid_argument.
Result<Time> ParseTime(std::string_view text);

/// "30s", "250ms", "15us", "1h": the largest unit that gives a whole number; "0s" for zero.
std::string FormatDuration(Duration duration);

/// A number (digits, with an optional fraction) and a unit of us, ms, s, m, h or d. Never negative.
/// Errors: invalid_argument (not such text, or over 10,000 days).
Result<Duration> ParseDuration(std::string_view text);

/// A decimal integer without sign or space, and nothing else.
std::optional<std::int64_t> ParseInteger(std::string_view text);

}  // namespace holdfast::base
