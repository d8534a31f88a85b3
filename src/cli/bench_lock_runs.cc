// How bench locks measures: threads that take and give back, and what must be true while they do.
#include <fmt/format.h>

#include <array>
#include <atomic>
#include <optional>
#include <thread>

#include "base/result.h"
#include "cli/bench_locks.h"

namespace holdfast::cli {
namespace {

constexpr int kNamesOfAnOwner = 100;  // over which each goes in turn, where it has its own

/// What holds of all who contend for one lock. Threads: any.
class Arena {
 public:
  explicit Arena(std::int64_t places) : places_(places) {}

  /// After the grant was answered. The time since the release that made room for it, if it waited
  /// for one.
  Result<std::optional<SteadyTime::duration>> Enter(SteadyTime asked, Token token) {
    const SteadyTime now = std::chrono::steady_clock::now();
    const int inside = inside_.fetch_add(1) + 1;
    if (inside > places_) {
      return Fail(ErrorCode::kInternal, fmt::format("{} had the lock at once", inside));
    }
    if (places_ == 1) {
      // Not protected by anything but the lock that is measured.
      const Token last = last_token_.load(std::memory_order_relaxed);
      if (token != 0 && token <= last) {
        return Fail(ErrorCode::kInternal, fmt::format("token {} came after {}", token, last));
      }
      last_token_.store(token, std::memory_order_relaxed);
      const std::int64_t count = count_.load(std::memory_order_relaxed);
      count_.store(count + 1, std::memory_order_relaxed);
    } else {
      count_.fetch_add(1);
    }
    // Who is first in line comes first: the n-th grant beyond the places there are has the n-th
    // release to thank.
    const std::int64_t grant = granted_.fetch_add(1) - places_;
    if (grant < 0) return std::nullopt;
    const SteadyTime released(SteadyTime::duration(Slot(grant).load()));
    if (released < asked) return std::nullopt;  // it was free
    return now - released;
  }

  /// Before the release is sent.
  void Leave() {
    inside_.fetch_sub(1);
    const SteadyTime now = std::chrono::steady_clock::now();
    Slot(released_.fetch_add(1)).store(now.time_since_epoch().count());
  }

  std::int64_t count() const { return count_.load(); }

 private:
  std::atomic<SteadyTime::rep>& Slot(std::int64_t number) {
    return sent_[static_cast<std::size_t>(number) % sent_.size()];
  }

  const std::int64_t places_;
  std::atomic<int> inside_ = 0;
  std::atomic<Token> last_token_ = 0;
  std::atomic<std::int64_t> count_ = 0;
  std::atomic<std::int64_t> granted_ = 0;
  std::atomic<std::int64_t> released_ = 0;
  std::array<std::atomic<SteadyTime::rep>, 1024> sent_{};  // when, of the latest releases
};

/// What one owner has done.
struct LockLane {
  std::unique_ptr<LockUser> user;
  std::vector<std::string> names;
  Samples pair;
  Samples handover;
};

/// Once. An arena of nothing: the names are nobody else's.
Result<void> DoPair(LockLane& lane, const std::string& name, Arena* arena) {
  const SteadyTime asked = std::chrono::steady_clock::now();
  HF_ASSIGN_OR_RETURN(Token token, lane.user->Acquire(name));
  if (arena != nullptr) {
    HF_ASSIGN_OR_RETURN(auto handover, arena->Enter(asked, token));
    if (handover) lane.handover.Add(*handover);
    arena->Leave();
  }
  HF_RETURN_IF_ERROR(lane.user->Release(name));
  lane.pair.Add(std::chrono::steady_clock::now() - asked);
  return {};
}

Result<void> RunLockLane(LockLane& lane, Arena* arena, SteadyTime end,
                         const std::atomic<bool>& failed) {
  for (std::size_t i = 0; !failed && std::chrono::steady_clock::now() < end; ++i) {
    HF_RETURN_IF_ERROR(DoPair(lane, lane.names[i % lane.names.size()], arena));
  }
  return {};
}

}  // namespace

std::vector<LockScenario> LockScenariosOf(int threads) {
  std::vector<LockScenario> scenarios = {
      {.name = "spread-1", .title = "names of its own, 1 owner", .is_spread = true},
      {.name = "spread",
       .title = fmt::format("names of their own, {} owners", threads),
       .owners = threads,
       .is_spread = true},
      {.name = "contended-1", .title = "one name, 1 owner"},
      {.name = "contended-8", .title = "one name, 8 owners in line", .owners = 8},
      {.name = "contended",
       .title = fmt::format("one name, {} owners in line", threads),
       .owners = threads},
      {.name = "semaphore",
       .title = fmt::format("five places, {} owners in line", threads),
       .owners = threads,
       .places = 5}};
  return scenarios;
}

Result<LockFigures> MeasureLocks(const LockScenario& scenario, const std::string& prefix,
                                 const MakeLockUser& make, Duration length) {
  std::vector<LockLane> lanes(static_cast<std::size_t>(scenario.owners));
  for (int owner = 0; owner < scenario.owners; ++owner) {
    LockLane& lane = lanes[static_cast<std::size_t>(owner)];
    HF_ASSIGN_OR_RETURN(lane.user, make(owner));
    lane.names = {prefix};
    if (!scenario.is_spread) continue;
    lane.names.clear();
    for (int i = 0; i < kNamesOfAnOwner; ++i) {
      lane.names.push_back(fmt::format("{}-{}-{}", prefix, owner, i));
    }
  }
  auto arena = scenario.is_spread ? nullptr : std::make_unique<Arena>(scenario.places);
  std::atomic<bool> failed = false;
  std::vector<Result<void>> ends(lanes.size());
  const SteadyTime start = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> running;
    for (std::size_t i = 0; i < lanes.size(); ++i) {
      running.emplace_back([&, i] {
        ends[i] = RunLockLane(lanes[i], arena.get(), start + length, failed);
        if (!ends[i]) failed = true;
      });
    }
  }
  LockFigures figures{.scenario = scenario.name};
  figures.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    HF_RETURN_IF_ERROR(std::move(ends[i]));
    figures.pair.Merge(lanes[i].pair);
    figures.handover.Merge(lanes[i].handover);
  }
  figures.pairs = figures.pair.count();
  if (arena == nullptr || arena->count() == figures.pairs) return figures;
  return Fail(ErrorCode::kInternal,
              fmt::format("{}: the counter under the lock is at {} after {} pairs", scenario.name,
                          arena->count(), figures.pairs));
}

}  // namespace holdfast::cli
