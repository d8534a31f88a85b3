// One client of a store: every call it makes is written down, with what came of it.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "history/history.h"
#include "holdfast/store.h"

namespace holdfast::history {

/// What the clients of one history share: its clock and its processes. Threads: any.
class Recording {
 public:
  explicit Recording(SteadyTime began = std::chrono::steady_clock::now()) : began_(began) {}

  std::int64_t NextEvent() { return next_event_.fetch_add(1); }
  int NextProcess() { return next_process_.fetch_add(1); }
  std::int64_t Nanoseconds() const {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() -
                                                                began_)
        .count();
  }
  /// How many calls have begun or ended.
  std::int64_t events() const { return next_event_; }

 private:
  const SteadyTime began_;
  std::atomic<std::int64_t> next_event_ = 0;
  std::atomic<int> next_process_ = 0;
};

/// Threads: one.
class Client {
 public:
  Client(Recording& recording, Store& store, Context context)
      : recording_(recording),
        store_(store),
        context_(std::move(context)),
        process_(recording.NextProcess()) {}

  /// Calls `seen` after each call, on this thread.
  void OnCall(std::function<void()> seen) { on_call_ = std::move(seen); }

  Result<Receipt> Commit(Batch batch);
  /// A batch of this operation, with these guards.
  Result<OperationResult> Do(Operation operation, std::vector<Guard> guards = {});
  Result<std::vector<Job>> Claim(ClaimRequest request);
  Result<std::vector<LockGrant>> Acquire(AcquireLock request);
  Result<std::optional<Record>> GetRecord(const RecordKey& key);
  Result<std::optional<Job>> GetJob(JobId id);
  Result<Lock> GetLock(const std::string& name);

  const std::vector<Observed>& calls() const { return calls_; }
  std::vector<Observed> TakeCalls() { return std::exchange(calls_, {}); }

 private:
  template <typename Make>
  auto Note(Request request, Make make);

  Recording& recording_;
  Store& store_;
  const Context context_;
  int process_;
  std::vector<Observed> calls_;
  std::function<void()> on_call_;
};

}  // namespace holdfast::history
