// Calls about locks.
#include <fmt/format.h>

#include "api/handlers.h"
#include "base/result.h"
#include "wire/decode.h"
#include "wire/encode.h"

namespace holdfast::api {
namespace {

/// The caller hung up in the instant in which it got its locks: without this they would sit out a
/// lease that nobody holds. It is told, too, once they are free again.
void GiveBack(Call call, const std::vector<LockGrant>& grants) {
  // One for each: that one of them is gone must not keep the others.
  std::vector<Batch> batches(grants.size());
  for (std::size_t i = 0; i < grants.size(); ++i) {
    batches[i].operations.emplace_back(ReleaseLock{grants[i].name, grants[i].token});
  }
  // The call's own stop token has fired: clean-up never uses it.
  const Context context = call.context().ForCleanUp();
  Store& store = call.store();
  store.CommitAsync(context, std::move(batches), [call = std::move(call)](const auto&) mutable {
    call.Refuse({ErrorCode::kCancelled, "the client hung up while it waited for a lock", {}});
  });
}

std::vector<Operation> UndoOf(const std::vector<LockGrant>& grants) {
  std::vector<Operation> undo;
  for (const LockGrant& grant : grants) undo.push_back(ReleaseLock{grant.name, grant.token});
  return undo;
}

using Answer = void (*)(Call& call, const OperationResult& result);

void AnswerOne(Call& call, const OperationResult& result) {
  call.Reply(200, wire::ToText(wire::WriteLockGrant, result.lock->grants.front()));
}

void AnswerAll(Call& call, const OperationResult& result) {
  call.Reply(200, wire::ToText(wire::WriteGrants, result.lock->grants));
}

void Acquire(Call call, AcquireLock request, Answer answer) {
  if (!call.IdempotencyKey().empty()) {
    const bool waits =
        !request.preset.empty() || request.wait.value_or(Duration::zero()) > Duration::zero();
    if (!waits) return CommitOne(std::move(call), std::move(request), answer);
    return call.Refuse({ErrorCode::kInvalidArgument,
                        "an acquire that waits takes no Idempotency-Key: ask again as the same "
                        "owner, who is told the token if it holds the lock already",
                        {}});
  }
  call.DropBody();
  Store& store = call.store();
  Context context = call.context();
  context.stop = call.gone();
  store.AcquireAsync(
      context, std::move(request),
      [call = std::move(call), answer](Result<std::vector<LockGrant>> grants) mutable {
        if (!grants) return call.Refuse(grants.error());
        if (call.gone().stop_requested()) return GiveBack(std::move(call), *grants);
        call.UndoIfUndelivered(UndoOf(*grants));
        OperationResult result;
        result.lock = LockOutcome{.grants = *std::move(grants)};
        answer(call, result);
      });
}

/// A call about the lock in the path: the body holds the operation's other members.
template <typename T>
void OnLock(Call call, void (*answer)(Call&, const OperationResult&)) {
  T start;
  start.name = call.parameter();
  auto operation = wire::DecodeOperation(std::move(start), call.body(), {"name"});
  if (!operation) return call.Refuse(operation.error());
  CommitOne(std::move(call), *std::move(operation), answer);
}

}  // namespace

void AcquireOneLock(Call call) {
  auto request =
      wire::DecodeAcquire({.name = call.parameter()}, call.body(), {"name", "names", "policy"});
  if (!request) return call.Refuse(request.error());
  Acquire(std::move(call), *std::move(request), AnswerOne);
}

void AcquireLocks(Call call) {
  auto request = wire::DecodeAcquire({}, call.body(), {});
  if (!request) return call.Refuse(request.error());
  Acquire(std::move(call), *std::move(request), AnswerAll);
}

void RenewOneLock(Call call) {
  OnLock<RenewLock>(std::move(call), AnswerOne);
}
void ReleaseOneLock(Call call) {
  OnLock<ReleaseLock>(std::move(call), AnswerOne);
}
void BreakOneLock(Call call) {
  OnLock<BreakLock>(std::move(call), AnswerAll);
}

void GetOneLock(Call call) {
  auto lock = call.store().GetLock(call.context(), call.parameter());
  if (!lock) return call.Refuse(lock.error());
  call.Reply(200, wire::ToText(wire::WriteLock, *lock));
}

void ListLocks(Call call) {
  if (auto valid = call.query().AllowOnly({"prefix", "owner", "limit", "cursor"}); !valid) {
    return call.Refuse(valid.error());
  }
  LockFilter filter;
  auto limit = LimitOf(call.query(), filter.limit);
  if (!limit) return call.Refuse(limit.error());
  filter.limit = *limit;
  filter.prefix = call.query().Get("prefix");
  filter.owner = call.query().Get("owner");
  filter.cursor = call.query().Get("cursor");
  auto page = call.store().ListLocks(call.context(), filter);
  if (!page) return call.Refuse(page.error());
  base::JsonWriter json(256 * (page->items.size() + 1));
  json.BeginObject();
  json.Key("items");
  json.BeginArray();
  for (const Lock& lock : page->items) wire::WriteLock(json, lock);
  json.EndArray();
  WriteNextCursor(json, page->next_cursor);
  json.EndObject();
  call.Reply(200, std::move(json).Take());
}

void AcquireNextRecord(Call call) {
  auto request = wire::DecodeAcquireNext(call.body());
  if (!request) return call.Refuse(request.error());
  if (!call.IdempotencyKey().empty()) {
    return call.Refuse({ErrorCode::kInvalidArgument,
                        "taking the next free record takes no Idempotency-Key: every call takes "
                        "another one, and that of a lost answer is free when its lease ends",
                        {}});
  }
  request->filter.kind = call.parameter();
  call.DropBody();
  Store& store = call.store();
  Context context = call.context();
  context.stop = call.gone();
  store.AcquireNextAsync(
      context, std::move(request->filter), std::move(request->lock),
      [call = std::move(call)](Result<std::optional<LockedRecord>> taken) mutable {
        if (!taken) return call.Refuse(taken.error());
        if (*taken && call.gone().stop_requested()) {
          return GiveBack(std::move(call), {(*taken)->lock});
        }
        if (*taken) call.UndoIfUndelivered(UndoOf({(*taken)->lock}));
        call.Reply(200, wire::ToText(wire::WriteLockedRecord, *taken));
      });
}

}  // namespace holdfast::api
