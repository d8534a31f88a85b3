// Audit entries as rows.
#pragma once

#include <vector>

#include "engine/postgres/values.h"
#include "holdfast/audit.h"

namespace holdfast::engine::postgres {

/// The columns in the order in which ReadAudit expects them.
inline constexpr const char* kAuditColumns =
    "sequence, at, actor, operation, target, old_status, new_status, token, lock_wait_us, "
    "commit_us, correlation_id, details, error, count, old_version, new_version";

AuditEntry ReadAudit(const Row& row);

/// INSERT of entries, whose sequence numbers the table gives. `$.` stands for the schema.
extern const char* const kInsertAudit;
Parameters AuditParameters(const std::vector<AuditEntry>& entries);

}  // namespace holdfast::engine::postgres
