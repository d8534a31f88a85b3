// Which locks a batch touches, and whether a request that would wait for one would wait for itself
// (LOCK-7).
#include <algorithm>
#include <limits>
#include <map>
#include <optional>

#include "base/result.h"
#include "rules/load.h"
#include "rules/lock_rows.h"
#include "rules/locks.h"
#include "rules/record_rows.h"

namespace holdfast::rules {
namespace {

/// The owners from one that waits to the one that waits for whoever asks; nothing: no way leads
/// there.
using Way = std::optional<std::vector<std::string>>;

/// Follows who waits for whom, from a request that is about to wait back to its own owner.
///
/// Whoever waits is kept back by every lease that is in the way and by everybody before in line,
/// but for one case: a place of a semaphore comes free if any one of its holders goes, so that all
/// of them must be stuck.
class CircleFinder {
 public:
  CircleFinder(LockLoader& loader, const std::string& owner, Time now)
      : loader_(loader), owner_(owner), now_(now) {}

  /// The owners from the one that asks to the one that waits for it; empty if there are none.
  Result<std::vector<std::string>> Find(const AcquireLock& request) {
    std::vector<std::string> circle;
    for (const std::string& name : NamesOf(request)) {
      HF_ASSIGN_OR_RETURN(StoredLock * lock, loader_.LoadLock(name));
      HF_ASSIGN_OR_RETURN(Way way, WayFrom(*lock, request.mode, request.limit.value_or(0),
                                           std::numeric_limits<std::int64_t>::max()));
      if (!way) continue;
      circle = *std::move(way);
      circle.insert(circle.begin(), owner_);
      break;
    }
    return circle;
  }

 private:
  /// From a request for `lock`, with everybody before `ticket` in line before it.
  Result<Way> WayFrom(const StoredLock& lock, LockMode mode, std::int64_t limit,
                      std::int64_t ticket) {
    std::vector<std::string_view> sharing;
    for (const StoredHolder& holder : lock.holders) {
      if (!holder.IsLive(now_)) continue;
      if (!IsInTheWay(holder, mode)) {
        sharing.push_back(holder.owner);
        continue;
      }
      HF_ASSIGN_OR_RETURN(Way way, WayFrom(holder.owner));
      if (way) return way;
    }
    for (const auto& [before, waiter] : lock.waiters) {
      if (before >= ticket) break;
      const bool shares = mode == LockMode::kShared && waiter.mode == LockMode::kShared;
      if (shares || waiter.deadline <= now_) continue;
      HF_ASSIGN_OR_RETURN(Way way, WayFrom(waiter.owner));
      if (way) return way;
    }
    if (limit == 0 || static_cast<std::int64_t>(sharing.size()) < limit) return Way();
    Way through;
    for (std::string_view owner : sharing) {
      HF_ASSIGN_OR_RETURN(Way way, WayFrom(owner));
      if (!way) return Way();
      // One way round is enough to be told; that of the asking owner's own place tells nothing.
      if (!through || through->empty()) through = std::move(way);
    }
    return through;
  }

  Result<Way> WayFrom(std::string_view owner) {
    if (owner == owner_) return Way(std::in_place);
    // Nothing while it is being looked for: a way that comes by here again is none of its own.
    auto [known, is_new] = ways_.try_emplace(std::string(owner));
    if (!is_new) return known->second;
    HF_ASSIGN_OR_RETURN(std::vector<std::string> names, loader_.WaitsOf(known->first));
    for (const std::string& name : names) {
      HF_ASSIGN_OR_RETURN(StoredLock * lock, loader_.PeekLock(name));
      for (const auto& [ticket, waiter] : lock->waiters) {
        if (waiter.owner != owner || waiter.deadline <= now_) continue;
        HF_ASSIGN_OR_RETURN(Way way, WayFrom(*lock, waiter.mode, waiter.limit, ticket));
        if (!way) continue;
        way->insert(way->begin(), known->first);
        return known->second = std::move(way);
      }
    }
    return Way();
  }

  LockLoader& loader_;
  const std::string& owner_;
  const Time now_;
  std::map<std::string, Way> ways_;  // by the owner they begin at
};

struct NameCollector {
  std::vector<std::string_view>& names;

  void operator()(const AcquireLock& op) { AddAll(NamesOf(op)); }
  void operator()(const AwaitLock& op) { AddAll(NamesOf(op.request)); }
  void operator()(const LeaveLock& op) { AddAll(op.names); }
  void operator()(const RenewLock& op) { names.push_back(op.name); }
  void operator()(const ReleaseLock& op) { names.push_back(op.name); }
  void operator()(const BreakLock& op) { names.push_back(op.name); }
  void operator()(const LockGuard& guard) { names.push_back(guard.name); }
  void operator()(const auto&) {}

 private:
  void AddAll(std::span<const std::string> some) {
    names.insert(names.end(), some.begin(), some.end());
  }
};

/// Sorts the names. Those of `peeked` are of records that may be locked.
Result<void> LoadNamed(std::vector<std::string_view>& names, const std::vector<std::string>& peeked,
                       LockLoader& loader, Rows& rows) {
  if (names.empty() && peeked.empty()) return {};
  SortUnique(names);
  for (std::string_view name : names) {
    HF_ASSIGN_OR_RETURN(StoredLock * lock, loader.LoadLock(name));
    rows.locks().Add(lock);
  }
  for (const std::string& name : peeked) {
    if (std::ranges::binary_search(names, std::string_view(name))) continue;
    HF_ASSIGN_OR_RETURN(StoredLock * lock, loader.PeekLock(name));
    rows.locks().Add(lock);
  }
  rows.locks().Seal();
  HF_ASSIGN_OR_RETURN(rows.locks().sessions, loader.LoadSessions());
  return {};
}

Result<void> FindCircles(const Batch& batch, LockLoader& loader, LockRows& rows) {
  for (std::size_t i = 0; i < batch.operations.size(); ++i) {
    const auto* await = std::get_if<AwaitLock>(&batch.operations[i]);
    if (await == nullptr || await->ticket != 0) continue;
    // Any of several may come free: that is no circle as long as one of them can.
    if (await->request.policy == LockPolicy::kAny) continue;
    HF_ASSIGN_OR_RETURN(bool is_engaged, loader.IsEngaged(await->request.owner));
    if (!is_engaged) continue;  // nobody can wait for it
    CircleFinder finder(loader, await->request.owner, rows.now);
    HF_ASSIGN_OR_RETURN(std::vector<std::string> circle, finder.Find(await->request));
    if (!circle.empty()) rows.cycles.emplace(i, std::move(circle));
  }
  return {};
}

}  // namespace

bool NamesLocks(const Batch& batch) {
  auto is_about_locks = [](const auto& element) {
    return std::visit([]<typename T>(const T&) { return OnLocks<T>; }, element);
  };
  return !batch.held.empty() || std::ranges::any_of(batch.operations, is_about_locks) ||
         std::ranges::any_of(batch.guards, is_about_locks);
}

Result<void> LoadLocks(const std::vector<std::string>& names, LockLoader& loader, Rows& rows) {
  std::vector<std::string_view> views(names.begin(), names.end());
  return LoadNamed(views, {}, loader, rows);
}

Result<void> LoadLockRows(const Batch& batch, LockLoader& loader, TouchedKeys& keys, Rows& rows) {
  std::vector<std::string_view>& names = keys.locks;
  std::vector<std::string> of_records;
  NameCollector collect{names};
  for (const Guard& guard : batch.guards) std::visit(collect, guard);
  for (const Operation& operation : batch.operations) std::visit(collect, operation);
  for (const LockGuard& held : batch.held) names.push_back(held.name);
  if (!rows.records().records().empty()) {
    HF_ASSIGN_OR_RETURN(bool has_record_locks, loader.HasRecordLocks());
    if (has_record_locks) {
      for (const auto& [key, row] : rows.records().records()) of_records.push_back(LockNameOf(key));
    }
  }
  HF_RETURN_IF_ERROR(LoadNamed(names, of_records, loader, rows));
  return FindCircles(batch, loader, rows.locks());
}

}  // namespace holdfast::rules
