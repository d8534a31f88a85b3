#include "cli/bench_target.h"

#include "base/result.h"

namespace holdfast::cli {

Result<BenchTarget> OpenBenchTarget(const std::string& url, bool behind_http) {
  BenchTarget target;
  if (!behind_http) {
    HF_ASSIGN_OR_RETURN(target.store, OpenStore(url));
    return target;
  }
  target.metrics = std::make_unique<api::Metrics>();
  HF_ASSIGN_OR_RETURN(target.store, OpenStore(url, {.metrics = target.metrics.get()}));
  target.server = std::make_unique<LocalServer>(*target.store, *target.metrics, nullptr,
                                                net::ServerOptions{.port = 0});
  HF_RETURN_IF_ERROR(target.server->Start());
  HF_ASSIGN_OR_RETURN(target.client, OpenStore(target.server->url()));
  return target;
}

}  // namespace holdfast::cli
