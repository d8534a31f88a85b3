// What RFC 9110 and RFC 9112 demand of a request's header beyond its syntax.
#pragma once

#include <optional>
#include <string>

#include "net/http.h"

namespace holdfast::net {

struct Refusal {
  int status = 400;
  std::string reason;
};

/// Why a request must be refused before its body is read; nothing: it need not. A target in
/// absolute form ("http://host/path") is replaced by its path and query.
std::optional<Refusal> CheckRequest(HttpRequest& request, bool is_http_1_0);

}  // namespace holdfast::net
