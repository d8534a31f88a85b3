// Versions as entity tags: what ETag, If-Match and If-None-Match say.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "holdfast/error.h"

namespace holdfast::api {

/// 5 is "5", with the quotes.
std::string ETagOf(std::int64_t version);

/// The version that If-Match names: "5", or 5 without the quotes. Nothing for * (whatever version
/// there is) and for no header at all. Errors: invalid_argument (a weak tag, a list, anything else:
/// not to understand a condition is not to be free of it).
Result<std::optional<std::int64_t>> ParseIfMatch(std::string_view header);

/// Whether If-None-Match, a list of tags or *, names this tag.
bool NamesTag(std::string_view header, std::string_view tag);

}  // namespace holdfast::api
