#include "api/api.h"

#include <fmt/format.h>

#include "api/call_pool.h"
#include "api/handlers.h"
#include "api/problem.h"
#include "api/routes.h"
#include "base/log.h"
#include "base/mutant.h"
#include "base/utf8.h"

namespace holdfast::api {
namespace {

constexpr std::size_t kBodyLimit = 1024 * 1024;
constexpr std::size_t kRecordBodyLimit = kBodyLimit + 64 * 1024;
constexpr std::size_t kManyBodyLimit = 8 * 1024 * 1024;
constexpr Duration kRetryAfter = std::chrono::seconds(1);
// A larger body takes more than a few milliseconds to parse, which a loop has not got.
constexpr std::size_t kBulkBody = 256 * 1024;

// Of two lines the server could only guess which one is meant.
constexpr std::string_view kSingleHeaders[] = {"Idempotency-Key",  "If-Match",
                                               "If-None-Match",    "X-Holdfast-Actor",
                                               "X-Correlation-Id", "X-Request-Id"};

/// A condition that the server ignores would be a promise broken in silence; an empty key protects
/// nothing, although the client meant it to.
Result<void> CheckHeaders(const Call& call, const Route& route) {
  for (std::string_view name : kSingleHeaders) {
    if (call.CountHeader(name) < 2) continue;
    return Fail(ErrorCode::kInvalidArgument, fmt::format("the request has two {} lines", name));
  }
  if (call.is_read()) return {};
  auto refuse = [](std::string message) {
    return Fail(ErrorCode::kInvalidArgument, std::move(message));
  };
  bool has_version =
      route.pattern.starts_with("/v1/records/{kind}/{id}") || route.pattern == "/v1/kinds/{kind}";
  if (!has_version && call.HasHeader("If-Match")) {
    return refuse("If-Match is for records and kinds: elsewhere there is no version to match");
  }
  if (call.HasHeader("If-None-Match")) return refuse("If-None-Match is for reads");
  if (call.HasHeader("Idempotency-Key") && call.IdempotencyKey().empty()) {
    return refuse("Idempotency-Key is empty (1-255 bytes)");
  }
  return {};
}

/// The code for what the server refuses by itself.
ErrorCode CodeOfStatus(int status) {
  switch (status) {
    case 408:
      return ErrorCode::kDeadlineExceeded;
    case 413:
      return ErrorCode::kPayloadTooLarge;
    case 503:
      return ErrorCode::kUnavailable;
    default:
      return status < 500 ? ErrorCode::kInvalidArgument : ErrorCode::kInternal;
  }
}

}  // namespace

Error ShuttingDown() {
  return {ErrorCode::kShuttingDown, "the server is shutting down", {.retry_after = kRetryAfter}};
}

Api::Api(Store& store, Metrics& metrics, LogSink* log, Writes writes)
    : writes_(writes),
      service_(std::make_unique<Service>(store, metrics, log)),
      pools_(std::make_unique<CallPools>()) {}

Api::~Api() {
  Drain();
  InFlight::AwaitNone(*service_);
}

void Api::Drain() {
  service_->is_draining.store(true);
  service_->store.StopWaiting();
}

std::int64_t Api::in_flight() const {
  base::MutexLock lock(service_->mutex);
  return service_->in_flight;
}

bool Api::AwaitIdle(SteadyTime until) {
  return InFlight::AwaitNone(*service_, until);
}

void Api::Handle(net::HttpRequest request, std::stop_token gone, net::Responder respond) {
  try {
    Dispatch(Call(*service_, std::move(request), std::move(gone), std::move(respond)));
  } catch (const std::exception& error) {
    // The call is gone with the exception, so that the client gets a 500.
    base::Log(service_->log, LogLevel::kError, "http_handler_failed", [&] {
      return base::Fields{{"what", error.what()}};
    });
  }
}

/// The threads on which a call runs; nothing: the loop that it came on.
CallPool* Api::PoolFor(const Call& call, const Route& route) const {
  if (route.handler == GetLiveness) return nullptr;
  if (route.handler == GetReadiness) return &pools_->health;
  if (call.is_read() && !HF_MUTANT(reads_on_the_loop)) return &pools_->reads;
  const bool blocks = writes_ == Writes::kBlock || call.body().size() > kBulkBody;
  return blocks ? &pools_->writes : nullptr;
}

void Api::Dispatch(Call call) {
  auto match = FindRoute(call.method(), call.path());
  if (!match) return call.Refuse(match.error());
  if (match->route == nullptr) {
    std::string path = base::CutUtf8(call.path(), 200);
    if (match->allowed.empty()) {
      return call.Refuse({ErrorCode::kNotFound, fmt::format("there is nothing at {}", path), {}});
    }
    std::string message = fmt::format("{} does not take {} (but {})", path,
                                      base::CutUtf8(call.method(), 32), match->allowed);
    call.AddHeader("Allow", match->allowed);
    return call.Refuse({ErrorCode::kInvalidArgument, std::move(message), {}}, 405);
  }
  const Route& route = *match->route;
  call.set_route(route.pattern);
  if (!call.is_read() && call.service().is_draining.load()) return call.Refuse(ShuttingDown());
  if (auto valid = CheckHeaders(call, route); !valid) return call.Refuse(valid.error());
  auto query = Query::Parse(call.query_text());
  if (!query) return call.Refuse(query.error());
  if (!route.takes_query) {
    if (auto none = query->AllowOnly({}); !none) return call.Refuse(none.error());
  }
  call.set_query(*std::move(query));
  call.set_parameters(std::move(match->parameters));
  if (CallPool* pool = PoolFor(call, route)) return pool->Run(route.handler, std::move(call));
  route.handler(std::move(call));
}

std::size_t Api::BodyLimit(std::string_view method, std::string_view target) {
  auto match = FindRoute(method, target.substr(0, target.find('?')));
  BodySize size = match && match->route != nullptr ? match->route->body : BodySize::kOne;
  switch (size) {
    case BodySize::kRecord:
      return kRecordBodyLimit;
    case BodySize::kMany:
      return kManyBodyLimit;
    case BodySize::kOne:
      break;
  }
  return kBodyLimit;
}

net::HttpResponse Api::Refuse(int status, std::string_view reason) {
  service_->metrics.CountRequest("(refused)", "other", status, Duration::zero());
  Error error{CodeOfStatus(status), std::string(reason), {}};
  if (status == 503) error.detail.retry_after = kRetryAfter;
  std::string request_id = NewRequestId();
  net::HttpResponse response = ProblemResponse(error, status, request_id);
  response.headers.emplace_back("X-Request-Id", request_id);
  return response;
}

}  // namespace holdfast::api
