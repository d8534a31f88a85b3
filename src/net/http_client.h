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
  /// Errors: invalid_argument (the method, target or a header cannot be sent as HTTP), unavailable
  /// (no connection, or the request was not sent whole: no effect), deadline_exceeded or cancelled
  /// (likewise), outcome_unknown (any failure after the request was sent). GET and HEAD have no
  /// outcome that could be unknown: after they were sent, too, they get one of the other codes.
  ///
  /// `stop` ends the wait at once, except for a request that was sent and may have an effect: its
  /// connection is half closed, which the server can see, and its answer is taken for another
  /// second.
  ///
  /// A kept connection that turns out to be closed is replaced, once and silently, if the server
  /// cannot have acted on the request: it did not get all of it, or it is a GET or HEAD and no byte
  /// of an answer came. The deadline does not bound the look-up of a host name.
  Result<HttpResponse> Send(HttpRequest request, SteadyTime deadline, std::stop_token stop);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::net
