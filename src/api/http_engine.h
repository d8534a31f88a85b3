// The engine that is a Holdfast server elsewhere: the client half of the API.
#pragma once

#include <memory>
#include <string_view>

#include "engine/engine.h"

namespace holdfast::api {

/// `url` is http://HOST or http://HOST:PORT. Asks the server whether it is one.
/// Errors: invalid_argument (not such a URL), unavailable (cannot be reached, or not Holdfast).
Result<std::unique_ptr<engine::Engine>> OpenHttp(std::string_view url, const StoreOptions& options);

}  // namespace holdfast::api
