// What libpq reads out of the URL of a store, and what messages may show of it.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <string>
#include <string_view>

#include "holdfast/error.h"

namespace holdfast::engine::postgres {

using Conninfo = std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)>;

/// Errors: invalid_argument, which quotes nothing: what libpq does not understand, or takes for a
/// host or port that can be none, may be a password.
Result<Conninfo> ParseConninfo(const std::string& connection);

/// Whether the value of the parameter is a secret.
bool IsSecret(const PQconninfoOption& part);

/// The text, which libpq or the server wrote, with every secret that is in it as "***".
std::string WithoutSecrets(std::string text, const Conninfo& parts);

}  // namespace holdfast::engine::postgres
