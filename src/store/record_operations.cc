// The calls of Store that name one operation on a record, a kind or a transfer: each is a batch
// with that operation in it.
#include <fmt/format.h>

#include "base/result.h"
#include "holdfast/store.h"
#include "store/commit_one.h"

namespace holdfast {
namespace {

Result<Record> CommitForRecord(Store& store, const Context& context, Operation operation) {
  HF_ASSIGN_OR_RETURN(OperationResult result,
                      store::CommitOne(store, context, std::move(operation)));
  return *std::move(result.record);
}

Result<Transfer> CommitForTransfer(Store& store, const Context& context, Operation operation) {
  HF_ASSIGN_OR_RETURN(OperationResult result,
                      store::CommitOne(store, context, std::move(operation)));
  return *std::move(result.transfer);
}

}  // namespace

Result<Record> Store::Create(const Context& context, CreateRecord create) {
  return CommitForRecord(*this, context, std::move(create));
}

Result<Record> Store::Replace(const Context& context, ReplaceRecord replace) {
  return CommitForRecord(*this, context, std::move(replace));
}

Result<Record> Store::Merge(const Context& context, MergeRecord merge) {
  return CommitForRecord(*this, context, std::move(merge));
}

Result<Record> Store::Patch(const Context& context, PatchRecord patch) {
  return CommitForRecord(*this, context, std::move(patch));
}

Result<Record> Store::Increment(const Context& context, IncrementRecord increment) {
  return CommitForRecord(*this, context, std::move(increment));
}

Result<Record> Store::Append(const Context& context, AppendRecord append) {
  return CommitForRecord(*this, context, std::move(append));
}

Result<Record> Store::Transition(const Context& context, TransitionRecord transition) {
  return CommitForRecord(*this, context, std::move(transition));
}

Result<Record> Store::Run(const Context& context, RunAction action) {
  return CommitForRecord(*this, context, std::move(action));
}

Result<void> Store::Delete(const Context& context, DeleteRecord deletion) {
  HF_RETURN_IF_ERROR(store::CommitOne(*this, context, std::move(deletion)));
  return {};
}

Result<Kind> Store::Apply(const Context& context, ApplyKind kind) {
  HF_ASSIGN_OR_RETURN(OperationResult result, store::CommitOne(*this, context, std::move(kind)));
  return *std::move(result.kind);
}

Result<Transfer> Store::Make(const Context& context, MakeTransfer transfer) {
  return CommitForTransfer(*this, context, std::move(transfer));
}

Result<Transfer> Store::Post(const Context& context, PostTransfer post) {
  return CommitForTransfer(*this, context, std::move(post));
}

Result<Transfer> Store::Void(const Context& context, VoidTransfer giving_up) {
  return CommitForTransfer(*this, context, std::move(giving_up));
}

Result<Record> Store::UpdateWith(const Context& context, const RecordKey& key,
                                 const RecordChange& change, const RetryPolicy& policy) {
  Result<Record> updated = std::unexpected(Error{});
  Result<void> outcome = holdfast::Retry(context, policy, {}, [&]() -> Result<void> {
    HF_ASSIGN_OR_RETURN(std::optional<Record> record, GetRecord(context, key));
    if (!record) {
      return Fail(ErrorCode::kNotFound, fmt::format("record {} does not exist", ToString(key)),
                  {.record = ToString(key)});
    }
    HF_ASSIGN_OR_RETURN(std::string data, change(*record));
    ReplaceRecord replace{{.kind = key.kind, .id = key.id, .version = record->version}, {}};
    replace.data = std::move(data);
    updated = Replace(context, std::move(replace));
    if (!updated) return std::unexpected(updated.error());
    return {};
  });
  if (!outcome) return std::unexpected(std::move(outcome).error());
  return updated;
}

}  // namespace holdfast
