// Calls about kinds and their rules.
#include <fmt/format.h>

#include "api/etag.h"
#include "api/handlers.h"
#include "base/result.h"
#include "wire/encode.h"

namespace holdfast::api {
namespace {

void AnswerKind(Call& call, int status, const Kind& kind) {
  call.AddHeader("ETag", ETagOf(kind.version));
  call.Reply(status, wire::ToText(wire::WriteKind, kind));
}

Result<ApplyKind> ApplicationOf(const Call& call) {
  HF_RETURN_IF_ERROR(call.query().AllowOnly({"force"}));
  ApplyKind apply{.name = call.parameter(), .rules = call.BodyAsJson()};
  HF_ASSIGN_OR_RETURN(apply.version, ParseIfMatch(call.Header("If-Match")));
  HF_ASSIGN_OR_RETURN(std::optional<bool> force, BoolOf(call.query(), "force"));
  apply.force = force.value_or(false);
  return apply;
}

/// 201 if this very request declared the kind; a repeated one is told again what the first one was.
void AnswerApplied(Call& call, const OperationResult& result) {
  bool is_new = result.kind->version == 1 && !result.existing;
  AnswerKind(call, is_new ? 201 : 200, *result.kind);
}

}  // namespace

void ListKinds(Call call) {
  auto kinds = call.store().ListKinds(call.context());
  if (!kinds) return call.Refuse(kinds.error());
  base::JsonWriter json;
  json.BeginObject();
  json.Key("items");
  json.BeginArray();
  for (const Kind& kind : *kinds) wire::WriteKind(json, kind);
  json.EndArray();
  WriteNextCursor(json, "");
  json.EndObject();
  call.Reply(200, std::move(json).Take());
}

void GetKind(Call call) {
  auto kind = call.store().GetKind(call.context(), call.parameter());
  if (!kind) return call.Refuse(kind.error());
  if (!*kind) {
    return call.Refuse(
        {ErrorCode::kNotFound, fmt::format("kind {} is not declared", call.parameter()), {}});
  }
  AnswerKind(call, 200, **kind);
}

void PutKind(Call call) {
  auto apply = ApplicationOf(call);
  if (!apply) return call.Refuse(apply.error());
  CommitOne(std::move(call), *std::move(apply), AnswerApplied);
}

}  // namespace holdfast::api
