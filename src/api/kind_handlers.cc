// Calls about kinds and their rules.
#include <fmt/format.h>

#include "api/etag.h"
#include "api/handlers.h"
#include "base/result.h"
#include "wire/encode.h"

namespace holdfast::api {
namespace {

void Answer(Call& call, int status, const Kind& kind) {
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

/// The kind was not there when the call came. If somebody else declared it meanwhile, both may be
/// told that they did: the rules are the same, or the version is another.
void AnswerDeclared(Call& call, const OperationResult& result) {
  Answer(call, result.kind->version == 1 ? 201 : 200, *result.kind);
}

/// It was there. A repeated request is told again what the first one was told.
void AnswerChanged(Call& call, const OperationResult& result) {
  bool was_declared = call.is_replayed() && result.kind->version == 1;
  Answer(call, was_declared ? 201 : 200, *result.kind);
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
  Answer(call, 200, **kind);
}

void PutKind(Call call) {
  auto apply = ApplicationOf(call);
  if (!apply) return call.Refuse(apply.error());
  auto before = call.store().GetKind(call.context(), apply->name);
  if (!before) return call.Refuse(before.error());
  bool is_new = !before->has_value();
  CommitOne(std::move(call), *std::move(apply), is_new ? AnswerDeclared : AnswerChanged);
}

}  // namespace holdfast::api
