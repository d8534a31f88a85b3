// The store that a benchmark measures: as it is, or behind a server in this process.
#pragma once

#include <memory>
#include <string>

#include "cli/server.h"

namespace holdfast::cli {

struct BenchTarget {
  std::unique_ptr<api::Metrics> metrics;
  std::unique_ptr<Store> store;
  std::unique_ptr<LocalServer> server;
  std::unique_ptr<Store> client;
  Store& Use() { return client ? *client : *store; }
};

Result<BenchTarget> OpenBenchTarget(const std::string& url, bool behind_http);

}  // namespace holdfast::cli
