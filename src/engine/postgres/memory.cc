#include "engine/postgres/memory.h"

#include <utility>

namespace holdfast::engine::postgres {
namespace {

using base::MutexLock;

// Of each generation of jobs. More run at a time on hardly any node, and most are small.
constexpr std::size_t kJobs = 8192;
constexpr std::size_t kBytes = std::size_t{8} << 20;
constexpr std::size_t kQueues = 1000;

// For how long it is used what the server has told of its time. Clocks that are as wrong as they
// may be part by less than a millisecond in that.
constexpr Duration kFresh = std::chrono::seconds(1);

std::size_t BytesOf(const Job& job) {
  return sizeof job + job.payload.size() + job.metadata.size();
}

}  // namespace

void Memory::TurnTo(const std::string& server) {
  if (server == server_) return;
  server_ = server;
  young_.clear();
  old_.clear();
  queues_.clear();
  young_bytes_ = 0;
}

void Memory::Note(const std::string& server, const std::vector<Job*>& jobs, RowVersion version) {
  if (jobs.empty()) return;
  Jobs forgotten;  // outside the mutex
  MutexLock lock(mutex_);
  TurnTo(server);
  for (Job* job : jobs) {
    young_bytes_ += BytesOf(*job);
    const JobId id = job->id;
    young_.insert_or_assign(id, SeenJob{std::move(*job), version});
  }
  if (young_.size() < kJobs && young_bytes_ < kBytes) return;
  forgotten.swap(old_);
  old_.swap(young_);
  young_bytes_ = 0;
}

void Memory::Note(const std::string& server, SeenQueue queue) {
  MutexLock lock(mutex_);
  TurnTo(server);
  if (queues_.size() >= kQueues) queues_.clear();
  const std::string name = queue.queue.name;
  queues_.insert_or_assign(name, std::move(queue));
}

std::optional<std::vector<Memory::Jobs::node_type>> Memory::TakeJobs(const std::string& server,
                                                                     const std::set<JobId>& ids) {
  MutexLock lock(mutex_);
  if (server != server_) return std::nullopt;
  for (JobId id : ids) {
    if (!young_.contains(id) && !old_.contains(id)) return std::nullopt;
  }
  std::vector<Jobs::node_type> jobs;
  jobs.reserve(ids.size());
  for (JobId id : ids) {
    auto older = old_.extract(id);
    auto found = young_.extract(id);
    if (found.empty()) {
      found = std::move(older);
    } else {
      young_bytes_ -= BytesOf(found.mapped().job);
    }
    jobs.push_back(std::move(found));
  }
  return jobs;
}

std::optional<Memory::SeenQueue> Memory::FindQueue(const std::string& server,
                                                   std::string_view name) {
  MutexLock lock(mutex_);
  auto found = queues_.find(name);
  if (server != server_ || found == queues_.end()) return std::nullopt;
  return found->second;
}

void ServerClock::Note(Time told, SteadyTime received) {
  MutexLock lock(mutex_);
  // Of two, the one whose answer was the faster says more; but not for ever, lest a clock that is
  // set back is never believed.
  const auto since = std::chrono::duration_cast<Duration>(received - received_);
  if (told < told_ + since && since < kFresh) return;
  told_ = told;
  received_ = received;
}

std::optional<Time> ServerClock::Estimate(SteadyTime now) const {
  MutexLock lock(mutex_);
  const auto since = std::chrono::duration_cast<Duration>(now - received_);
  if (received_ == SteadyTime() || since >= kFresh) return std::nullopt;
  return told_ + since;
}

}  // namespace holdfast::engine::postgres
