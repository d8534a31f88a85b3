// The audit trail (AUD-1): entries are made where the operation is applied, and nowhere else.
#include <fmt/format.h>

#include "rules/jobs.h"

namespace holdfast::rules {

void WriteAudit(Rows& rows, const Origin& origin, AuditNote note) {
  AuditEntry& entry = rows.audit().emplace_back();
  entry.sequence = ++rows.counters.last_audit;
  entry.at = origin.now;
  entry.actor = origin.actor;
  entry.operation = note.operation;
  entry.target = std::move(note.target);
  entry.old_status = note.old_status;
  entry.new_status = note.new_status;
  entry.old_version = note.old_version;
  entry.new_version = note.new_version;
  entry.token = note.token;
  entry.lock_wait = origin.lock_wait;
  entry.correlation_id = origin.correlation_id;
  entry.details = std::move(note.details);
  entry.error = note.error;
}

void AuditJob(Rows& rows, const JobRow& row, std::string_view operation, JobState from, bool always,
              const Origin& origin) {
  const Job& job = *row.job;
  if (!always && !rows.QueueNamed(job.queue).queue->audit) return;
  WriteAudit(rows, origin,
             {.operation = operation,
              .target = fmt::format("job/{}", job.id),
              .old_status = NameOf(from),
              .new_status = NameOf(job.state),
              .token = job.token,
              .details = {}});
}

}  // namespace holdfast::rules
