#include "engine/postgres/lock_table.h"

#include <fmt/format.h>

#include <algorithm>

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

}  // namespace

/// What is written of all locks together, as columns.
class LockWrites {
 public:
  void Delete(const std::string& name, const StoredHolder& holder) {
    gone_names.Add(name);
    gone_slots.Add(SlotOf(holder));
    gone_tokens.Add(holder.token);
  }
  void Update(const std::string& name, const StoredHolder& holder) {
    names.Add(name);
    slots.Add(SlotOf(holder));
    ttls.Add(std::int64_t{holder.ttl.count()});
    expiries.Add(holder.expires_at);
    delays.Add(holder.is_delay);
  }
  void Insert(const std::string& name, const StoredHolder& holder) {
    new_names.Add(name);
    new_slots.Add(SlotOf(holder));
    new_tokens.Add(holder.token);
    new_owners.Add(holder.owner);
    new_modes.Add(NameOf(holder.mode));
    new_limits.Add(holder.limit);
    new_ttls.Add(std::int64_t{holder.ttl.count()});
    new_lock_delays.Add(std::int64_t{holder.lock_delay.count()});
    new_acquired.Add(holder.acquired_at);
    new_expiries.Add(holder.expires_at);
    new_waited.Add(std::int64_t{holder.waited.count()});
    new_tickets.Add(holder.ticket);
    new_delays.Add(holder.is_delay);
  }
  void Delete(const std::string& name, std::int64_t ticket) {
    left_names.Add(name);
    left_tickets.Add(ticket);
  }
  void Insert(const std::string& name, const StoredWaiter& waiter) {
    in_line.names.Add(name);
    in_line.tickets.Add(waiter.ticket);
    in_line.waiters.Add(waiter.waiter);
    in_line.sessions.Add(waiter.session);
    in_line.owners.Add(waiter.owner);
    in_line.modes.Add(NameOf(waiter.mode));
    in_line.limits.Add(waiter.limit);
    in_line.ttls.Add(std::int64_t{waiter.ttl.count()});
    in_line.lock_delays.Add(std::int64_t{waiter.lock_delay.count()});
    in_line.policies.Add(NameOf(waiter.policy));
    in_line.has_others.Add(waiter.has_others);
    in_line.since.Add(waiter.since);
    in_line.deadlines.Add(waiter.deadline);
    in_line.actors.Add(waiter.actor);
    in_line.correlation_ids.Add(waiter.correlation_id);
  }

  Column gone_names{Type::kText}, gone_slots{Type::kInteger}, gone_tokens{Type::kInteger};
  Column names{Type::kText}, slots{Type::kInteger}, ttls{Type::kInteger}, expiries{Type::kTime},
      delays{Type::kBool};
  Column new_names{Type::kText}, new_slots{Type::kInteger}, new_tokens{Type::kInteger},
      new_owners{Type::kText}, new_modes{Type::kText}, new_limits{Type::kInteger},
      new_ttls{Type::kInteger}, new_lock_delays{Type::kInteger}, new_acquired{Type::kTime},
      new_expiries{Type::kTime}, new_waited{Type::kInteger}, new_tickets{Type::kInteger},
      new_delays{Type::kBool};
  Column left_names{Type::kText}, left_tickets{Type::kInteger};
  struct {
    Column names{Type::kText}, tickets{Type::kInteger}, waiters{Type::kInteger},
        sessions{Type::kInteger}, owners{Type::kText}, modes{Type::kText}, limits{Type::kInteger},
        ttls{Type::kInteger}, lock_delays{Type::kInteger}, policies{Type::kText},
        has_others{Type::kBool}, since{Type::kTime}, deadlines{Type::kTime}, actors{Type::kText},
        correlation_ids{Type::kText};
  } in_line;
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
                      "DELETE FROM $.lock_holders h USING unnest($1::text[], $2::bigint[], "
                      "$3::bigint[]) AS u (name, slot, token) WHERE h.name = u.name AND "
                      "h.slot = u.slot AND h.token = u.token"),
      insert_holders_(settings,
                      fmt::format("INSERT INTO $.lock_holders ({}) SELECT * FROM "
                                  "unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], "
                                  "$5::text[], $6::bigint[], $7::bigint[], $8::bigint[], "
                                  "$9::timestamptz[], $10::timestamptz[], $11::bigint[], "
                                  "$12::bigint[], $13::boolean[])",
                                  kHolderColumns)),
      update_holders_(settings,
                      "UPDATE $.lock_holders h SET ttl_us = u.ttl_us, expires_at = u.expires_at, "
                      "is_delay = u.is_delay FROM unnest($1::text[], $2::bigint[], $3::bigint[], "
                      "$4::timestamptz[], $5::boolean[]) AS u (name, slot, ttl_us, expires_at, "
                      "is_delay) WHERE h.name = u.name AND h.slot = u.slot"),
      delete_waiters_(settings,
                      "DELETE FROM $.lock_waiters w USING unnest($1::text[], $2::bigint[]) AS u "
                      "(name, ticket) WHERE w.name = u.name AND w.ticket = u.ticket"),
      insert_waiters_(settings,
                      fmt::format("INSERT INTO $.lock_waiters ({}) SELECT * FROM "
                                  "unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], "
                                  "$5::text[], $6::text[], $7::bigint[], $8::bigint[], "
                                  "$9::bigint[], $10::text[], $11::boolean[], $12::timestamptz[], "
                                  "$13::timestamptz[], $14::text[], $15::text[])",
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
  return renews_session_ ||
         std::ranges::any_of(locks_, [](const auto& entry) { return entry.second.is_changed; });
}

/// What of one lock differs from how it was loaded.
void LockTable::NoteChanges(const CachedLock& cached, LockWrites& writes) {
  const StoredLock& lock = cached.lock;
  auto before = cached.holders_before.begin();
  for (const StoredHolder& holder : lock.holders) {  // both by their tokens
    while (before != cached.holders_before.end() && before->token < holder.token) {
      writes.Delete(lock.name, *before++);
    }
    if (before == cached.holders_before.end() || before->token != holder.token) {
      writes.Insert(lock.name, holder);
      continue;
    }
    const bool is_equal = before->ttl == holder.ttl && before->expires_at == holder.expires_at &&
                          before->is_delay == holder.is_delay;
    if (!is_equal) writes.Update(lock.name, holder);
    ++before;
  }
  while (before != cached.holders_before.end()) writes.Delete(lock.name, *before++);
  for (std::int64_t ticket : cached.tickets_before) {
    if (!lock.waiters.contains(ticket)) writes.Delete(lock.name, ticket);
  }
  for (const auto& [ticket, waiter] : lock.waiters) {
    if (!cached.tickets_before.contains(ticket)) writes.Insert(lock.name, waiter);
  }
}

/// First what goes, then what comes: the next exclusive lease takes the place of the one before.
void LockTable::QueueWrite(Connection& connection, Time now) {
  LockWrites w;
  for (const auto& [name, cached] : locks_) {
    if (cached.is_changed) NoteChanges(cached, w);
  }
  if (w.gone_names.size() > 0) {
    connection.Queue(delete_holders_,
                     Parameters().Add(w.gone_names).Add(w.gone_slots).Add(w.gone_tokens));
  }
  if (w.left_names.size() > 0) {
    connection.Queue(delete_waiters_, Parameters().Add(w.left_names).Add(w.left_tickets));
  }
  if (w.names.size() > 0) {
    connection.Queue(
        update_holders_,
        Parameters().Add(w.names).Add(w.slots).Add(w.ttls).Add(w.expiries).Add(w.delays));
  }
  if (w.new_names.size() > 0) {
    Parameters inserted;
    for (const Column* column :
         {&w.new_names, &w.new_slots, &w.new_tokens, &w.new_owners, &w.new_modes, &w.new_limits,
          &w.new_ttls, &w.new_lock_delays, &w.new_acquired, &w.new_expiries, &w.new_waited,
          &w.new_tickets, &w.new_delays}) {
      inserted.Add(*column);
    }
    connection.Queue(insert_holders_, inserted);
  }
  const auto& l = w.in_line;
  if (l.names.size() > 0) {
    Parameters inserted;
    for (const Column* column : {&l.names, &l.tickets, &l.waiters, &l.sessions, &l.owners, &l.modes,
                                 &l.limits, &l.ttls, &l.lock_delays, &l.policies, &l.has_others,
                                 &l.since, &l.deadlines, &l.actors, &l.correlation_ids}) {
      inserted.Add(*column);
    }
    connection.Queue(insert_waiters_, inserted);
  }
  if (renews_session_) {
    connection.Queue(upsert_session_, Parameters().Add(session_).Add(now + rules::kSessionLife));
  }
}

}  // namespace holdfast::engine::postgres
