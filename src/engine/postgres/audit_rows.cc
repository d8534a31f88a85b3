#include "engine/postgres/audit_rows.h"

namespace holdfast::engine::postgres {

const char* const kInsertAudit =
    "INSERT INTO $.audit (at, actor, operation, target, old_status, new_status, token, "
    "lock_wait_us, commit_us, correlation_id, details, error, count, old_version, new_version) "
    "SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], "
    "$6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::text[], "
    "$13::bigint[], $14::bigint[], $15::bigint[])";

Parameters AuditParameters(const std::vector<AuditEntry>& entries) {
  Column at(Type::kTime), actors(Type::kText), operations(Type::kText), targets(Type::kText),
      old_statuses(Type::kText), new_statuses(Type::kText), tokens(Type::kInteger),
      lock_waits(Type::kInteger), commits(Type::kInteger), correlation_ids(Type::kText),
      details(Type::kText), errors(Type::kText), counts(Type::kInteger),
      old_versions(Type::kInteger), new_versions(Type::kInteger);
  for (const AuditEntry& entry : entries) {
    at.Add(entry.at);
    actors.Add(entry.actor);
    operations.Add(entry.operation);
    targets.Add(entry.target);
    old_statuses.Add(entry.old_status);
    new_statuses.Add(entry.new_status);
    tokens.Add(entry.token);
    lock_waits.Add(std::int64_t{entry.lock_wait.count()});
    commits.Add(std::int64_t{entry.commit.count()});
    correlation_ids.Add(entry.correlation_id);
    details.Add(entry.details);
    errors.Add(entry.error);
    counts.Add(entry.count);
    old_versions.Add(entry.old_version);
    new_versions.Add(entry.new_version);
  }
  Parameters parameters;
  for (const Column* column :
       {&at, &actors, &operations, &targets, &old_statuses, &new_statuses, &tokens, &lock_waits,
        &commits, &correlation_ids, &details, &errors, &counts, &old_versions, &new_versions}) {
    parameters.Add(*column);
  }
  return parameters;
}

}  // namespace holdfast::engine::postgres
