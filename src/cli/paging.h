// Lists that are read page by page.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace holdfast::cli {

/// Adds the first `limit` of what the filter finds to `items`, or all of it. `list` reads one page.
/// The answer is the cursor behind the last page read, empty if nothing is left.
template <typename Filter, typename Item, typename List>
Result<std::string> Collect(Filter filter, std::optional<std::int64_t> limit,
                            std::vector<Item>& items, List list) {
  std::int64_t left = limit.value_or(std::numeric_limits<std::int64_t>::max());
  do {
    filter.limit = static_cast<int>(std::min<std::int64_t>(left, 1000));
    HF_ASSIGN_OR_RETURN(auto page, list(filter));
    left -= static_cast<std::int64_t>(page.items.size());
    items.insert(items.end(), std::make_move_iterator(page.items.begin()),
                 std::make_move_iterator(page.items.end()));
    filter.cursor = std::move(page.next_cursor);
  } while (!filter.cursor.empty() && left > 0);
  return filter.cursor;
}

}  // namespace holdfast::cli
