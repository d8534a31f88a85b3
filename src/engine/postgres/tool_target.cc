#include "engine/postgres/tool_target.h"

#include <fmt/format.h>
#include <libpq-fe.h>

#include <memory>
#include <string_view>

#include "base/result.h"
#include "engine/postgres/settings.h"

namespace holdfast::engine::postgres {
namespace {

std::string Quoted(std::string_view value) {
  std::string text = "'";
  for (char c : value) {
    if (c == '\'' || c == '\\') text += '\\';
    text += c;
  }
  return text + "'";
}

}  // namespace

Result<ToolTarget> TargetOfTools(const std::string& connection) {
  // As libpq tells them apart.
  if (!IsPostgresUrl(connection) && connection.find('=') == std::string::npos) {
    return ToolTarget{.database = connection, .environment = {}};
  }
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> parts(
      PQconninfoParse(connection.c_str(), nullptr), &PQconninfoFree);
  if (parts == nullptr) {  // why, libpq says with what it does not understand: perhaps a password
    return Fail(ErrorCode::kInvalidArgument,
                "libpq does not understand where PostgreSQL is said to be: in a URL, what is "
                "special is written as %XX, and parameters are those of libpq");
  }
  ToolTarget target;
  for (const PQconninfoOption* part = parts.get(); part->keyword != nullptr; ++part) {
    if (part->val == nullptr) continue;
    const bool is_secret = std::string_view(part->dispchar) == "*";
    if (!is_secret) {
      target.database += target.database.empty() ? "" : " ";
      target.database += fmt::format("{}={}", part->keyword, Quoted(part->val));
    } else if (part->envvar != nullptr) {
      target.environment.push_back(fmt::format("{}={}", part->envvar, part->val));
    } else {
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} cannot be handed to psql and pgbench but as an argument, which "
                              "everybody can read: put it into a service file (PGSERVICEFILE)",
                              part->keyword));
    }
  }
  return target;
}

}  // namespace holdfast::engine::postgres
