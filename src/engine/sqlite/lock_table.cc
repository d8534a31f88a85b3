#include "engine/sqlite/lock_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "base/mutant.h"
#include "base/result.h"
#include "rules/limits.h"

namespace holdfast::engine {

using rules::StoredHolder;
using rules::StoredLock;
using rules::StoredWaiter;

namespace {

// Free locks are not kept, so that these are held or waited for; beyond so many all are forgotten.
constexpr std::size_t kLocksKept = 20'000;

/// Exclusive leases all want the same place, so that the constraint lets only one of them be.
std::int64_t SlotOf(const StoredHolder& holder) {
  return holder.mode == LockMode::kExclusive ? 0 : holder.token;
}

}  // namespace

Result<void> LockTable::Prepare(Connection& connection, std::int64_t session) {
  connection_ = &connection;
  session_ = session;
  std::tuple<Statement&, std::string> statements[] = {
      {data_version_of_, "PRAGMA data_version"},
      {select_holders_,
       fmt::format("SELECT {} FROM lock_holders WHERE name = ? ORDER BY token", kHolderColumns)},
      {select_waiters_,
       fmt::format("SELECT {} FROM lock_waiters WHERE name = ? ORDER BY ticket", kWaiterColumns)},
      {select_sessions_, "SELECT id, expires_at FROM lock_sessions WHERE id <> ?"},
      {insert_holder_, fmt::format("INSERT INTO lock_holders ({}, due_at) VALUES (?, ?, ?, ?, ?, "
                                   "?, ?, ?, ?, ?, ?, ?, ?, ?)",
                                   kHolderColumns)},
      {update_holder_,
       "UPDATE lock_holders SET ttl_us = ?, expires_at = ?, is_delay = ?, due_at = ? "
       "WHERE name = ? AND slot = ?"},
      {delete_holder_, "DELETE FROM lock_holders WHERE name = ? AND slot = ? AND token = ?"},
      {insert_waiter_, fmt::format("INSERT INTO lock_waiters ({}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, "
                                   "?, ?, ?, ?, ?, ?, ?)",
                                   kWaiterColumns)},
      {delete_waiter_, "DELETE FROM lock_waiters WHERE name = ? AND ticket = ?"},
      {find_owner_,
       "SELECT EXISTS (SELECT 1 FROM lock_holders WHERE owner = ?1) OR "
       "EXISTS (SELECT 1 FROM lock_waiters WHERE owner = ?1)"},
      {select_waits_, "SELECT name FROM lock_waiters WHERE owner = ? AND policy = 'all'"},
      // ';' follows ':': every name that begins with "record:".
      {count_record_leases_,
       "SELECT count(*) FROM lock_holders WHERE name >= 'record:' AND name < 'record;'"},
      {upsert_session_, "INSERT OR REPLACE INTO lock_sessions (id, expires_at) VALUES (?, ?)"},
      {select_due_, "SELECT name FROM lock_holders WHERE due_at <= ? ORDER BY due_at LIMIT ?"},
      {select_dead_,
       "SELECT DISTINCT name FROM lock_sessions CROSS JOIN lock_waiters ON session = id "
       "WHERE expires_at <= ? AND id <> ? LIMIT ?"},
      {min_due_, "SELECT min(due_at) FROM lock_holders"},
      {min_session_,
       "SELECT min(expires_at) FROM lock_sessions WHERE id <> ? AND "
       "EXISTS (SELECT 1 FROM lock_waiters WHERE session = id)"},
      {delete_sessions_,
       "DELETE FROM lock_sessions WHERE expires_at <= ? AND "
       "NOT EXISTS (SELECT 1 FROM lock_waiters WHERE session = id)"},
  };
  for (auto& [statement, sql] : statements) {
    HF_RETURN_IF_ERROR(statement.Prepare(connection, sql));
  }
  return {};
}

Result<void> LockTable::Begin() {
  HF_RETURN_IF_ERROR(data_version_of_.Step());
  const std::int64_t version = data_version_of_.Integer(0);
  data_version_of_.Reset();
  const bool has_changed = version != data_version_ && !HF_MUTANT(locks_of_others_unseen);
  if (!is_clean_ || has_changed || locks_.size() > kLocksKept) {
    locks_.clear();
    record_leases_.reset();
  }
  data_version_ = version;
  is_clean_ = false;
  sessions_.reset();
  return {};
}

Result<StoredLock*> LockTable::LoadLock(std::string_view name) {
  if (auto known = locks_.find(name); known != locks_.end()) return &known->second;
  StoredLock& lock = locks_[std::string(name)];
  lock.name = name;
  select_holders_.Bind(name);
  while (true) {
    HF_ASSIGN_OR_RETURN(bool more, select_holders_.Step());
    if (!more) break;
    Result<StoredHolder> holder = ReadHolder(select_holders_);
    if (!holder) {
      select_holders_.Reset();
      return std::unexpected(std::move(holder).error());
    }
    lock.holders.push_back(*std::move(holder));
  }
  select_waiters_.Bind(name);
  while (true) {
    HF_ASSIGN_OR_RETURN(bool more, select_waiters_.Step());
    if (!more) return &lock;
    Result<StoredWaiter> waiter = ReadWaiter(select_waiters_);
    if (!waiter) {
      select_waiters_.Reset();
      return std::unexpected(std::move(waiter).error());
    }
    const std::int64_t ticket = waiter->ticket;
    lock.waiters.emplace(ticket, *std::move(waiter));
  }
}

Result<bool> LockTable::IsEngaged(const std::string& owner) {
  HF_RETURN_IF_ERROR(find_owner_.Bind(owner).Step());
  const bool found = find_owner_.Integer(0) != 0;
  find_owner_.Reset();
  return found;
}

Result<std::vector<std::string>> LockTable::WaitsOf(const std::string& owner) {
  std::vector<std::string> names;
  select_waits_.Bind(owner);
  while (true) {
    HF_ASSIGN_OR_RETURN(bool more, select_waits_.Step());
    if (!more) return names;
    names.emplace_back(select_waits_.Text(0));
  }
}

Result<bool> LockTable::HasRecordLocks() {
  if (!record_leases_) {
    HF_RETURN_IF_ERROR(count_record_leases_.Step());
    record_leases_ = count_record_leases_.Integer(0);
    count_record_leases_.Reset();
  }
  return *record_leases_ > 0;
}

Result<std::map<std::int64_t, Time>> LockTable::LoadSessions() {
  if (sessions_) return *sessions_;
  std::map<std::int64_t, Time> sessions;
  select_sessions_.Bind(session_);
  while (true) {
    HF_ASSIGN_OR_RETURN(bool more, select_sessions_.Step());
    if (!more) break;
    sessions.emplace(select_sessions_.Integer(0), select_sessions_.TimeAt(1));
  }
  sessions_ = sessions;
  return sessions;
}

Result<void> LockTable::Persist(rules::LockRows& rows, Time now) {
  const std::vector<rules::LockNet>& nets = rows.NetChanges();
  // First what goes, then what comes: the next exclusive lease takes the place of the one before.
  for (const rules::LockNet& net : nets) {
    if (!net.is_waiter && net.holder_before != nullptr &&
        net.lock->FindHolder(net.key) == nullptr) {
      HF_RETURN_IF_ERROR(
          delete_holder_.Bind(net.lock->name).Bind(SlotOf(*net.holder_before)).Bind(net.key).Run());
    }
  }
  for (const rules::LockNet& net : nets) {
    HF_RETURN_IF_ERROR(net.is_waiter ? PersistWaiter(net) : PersistHolder(net));
  }
  if (rows.renews_session) {
    HF_RETURN_IF_ERROR(upsert_session_.Bind(session_).Bind(now + rules::kSessionLife).Run());
  }
  if (!record_leases_) return {};
  for (const rules::LockNet& net : nets) {
    if (net.is_waiter || !rules::IsRecordLock(net.lock->name)) continue;
    if (net.holder_before != nullptr) --*record_leases_;
    if (net.lock->FindHolder(net.key) != nullptr) ++*record_leases_;
  }
  return {};
}

Result<void> LockTable::PersistHolder(const rules::LockNet& net) {
  const StoredHolder* holder = net.lock->FindHolder(net.key);
  if (holder == nullptr) return {};
  if (net.holder_before != nullptr) {
    return update_holder_.Bind(holder->ttl.count())
        .Bind(holder->expires_at)
        .Bind(std::int64_t{holder->is_delay})
        .Bind(holder->due_at())
        .Bind(net.lock->name)
        .Bind(SlotOf(*holder))
        .Run();
  }
  return insert_holder_.Bind(net.lock->name)
      .Bind(SlotOf(*holder))
      .Bind(holder->token)
      .Bind(holder->owner)
      .Bind(NameOf(holder->mode))
      .Bind(holder->limit)
      .Bind(holder->ttl.count())
      .Bind(holder->lock_delay.count())
      .Bind(holder->acquired_at)
      .Bind(holder->expires_at)
      .Bind(holder->waited.count())
      .Bind(holder->ticket)
      .Bind(std::int64_t{holder->is_delay})
      .Bind(holder->due_at())
      .Run();
}

Result<void> LockTable::PersistWaiter(const rules::LockNet& net) {
  auto found = net.lock->waiters.find(net.key);
  const bool is_there = found != net.lock->waiters.end();
  if (net.waiter_before != nullptr && !is_there) {
    return delete_waiter_.Bind(net.lock->name).Bind(net.key).Run();
  }
  if (net.waiter_before != nullptr || !is_there) return {};
  const StoredWaiter& waiter = found->second;
  return insert_waiter_.Bind(net.lock->name)
      .Bind(waiter.ticket)
      .Bind(waiter.waiter)
      .Bind(waiter.session)
      .Bind(waiter.owner)
      .Bind(NameOf(waiter.mode))
      .Bind(waiter.limit)
      .Bind(waiter.ttl.count())
      .Bind(waiter.lock_delay.count())
      .Bind(NameOf(waiter.policy))
      .Bind(std::int64_t{waiter.has_others})
      .Bind(waiter.since)
      .Bind(waiter.deadline)
      .Bind(waiter.actor)
      .Bind(waiter.correlation_id)
      .Run();
}

void LockTable::Forget(const rules::LockRows& rows) {
  for (StoredLock* lock : rows.locks()) {
    if (!lock->IsFree()) continue;
    auto found = locks_.find(lock->name);
    locks_.erase(found);
  }
}

Result<std::vector<std::string>> LockTable::DueLocks(Time now, int limit) {
  std::vector<std::string> names;
  select_due_.Bind(now).Bind(std::int64_t{limit});
  while (true) {
    HF_ASSIGN_OR_RETURN(bool more, select_due_.Step());
    if (!more) break;
    names.emplace_back(select_due_.Text(0));
  }
  select_dead_.Bind(now).Bind(session_).Bind(std::int64_t{limit});
  while (true) {
    HF_ASSIGN_OR_RETURN(bool more, select_dead_.Step());
    if (!more) return names;
    names.emplace_back(select_dead_.Text(0));
  }
}

Result<std::optional<Time>> LockTable::NextDue() {
  HF_RETURN_IF_ERROR(min_due_.Step());
  std::optional<Time> next = min_due_.OptionalTime(0);
  min_due_.Reset();
  HF_RETURN_IF_ERROR(min_session_.Bind(session_).Step());
  std::optional<Time> session = min_session_.OptionalTime(0);
  min_session_.Reset();
  if (session && (!next || *session < *next)) next = session;
  return next;
}

Result<void> LockTable::Prune(Time now) {
  return delete_sessions_.Bind(now).Run();
}

}  // namespace holdfast::engine
