// What accompanies every call: until when, unless stopped, on whose behalf.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "holdfast/error.h"
#include "holdfast/time.h"

namespace holdfast {

/// The first argument of every call. A cancelled or expired context is noticed before any lock is
/// taken, after every wait, and every 1,000 rows of a long scan; the call then changed nothing.
struct Context {
  /// The call gives up with deadline_exceeded when this passes before its effect began.
  std::optional<SteadyTime> deadline{};
  /// The call gives up with cancelled when this fires before its effect began.
  std::stop_token stop{};
  /// Who asks. Kept in audit entries. At most 128 bytes.
  std::string actor{};
  /// Ties together what belongs together, across services. Kept in audit entries. At most 128
  /// bytes.
  std::string correlation_id{};

  /// A context that expires `timeout` from now.
  static Context WithTimeout(Duration timeout) {
    Context context;
    context.deadline = std::chrono::steady_clock::now() + timeout;
    return context;
  }

  /// For what must be done even if this context is over, such as giving back what it took: on the
  /// same behalf, but without an end.
  Context ForCleanUp() const {
    Context context;
    context.actor = actor;
    context.correlation_id = correlation_id;
    return context;
  }

  /// Nothing, or the error that tells why the call must not begin: cancelled, deadline_exceeded.
  Result<void> Check() const {
    if (stop.stop_requested()) {
      return Fail(ErrorCode::kCancelled, "the context was cancelled before the call took effect");
    }
    if (deadline && std::chrono::steady_clock::now() >= *deadline) {
      return Fail(ErrorCode::kDeadlineExceeded,
                  "the context's deadline passed before the call took effect");
    }
    return {};
  }
};

}  // namespace holdfast
