// Jobs and queues as rows: how they become parameters.
#pragma once

#include <vector>

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

/// Rows of jobs as columns, each set in the order of its statement.
class JobColumns {
 public:
  explicit JobColumns(rules::Change change, rules::Extent extent = rules::Extent::kWhole);
  void Add(const Job& job);
  bool IsEmpty() const { return columns_.front().size() == 0; }
  Parameters ToParameters() const;

  /// The statement: `$.` stands for the schema.
  static std::string SqlOf(rules::Change change, rules::Extent extent);

 private:
  const rules::Change change_;
  const rules::Extent extent_;
  std::vector<Column> columns_;
};

}  // namespace holdfast::engine::postgres
