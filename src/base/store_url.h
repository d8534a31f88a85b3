// The URL of a store where it is shown or handed on: a password may be in it.
#pragma once

#include <string>
#include <string_view>

namespace holdfast::base {

/// What logs, messages and tables may show: without user, password and parameters. Of a text that
/// may hold a password in another place, the scheme alone: "postgres://***", or "***".
std::string ShownUrl(std::string_view url);

/// The URL without the passwords in it: for the environment of other programs.
std::string UrlWithoutPassword(std::string_view url);

}  // namespace holdfast::base
