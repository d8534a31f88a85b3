// A Holdfast server in this process: the API over a store, behind a listening socket.
#pragma once

#include <string>

#include "api/api.h"
#include "holdfast/log.h"
#include "holdfast/store.h"
#include "net/http_server.h"

namespace holdfast::cli {

/// Threads: one.
class LocalServer {
 public:
  /// `store` and `metrics` must outlive the server.
  LocalServer(Store& store, api::Metrics& metrics, LogSink* log, net::ServerOptions options,
              api::Api::Writes writes = api::Api::Writes::kDoNotBlock)
      : host_(options.host),
        api_(store, metrics, log, writes),
        server_(WithLog(std::move(options), log), api_) {}

  Result<void> Start() { return server_.Start(); }
  /// http://HOST:PORT, after Start.
  std::string url() const;
  /// From now on new work is refused, waiting claims are answered, and requests under way get
  /// `grace` to finish. Blocks.
  void Stop(Duration grace);
  /// Requests that the store has not answered yet.
  std::int64_t in_flight() const { return api_.in_flight(); }
  /// Waits until there are none, or until then. Whether there are none.
  bool AwaitIdle(SteadyTime until) { return api_.AwaitIdle(until); }

 private:
  static net::ServerOptions WithLog(net::ServerOptions options, LogSink* log) {
    options.log = log;
    return options;
  }

  const std::string host_;
  api::Api api_;
  net::HttpServer server_;
};

}  // namespace holdfast::cli
