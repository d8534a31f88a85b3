// The table of everything the API answers to.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "api/call.h"

namespace holdfast::api {

struct Route {
  std::string_view method;
  /// "/v1/jobs/{id}/complete": at most one segment in braces, which stands for any one segment.
  std::string_view pattern;
  Handler handler;
  /// Whether the handler reads the query. Otherwise there may be none.
  bool takes_query = false;
  /// Bodies of many items may be larger.
  bool takes_many = false;
};

std::span<const Route> Routes();

/// What a path leads to.
struct RouteMatch {
  const Route* route = nullptr;  ///< nothing: no such path, or not with this method
  std::string parameter;         ///< the segment in braces, decoded
  std::string allowed;           ///< the methods the path has, if not this one: "GET, POST"
};

/// Errors: invalid_argument (the path is badly encoded).
Result<RouteMatch> FindRoute(std::string_view method, std::string_view path);

}  // namespace holdfast::api
