// The base of suites about locks: taken, waited for and looked at in few words.
#pragma once

#include <chrono>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "testing/record_suite.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {

/// A request that waits on a thread of its own.
class WaitingAcquire {
 public:
  WaitingAcquire(Store& store, AcquireLock request, Context context = {})
      : answer_(std::async(std::launch::async,
                           [&store, request = std::move(request), context = std::move(context)] {
                             return store.Acquire(context, request);
                           })) {}

  /// Blocks until it was answered.
  Result<std::vector<LockGrant>> Take() { return answer_.get(); }
  LockGrant TakeOne() { return Must(Take()).front(); }
  bool IsAnswered() {
    return answer_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }

 private:
  std::future<Result<std::vector<LockGrant>>> answer_;
};

class LockSuite : public RecordSuite {
 protected:
  /// Takes one lock, which must be free.
  LockGrant Take(const std::string& name, const std::string& owner = "ada", AcquireLock how = {}) {
    return Must(TryTake(name, owner, std::move(how)));
  }
  Result<LockGrant> TryTake(const std::string& name, const std::string& owner,
                            AcquireLock how = {}) {
    how.name = name;
    how.owner = owner;
    Result<std::vector<LockGrant>> grants = store().Acquire({}, std::move(how));
    if (!grants) return std::unexpected(std::move(grants).error());
    EXPECT_EQ(grants->size(), 1U);
    return grants->front();
  }
  Result<LockGrant> Share(const std::string& name, const std::string& owner,
                          std::optional<std::int64_t> limit = {}) {
    return TryTake(name, owner, {.mode = LockMode::kShared, .limit = limit});
  }
  Result<LockGrant> Release(const LockGrant& grant) {
    return store().Release({}, {grant.name, grant.token});
  }
  Lock Look(const std::string& name) { return Must(store().GetLock({}, name)); }

  /// A request that finds the lock taken and is in line, behind `before` others, when this returns.
  WaitingAcquire Wait(AcquireLock request, std::size_t before = 0, Context context = {}) {
    const std::string name = request.names.empty() ? request.name : request.names.front();
    if (!request.wait) request.wait = std::chrono::minutes(2);
    WaitingAcquire waiting(store(), std::move(request), std::move(context));
    AwaitInLine(name, before + 1);
    return waiting;
  }
  /// The same for one name.
  WaitingAcquire Wait(const std::string& name, const std::string& owner, std::size_t before = 0,
                      LockMode mode = LockMode::kExclusive) {
    return Wait(AcquireLock{.name = name, .owner = owner, .mode = mode}, before);
  }
  void AwaitInLine(const std::string& name, std::size_t count) {
    AwaitTrue([&] { return Look(name).waiters.size() == count; });
  }
  /// Nobody waits in the process that has the engine.
  void AwaitNobodyWaiting() {
    AwaitTrue([&] { return Must(backing().GetStats({})).waiting_locks == 0; });
  }
  template <typename Condition>
  void AwaitTrue(Condition condition) {
    if (!WaitUntilTrue(condition)) {
      throw std::runtime_error("what the test waits for did not come");
    }
  }
};

}  // namespace holdfast::testing
