#include "wire/encode.h"

#include "wire/fields.h"

namespace holdfast::wire {
namespace {

using base::JsonWriter;

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
  if (result.record) {
    json.Key("record");
    WriteRecord(json, *result.record);
  }
  if (result.kind) {
    json.Key("kind");
    WriteKind(json, *result.kind);
  }
  if (result.transfer) {
    json.Key("transfer");
    WriteTransfer(json, *result.transfer);
  }
  if (result.lock) GrantsField(json, result.lock->grants);
  json.EndObject();
}

}  // namespace

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

void WriteJobs(JsonWriter& json, const std::vector<Job>& jobs) {
  json.BeginObject();
  json.Key("jobs");
  json.BeginArray();
  for (const Job& job : jobs) WriteJob(json, job);
  json.EndArray();
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
  if (entry.old_version != 0) json.Field("old_version", entry.old_version);
  if (entry.new_version != 0) json.Field("new_version", entry.new_version);
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
  json.Field("waiting_locks", stats.waiting_locks);
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
  TextField(json, "record", detail.record);
  TextField(json, "lock", detail.lock);
  if (!detail.violations.empty()) ListField(json, "violations", detail.violations);
  if (detail.retry_after) DurationField(json, "retry_after", *detail.retry_after);
  if (!detail.cycle.empty()) ListField(json, "cycle", detail.cycle);
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
