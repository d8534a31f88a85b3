#include "api/routes.h"

#include <algorithm>

#include "api/handlers.h"
#include "base/utf8.h"

namespace holdfast::api {
namespace {

// Where two patterns fit a path, the first one counts.
constexpr Route kRoutes[] = {
    {"POST", "/v1/jobs", EnqueueOne},
    {"GET", "/v1/jobs", ListJobs, true},
    {"POST", "/v1/jobs/batch", EnqueueMany, false, BodySize::kMany},
    {"POST", "/v1/jobs/claim", ClaimNext},
    {"POST", "/v1/jobs/finish", FinishMany, false, BodySize::kMany},
    {"POST", "/v1/jobs/renew", RenewMany, false, BodySize::kMany},
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
    {"POST", "/v1/commit", CommitBatches, false, BodySize::kMany},
    {"GET", "/v1/queues", ListQueues, true},
    {"GET", "/v1/queues/{name}", GetQueue},
    {"PATCH", "/v1/queues/{name}", ChangeQueue},
    {"GET", "/v1/kinds", ListKinds},
    {"GET", "/v1/kinds/{kind}", GetKind},
    {"PUT", "/v1/kinds/{kind}", PutKind, true, BodySize::kRecord},
    {"GET", "/v1/records/{kind}", ListRecords, true},
    {"POST", "/v1/records/{kind}", AddRecord, false, BodySize::kRecord},
    {"GET", "/v1/records/{kind}/{id}", GetRecord},
    {"PUT", "/v1/records/{kind}/{id}", PutRecord, false, BodySize::kRecord},
    {"PATCH", "/v1/records/{kind}/{id}", EditRecord, false, BodySize::kRecord},
    {"DELETE", "/v1/records/{kind}/{id}", RemoveRecord},
    {"POST", "/v1/records/{kind}/{id}/increment", IncrementOne},
    {"POST", "/v1/records/{kind}/{id}/append", AppendOne, false, BodySize::kRecord},
    {"POST", "/v1/records/{kind}/{id}/transition", TransitionOne, false, BodySize::kRecord},
    {"POST", "/v1/records/{kind}/{id}/actions/{action}", RunOne, false, BodySize::kRecord},
    {"POST", "/v1/transfers", AddTransfer},
    {"GET", "/v1/transfers", ListTransfers, true},
    {"GET", "/v1/transfers/{id}", GetTransfer},
    {"POST", "/v1/transfers/{id}/post", PostOne},
    {"POST", "/v1/transfers/{id}/void", VoidOne},
    {"POST", "/v1/records/{kind}/acquire", AcquireNextRecord},
    {"GET", "/v1/locks", ListLocks, true},
    {"POST", "/v1/locks/acquire", AcquireLocks},
    {"GET", "/v1/locks/{name}", GetOneLock},
    {"POST", "/v1/locks/{name}/acquire", AcquireOneLock},
    {"POST", "/v1/locks/{name}/renew", RenewOneLock},
    {"POST", "/v1/locks/{name}/release", ReleaseOneLock},
    {"POST", "/v1/locks/{name}/break", BreakOneLock},
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

using Segments = std::array<std::string_view, std::tuple_size_v<Parameters>>;

constexpr bool HasRoomForAll() {
  return std::ranges::all_of(kRoutes, [](const Route& route) {
    return std::ranges::count(route.pattern, '{') <= std::ssize(Segments());
  });
}
static_assert(HasRoomForAll());

/// Whether the path is of that pattern; the segments in braces go to `parameters`.
bool Fits(std::string_view pattern, std::string_view path, Segments& parameters) {
  std::size_t count = 0;
  while (!pattern.empty() && !path.empty()) {
    std::string_view wanted = TakeSegment(pattern);
    std::string_view segment = TakeSegment(path);
    if (!wanted.empty() && wanted.front() == '{') {
      if (segment.empty()) return false;
      parameters[count++] = segment;
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
    Segments segments;
    if (!Fits(route.pattern, path, segments)) continue;
    // HEAD is GET, whose body the server leaves out.
    if (route.method != (method == "HEAD" ? "GET" : method)) {
      if (!match.allowed.empty()) match.allowed += ", ";
      match.allowed += route.method;
      if (route.method == "GET") match.allowed += ", HEAD";
      continue;
    }
    for (std::size_t i = 0; i < segments.size(); ++i) {
      auto decoded = PercentDecode(segments[i]);
      if (!decoded || !base::IsUtf8(*decoded)) {
        return Fail(ErrorCode::kInvalidArgument, "the path is not percent-encoded UTF-8");
      }
      match.parameters[i] = *std::move(decoded);
    }
    match.route = &route;
    match.allowed.clear();
    break;
  }
  return match;
}

}  // namespace holdfast::api
