// Calls about queues, the audit trail, and the server itself.
#include <fmt/format.h>

#include "api/handlers.h"
#include "api/metrics.h"
#include "base/result.h"
#include "base/text.h"
#include "wire/decode.h"
#include "wire/encode.h"

namespace holdfast::api {
namespace {

Result<std::optional<Time>> TimeOf(const Query& query, std::string_view name) {
  const std::string* text = query.Find(name);
  if (text == nullptr) return std::nullopt;
  auto time = base::ParseTime(*text);
  if (time) return *time;
  return Fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", name, time.error().message));
}

Result<std::optional<Duration>> DurationOf(const Query& query, std::string_view name) {
  const std::string* text = query.Find(name);
  if (text == nullptr) return std::nullopt;
  auto duration = base::ParseDuration(*text);
  if (duration) return *duration;
  return Fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", name, duration.error().message));
}

Result<AuditFilter> AuditFilterOf(const Query& query) {
  HF_RETURN_IF_ERROR(query.AllowOnly({"target", "actor", "operation", "since", "until",
                                      "min_lock_wait", "refused", "limit", "cursor"}));
  AuditFilter filter;
  HF_ASSIGN_OR_RETURN(filter.limit, LimitOf(query, filter.limit));
  HF_ASSIGN_OR_RETURN(filter.since, TimeOf(query, "since"));
  HF_ASSIGN_OR_RETURN(filter.until, TimeOf(query, "until"));
  HF_ASSIGN_OR_RETURN(filter.min_lock_wait, DurationOf(query, "min_lock_wait"));
  HF_ASSIGN_OR_RETURN(filter.refused, BoolOf(query, "refused"));
  filter.target = query.Get("target");
  filter.actor = query.Get("actor");
  filter.operation = query.Get("operation");
  filter.cursor = query.Get("cursor");
  return filter;
}

}  // namespace

Result<int> LimitOf(const Query& query, int otherwise) {
  const std::string* text = query.Find("limit");
  if (text == nullptr) return otherwise;
  auto limit = base::ParseInteger(*text);
  if (limit && *limit <= 1'000'000) return static_cast<int>(*limit);
  return Fail(ErrorCode::kInvalidArgument, "limit must be a whole number (1 to 1000)");
}

Result<std::optional<bool>> BoolOf(const Query& query, std::string_view name) {
  const std::string* text = query.Find(name);
  if (text == nullptr) return std::nullopt;
  if (*text == "true") return true;
  if (*text == "false") return false;
  return Fail(ErrorCode::kInvalidArgument, fmt::format("{} must be true or false", name));
}

Result<std::optional<RecordKey>> KeyOf(const Query& query, std::string_view name) {
  const std::string* text = query.Find(name);
  if (text == nullptr) return std::nullopt;
  std::size_t slash = text->find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == text->size()) {
    return Fail(ErrorCode::kInvalidArgument, fmt::format("{} must be KIND/ID", name));
  }
  return RecordKey{text->substr(0, slash), text->substr(slash + 1)};
}

void WriteNextCursor(base::JsonWriter& json, std::string_view cursor) {
  json.Key("next_cursor");
  if (cursor.empty()) {
    json.Null();
  } else {
    json.String(cursor);
  }
}

void ListQueues(Call call) {
  if (auto allowed = call.query().AllowOnly({"limit", "cursor"}); !allowed) {
    return call.Refuse(allowed.error());
  }
  QueueFilter filter;
  auto limit = LimitOf(call.query(), filter.limit);
  if (!limit) return call.Refuse(limit.error());
  filter.limit = *limit;
  filter.cursor = call.query().Get("cursor");
  auto page = call.store().ListQueues(call.context(), filter);
  if (!page) return call.Refuse(page.error());
  base::JsonWriter json;
  json.BeginObject();
  json.Key("items");
  json.BeginArray();
  for (const Queue& queue : page->items) wire::WriteQueue(json, queue);
  json.EndArray();
  WriteNextCursor(json, page->next_cursor);
  json.EndObject();
  call.Reply(200, std::move(json).Take());
}

void GetQueue(Call call) {
  auto queue = call.store().GetQueue(call.context(), call.parameter());
  if (!queue) return call.Refuse(queue.error());
  if (!*queue) {
    return call.Refuse({ErrorCode::kNotFound, "there is no queue of that name", {}});
  }
  call.Reply(200, wire::ToText(wire::WriteQueue, **queue));
}

void ChangeQueue(Call call) {
  auto change = wire::DecodeQueueChange(call.parameter(), call.body());
  if (!change) return call.Refuse(change.error());
  CommitOne(std::move(call), *std::move(change), [](Call& done, const OperationResult& result) {
    done.Reply(200, wire::ToText(wire::WriteQueue, *result.queue));
  });
}

void ListAudit(Call call) {
  auto filter = AuditFilterOf(call.query());
  if (!filter) return call.Refuse(filter.error());
  auto page = call.store().ListAudit(call.context(), *filter);
  if (!page) return call.Refuse(page.error());
  base::JsonWriter json;
  json.BeginObject();
  json.Key("items");
  json.BeginArray();
  for (const AuditEntry& entry : page->items) wire::WriteAuditEntry(json, entry);
  json.EndArray();
  WriteNextCursor(json, page->next_cursor);
  json.EndObject();
  call.Reply(200, std::move(json).Take());
}

void GetStats(Call call) {
  auto stats = call.store().GetStats(call.context());
  if (!stats) return call.Refuse(stats.error());
  call.Reply(200, wire::ToText(wire::WriteStats, *stats));
}

void GetLiveness(Call call) {
  call.Reply(200, R"({"status":"ok"})");
}

void GetReadiness(Call call) {
  if (call.service().is_draining.load()) return call.Refuse(ShuttingDown());
  if (auto health = call.store().CheckHealth(); !health) return call.Refuse(health.error());
  call.Reply(200, R"({"status":"ready"})");
}

void GetMetrics(Call call) {
  auto stats = call.store().GetStats(call.context());
  if (!stats) return call.Refuse(stats.error());
  auto queues = call.store().ListQueues(call.context(), {.limit = kQueuesShown});
  if (!queues) return call.Refuse(queues.error());
  call.Reply(net::HttpResponse{.status = 200,
                               .content_type = "text/plain; version=0.0.4; charset=utf-8",
                               .body = call.service().metrics.Expose(queues->items, *stats)});
}

}  // namespace holdfast::api
