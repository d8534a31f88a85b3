// Calls about one job, and the claims.
#include <fmt/format.h>

#include "api/handlers.h"
#include "base/mutant.h"
#include "base/text.h"
#include "wire/decode.h"
#include "wire/encode.h"

namespace holdfast::api {
namespace {

/// A call about the job in the path: the body holds the operation's other members.
template <typename T>
void OnJob(Call call, void (*answer)(Call&, const OperationResult&)) {
  auto id = call.ParameterAsId("job");
  if (!id) return call.Refuse(id.error());
  T start;
  start.id = *id;
  auto operation = wire::DecodeJobOperation(std::move(start), call.body());
  if (!operation) return call.Refuse(operation.error());
  CommitOne(std::move(call), *std::move(operation), answer);
}

void AnswerJob(Call& call, const OperationResult& result) {
  call.Reply(200, wire::ToText(wire::WriteJob, *result.job));
}

void AnswerEnqueued(Call& call, const OperationResult& result) {
  call.AddHeader("Location", fmt::format("/v1/jobs/{}", result.job->id));
  call.Reply(result.existing ? 200 : 201, wire::ToText(wire::WriteJob, *result.job));
}

void AnswerClaimed(Call& call, const OperationResult& result) {
  base::JsonWriter json;
  json.BeginObject();
  json.Field("claimed", result.job.has_value());
  if (result.job) {
    json.Key("job");
    wire::WriteJob(json, *result.job);
  }
  json.EndObject();
  // Under a key the claim is asked for again, and the same answer given.
  if (result.job && call.IdempotencyKey().empty()) {
    call.UndoIfUndelivered({ReleaseJob{result.job->id, result.job->token}});
  }
  call.Reply(200, std::move(json).Take());
}

std::string TextOf(const std::vector<Job>& jobs) {
  base::JsonWriter json(1024 * (jobs.size() + 1));
  wire::WriteJobs(json, jobs);
  return std::move(json).Take();
}

/// The claimer hung up while its jobs were being claimed. Without this they would sit out a lease
/// that nobody holds, and count an attempt that nobody made.
///
/// It is told, too, once the jobs are free again: whoever hangs up may still listen.
void GiveBack(Call call, const std::vector<Job>& jobs) {
  std::vector<Batch> batches(jobs.size());
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    batches[i].operations.emplace_back(ReleaseJob{jobs[i].id, jobs[i].token});
  }
  // The call's own stop token has fired: clean-up never uses it.
  const Context context = call.context().ForCleanUp();
  Store& store = call.store();
  store.CommitAsync(context, std::move(batches),
                    [call = std::move(call)](auto) mutable { call.Reply(200, TextOf({})); });
}

Result<JobFilter> JobFilterOf(const Query& query) {
  if (auto allowed =
          query.AllowOnly({"state", "queue", "kind", "parent", "retrying", "limit", "cursor"});
      !allowed) {
    return std::unexpected(std::move(allowed).error());
  }
  JobFilter filter;
  if (const std::string* state = query.Find("state")) {
    filter.state = ParseJobState(*state);
    if (!filter.state) {
      return Fail(ErrorCode::kInvalidArgument,
                  "state must be scheduled, pending, processing, completed, failed or cancelled");
    }
  }
  if (const std::string* parent = query.Find("parent")) {
    filter.parent = base::ParseInteger(*parent);
    if (!filter.parent) {
      return Fail(ErrorCode::kInvalidArgument, "parent must be a decimal number");
    }
  }
  auto retrying = BoolOf(query, "retrying");
  if (!retrying) return std::unexpected(std::move(retrying).error());
  filter.retrying = retrying->value_or(false);
  auto limit = LimitOf(query, filter.limit);
  if (!limit) return std::unexpected(std::move(limit).error());
  filter.limit = *limit;
  filter.queue = query.Get("queue");
  filter.kind = query.Get("kind");
  filter.cursor = query.Get("cursor");
  return filter;
}

}  // namespace

void CommitOne(Call call, Operation operation, void (*answer)(Call&, const OperationResult&)) {
  std::vector<Batch> batches(1);
  batches[0].operations.push_back(std::move(operation));
  batches[0].idempotency_key = call.IdempotencyKey();
  Store& store = call.store();
  Context context = call.context();
  store.CommitAsync(context, std::move(batches),
                    [call = std::move(call), answer](std::vector<Result<Receipt>> answers) mutable {
                      Result<Receipt>& receipt = answers.front();
                      if (!receipt) {
                        // The caller sent no list in which an index would mean anything.
                        receipt.error().detail.operation.reset();
                        return call.Refuse(receipt.error());
                      }
                      if (receipt->replayed) call.MarkReplayed();
                      answer(call, receipt->results.front());
                    });
}

void EnqueueOne(Call call) {
  auto spec = wire::DecodeJobSpec(call.body());
  if (!spec) return call.Refuse(spec.error());
  CommitOne(std::move(call), EnqueueJob{*std::move(spec)}, AnswerEnqueued);
}

void ListJobs(Call call) {
  auto filter = JobFilterOf(call.query());
  if (!filter) return call.Refuse(filter.error());
  auto page = call.store().ListJobs(call.context(), *filter);
  if (!page) return call.Refuse(page.error());
  base::JsonWriter json(1024 * (page->items.size() + 1));
  json.BeginObject();
  json.Key("items");
  json.BeginArray();
  for (const Job& job : page->items) wire::WriteJob(json, job);
  json.EndArray();
  WriteNextCursor(json, page->next_cursor);
  json.EndObject();
  call.Reply(200, std::move(json).Take());
}

void GetJob(Call call) {
  auto id = call.ParameterAsId("job");
  if (!id) return call.Refuse(id.error());
  auto job = call.store().GetJob(call.context(), *id);
  if (!job) return call.Refuse(job.error());
  if (!*job) {
    return call.Refuse({ErrorCode::kNotFound, fmt::format("job {} does not exist", *id), {}});
  }
  call.Reply(200, wire::ToText(wire::WriteJob, **job));
}

void DeleteOne(Call call) {
  OnJob<DeleteJob>(std::move(call), [](Call& done, const OperationResult&) {
    done.Reply(net::HttpResponse{.status = 204});
  });
}

void ClaimNext(Call call) {
  auto request = wire::DecodeClaimRequest(call.body());
  if (!request) return call.Refuse(request.error());
  if (!call.IdempotencyKey().empty()) {
    return call.Refuse({ErrorCode::kInvalidArgument,
                        "a claim takes no Idempotency-Key: every claim gets other jobs, and those "
                        "of a lost answer come back when their leases end",
                        {}});
  }
  call.DropBody();
  Store& store = call.store();
  Context context = call.context();
  context.stop = call.gone();
  store.ClaimAsync(context, *std::move(request),
                   [call = std::move(call)](Result<std::vector<Job>> jobs) mutable {
                     if (!jobs) return call.Refuse(jobs.error());
                     const bool is_gone =
                         call.gone().stop_requested() && !HF_MUTANT(jobs_lost_with_the_line);
                     if (is_gone && !jobs->empty()) {
                       return GiveBack(std::move(call), *jobs);
                     }
                     std::vector<Operation> undo;
                     for (const Job& job : *jobs) undo.push_back(ReleaseJob{job.id, job.token});
                     call.UndoIfUndelivered(std::move(undo));
                     call.Reply(200, TextOf(*jobs));
                   });
}

void ClaimOne(Call call) {
  OnJob<ClaimJob>(std::move(call), AnswerClaimed);
}
void CompleteOne(Call call) {
  OnJob<CompleteJob>(std::move(call), AnswerJob);
}
void FailOne(Call call) {
  OnJob<FailJob>(std::move(call), AnswerJob);
}
void ReleaseOne(Call call) {
  OnJob<ReleaseJob>(std::move(call), AnswerJob);
}
void SnoozeOne(Call call) {
  OnJob<SnoozeJob>(std::move(call), AnswerJob);
}
void RenewOne(Call call) {
  OnJob<RenewJob>(std::move(call), AnswerJob);
}
void ReportProgress(Call call) {
  OnJob<ProgressJob>(std::move(call), AnswerJob);
}
void CancelOne(Call call) {
  OnJob<CancelJob>(std::move(call), AnswerJob);
}
void RetryOne(Call call) {
  OnJob<RetryJob>(std::move(call), AnswerJob);
}

}  // namespace holdfast::api
