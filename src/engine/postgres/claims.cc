// Claiming inside a transaction. Rows that another transaction holds are passed over. The only row
// that a claim waits for, for a moment, is that of a queue with a limit on what runs.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "base/mutant.h"
#include "base/result.h"
#include "engine/postgres/transaction.h"

namespace holdfast::engine::postgres {
namespace {

bool Asks(const std::vector<std::string>& names, const std::string& name) {
  return names.empty() || std::ranges::find(names, name) != names.end();
}

bool Asks(const ClaimRequest& request, const Job& job) {
  return Asks(request.queues, job.queue) && Asks(request.kinds, job.kind);
}

auto ClaimOrder(const Job& job) {
  return std::tuple(job.priority, job.run_at, job.id);
}

}  // namespace

/// What a group of claims asks for.
struct Transaction::Asked {
  Asked() = default;
  explicit Asked(std::span<ClaimOne> requests) {
    for (const ClaimOne& one : requests) {
      most += one.request->max;
      if (!one.request->kinds.empty()) {
        AddKinds(*one.request);
        continue;
      }
      for (const std::string& queue : one.request->queues) of_queue[queue] += one.request->max;
      any |= one.request->queues.empty();
    }
    if (HasKinds()) LoadMost();
  }

  /// What one claim takes of a queue may be what another one, with other kinds, was to get.
  void LoadMost() {
    for (auto& [queue, count] : of_queue) count = most;
    for (auto& [place, count] : of_kind_in) count = most;
    for (auto& [kind, count] : of_kind) count = most;
  }

  void AddKinds(const ClaimRequest& request) {
    for (const std::string& kind : request.kinds) {
      if (request.queues.empty()) of_kind[kind] += request.max;
      for (const std::string& queue : request.queues) of_kind_in[{queue, kind}] += request.max;
    }
  }

  bool HasKinds() const { return !of_kind.empty() || !of_kind_in.empty(); }

  /// For claim_kinds_any_.
  Parameters OfKinds() const {
    Column kinds(Type::kText), counts(Type::kInteger);
    for (const auto& [kind, count] : of_kind) {
      kinds.Add(kind);
      counts.Add(count);
    }
    return Parameters().Add(kinds).Add(counts);
  }
  /// For load_limited_queues_.
  Parameters KindsAnywhere() const {
    Column kinds(Type::kText);
    for (const auto& [kind, count] : of_kind) kinds.Add(kind);
    return Parameters().Add(kinds);
  }
  /// For claim_kinds_: the queues that are named.
  Parameters OfKindsIn() const {
    Column queues(Type::kText), kinds(Type::kText), counts(Type::kInteger);
    for (const auto& [place, count] : of_kind_in) {
      queues.Add(place.first);
      kinds.Add(place.second);
      counts.Add(count);
    }
    return Parameters().Add(queues).Add(kinds).Add(counts);
  }
  /// For claim_limited_kinds_: what is asked of this queue.
  Parameters OfKindsOf(const std::string& queue) const {
    std::map<std::string, std::int64_t> asked = of_kind;
    for (const auto& [place, count] : of_kind_in) {
      if (place.first == queue) asked[place.second] += count;
    }
    Column kinds(Type::kText), counts(Type::kInteger);
    for (const auto& [kind, count] : asked) {
      kinds.Add(kind);
      counts.Add(count);
    }
    return Parameters().Add(queue).Add(kinds).Add(counts);
  }

  /// For claim_any_ or claim_jobs_, which then has a view for each queue, in their order.
  Parameters ToParameters(const std::vector<LowWatermarks::View>& views) const {
    Column queues(Type::kText), counts(Type::kInteger), run_ats(Type::kTime), ids(Type::kInteger);
    for (const LowWatermarks::View& view : views) {
      queues.Add(view.queue);
      for (const std::optional<LowWatermarks::Mark>& mark : view.marks) {
        run_ats.Add(mark ? std::optional(mark->run_at) : std::nullopt);
        ids.Add(mark ? mark->id : 0);
      }
    }
    for (const auto& [queue, count] : of_queue) counts.Add(count);
    if (any) return Parameters().Add(most).Add(queues).Add(run_ats).Add(ids);
    return Parameters().Add(queues).Add(counts).Add(run_ats).Add(ids);
  }

  std::map<std::string, std::int64_t> of_queue;
  std::map<std::pair<std::string, std::string>, std::int64_t> of_kind_in;  // by queue and kind
  std::map<std::string, std::int64_t> of_kind;                             // in every queue
  bool any = false;  // a claim takes jobs of every queue
  std::int64_t most = 0;
};

Result<void> Transaction::Claim(std::span<ClaimOne> requests, bool skips_held_queues) {
  Clear();
  for (ClaimOne& request : requests) request.answer = std::vector<Job>();
  Result<void> result = LoadForClaim(requests, skips_held_queues);
  if (result) result = ClaimLoaded(requests);
  if (result) result = WriteAndCommit();
  if (!result) connection_->RollBack();
  return result;
}

/// Locks what may be claimed: of every queue as many as all claims that ask for it want together.
/// Each round trip that locks ends with a stamp: tokens are drawn after the last lock, so that they
/// rise in the order of the grants.
Result<void> Transaction::LoadForClaim(std::span<ClaimOne> requests, bool skips_held_queues) {
  const Asked asked(requests);
  const SteadyTime began = std::chrono::steady_clock::now();
  std::vector<LowWatermarks::View> views;
  if (asked.any) views = node_.low_watermarks.LookAtAll(began);
  std::set<std::string> names;  // if any queue will do: those that have marks or are named
  for (const LowWatermarks::View& view : views) names.insert(view.queue);
  for (const auto& [queue, count] : asked.of_queue) {
    if (names.insert(queue).second) views.push_back(node_.low_watermarks.Look(queue, began));
  }
  std::ranges::sort(views, {}, &LowWatermarks::View::queue);
  for (const auto& [place, count] : asked.of_kind_in) names.insert(place.first);
  connection_->QueueBegin(lock_timeout);
  connection_->Queue(asked.any ? claim_any_ : claim_jobs_, asked.ToParameters(views));
  connection_->Queue(asked.any ? load_pending_queues_ : load_claim_queues_,
                     Parameters().Add(Column::Of(names)));
  if (asked.HasKinds()) {
    connection_->Queue(claim_kinds_, asked.OfKindsIn());
    connection_->Queue(claim_kinds_any_, asked.OfKinds());
    connection_->Queue(load_limited_queues_, asked.KindsAnywhere());
  }
  connection_->Queue(stamp_);
  HF_ASSIGN_OR_RETURN(std::vector<Answer> all, connection_->Run());
  Answers answers(std::move(all));
  answers.Next();
  answers.Next();
  HF_RETURN_IF_ERROR(jobs_.AddLoaded(answers.Next(), candidates_));
  std::vector<std::string> limited = jobs_.AddQueues(answers.Next());
  std::vector<JobId> of_kinds;
  if (asked.HasKinds()) {
    HF_RETURN_IF_ERROR(jobs_.AddLoaded(answers.Next(), of_kinds));
    HF_RETURN_IF_ERROR(jobs_.AddLoaded(answers.Next(), of_kinds));
    for (std::string& name : jobs_.AddQueues(answers.Next())) limited.push_back(std::move(name));
    rules::SortUnique(limited);
  }
  TakeStamp(answers.Next());
  if (asked.any) AddFoundQueues(views);
  std::erase_if(views, [&](const LowWatermarks::View& view) {
    return !IsClaimedFreely(view.queue, limited);
  });
  RaiseMarks(views, began);
  if (candidates_.empty()) HF_RETURN_IF_ERROR(LookAgain(asked, views));
  // Marks say where the first job of any kind is: jobs that were looked for by kind do not count.
  candidates_.insert(candidates_.end(), of_kinds.begin(), of_kinds.end());
  HF_RETURN_IF_ERROR(LoadQueuesOf(of_kinds));
  // By counts that were read without a lock: a queue that is full is not worth one.
  std::erase_if(limited, [&](const std::string& name) { return jobs_.RoomOf(name) <= 0; });
  if (skips_held_queues) HF_RETURN_IF_ERROR(LockFreeQueues(limited));
  if (!limited.empty()) HF_RETURN_IF_ERROR(LoadLimited(limited, asked));
  rules::SortUnique(candidates_);
  return {};
}

/// Adds queues in which jobs were found although they have no marks.
void Transaction::AddFoundQueues(std::vector<LowWatermarks::View>& views) const {
  std::set<std::string_view> known;
  for (const LowWatermarks::View& view : views) known.insert(view.queue);
  std::set<std::string_view> found;
  for (JobId id : candidates_) found.insert(jobs_.LoadedJob(id).queue);
  std::vector<LowWatermarks::View> added;
  for (std::string_view queue : found) {
    if (!known.contains(queue)) added.push_back({.queue = std::string(queue), .marks = {}});
  }
  std::ranges::move(added, std::back_inserter(views));
}

/// Of queues that are paused, or limited, claim_jobs_ and claim_any_ do not look at the jobs.
bool Transaction::IsClaimedFreely(const std::string& queue,
                                  const std::vector<std::string>& limited) const {
  return jobs_.RoomOf(queue) > 0 && std::ranges::find(limited, queue) == limited.end();
}

/// What was found under the views says where the next claims shall begin.
void Transaction::RaiseMarks(const std::vector<LowWatermarks::View>& views, SteadyTime began) {
  const SteadyTime ended = std::chrono::steady_clock::now();
  std::map<std::string_view, const Job*> first;
  for (JobId id : candidates_) {
    const Job& job = jobs_.LoadedJob(id);
    const Job*& known = first[job.queue];
    if (known == nullptr || ClaimOrder(job) < ClaimOrder(*known)) known = &job;
  }
  for (const LowWatermarks::View& view : views) {
    auto found = first.find(view.queue);
    const Job* of_queue = found == first.end() ? nullptr : found->second;
    node_.low_watermarks.Raise(view, of_queue, now_, began, ended);
  }
}

/// Nothing is ready as far as this node knows: another one may have made jobs ready below the
/// marks.
Result<void> Transaction::LookAgain(const Asked& asked,
                                    const std::vector<LowWatermarks::View>& views) {
  const SteadyTime began = std::chrono::steady_clock::now();
  Asked again;
  std::vector<LowWatermarks::View> sweeps;
  for (const LowWatermarks::View& view : views) {
    auto sweep = node_.low_watermarks.LookAgain(view, began);
    if (!sweep) continue;
    again.of_queue[view.queue] = asked.any ? asked.most : asked.of_queue.at(view.queue);
    sweeps.push_back(*std::move(sweep));
  }
  if (sweeps.empty()) return {};
  connection_->Queue(claim_jobs_, again.ToParameters(sweeps));
  connection_->Queue(stamp_);
  HF_ASSIGN_OR_RETURN(std::vector<Answer> answers, connection_->Run());
  HF_RETURN_IF_ERROR(jobs_.AddLoaded(answers[0], candidates_));
  TakeStamp(answers[1]);
  RaiseMarks(sweeps, began);
  return {};
}

/// A claim from every queue learns in which its jobs are when it has them.
Result<void> Transaction::LoadQueuesOf(const std::vector<JobId>& ids) {
  std::set<std::string> names;
  for (JobId id : ids) names.insert(jobs_.LoadedJob(id).queue);
  for (const std::string& known : jobs_.LoadedQueues()) names.erase(known);
  if (names.empty()) return {};
  HF_ASSIGN_OR_RETURN(Answer queues,
                      connection_->Query(load_claim_queues_, Parameters().Add(Column::Of(names))));
  jobs_.AddQueues(queues);
  return {};
}

/// Leaves of the names those of queues that no other transaction holds, and locks these.
Result<void> Transaction::LockFreeQueues(std::vector<std::string>& names) {
  if (names.empty()) return {};
  HF_ASSIGN_OR_RETURN(Answer locked,
                      connection_->Query(lock_free_queues_, Parameters().Add(Column::Of(names))));
  names.clear();
  for (int i = 0; i < locked.size(); ++i) names.push_back(Row(locked, i).String(0));
  return {};
}

/// Of queues with a limit on what runs: a claim locks the queue, so that the limit is exact across
/// all nodes.
Result<void> Transaction::LoadLimited(const std::vector<std::string>& names, const Asked& asked) {
  jobs_.WantLocked(names);
  jobs_.QueueLoad(*connection_, false);
  for (const std::string& name : names) {
    connection_->Queue(claim_limited_, Parameters().Add(name).Add(asked.most));
    if (asked.HasKinds()) connection_->Queue(claim_limited_kinds_, asked.OfKindsOf(name));
  }
  connection_->Queue(stamp_);
  HF_ASSIGN_OR_RETURN(std::vector<Answer> all, connection_->Run());
  Answers answers(std::move(all));
  HF_RETURN_IF_ERROR(jobs_.TakeLoaded(answers));
  for (std::size_t i = 0; i < names.size(); ++i) {
    HF_RETURN_IF_ERROR(jobs_.AddLoaded(answers.Next(), candidates_));
    if (asked.HasKinds()) HF_RETURN_IF_ERROR(jobs_.AddLoaded(answers.Next(), candidates_));
  }
  if (!HF_MUTANT(claim_token_before_the_last_lock)) TakeStamp(answers.Next());
  return {};
}

Result<void> Transaction::ClaimLoaded(std::span<ClaimOne> requests) {
  std::vector<const Job*> in_order;
  for (JobId id : candidates_) in_order.push_back(&jobs_.LoadedJob(id));
  std::ranges::sort(in_order, {}, [](const Job* job) { return ClaimOrder(*job); });
  for (ClaimOne& one : requests) {
    if (Result<void> alive = one.context->Check(); !alive) {
      one.answer = std::unexpected(std::move(alive).error());
      continue;
    }
    std::vector<JobId> ids;
    std::map<std::string_view, std::int64_t> left;  // by queue
    for (const Job* job : in_order) {
      if (job->state != JobState::kPending || !Asks(*one.request, *job)) continue;
      if (ids.size() == static_cast<std::size_t>(one.request->max)) break;
      auto room = left.try_emplace(job->queue, jobs_.RoomOf(job->queue)).first;
      if (room->second-- > 0) ids.push_back(job->id);
    }
    if (ids.empty()) continue;
    const SteadyTime began = std::chrono::steady_clock::now();
    BeginBatch();
    HF_RETURN_IF_ERROR(rules::LoadJobRows(ids, jobs_, keys_, rows_));
    rules::ClaimAll(rows_, ids, *one.request, OriginOf(*one.context, one.called, began, now_));
    TakeOver(began);
    std::vector<Job> jobs;
    for (OperationResult& result : rows_.TakeReceipt(true).results) {
      jobs.push_back(*std::move(result.job));
    }
    one.answer = std::move(jobs);
  }
  return {};
}

}  // namespace holdfast::engine::postgres
