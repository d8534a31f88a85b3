#include "engine/postgres/low_watermarks.h"

#include <algorithm>

namespace holdfast::engine::postgres {
namespace {

using std::chrono::milliseconds;

// A job is due for claims from its run_at, and seen when its transaction has ended: for so long it
// may be on its way.
constexpr milliseconds kOnItsWay{100};
constexpr milliseconds kSweepInterval{1000};
// A transaction that draws its token and commits after all that began with it is rare.
constexpr milliseconds kRunningSweep{10'000};
// What sweeps may take of the time: a twentieth, and a tenth for claims that found nothing.
constexpr int kSweepShare = 20;
constexpr int kSweepAgainShare = 10;
constexpr milliseconds kQuick{5};  // as quick as any claim

}  // namespace

LowWatermarks::View LowWatermarks::ViewOf(const std::string& queue, const OfQueue& known,
                                          SteadyTime now) {
  if (now >= known.sweep_at) return {.queue = queue, .marks = {}, .generation = known.generation};
  return {.queue = queue, .marks = known.marks, .is_sweep = false, .generation = known.generation};
}

LowWatermarks::View LowWatermarks::Look(const std::string& queue, SteadyTime now) {
  base::MutexLock lock(mutex_);
  auto known = queues_.find(queue);
  return known == queues_.end() ? View{.queue = queue, .marks = {}}
                                : ViewOf(queue, known->second, now);
}

std::vector<LowWatermarks::View> LowWatermarks::LookAtAll(SteadyTime now) {
  base::MutexLock lock(mutex_);
  std::vector<View> views;
  for (const auto& [name, known] : queues_) views.push_back(ViewOf(name, known, now));
  return views;
}

std::optional<LowWatermarks::View> LowWatermarks::LookAgain(const View& view, SteadyTime now) {
  if (view.is_sweep) return std::nullopt;
  base::MutexLock lock(mutex_);
  auto known = queues_.find(view.queue);
  if (known == queues_.end()) return View{.queue = view.queue, .marks = {}};
  if (now < known->second.sweep_again_at) return std::nullopt;
  return View{.queue = view.queue, .marks = {}, .generation = known->second.generation};
}

std::size_t LowWatermarks::size() {
  base::MutexLock lock(mutex_);
  return queues_.size();
}

/// Without marks yet: the next claim of the queue sweeps, and raises them.
void LowWatermarks::Add(const std::string& queue, SteadyTime now) {
  if (queues_.size() >= kMarkedQueues) {
    queues_.erase(std::ranges::min_element(queues_, {},
                                           [](const auto& entry) { return entry.second.used_at; }));
  }
  queues_[queue] = {.marks = {},
                    .generation = ++last_generation_,
                    .used_at = now,
                    .sweep_at = {},
                    .sweep_again_at = {}};
}

void LowWatermarks::Raise(const View& view, const Job* first, Time now, SteadyTime began,
                          SteadyTime ended) {
  base::MutexLock lock(mutex_);
  const auto took = ended - began;
  const bool is_worth_marks = first != nullptr || took > kQuick;
  auto entry = queues_.find(view.queue);
  if (entry == queues_.end()) {
    const bool has_room = queues_.size() < kMarkedQueues;
    if (first != nullptr || (is_worth_marks && has_room)) Add(view.queue, ended);
    return;
  }
  OfQueue& known = entry->second;
  if (view.is_sweep) {
    if (!is_worth_marks) {
      queues_.erase(entry);
      return;
    }
    known.sweep_at = ended + std::max<SteadyTime::duration>(kSweepInterval, took * kSweepShare);
    known.sweep_again_at = ended;
    if (took > kQuick) {
      known.sweep_again_at +=
          std::min<SteadyTime::duration>(kSweepInterval, took * kSweepAgainShare);
    }
  }
  if (first != nullptr) known.used_at = ended;
  // A job that was made ready while the claim looked may be one that it did not see.
  if (view.generation != known.generation) return;
  const Mark recent{.run_at = now - kOnItsWay};
  for (int priority = 0; priority <= rules::kLowestPriority; ++priority) {
    std::optional<Mark>& mark = known.marks[static_cast<std::size_t>(priority)];
    Mark found = recent;
    if (first != nullptr) {
      if (priority > first->priority) break;  // the claim may not have got that far
      if (priority == first->priority) found = std::min(found, Mark{first->run_at, first->id});
    }
    if (!mark || *mark < found) mark = found;
  }
}

void LowWatermarks::Lower(const std::vector<const Job*>& ready, Time now) {
  if (ready.empty()) return;
  base::MutexLock lock(mutex_);
  for (const Job* job : ready) {
    auto known = queues_.find(job->queue);
    if (known == queues_.end()) continue;
    std::optional<Mark>& mark = known->second.marks[static_cast<std::size_t>(job->priority)];
    const Mark of_job{job->run_at, job->id};
    if (mark && of_job < *mark) mark = of_job;
    // A claim that began before this one was there to be seen raises no mark beyond that time.
    if (job->run_at <= now - kOnItsWay) known->second.generation = ++last_generation_;
  }
}

Token RunningMark::Look(SteadyTime now) {
  base::MutexLock lock(mutex_);
  return now >= sweep_at_ ? 0 : mark_;
}

void RunningMark::Raise(Token from, std::optional<Token> least, SteadyTime began,
                        SteadyTime ended) {
  base::MutexLock lock(mutex_);
  if (from == 0) {
    const auto took = ended - began;
    sweep_at_ = ended + std::max<SteadyTime::duration>(kRunningSweep, took * kSweepShare);
  }
  if (least) mark_ = *least;
}

}  // namespace holdfast::engine::postgres
