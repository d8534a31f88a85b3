// An HTTP/1.1 server: connections, time limits, size limits, graceful drain. It knows no routes.
//
// A connection costs an object, not a thread: a request that waits (a long poll) parks here until
// its Responder is called.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "holdfast/error.h"
#include "holdfast/log.h"
#include "holdfast/time.h"
#include "net/http.h"

namespace holdfast::net {

struct ServerOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8420;  ///< 0: any free one
  int threads = 2;
  /// At the limit a new connection takes the place of the one that has been idle longest; if none
  /// is idle, it gets a 503 and is closed. Lowered so that `reserved_descriptors` of the process's
  /// file descriptors stay free for the program.
  std::size_t max_connections = 10'000;
  std::size_t reserved_descriptors = 64;
  /// Bytes of bodies over 16 KiB in requests that are read or handled; beyond it: 503.
  std::size_t max_bytes_of_bodies = 256 * 1024 * 1024;
  std::size_t max_header_bytes = 16 * 1024;  ///< beyond it: 431
  Duration header_timeout =
      std::chrono::seconds(10);                       ///< for the whole header, from its first byte
  Duration body_timeout = std::chrono::seconds(30);   ///< for the whole body
  Duration idle_timeout = std::chrono::seconds(60);   ///< between two requests
  Duration write_timeout = std::chrono::seconds(30);  ///< for each 64 KiB of an answer
  LogSink* log = nullptr;                             ///< outlives the server
};

/// Answers the request it came with. Must be called exactly once, from any thread; the first call
/// counts. If it is destroyed uncalled, the client gets a 500.
using Responder = std::move_only_function<void(HttpResponse)>;

/// What the server asks of the program. Called on the server's threads: must not block.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  /// `gone` fires when the client disconnects before the answer: stop working on it. A client that
  /// closes its half of the connection counts as gone.
  virtual void Handle(HttpRequest request, std::stop_token gone, Responder respond) = 0;
  /// The largest body this target accepts: beyond it, 413.
  virtual std::size_t BodyLimit(std::string_view method, std::string_view target) = 0;
  /// The body for an error that the server itself answers with (400, 408, 413, 431, 500, 503).
  virtual HttpResponse Refuse(int status, std::string_view reason) = 0;
};

struct ServerStats {
  std::int64_t connections = 0;  ///< open now
  std::int64_t accepted = 0;
  std::int64_t refused = 0;  ///< over max_connections
  std::int64_t evicted = 0;  ///< closed while idle, to make place
};

class HttpServer {
 public:
  /// `handler` must outlive the server.
  HttpServer(ServerOptions options, HttpHandler& handler);
  /// As Stop with no grace.
  ~HttpServer();

  /// Binds and begins to accept. Errors: unavailable (the address is taken or not ours),
  /// invalid_argument (not an address).
  Result<void> Start();

  /// The port it listens on, after Start.
  std::uint16_t port() const;

  /// Stops accepting, closes idle connections, lets requests under way finish (their answers carry
  /// Connection: close), and closes what is left after `grace`. Blocks. Idempotent.
  void Stop(Duration grace);

  ServerStats stats() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::net
