// Writing the members of objects. Shared by the files of this folder; not for use outside it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_writer.h"
#include "base/text.h"
#include "holdfast/job.h"
#include "holdfast/lock.h"
#include "holdfast/record.h"

namespace holdfast::wire {

inline void IdField(base::JsonWriter& json, std::string_view name, std::int64_t id) {
  json.Key(name);
  json.Id(id);
}

inline void RawField(base::JsonWriter& json, std::string_view name, std::string_view text) {
  json.Key(name);
  json.Raw(text);
}

inline void TimeField(base::JsonWriter& json, std::string_view name, Time time) {
  json.Field(name, base::FormatTime(time));
}

inline void TimeField(base::JsonWriter& json, std::string_view name,
                      const std::optional<Time>& time) {
  if (time) TimeField(json, name, *time);
}

inline void DurationField(base::JsonWriter& json, std::string_view name, Duration duration) {
  json.Field(name, base::FormatDuration(duration));
}

/// Left out if it is empty.
inline void TextField(base::JsonWriter& json, std::string_view name, std::string_view text) {
  if (!text.empty()) json.Field(name, text);
}

inline void ListField(base::JsonWriter& json, std::string_view name,
                      const std::vector<std::string>& texts) {
  json.Key(name);
  json.BeginArray();
  for (const std::string& text : texts) json.String(text);
  json.EndArray();
}

inline void KeyField(base::JsonWriter& json, std::string_view name, const RecordKey& key) {
  json.Key(name);
  json.BeginObject();
  json.Field("kind", key.kind);
  json.Field("id", key.id);
  json.EndObject();
}

/// "locks": [...]
void GrantsField(base::JsonWriter& json, const std::vector<LockGrant>& grants);
void StatesField(base::JsonWriter& json, std::string_view name, JobStates states);
void WriteRetry(base::JsonWriter& json, const RetryDelay& retry);

}  // namespace holdfast::wire
