// Claiming inside a transaction: rows that somebody else holds are passed over, never waited for.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "base/result.h"
#include "engine/postgres/transaction.h"

namespace holdfast::engine::postgres {
namespace {

bool Asks(const ClaimRequest& request, const std::string& queue) {
  return request.queues.empty() || std::ranges::find(request.queues, queue) != request.queues.end();
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
      for (const std::string& queue : one.request->queues) of_queue[queue] += one.request->max;
      any |= one.request->queues.empty();
      most += one.request->max;
    }
  }

  std::vector<std::string> Queues() const {
    std::vector<std::string> names;
    for (const auto& [queue, count] : of_queue) names.push_back(queue);
    return names;
  }
  /// Of the queues that are asked for; none: all.
  Column Names() const { return any ? Column(Type::kText) : Column::Of(Queues()); }

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
  bool any = false;  // somebody takes jobs of whatever queue
  std::int64_t most = 0;
};

Result<void> Transaction::Claim(std::span<ClaimOne> requests) {
  Clear();
  for (ClaimOne& request : requests) request.answer = std::vector<Job>();
  Result<void> result = LoadForClaim(requests);
  if (result) result = ClaimLoaded(requests);
  if (result) result = WriteAndCommit();
  if (!result) connection_->RollBack();
  return result;
}

/// Locks what may be claimed: of every queue as many as all who ask for it want together.
Result<void> Transaction::LoadForClaim(std::span<ClaimOne> requests) {
  const Asked asked(requests);
  const SteadyTime began = std::chrono::steady_clock::now();
  std::vector<LowWatermarks::View> views;
  if (asked.any) views = node_.low_watermarks.LookAtAll(began);
  for (const auto& [queue, count] : asked.of_queue) {
    if (!asked.any) views.push_back(node_.low_watermarks.Look(queue, began));
  }
  connection_->Queue(begin_);
  connection_->Queue(asked.any ? claim_any_ : claim_jobs_, asked.ToParameters(views));
  connection_->Queue(load_claim_queues_, Parameters().Add(asked.Names()));
  connection_->Queue(stamp_);
  HF_ASSIGN_OR_RETURN(std::vector<Answer> all, connection_->Run());
  Answers answers(std::move(all));
  answers.Next();
  HF_RETURN_IF_ERROR(jobs_.AddLoaded(answers.Next(), candidates_));
  const std::vector<std::string> limited = jobs_.AddQueues(answers.Next());
  TakeStamp(answers.Next());
  std::erase_if(views, [&](const LowWatermarks::View& view) {
    return !IsClaimedFreely(view.queue, limited);
  });
  RaiseMarks(views, began);
  HF_RETURN_IF_ERROR(SweepIfEmpty(asked, limited));
  if (!limited.empty()) HF_RETURN_IF_ERROR(LoadLimited(limited, asked.most));
  rules::SortUnique(candidates_);
  return {};
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
Result<void> Transaction::SweepIfEmpty(const Asked& asked,
                                       const std::vector<std::string>& limited) {
  if (!candidates_.empty()) return {};
  const SteadyTime began = std::chrono::steady_clock::now();
  std::set<std::string> sweeps;
  Column in_doubt(Type::kText);
  for (const std::string& queue : asked.any ? jobs_.LoadedQueues() : asked.Queues()) {
    if (!IsClaimedFreely(queue, limited)) continue;
    if (node_.low_watermarks.IsSweepCheap(queue, began)) {
      sweeps.insert(queue);
    } else {
      in_doubt.Add(queue);
    }
  }
  if (in_doubt.size() > 0) {
    HF_ASSIGN_OR_RETURN(Answer pending,
                        connection_->Query(pending_queues_, Parameters().Add(in_doubt)));
    for (int i = 0; i < pending.size(); ++i) sweeps.insert(Row(pending, i).String(0));
  }
  if (sweeps.empty()) return {};
  Asked again;
  std::vector<LowWatermarks::View> views;
  for (const std::string& queue : sweeps) {
    again.of_queue[queue] = asked.any ? asked.most : asked.of_queue.at(queue);
    views.push_back(node_.low_watermarks.Sweep(queue));
  }
  HF_ASSIGN_OR_RETURN(Answer swept, connection_->Query(claim_jobs_, again.ToParameters(views)));
  HF_RETURN_IF_ERROR(jobs_.AddLoaded(swept, candidates_));
  RaiseMarks(views, began);
  return {};
}

/// Of queues with a limit on what runs: whoever claims locks the queue, so that the limit is exact
/// across all nodes.
Result<void> Transaction::LoadLimited(const std::vector<std::string>& names, std::int64_t max) {
  jobs_.WantLocked(names);
  jobs_.QueueLoad(*connection_, false);
  for (const std::string& name : names) {
    connection_->Queue(claim_limited_, Parameters().Add(name).Add(max));
  }
  HF_ASSIGN_OR_RETURN(std::vector<Answer> all, connection_->Run());
  Answers answers(std::move(all));
  HF_RETURN_IF_ERROR(jobs_.TakeLoaded(answers));
  for (std::size_t i = 0; i < names.size(); ++i) {
    HF_RETURN_IF_ERROR(jobs_.AddLoaded(answers.Next(), candidates_));
  }
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
      if (job->state != JobState::kPending || !Asks(*one.request, job->queue)) continue;
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
