#include "engine/postgres/node.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"

namespace holdfast::engine::postgres {

namespace {

// By which the sequences count: see schema.cc.
constexpr std::int64_t kRange = 1000;

}  // namespace

IdPool::IdPool(const Settings& settings, std::string_view sequence)
    : next_(settings, fmt::format("SELECT nextval('$.{}')", sequence)) {}

Result<IdPool::Range> IdPool::Take(Connection& connection, std::int64_t count) {
  if (count > kRange) {
    return Fail(
        ErrorCode::kInvalidArgument,
        fmt::format("the batch, with its actions, would make {} new rows of a sort (at most "
                    "{} on PostgreSQL)",
                    count, kRange));
  }
  {
    base::MutexLock lock(mutex_);
    auto fits = std::ranges::find_if(ranges_, [&](const Range& range) {
      return range.end - range.last >= count && range.server == connection.server();
    });
    if (fits != ranges_.end()) {
      Range range = std::move(*fits);
      ranges_.erase(fits);
      return range;
    }
  }
  HF_ASSIGN_OR_RETURN(Answer answer, connection.Query(next_));
  const std::int64_t first = Row(answer, 0).Integer(0);
  return Range{.last = first - 1, .end = first + kRange - 1, .server = connection.server()};
}

void IdPool::GiveBack(Range range) {
  if (range.last >= range.end) return;
  base::MutexLock lock(mutex_);
  // The smallest first: in the order in which they would have been given out.
  auto place = std::ranges::upper_bound(ranges_, range.last, {}, &Range::last);
  ranges_.insert(place, std::move(range));
}

Node::Node(const Settings& settings_of_url, std::optional<base::EngineClock> clock)
    : settings(settings_of_url),
      session(static_cast<std::int64_t>(Random::System().Next() >> 1)),
      test_clock(std::move(clock)),
      job_ids(settings, "job_ids"),
      record_ids(settings, "record_ids"),
      transfer_ids(settings, "transfer_ids") {}

}  // namespace holdfast::engine::postgres
