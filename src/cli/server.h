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
  LocalServer(Store& store, api::Metrics& metrics, LogSink* log, net::ServerOptions options)
      : host_(options.host), api_(store, metrics, log), server_(std::move(options), api_) {}

  Result<void> Start() { return server_.Start(); }
  /// http://HOST:PORT, after Start.
  std::string url() const;
  /// From now on new work is refused, waiting claims are answered, and requests under way get
  /// `grace` to finish. Blocks.
  void Stop(Duration grace);

 private:
  const std::string host_;
  api::Api api_;
  net::HttpServer server_;
};

}  // namespace holdfast::cli
