#include "api/routes.h"

#include "api/handlers.h"
#include "base/utf8.h"

namespace holdfast::api {
namespace {

// Where two patterns fit a path, the first one counts.
constexpr Route kRoutes[] = {
    {"POST", "/v1/jobs", EnqueueOne},
    {"GET", "/v1/jobs", ListJobs, true},
    {"POST", "/v1/jobs/batch", EnqueueMany, false, true},
    {"POST", "/v1/jobs/claim", ClaimNext},
    {"POST", "/v1/jobs/finish", FinishMany, false, true},
    {"POST", "/v1/jobs/renew", RenewMany, false, true},
    {"GET", "/v1/jobs/{id}", GetJob},
    {"DELETE", "/v1/jobs/{id}", DeleteOne},
    {"POST", "/v1/jobs/{id}/claim", ClaimOne},
    {"POST", "/v1/jobs/{id}/complete", CompleteOne},
    {"POST", "/v1/jobs/{id}/fail", FailOne},
    {"POST", "/v1/jobs/{id}/release", ReleaseOne},
    {"POST", "/v1/jobs/{id}/snooze", SnoozeOne},
    {"POST", "/v1/jobs/{id}/renew", RenewOne},
    {"POST", "/v1/jobs/{id}/progress", ReportProgress},
    {"POST", "/v1/jobs/{id}/cancel", CancelOne},
    {"POST", "/v1/jobs/{id}/retry", RetryOne},
    {"POST", "/v1/commit", CommitBatches, false, true},
    {"GET", "/v1/queues", ListQueues},
    {"GET", "/v1/queues/{name}", GetQueue},
    {"PATCH", "/v1/queues/{name}", ChangeQueue},
    {"GET", "/v1/audit", ListAudit, true},
    {"GET", "/v1/stats", GetStats},
    {"GET", "/healthz", GetLiveness},
    {"GET", "/readyz", GetReadiness},
    {"GET", "/metrics", GetMetrics},
};

/// Cuts the first segment off `path`, which begins with a slash.
std::string_view TakeSegment(std::string_view& path) {
  path.remove_prefix(1);
  std::size_t end = std::min(path.find('/'), path.size());
  std::string_view segment = path.substr(0, end);
  path.remove_prefix(end);
  return segment;
}

/// Whether the path is of that pattern; the segment in braces goes to `parameter`.
bool Fits(std::string_view pattern, std::string_view path, std::string_view& parameter) {
  while (!pattern.empty() && !path.empty()) {
    std::string_view wanted = TakeSegment(pattern);
    std::string_view segment = TakeSegment(path);
    if (!wanted.empty() && wanted.front() == '{') {
      if (segment.empty()) return false;
      parameter = segment;
    } else if (wanted != segment) {
      return false;
    }
  }
  return pattern.empty() && path.empty();
}

}  // namespace

std::span<const Route> Routes() {
  return kRoutes;
}

Result<RouteMatch> FindRoute(std::string_view method, std::string_view path) {
  RouteMatch match;
  if (path.empty() || path.front() != '/') return match;
  for (const Route& route : kRoutes) {
    std::string_view parameter;
    if (!Fits(route.pattern, path, parameter)) continue;
    if (route.method != method) {
      if (!match.allowed.empty()) match.allowed += ", ";
      match.allowed += route.method;
      continue;
    }
    auto decoded = PercentDecode(parameter);
    if (!decoded || !base::IsUtf8(*decoded)) {
      return Fail(ErrorCode::kInvalidArgument, "the path is not percent-encoded UTF-8");
    }
    match.route = &route;
    match.parameter = *std::move(decoded);
    match.allowed.clear();
    break;
  }
  return match;
}

}  // namespace holdfast::api
