// Locks: acquire, renew, release, break, and the guards on them (LOCK-1 to LOCK-9). How requests
// wait in line is in lock_waits.cc.
#include "rules/locks.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/json_writer.h"
#include "base/mutant.h"
#include "base/result.h"
#include "base/text.h"
#include "rules/jobs.h"
#include "rules/limits.h"
#include "rules/lock_waits.h"
#include "rules/record_rows.h"

namespace holdfast::rules {
namespace {

std::string OwnerDetails(std::string_view owner, std::string_view reason = {}) {
  base::JsonWriter json;
  json.BeginObject();
  json.Field("owner", owner);
  if (!reason.empty()) json.Field("reason", reason);
  json.EndObject();
  return std::move(json).Take();
}

std::string_view StatusOf(const StoredLock& lock) {
  if (lock.holders.empty()) return "free";
  const StoredHolder& first = lock.holders.front();
  return first.is_delay ? "delayed" : NameOf(first.mode);
}

void AuditLock(Rows& rows, const Origin& origin, std::string_view operation, const StoredLock& lock,
               std::string_view old_status, Token token, std::string details) {
  WriteAudit(rows, origin,
             {.operation = operation,
              .target = "lock/" + lock.name,
              .old_status = old_status,
              .new_status = StatusOf(lock),
              .token = token,
              .details = std::move(details)});
}

/// All who share a lock agree on how many may: otherwise it would hold for some of them only.
Result<void> CheckLimit(const StoredLock& lock, const AcquireLock& request) {
  if (request.mode != LockMode::kShared) return {};
  const std::int64_t limit = request.limit.value_or(0);
  auto check = [&](LockMode mode, std::int64_t other) -> Result<void> {
    if (mode != LockMode::kShared || other == limit) return {};
    auto name_of = [](std::int64_t n) { return n == 0 ? "no limit" : fmt::format("limit {}", n); };
    return Fail(
        ErrorCode::kInvalidArgument,
        fmt::format("lock {} is shared with {}, not {}", lock.name, name_of(other), name_of(limit)),
        {.lock = lock.name});
  };
  for (const StoredHolder& holder : lock.holders) {
    if (holder.mode == LockMode::kShared) return check(holder.mode, holder.limit);
  }
  for (const auto& [ticket, waiter] : lock.waiters) {
    if (waiter.mode == LockMode::kShared) return check(waiter.mode, waiter.limit);
  }
  return {};
}

/// The lease by which this owner has the lock to itself already, or nothing.
const StoredHolder* OwnLease(const StoredLock& lock, const AcquireLock& request) {
  for (const StoredHolder& holder : lock.holders) {
    if (holder.owner == request.owner && holder.mode == LockMode::kExclusive && !holder.is_delay) {
      return &holder;
    }
  }
  return nullptr;
}

/// The lease, if it is good. Errors: fenced.
Result<StoredHolder*> FindHeld(StoredLock& lock, Token token, Time now) {
  StoredHolder* holder = lock.FindHolder(token);
  const Time until = HF_MUTANT(lease_a_tick_longer) ? now - Duration(1) : now;
  if (holder != nullptr && holder->IsLive(until)) return holder;
  auto live = std::ranges::find_if(lock.holders, [&](const auto& h) { return h.IsLive(now); });
  std::string why = holder != nullptr ? "that lease has ended"
                    : live != lock.holders.end()
                        ? fmt::format("{} holds it under token {}", live->owner, live->token)
                        : "nobody holds it";
  return Fail(
      ErrorCode::kFenced,
      fmt::format("lock {} is not held under token {}: {}; stop the work", lock.name, token, why),
      {.lock = lock.name});
}

/// Ends a lease that is good, under no lock delay.
LockGrant EndLease(Rows& rows, StoredLock& lock, Token token, std::string_view operation,
                   std::string_view reason, const Origin& origin) {
  const std::string_view old_status = StatusOf(lock);
  LockGrant grant = ToGrant(lock, *lock.FindHolder(token));
  grant.expires_at = origin.now;
  rows.locks().RemoveHolder(lock, token);
  const Token noted = reason.empty() ? token : ++rows.counters.last_token;
  AuditLock(rows, origin, operation, lock, old_status, noted, OwnerDetails(grant.owner, reason));
  return grant;
}

Result<LockGrant> Release(Rows& rows, std::string_view name, Token token, const Origin& origin) {
  StoredLock& lock = rows.locks().Named(name);
  if (HF_MUTANT(release_by_name) && !lock.holders.empty()) token = lock.holders.front().token;
  HF_RETURN_IF_ERROR(FindHeld(lock, token, origin.now));
  LockGrant grant = EndLease(rows, lock, token, "lock.release", {}, origin);
  Settle(rows, lock, origin);
  return grant;
}

/// Whether an earlier operation of this batch granted it.
bool IsGrantOf(Rows& rows, Token token) {
  return std::ranges::any_of(rows.locks().outcomes, [&](const LockOutcome& outcome) {
    return std::ranges::find(outcome.grants, token, &LockGrant::token) != outcome.grants.end();
  });
}

Result<std::vector<LockGrant>> AcquireAll(Rows& rows, const AcquireLock& request,
                                          const Origin& origin) {
  for (const std::string& name : NamesOf(request)) {
    StoredLock& lock = rows.locks().Named(name);
    if (const StoredHolder* own = OwnLease(lock, request)) {
      if (IsGrantOf(rows, own->token)) {
        // Taken back with the batch: its token would be that of no lease.
        return Fail(ErrorCode::kAlreadyExists,
                    fmt::format("the batch acquires lock {} twice for {}", name, request.owner),
                    {.lock = name});
      }
      return Fail(
          ErrorCode::kAlreadyExists,
          fmt::format("{} holds lock {} already, under token {}", request.owner, name, own->token),
          {.id = own->token, .lock = name});
    }
    const bool overtakes = HF_MUTANT(writer_starves) && request.mode == LockMode::kShared;
    if ((!lock.waiters.empty() && !overtakes) ||
        !Fits(lock, request.mode, request.limit.value_or(0))) {
      return Busy(lock, request.mode, origin.now);
    }
  }
  std::vector<LockGrant> grants;
  for (const std::string& name : NamesOf(request)) {
    grants.push_back(Grant(rows, rows.locks().Named(name), request, origin));
  }
  return grants;
}

Result<std::vector<LockGrant>> AcquireAny(Rows& rows, const AcquireLock& request,
                                          const Origin& origin) {
  for (const std::string& name : NamesOf(request)) {
    StoredLock& lock = rows.locks().Named(name);
    if (!lock.waiters.empty() || !Fits(lock, request.mode, request.limit.value_or(0))) continue;
    return std::vector<LockGrant>{Grant(rows, lock, request, origin)};
  }
  Duration soonest = kLockTtlMax + kLockDelayMax;
  for (const std::string& name : NamesOf(request)) {
    soonest = std::min(soonest, RemainingOf(rows.locks().Named(name), request.mode, origin.now));
  }
  return Fail(ErrorCode::kBusy,
              fmt::format("none of {} locks is free, {} and others: the first lease ends in {} "
                          "unless it is renewed",
                          NamesOf(request).size(), NamesOf(request).front(), Rounded(soonest)),
              {.retry_after = soonest, .lock = NamesOf(request).front()});
}

OperationOutcome Outcome(Rows& rows, LockOutcome outcome) {
  rows.locks().outcomes.push_back(std::move(outcome));
  return {.lock = static_cast<int>(rows.locks().outcomes.size()) - 1};
}

}  // namespace

std::span<const std::string> NamesOf(const AcquireLock& request) {
  if (request.names.empty()) return {&request.name, 1};
  return request.names;
}

LockGrant Grant(Rows& rows, StoredLock& lock, const AcquireLock& request, const Origin& origin) {
  return Grant(rows, lock,
               StoredHolder{.owner = request.owner,
                            .mode = request.mode,
                            .limit = request.limit.value_or(0),
                            .ttl = request.ttl.value_or(kLockTtl),
                            .lock_delay = request.lock_delay},
               origin);
}

LockGrant Grant(Rows& rows, StoredLock& lock, StoredHolder lease, const Origin& origin) {
  const std::string_view old_status = StatusOf(lock);
  lease.token = HF_MUTANT(token_before_grant) && lease.ticket != 0 ? lease.ticket
                                                                   : ++rows.counters.last_token;
  lease.acquired_at = origin.now;
  lease.expires_at = origin.now + lease.ttl;
  const StoredHolder& holder = rows.locks().AddHolder(lock, std::move(lease));
  rows.NoteDue(holder.expires_at);
  AuditLock(rows, origin, "lock.acquire", lock, old_status, holder.token,
            OwnerDetails(holder.owner));
  return ToGrant(lock, holder);
}

Result<std::vector<LockGrant>> TryAcquire(Rows& rows, const AcquireLock& request,
                                          const Origin& origin) {
  for (const std::string& name : NamesOf(request)) {
    HF_RETURN_IF_ERROR(CheckLimit(rows.locks().Named(name), request));
  }
  return request.policy == LockPolicy::kAny ? AcquireAny(rows, request, origin)
                                            : AcquireAll(rows, request, origin);
}

void ExpireLeases(Rows& rows, StoredLock& lock, const Origin& origin) {
  // What time has done nobody did.
  Origin nobody = origin;
  nobody.actor = "holdfast";
  nobody.correlation_id = {};
  nobody.lock_wait = {};
  for (std::size_t i = 0; i < lock.holders.size();) {
    StoredHolder& holder = lock.holders[i];
    if (holder.due_at() > origin.now) {
      ++i;
      continue;
    }
    const bool has_run_out = !holder.is_delay;
    const bool is_over = holder.expires_at + holder.lock_delay <= origin.now;
    const std::string_view old_status = StatusOf(lock);
    LockGrant grant = ToGrant(lock, holder);
    if (is_over) {
      rows.locks().RemoveHolder(lock, grant.token);
    } else {
      rows.locks().Edit(lock, holder).is_delay = true;
      rows.NoteDue(holder.due_at());
      ++i;
    }
    if (!has_run_out) continue;
    AuditLock(rows, nobody, "lock.expire", lock, old_status, grant.token,
              OwnerDetails(grant.owner));
    rows.locks().notes.expired.push_back(std::move(grant));
  }
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const AcquireLock& op, const Origin& origin) {
  for (const std::string& name : NamesOf(op)) Settle(rows, rows.locks().Named(name), origin);
  HF_ASSIGN_OR_RETURN(std::vector<LockGrant> grants, TryAcquire(rows, op, origin));
  return Outcome(rows, {.grants = std::move(grants)});
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const RenewLock& op, const Origin& origin) {
  StoredLock& lock = rows.locks().Named(op.name);
  const Time now = HF_MUTANT(renewal_revives) ? Time::min() : origin.now;
  HF_ASSIGN_OR_RETURN(StoredHolder * held, FindHeld(lock, op.token, now));
  StoredHolder& holder = rows.locks().Edit(lock, *held);
  if (op.ttl) holder.ttl = *op.ttl;
  holder.expires_at = origin.now + holder.ttl;
  rows.NoteDue(holder.expires_at);
  return Outcome(rows, {.grants = {ToGrant(lock, holder)}});
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const ReleaseLock& op, const Origin& origin) {
  HF_ASSIGN_OR_RETURN(LockGrant grant, Release(rows, op.name, op.token, origin));
  return Outcome(rows, {.grants = {std::move(grant)}});
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const BreakLock& op, const Origin& origin) {
  StoredLock& lock = rows.locks().Named(op.name);
  std::vector<Token> tokens;
  for (const StoredHolder& holder : lock.holders) {
    if (holder.IsLive(origin.now) && (!op.token || holder.token == *op.token)) {
      tokens.push_back(holder.token);
    }
  }
  if (tokens.empty()) {
    return Fail(ErrorCode::kNotFound,
                op.token ? fmt::format("nobody holds lock {} under token {}", op.name, *op.token)
                         : fmt::format("nobody holds lock {}", op.name),
                {.lock = op.name});
  }
  LockOutcome outcome;
  for (Token token : tokens) {
    outcome.grants.push_back(EndLease(rows, lock, token, "lock.break", op.reason, origin));
  }
  Settle(rows, lock, origin);
  return Outcome(rows, std::move(outcome));
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const AwaitLock& op, const Origin& origin) {
  HF_ASSIGN_OR_RETURN(LockOutcome outcome, Await(rows, op, origin));
  return Outcome(rows, std::move(outcome));
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const LeaveLock& op, const Origin& origin) {
  return Outcome(rows, Leave(rows, op, origin));
}

Result<OperationOutcome> ApplyOperation(Rows& rows, const KeepWaiting&, const Origin&) {
  rows.locks().renews_session = true;
  return OperationOutcome{};
}

Result<void> CheckGuard(Rows& rows, const LockGuard& guard, const Origin& origin) {
  if (HF_MUTANT(lock_guard_unchecked)) return {};
  HF_RETURN_IF_ERROR(FindHeld(rows.locks().Named(guard.name), guard.token, origin.now));
  return {};
}

Result<void> CheckHeld(Rows& rows, const Batch& batch, const Origin& origin) {
  for (const LockGuard& held : batch.held) {
    HF_RETURN_IF_ERROR(FindHeld(rows.locks().Named(held.name), held.token, origin.now));
  }
  return {};
}

Result<void> GiveBackHeld(Rows& rows, const Batch& batch, const Origin& origin) {
  for (const LockGuard& held : batch.held) {
    HF_RETURN_IF_ERROR(Release(rows, held.name, held.token, origin));
  }
  return {};
}

Result<void> CheckRecordLocks(Rows& rows, const Batch& batch, Token last_token,
                              const Origin& origin) {
  if (rows.locks().locks().empty() || HF_MUTANT(locked_record_written)) return {};
  auto is_ours = [&](const StoredLock& lock, Token token) {
    const LockGuard wanted{lock.name, token};
    return std::ranges::find(batch.held, wanted) != batch.held.end() ||
           std::ranges::any_of(batch.guards, [&](const Guard& guard) {
             const auto* of_lock = std::get_if<LockGuard>(&guard);
             return of_lock != nullptr && *of_lock == wanted;
           });
  };
  for (const auto& [key, row] : rows.records().records()) {
    if (!row.is_written) continue;
    const StoredLock* lock = rows.locks().Find(LockNameOf(key));
    if (lock == nullptr) continue;
    for (const StoredHolder& holder : lock->holders) {
      if (!holder.IsLive(origin.now) || holder.token > last_token) continue;
      if (is_ours(*lock, holder.token)) continue;
      Error error = Busy(*lock, LockMode::kExclusive, origin.now).error();
      error.detail.record = ToString(key);
      if (row.operation >= 0) error.detail.operation = row.operation;
      return std::unexpected(std::move(error));
    }
  }
  return {};
}

}  // namespace holdfast::rules
