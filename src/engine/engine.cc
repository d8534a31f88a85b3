#include "engine/engine.h"

#include "rules/rows.h"

namespace holdfast::engine {

void Change::Take(rules::Rows& rows) {
  for (const rules::ReadyJobs& more : rows.ready()) {
    rules::AddReady(ready, more.queue, more.kind, more.count);
  }
  std::optional<Time> due = rows.next_due();
  if (due && (!next_due || *due < *next_due)) next_due = due;
  locks.Take(rows.locks().notes);
}

rules::Stall MaintainRequest::StallAt(Time now) const {
  rules::Stall all = stall;
  if (alive_at) all.Add(rules::Stall::Between(*alive_at, now));
  return all;
}

}  // namespace holdfast::engine
