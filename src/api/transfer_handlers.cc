// Calls about transfers between records.
#include <fmt/format.h>

#include "api/handlers.h"
#include "base/result.h"
#include "wire/decode.h"
#include "wire/encode.h"

namespace holdfast::api {
namespace {

void AnswerTransfer(Call& call, const OperationResult& result) {
  call.Reply(200, wire::ToText(wire::WriteTransfer, *result.transfer));
}

void AnswerMade(Call& call, const OperationResult& result) {
  call.AddHeader("Location", fmt::format("/v1/transfers/{}", result.transfer->id));
  call.Reply(201, wire::ToText(wire::WriteTransfer, *result.transfer));
}

/// A call about the transfer in the path: the body holds the operation's other members.
template <typename T>
void OnTransfer(Call call) {
  auto id = call.ParameterAsId("transfer");
  if (!id) return call.Refuse(id.error());
  T start;
  start.id = *id;
  auto operation = wire::DecodeOperation(std::move(start), call.body(), {"id"});
  if (!operation) return call.Refuse(operation.error());
  CommitOne(std::move(call), *std::move(operation), AnswerTransfer);
}

Result<TransferFilter> TransferFilterOf(const Query& query) {
  HF_RETURN_IF_ERROR(query.AllowOnly({"state", "from", "limit", "cursor"}));
  TransferFilter filter;
  HF_ASSIGN_OR_RETURN(filter.limit, LimitOf(query, filter.limit));
  HF_ASSIGN_OR_RETURN(filter.from, KeyOf(query, "from"));
  filter.cursor = query.Get("cursor");
  const std::string* state = query.Find("state");
  if (state == nullptr) return filter;
  filter.state = ParseTransferState(*state);
  if (filter.state) return filter;
  return Fail(ErrorCode::kInvalidArgument, "state must be pending, posted, voided or expired");
}

}  // namespace

void ListTransfers(Call call) {
  auto filter = TransferFilterOf(call.query());
  if (!filter) return call.Refuse(filter.error());
  auto page = call.store().ListTransfers(call.context(), *filter);
  if (!page) return call.Refuse(page.error());
  base::JsonWriter json;
  json.BeginObject();
  json.Key("items");
  json.BeginArray();
  for (const Transfer& transfer : page->items) wire::WriteTransfer(json, transfer);
  json.EndArray();
  WriteNextCursor(json, page->next_cursor);
  json.EndObject();
  call.Reply(200, std::move(json).Take());
}

void AddTransfer(Call call) {
  auto operation = wire::DecodeOperation(MakeTransfer(), call.body(), {});
  if (!operation) return call.Refuse(operation.error());
  CommitOne(std::move(call), *std::move(operation), AnswerMade);
}

void GetTransfer(Call call) {
  auto id = call.ParameterAsId("transfer");
  if (!id) return call.Refuse(id.error());
  auto transfer = call.store().GetTransfer(call.context(), *id);
  if (!transfer) return call.Refuse(transfer.error());
  if (!*transfer) {
    return call.Refuse(
        {ErrorCode::kNotFound, fmt::format("transfer {} does not exist", *id), {.id = *id}});
  }
  call.Reply(200, wire::ToText(wire::WriteTransfer, **transfer));
}

void PostOne(Call call) {
  OnTransfer<PostTransfer>(std::move(call));
}
void VoidOne(Call call) {
  OnTransfer<VoidTransfer>(std::move(call));
}

}  // namespace holdfast::api
