#include "net/request_rules.h"

#include <string_view>
#include <vector>

namespace holdfast::net {
namespace {

/// The members of a comma-separated list over all lines of that name, without the space around
/// them. Empty members do not count.
std::vector<std::string_view> ListOf(const Headers& headers, std::string_view name) {
  std::vector<std::string_view> members;
  for (const auto& [key, value] : headers) {
    if (!EqualsIgnoringCase(key, name)) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      std::string_view member = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(member.size() + 1, rest.size()));
      member.remove_prefix(std::min(member.find_first_not_of(" \t"), member.size()));
      member = member.substr(0, member.find_last_not_of(" \t") + 1);
      if (!member.empty()) members.push_back(member);
    }
  }
  return members;
}

/// Taking such a body for empty, or for another length, would take the rest of it for the next
/// request.
std::optional<Refusal> CheckTransferEncoding(const Headers& headers, bool is_http_1_0) {
  constexpr std::string_view kName = "Transfer-Encoding";
  if (CountHeader(headers, kName) == 0) return std::nullopt;
  if (is_http_1_0) return Refusal{400, "HTTP/1.0 has no Transfer-Encoding"};
  if (CountHeader(headers, "Content-Length") > 0) {
    return Refusal{400, "the request has both a Transfer-Encoding and a Content-Length"};
  }
  const std::vector<std::string_view> codings = ListOf(headers, kName);
  if (codings.empty() || !EqualsIgnoringCase(codings.back(), "chunked")) {
    return Refusal{400, "the request's Transfer-Encoding does not end with chunked"};
  }
  for (std::size_t i = 0; i + 1 < codings.size(); ++i) {
    if (EqualsIgnoringCase(codings[i], "chunked")) {
      return Refusal{400, "the request's Transfer-Encoding is chunked twice"};
    }
  }
  if (codings.size() == 1) return std::nullopt;
  return Refusal{501, "the server knows no Transfer-Encoding but chunked"};
}

std::optional<Refusal> TakePathOf(std::string& target) {
  std::size_t scheme = target.find("://");
  if (target.starts_with('/') || scheme == std::string::npos) return std::nullopt;
  std::string_view name = std::string_view(target).substr(0, scheme);
  if (!EqualsIgnoringCase(name, "http") && !EqualsIgnoringCase(name, "https")) return std::nullopt;
  const std::size_t host = scheme + 3;
  const std::size_t end = std::min(target.find_first_of("/?", host), target.size());
  if (end == host) return Refusal{400, "the request's target has no host"};
  target.erase(0, end);
  if (!target.starts_with('/')) target.insert(0, 1, '/');
  return std::nullopt;
}

}  // namespace

std::optional<Refusal> CheckRequest(HttpRequest& request, bool is_http_1_0) {
  // Of two lines two servers on the way may each follow another one.
  for (std::string_view name : {"Host", "Content-Type", "Authorization"}) {
    if (CountHeader(request.headers, name) < 2) continue;
    return Refusal{400, "the request has two " + std::string(name) + " headers"};
  }
  if (!is_http_1_0 && FindHeader(request.headers, "Host").empty()) {
    return Refusal{400, "the request has no Host header"};
  }
  if (auto refusal = CheckTransferEncoding(request.headers, is_http_1_0)) return refusal;
  return TakePathOf(request.target);
}

}  // namespace holdfast::net
