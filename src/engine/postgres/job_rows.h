// Jobs and queues as rows: how they become parameters.
#pragma once

#include <optional>
#include <string>
#include <string_view>

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
/// Likewise, behind these: of the row of the queue.
inline constexpr const char* kQueueVersion = "q.xmin::text::bigint";
inline constexpr int kQueueVersionColumn = 13;

/// Adds the job: all of it as a kJob, or what a renewal, a claim or the end of an attempt changes
/// as a kJobLease, kJobClaim or kJobFinish. Of a lease or a finish with a version, only a row that
/// is still of this version may be written.
void AddJob(RowArray& rows, const Job& job, std::optional<RowVersion> version = {});

/// In place of a result: ends the transaction unless `count`, of the rows that are as they should
/// be, is that of the rows that were sent as $1, an array of `type`.
std::string EndUnlessAll(std::string_view count, RowType type);

/// Statements that write the rows which they are given; `$.` stands for the schema.
std::string InsertJobsSql();
std::string UpdateJobsSql(RowType type);

}  // namespace holdfast::engine::postgres
