// Calls about records: reading them, and every change of one.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "api/etag.h"
#include "api/handlers.h"
#include "base/result.h"
#include "base/utf8.h"
#include "wire/decode.h"
#include "wire/encode.h"

namespace holdfast::api {
namespace {

constexpr std::string_view kMergePatch = "application/merge-patch+json";
constexpr std::string_view kJsonPatch = "application/json-patch+json";

/// The part of a Content-Type before its parameters, in small letters.
std::string MediaTypeOf(const Call& call) {
  std::string_view header = call.Header("Content-Type");
  header = header.substr(0, header.find(';'));
  std::string type;
  for (char c : header) {
    if (c != ' ' && c != '\t') type += static_cast<char>(std::tolower(static_cast<int>(c)));
  }
  return type;
}

/// The record in the path, as the target of an operation.
template <typename T>
T OnPath(const Call& call) {
  T operation;
  operation.kind = call.parameter(0);
  operation.id = call.parameter(1);
  return operation;
}

/// The version that the header names becomes that of the operation.
Result<void> TakeIfMatch(const Call& call, RecordTarget& target) {
  HF_ASSIGN_OR_RETURN(std::optional<std::int64_t> version, ParseIfMatch(call.Header("If-Match")));
  if (!version) return {};
  if (target.version) {
    return Fail(ErrorCode::kInvalidArgument, "version is given by the header If-Match, too");
  }
  target.version = version;
  return {};
}

void AnswerRecord(Call& call, const OperationResult& result) {
  call.AddHeader("ETag", ETagOf(result.record->version));
  call.Reply(200, wire::ToText(wire::WriteRecord, *result.record));
}

void AnswerAdded(Call& call, const OperationResult& result) {
  const Record& record = *result.record;
  call.AddHeader("Location", fmt::format("/v1/records/{}/{}", PercentEncode(record.kind),
                                         PercentEncode(record.id)));
  call.AddHeader("ETag", ETagOf(record.version));
  call.Reply(201, wire::ToText(wire::WriteRecord, record));
}

void AnswerRemoved(Call& call, const OperationResult&) {
  call.Reply(net::HttpResponse{.status = 204});
}

/// Commits an operation on a record that is complete but for its version.
template <typename T>
void CommitOn(Call call, T operation, void (*answer)(Call&, const OperationResult&)) {
  if (auto taken = TakeIfMatch(call, operation); !taken) return call.Refuse(taken.error());
  CommitOne(std::move(call), std::move(operation), answer);
}

/// As CommitOn; the body holds the operation's other members, those not `given` in the path.
template <typename T>
void DecodeAndCommit(Call call, T start, std::initializer_list<std::string_view> given,
                     void (*answer)(Call&, const OperationResult&) = AnswerRecord) {
  auto operation = wire::DecodeOperation(std::move(start), call.body(), given);
  if (!operation) return call.Refuse(operation.error());
  CommitOn(std::move(call), std::get<T>(*std::move(operation)), answer);
}

Result<RecordFilter> FilterOf(const Call& call) {
  const Query& query = call.query();
  HF_RETURN_IF_ERROR(query.AllowOnly({"status", "parent", "limit", "cursor"}));
  RecordFilter filter{.kind = call.parameter()};
  HF_ASSIGN_OR_RETURN(filter.limit, LimitOf(query, filter.limit));
  HF_ASSIGN_OR_RETURN(filter.parent, KeyOf(query, "parent"));
  filter.status = query.Get("status");
  filter.cursor = query.Get("cursor");
  return filter;
}

}  // namespace

void ListRecords(Call call) {
  auto filter = FilterOf(call);
  if (!filter) return call.Refuse(filter.error());
  auto page = call.store().ListRecords(call.context(), *filter);
  if (!page) return call.Refuse(page.error());
  base::JsonWriter json(1024 * (page->items.size() + 1));
  json.BeginObject();
  json.Key("items");
  json.BeginArray();
  for (const Record& record : page->items) wire::WriteRecord(json, record);
  json.EndArray();
  WriteNextCursor(json, page->next_cursor);
  json.EndObject();
  call.Reply(200, std::move(json).Take());
}

void AddRecord(Call call) {
  auto operation =
      wire::DecodeOperation(CreateRecord{.kind = call.parameter()}, call.body(), {"kind"});
  if (!operation) return call.Refuse(operation.error());
  CommitOne(std::move(call), *std::move(operation), AnswerAdded);
}

void GetRecord(Call call) {
  RecordKey key{call.parameter(0), call.parameter(1)};
  auto record = call.store().GetRecord(call.context(), key);
  if (!record) return call.Refuse(record.error());
  if (!*record) {
    std::string name = ToString(key);
    return call.Refuse(
        {ErrorCode::kNotFound, fmt::format("record {} does not exist", name), {.record = name}});
  }
  std::string tag = ETagOf((*record)->version);
  bool is_known = NamesTag(call.Header("If-None-Match"), tag);
  call.AddHeader("ETag", std::move(tag));
  if (is_known) return call.Reply(net::HttpResponse{.status = 304});
  call.Reply(200, wire::ToText(wire::WriteRecord, **record));
}

void PutRecord(Call call) {
  auto replace = OnPath<ReplaceRecord>(call);
  replace.data = call.BodyAsJson();
  CommitOn(std::move(call), std::move(replace), AnswerRecord);
}

void EditRecord(Call call) {
  std::string type = MediaTypeOf(call);
  if (type == kJsonPatch) {
    auto patch = OnPath<PatchRecord>(call);
    patch.patch = call.BodyAsJson();
    return CommitOn(std::move(call), std::move(patch), AnswerRecord);
  }
  if (type == kMergePatch || type == "application/json") {
    auto merge = OnPath<MergeRecord>(call);
    merge.patch = call.BodyAsJson();
    return CommitOn(std::move(call), std::move(merge), AnswerRecord);
  }
  call.AddHeader("Accept-Patch", fmt::format("{}, {}", kMergePatch, kJsonPatch));
  call.Refuse({ErrorCode::kInvalidArgument,
               fmt::format("the Content-Type of a PATCH must be {} or {}, not '{}'", kMergePatch,
                           kJsonPatch, base::CutUtf8(type, 64)),
               {}},
              415);
}

void RemoveRecord(Call call) {
  auto start = OnPath<DeleteRecord>(call);
  DecodeAndCommit(std::move(call), std::move(start), {"kind", "id"}, AnswerRemoved);
}

void IncrementOne(Call call) {
  auto start = OnPath<IncrementRecord>(call);
  DecodeAndCommit(std::move(call), std::move(start), {"kind", "id"});
}

void AppendOne(Call call) {
  auto start = OnPath<AppendRecord>(call);
  DecodeAndCommit(std::move(call), std::move(start), {"kind", "id"});
}

void TransitionOne(Call call) {
  auto start = OnPath<TransitionRecord>(call);
  DecodeAndCommit(std::move(call), std::move(start), {"kind", "id"});
}

void RunOne(Call call) {
  auto start = OnPath<RunAction>(call);
  start.action = call.parameter(2);
  DecodeAndCommit(std::move(call), std::move(start), {"kind", "id", "action"});
}

}  // namespace holdfast::api
