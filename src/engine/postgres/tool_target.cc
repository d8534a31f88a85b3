#include "engine/postgres/tool_target.h"

#include <fmt/format.h>

#include <string_view>

#include "base/result.h"
#include "engine/postgres/conninfo.h"
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
  HF_ASSIGN_OR_RETURN(const Conninfo parts, ParseConninfo(connection));
  ToolTarget target;
  for (const PQconninfoOption* part = parts.get(); part->keyword != nullptr; ++part) {
    if (part->val == nullptr) continue;
    if (!IsSecret(*part)) {
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
