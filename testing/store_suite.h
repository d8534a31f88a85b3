// The base of every suite that runs over the variants of a store, with the few moves that each of
// them starts from.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "testing/engine_fixture.h"
#include "testing/matchers.h"

namespace holdfast::testing {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

class StoreSuite : public ::testing::TestWithParam<Variant> {
 protected:
  StoreSuite() : fixture_(GetParam()) {}

  Store& store() { return fixture_.store(); }
  Store& backing() { return fixture_.backing(); }
  FakeClock& clock() { return fixture_.clock(); }
  const engine::Traits& traits() const { return fixture_.traits(); }
  MaintainReport Pass(Duration time) { return fixture_.Pass(time); }
  Time Now() { return Must(store().GetStats({})).now; }

  /// Adds a job of kind "k".
  Job Push(JobSpec spec = {.kind = "k"}) {
    if (spec.kind.empty()) spec.kind = "k";
    return Must(store().Enqueue({}, std::move(spec)));
  }
  std::vector<Job> Claim(ClaimRequest request) {
    if (request.worker.empty()) request.worker = "w";
    return Must(store().Claim({}, std::move(request)));
  }
  /// The next job, which must be there.
  Job ClaimOne(Duration lease = seconds(30)) {
    std::vector<Job> jobs = Claim({.lease = lease});
    if (jobs.size() != 1) throw std::runtime_error("there was no job to claim");
    return jobs.front();
  }
  /// This job, which must be pending.
  Job ClaimThis(JobId id, Duration lease = seconds(30), std::string worker = "w") {
    std::optional<Job> job = Must(store().ClaimById({}, id, std::move(worker), lease));
    if (!job) throw std::runtime_error("the job could not be claimed");
    return *job;
  }
  Job Get(JobId id) {
    std::optional<Job> job = Must(store().GetJob({}, id));
    if (!job) throw std::runtime_error("the job is not there");
    return *job;
  }
  Queue GetQueue(const std::string& name = "default") {
    std::optional<Queue> queue = Must(store().GetQueue({}, name));
    if (!queue) throw std::runtime_error("the queue is not there");
    return *queue;
  }
  std::int64_t CountOf(JobState state, const std::string& queue = "default") {
    return GetQueue(queue).CountOf(state);
  }
  JobState StateOf(JobId id) { return Get(id).state; }

  EngineFixture fixture_;
};

inline std::string VariantName(const ::testing::TestParamInfo<Variant>& info) {
  return info.param.name;
}

/// As read by somebody who does not hold its lease.
inline Job WithoutToken(Job job) {
  job.token = 0;
  return job;
}

}  // namespace holdfast::testing

/// Runs a suite over all variants of a store.
#define HOLDFAST_FOR_ALL_VARIANTS(Suite)                                              \
  INSTANTIATE_TEST_SUITE_P(Stores, Suite,                                             \
                           ::testing::ValuesIn(::holdfast::testing::AllVariants()),   \
                           ::holdfast::testing::VariantName)
