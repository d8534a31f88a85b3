#include "engine/postgres/audit_rows.h"

namespace holdfast::engine::postgres {

const char* const kInsertAudit =
    "INSERT INTO $.audit (at, actor, operation, target, old_status, new_status, token, "
    "lock_wait_us, commit_us, correlation_id, details, error, count, old_version, new_version) "
    "SELECT * FROM unnest($1::$.audit_row[])";

RowArray AuditRows(const std::vector<AuditEntry>& entries) {
  RowArray rows(RowType::kAudit);
  for (const AuditEntry& entry : entries) {
    rows.NextRow();
    rows.Add(entry.at);
    rows.Add(entry.actor);
    rows.Add(entry.operation);
    rows.Add(entry.target);
    rows.Add(entry.old_status);
    rows.Add(entry.new_status);
    rows.Add(entry.token);
    rows.Add(std::int64_t{entry.lock_wait.count()});
    rows.Add(std::int64_t{entry.commit.count()});
    rows.Add(entry.correlation_id);
    rows.Add(entry.details);
    rows.Add(entry.error);
    rows.Add(entry.count);
    rows.Add(entry.old_version);
    rows.Add(entry.new_version);
  }
  return rows;
}

}  // namespace holdfast::engine::postgres
