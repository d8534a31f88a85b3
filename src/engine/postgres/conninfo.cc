#include "engine/postgres/conninfo.h"

#include <algorithm>

namespace holdfast::engine::postgres {
namespace {

/// Whether the value can be what it is taken for. In postgres://ada:pa/ss@db/app libpq sees the
/// port "pa", in postgres://ada:p@ss@db/app the host "ss@db".
bool IsPlausible(std::string_view keyword, std::string_view value) {
  if (keyword == "port") return value.find_first_not_of("0123456789,") == std::string_view::npos;
  return !keyword.starts_with("host") || value.find('@') == std::string_view::npos;
}

}  // namespace

Result<Conninfo> ParseConninfo(const std::string& connection) {
  Conninfo parts(PQconninfoParse(connection.c_str(), nullptr), &PQconninfoFree);
  const bool is_understood = [&] {
    if (parts == nullptr) return false;
    for (const PQconninfoOption* part = parts.get(); part->keyword != nullptr; ++part) {
      if (part->val != nullptr && !IsPlausible(part->keyword, part->val)) return false;
    }
    return true;
  }();
  if (is_understood) return parts;
  return Fail(ErrorCode::kInvalidArgument,
              "libpq does not understand where PostgreSQL is said to be: in a URL, what is special "
              "is written as %XX, and parameters are those of libpq");
}

bool IsSecret(const PQconninfoOption& part) {
  return std::string_view(part.dispchar) == "*";
}

std::string WithoutSecrets(std::string text, const Conninfo& parts) {
  for (const PQconninfoOption* part = parts.get(); part->keyword != nullptr; ++part) {
    const std::string_view value = part->val == nullptr ? "" : part->val;
    // A database with @ in its name may be the end of a URL whose password has a / in it.
    const bool may_be_one = std::string_view(part->keyword) == "dbname" && value.contains('@');
    if (value.empty() || !(IsSecret(*part) || may_be_one)) continue;
    for (std::size_t at = 0; (at = text.find(value, at)) != std::string::npos; at += 3) {
      text.replace(at, value.size(), "***");
    }
  }
  return text;
}

}  // namespace holdfast::engine::postgres
