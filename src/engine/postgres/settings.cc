#include "engine/postgres/settings.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "base/store_url.h"
#include "base/text.h"

namespace holdfast::engine::postgres {
namespace {

constexpr int kLanesMost = 64;

int CountList(std::string_view list) {
  return 1 + static_cast<int>(std::ranges::count(list, ','));
}

/// A value, for a message. With @ in it, it may be the end of a password with ? in it.
std::string_view Shown(std::string_view value) {
  return value.contains('@') ? "***" : value.substr(0, 64);
}

Result<bool> SwitchOf(std::string_view name, std::string_view value, std::string_view on,
                      std::string_view off) {
  if (value == on) return true;
  if (value == off) return false;
  return Fail(
      ErrorCode::kInvalidArgument,
      fmt::format("{}={} in the URL of the store: it is {} or {}", name, Shown(value), on, off));
}

Result<std::string> SchemaOf(std::string_view name) {
  auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
  const bool is_name =
      !name.empty() && name.size() <= 63 && is_letter(name.front()) &&
      std::ranges::all_of(name, [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
  if (is_name && !name.starts_with("pg_")) return std::string(name);
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("schema={} in the URL of the store: a schema is named in 1 to 63 of "
                          "[a-z0-9_], and not pg_...",
                          Shown(name)));
}

/// Whether the parameter is one of Holdfast's own.
Result<bool> TakeParameter(std::string_view name, std::string_view value, Settings& settings) {
  if (name == "schema") {
    HF_ASSIGN_OR_RETURN(settings.schema, SchemaOf(value));
  } else if (name == "prepare") {
    HF_ASSIGN_OR_RETURN(settings.prepares, SwitchOf(name, value, "on", "off"));
  } else if (name == "notify") {
    HF_ASSIGN_OR_RETURN(settings.notifies, SwitchOf(name, value, "on", "off"));
  } else if (name == "lossy") {
    HF_ASSIGN_OR_RETURN(settings.allows_lossy, SwitchOf(name, value, "allow", "refuse"));
  } else if (name == "lanes") {
    std::optional<std::int64_t> lanes = base::ParseInteger(value);
    if (!lanes || *lanes < 1 || *lanes > kLanesMost) {
      return Fail(
          ErrorCode::kInvalidArgument,
          fmt::format("lanes={} in the URL of the store: it is 1 to {}", Shown(value), kLanesMost));
    }
    settings.lanes = static_cast<int>(*lanes);
  } else {
    return false;
  }
  return true;
}

}  // namespace

bool IsPostgresUrl(std::string_view url) {
  return url.starts_with("postgres://") || url.starts_with("postgresql://");
}

Result<Settings> ParsePostgresUrl(std::string_view url) {
  Settings settings;
  const std::size_t mark = std::min(url.find('?'), url.size());
  settings.connection = url.substr(0, mark);
  std::string_view rest = url.substr(mark);
  char separator = '?';
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(pair.size());
    const std::size_t equals = std::min(pair.find('='), pair.size());
    const std::string_view value = equals == pair.size() ? "" : pair.substr(equals + 1);
    HF_ASSIGN_OR_RETURN(bool is_ours, TakeParameter(pair.substr(0, equals), value, settings));
    if (is_ours || pair.empty()) continue;
    // Where else libpq takes hosts from.
    if (pair.starts_with("host=") || pair.starts_with("hostaddr=")) {
      settings.hosts = std::max(settings.hosts, CountList(value));
    }
    settings.connection += separator;
    settings.connection += pair;
    separator = '&';
  }
  std::string_view hosts = url.substr(0, mark);
  const std::size_t at = hosts.rfind('@');
  const std::size_t begin = at == std::string_view::npos ? hosts.find("//") + 2 : at + 1;
  hosts = hosts.substr(std::min(begin, hosts.size()));
  settings.hosts = std::max(settings.hosts, CountList(hosts.substr(0, hosts.find('/'))));
  settings.shown = base::ShownUrl(url);
  return settings;
}

}  // namespace holdfast::engine::postgres
