// Errors as HTTP answers: RFC 9457 problem documents.
#pragma once

#include <string_view>

#include "base/json_writer.h"
#include "holdfast/error.h"
#include "net/http.h"

namespace holdfast::api {

/// The status is the code's own, unless HTTP has a better one for the case.
void WriteProblem(base::JsonWriter& json, const Error& error, int status,
                  std::string_view request_id = {});

/// With Retry-After, if the error says when.
net::HttpResponse ProblemResponse(const Error& error, int status, std::string_view request_id);

}  // namespace holdfast::api
