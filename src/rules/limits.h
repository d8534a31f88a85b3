// Every bound there is, in one place. Error messages and documentation quote these.
#pragma once

#include <cstddef>
#include <string_view>

#include "holdfast/time.h"

namespace holdfast::rules {

// Names and texts (JOB-12).
inline constexpr std::size_t kNameBytes = 128;   // kinds, queues
inline constexpr std::size_t kOwnerBytes = 128;  // workers, actors, correlation ids, tags
inline constexpr std::size_t kUniqueKeyBytes = 256;
inline constexpr std::size_t kIdempotencyKeyBytes = 255;
inline constexpr std::size_t kPayloadBytes = 256 * 1024;
inline constexpr std::size_t kResultBytes = 1024 * 1024;
inline constexpr std::size_t kMetadataBytes = 16 * 1024;
inline constexpr std::size_t kMessageBytes = 1024;    // said with progress
inline constexpr std::size_t kErrorBytes = 4 * 1024;  // kept of a failure; the rest is cut off
inline constexpr std::size_t kTags = 32;
inline constexpr std::size_t kErrorsKept = 10;

// Records.
inline constexpr std::size_t kDataBytes = 1024 * 1024;
inline constexpr std::size_t kRulesBytes = 256 * 1024;
// Of a unique key, as JSON, and of the name of its rule: PostgreSQL keeps both and the kind in one
// index entry, which has at most 2,704 bytes.
inline constexpr std::size_t kRecordKeyBytes = 2000;
inline constexpr std::size_t kUniqueRuleBytes = 512;
inline constexpr std::size_t kPatchOperations = 1000;
// What one batch may take, see rules/effort.h.
inline constexpr std::size_t kEffortSteps = 2'000'000;
inline constexpr std::size_t kEffortBytes = 8 * 1024 * 1024;
inline constexpr int kActionChildren = 10'000;
inline constexpr std::size_t kViolationsListed = 100;
inline constexpr std::size_t kDetailsBytes = 16 * 1024;  // of an audit entry
inline constexpr std::int64_t kArrayLength = 1'000'000;  // what an append may be capped at

// Locks.
inline constexpr std::size_t kLockNameBytes = 512;
inline constexpr std::size_t kLockNames = 1000;    // of one acquire
inline constexpr std::size_t kReasonBytes = 1024;  // of a break
inline constexpr std::int64_t kLockLimitMost = 1'000'000;
inline constexpr std::size_t kTargetBytes = kLockNameBytes + 16;  // of the audit trail: "lock/..."
inline constexpr Duration kLockTtl = std::chrono::seconds(10);
inline constexpr Duration kLockTtlMin = std::chrono::milliseconds(100);
inline constexpr Duration kLockTtlMax = std::chrono::hours(24);
inline constexpr Duration kLockDelayMax = std::chrono::hours(24);
inline constexpr Duration kLockWaitMax = std::chrono::hours(24);
// A process that waits and is not heard of for so long is dead (LOCK-2).
inline constexpr Duration kSessionLife = std::chrono::seconds(2);

// Batches, pages and claims.
inline constexpr std::size_t kOperations = 1000;
inline constexpr std::size_t kGuards = 100;
inline constexpr int kPageItems = 1000;
inline constexpr int kClaimJobs = 1000;
inline constexpr std::size_t kClaimQueues = 100;
inline constexpr std::size_t kClaimKinds = 100;
// Of what one answer holds: a list ends its page, a claim takes fewer jobs, a batch is refused.
inline constexpr std::size_t kAnswerBytes = 8 * 1024 * 1024;
// What a client reads of an answer: above the bound, since JSON takes up to 6 bytes for one byte of
// a message or a name.
inline constexpr std::size_t kAnswerBytesRead = 8 * kAnswerBytes;
inline constexpr Duration kClaimWait = std::chrono::minutes(5);

// Jobs.
inline constexpr int kLowestPriority = 9;
inline constexpr int kAttempts = 1000;
inline constexpr Duration kLeaseMin = std::chrono::milliseconds(100);
inline constexpr Duration kLeaseMax = std::chrono::hours(24);
inline constexpr Duration kDelayMax = std::chrono::hours(24) * 3660;  // ten years
inline constexpr int kLeaseExpiriesMax = 3;  // in a row: then the job is a poison pill (JOB-6)
// A store that did nothing for so long could serve no renewals.
inline constexpr Duration kStallMin = std::chrono::seconds(2);
inline constexpr std::string_view kLeaseExpired = "lease_expired";  // the error of such an attempt
inline constexpr Duration kRetainMax = kDelayMax;

// Retention of what is not a job.
inline constexpr Duration kIdempotencyRetention = std::chrono::hours(24);
inline constexpr Duration kTransferRetention = std::chrono::hours(24) * 90;
inline constexpr Duration kAuditRetention = std::chrono::hours(24) * 90;

}  // namespace holdfast::rules
