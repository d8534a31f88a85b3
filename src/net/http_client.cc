// The pool of connections, and the judgement of what a failure means.
#include "net/http_client.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <exception>
#include <optional>

#include "base/mutex.h"
#include "base/result.h"
#include "net/connection.h"

namespace holdfast::net {
namespace {

// Well below the 60 s after which servers close idle connections, so that a request and the close
// rarely cross.
constexpr Duration kMaxIdleTime = std::chrono::seconds(30);

bool IsSafe(const HttpRequest& request) {
  return request.method == "GET" || request.method == "HEAD";
}

bool IsToken(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return c > ' ' && c < 0x7f && !std::string_view("\"(),/:;<=>?@[\\]{}").contains(c);
  });
}

bool IsTarget(std::string_view text) {
  return !text.empty() && std::ranges::none_of(text, [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == 0x7f;
  });
}

bool IsHeaderValue(std::string_view text) {
  return std::ranges::none_of(
      text, [](char c) { return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7f; });
}

Result<std::string> Serialize(const HttpRequest& request, std::string_view host) {
  if (!IsToken(request.method)) return Fail(ErrorCode::kInvalidArgument, "not an HTTP method");
  if (!IsTarget(request.target)) {
    return Fail(ErrorCode::kInvalidArgument, "the target has a space or control character");
  }
  std::string text;
  text.reserve(256 + request.body.size());
  text.append(request.method).append(" ").append(request.target).append(" HTTP/1.1\r\nHost: ");
  text.append(host).append("\r\n");
  for (const auto& [name, value] : request.headers) {
    if (!IsToken(name) || !IsHeaderValue(value)) {
      return Fail(ErrorCode::kInvalidArgument,
                  "a header's name or value has a character that HTTP cannot carry");
    }
    text.append(name).append(": ").append(value).append("\r\n");
  }
  if (!IsSafe(request) || !request.body.empty()) {
    text.append("Content-Length: ").append(std::to_string(request.body.size())).append("\r\n");
  }
  text.append("\r\n").append(request.body);
  return text;
}

}  // namespace

class HttpClient::Impl {
 public:
  explicit Impl(ClientOptions options) : options_(std::move(options)) {
    bool is_ipv6 = options_.host.contains(':');
    authority_ = (is_ipv6 ? "[" + options_.host + "]" : options_.host) + ":" + options_.port;
  }

  Result<HttpResponse> Send(const HttpRequest& request, SteadyTime deadline,
                            const std::stop_token& stop);

 private:
  using Outcome = Connection::Outcome;

  /// One try, on a kept connection if `may_reuse` and there is one. Nothing: a kept connection was
  /// closed under us and the server cannot have acted on the request.
  std::optional<Result<HttpResponse>> Try(const HttpRequest& request, std::string_view text,
                                          SteadyTime deadline, const std::stop_token& stop,
                                          bool may_reuse);
  Result<void> Connect(Connection& connection, SteadyTime deadline);
  Result<Connection::Endpoints> Resolve();
  std::unique_ptr<Connection> TakeIdle();
  void Keep(std::unique_ptr<Connection> connection);

  const ClientOptions options_;
  std::string authority_;

  base::Mutex mutex_{base::LockRank::kServer};
  std::vector<std::unique_ptr<Connection>> idle_ HF_GUARDED_BY(mutex_);  // latest used last
  Connection::Endpoints endpoints_ HF_GUARDED_BY(mutex_);                // empty: to be looked up
};

Result<HttpResponse> HttpClient::Impl::Send(const HttpRequest& request, SteadyTime deadline,
                                            const std::stop_token& stop) {
  HF_ASSIGN_OR_RETURN(std::string text, Serialize(request, authority_));
  if (stop.stop_requested()) return Fail(ErrorCode::kCancelled, "the call was cancelled");
  if (std::chrono::steady_clock::now() >= deadline) {
    return Fail(ErrorCode::kDeadlineExceeded, "the deadline had passed before the call");
  }
  auto response = Try(request, text, deadline, stop, /*may_reuse=*/true);
  // The other kept connections are likely as dead as that one.
  if (!response) response = Try(request, text, deadline, stop, /*may_reuse=*/false);
  return *std::move(response);
}

std::optional<Result<HttpResponse>> HttpClient::Impl::Try(const HttpRequest& request,
                                                          std::string_view text,
                                                          SteadyTime deadline,
                                                          const std::stop_token& stop,
                                                          bool may_reuse) {
  std::unique_ptr<Connection> connection = may_reuse ? TakeIdle() : nullptr;
  const bool is_reused = connection != nullptr;
  if (!is_reused) connection = std::make_unique<Connection>();
  Outcome outcome;
  {
    // Ends before the connection is kept or destroyed: no cancellation can reach a later call.
    std::stop_callback on_stop(stop, [&connection] { connection->Cancel(); });
    if (!is_reused) {
      if (auto connected = Connect(*connection, deadline); !connected) {
        return std::unexpected(std::move(connected).error());
      }
    }
    outcome = connection->Exchange(
        text, {.is_head = request.method == "HEAD", .is_safe = IsSafe(request)},
        options_.max_answer_bytes, deadline);
  }
  if (outcome.response) {
    if (connection->is_reusable() && !stop.stop_requested()) Keep(std::move(connection));
    return std::move(outcome.response);
  }
  if (is_reused && outcome.is_broken && !outcome.has_answer_begun &&
      (IsSafe(request) || !outcome.was_sent)) {
    return std::nullopt;
  }
  Error error = std::move(outcome.response).error();
  if (outcome.was_sent && !IsSafe(request)) {
    error = Error{ErrorCode::kOutcomeUnknown, "the request was sent, but " + error.message, {}};
  }
  return std::unexpected(std::move(error));
}

Result<void> HttpClient::Impl::Connect(Connection& connection, SteadyTime deadline) {
  HF_ASSIGN_OR_RETURN(auto endpoints, Resolve());
  auto connected = connection.Connect(endpoints, options_, deadline);
  if (connected || connected.error().code != ErrorCode::kUnavailable) return connected;
  {
    base::MutexLock lock(mutex_);
    endpoints_.clear();  // the name may mean another machine by now
  }
  return Fail(ErrorCode::kUnavailable,
              "cannot connect to " + authority_ + ": " + connected.error().message);
}

Result<Connection::Endpoints> HttpClient::Impl::Resolve() {
  {
    base::MutexLock lock(mutex_);
    if (!endpoints_.empty()) return endpoints_;
  }
  asio::io_context io;
  tcp::resolver resolver(io);
  error_code ec;
  auto found = resolver.resolve(options_.host, options_.port, ec);
  if (ec) {
    return Fail(ErrorCode::kUnavailable, "cannot find " + authority_ + ": " + ec.message());
  }
  Connection::Endpoints endpoints(found.begin(), found.end());
  base::MutexLock lock(mutex_);
  endpoints_ = endpoints;
  return endpoints;
}

std::unique_ptr<Connection> HttpClient::Impl::TakeIdle() {
  const SteadyTime oldest = std::chrono::steady_clock::now() - kMaxIdleTime;
  for (;;) {
    std::unique_ptr<Connection> connection;
    {
      base::MutexLock lock(mutex_);
      if (idle_.empty()) return nullptr;
      connection = std::move(idle_.back());
      idle_.pop_back();
    }
    if (connection->idle_since >= oldest && connection->IsQuiet()) return connection;
  }
}

void HttpClient::Impl::Keep(std::unique_ptr<Connection> connection) {
  connection->idle_since = std::chrono::steady_clock::now();
  std::unique_ptr<Connection> surplus;  // closed after the mutex is released
  base::MutexLock lock(mutex_);
  idle_.push_back(std::move(connection));
  // The first is the one least used. Dropped for its age, too, so that a burst leaves nothing.
  const bool is_old = idle_.back()->idle_since - idle_.front()->idle_since > kMaxIdleTime;
  if (idle_.size() > options_.max_idle_connections || is_old) {
    surplus = std::move(idle_.front());
    idle_.erase(idle_.begin());
  }
}

HttpClient::HttpClient(ClientOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
HttpClient::~HttpClient() = default;

Result<HttpResponse> HttpClient::Send(HttpRequest request, SteadyTime deadline,
                                      std::stop_token stop) {
  try {
    return impl_->Send(request, deadline, stop);
  } catch (const boost::system::system_error& error) {
    // No file descriptor for a connection's event queue: nothing was sent.
    return Fail(ErrorCode::kUnavailable, std::string("no connection: ") + error.what());
  }
}

}  // namespace holdfast::net
