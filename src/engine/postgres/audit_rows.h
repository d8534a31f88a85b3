// Audit entries as rows: how they become parameters.
#pragma once

#include <vector>

#include "engine/postgres/values.h"
#include "holdfast/audit.h"

namespace holdfast::engine::postgres {

/// INSERT of entries, whose sequence numbers the table gives. `$.` stands for the schema.
extern const char* const kInsertAudit;
RowArray AuditRows(const std::vector<AuditEntry>& entries);

}  // namespace holdfast::engine::postgres
