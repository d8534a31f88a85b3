// One request on its way to its answer, and what all requests share.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/metrics.h"
#include "api/url.h"
#include "base/mutex.h"
#include "holdfast/store.h"
#include "net/http_server.h"

namespace holdfast::api {

/// What all calls share. Outlives them: see InFlight.
struct Service {
  Store& store;
  Metrics& metrics;
  LogSink* log = nullptr;
  std::atomic<bool> is_draining = false;

  base::Mutex mutex{base::LockRank::kWait};
  base::CondVar all_done;
  std::int64_t in_flight HF_GUARDED_BY(mutex) = 0;
};

/// Held by whatever will still use the service after the function that started it has returned.
class InFlight {
 public:
  explicit InFlight(Service& service);
  InFlight(InFlight&& other) noexcept : service_(std::exchange(other.service_, nullptr)) {}
  InFlight& operator=(InFlight&&) = delete;
  ~InFlight();
  Service& service() const { return *service_; }

  /// Blocks until nothing is under way, or until then. Whether nothing is.
  static bool AwaitNone(Service& service, SteadyTime until = SteadyTime::max());

 private:
  Service* service_;
};

/// What the braces of a route stand for, decoded, in their order.
using Parameters = std::array<std::string, 3>;

/// Movable, so that it travels with the completion that answers it. If it is dropped without an
/// answer, the client gets a 500. Threads: one at a time.
class Call {
 public:
  Call(Service& service, net::HttpRequest request, std::stop_token gone, net::Responder respond);
  Call(Call&&) noexcept = default;

  Service& service() const { return in_flight_.service(); }
  Store& store() const { return service().store; }
  const Context& context() const { return context_; }
  const std::stop_token& gone() const { return gone_; }
  const std::string& method() const { return request_.method; }
  /// Whether it asks and changes nothing: GET or HEAD.
  bool is_read() const { return method() == "GET" || method() == "HEAD"; }
  const std::string& body() const { return request_.body; }
  /// The body as one JSON text, without the space around it: as it would be read from within
  /// another document.
  std::string BodyAsJson() const;
  /// The target without its query, still encoded.
  std::string_view path() const;
  std::string_view query_text() const;
  /// The value of a header of the request, or empty.
  std::string_view Header(std::string_view name) const;
  /// Also if it is empty.
  bool HasHeader(std::string_view name) const { return Header(name).data() != nullptr; }
  /// The lines of that name.
  std::ptrdiff_t CountHeader(std::string_view name) const {
    return net::CountHeader(request_.headers, name);
  }
  std::string IdempotencyKey() const { return std::string(Header("Idempotency-Key")); }

  const Query& query() const { return query_; }
  void set_query(Query query) { query_ = std::move(query); }

  const std::string& parameter(std::size_t index = 0) const { return parameters_[index]; }
  void set_parameters(Parameters parameters) { parameters_ = std::move(parameters); }
  /// The first parameter as the id of a "job" or "transfer". Errors: invalid_argument.
  Result<std::int64_t> ParameterAsId(std::string_view of_what) const;

  /// The pattern of the route, for metrics.
  void set_route(std::string_view route) { route_ = route; }

  /// The answer is the stored one to an earlier request, and a header shall say so.
  void MarkReplayed();

  /// Adds a header to the answer.
  void AddHeader(std::string name, std::string value);

  /// What to commit, each by itself, if the answer cannot be written whole: a client that never
  /// hears of its jobs or locks must not keep them for a lease.
  void UndoIfUndelivered(std::vector<Operation> undo) { undo_ = std::move(undo); }
  /// The body is not needed any more: a call that waits must not keep it.
  void DropBody();

  void Reply(int status, std::string json);
  void Reply(net::HttpResponse response);
  /// `status` 0: that of the error's code.
  void Refuse(const Error& error, int status = 0);

 private:
  // First, so that it is let go last.
  InFlight in_flight_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  net::HttpRequest request_;
  std::stop_token gone_;
  net::Responder respond_;
  std::string request_id_;
  Context context_;
  Query query_;
  Parameters parameters_;
  std::string_view route_ = "(unknown)";
  net::Headers headers_;
  std::vector<Operation> undo_;
};

/// An id for a request that came without one.
std::string NewRequestId();

/// Answers a call.
using Handler = void (*)(Call call);

}  // namespace holdfast::api
