// What an HTTP request and an answer are, for server and client alike. No domain words.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::net {

using Headers = std::vector<std::pair<std::string, std::string>>;

/// The value of the first header of that name (case does not matter), or empty.
std::string_view FindHeader(const Headers& headers, std::string_view name);
/// How many headers have that name.
std::ptrdiff_t CountHeader(const Headers& headers, std::string_view name);
bool EqualsIgnoringCase(std::string_view a, std::string_view b);

struct HttpRequest {
  std::string method;  ///< "GET"
  std::string target;  ///< path and query as sent: "/v1/jobs?limit=10"
  Headers headers;
  std::string body;  ///< has at least 64 bytes of spare capacity, for parsers that read ahead
  std::shared_ptr<const void> body_permit = nullptr;  ///< counts the body until it is let go
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  Headers headers;
  std::string body;
  /// Called on a server's thread if the answer cannot be written whole: takes back what it grants.
  /// Must not block.
  std::function<void()> on_undelivered = nullptr;
};

}  // namespace holdfast::net
