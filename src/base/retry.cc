// The named policies and the loop that follows them.
#include "holdfast/retry.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/mutex.h"
#include "base/utf8.h"

namespace holdfast {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr RetryPolicy kPolicies[] = {
    {"DEFAULT", 3, milliseconds(100), 2, seconds(5), true},
    {"AGGRESSIVE", 5, milliseconds(50), 1.5, seconds(3), true},
    {"CONSERVATIVE", 2, milliseconds(500), 2.5, seconds(10), false},
    {"DATABASE_OPERATION", 3, milliseconds(200), 2, seconds(4), true},
    {"LOCK_ACQUISITION", 4, milliseconds(100), 1.5, seconds(2), true},
};
constexpr double kJitter = 0.1;

void WaitReally(const Context& context, Duration delay) {
  base::Mutex mutex(base::LockRank::kWait);
  base::CondVar changed;
  bool stopped = false;
  std::stop_callback on_stop(context.stop, [&] {
    base::MutexLock lock(mutex);
    stopped = true;
    changed.NotifyAll();
  });
  SteadyTime until = std::chrono::steady_clock::now() + delay;
  base::MutexLock lock(mutex);
  while (!stopped && changed.WaitUntil(mutex, until)) {
  }
}

}  // namespace

Result<RetryPolicy> FindRetryPolicy(std::string_view name) {
  std::string known;
  for (const RetryPolicy& policy : kPolicies) {
    if (policy.name == name) return policy;
    known += known.empty() ? "" : ", ";
    known += policy.name;
  }
  return Fail(ErrorCode::kInvalidArgument, fmt::format("there is no retry policy '{}' (known: {})",
                                                       base::CutUtf8(name, 64), known));
}

Duration DelayOf(const RetryPolicy& policy, int retry, Random& random) {
  double delay = static_cast<double>(policy.initial.count()) * std::pow(policy.factor, retry);
  delay = std::min(delay, static_cast<double>(policy.max.count()));
  if (policy.jitter) {
    double unit = static_cast<double>(random.Next() >> 11) * 0x1p-53;  // 0 to 1
    delay *= 1 - kJitter + 2 * kJitter * unit;
  }
  return Duration(std::llround(delay));
}

bool IsTransient(const Error& error, bool has_idempotency_key) {
  switch (error.code) {
    case ErrorCode::kBusy:
    case ErrorCode::kDeadlock:
    case ErrorCode::kVersionMismatch:
    case ErrorCode::kUnavailable:
      return true;
    case ErrorCode::kOutcomeUnknown:
      return has_idempotency_key;
    default:
      return false;
  }
}

Result<void> Retry(const Context& context, const RetryPolicy& policy, const RetryOptions& options,
                   const std::function<Result<void>()>& call) {
  Random& random = options.random != nullptr ? *options.random : Random::System();
  const int retries = options.retries.value_or(policy.retries);
  for (int retry = 0;; ++retry) {
    if (Result<void> alive = context.Check(); !alive) return alive;
    Result<void> result = call();
    if (result || retry >= retries || !IsTransient(result.error(), options.has_idempotency_key)) {
      return result;
    }
    Duration delay = DelayOf(policy, retry, random);
    if (context.deadline && std::chrono::steady_clock::now() + delay >= *context.deadline) {
      return result;
    }
    if (options.on_retry) options.on_retry(retry, result.error(), delay);
    if (options.wait) {
      options.wait(context, delay);
    } else {
      WaitReally(context, delay);
    }
  }
}

}  // namespace holdfast
