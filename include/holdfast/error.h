// The closed list of errors, and Result<T>, which every call that can fail returns.
//
// One table drives the C++ enum, the JSON "code", the HTTP status and the exit code of the command
// line, so that the four can never disagree.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "holdfast/time.h"

namespace holdfast {

// X(enumerator, name, HTTP status, exit code, is it retryable, what the caller should do)
#define HOLDFAST_ERROR_CODES(X)                                                                    \
  X(kInvalidArgument, "invalid_argument", 400, 2, false, "fix the call")                           \
  X(kUnauthenticated, "unauthenticated", 401, 4, false, "fix the credentials")                     \
  X(kForbidden, "forbidden", 403, 4, false, "fix the credentials")                                 \
  X(kNotFound, "not_found", 404, 3, false, "decide")                                               \
  X(kAlreadyExists, "already_exists", 409, 5, false, "often: treat as done (the id is attached)")  \
  X(kVersionMismatch, "version_mismatch", 412, 5, true, "read again, redo the change")             \
  X(kInvalidTransition, "invalid_transition", 409, 5, false, "decide")                             \
  X(kRuleViolation, "rule_violation", 409, 5, false, "decide")                                     \
  X(kCapacityFull, "capacity_full", 409, 5, false, "decide")                                       \
  X(kFenced, "fenced", 409, 5, false, "stop the work: a successor holds the lease")                \
  X(kDeadlock, "deadlock", 409, 5, true, "release what you hold, then retry")                      \
  X(kBusy, "busy", 423, 75, true, "wait or give up (the remaining time is attached)")              \
  X(kQueueFull, "queue_full", 429, 8, true, "back off, then retry")                                \
  X(kRateLimited, "rate_limited", 429, 8, true, "back off, then retry")                            \
  X(kIdempotencyMismatch, "idempotency_mismatch", 422, 5, false, "use a new key")                  \
  X(kPayloadTooLarge, "payload_too_large", 413, 2, false, "send less")                             \
  X(kDeadlineExceeded, "deadline_exceeded", 408, 6, true, "retry: there was no effect")            \
  X(kCancelled, "cancelled", 408, 6, true, "retry: there was no effect")                           \
  X(kUnavailable, "unavailable", 503, 7, true, "retry with backoff: there was no effect")          \
  X(kShuttingDown, "shutting_down", 503, 7, true, "retry with backoff: there was no effect")       \
  X(kOutcomeUnknown, "outcome_unknown", 500, 7, false, "retry only with the same idempotency key") \
  X(kCorrupt, "corrupt", 500, 1, false, "stop and alert")                                          \
  X(kInternal, "internal", 500, 1, false, "report it")

enum class ErrorCode {
#define X(enumerator, name, http, exit, retryable, advice) enumerator,
  HOLDFAST_ERROR_CODES(X)
#undef X
};

/// What the table says of one code.
struct ErrorCodeInfo {
  ErrorCode code{};
  std::string_view name{};
  int http_status{};
  int exit_code{};
  bool retryable{};
  std::string_view advice{};
};

inline constexpr ErrorCodeInfo kErrorCodes[] = {
#define X(enumerator, name, http, exit, retryable, advice) \
  {ErrorCode::enumerator, name, http, exit, retryable, advice},
    HOLDFAST_ERROR_CODES(X)
#undef X
};

/// The table's row of `code`.
constexpr const ErrorCodeInfo& InfoOf(ErrorCode code) {
  return kErrorCodes[static_cast<std::size_t>(code)];
}

/// The code of that name, or nothing if the list has none such.
constexpr std::optional<ErrorCode> ParseErrorCode(std::string_view name) {
  for (const ErrorCodeInfo& info : kErrorCodes) {
    if (info.name == name) return info.code;
  }
  return std::nullopt;
}

/// Facts a program may act on. Each field is set only where its code calls for it.
struct ErrorDetail {
  std::optional<std::int64_t> operation{};  ///< index in the batch of the operation at fault
  std::optional<std::int64_t> guard{};      ///< index in the batch of the guard at fault
  std::optional<std::int64_t> id{};         ///< already_exists: the id of what exists, or the token
  std::optional<std::int64_t> expected{};   ///< version_mismatch: the version the caller named
  std::optional<std::int64_t> current{};    ///< version_mismatch: the version there is
  std::optional<Duration> retry_after{};    ///< busy, queue_full, rate_limited, shutting_down
  std::string rule{};    ///< rule_violation, capacity_full, already_exists: "bounds /balance"
  std::string record{};  ///< the record at fault, or the one that holds a unique key: "ticket/T-1"
  std::string lock{};    ///< busy, fenced, already_exists, deadlock: the lock at fault
  /// kind.apply: what is wrong with which record. At most 100; the message says how many there are.
  std::vector<std::string> violations{};
  std::vector<std::string> cycle{};  ///< deadlock: the owners, in order

  bool operator==(const ErrorDetail&) const = default;
};

/// Why a call failed. Unless the code is outcome_unknown, a failed write changed nothing.
struct [[nodiscard]] Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;  ///< one line: names the thing and the limit; never a payload or a secret
  ErrorDetail detail;

  bool operator==(const Error&) const = default;
};

template <typename T>
using Result = std::expected<T, Error>;

/// `return Fail(ErrorCode::kNotFound, "job 7 does not exist");`
[[nodiscard]] inline std::unexpected<Error> Fail(ErrorCode code, std::string message,
                                                 ErrorDetail detail = {}) {
  // It may quote what somebody sent, and is one line all the same: messages go to logs.
  for (char& c : message) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  return std::unexpected<Error>(Error{code, std::move(message), std::move(detail)});
}

}  // namespace holdfast
