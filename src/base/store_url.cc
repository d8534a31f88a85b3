#include "base/store_url.h"

#include <algorithm>
#include <cctype>

namespace holdfast::base {
namespace {

constexpr std::size_t kShown = 200;  // bytes
constexpr std::string_view kHidden = "***";

bool IsWord(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '+' || c == '.' || c == '-';
  });
}

/// "HOST", "HOST:5432", "[::1]:5432": what stands behind the host is a port, or nothing.
bool IsHost(std::string_view host) {
  if (const std::size_t close = host.rfind(']'); close != std::string_view::npos) {
    host.remove_prefix(close);
  }
  const std::size_t colon = host.find(':');
  if (colon == std::string_view::npos) return true;
  return std::ranges::all_of(host.substr(colon + 1),
                             [](unsigned char c) { return std::isdigit(c) != 0; });
}

bool AreHosts(std::string_view hosts) {
  while (true) {
    const std::size_t comma = std::min(hosts.find(','), hosts.size());
    if (!IsHost(hosts.substr(0, comma))) return false;
    if (comma == hosts.size()) return true;
    hosts.remove_prefix(comma + 1);
  }
}

/// What is no scheme://...: names of files are shown, and words. What has a mark of conninfo
/// strings or of URLs in it may hold a password.
std::string ShownText(std::string_view text) {
  if (text == "memory:" || text.starts_with("sqlite:")) return std::string(text.substr(0, kShown));
  if (text.find_first_of("@=: ") == std::string_view::npos) {
    return std::string(text.substr(0, kShown));
  }
  const std::string_view scheme = text.substr(0, text.find(':'));
  return (IsWord(scheme) && scheme.size() < text.size() ? std::string(scheme) + ":" : "") +
         std::string(kHidden);
}

/// Whether a parameter of a URL holds a secret, by its name: password, sslpassword.
bool IsSecret(std::string_view parameter) {
  std::string name(parameter.substr(0, parameter.find('=')));
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name.find("password") != std::string::npos || name.find('%') != std::string::npos;
}

}  // namespace

std::string ShownUrl(std::string_view url) {
  const std::size_t slashes = url.find("://");
  if (slashes == std::string_view::npos || !IsWord(url.substr(0, slashes))) return ShownText(url);
  const std::string scheme(url.substr(0, slashes + 3));
  std::string_view rest = url.substr(slashes + 3);
  const std::size_t at = rest.rfind('@');
  const std::size_t mark = rest.find_first_of("?#");
  // A password with ? in it, or a parameter with @: either might show the end of a secret.
  if (at != std::string_view::npos && mark < at) return scheme + std::string(kHidden);
  rest = rest.substr(0, mark);
  if (at != std::string_view::npos) rest.remove_prefix(at + 1);
  if (!AreHosts(rest.substr(0, rest.find('/')))) return scheme + std::string(kHidden);
  return scheme + std::string(rest.substr(0, kShown));
}

std::string UrlWithoutPassword(std::string_view url) {
  const std::size_t slashes = url.find("://");
  if (slashes == std::string_view::npos) return std::string(url);
  std::string out(url.substr(0, slashes + 3));
  std::string_view rest = url.substr(slashes + 3);
  // As libpq finds them: user and password end at the first @ before any /.
  const std::size_t at = rest.find_first_of("@/");
  if (at != std::string_view::npos && rest[at] == '@') {
    out += rest.substr(0, std::min(rest.find(':'), at));
    rest.remove_prefix(at);
  }
  const std::size_t mark = std::min(rest.find('?'), rest.size());
  out += rest.substr(0, mark);
  rest.remove_prefix(mark);
  char separator = '?';
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const std::string_view parameter = rest.substr(0, rest.find('&'));
    rest.remove_prefix(parameter.size());
    if (parameter.empty() || IsSecret(parameter)) continue;
    out += separator;
    out += parameter;
    separator = '&';
  }
  return out;
}

}  // namespace holdfast::base
