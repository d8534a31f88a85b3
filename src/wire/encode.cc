#include "wire/encode.h"

#include <openssl/sha.h>

#include <algorithm>

#include "base/text.h"

namespace holdfast::wire {
namespace {

using base::JsonWriter;

void IdField(JsonWriter& json, std::string_view name, std::int64_t id) {
  json.Key(name);
  json.Id(id);
}

void RawField(JsonWriter& json, std::string_view name, std::string_view text) {
  json.Key(name);
  json.Raw(text);
}

void TimeField(JsonWriter& json, std::string_view name, Time time) {
  json.Field(name, base::FormatTime(time));
}

void TimeField(JsonWriter& json, std::string_view name, const std::optional<Time>& time) {
  if (time) TimeField(json, name, *time);
}

void DurationField(JsonWriter& json, std::string_view name, Duration duration) {
  json.Field(name, base::FormatDuration(duration));
}

void TextField(JsonWriter& json, std::string_view name, std::string_view text) {
  if (!text.empty()) json.Field(name, text);
}

void ListField(JsonWriter& json, std::string_view name, const std::vector<std::string>& texts) {
  json.Key(name);
  json.BeginArray();
  for (const std::string& text : texts) json.String(text);
  json.EndArray();
}

void StatesField(JsonWriter& json, std::string_view name, JobStates states) {
  json.Key(name);
  json.BeginArray();
  for (std::size_t i = 0; i < kJobStateCount; ++i) {
    auto state = static_cast<JobState>(i);
    if (states.Has(state)) json.String(NameOf(state));
  }
  json.EndArray();
}

void WriteRetry(JsonWriter& json, const RetryDelay& retry) {
  json.BeginObject();
  DurationField(json, "initial", retry.initial);
  json.Field("factor", retry.factor);
  DurationField(json, "max", retry.max);
  json.Field("jitter", retry.jitter);
  json.EndObject();
}

void WriteErrors(JsonWriter& json, const std::vector<JobError>& errors) {
  json.BeginArray();
  for (const JobError& error : errors) {
    json.BeginObject();
    json.Field("attempt", error.attempt);
    json.Field("worker", error.worker);
    TimeField(json, "at", error.at);
    json.Field("message", error.message);
    json.EndObject();
  }
  json.EndArray();
}

void WriteCounts(JsonWriter& json, const std::array<std::int64_t, kJobStateCount>& counts) {
  json.Key("counts");
  json.BeginObject();
  for (std::size_t i = 0; i < kJobStateCount; ++i) {
    json.Field(NameOf(static_cast<JobState>(i)), counts[i]);
  }
  json.EndObject();
}

std::string_view NameOfConflict(OnConflict conflict) {
  switch (conflict) {
    case OnConflict::kReject:
      return "reject";
    case OnConflict::kReturn:
      return "return";
    case OnConflict::kReplace:
      return "replace";
  }
  return "reject";
}

void WriteSpecMembers(JsonWriter& json, const JobSpec& spec) {
  json.Field("kind", spec.kind);
  json.Field("queue", spec.queue);
  RawField(json, "payload", spec.payload);
  json.Field("priority", spec.priority);
  TimeField(json, "run_at", spec.run_at);
  if (spec.delay) DurationField(json, "delay", *spec.delay);
  json.Field("max_attempts", spec.max_attempts);
  if (spec.retry) {
    json.Key("retry");
    WriteRetry(json, *spec.retry);
  }
  if (spec.unique) {
    json.Key("unique");
    json.BeginObject();
    json.Field("key", spec.unique->key);
    StatesField(json, "states", spec.unique->states);
    json.Field("on_conflict", NameOfConflict(spec.unique->on_conflict));
    json.EndObject();
  }
  if (spec.parent) IdField(json, "parent", *spec.parent);
  if (!spec.tags.empty()) ListField(json, "tags", spec.tags);
  if (spec.metadata != "{}") RawField(json, "metadata", spec.metadata);
}

/// The members of each operation, after its "do".
struct OperationWriter {
  JsonWriter& json;

  void Held(JobId id, Token token) {
    IdField(json, "id", id);
    IdField(json, "token", token);
  }
  void operator()(const EnqueueJob& o) { WriteSpecMembers(json, o.spec); }
  void operator()(const ClaimJob& o) {
    IdField(json, "id", o.id);
    json.Field("worker", o.worker);
    DurationField(json, "lease", o.lease);
  }
  void operator()(const CompleteJob& o) {
    Held(o.id, o.token);
    if (o.result) RawField(json, "result", *o.result);
  }
  void operator()(const FailJob& o) {
    Held(o.id, o.token);
    json.Field("error", o.error);
    if (o.permanent) json.Field("permanent", true);
    if (o.retry_in) DurationField(json, "retry_in", *o.retry_in);
  }
  void operator()(const ReleaseJob& o) { Held(o.id, o.token); }
  void operator()(const SnoozeJob& o) {
    Held(o.id, o.token);
    DurationField(json, "delay", o.delay);
  }
  void operator()(const RenewJob& o) {
    Held(o.id, o.token);
    DurationField(json, "lease", o.lease);
  }
  void operator()(const ProgressJob& o) {
    Held(o.id, o.token);
    json.Field("progress", o.progress);
    TextField(json, "message", o.message);
  }
  void operator()(const CancelJob& o) { IdField(json, "id", o.id); }
  void operator()(const RetryJob& o) { IdField(json, "id", o.id); }
  void operator()(const DeleteJob& o) { IdField(json, "id", o.id); }
  void operator()(const SetQueue& o) {
    json.Field("name", o.name);
    if (o.paused) json.Field("paused", *o.paused);
    BoundField("max_pending", o.max_pending);
    BoundField("max_running", o.max_running);
    if (o.audit) json.Field("audit", *o.audit);
    if (o.retain_completed) DurationField(json, "retain_completed", *o.retain_completed);
    if (o.retain_failed) DurationField(json, "retain_failed", *o.retain_failed);
  }
  void BoundField(std::string_view name, const std::optional<std::optional<std::int64_t>>& bound) {
    if (!bound) return;
    json.Key(name);
    if (*bound) {
      json.Integer(**bound);
    } else {
      json.Null();
    }
  }
};

/// "guards" and "operations": what a batch means, without the key under which it is kept.
void WriteBatchMembers(JsonWriter& json, const Batch& batch) {
  json.Key("guards");
  json.BeginArray();
  for (const Guard& guard : batch.guards) {
    const auto& held = std::get<JobGuard>(guard);
    json.BeginObject();
    IdField(json, "job", held.id);
    IdField(json, "token", held.token);
    json.EndObject();
  }
  json.EndArray();
  json.Key("operations");
  json.BeginArray();
  for (const Operation& operation : batch.operations) WriteOperation(json, operation);
  json.EndArray();
}

void WriteResult(JsonWriter& json, const OperationResult& result) {
  json.BeginObject();
  if (result.job) {
    json.Key("job");
    WriteJob(json, *result.job);
  }
  if (result.existing) json.Field("existing", true);
  if (result.queue) {
    json.Key("queue");
    WriteQueue(json, *result.queue);
  }
  json.EndObject();
}

}  // namespace

void WriteJob(JsonWriter& json, const Job& job) {
  json.BeginObject();
  IdField(json, "id", job.id);
  json.Field("queue", job.queue);
  json.Field("kind", job.kind);
  json.Field("state", NameOf(job.state));
  json.Field("priority", job.priority);
  json.Field("attempt", job.attempt);
  json.Field("max_attempts", job.max_attempts);
  if (!job.payload.empty()) RawField(json, "payload", job.payload);
  if (job.result) RawField(json, "result", *job.result);
  if (job.progress) json.Field("progress", *job.progress);
  TextField(json, "message", job.message);
  TimeField(json, "run_at", job.run_at);
  TimeField(json, "created_at", job.created_at);
  TimeField(json, "started_at", job.started_at);
  TimeField(json, "finished_at", job.finished_at);
  TextField(json, "worker", job.worker);
  if (job.token != 0) IdField(json, "token", job.token);
  TimeField(json, "lease_expires_at", job.lease_expires_at);
  json.Field("lease_expiries", job.lease_expiries);
  json.Key("errors");
  WriteErrors(json, job.errors);
  TextField(json, "unique_key", job.unique_key);
  if (!job.unique_states.IsEmpty()) StatesField(json, "unique_states", job.unique_states);
  if (job.parent) IdField(json, "parent", *job.parent);
  ListField(json, "tags", job.tags);
  if (!job.metadata.empty()) RawField(json, "metadata", job.metadata);
  json.Field("cancel_requested", job.cancel_requested);
  if (job.retry) {
    json.Key("retry");
    WriteRetry(json, *job.retry);
  }
  json.EndObject();
}

void WriteQueue(JsonWriter& json, const Queue& queue) {
  json.BeginObject();
  json.Field("name", queue.name);
  json.Field("paused", queue.paused);
  if (queue.max_pending) json.Field("max_pending", *queue.max_pending);
  if (queue.max_running) json.Field("max_running", *queue.max_running);
  json.Field("audit", queue.audit);
  DurationField(json, "retain_completed", queue.retain_completed);
  DurationField(json, "retain_failed", queue.retain_failed);
  WriteCounts(json, queue.counts);
  TimeField(json, "oldest_pending_at", queue.oldest_pending_at);
  json.EndObject();
}

void WriteAuditEntry(JsonWriter& json, const AuditEntry& entry) {
  json.BeginObject();
  IdField(json, "sequence", entry.sequence);
  TimeField(json, "at", entry.at);
  TextField(json, "actor", entry.actor);
  json.Field("operation", entry.operation);
  json.Field("target", entry.target);
  TextField(json, "old_status", entry.old_status);
  TextField(json, "new_status", entry.new_status);
  if (entry.token != 0) IdField(json, "token", entry.token);
  DurationField(json, "lock_wait", entry.lock_wait);
  DurationField(json, "commit", entry.commit);
  TextField(json, "correlation_id", entry.correlation_id);
  if (!entry.details.empty()) RawField(json, "details", entry.details);
  TextField(json, "error", entry.error);
  json.Field("count", entry.count);
  json.EndObject();
}

void WriteStats(JsonWriter& json, const StoreStats& stats) {
  json.BeginObject();
  json.Field("engine", stats.engine);
  json.Field("version", stats.version);
  WriteCounts(json, stats.counts);
  json.Field("queues", stats.queues);
  json.Field("waiting_claims", stats.waiting_claims);
  TimeField(json, "now", stats.now);
  json.EndObject();
}

void WriteErrorFields(JsonWriter& json, const Error& error) {
  const ErrorDetail& detail = error.detail;
  json.Field("code", InfoOf(error.code).name);
  json.Field("detail", error.message);
  json.Field("retryable", InfoOf(error.code).retryable);
  if (detail.operation) json.Field("operation", *detail.operation);
  if (detail.guard) json.Field("guard", *detail.guard);
  if (detail.id) IdField(json, "id", *detail.id);
  if (detail.expected) json.Field("expected", *detail.expected);
  if (detail.current) json.Field("current", *detail.current);
  TextField(json, "rule", detail.rule);
  if (detail.retry_after) DurationField(json, "retry_after", *detail.retry_after);
  if (!detail.cycle.empty()) ListField(json, "cycle", detail.cycle);
}

void WriteOperation(JsonWriter& json, const Operation& operation) {
  json.BeginObject();
  json.Field("do", NameOf(operation));
  std::visit(OperationWriter{json}, operation);
  json.EndObject();
}

void WriteBatch(JsonWriter& json, const Batch& batch) {
  json.BeginObject();
  WriteBatchMembers(json, batch);
  TextField(json, "idempotency_key", batch.idempotency_key);
  json.EndObject();
}

void WriteReceipt(JsonWriter& json, const Receipt& receipt) {
  json.BeginObject();
  json.Key("results");
  json.BeginArray();
  for (const OperationResult& result : receipt.results) WriteResult(json, result);
  json.EndArray();
  if (receipt.replayed) json.Field("replayed", true);
  json.EndObject();
}

void WriteJobSpec(JsonWriter& json, const JobSpec& spec) {
  json.BeginObject();
  WriteSpecMembers(json, spec);
  json.EndObject();
}

void WriteClaimRequest(JsonWriter& json, const ClaimRequest& request) {
  json.BeginObject();
  json.Field("worker", request.worker);
  if (!request.queues.empty()) ListField(json, "queues", request.queues);
  json.Field("max", request.max);
  DurationField(json, "lease", request.lease);
  DurationField(json, "wait", request.wait);
  json.EndObject();
}

std::string FingerprintOf(const Batch& batch) {
  JsonWriter json;
  json.BeginObject();
  WriteBatchMembers(json, batch);
  json.EndObject();
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(json.text().data()), json.text().size(), digest);
  static constexpr char kHex[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * sizeof digest);
  for (unsigned char byte : digest) {
    hex += kHex[byte >> 4];
    hex += kHex[byte & 15];
  }
  return hex;
}

std::string EncodeErrors(const std::vector<JobError>& errors) {
  JsonWriter json;
  WriteErrors(json, errors);
  return std::move(json).Take();
}

std::string EncodeTags(const std::vector<std::string>& tags) {
  JsonWriter json;
  json.BeginArray();
  for (const std::string& tag : tags) json.String(tag);
  json.EndArray();
  return std::move(json).Take();
}

std::string EncodeRetry(const RetryDelay& retry) {
  return ToText(WriteRetry, retry);
}

}  // namespace holdfast::wire
