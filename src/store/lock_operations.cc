// The calls of Store that name one operation on a lock, and taking the next free record.
#include "base/answer.h"
#include "base/result.h"
#include "holdfast/store.h"
#include "store/commit_one.h"
#include "store/next_acquirer.h"

namespace holdfast {

Result<std::vector<LockGrant>> store::GrantsOf(Result<Receipt> receipt) {
  if (receipt) return std::move(receipt->results.front().lock->grants);
  receipt.error().detail.operation.reset();
  return std::unexpected(std::move(receipt).error());
}

namespace {

using store::CommitOne;

Result<LockGrant> CommitForGrant(Store& store, const Context& context, Operation operation) {
  HF_ASSIGN_OR_RETURN(OperationResult result, CommitOne(store, context, std::move(operation)));
  return std::move(result.lock->grants.front());
}

}  // namespace

Result<LockGrant> Store::Renew(const Context& context, RenewLock renewal) {
  return CommitForGrant(*this, context, std::move(renewal));
}

Result<LockGrant> Store::Release(const Context& context, ReleaseLock release) {
  return CommitForGrant(*this, context, std::move(release));
}

Result<std::vector<LockGrant>> Store::Break(const Context& context, BreakLock breaking) {
  HF_ASSIGN_OR_RETURN(OperationResult result, CommitOne(*this, context, std::move(breaking)));
  return std::move(result.lock->grants);
}

void Store::AcquireNextAsync(const Context& context, RecordFilter filter, AcquireLock request,
                             AcquireNextDone done) {
  auto refuse = [&](std::string message) {
    done(Fail(ErrorCode::kInvalidArgument, std::move(message)));
  };
  if (!request.name.empty() || !request.names.empty()) {
    return refuse("the next free record is taken by a filter, not by a name");
  }
  if (request.wait.value_or(Duration::zero()) != Duration::zero()) {
    return refuse("wait: the next free record is not waited for");
  }
  request.wait = Duration::zero();
  std::make_shared<store::NextAcquirer>(*this, context, std::move(filter), std::move(request),
                                        std::move(done))
      ->Start();
}

Result<std::optional<LockedRecord>> Store::AcquireNext(const Context& context, RecordFilter filter,
                                                       AcquireLock request) {
  auto answer = std::make_shared<base::Answer<Result<std::optional<LockedRecord>>>>();
  AcquireNextAsync(
      context, std::move(filter), std::move(request),
      [answer](Result<std::optional<LockedRecord>> taken) { answer->Set(std::move(taken)); });
  return answer->Take();
}

}  // namespace holdfast
