// The calls of Store that name one operation: each is a batch with that operation in it.
#include "base/result.h"
#include "holdfast/store.h"
#include "store/commit_one.h"

namespace holdfast {

Result<OperationResult> store::CommitOne(Store& store, const Context& context,
                                         Operation operation) {
  Batch batch;
  batch.operations.push_back(std::move(operation));
  Result<Receipt> receipt = store.Commit(context, std::move(batch));
  if (receipt) return std::move(receipt->results.front());
  receipt.error().detail.operation.reset();
  return std::unexpected(std::move(receipt).error());
}

namespace {

using store::CommitOne;

Result<Job> CommitForJob(Store& store, const Context& context, Operation operation) {
  HF_ASSIGN_OR_RETURN(OperationResult result, CommitOne(store, context, std::move(operation)));
  return *std::move(result.job);
}

}  // namespace

Result<Job> Store::Enqueue(const Context& context, JobSpec spec) {
  return CommitForJob(*this, context, EnqueueJob{std::move(spec)});
}

Result<std::optional<Job>> Store::ClaimById(const Context& context, JobId id, std::string worker,
                                            Duration lease) {
  HF_ASSIGN_OR_RETURN(OperationResult result,
                      CommitOne(*this, context, ClaimJob{id, std::move(worker), lease}));
  return std::move(result.job);
}

Result<Job> Store::Complete(const Context& context, JobId id, Token token,
                            std::optional<std::string> result) {
  return CommitForJob(*this, context, CompleteJob{id, token, std::move(result)});
}

Result<Job> Store::FailAttempt(const Context& context, FailJob failure) {
  return CommitForJob(*this, context, std::move(failure));
}

Result<Job> Store::Release(const Context& context, JobId id, Token token) {
  return CommitForJob(*this, context, ReleaseJob{id, token});
}

Result<Job> Store::Snooze(const Context& context, JobId id, Token token, Duration delay) {
  return CommitForJob(*this, context, SnoozeJob{id, token, delay});
}

Result<Job> Store::Renew(const Context& context, JobId id, Token token, Duration lease) {
  return CommitForJob(*this, context, RenewJob{id, token, lease});
}

Result<Job> Store::ReportProgress(const Context& context, ProgressJob progress) {
  return CommitForJob(*this, context, std::move(progress));
}

Result<Job> Store::Cancel(const Context& context, JobId id) {
  return CommitForJob(*this, context, CancelJob{id});
}

Result<Job> Store::Retry(const Context& context, JobId id) {
  return CommitForJob(*this, context, RetryJob{id});
}

Result<void> Store::Delete(const Context& context, JobId id) {
  HF_RETURN_IF_ERROR(CommitOne(*this, context, DeleteJob{id}));
  return {};
}

Result<Queue> Store::Set(const Context& context, SetQueue change) {
  HF_ASSIGN_OR_RETURN(OperationResult result, CommitOne(*this, context, std::move(change)));
  return *std::move(result.queue);
}

}  // namespace holdfast
