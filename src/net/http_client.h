// An HTTP/1.1 client with a pool of keep-alive connections. Blocking: each call runs its own I/O on
// the calling thread, so that many threads do not meet in one.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "holdfast/error.h"
#include "holdfast/time.h"
#include "net/http.h"

namespace holdfast::net {

struct ClientOptions {
  std::string host;
  std::string port = "8420";
  std::size_t max_idle_connections = 128;
  Duration connect_timeout = std::chrono::seconds(5);
  std::size_t max_answer_bytes = 64 * 1024 * 1024;
};

/// Threads: any number at once.
class HttpClient {
 public:
  explicit HttpClient(ClientOptions options);
  ~HttpClient();

  /// Sends and waits for the whole answer, whatever its status.
  ///
  /// A kept connection that the server closed before it read anything of the request is replaced,
  /// once and silently. Errors: unavailable (no connection, or the request was not sent: no
  /// effect), outcome_unknown (the connection failed after the request was sent), deadline_exceeded
  /// or cancelled (only before it was sent; afterwards it is outcome_unknown).
  Result<HttpResponse> Send(HttpRequest request, SteadyTime deadline, std::stop_token stop);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::net
