// What a node knows of rows without asking: running jobs as it has last written them, queues as it
// has last read them, and what time it is for the server. A batch about these alone is applied at
// once and sent in one go; the server writes it if the rows are still those.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "engine/postgres/values.h"
#include "holdfast/job.h"
#include "holdfast/queue.h"

namespace holdfast::engine::postgres {

/// Nothing here is known for certain: whoever uses it has the server look at the versions. All of
/// it is of one server in one of its lives (see Connection::server), and is forgotten when another
/// one turns up. Threads: any.
class Memory {
 public:
  struct SeenJob {
    Job job;
    RowVersion version;
  };
  struct SeenQueue {
    Queue queue;  // without counts
    RowVersion version;
  };

  using Jobs = std::unordered_map<JobId, SeenJob>;

  /// As an acknowledged commit has written them. They are moved from.
  void Note(const std::string& server, const std::vector<Job*>& jobs, RowVersion version);
  void Note(const std::string& server, SeenQueue queue);

  /// All of them, or nothing if one is not known. They are not known any longer: they are about to
  /// change.
  std::optional<std::vector<Jobs::node_type>> TakeJobs(const std::string& server,
                                                       const std::set<JobId>& ids);
  std::optional<SeenQueue> FindQueue(const std::string& server, std::string_view name);

 private:
  void TurnTo(const std::string& server) HF_REQUIRES(mutex_);

  base::Mutex mutex_{base::LockRank::kEngineLeaf};
  std::string server_ HF_GUARDED_BY(mutex_);
  // Jobs that are finished elsewhere stay behind: when `young_` is full it replaces `old_`.
  Jobs young_ HF_GUARDED_BY(mutex_);
  Jobs old_ HF_GUARDED_BY(mutex_);
  std::size_t young_bytes_ HF_GUARDED_BY(mutex_) = 0;
  std::map<std::string, SeenQueue, std::less<>> queues_ HF_GUARDED_BY(mutex_);
};

/// What time it is for the server: never later than it is there, and earlier by no more than an
/// answer of the last second took. Threads: any.
class ServerClock {
 public:
  /// The server has told its time, and the answer has just come.
  void Note(Time told, SteadyTime received);
  /// Nothing if it has not told it for a second: until then clocks do not drift apart.
  std::optional<Time> Estimate(SteadyTime now) const;

 private:
  mutable base::Mutex mutex_{base::LockRank::kEngineLeaf};
  Time told_ HF_GUARDED_BY(mutex_);
  SteadyTime received_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast::engine::postgres
