#include "api/metrics.h"

#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <sstream>
#include <tuple>

#include "base/mutex.h"
#include "holdfast/version.h"

namespace holdfast::api {
namespace {

namespace prom = prometheus;

constexpr std::size_t kMaxQueues = kQueuesShown;
constexpr std::string_view kOther = "other";

double Seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

/// The counters of one name, told apart by one label of bounded variety (or by none).
class Counters {
 public:
  Counters(prom::Registry& registry, std::string name, std::string help, std::string label,
           prom::Labels fixed = {})
      : family_(prom::BuildCounter().Name(name).Help(help).Register(registry)),
        label_(std::move(label)),
        fixed_(std::move(fixed)) {
    if (label_.empty()) counters_.emplace("", &family_.Add(fixed_));  // there from the beginning
  }

  void Add(std::string_view value, std::int64_t amount) {
    Find(label_.empty() ? std::string_view() : value).Increment(static_cast<double>(amount));
  }

 private:
  prom::Counter& Find(std::string_view value) {
    base::MutexLock lock(mutex_);
    auto found = counters_.find(value);
    if (found != counters_.end()) return *found->second;
    if (counters_.size() >= kMaxQueues && value != kOther) {
      found = counters_.find(kOther);
      if (found != counters_.end()) return *found->second;
      value = kOther;
    }
    prom::Labels labels = fixed_;
    labels.emplace(label_, value);
    return *counters_.emplace(value, &family_.Add(labels)).first->second;
  }

  prom::Family<prom::Counter>& family_;
  const std::string label_;
  const prom::Labels fixed_;
  base::Mutex mutex_{base::LockRank::kMetrics};
  std::map<std::string, prom::Counter*, std::less<>> counters_ HF_GUARDED_BY(mutex_);
};

/// Methods are sent by clients: only those that HTTP knows become labels.
std::string_view KnownMethod(std::string_view method) {
  for (std::string_view known : {"GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"}) {
    if (method == known) return known;
  }
  return kOther;
}

const prom::Histogram::BucketBoundaries& RequestBuckets() {
  static const prom::Histogram::BucketBoundaries buckets = {
      0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30};
  return buckets;
}

const prom::Histogram::BucketBoundaries& LockBuckets() {
  static const prom::Histogram::BucketBoundaries buckets = {
      0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600};
  return buckets;
}

const prom::Histogram::BucketBoundaries& JobBuckets() {
  static const prom::Histogram::BucketBoundaries buckets = {
      0.001, 0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400};
  return buckets;
}

/// Gauges are made anew for each scrape, so that what is gone leaves no figure behind.
class Gauges {
 public:
  void Set(const std::string& name, const std::string& help, const prom::Labels& labels,
           double value) {
    prom::BuildGauge().Name(name).Help(help).Register(registry_).Add(labels).Set(value);
  }
  std::vector<prom::MetricFamily> Collect() const { return registry_.Collect(); }

 private:
  prom::Registry registry_;
};

/// The queues by themselves, the rest as one.
std::vector<Queue> WithOther(std::vector<Queue> queues, const StoreStats& stats) {
  if (stats.queues <= static_cast<std::int64_t>(queues.size())) return queues;
  Queue other{.name = std::string(kOther), .counts = stats.counts};
  for (const Queue& queue : queues) {
    // The two were read one after the other.
    for (std::size_t s = 0; s < kJobStateCount; ++s) {
      other.counts[s] = std::max<std::int64_t>(other.counts[s] - queue.counts[s], 0);
    }
  }
  queues.push_back(std::move(other));
  return queues;
}

void AddQueues(Gauges& gauges, const std::vector<Queue>& queues, const StoreStats& stats) {
  for (const Queue& queue : WithOther(queues, stats)) {
    prom::Labels labels{{"queue", queue.name}};
    auto count = [&](JobState state) { return static_cast<double>(queue.CountOf(state)); };
    gauges.Set("holdfast_jobs_ready", "Jobs that can be claimed.", labels,
               count(JobState::kPending));
    gauges.Set("holdfast_jobs_scheduled", "Jobs that are due later.", labels,
               count(JobState::kScheduled));
    gauges.Set("holdfast_jobs_processing", "Jobs that a worker holds.", labels,
               count(JobState::kProcessing));
    gauges.Set("holdfast_jobs_dead", "Jobs that failed for good and are kept.", labels,
               count(JobState::kFailed));
    double age = 0;
    if (queue.oldest_pending_at) {
      age = std::max(Seconds(stats.now - *queue.oldest_pending_at), 0.0);
    }
    gauges.Set("holdfast_jobs_oldest_ready_age_seconds",
               "How long the oldest job that can be claimed has been due.", labels, age);
  }
}

void AddProcess(Gauges& gauges) {
  gauges.Set("process_cpu_seconds", "Processor time used, by the program and the kernel for it.",
             {}, static_cast<double>(std::clock()) / CLOCKS_PER_SEC);
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("VmRSS:")) continue;
    double kilobytes = std::strtod(line.c_str() + 6, nullptr);
    gauges.Set("process_resident_memory_bytes", "Memory in use.", {}, kilobytes * 1024);
  }
}

}  // namespace

class Metrics::Impl {
 public:
  Impl() {
    prom::BuildGauge()
        .Name("holdfast_build_info")
        .Help("Always 1; the label tells the version.")
        .Register(registry)
        .Add({{"version", kVersion}})
        .Set(1);
  }

  Counters& CountersOf(Counter counter) {
    switch (counter) {
      case Counter::kJobsEnqueued:
        return enqueued;
      case Counter::kJobsClaimed:
        return claimed;
      case Counter::kJobsCompleted:
        return completed;
      case Counter::kJobsFailed:
        return failed;
      case Counter::kJobsRetried:
        return retried;
      case Counter::kJobsReleased:
        return released;
      case Counter::kJobsCancelled:
        return cancelled;
      case Counter::kLeasesExpired:
        return expired;
      case Counter::kRefusals:
        return refusals;
      case Counter::kClaimsEmpty:
        return empty_claims;
      case Counter::kCommits:
        return commits;
      case Counter::kLocksAcquired:
        return locks_acquired;
      case Counter::kLocksWaited:
        return locks_waited;
      case Counter::kLocksRefused:
        return locks_refused;
      case Counter::kLocksReleased:
        return locks_released;
      case Counter::kLocksExpired:
        return locks_expired;
      case Counter::kLocksBroken:
        return locks_broken;
    }
    return commits;
  }

  prom::Histogram& HistogramOf(Histogram histogram) {
    switch (histogram) {
      case Histogram::kCommitSeconds:
        return commit_seconds;
      case Histogram::kJobWaitSeconds:
        return wait_seconds;
      case Histogram::kJobRunSeconds:
        return run_seconds;
      case Histogram::kLockWaitSeconds:
        return lock_wait_seconds;
      case Histogram::kLockHoldSeconds:
        return lock_hold_seconds;
    }
    return commit_seconds;
  }

  static constexpr const char* kFinished = "holdfast_jobs_finished_total";
  static constexpr const char* kFinishedHelp = "Jobs that ended, by how.";

  prom::Registry registry;
  Counters enqueued{registry, "holdfast_jobs_enqueued_total", "Jobs added.", "queue"};
  Counters claimed{registry, "holdfast_jobs_claimed_total", "Attempts begun.", "queue"};
  Counters completed{registry, kFinished, kFinishedHelp, "queue", {{"outcome", "completed"}}};
  Counters failed{registry, kFinished, kFinishedHelp, "queue", {{"outcome", "failed"}}};
  Counters cancelled{registry, kFinished, kFinishedHelp, "queue", {{"outcome", "cancelled"}}};
  Counters retried{registry, "holdfast_jobs_retried_total",
                   "Attempts that failed and will be followed by another.", "queue"};
  Counters released{registry, "holdfast_jobs_released_total",
                    "Attempts given back or put off by their worker.", "queue"};
  Counters expired{registry, "holdfast_leases_expired_total",
                   "Leases that ran out under their worker.", "queue"};
  Counters refusals{registry, "holdfast_refusals_total", "Commits refused, by error code.", "code"};
  Counters stale{registry, "holdfast_stale_token_rejections_total",
                 "Commits refused because a successor holds the lease.", ""};
  Counters empty_claims{registry, "holdfast_claims_empty_total", "Claims that found nothing.", ""};
  Counters commits{registry, "holdfast_commits_total", "Batches committed.", ""};
  static constexpr const char* kEnded = "holdfast_locks_ended_total";
  static constexpr const char* kEndedHelp = "Leases of locks that ended, by how.";
  Counters locks_acquired{registry, "holdfast_locks_acquired_total", "Leases of locks granted.",
                          "mode"};
  Counters locks_waited{registry, "holdfast_locks_contended_total",
                        "Requests that found their lock taken and waited in line.", "mode"};
  Counters locks_refused{registry, "holdfast_lock_acquire_failures_total",
                         "Requests for locks that came to nothing, by error code.", "code"};
  Counters locks_released{registry, kEnded, kEndedHelp, "mode", {{"how", "released"}}};
  Counters locks_expired{registry, kEnded, kEndedHelp, "mode", {{"how", "expired"}}};
  Counters locks_broken{registry, kEnded, kEndedHelp, "mode", {{"how", "broken"}}};

  prom::Histogram& commit_seconds = prom::BuildHistogram()
                                        .Name("holdfast_commit_seconds")
                                        .Help("From the call until the batch was durable.")
                                        .Register(registry)
                                        .Add({}, RequestBuckets());
  prom::Histogram& wait_seconds = prom::BuildHistogram()
                                      .Name("holdfast_job_wait_seconds")
                                      .Help("From due until claimed.")
                                      .Register(registry)
                                      .Add({}, JobBuckets());
  prom::Histogram& run_seconds = prom::BuildHistogram()
                                     .Name("holdfast_job_run_seconds")
                                     .Help("From claimed until finished.")
                                     .Register(registry)
                                     .Add({}, JobBuckets());

  prom::Histogram& lock_wait_seconds = prom::BuildHistogram()
                                           .Name("holdfast_lock_wait_seconds")
                                           .Help("From asked for until granted.")
                                           .Register(registry)
                                           .Add({}, LockBuckets());
  prom::Histogram& lock_hold_seconds = prom::BuildHistogram()
                                           .Name("holdfast_lock_hold_seconds")
                                           .Help("From granted until the lease ended.")
                                           .Register(registry)
                                           .Add({}, LockBuckets());

  prom::Family<prom::Counter>& requests = prom::BuildCounter()
                                              .Name("holdfast_http_requests_total")
                                              .Help("Requests answered.")
                                              .Register(registry);
  prom::Family<prom::Histogram>& request_seconds =
      prom::BuildHistogram()
          .Name("holdfast_http_request_duration_seconds")
          .Help("From the whole request until its answer; waiting for jobs and locks included.")
          .Register(registry);

  struct RequestFigures {
    prom::Counter* count;
    prom::Histogram* seconds;
  };
  RequestFigures FiguresOf(std::string_view route, std::string_view method, int status) {
    base::MutexLock lock(mutex);
    auto key = std::tuple(std::string(route), KnownMethod(method), status);
    auto found = request_figures.find(key);
    if (found != request_figures.end()) return found->second;
    RequestFigures figures{&requests.Add({{"route", std::string(route)},
                                          {"method", std::string(KnownMethod(method))},
                                          {"code", fmt::to_string(status)}}),
                           &request_seconds.Add({{"route", std::string(route)},
                                                 {"method", std::string(KnownMethod(method))}},
                                                RequestBuckets())};
    return request_figures.emplace(std::move(key), figures).first->second;
  }

  base::Mutex mutex{base::LockRank::kMetrics};
  std::map<std::tuple<std::string, std::string_view, int>, RequestFigures> request_figures
      HF_GUARDED_BY(mutex);
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

void Metrics::Add(Counter counter, std::string_view label, std::int64_t amount) {
  impl_->CountersOf(counter).Add(label, amount);
  if (counter == Counter::kRefusals && label == InfoOf(ErrorCode::kFenced).name) {
    impl_->stale.Add("", amount);
  }
}

void Metrics::Observe(Histogram histogram, Duration value) {
  impl_->HistogramOf(histogram).Observe(Seconds(value));
}

void Metrics::CountRequest(std::string_view route, std::string_view method, int status,
                           Duration elapsed) {
  auto figures = impl_->FiguresOf(route, method, status);
  figures.count->Increment();
  figures.seconds->Observe(Seconds(elapsed));
}

std::string Metrics::Expose(const std::vector<Queue>& queues, const StoreStats& stats) const {
  Gauges gauges;
  AddQueues(gauges, queues, stats);
  gauges.Set("holdfast_leases_active", "Leases that workers hold.", {},
             static_cast<double>(stats.counts[static_cast<std::size_t>(JobState::kProcessing)]));
  gauges.Set("holdfast_claims_waiting", "Claims that wait for a job.", {},
             static_cast<double>(stats.waiting_claims));
  gauges.Set("holdfast_locks_waiting", "Requests for locks that wait in this process.", {},
             static_cast<double>(stats.waiting_locks));
  AddProcess(gauges);
  std::ostringstream text;
  prom::TextSerializer serializer;
  serializer.Serialize(text, impl_->registry.Collect());
  serializer.Serialize(text, gauges.Collect());
  return std::move(text).str();
}

}  // namespace holdfast::api
