#include "history/without_times.h"

#include "rules/limits.h"

namespace holdfast::history {
namespace {

/// Far behind the end of every history.
constexpr Time kForEver{std::chrono::hours(24 * 365 * 200)};

void Blank(std::optional<Time>& time) {
  if (time) time = Time();
}

struct OperationBlanker {
  void operator()(ClaimJob& op) const { op.lease = rules::kLeaseMax; }
  void operator()(RenewJob& op) const { op.lease = rules::kLeaseMax; }
  void operator()(MakeTransfer& op) const { op.timeout.reset(); }
  void operator()(AcquireLock& op) const {
    op.ttl = rules::kLockTtlMax;
    op.lock_delay = {};
    op.wait.reset();
    op.preset.clear();
  }
  void operator()(RenewLock& op) const { op.ttl.reset(); }
  void operator()(auto&) const {}
};

}  // namespace

void WithoutTimes(Job& job) {
  job.run_at = job.created_at = Time();
  Blank(job.started_at);
  Blank(job.finished_at);
  Blank(job.lease_expires_at);
  for (JobError& error : job.errors) error.at = Time();
}

void WithoutTimes(Record& record) {
  record.created_at = record.updated_at = Time();
  record.expires_at.reset();
}

void WithoutTimes(rules::StoredRecord& record) {
  record.created_at = record.updated_at = Time();
  record.expires_at.reset();
}

void WithoutTimes(Transfer& transfer) {
  transfer.created_at = Time();
  transfer.expires_at.reset();
  Blank(transfer.finished_at);
}

void WithoutTimes(LockGrant& grant) {
  grant.acquired_at = grant.expires_at = Time();
  grant.waited = {};
}

void WithoutTimes(Lock& lock) {
  for (LockHolder& holder : lock.holders) holder.acquired_at = holder.expires_at = Time();
  lock.delayed_until.reset();
}

void WithoutTimes(rules::StoredLock& lock) {
  for (rules::StoredHolder& holder : lock.holders) {
    holder.acquired_at = Time();
    holder.expires_at = kForEver;
  }
}

void WithoutTimes(OperationResult& result) {
  if (result.job) WithoutTimes(*result.job);
  if (result.record) WithoutTimes(*result.record);
  if (result.transfer) WithoutTimes(*result.transfer);
  if (result.kind) result.kind->updated_at = Time();
  if (!result.lock) return;
  for (LockGrant& grant : result.lock->grants) WithoutTimes(grant);
  result.lock->ticket = 0;
  result.lock->deadline.reset();
  result.lock->remaining = {};
}

void WithoutTimes(Operation& operation) {
  std::visit(OperationBlanker(), operation);
}

}  // namespace holdfast::history
