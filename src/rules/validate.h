// The limits of what may be asked (JOB-12), checked before anything is stored. The syntax of JSON
// texts is checked by the store, which has a parser.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "holdfast/audit.h"
#include "holdfast/batch.h"
#include "holdfast/context.h"
#include "holdfast/error.h"

namespace holdfast::rules {

/// Errors: invalid_argument or payload_too_large; the message names the thing and the limit, the
/// detail the operation.
Result<void> Validate(const Batch& batch);
Result<void> Validate(const ClaimRequest& request);
Result<void> Validate(const JobFilter& filter);
Result<void> Validate(const RecordFilter& filter);
Result<void> Validate(const RecordKey& key);
Result<void> Validate(const TransferFilter& filter);
Result<void> Validate(const AuditFilter& filter);
Result<void> Validate(const QueueFilter& filter);
Result<void> Validate(const Context& context);

/// As Validate, for the operations on records, kinds and transfers; nothing for all others.
Result<void> CheckRecordOperation(const Operation& operation);
/// What such operations must keep to among themselves: kind.apply comes first, and no two records
/// that the batch creates are each other's ancestors.
Result<void> CheckRecordOrder(const Batch& batch);

/// As Validate, for the operations and guards on locks; nothing for all others.
Result<void> CheckLockOperation(const Operation& operation);
Result<void> CheckLockGuard(const Guard& guard);
/// What Store::Acquire may be asked: as for lock.acquire, and how long it waits.
Result<void> Validate(const AcquireLock& request);
Result<void> Validate(const LockFilter& filter);

inline std::unexpected<Error> Invalid(std::string message) {
  return Fail(ErrorCode::kInvalidArgument, std::move(message));
}

/// Errors: invalid_argument, which names `what` and the limits, in bytes.
Result<void> CheckText(std::string_view what, std::string_view text, std::size_t least,
                       std::size_t most);
/// Errors: payload_too_large, likewise.
Result<void> CheckSize(std::string_view what, std::string_view text, std::size_t most);
Result<void> CheckRange(std::string_view what, std::int64_t value, std::int64_t least,
                        std::int64_t most);
Result<void> CheckRange(std::string_view what, Duration value, Duration least, Duration most);

/// Nothing, or a time in the years 1970 to 9999.
Result<void> CheckTime(std::string_view what, const std::optional<Time>& time);

/// The id in a page's cursor. Errors: invalid_argument.
Result<std::int64_t> ParseCursor(std::string_view cursor);

}  // namespace holdfast::rules
