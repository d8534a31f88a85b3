#include "engine/postgres/lock_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/mutant.h"
#include "base/result.h"
#include "rules/limits.h"

namespace holdfast::engine::postgres {

using rules::StoredHolder;
using rules::StoredLock;
using rules::StoredWaiter;

namespace {

/// The row of `locks` that stands for the circles of waits: see IsEngaged. No lock has this name.
const std::string kCircles;

/// Exclusive leases all want the same place, so that the constraint lets only one of them be.
std::int64_t SlotOf(const StoredHolder& holder) {
  return holder.mode == LockMode::kExclusive ? 0 : holder.token;
}

/// Adds the lease, in the order of kHolderColumns.
void AddHolder(RowArray& rows, const std::string& name, const StoredHolder& holder) {
  rows.NextRow();
  rows.Add(name);
  rows.Add(SlotOf(holder));
  rows.Add(holder.token);
  rows.Add(holder.owner);
  rows.Add(NameOf(holder.mode));
  rows.Add(holder.limit);
  rows.Add(std::int64_t{holder.ttl.count()});
  rows.Add(std::int64_t{holder.lock_delay.count()});
  rows.Add(holder.acquired_at);
  rows.Add(holder.expires_at);
  rows.Add(std::int64_t{holder.waited.count()});
  rows.Add(holder.ticket);
  rows.Add(holder.is_delay);
}

/// Adds the request, in the order of kWaiterColumns.
void AddWaiter(RowArray& rows, const std::string& name, const StoredWaiter& waiter) {
  rows.NextRow();
  rows.Add(name);
  rows.Add(waiter.ticket);
  rows.Add(waiter.waiter);
  rows.Add(waiter.session);
  rows.Add(waiter.owner);
  rows.Add(NameOf(waiter.mode));
  rows.Add(waiter.limit);
  rows.Add(std::int64_t{waiter.ttl.count()});
  rows.Add(std::int64_t{waiter.lock_delay.count()});
  rows.Add(NameOf(waiter.policy));
  rows.Add(waiter.has_others);
  rows.Add(waiter.since);
  rows.Add(waiter.deadline);
  rows.Add(waiter.actor);
  rows.Add(waiter.correlation_id);
}

}  // namespace

/// What is written of all locks together.
struct LockWrites {
  RowArray gone{RowType::kLockHolder}, renewed{RowType::kLockHolder}, granted{RowType::kLockHolder},
      in_line{RowType::kLockWaiter};
  Column left_names{Type::kText}, left_tickets{Type::kInteger};

  void Leave(const std::string& name, std::int64_t ticket) {
    left_names.Add(name);
    left_tickets.Add(ticket);
  }
};

LockTable::LockTable(Connection*& connection, const Settings& settings, std::int64_t session)
    : connection_(connection),
      session_(session),
      new_locks_(settings,
                 "INSERT INTO $.locks SELECT unnest($1::text[]) ON CONFLICT (name) DO NOTHING"),
      lock_(settings,
            "SELECT name FROM $.locks WHERE name = ANY ($1::text[]) ORDER BY name FOR UPDATE"),
      load_holders_(settings, fmt::format("SELECT {} FROM $.lock_holders WHERE name = ANY "
                                          "($1::text[]) ORDER BY name, token",
                                          kHolderColumns)),
      load_waiters_(settings, fmt::format("SELECT {} FROM $.lock_waiters WHERE name = ANY "
                                          "($1::text[])",
                                          kWaiterColumns)),
      load_sessions_(settings, "SELECT id, expires_at FROM $.lock_sessions WHERE id <> $1::bigint"),
      find_owner_(settings,
                  "SELECT name FROM $.lock_holders WHERE owner = $1 UNION "
                  "SELECT name FROM $.lock_waiters WHERE owner = $1"),
      find_waits_(settings,
                  "SELECT name FROM $.lock_waiters WHERE owner = $1 AND policy = 'all' "
                  "ORDER BY name"),
      delete_holders_(settings,
                      "DELETE FROM $.lock_holders h USING unnest($1::$.lock_holder_row[]) AS u "
                      "WHERE h.name = u.name AND h.slot = u.slot AND h.token = u.token"),
      insert_holders_(settings, fmt::format("INSERT INTO $.lock_holders ({}) SELECT * FROM "
                                            "unnest($1::$.lock_holder_row[])",
                                            kHolderColumns)),
      update_holders_(settings,
                      "UPDATE $.lock_holders h SET ttl_us = u.ttl_us, expires_at = u.expires_at, "
                      "is_delay = u.is_delay FROM unnest($1::$.lock_holder_row[]) AS u WHERE "
                      "h.name = u.name AND h.slot = u.slot"),
      delete_waiters_(settings,
                      "DELETE FROM $.lock_waiters w USING unnest($1::text[], $2::bigint[]) AS u "
                      "(name, ticket) WHERE w.name = u.name AND w.ticket = u.ticket"),
      insert_waiters_(settings, fmt::format("INSERT INTO $.lock_waiters ({}) SELECT * FROM "
                                            "unnest($1::$.lock_waiter_row[])",
                                            kWaiterColumns)),
      upsert_session_(settings,
                      "INSERT INTO $.lock_sessions VALUES ($1::bigint, $2::timestamptz) "
                      "ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at") {}

void LockTable::Clear() {
  Forget();
  wanted_.clear();
  peeked_.clear();
}

void LockTable::Forget() {
  lacks_ = renews_session_ = false;
  is_locked_ = true;
  locks_.clear();
  sessions_.clear();
  queued_.clear();
}

Result<StoredLock*> LockTable::LoadLock(std::string_view name) {
  auto known = locks_.find(name);
  const bool is_wanted = wanted_.contains(name);
  if (!is_wanted) wanted_.emplace(name);
  if (!is_wanted || known == locks_.end()) lacks_ = true;
  if (known == locks_.end()) {
    known = locks_.try_emplace(std::string(name)).first;
    known->second.lock.name = name;
  }
  return &known->second.lock;
}

Result<StoredLock*> LockTable::PeekLock(std::string_view name) {
  auto known = locks_.find(name);
  if (known == locks_.end()) {
    peeked_.emplace(name);
    lacks_ = true;
    known = locks_.try_emplace(std::string(name)).first;
    known->second.lock.name = name;
  }
  return &known->second.lock;
}

/// Two requests could close a circle at once, each looking before the other is in line. Whoever
/// asks while its owner holds or awaits something therefore locks one more row, which is common to
/// all of them, and looks again.
Result<bool> LockTable::IsEngaged(const std::string& owner) {
  auto is_owner = [&](const auto& party) { return party.owner == owner; };
  bool is_engaged = false;
  for (const auto& [name, cached] : locks_) {
    is_engaged |= std::ranges::any_of(cached.lock.holders, is_owner) ||
                  std::ranges::any_of(cached.lock.waiters,
                                      [&](const auto& entry) { return is_owner(entry.second); });
  }
  if (!is_engaged) {
    HF_ASSIGN_OR_RETURN(Answer answer, connection_->Query(find_owner_, Parameters().Add(owner)));
    for (int i = 0; i < answer.size(); ++i) {
      is_engaged |= !locks_.contains(Row(answer, i).Text(0));
    }
  }
  if (is_engaged && !HF_MUTANT(circles_race) && wanted_.insert(kCircles).second) lacks_ = true;
  return is_engaged;
}

Result<std::vector<std::string>> LockTable::WaitsOf(const std::string& owner) {
  std::vector<std::string> names;
  HF_ASSIGN_OR_RETURN(Answer answer, connection_->Query(find_waits_, Parameters().Add(owner)));
  for (int i = 0; i < answer.size(); ++i) {
    std::string name = Row(answer, i).String(0);
    if (!locks_.contains(name)) names.push_back(std::move(name));
  }
  // Of locks that are here the table does not know the latest.
  for (const auto& [name, cached] : locks_) {
    const bool waits = std::ranges::any_of(cached.lock.waiters, [&](const auto& entry) {
      return entry.second.owner == owner && entry.second.policy == LockPolicy::kAll;
    });
    if (waits) names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

void LockTable::QueueLock(Connection& connection) {
  queued_.clear();
  if (wanted_.empty()) return;
  const Column names = Column::Of(wanted_);
  connection.Queue(new_locks_, Parameters().Add(names));
  connection.Queue(lock_, Parameters().Add(names));
  queued_ = {Step::kNew, Step::kLock};
}

void LockTable::TakeLocked(Answers& answers) {
  for (Step step : queued_) {
    Answer answer = answers.Next();
    if (step != Step::kLock) continue;
    // A row that was pruned between the two statements is not locked.
    is_locked_ = answer.size() == static_cast<int>(wanted_.size());
  }
  queued_.clear();
}

void LockTable::QueueLoad(Connection& connection) {
  if (wanted_.empty() && peeked_.empty()) return;
  Column names(Type::kText);
  for (const std::string& name : wanted_) names.Add(name);
  for (const std::string& name : peeked_) {
    if (!wanted_.contains(name)) names.Add(name);
  }
  connection.Queue(load_holders_, Parameters().Add(names));
  connection.Queue(load_waiters_, Parameters().Add(names));
  if (!wanted_.empty()) connection.Queue(load_sessions_, Parameters().Add(session_));
}

Result<void> LockTable::TakeLoaded(Answers& answers) {
  locks_.clear();
  sessions_.clear();
  lacks_ = !is_locked_;
  if (wanted_.empty() && peeked_.empty()) return {};
  for (const Names* some : {&wanted_, &peeked_}) {
    for (const std::string& name : *some) locks_[name].lock.name = name;
  }
  Answer holders = answers.Next();
  for (int i = 0; i < holders.size(); ++i) {
    Row row(holders, i);
    HF_ASSIGN_OR_RETURN(StoredHolder holder, ReadHolder(row));
    CachedLock& cached = locks_.find(row.Text(0))->second;
    cached.holders_before.push_back(holder);
    cached.lock.holders.push_back(std::move(holder));
  }
  Answer waiters = answers.Next();
  for (int i = 0; i < waiters.size(); ++i) {
    Row row(waiters, i);
    HF_ASSIGN_OR_RETURN(StoredWaiter waiter, ReadWaiter(row));
    CachedLock& cached = locks_.find(row.Text(0))->second;
    cached.tickets_before.insert(waiter.ticket);
    const std::int64_t ticket = waiter.ticket;
    cached.lock.waiters.emplace(ticket, std::move(waiter));
  }
  if (wanted_.empty()) return {};
  Answer sessions = answers.Next();
  for (int i = 0; i < sessions.size(); ++i) {
    Row row(sessions, i);
    sessions_.emplace(row.Integer(0), row.TimeAt(1));
  }
  return {};
}

bool LockTable::HasChangedUnlocked(rules::LockRows& rows) {
  bool found = false;
  for (const rules::LockNet& net : rows.NetChanges()) {
    if (wanted_.insert(net.lock->name).second) found = true;
  }
  return found;
}

void LockTable::TakeOver(rules::LockRows& rows) {
  for (const rules::LockNet& net : rows.NetChanges()) {
    locks_.find(net.lock->name)->second.is_changed = true;
  }
  renews_session_ |= rows.renews_session;
}

bool LockTable::HasWrites() const {
  return renews_session_ || HasChanges();
}

bool LockTable::HasChanges() const {
  return std::ranges::any_of(locks_, [](const auto& entry) { return entry.second.is_changed; });
}

/// What of one lock differs from how it was loaded.
void LockTable::NoteChanges(const CachedLock& cached, LockWrites& writes) {
  const StoredLock& lock = cached.lock;
  auto before = cached.holders_before.begin();
  for (const StoredHolder& holder : lock.holders) {  // both by their tokens
    while (before != cached.holders_before.end() && before->token < holder.token) {
      AddHolder(writes.gone, lock.name, *before++);
    }
    if (before == cached.holders_before.end() || before->token != holder.token) {
      AddHolder(writes.granted, lock.name, holder);
      continue;
    }
    const bool is_equal = before->ttl == holder.ttl && before->expires_at == holder.expires_at &&
                          before->is_delay == holder.is_delay;
    if (!is_equal) AddHolder(writes.renewed, lock.name, holder);
    ++before;
  }
  while (before != cached.holders_before.end()) AddHolder(writes.gone, lock.name, *before++);
  for (std::int64_t ticket : cached.tickets_before) {
    if (!lock.waiters.contains(ticket)) writes.Leave(lock.name, ticket);
  }
  for (const auto& [ticket, waiter] : lock.waiters) {
    if (!cached.tickets_before.contains(ticket)) AddWaiter(writes.in_line, lock.name, waiter);
  }
}

/// First what goes, then what comes: the next exclusive lease takes the place of the one before.
void LockTable::QueueWrite(Connection& connection, Time now) {
  LockWrites writes;
  for (const auto& [name, cached] : locks_) {
    if (cached.is_changed) NoteChanges(cached, writes);
  }
  connection.QueueRows(delete_holders_, std::move(writes.gone));
  if (writes.left_names.size() > 0) {
    connection.Queue(delete_waiters_, Parameters().Add(writes.left_names).Add(writes.left_tickets));
  }
  connection.QueueRows(update_holders_, std::move(writes.renewed));
  connection.QueueRows(insert_holders_, std::move(writes.granted));
  connection.QueueRows(insert_waiters_, std::move(writes.in_line));
  if (renews_session_) {
    connection.Queue(upsert_session_, Parameters().Add(session_).Add(now + rules::kSessionLife));
  }
}

}  // namespace holdfast::engine::postgres
