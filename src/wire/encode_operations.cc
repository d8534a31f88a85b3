// Batches, written: operations, guards, and the fingerprint of the whole.
#include <openssl/sha.h>

#include "wire/encode.h"
#include "wire/fields.h"

namespace holdfast::wire {
namespace {

using base::JsonWriter;

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

/// What an increment adds. A double keeps a mark of being one: 1.0 must not come back as 1.
std::string TextOf(const std::variant<std::int64_t, double>& by) {
  JsonWriter json;
  if (const auto* whole = std::get_if<std::int64_t>(&by)) {
    json.Integer(*whole);
    return std::move(json).Take();
  }
  json.Double(std::get<double>(by));
  std::string text = std::move(json).Take();
  if (text.find_first_not_of("-0123456789") == std::string::npos) text += ".0";
  return text;
}

void WriteAcquireMembers(JsonWriter& json, const AcquireLock& o) {
  TextField(json, "name", o.name);
  if (!o.names.empty()) ListField(json, "names", o.names);
  if (o.policy != LockPolicy::kAll) json.Field("policy", NameOf(o.policy));
  json.Field("owner", o.owner);
  json.Field("mode", NameOf(o.mode));
  if (o.limit) json.Field("limit", *o.limit);
  if (o.ttl) DurationField(json, "ttl", *o.ttl);
  if (o.lock_delay != Duration::zero()) DurationField(json, "lock_delay", o.lock_delay);
  TextField(json, "preset", o.preset);
  if (o.wait) DurationField(json, "wait", *o.wait);
}

/// The members of each operation, after its "do".
struct OperationWriter {
  JsonWriter& json;

  void Held(JobId id, Token token) {
    IdField(json, "id", id);
    IdField(json, "token", token);
  }
  void Target(const RecordTarget& o) {
    json.Field("kind", o.kind);
    json.Field("id", o.id);
    if (o.version) json.Field("version", *o.version);
    if (o.parent) KeyField(json, "parent", *o.parent);
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
  void operator()(const CreateRecord& o) {
    json.Field("kind", o.kind);
    TextField(json, "id", o.id);
    RawField(json, "data", o.data);
    TextField(json, "status", o.status);
    if (o.parent) KeyField(json, "parent", *o.parent);
    if (o.force) json.Field("force", true);
  }
  void operator()(const ReplaceRecord& o) {
    Target(o);
    RawField(json, "data", o.data);
  }
  void operator()(const MergeRecord& o) {
    Target(o);
    RawField(json, "patch", o.patch);
  }
  void operator()(const PatchRecord& o) {
    Target(o);
    RawField(json, "patch", o.patch);
  }
  void operator()(const IncrementRecord& o) {
    Target(o);
    json.Field("path", o.path);
    RawField(json, "by", TextOf(o.by));
  }
  void operator()(const AppendRecord& o) {
    Target(o);
    json.Field("path", o.path);
    RawField(json, "value", o.value);
    if (o.max_length) json.Field("max_length", *o.max_length);
  }
  void operator()(const TransitionRecord& o) {
    Target(o);
    json.Field("to", o.to);
    RawField(json, "data", o.data);
    if (o.force) json.Field("force", true);
  }
  void operator()(const RunAction& o) {
    Target(o);
    json.Field("action", o.action);
    RawField(json, "params", o.params);
  }
  void operator()(const DeleteRecord& o) { Target(o); }
  void operator()(const ApplyKind& o) {
    json.Field("name", o.name);
    RawField(json, "rules", o.rules);
    if (o.version) json.Field("version", *o.version);
    if (o.force) json.Field("force", true);
  }
  void operator()(const MakeTransfer& o) {
    KeyField(json, "from", o.from);
    KeyField(json, "to", o.to);
    json.Field("path", o.path);
    json.Field("amount", o.amount);
    if (o.pending) json.Field("pending", true);
    if (o.timeout) DurationField(json, "timeout", *o.timeout);
  }
  void operator()(const PostTransfer& o) {
    IdField(json, "id", o.id);
    if (o.amount) json.Field("amount", *o.amount);
  }
  void operator()(const VoidTransfer& o) { IdField(json, "id", o.id); }
  void operator()(const AcquireLock& o) { WriteAcquireMembers(json, o); }
  void operator()(const RenewLock& o) {
    json.Field("name", o.name);
    IdField(json, "token", o.token);
    if (o.ttl) DurationField(json, "ttl", *o.ttl);
  }
  void operator()(const ReleaseLock& o) {
    json.Field("name", o.name);
    IdField(json, "token", o.token);
  }
  void operator()(const BreakLock& o) {
    json.Field("name", o.name);
    json.Field("reason", o.reason);
    if (o.token) IdField(json, "token", *o.token);
  }
  // Between the store and its engine: these never become JSON.
  void operator()(const AwaitLock&) {}
  void operator()(const LeaveLock&) {}
  void operator()(const KeepWaiting&) {}

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

struct GuardWriter {
  JsonWriter& json;

  void operator()(const JobGuard& g) {
    IdField(json, "job", g.id);
    IdField(json, "token", g.token);
  }
  void operator()(const VersionGuard& g) {
    KeyField(json, "record", g.record);
    json.Field("version", g.version);
  }
  void operator()(const AbsentGuard& g) {
    KeyField(json, "record", g.record);
    json.Field("absent", true);
  }
  void operator()(const LockGuard& g) {
    json.Field("lock", g.name);
    IdField(json, "token", g.token);
  }
  void operator()(const FenceGuard& g) {
    KeyField(json, "record", g.record);
    IdField(json, "fence", g.token);
  }
};

/// "guards" and "operations": what a batch means, without the key under which it is kept.
void WriteBatchMembers(JsonWriter& json, const Batch& batch) {
  json.Key("guards");
  json.BeginArray();
  for (const Guard& guard : batch.guards) {
    json.BeginObject();
    std::visit(GuardWriter{json}, guard);
    json.EndObject();
  }
  json.EndArray();
  json.Key("operations");
  json.BeginArray();
  for (const Operation& operation : batch.operations) WriteOperation(json, operation);
  json.EndArray();
}

}  // namespace

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
  if (batch.wait != Duration::zero()) DurationField(json, "wait", batch.wait);
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
  if (!request.kinds.empty()) ListField(json, "kinds", request.kinds);
  json.Field("max", request.max);
  DurationField(json, "lease", request.lease);
  DurationField(json, "wait", request.wait);
  json.EndObject();
}

void WriteAcquire(JsonWriter& json, const AcquireLock& request) {
  json.BeginObject();
  WriteAcquireMembers(json, request);
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

}  // namespace holdfast::wire
