#include "api/call.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "api/problem.h"
#include "base/log.h"
#include "base/mutant.h"
#include "base/text.h"
#include "base/utf8.h"

namespace holdfast::api {
namespace {

/// The client's own id is taken if it can be repeated in a header and a log as it is.
bool IsUsableRequestId(std::string_view id) {
  return !id.empty() && id.size() <= 128 &&
         std::ranges::all_of(id, [](char c) { return c > ' ' && c < 0x7f; });
}

std::function<void()> Undo(Service& service, Context context, std::vector<Operation> operations) {
  return [in_flight = std::make_shared<InFlight>(service), context = std::move(context),
          operations = std::move(operations)] {
    Service& of = in_flight->service();
    base::Log(of.log, LogLevel::kInfo, "answer_undelivered", [&] {
      return base::Fields{{"taken_back", fmt::to_string(operations.size())},
                          {"correlation_id", context.correlation_id}};
    });
    std::vector<Batch> batches(operations.size());
    for (std::size_t i = 0; i < operations.size(); ++i) {
      batches[i].operations.push_back(operations[i]);
    }
    of.store.CommitAsync(context, std::move(batches), [in_flight](const auto&) {});
  };
}

}  // namespace

std::string NewRequestId() {
  return fmt::format("{:016x}", Random::System().Next());
}

InFlight::InFlight(Service& service) : service_(&service) {
  base::MutexLock lock(service.mutex);
  ++service.in_flight;
}

InFlight::~InFlight() {
  if (service_ == nullptr) return;
  base::MutexLock lock(service_->mutex);
  // Under the mutex: once it is free, AwaitNone may return and the service be gone.
  if (--service_->in_flight == 0) service_->all_done.NotifyAll();
}

bool InFlight::AwaitNone(Service& service, SteadyTime until) {
  base::MutexLock lock(service.mutex);
  while (service.in_flight != 0 && std::chrono::steady_clock::now() < until) {
    service.all_done.WaitUntil(service.mutex, until);
  }
  return service.in_flight == 0;
}

Call::Call(Service& service, net::HttpRequest request, std::stop_token gone, net::Responder respond)
    : in_flight_(service),
      request_(std::move(request)),
      gone_(std::move(gone)),
      respond_(std::move(respond)) {
  std::string_view id = net::FindHeader(request_.headers, "X-Request-Id");
  request_id_ = IsUsableRequestId(id) ? std::string(id) : NewRequestId();
  context_.actor = net::FindHeader(request_.headers, "X-Holdfast-Actor");
  context_.correlation_id = net::FindHeader(request_.headers, "X-Correlation-Id");
  if (context_.correlation_id.empty()) context_.correlation_id = request_id_;
  // A long read ends with its client. A write does not: its outcome is asked for again.
  if (is_read()) context_.stop = gone_;
}

std::string_view Call::path() const {
  std::string_view target = request_.target;
  return target.substr(0, target.find('?'));
}

std::string_view Call::query_text() const {
  std::string_view target = request_.target;
  std::size_t mark = target.find('?');
  return mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
}

std::string Call::BodyAsJson() const {
  constexpr std::string_view kSpace = " \t\r\n";
  std::string_view text = request_.body;
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  return std::string(text.substr(0, text.find_last_not_of(kSpace) + 1));
}

std::string_view Call::Header(std::string_view name) const {
  return net::FindHeader(request_.headers, name);
}

Result<std::int64_t> Call::ParameterAsId(std::string_view of_what) const {
  if (auto id = base::ParseInteger(parameter())) return *id;
  return Fail(ErrorCode::kInvalidArgument, fmt::format("'{}' is not a {} id (a decimal number)",
                                                       base::CutUtf8(parameter(), 64), of_what));
}

void Call::DropBody() {
  std::string().swap(request_.body);
  request_.body_permit.reset();
}

void Call::MarkReplayed() {
  AddHeader("Idempotency-Replayed", "true");
}

void Call::AddHeader(std::string name, std::string value) {
  headers_.emplace_back(std::move(name), std::move(value));
}

void Call::Reply(int status, std::string json) {
  Reply(net::HttpResponse{.status = status, .body = std::move(json)});
}

void Call::Reply(net::HttpResponse response) {
  for (auto& header : headers_) response.headers.push_back(std::move(header));
  response.headers.emplace_back("X-Request-Id", request_id_);
  auto elapsed = std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - began_);
  service().metrics.CountRequest(route_, request_.method, response.status, elapsed);
  base::Log(service().log, LogLevel::kDebug, "http_request", [&] {
    return base::Fields{{"method", request_.method},
                        {"route", std::string(route_)},
                        {"status", fmt::to_string(response.status)},
                        {"duration", base::FormatDuration(elapsed)},
                        {"request_id", request_id_}};
  });
  if (!undo_.empty() && !HF_MUTANT(undelivered_grants_kept)) {
    // The call's own stop token may have fired: clean-up never uses it.
    response.on_undelivered = Undo(service(), context_.ForCleanUp(), std::move(undo_));
  }
  respond_(std::move(response));
}

void Call::Refuse(const Error& error, int status) {
  if (status == 0) status = InfoOf(error.code).http_status;
  Reply(ProblemResponse(error, status, request_id_));
}

}  // namespace holdfast::api
