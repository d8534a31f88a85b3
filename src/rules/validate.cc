#include "rules/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/result.h"
#include "base/text.h"
#include "base/utf8.h"
#include "rules/limits.h"
#include "rules/names.h"
#include "rules/rows.h"

namespace holdfast::rules {

Result<void> CheckText(std::string_view what, std::string_view text, std::size_t least,
                       std::size_t most) {
  if (text.size() < least) return Invalid(fmt::format("{} is empty (1-{} bytes)", what, most));
  if (text.size() > most) {
    return Invalid(fmt::format("{} has {} bytes (at most {})", what, text.size(), most));
  }
  if (base::IsStorable(text)) return {};
  return Invalid(
      fmt::format("{} {}", what, base::IsUtf8(text) ? "has a NUL character" : "is not UTF-8"));
}

Result<void> CheckSize(std::string_view what, std::string_view text, std::size_t most) {
  if (text.size() <= most) return {};
  return Fail(ErrorCode::kPayloadTooLarge,
              fmt::format("{} has {} bytes (at most {})", what, text.size(), most));
}

Result<void> CheckRange(std::string_view what, std::int64_t value, std::int64_t least,
                        std::int64_t most) {
  if (value >= least && value <= most) return {};
  return Invalid(fmt::format("{} is {} ({} to {})", what, value, least, most));
}

Result<void> CheckRange(std::string_view what, Duration value, Duration least, Duration most) {
  if (value >= least && value <= most) return {};
  return Invalid(fmt::format("{} is {} ({} to {})", what,
                             value < Duration::zero() ? "negative" : base::FormatDuration(value),
                             base::FormatDuration(least), base::FormatDuration(most)));
}

Result<void> CheckTime(std::string_view what, const std::optional<Time>& time) {
  constexpr auto kFirst = Time(std::chrono::sys_days(std::chrono::year(1970) / 1 / 1));
  constexpr auto kLast = Time(std::chrono::sys_days(std::chrono::year(9999) / 12 / 31));
  if (!time || (*time >= kFirst && *time <= kLast)) return {};
  return Invalid(fmt::format("{} is out of range (the years 1970 to 9999)", what));
}

namespace {

Result<void> CheckLease(Duration lease) {
  return CheckRange("lease", lease, kLeaseMin, kLeaseMax);
}

Result<void> CheckRetry(const RetryDelay& retry) {
  HF_RETURN_IF_ERROR(CheckRange("retry.initial", retry.initial, Duration::zero(), kDelayMax));
  HF_RETURN_IF_ERROR(CheckRange("retry.max", retry.max, Duration::zero(), kDelayMax));
  if (!(retry.factor >= 1 && retry.factor <= 1000)) {
    return Invalid(fmt::format("retry.factor is {} (1 to 1000)", retry.factor));
  }
  if (!(retry.jitter >= 0 && retry.jitter <= 1)) {
    return Invalid(fmt::format("retry.jitter is {} (0 to 1)", retry.jitter));
  }
  return {};
}

Result<void> CheckUnique(const UniqueKey& unique) {
  HF_RETURN_IF_ERROR(CheckText("unique.key", unique.key, 1, kUniqueKeyBytes));
  if (!unique.states.HasAll(kLiveStates)) {
    return Invalid("unique.states must include scheduled, pending and processing");
  }
  return {};
}

Result<void> Check(const EnqueueJob& op) {
  const JobSpec& spec = op.spec;
  HF_RETURN_IF_ERROR(CheckName("kind", spec.kind));
  HF_RETURN_IF_ERROR(CheckName("queue", spec.queue));
  HF_RETURN_IF_ERROR(CheckSize("payload", spec.payload, kPayloadBytes));
  HF_RETURN_IF_ERROR(CheckSize("metadata", spec.metadata, kMetadataBytes));
  HF_RETURN_IF_ERROR(CheckRange("priority", spec.priority, 0, kLowestPriority));
  HF_RETURN_IF_ERROR(CheckRange("max_attempts", spec.max_attempts, 1, kAttempts));
  if (spec.run_at && spec.delay) return Invalid("run_at and delay exclude each other");
  if (spec.delay) {
    HF_RETURN_IF_ERROR(CheckRange("delay", *spec.delay, Duration::zero(), kDelayMax));
  }
  HF_RETURN_IF_ERROR(CheckTime("run_at", spec.run_at));
  if (spec.retry) HF_RETURN_IF_ERROR(CheckRetry(*spec.retry));
  if (spec.unique) HF_RETURN_IF_ERROR(CheckUnique(*spec.unique));
  if (spec.tags.size() > kTags) {
    return Invalid(fmt::format("tags has {} entries (at most {})", spec.tags.size(), kTags));
  }
  for (const std::string& tag : spec.tags) {
    HF_RETURN_IF_ERROR(CheckText("tag", tag, 1, kOwnerBytes));
  }
  return {};
}

Result<void> Check(const ClaimJob& op) {
  HF_RETURN_IF_ERROR(CheckText("worker", op.worker, 1, kOwnerBytes));
  return CheckLease(op.lease);
}

Result<void> Check(const CompleteJob& op) {
  return op.result ? CheckSize("result", *op.result, kResultBytes) : Result<void>{};
}

Result<void> Check(const FailJob& op) {
  if (!op.retry_in) return {};
  return CheckRange("retry_in", *op.retry_in, Duration::zero(), kDelayMax);
}

Result<void> Check(const SnoozeJob& op) {
  return CheckRange("delay", op.delay, Duration::zero(), kDelayMax);
}

Result<void> Check(const RenewJob& op) {
  return CheckLease(op.lease);
}

Result<void> Check(const ProgressJob& op) {
  if (!(op.progress >= 0 && op.progress <= 1)) {
    return Invalid(fmt::format("progress is {} (0 to 1)", op.progress));
  }
  return CheckText("message", op.message, 0, kMessageBytes);
}

Result<void> Check(const SetQueue& op) {
  HF_RETURN_IF_ERROR(CheckName("queue", op.name));
  constexpr std::int64_t kMost = 1'000'000'000'000;
  if (op.max_pending && *op.max_pending) {
    HF_RETURN_IF_ERROR(CheckRange("max_pending", **op.max_pending, 0, kMost));
  }
  if (op.max_running && *op.max_running) {
    HF_RETURN_IF_ERROR(CheckRange("max_running", **op.max_running, 0, kMost));
  }
  if (op.retain_completed) {
    HF_RETURN_IF_ERROR(
        CheckRange("retain_completed", *op.retain_completed, Duration::zero(), kRetainMax));
  }
  if (op.retain_failed) {
    HF_RETURN_IF_ERROR(
        CheckRange("retain_failed", *op.retain_failed, Duration::zero(), kRetainMax));
  }
  return {};
}

// release, cancel, retry and delete name only an id (and a token), which may be any number; the
// operations on records and on locks have files of their own.
Result<void> Check(const auto&) {
  return {};
}

Result<void> CheckLimit(int limit) {
  return CheckRange("limit", limit, 1, kPageItems);
}

}  // namespace

Result<void> Validate(const Batch& batch) {
  if (batch.operations.empty()) return Invalid("the batch has no operations (1 to 1000)");
  if (batch.operations.size() > kOperations) {
    return Invalid(fmt::format("the batch has {} operations (at most {})", batch.operations.size(),
                               kOperations));
  }
  if (batch.guards.size() > kGuards) {
    return Invalid(
        fmt::format("the batch has {} guards (at most {})", batch.guards.size(), kGuards));
  }
  HF_RETURN_IF_ERROR(CheckText("idempotency key", batch.idempotency_key, 0, kIdempotencyKeyBytes));
  if (!batch.held.empty()) return Invalid("held is set by the store (acquire the locks, or wait)");
  HF_RETURN_IF_ERROR(CheckRange("wait", batch.wait, Duration::zero(), kLockWaitMax));
  for (std::size_t i = 0; i < batch.guards.size(); ++i) {
    Result<void> valid = CheckLockGuard(batch.guards[i]);
    if (!valid) {
      valid.error().detail.guard = static_cast<std::int64_t>(i);
      return valid;
    }
  }
  for (std::size_t i = 0; i < batch.operations.size(); ++i) {
    Result<void> valid =
        std::visit([](const auto& operation) { return Check(operation); }, batch.operations[i]);
    if (valid) valid = CheckRecordOperation(batch.operations[i]);
    if (valid) valid = CheckLockOperation(batch.operations[i]);
    if (!valid) {
      valid.error().detail.operation = static_cast<std::int64_t>(i);
      return valid;
    }
  }
  return CheckRecordOrder(batch);
}

Result<void> Validate(const ClaimRequest& request) {
  HF_RETURN_IF_ERROR(CheckText("worker", request.worker, 1, kOwnerBytes));
  HF_RETURN_IF_ERROR(CheckRange("max", request.max, 1, kClaimJobs));
  HF_RETURN_IF_ERROR(CheckLease(request.lease));
  HF_RETURN_IF_ERROR(CheckRange("wait", request.wait, Duration::zero(), kClaimWait));
  if (request.queues.size() > kClaimQueues) {
    return Invalid(
        fmt::format("queues has {} entries (at most {})", request.queues.size(), kClaimQueues));
  }
  for (const std::string& queue : request.queues) HF_RETURN_IF_ERROR(CheckName("queue", queue));
  if (request.kinds.size() > kClaimKinds) {
    return Invalid(
        fmt::format("kinds has {} entries (at most {})", request.kinds.size(), kClaimKinds));
  }
  for (const std::string& kind : request.kinds) HF_RETURN_IF_ERROR(CheckName("kind", kind));
  return {};
}

Result<void> Validate(const JobFilter& filter) {
  if (!filter.queue.empty()) HF_RETURN_IF_ERROR(CheckName("queue", filter.queue));
  if (!filter.kind.empty()) HF_RETURN_IF_ERROR(CheckName("kind", filter.kind));
  HF_RETURN_IF_ERROR(ParseCursor(filter.cursor));
  return CheckLimit(filter.limit);
}

Result<void> Validate(const QueueFilter& filter) {
  if (!filter.cursor.empty() && !CheckName("cursor", filter.cursor)) {
    return Invalid("the cursor is not one that this store gave out");
  }
  return CheckLimit(filter.limit);
}

Result<void> Validate(const AuditFilter& filter) {
  HF_RETURN_IF_ERROR(CheckText("target", filter.target, 0, kTargetBytes));
  HF_RETURN_IF_ERROR(CheckText("actor", filter.actor, 0, kOwnerBytes));
  HF_RETURN_IF_ERROR(CheckText("operation", filter.operation, 0, kNameBytes));
  HF_RETURN_IF_ERROR(CheckTime("since", filter.since));
  HF_RETURN_IF_ERROR(CheckTime("until", filter.until));
  HF_RETURN_IF_ERROR(ParseCursor(filter.cursor));
  return CheckLimit(filter.limit);
}

Result<void> Validate(const Context& context) {
  HF_RETURN_IF_ERROR(CheckText("actor", context.actor, 0, kOwnerBytes));
  return CheckText("correlation id", context.correlation_id, 0, kOwnerBytes);
}

Result<std::int64_t> ParseCursor(std::string_view cursor) {
  if (cursor.empty()) return 0;
  if (auto id = base::ParseInteger(cursor)) return *id;
  return Invalid("the cursor is not one that this store gave out");
}

}  // namespace holdfast::rules
