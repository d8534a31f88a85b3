#include "engine/memory/lock_tables.h"

#include <algorithm>

#include "base/check.h"
#include "base/result.h"
#include "rules/answer_size.h"
#include "rules/locks.h"

namespace holdfast::engine {

using rules::StoredHolder;
using rules::StoredLock;
using rules::StoredWaiter;

namespace {

constexpr std::size_t kHoldersKept = 16;  // room for them, in a lock that is free

}  // namespace

Result<StoredLock*> LockTables::LoadLock(std::string_view name) {
  auto place = locks_.lower_bound(name);
  if (place != locks_.end() && place->first == name) return &place->second;
  auto node = spare_locks_.Take();
  if (node.empty()) {
    place = locks_.emplace_hint(place, name, StoredLock());
  } else {
    node.key() = name;
    place = locks_.insert(place, std::move(node));
  }
  place->second.name = name;
  return &place->second;
}

Result<bool> LockTables::IsEngaged(const std::string& owner) {
  return engaged_.contains(owner);
}

Result<std::vector<std::string>> LockTables::WaitsOf(const std::string& owner) {
  std::vector<std::string> names;
  for (auto wait = waits_.lower_bound({owner, 0, {}}); wait != waits_.end(); ++wait) {
    const auto& [of_owner, ticket, name] = *wait;
    if (of_owner != owner) break;
    if (locks_.at(name).waiters.at(ticket).policy == LockPolicy::kAll) names.push_back(name);
  }
  return names;
}

void LockTables::Engage(const std::string& owner) {
  auto found = engaged_.find(owner);
  if (found != engaged_.end()) {
    ++found->second;
    return;
  }
  auto node = spare_owners_.Take();
  if (node.empty()) {
    engaged_.emplace(owner, 1);
    return;
  }
  node.key() = owner;
  node.mapped() = 1;
  engaged_.insert(std::move(node));
}

void LockTables::Disengage(const std::string& owner) {
  auto found = engaged_.find(owner);
  HF_CHECK(found != engaged_.end());
  if (--found->second == 0) spare_owners_.Keep(engaged_.extract(found));
}

void LockTables::Index(StoredLock& lock, const StoredHolder& holder) {
  auto node = spare_dues_.Take();
  if (node.empty()) {
    due_.emplace(holder.due_at(), holder.token, &lock);
  } else {
    node.value() = {holder.due_at(), holder.token, &lock};
    due_.insert(std::move(node));
  }
  Engage(holder.owner);
  if (rules::IsRecordLock(lock.name)) ++record_leases_;
}

void LockTables::Unindex(StoredLock& lock, const StoredHolder& holder) {
  spare_dues_.Keep(due_.extract({holder.due_at(), holder.token, &lock}));
  Disengage(holder.owner);
  if (rules::IsRecordLock(lock.name)) --record_leases_;
}

void LockTables::Persist(rules::LockRows& rows) {
  for (const rules::LockNet& net : rows.NetChanges()) {
    StoredLock& lock = *net.lock;
    if (!net.is_waiter) {
      const StoredHolder* now = lock.FindHolder(net.key);
      // A renewal, as most changes are: only the time differs.
      if (now != nullptr && net.holder_before != nullptr) {
        auto node = due_.extract({net.holder_before->due_at(), net.key, &lock});
        std::get<Time>(node.value()) = now->due_at();
        due_.insert(std::move(node));
        continue;
      }
      if (net.holder_before != nullptr) Unindex(lock, *net.holder_before);
      if (now != nullptr) Index(lock, *now);
      continue;
    }
    if (net.waiter_before != nullptr) {
      waits_.erase({net.waiter_before->owner, net.key, lock.name});
      Disengage(net.waiter_before->owner);
    }
    auto now = lock.waiters.find(net.key);
    if (now == lock.waiters.end()) continue;
    waits_.emplace(now->second.owner, net.key, lock.name);
    Engage(now->second.owner);
  }
  Forget(rows);
}

void LockTables::Forget(const rules::LockRows& rows) {
  for (StoredLock* lock : rows.locks()) {
    if (!lock->IsFree()) continue;
    auto node = locks_.extract(lock->name);
    // What hundreds have shared is not kept for one.
    if (node.mapped().holders.capacity() <= kHoldersKept) spare_locks_.Keep(std::move(node));
  }
}

Lock LockTables::Get(std::string_view name, Time now) const {
  auto found = locks_.find(name);
  if (found != locks_.end()) return rules::ToLock(found->second, now);
  Lock free;
  free.name = name;
  return free;
}

Result<LockPage> LockTables::List(const Context& context, const LockFilter& filter,
                                  Time now) const {
  constexpr int kLocksBetweenChecks = 1000;  // of the context (CTX-1)
  LockPage page;
  int looked_at = 0;
  rules::PageRoom room(filter.limit);
  auto next = filter.cursor.empty() ? locks_.lower_bound(filter.prefix)
                                    : locks_.upper_bound(std::max(filter.cursor, filter.prefix));
  for (; next != locks_.end() && next->first.starts_with(filter.prefix); ++next) {
    if (++looked_at % kLocksBetweenChecks == 0) HF_RETURN_IF_ERROR(context.Check());
    Lock lock = rules::ToLock(next->second, now);
    if (!rules::IsListed(lock, filter)) continue;
    if (!room.Take(lock)) {
      page.next_cursor = page.items.back().name;
      break;
    }
    page.items.push_back(std::move(lock));
  }
  return page;
}

std::vector<std::string> LockTables::DueLocks(Time now, int limit) const {
  std::vector<std::string> names;
  for (const auto& [at, token, lock] : due_) {
    if (at > now || names.size() == static_cast<std::size_t>(limit)) break;
    names.push_back(lock->name);
  }
  return names;
}

std::optional<Time> LockTables::NextDue() const {
  if (due_.empty()) return std::nullopt;
  return std::get<Time>(*due_.begin());
}

}  // namespace holdfast::engine
