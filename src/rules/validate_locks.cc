// The limits of what may be asked of locks.
#include <fmt/format.h>

#include <set>

#include "base/result.h"
#include "rules/limits.h"
#include "rules/names.h"
#include "rules/validate.h"

namespace holdfast::rules {
namespace {

Result<void> CheckTtl(const std::optional<Duration>& ttl) {
  return ttl ? CheckRange("ttl", *ttl, kLockTtlMin, kLockTtlMax) : Result<void>{};
}

Result<void> CheckNames(const AcquireLock& op) {
  if (op.names.empty()) return CheckLockName(op.name);
  if (!op.name.empty()) return Invalid("name and names exclude each other");
  if (op.names.size() > kLockNames) {
    return Invalid(fmt::format("names has {} entries (at most {})", op.names.size(), kLockNames));
  }
  std::set<std::string_view> seen;
  for (const std::string& name : op.names) {
    HF_RETURN_IF_ERROR(CheckLockName(name));
    if (!seen.insert(name).second) return Invalid(fmt::format("names has {} twice", name));
  }
  return {};
}

Result<void> CheckAcquire(const AcquireLock& op) {
  HF_RETURN_IF_ERROR(CheckNames(op));
  HF_RETURN_IF_ERROR(CheckText("preset", op.preset, 0, kNameBytes));
  HF_RETURN_IF_ERROR(CheckText("owner", op.owner, 1, kOwnerBytes));
  HF_RETURN_IF_ERROR(CheckTtl(op.ttl));
  HF_RETURN_IF_ERROR(CheckRange("lock_delay", op.lock_delay, Duration::zero(), kLockDelayMax));
  if (!op.limit) return {};
  if (op.mode == LockMode::kExclusive) return Invalid("limit is for shared locks");
  return CheckRange("limit", *op.limit, 1, kLockLimitMost);
}

struct LockChecker {
  Result<void> operator()(const AcquireLock& op) {
    if (op.wait && *op.wait > Duration::zero()) {
      return Invalid("wait: a batch does not wait for a lock (acquire it first)");
    }
    return CheckAcquire(op);
  }
  Result<void> operator()(const RenewLock& op) {
    HF_RETURN_IF_ERROR(CheckLockName(op.name));
    return CheckTtl(op.ttl);
  }
  Result<void> operator()(const ReleaseLock& op) { return CheckLockName(op.name); }
  Result<void> operator()(const BreakLock& op) {
    HF_RETURN_IF_ERROR(CheckLockName(op.name));
    return CheckText("reason", op.reason, 1, kReasonBytes);
  }
  Result<void> operator()(const AwaitLock&) { return OfTheStore(); }
  Result<void> operator()(const LeaveLock&) { return OfTheStore(); }
  Result<void> operator()(const KeepWaiting&) { return OfTheStore(); }
  Result<void> operator()(const auto&) { return {}; }

 private:
  static Result<void> OfTheStore() {
    return Invalid("waiting is no operation of a batch: see Store::Acquire");
  }
};

}  // namespace

Result<void> CheckLockOperation(const Operation& operation) {
  return std::visit(LockChecker{}, operation);
}

Result<void> CheckLockGuard(const Guard& guard) {
  const auto* of_lock = std::get_if<LockGuard>(&guard);
  return of_lock != nullptr ? CheckLockName(of_lock->name) : Result<void>{};
}

Result<void> Validate(const AcquireLock& request) {
  if (request.wait) {
    HF_RETURN_IF_ERROR(CheckRange("wait", *request.wait, Duration::zero(), kLockWaitMax));
  }
  return CheckAcquire(request);
}

Result<void> Validate(const LockFilter& filter) {
  HF_RETURN_IF_ERROR(CheckText("prefix", filter.prefix, 0, kLockNameBytes));
  HF_RETURN_IF_ERROR(CheckText("owner", filter.owner, 0, kOwnerBytes));
  HF_RETURN_IF_ERROR(CheckText("cursor", filter.cursor, 0, kLockNameBytes));
  return CheckRange("limit", filter.limit, 1, kPageItems);
}

}  // namespace holdfast::rules
