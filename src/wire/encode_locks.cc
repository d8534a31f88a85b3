// Locks and leases, written.
#include "wire/encode.h"
#include "wire/fields.h"

namespace holdfast::wire {

using base::JsonWriter;

void WriteLockGrant(JsonWriter& json, const LockGrant& grant) {
  json.BeginObject();
  json.Field("name", grant.name);
  json.Field("owner", grant.owner);
  json.Field("mode", NameOf(grant.mode));
  IdField(json, "token", grant.token);
  TimeField(json, "acquired_at", grant.acquired_at);
  TimeField(json, "expires_at", grant.expires_at);
  // Rounded down: see LockGrant::waited.
  json.Field("waited_ms", grant.waited.count() / 1000);
  json.EndObject();
}

void GrantsField(JsonWriter& json, const std::vector<LockGrant>& grants) {
  json.Key("locks");
  json.BeginArray();
  for (const LockGrant& grant : grants) WriteLockGrant(json, grant);
  json.EndArray();
}

void WriteGrants(JsonWriter& json, const std::vector<LockGrant>& grants) {
  json.BeginObject();
  GrantsField(json, grants);
  json.EndObject();
}

void WriteLockedRecord(JsonWriter& json, const std::optional<LockedRecord>& taken) {
  json.BeginObject();
  json.Field("acquired", taken.has_value());
  if (taken) {
    json.Key("lock");
    WriteLockGrant(json, taken->lock);
    json.Key("record");
    WriteRecord(json, taken->record);
  }
  json.EndObject();
}

void WriteLock(JsonWriter& json, const Lock& lock) {
  json.BeginObject();
  json.Field("name", lock.name);
  if (lock.limit) json.Field("limit", *lock.limit);
  TimeField(json, "delayed_until", lock.delayed_until);
  json.Key("holders");
  json.BeginArray();
  for (const LockHolder& holder : lock.holders) {
    json.BeginObject();
    json.Field("owner", holder.owner);
    json.Field("mode", NameOf(holder.mode));
    IdField(json, "token", holder.token);
    TimeField(json, "acquired_at", holder.acquired_at);
    TimeField(json, "expires_at", holder.expires_at);
    json.EndObject();
  }
  json.EndArray();
  json.Key("waiters");
  json.BeginArray();
  for (const LockWaiter& waiter : lock.waiters) {
    json.BeginObject();
    json.Field("owner", waiter.owner);
    json.Field("mode", NameOf(waiter.mode));
    TimeField(json, "since", waiter.since);
    json.EndObject();
  }
  json.EndArray();
  json.EndObject();
}

}  // namespace holdfast::wire
