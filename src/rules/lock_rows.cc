#include "rules/lock_rows.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace holdfast::rules {
namespace {

std::string_view NameOfLock(const StoredLock* lock) {
  return lock->name;
}

void Insert(StoredLock& lock, StoredHolder holder) {
  auto place = std::ranges::upper_bound(lock.holders, holder.token, {}, &StoredHolder::token);
  lock.holders.insert(place, std::move(holder));
}

void Erase(StoredLock& lock, Token token) {
  std::erase_if(lock.holders, [token](const StoredHolder& h) { return h.token == token; });
}

}  // namespace

StoredHolder* StoredLock::FindHolder(Token token) {
  auto found = std::ranges::lower_bound(holders, token, {}, &StoredHolder::token);
  return found == holders.end() || found->token != token ? nullptr : &*found;
}

Lock ToLock(const StoredLock& stored, Time now) {
  Lock lock;
  lock.name = stored.name;
  for (const StoredHolder& holder : stored.holders) {
    if (holder.IsLive(now)) {
      lock.holders.push_back(
          {holder.owner, holder.mode, holder.token, holder.acquired_at, holder.expires_at});
      if (holder.limit != 0) lock.limit = holder.limit;
    } else if (holder.expires_at + holder.lock_delay > now) {
      const Time until = holder.expires_at + holder.lock_delay;
      lock.delayed_until = std::max(lock.delayed_until.value_or(until), until);
    }
  }
  for (const auto& [ticket, waiter] : stored.waiters) {
    if (waiter.deadline <= now) continue;
    lock.waiters.push_back({waiter.owner, waiter.mode, waiter.since});
    if (waiter.limit != 0) lock.limit = waiter.limit;
  }
  return lock;
}

LockGrant ToGrant(const StoredLock& lock, const StoredHolder& holder) {
  return {lock.name,          holder.owner,      holder.mode,  holder.token,
          holder.acquired_at, holder.expires_at, holder.waited};
}

std::optional<RecordKey> RecordOfLock(std::string_view name) {
  if (!IsRecordLock(name)) return std::nullopt;
  name.remove_prefix(name.find(':') + 1);
  const std::size_t slash = name.find('/');
  if (slash == name.npos) return std::nullopt;
  return RecordKey{std::string(name.substr(0, slash)), std::string(name.substr(slash + 1))};
}

bool IsListed(const Lock& lock, const LockFilter& filter) {
  if (lock.holders.empty() && lock.waiters.empty() && !lock.delayed_until) return false;
  if (filter.owner.empty()) return true;
  auto is_owner = [&](const auto& party) { return party.owner == filter.owner; };
  return std::ranges::any_of(lock.holders, is_owner) || std::ranges::any_of(lock.waiters, is_owner);
}

void LockNotes::Clear() {
  granted.clear();
  woken.clear();
  expired.clear();
}

void LockNotes::Take(LockNotes& other) {
  auto take = []<typename T>(std::vector<T>& to, std::vector<T>& from) {
    to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
  };
  take(granted, other.granted);
  take(woken, other.woken);
  take(expired, other.expired);
  other.Clear();
}

void LockRows::Clear() {
  locks_.clear();
  edits_.clear();
  sessions.clear();
  renews_session = false;
  notes.Clear();
  cycles.clear();
  outcomes.clear();
}

void LockRows::Add(StoredLock* lock) {
  locks_.push_back(lock);
}

void LockRows::Seal() {
  std::ranges::sort(locks_, {}, NameOfLock);
  auto repeated = std::ranges::unique(locks_);
  locks_.erase(repeated.begin(), repeated.end());
}

StoredLock* LockRows::Find(std::string_view name) {
  if (locks_.size() == 1) return locks_.front()->name == name ? locks_.front() : nullptr;
  auto found = std::ranges::lower_bound(locks_, name, {}, NameOfLock);
  return found == locks_.end() || (*found)->name != name ? nullptr : *found;
}

StoredLock& LockRows::Named(std::string_view name) {
  StoredLock* lock = Find(name);
  HF_CHECK(lock != nullptr);
  return *lock;
}

StoredHolder& LockRows::AddHolder(StoredLock& lock, StoredHolder holder) {
  edits_.push_back({.what = LockEdit::What::kHolderAdded, .lock = &lock, .key = holder.token});
  // Tokens rise: the newest holder is the last.
  return lock.holders.emplace_back(std::move(holder));
}

StoredHolder& LockRows::Edit(StoredLock& lock, StoredHolder& holder) {
  edits_.push_back({.what = LockEdit::What::kHolderChanged,
                    .lock = &lock,
                    .key = holder.token,
                    .before = holder});
  return holder;
}

void LockRows::RemoveHolder(StoredLock& lock, Token token) {
  StoredHolder* holder = lock.FindHolder(token);
  HF_CHECK(holder != nullptr);
  edits_.push_back({.what = LockEdit::What::kHolderRemoved,
                    .lock = &lock,
                    .key = token,
                    .before = std::move(*holder)});
  lock.holders.erase(lock.holders.begin() + (holder - lock.holders.data()));
}

void LockRows::AddWaiter(StoredLock& lock, StoredWaiter waiter) {
  edits_.push_back({.what = LockEdit::What::kWaiterAdded, .lock = &lock, .key = waiter.ticket});
  lock.waiters.emplace(waiter.ticket, std::move(waiter));
}

void LockRows::RemoveWaiter(StoredLock& lock, std::int64_t ticket) {
  auto found = lock.waiters.find(ticket);
  HF_CHECK(found != lock.waiters.end());
  edits_.push_back({.what = LockEdit::What::kWaiterRemoved,
                    .lock = &lock,
                    .key = ticket,
                    .waiter_before = std::make_unique<StoredWaiter>(std::move(found->second))});
  lock.waiters.erase(found);
}

const std::vector<LockNet>& LockRows::NetChanges() {
  nets_.clear();
  for (const LockEdit& edit : edits_) {
    const bool is_waiter = edit.waiter_before || edit.what == LockEdit::What::kWaiterAdded;
    const bool is_new = edit.what == LockEdit::What::kHolderAdded;
    nets_.push_back({.lock = edit.lock,
                     .is_waiter = is_waiter,
                     .key = edit.key,
                     .order = nets_.size(),
                     .holder_before = is_waiter || is_new ? nullptr : &edit.before,
                     .waiter_before = edit.waiter_before.get()});
  }
  if (nets_.size() < 2) return nets_;
  // The first edit of each tells how it was.
  auto key_of = [](const LockNet& net) { return std::tuple(net.lock, net.is_waiter, net.key); };
  std::ranges::sort(nets_, {}, [&](const LockNet& net) {
    return std::tuple(net.lock, net.is_waiter, net.key, net.order);
  });
  auto repeated = std::ranges::unique(nets_, {}, key_of);
  nets_.erase(repeated.begin(), repeated.end());
  return nets_;
}

void LockRows::Undo() {
  for (auto edit = edits_.rbegin(); edit != edits_.rend(); ++edit) {
    StoredLock& lock = *edit->lock;
    switch (edit->what) {
      case LockEdit::What::kHolderAdded:
        Erase(lock, edit->key);
        break;
      case LockEdit::What::kHolderChanged:
        Erase(lock, edit->key);
        Insert(lock, std::move(edit->before));
        break;
      case LockEdit::What::kHolderRemoved:
        Insert(lock, std::move(edit->before));
        break;
      case LockEdit::What::kWaiterAdded:
        lock.waiters.erase(edit->key);
        break;
      case LockEdit::What::kWaiterRemoved:
        lock.waiters.emplace(edit->key, std::move(*edit->waiter_before));
        break;
    }
  }
  edits_.clear();
  notes.Clear();
  renews_session = false;
}

}  // namespace holdfast::rules
