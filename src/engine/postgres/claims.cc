// Claiming inside a transaction: rows that somebody else holds are passed over, never waited for.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "base/result.h"
#include "engine/postgres/transaction.h"

namespace holdfast::engine::postgres {
namespace {

bool Asks(const ClaimRequest& request, const std::string& queue) {
  return request.queues.empty() || std::ranges::find(request.queues, queue) != request.queues.end();
}

}  // namespace

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
  std::map<std::string, std::int64_t> asked;
  std::int64_t from_any = 0;
  std::int64_t most = 0;
  for (const ClaimOne& one : requests) {
    for (const std::string& queue : one.request->queues) asked[queue] += one.request->max;
    if (one.request->queues.empty()) from_any += one.request->max;
    most += one.request->max;
  }
  Column queues(Type::kText);
  Column counts(Type::kInteger);
  Column names(Type::kText);  // empty: all
  for (const auto& [queue, count] : asked) {
    queues.Add(queue);
    counts.Add(count);
    if (from_any == 0) names.Add(queue);
  }
  connection_->QueueText("BEGIN");
  if (!asked.empty()) connection_->Queue(claim_jobs_, Parameters().Add(queues).Add(counts));
  if (from_any > 0) connection_->Queue(claim_any_, Parameters().Add(from_any));
  connection_->Queue(load_claim_queues_, Parameters().Add(names));
  connection_->Queue(stamp_);
  HF_ASSIGN_OR_RETURN(std::vector<Answer> all, connection_->Run());
  Answers answers(std::move(all));
  answers.Next();
  if (!asked.empty()) HF_RETURN_IF_ERROR(jobs_.AddLoaded(answers.Next(), candidates_));
  if (from_any > 0) HF_RETURN_IF_ERROR(jobs_.AddLoaded(answers.Next(), candidates_));
  std::vector<std::string> limited = jobs_.AddQueues(answers.Next());
  TakeStamp(answers.Next());
  if (!limited.empty()) HF_RETURN_IF_ERROR(LoadLimited(limited, most));
  rules::SortUnique(candidates_);
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
  std::ranges::sort(in_order, {},
                    [](const Job* job) { return std::tuple(job->priority, job->run_at, job->id); });
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
      auto claimable = left.try_emplace(job->queue, jobs_.ClaimableOf(job->queue)).first;
      if (claimable->second-- > 0) ids.push_back(job->id);
    }
    if (ids.empty()) continue;
    const SteadyTime began = std::chrono::steady_clock::now();
    BeginBatch();
    HF_RETURN_IF_ERROR(rules::LoadJobRows(ids, jobs_, keys_, rows_));
    rules::ClaimAll(rows_, ids, *one.request, OriginOf(*one.context, one.called, now_));
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
