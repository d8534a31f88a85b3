// Waiting in line (LOCK-2, LOCK-5 to LOCK-7): strictly first come, first served. A release gives
// the lock to the next in the same commit, if that one waits in this process, which is alive as it
// commits. A request that waits in another process takes the lock itself when it is its turn: so no
// lock is ever given to the dead, and nobody is delayed by them for longer than their session
// lives.
#include "rules/lock_waits.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/mutant.h"
#include "base/result.h"
#include "base/text.h"
#include "rules/limits.h"
#include "rules/record_rows.h"

namespace holdfast::rules {
namespace {

bool IsDead(const LockRows& locks, const StoredWaiter& waiter, Time now) {
  if (waiter.deadline <= now) return true;
  if (waiter.session == locks.session) return false;
  auto session = locks.sessions.find(waiter.session);
  return session == locks.sessions.end() || session->second <= now;
}

StoredHolder LeaseFor(const StoredWaiter& waiter, Time now) {
  return {.owner = waiter.owner,
          .mode = waiter.mode,
          .limit = waiter.limit,
          .ttl = waiter.ttl,
          .lock_delay = waiter.lock_delay,
          .waited = now - waiter.since,
          .ticket = waiter.ticket};
}

/// Ends the wait with the lease.
LockGrant GrantWaiter(Rows& rows, StoredLock& lock, std::int64_t ticket, const Origin& origin) {
  LockRows& locks = rows.locks();
  const StoredWaiter waiter = lock.waiters.at(ticket);
  locks.RemoveWaiter(lock, ticket);
  StoredHolder lease = LeaseFor(waiter, origin.now);
  // The trail tells of who waited, not of who made room.
  Origin of_waiter = origin;
  of_waiter.actor = waiter.actor;
  of_waiter.correlation_id = waiter.correlation_id;
  of_waiter.lock_wait = lease.waited;
  return Grant(rows, lock, std::move(lease), of_waiter);
}

void GrantNext(Rows& rows, StoredLock& lock, const Origin& origin) {
  LockRows& locks = rows.locks();
  while (!lock.waiters.empty()) {
    const auto& [ticket, next] = *lock.waiters.begin();
    if (IsDead(locks, next, origin.now) && !HF_MUTANT(waiter_not_rechecked)) {
      if (next.session == locks.session) locks.notes.woken.push_back(next.waiter);
      locks.RemoveWaiter(lock, ticket);
      continue;
    }
    if (!Fits(lock, next.mode, next.limit)) return;
    if (next.session != locks.session) return;
    if (next.has_others) return locks.notes.woken.push_back(next.waiter);
    LockGranted note{.waiter = next.waiter, .ticket = ticket, .grant = {}};
    note.grant = GrantWaiter(rows, lock, note.ticket, origin);
    locks.notes.granted.push_back(std::move(note));
  }
}

/// Whether it is this ticket's turn at the settled lock.
bool IsNext(const StoredLock& lock, const AwaitLock& op) {
  return !lock.waiters.empty() && lock.waiters.begin()->first == op.ticket &&
         Fits(lock, op.request.mode, op.request.limit.value_or(0));
}

LockOutcome Enqueue(Rows& rows, const AwaitLock& op, Time deadline, const Origin& origin) {
  const AcquireLock& request = op.request;
  LockRows& locks = rows.locks();
  StoredWaiter waiter{.ticket = ++rows.counters.last_ticket,
                      .waiter = op.waiter,
                      .session = locks.session,
                      .owner = request.owner,
                      .mode = request.mode,
                      .limit = request.limit.value_or(0),
                      .ttl = request.ttl.value_or(kLockTtl),
                      .lock_delay = request.lock_delay,
                      .policy = request.policy,
                      .has_others = NamesOf(request).size() > 1,
                      .since = origin.now,
                      .deadline = deadline,
                      .actor = std::string(origin.actor),
                      .correlation_id = std::string(origin.correlation_id)};
  for (const std::string& name : NamesOf(request)) {
    locks.AddWaiter(locks.Named(name), waiter);
  }
  locks.renews_session = true;
  return {.ticket = waiter.ticket, .deadline = deadline};
}

/// Out of line everywhere, and the next in line there is looked after.
void LeaveAll(Rows& rows, std::span<const std::string> names, std::int64_t ticket,
              const Origin& origin) {
  for (const std::string& name : names) {
    StoredLock& lock = rows.locks().Named(name);
    if (lock.waiters.contains(ticket)) rows.locks().RemoveWaiter(lock, ticket);
    Settle(rows, lock, origin);
  }
}

/// The leases that this wait has led to.
std::vector<LockGrant> GrantsOf(Rows& rows, std::span<const std::string> names, std::int64_t ticket,
                                Time now) {
  std::vector<LockGrant> grants;
  for (const std::string& name : names) {
    StoredLock& lock = rows.locks().Named(name);
    for (const StoredHolder& holder : lock.holders) {
      if (holder.ticket == ticket && holder.IsLive(now)) grants.push_back(ToGrant(lock, holder));
    }
  }
  return grants;
}

std::vector<LockGrant> TakeTurn(Rows& rows, const AwaitLock& op, const Origin& origin) {
  std::span<const std::string> names = NamesOf(op.request);
  std::vector<LockGrant> grants;
  if (op.request.policy == LockPolicy::kAny) {
    auto is_next = [&](const std::string& name) { return IsNext(rows.locks().Named(name), op); };
    auto turn = std::ranges::find_if(names, is_next);
    if (turn == names.end()) return grants;
    grants.push_back(GrantWaiter(rows, rows.locks().Named(*turn), op.ticket, origin));
    LeaveAll(rows, names, op.ticket, origin);
    return grants;
  }
  for (const std::string& name : names) {
    if (!IsNext(rows.locks().Named(name), op)) return grants;
  }
  for (const std::string& name : names) {
    grants.push_back(GrantWaiter(rows, rows.locks().Named(name), op.ticket, origin));
  }
  // Others that share a lock may be next, now that this one is out of line.
  for (const std::string& name : names) Settle(rows, rows.locks().Named(name), origin);
  return grants;
}

/// The settled locks, if they are free, else a place in line. Errors: deadlock, those of TryAcquire
/// but for busy.
Result<LockOutcome> TakeOrWait(Rows& rows, const AwaitLock& op, Time deadline,
                               const Origin& origin) {
  Result<std::vector<LockGrant>> grants = TryAcquire(rows, op.request, origin);
  if (grants) return LockOutcome{.grants = *std::move(grants)};
  if (grants.error().code != ErrorCode::kBusy) return std::unexpected(std::move(grants).error());
  auto cycle = rows.locks().cycles.find(static_cast<std::size_t>(rows.records().current_operation));
  if (cycle != rows.locks().cycles.end() && !HF_MUTANT(circle_unseen)) {
    std::string path = fmt::format("{}", fmt::join(cycle->second, " waits for "));
    return Fail(ErrorCode::kDeadlock,
                fmt::format("waiting for lock {} would never end: {} waits for {}",
                            NamesOf(op.request).front(), path, cycle->second.front()),
                {.lock = NamesOf(op.request).front(), .cycle = cycle->second});
  }
  return Enqueue(rows, op, deadline, origin);
}

/// It has been in line, and wonders.
Result<LockOutcome> LookAgain(Rows& rows, const AwaitLock& op, const Origin& origin) {
  std::span<const std::string> names = NamesOf(op.request);
  std::vector<LockGrant> grants = GrantsOf(rows, names, op.ticket, origin.now);
  if (!grants.empty()) return LockOutcome{.grants = std::move(grants)};
  if (*op.deadline <= origin.now) {
    LeaveAll(rows, names, op.ticket, origin);
    return LockOutcome{
        .remaining = RemainingOf(rows.locks().Named(names.front()), op.request.mode, origin.now)};
  }
  const bool is_in_line = std::ranges::all_of(names, [&](const std::string& name) {
    return rows.locks().Named(name).waiters.contains(op.ticket);
  });
  // This process was stopped for so long that the others gave it up, or what it was given was
  // broken before it knew: it begins anew.
  if (!is_in_line) {
    LeaveAll(rows, names, op.ticket, origin);
    return TakeOrWait(rows, op, *op.deadline, origin);
  }
  grants = TakeTurn(rows, op, origin);
  if (!grants.empty()) return LockOutcome{.grants = std::move(grants)};
  // A look that finds nothing writes nothing: KeepWaiting alone renews the session.
  return LockOutcome{.ticket = op.ticket, .deadline = op.deadline};
}

std::string DescribeHolders(const StoredLock& lock, Duration remaining) {
  if (lock.holders.empty()) return "is free";
  const std::string time = Rounded(remaining);
  const StoredHolder& first = lock.holders.front();
  if (first.is_delay) return fmt::format("is kept by its lock delay for another {}", time);
  if (lock.holders.size() == 1) {
    return fmt::format("is held by {}: the lease ends in {} unless it is renewed", first.owner,
                       time);
  }
  return fmt::format("is shared by {} holders: it is free in {} unless they renew their leases",
                     lock.holders.size(), time);
}

}  // namespace

std::string Rounded(Duration remaining) {
  if (remaining >= std::chrono::seconds(10)) {
    return base::FormatDuration(std::chrono::ceil<std::chrono::seconds>(remaining));
  }
  return base::FormatDuration(std::chrono::ceil<std::chrono::milliseconds>(remaining));
}

bool IsInTheWay(const StoredHolder& holder, LockMode mode) {
  return mode == LockMode::kExclusive || holder.mode == LockMode::kExclusive;
}

bool Fits(const StoredLock& lock, LockMode mode, std::int64_t limit) {
  for (const StoredHolder& holder : lock.holders) {
    if (IsInTheWay(holder, mode)) return false;
  }
  return limit == 0 || static_cast<std::int64_t>(lock.holders.size()) < limit;
}

Duration RemainingOf(const StoredLock& lock, LockMode mode, Time now) {
  constexpr Duration kLeast = std::chrono::milliseconds(1);
  std::optional<Time> until;
  for (const StoredHolder& holder : lock.holders) {
    const Time end = holder.expires_at + holder.lock_delay;
    if (!until) until = end;
    // Shared, it is enough that one of them goes.
    until = mode == LockMode::kExclusive ? std::max(*until, end) : std::min(*until, end);
  }
  return until ? std::max<Duration>(*until - now, kLeast) : kLeast;
}

std::unexpected<Error> Busy(const StoredLock& lock, LockMode mode, Time now) {
  const Duration remaining = RemainingOf(lock, mode, now);
  std::string message = fmt::format("lock {} {}", lock.name, DescribeHolders(lock, remaining));
  if (!lock.waiters.empty()) message += fmt::format(" ({} in line)", lock.waiters.size());
  return Fail(ErrorCode::kBusy, std::move(message), {.retry_after = remaining, .lock = lock.name});
}

void Settle(Rows& rows, StoredLock& lock, const Origin& origin) {
  ExpireLeases(rows, lock, origin);
  GrantNext(rows, lock, origin);
}

void RemoveDeadWaiters(Rows& rows, StoredLock& lock, Time now) {
  LockRows& locks = rows.locks();
  std::vector<std::int64_t> dead;
  for (const auto& [ticket, waiter] : lock.waiters) {
    if (waiter.session != locks.session && IsDead(locks, waiter, now)) dead.push_back(ticket);
  }
  for (std::int64_t ticket : dead) locks.RemoveWaiter(lock, ticket);
}

Result<LockOutcome> Await(Rows& rows, const AwaitLock& op, const Origin& origin) {
  for (const std::string& name : NamesOf(op.request)) {
    Settle(rows, rows.locks().Named(name), origin);
  }
  if (op.ticket != 0) {
    // Settling wakes whoever is next somewhere. Who looks already need not be woken for it; those
    // it wakes have come before it, so that this ends.
    std::erase(rows.locks().notes.woken, op.waiter);
    return LookAgain(rows, op, origin);
  }
  return TakeOrWait(rows, op, origin.now + op.request.wait.value_or(Duration::zero()), origin);
}

LockOutcome Leave(Rows& rows, const LeaveLock& op, const Origin& origin) {
  std::vector<LockGrant> grants = GrantsOf(rows, op.names, op.ticket, origin.now);
  if (!grants.empty()) return {.grants = std::move(grants)};
  const StoredLock& lock = rows.locks().Named(op.names.front());
  auto place = lock.waiters.find(op.ticket);
  const LockMode mode = place == lock.waiters.end() ? LockMode::kExclusive : place->second.mode;
  LeaveAll(rows, op.names, op.ticket, origin);
  return {.remaining = RemainingOf(lock, mode, origin.now)};
}

}  // namespace holdfast::rules
