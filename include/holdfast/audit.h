// The audit trail: who did what to which thing, and what was refused.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "holdfast/job.h"

namespace holdfast {

/// The immutable trace of one operation (AUD-1), written in the commit that did it. A refusal that
/// tells something (fenced, invalid_transition, ...) is written outside the commit it refused.
struct AuditEntry {
  std::int64_t sequence = 0;  ///< rises by one
  Time at{};
  std::string actor{};
  std::string operation{};  ///< "job.cancel", "queue.set"
  std::string target{};     ///< "job/7", "queue/default", "ticket/T-1", "kind/ticket"
  std::string old_status{};
  std::string new_status{};
  std::int64_t old_version = 0;  ///< of a record or kind; 0: it did not exist before
  std::int64_t new_version = 0;  ///< of a record or kind; 0: it does not exist any more
  Token token = 0;
  Duration lock_wait{};  ///< between the call and the start of its commit
  Duration commit{};     ///< from the start of the commit until this entry was written
  std::string correlation_id{};
  std::string details{};   ///< a JSON object, or empty
  std::string error{};     ///< the code of a refusal; empty: it was done
  std::int64_t count = 1;  ///< equal refusals in a row are folded into one entry

  bool operator==(const AuditEntry&) const = default;
};

/// Which entries to list. Newest first.
struct AuditFilter {
  std::string target{};     ///< empty: any
  std::string actor{};      ///< empty: any
  std::string operation{};  ///< empty: any
  std::optional<Time> since{};
  std::optional<Time> until{};
  std::optional<Duration> min_lock_wait{};  ///< those that waited that long, or longer
  std::optional<bool> refused{};            ///< only refusals, or only what was done
  int limit = 100;                          ///< 1-1,000
  std::string cursor{};
};

struct AuditPage {
  std::vector<AuditEntry> items{};
  std::string next_cursor{};
};

}  // namespace holdfast
