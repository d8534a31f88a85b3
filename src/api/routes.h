// The table of everything the API answers to.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "api/call.h"

namespace holdfast::api {

/// How much the body of a call may hold.
enum class BodySize : std::uint8_t {
  kOne,     ///< 1 MiB
  kRecord,  ///< a little more, so that it is the rules who say that data is larger than 1 MiB
  kMany,    ///< 8 MiB
};

struct Route {
  std::string_view method;
  /// "/v1/jobs/{id}/complete": a segment in braces stands for any one segment. At most as many of
  /// these as Parameters holds.
  std::string_view pattern;
  Handler handler;
  /// Whether the handler reads the query. Otherwise there may be none.
  bool takes_query = false;
  BodySize body = BodySize::kOne;
};

std::span<const Route> Routes();

/// What a path leads to.
struct RouteMatch {
  const Route* route = nullptr;  ///< nothing: no such path, or not with this method
  Parameters parameters;         ///< the segments in braces, decoded, in their order
  std::string allowed;           ///< the methods the path has, if not this one: "GET, POST"
};

/// Errors: invalid_argument (the path is badly encoded).
Result<RouteMatch> FindRoute(std::string_view method, std::string_view path);

}  // namespace holdfast::api
