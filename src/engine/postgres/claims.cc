// Claiming inside a transaction: rows that somebody else holds are passed over, never waited for.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "base/result.h"
#include "engine/postgres/transaction.h"
#include "engine/postgres/transaction_run.h"

namespace holdfast::engine::postgres {
namespace {

Column NamesColumn(const std::vector<std::string>& names) {
  Column column(Type::kText);
  for (const std::string& name : names) column.Add(name);
  return column;
}

bool Asks(const ClaimRequest& request, const std::string& queue) {
  return request.queues.empty() || std::ranges::find(request.queues, queue) != request.queues.end();
}

}  // namespace

Result<void> Transaction::Claim(std::span<ClaimOne> requests) {
  Clear();
  for (ClaimOne& request : requests) request.answer = std::vector<Job>();
  Result<bool> has_jobs = LoadForClaim(requests);
  if (!has_jobs) {
    connection_->RollBack();
    return std::unexpected(std::move(has_jobs).error());
  }
  if (Result<bool> claimed = ClaimLoaded(requests); !claimed) {
    connection_->RollBack();
    return std::unexpected(std::move(claimed).error());
  }
  Result<void> written = WriteAndCommit();
  if (!written) connection_->RollBack();
  return written;
}

/// Locks what may be claimed: of every queue as many as all who ask for it want together.
Result<bool> Transaction::LoadForClaim(std::span<ClaimOne> requests) {
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
  HF_RETURN_IF_ERROR(TakeStamp(answers.Next()));
  if (!limited.empty()) HF_RETURN_IF_ERROR(LoadLimited(std::move(limited), most));
  rules::SortUnique(candidates_);
  return !candidates_.empty();
}

/// Of queues with a limit on what runs: whoever claims locks the queue, so that the limit is exact
/// across all nodes.
Result<void> Transaction::LoadLimited(std::vector<std::string> names, std::int64_t max) {
  connection_->Queue(lock_claim_queues_, Parameters().Add(NamesColumn(names)));
  connection_->Queue(load_claim_queues_, Parameters().Add(NamesColumn(names)));
  for (const std::string& name : names) {
    connection_->Queue(claim_limited_, Parameters().Add(name).Add(max));
  }
  HF_ASSIGN_OR_RETURN(std::vector<Answer> all, connection_->Run());
  Answers answers(std::move(all));
  answers.Next();
  jobs_.AddQueues(answers.Next());
  for (std::size_t i = 0; i < names.size(); ++i) {
    HF_RETURN_IF_ERROR(jobs_.AddLoaded(answers.Next(), candidates_));
  }
  return {};
}

Result<bool> Transaction::ClaimLoaded(std::span<ClaimOne> requests) {
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
    for (const Job* job : in_order) {
      if (job->state != JobState::kPending || !Asks(*one.request, job->queue)) continue;
      if (ids.size() == static_cast<std::size_t>(one.request->max)) break;
      if (jobs_.CanClaimMore(job->queue, ids)) ids.push_back(job->id);
    }
    if (ids.empty()) continue;
    const SteadyTime began = std::chrono::steady_clock::now();
    BeginBatch();
    HF_RETURN_IF_ERROR(LoadJobs(ids));
    rules::ClaimAll(rows_, ids, *one.request, OriginOf(*one.context, one.called));
    TakeOver(began);
    std::vector<Job> jobs;
    for (OperationResult& result : rows_.TakeReceipt(true).results) {
      jobs.push_back(*std::move(result.job));
    }
    one.answer = std::move(jobs);
  }
  return true;
}

/// Fills rows_ with jobs that are loaded already, and their queues.
Result<void> Transaction::LoadJobs(const std::vector<JobId>& ids) {
  keys_.Clear();
  for (JobId id : ids) {
    HF_ASSIGN_OR_RETURN(Job * job, jobs_.LoadJob(id));
    if (job != nullptr) rows_.AddJob(job);
  }
  for (const rules::JobRow& row : rows_.jobs()) keys_.queues.push_back(row.job->queue);
  rules::SortUnique(keys_.queues);
  for (std::string_view name : keys_.queues) {
    HF_ASSIGN_OR_RETURN(Queue * queue, jobs_.LoadQueue(name));
    if (queue != nullptr) {
      rows_.AddQueue(queue);
    } else {
      rows_.AddNewQueue(name);
    }
  }
  rows_.Seal(0);
  return {};
}

}  // namespace holdfast::engine::postgres
