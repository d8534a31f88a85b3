// Named retry policies for calls that may fail for a passing reason (systems.md S9).
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "holdfast/context.h"
#include "holdfast/error.h"

namespace holdfast {

/// delay = min(initial * factor^retry, max), +- 10 % if jittered.
struct RetryPolicy {
  std::string_view name{};
  int retries = 0;  ///< after the first try
  Duration initial{};
  double factor = 1;
  Duration max{};
  bool jitter = true;
};

/// For Store::UpdateWith: three times, after 0.1 s, 0.2 s and 0.4 s.
inline constexpr RetryPolicy kUpdatePolicy{.name = "UPDATE",
                                           .retries = 3,
                                           .initial = std::chrono::milliseconds(100),
                                           .factor = 2,
                                           .max = std::chrono::seconds(1),
                                           .jitter = true};

/// DEFAULT, AGGRESSIVE, CONSERVATIVE, DATABASE_OPERATION or LOCK_ACQUISITION.
/// Errors: invalid_argument for any other name; the message lists them.
Result<RetryPolicy> FindRetryPolicy(std::string_view name);

/// The delay before retry number `retry` (0 is the first one).
Duration DelayOf(const RetryPolicy& policy, int retry, Random& random);

/// Whether calling again may help: busy, deadlock, version_mismatch, unavailable, and
/// outcome_unknown if the call carries an idempotency key.
bool IsTransient(const Error& error, bool has_idempotency_key);

/// What Retry is told, besides its policy.
struct RetryOptions {
  std::optional<int> retries{};      ///< the caller's own count wins over the policy's
  bool has_idempotency_key = false;  ///< then outcome_unknown is retried, too
  Random* random = nullptr;          ///< nothing: Random::System()
  /// Told of each retry before it is waited for.
  std::function<void(int retry, const Error& error, Duration delay)> on_retry;
  /// Waits that long, or less if the context ends: nothing means really waiting. For tests.
  std::function<void(const Context& context, Duration delay)> wait;
};

/// Calls `call` until it succeeds, fails for good, or runs out of retries or of the context's time.
/// Blocks in between. The context's deadline always wins: a delay that would pass it ends the
/// retrying with the last error.
Result<void> Retry(const Context& context, const RetryPolicy& policy, const RetryOptions& options,
                   const std::function<Result<void>()>& call);

}  // namespace holdfast
