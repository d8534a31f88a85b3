#include "engine/engine.h"

#include <algorithm>

#include "rules/rows.h"

namespace holdfast::engine {

void Change::Take(rules::Rows& rows) {
  for (const auto& [queue, count] : rows.ready()) {
    auto known = std::ranges::find(ready, queue, &Ready::queue);
    if (known != ready.end()) {
      known->count += count;
    } else {
      ready.push_back({queue, count});
    }
  }
  std::optional<Time> due = rows.next_due();
  if (due && (!next_due || *due < *next_due)) next_due = due;
  locks.Take(rows.locks().notes);
}

}  // namespace holdfast::engine
