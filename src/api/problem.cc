#include "api/problem.h"

#include <fmt/format.h>

#include <algorithm>

#include "wire/encode.h"

namespace holdfast::api {

void WriteProblem(base::JsonWriter& json, const Error& error, int status,
                  std::string_view request_id) {
  std::string_view code = InfoOf(error.code).name;
  std::string title(code);
  std::ranges::replace(title, '_', ' ');
  json.BeginObject();
  json.Field("type", fmt::format("urn:holdfast:error:{}", code));
  json.Field("title", title);
  json.Field("status", status);
  wire::WriteErrorFields(json, error);
  if (!request_id.empty()) json.Field("request_id", request_id);
  json.EndObject();
}

net::HttpResponse ProblemResponse(const Error& error, int status, std::string_view request_id) {
  base::JsonWriter json;
  WriteProblem(json, error, status, request_id);
  net::HttpResponse response{
      .status = status, .content_type = "application/problem+json", .body = std::move(json).Take()};
  if (error.detail.retry_after) {
    // The header knows whole seconds only: rather late than early.
    auto seconds = std::chrono::ceil<std::chrono::seconds>(*error.detail.retry_after).count();
    response.headers.emplace_back("Retry-After",
                                  fmt::to_string(std::max<std::int64_t>(seconds, 1)));
  }
  return response;
}

}  // namespace holdfast::api
