// Jobs and queues as rows: how they become parameters.
#pragma once

#include <string>

#include "engine/postgres/values.h"
#include "engine/sql_rows.h"
#include "rules/rows.h"

namespace holdfast::engine::postgres {

/// Of queues as q, joined with queue_counts as c and grouped by q.name.
inline constexpr const char* kQueueColumns =
    "q.name, q.paused, q.max_pending, q.max_running, q.audit, q.retain_completed, "
    "q.retain_failed, coalesce(sum(c.scheduled), 0)::bigint, coalesce(sum(c.pending), 0)::bigint, "
    "coalesce(sum(c.processing), 0)::bigint, coalesce(sum(c.completed), 0)::bigint, "
    "coalesce(sum(c.failed), 0)::bigint, coalesce(sum(c.cancelled), 0)::bigint";

/// Adds the job: all of it as a kJob, or what a renewal, a claim or the end of an attempt changes
/// as a kJobLease, kJobClaim or kJobFinish.
void AddJob(RowArray& rows, const Job& job);

/// Statements that write the rows which they are given; `$.` stands for the schema.
std::string InsertJobsSql();
std::string UpdateJobsSql(RowType type);

}  // namespace holdfast::engine::postgres
