// Figures for Prometheus: what the library counts, what the API answers, how long queues are.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/metrics.h"
#include "holdfast/store.h"

namespace holdfast::api {

/// How many queues have figures of their own: what a scrape costs does not grow with the queues.
inline constexpr int kQueuesShown = 200;

/// Every label has a bounded number of values: beyond 200 queues they are counted as "other".
///
/// Threads: any.
class Metrics final : public MetricSink {
 public:
  Metrics();
  ~Metrics() override;

  void Add(Counter counter, std::string_view label, std::int64_t amount) override;
  void Observe(Histogram histogram, Duration value) override;

  /// One answered request. `route` is a pattern, never a path.
  void CountRequest(std::string_view route, std::string_view method, int status, Duration elapsed);

  /// Everything, in the text format of Prometheus. `queues` are the first kQueuesShown, as they are
  /// now: the others are shown as one.
  std::string Expose(const std::vector<Queue>& queues, const StoreStats& stats) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::api
