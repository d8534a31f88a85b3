// Rows of engines that keep them in SQL tables: the columns, and how they are read. The tables of
// each have columns of its own besides, for its indexes.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <string>
#include <string_view>

#include "base/result.h"
#include "holdfast/audit.h"
#include "holdfast/queue.h"
#include "holdfast/record.h"
#include "rules/lock_rows.h"
#include "rules/rows.h"
#include "wire/decode.h"

namespace holdfast::engine {

/// The row of an answer, whose columns count from 0. A text is good for as long as the row is; that
/// of NULL is empty.
template <typename R>
concept SqlRow = requires(const R& row, int column) {
  { row.IsNull(column) } -> std::same_as<bool>;
  { row.Integer(column) } -> std::same_as<std::int64_t>;
  { row.Bool(column) } -> std::same_as<bool>;
  { row.Real(column) } -> std::same_as<double>;
  { row.Text(column) } -> std::same_as<std::string_view>;
  { row.TimeAt(column) } -> std::same_as<Time>;
  { row.OptionalTime(column) } -> std::same_as<std::optional<Time>>;
  { row.OptionalInteger(column) } -> std::same_as<std::optional<std::int64_t>>;
};

// The columns in the order in which the readers below expect them. Those of a queue are its name,
// its settings, and its counts in the order of the states.

inline constexpr const char* kJobColumns =
    "id, queue, kind, state, priority, run_at, attempt, max_attempts, token, worker, "
    "lease_expires_at, lease_expiries, cancel_requested, created_at, started_at, finished_at, "
    "unique_key, unique_states, parent, progress, message, tags, metadata, errors, retry, result, "
    "payload";

inline constexpr const char* kRecordColumns =
    "kind, id, version, status, parent_kind, parent_id, created_at, updated_at, updated_by, "
    "expires_at, reserved, children, data, fence";

inline constexpr const char* kKindColumns = "name, version, rules, updated_at, updated_by";

inline constexpr const char* kTransferColumns =
    "id, from_kind, from_id, to_kind, to_id, path, amount, posted, state, created_at, expires_at, "
    "finished_at, created_by";

inline constexpr const char* kHolderColumns =
    "name, slot, token, owner, mode, holder_limit, ttl_us, lock_delay_us, acquired_at, expires_at, "
    "waited_us, ticket, is_delay";

inline constexpr const char* kWaiterColumns =
    "name, ticket, waiter, session, owner, mode, holder_limit, ttl_us, lock_delay_us, policy, "
    "has_others, since, deadline, actor, correlation_id";

inline constexpr const char* kAuditColumns =
    "sequence, at, actor, operation, target, old_status, new_status, token, lock_wait_us, "
    "commit_us, correlation_id, details, error, count, old_version, new_version";

/// The column retained_as: which retention a finished job has; empty for a live one.
inline std::string_view RetainedAs(JobState state) {
  if (kLiveStates.Has(state)) return {};
  return NameOf(state == JobState::kFailed ? JobState::kFailed : JobState::kCompleted);
}

// Errors of all of these: corrupt.

template <SqlRow R>
Result<Job> ReadJob(const R& row) {
  Job job;
  job.id = row.Integer(0);
  job.queue = row.Text(1);
  job.kind = row.Text(2);
  std::optional<JobState> state = ParseJobState(row.Text(3));
  if (!state) return Fail(ErrorCode::kCorrupt, fmt::format("job {} has no known state", job.id));
  job.state = *state;
  job.priority = static_cast<int>(row.Integer(4));
  job.run_at = row.TimeAt(5);
  job.attempt = static_cast<int>(row.Integer(6));
  job.max_attempts = static_cast<int>(row.Integer(7));
  job.token = row.Integer(8);
  job.worker = row.Text(9);
  job.lease_expires_at = row.OptionalTime(10);
  job.lease_expiries = static_cast<int>(row.Integer(11));
  job.cancel_requested = row.Bool(12);
  job.created_at = row.TimeAt(13);
  job.started_at = row.OptionalTime(14);
  job.finished_at = row.OptionalTime(15);
  job.unique_key = row.Text(16);
  job.unique_states = JobStates::FromBits(static_cast<std::uint8_t>(row.Integer(17)));
  job.parent = row.OptionalInteger(18);
  if (!row.IsNull(19)) job.progress = row.Real(19);
  job.message = row.Text(20);
  if (!row.IsNull(21)) {
    HF_ASSIGN_OR_RETURN(job.tags, wire::DecodeTags(row.Text(21)));
  }
  job.metadata = row.IsNull(22) ? std::string_view("{}") : row.Text(22);
  if (!row.IsNull(23)) {
    HF_ASSIGN_OR_RETURN(job.errors, wire::DecodeErrors(row.Text(23)));
  }
  if (!row.IsNull(24)) {
    HF_ASSIGN_OR_RETURN(job.retry, wire::DecodeRetry(row.Text(24)));
  }
  if (!row.IsNull(25)) job.result = row.Text(25);
  job.payload = row.Text(26);
  return job;
}

template <SqlRow R>
Queue ReadQueue(const R& row) {
  Queue queue;
  queue.name = row.Text(0);
  queue.paused = row.Bool(1);
  queue.max_pending = row.OptionalInteger(2);
  queue.max_running = row.OptionalInteger(3);
  queue.audit = row.Bool(4);
  queue.retain_completed = Duration(row.Integer(5));
  queue.retain_failed = Duration(row.Integer(6));
  for (std::size_t i = 0; i < kJobStateCount; ++i) {
    queue.counts[i] = row.Integer(7 + static_cast<int>(i));
  }
  return queue;
}

template <SqlRow R>
Result<Record> ReadRecord(const R& row) {
  Record record;
  record.kind = row.Text(0);
  record.id = row.Text(1);
  record.version = row.Integer(2);
  record.status = row.Text(3);
  if (!row.IsNull(4)) {
    record.parent = RecordKey{std::string(row.Text(4)), std::string(row.Text(5))};
  }
  record.created_at = row.TimeAt(6);
  record.updated_at = row.TimeAt(7);
  record.updated_by = row.Text(8);
  record.expires_at = row.OptionalTime(9);
  if (!row.IsNull(10)) {
    HF_ASSIGN_OR_RETURN(record.reserved, wire::DecodeReservations(row.Text(10)));
  }
  if (!row.IsNull(11)) {
    HF_ASSIGN_OR_RETURN(record.children, wire::DecodeChildren(row.Text(11)));
  }
  record.data = row.Text(12);
  record.fence = row.Integer(13);
  return record;
}

template <SqlRow R>
Kind ReadKind(const R& row) {
  return {.name = std::string(row.Text(0)),
          .version = row.Integer(1),
          .rules = std::string(row.Text(2)),
          .updated_at = row.TimeAt(3),
          .updated_by = std::string(row.Text(4))};
}

template <SqlRow R>
Result<Transfer> ReadTransfer(const R& row) {
  Transfer transfer;
  transfer.id = row.Integer(0);
  transfer.from = {std::string(row.Text(1)), std::string(row.Text(2))};
  transfer.to = {std::string(row.Text(3)), std::string(row.Text(4))};
  transfer.path = row.Text(5);
  transfer.amount = row.Integer(6);
  transfer.posted = row.Integer(7);
  std::optional<TransferState> state = ParseTransferState(row.Text(8));
  if (!state) {
    return Fail(ErrorCode::kCorrupt, fmt::format("transfer {} has no known state", transfer.id));
  }
  transfer.state = *state;
  transfer.created_at = row.TimeAt(9);
  transfer.expires_at = row.OptionalTime(10);
  transfer.finished_at = row.OptionalTime(11);
  transfer.created_by = row.Text(12);
  return transfer;
}

template <SqlRow R>
Result<LockMode> ModeOf(const R& row, int column) {
  if (auto mode = ParseLockMode(row.Text(column))) return *mode;
  return Fail(ErrorCode::kCorrupt, fmt::format("lock {} has no known mode", row.Text(0)));
}

template <SqlRow R>
Result<rules::StoredHolder> ReadHolder(const R& row) {
  HF_ASSIGN_OR_RETURN(LockMode mode, ModeOf(row, 4));
  return rules::StoredHolder{.token = row.Integer(2),
                             .owner = std::string(row.Text(3)),
                             .mode = mode,
                             .limit = row.Integer(5),
                             .ttl = Duration(row.Integer(6)),
                             .lock_delay = Duration(row.Integer(7)),
                             .acquired_at = row.TimeAt(8),
                             .expires_at = row.TimeAt(9),
                             .waited = Duration(row.Integer(10)),
                             .ticket = row.Integer(11),
                             .is_delay = row.Bool(12)};
}

template <SqlRow R>
Result<rules::StoredWaiter> ReadWaiter(const R& row) {
  HF_ASSIGN_OR_RETURN(LockMode mode, ModeOf(row, 5));
  std::optional<LockPolicy> policy = ParseLockPolicy(row.Text(9));
  if (!policy) {
    return Fail(ErrorCode::kCorrupt, fmt::format("lock {} has no known policy", row.Text(0)));
  }
  return rules::StoredWaiter{.ticket = row.Integer(1),
                             .waiter = row.Integer(2),
                             .session = row.Integer(3),
                             .owner = std::string(row.Text(4)),
                             .mode = mode,
                             .limit = row.Integer(6),
                             .ttl = Duration(row.Integer(7)),
                             .lock_delay = Duration(row.Integer(8)),
                             .policy = *policy,
                             .has_others = row.Bool(10),
                             .since = row.TimeAt(11),
                             .deadline = row.TimeAt(12),
                             .actor = std::string(row.Text(13)),
                             .correlation_id = std::string(row.Text(14))};
}

template <SqlRow R>
AuditEntry ReadAudit(const R& row) {
  AuditEntry entry;
  entry.sequence = row.Integer(0);
  entry.at = row.TimeAt(1);
  entry.actor = row.Text(2);
  entry.operation = row.Text(3);
  entry.target = row.Text(4);
  entry.old_status = row.Text(5);
  entry.new_status = row.Text(6);
  entry.token = row.Integer(7);
  entry.lock_wait = Duration(row.Integer(8));
  entry.commit = Duration(row.Integer(9));
  entry.correlation_id = row.Text(10);
  entry.details = row.Text(11);
  entry.error = row.Text(12);
  entry.count = row.Integer(13);
  entry.old_version = row.Integer(14);
  entry.new_version = row.Integer(15);
  return entry;
}

}  // namespace holdfast::engine
