// What the tests of worker pools share: a store, a log to wait on, and a count of runs.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "holdfast/worker.h"
#include "testing/engine_fixture.h"
#include "testing/matchers.h"
#include "testing/recording_log.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {

/// What a handler that never finishes by itself does: waits until it is told to end.
inline StopReason ReasonToEnd(Attempt& attempt) {
  WaitForStop(attempt.stop());
  return attempt.stop_reason();
}

/// Counts how often each job was run. Threads: any.
class Runs {
 public:
  void Add(JobId id) {
    base::MutexLock lock(mutex_);
    ++runs_[id];
  }
  std::map<JobId, int> Get() const {
    base::MutexLock lock(mutex_);
    return runs_;
  }

 private:
  mutable base::Mutex mutex_{base::LockRank::kLog};
  std::map<JobId, int> runs_ HF_GUARDED_BY(mutex_);
};

class WorkerPools : public ::testing::TestWithParam<Variant> {
 protected:
  WorkerOptions Options(int concurrency = 2) {
    WorkerOptions options;
    options.name = "pool";
    options.concurrency = concurrency;
    options.log = &log_;
    return options;
  }

  Job Push(std::string kind = "work") { return Must(store().Enqueue({}, {.kind = kind})); }

  std::vector<JobId> PushMany(int count) {
    std::vector<JobId> ids;
    while (count > 0) {
      Batch batch;
      for (int i = 0; i < std::min(count, 500); ++i) {
        batch.operations.emplace_back(EnqueueJob{{.kind = "work"}});
      }
      count -= static_cast<int>(batch.operations.size());
      Receipt receipt = Must(store().Commit({}, std::move(batch)));
      for (const OperationResult& result : receipt.results) ids.push_back(result.job->id);
    }
    return ids;
  }

  Job Get(JobId id) { return Must(store().GetJob({}, id)).value(); }

  /// Runs one job of kind "work" with this handler until its outcome is known, and returns it.
  Job RunOne(WorkerOptions options, Handler handler, const std::string& event) {
    WorkerPool pool(store(), std::move(options));
    pool.Handle("work", std::move(handler));
    Must(pool.Start());
    Job job = Push();
    EXPECT_TRUE(log_.WaitFor(event, 1)) << event;
    pool.Stop();
    return Get(job.id);
  }

  Store& store() { return fixture_.store(); }

  RecordingLog log_;
  EngineFixture fixture_{GetParam()};
};

}  // namespace holdfast::testing
