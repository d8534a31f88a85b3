// The members of operations and guards as JSON: one table for each struct. Shared by the files of
// this folder; not for use outside it.
#pragma once

#include <array>

#include "holdfast/batch.h"
#include "wire/reader.h"

namespace holdfast::wire {

/// The members of T as JSON: one table for each struct.
template <typename T>
constexpr auto kFieldsOf = nullptr;

template <>
inline constexpr auto kFieldsOf<RetryDelay> = std::to_array<Field<RetryDelay>>({
    {"initial", As<ReadDuration, &RetryDelay::initial>},
    {"factor", As<ReadDouble, &RetryDelay::factor>},
    {"max", As<ReadDuration, &RetryDelay::max>},
    {"jitter", As<ReadDouble, &RetryDelay::jitter>},
});

inline bool ReadOnConflict(Value& value, OnConflict& out, Trouble& trouble) {
  std::string text;
  if (!ReadText(value, text, trouble)) return false;
  if (text == "reject") {
    out = OnConflict::kReject;
  } else if (text == "return") {
    out = OnConflict::kReturn;
  } else if (text == "replace") {
    out = OnConflict::kReplace;
  } else {
    return trouble.Say(R"( must be "reject", "return" or "replace")");
  }
  return true;
}

template <>
inline constexpr auto kFieldsOf<UniqueKey> = std::to_array<Field<UniqueKey>>({
    {"key", As<ReadText, &UniqueKey::key>, kRequired},
    {"states", As<ReadStates, &UniqueKey::states>},
    {"on_conflict", As<ReadOnConflict, &UniqueKey::on_conflict>},
});

inline bool ReadUnique(Value& value, UniqueKey& out, Trouble& trouble) {
  return ReadFields<UniqueKey>(value, kFieldsOf<UniqueKey>, out, trouble);
}

template <>
inline constexpr auto kFieldsOf<JobSpec> = std::to_array<Field<JobSpec>>({
    {"kind", As<ReadText, &JobSpec::kind>, kRequired},
    {"queue", As<ReadText, &JobSpec::queue>},
    {"payload", As<ReadRaw, &JobSpec::payload>},
    {"priority", As<ReadInt, &JobSpec::priority>},
    {"run_at", As<ReadTime, &JobSpec::run_at>},
    {"delay", As<ReadDuration, &JobSpec::delay>},
    {"max_attempts", As<ReadInt, &JobSpec::max_attempts>},
    {"retry", As<ReadRetry, &JobSpec::retry>},
    {"unique", As<ReadUnique, &JobSpec::unique>},
    {"parent", As<ReadId, &JobSpec::parent>},
    {"tags", As<ReadTextList, &JobSpec::tags>},
    {"metadata", As<ReadRaw, &JobSpec::metadata>},
});

template <>
inline constexpr auto kFieldsOf<ClaimJob> = std::to_array<Field<ClaimJob>>({
    {"id", As<ReadId, &ClaimJob::id>, kRequired},
    {"worker", As<ReadText, &ClaimJob::worker>, kRequired},
    {"lease", As<ReadDuration, &ClaimJob::lease>},
});
template <>
inline constexpr auto kFieldsOf<CompleteJob> = std::to_array<Field<CompleteJob>>({
    {"id", As<ReadId, &CompleteJob::id>, kRequired},
    {"token", As<ReadId, &CompleteJob::token>, kRequired},
    {"result", As<ReadRaw, &CompleteJob::result>},
});
template <>
inline constexpr auto kFieldsOf<FailJob> = std::to_array<Field<FailJob>>({
    {"id", As<ReadId, &FailJob::id>, kRequired},
    {"token", As<ReadId, &FailJob::token>, kRequired},
    {"error", As<ReadText, &FailJob::error>, kRequired},
    {"permanent", As<ReadBool, &FailJob::permanent>},
    {"retry_in", As<ReadDuration, &FailJob::retry_in>},
});
template <>
inline constexpr auto kFieldsOf<ReleaseJob> = std::to_array<Field<ReleaseJob>>({
    {"id", As<ReadId, &ReleaseJob::id>, kRequired},
    {"token", As<ReadId, &ReleaseJob::token>, kRequired},
});
template <>
inline constexpr auto kFieldsOf<SnoozeJob> = std::to_array<Field<SnoozeJob>>({
    {"id", As<ReadId, &SnoozeJob::id>, kRequired},
    {"token", As<ReadId, &SnoozeJob::token>, kRequired},
    {"delay", As<ReadDuration, &SnoozeJob::delay>, kRequired},
});
template <>
inline constexpr auto kFieldsOf<RenewJob> = std::to_array<Field<RenewJob>>({
    {"id", As<ReadId, &RenewJob::id>, kRequired},
    {"token", As<ReadId, &RenewJob::token>, kRequired},
    {"lease", As<ReadDuration, &RenewJob::lease>},
});
template <>
inline constexpr auto kFieldsOf<ProgressJob> = std::to_array<Field<ProgressJob>>({
    {"id", As<ReadId, &ProgressJob::id>, kRequired},
    {"token", As<ReadId, &ProgressJob::token>, kRequired},
    {"progress", As<ReadDouble, &ProgressJob::progress>, kRequired},
    {"message", As<ReadText, &ProgressJob::message>},
});
template <>
inline constexpr auto kFieldsOf<CancelJob> = std::to_array<Field<CancelJob>>({
    {"id", As<ReadId, &CancelJob::id>, kRequired},
});
template <>
inline constexpr auto kFieldsOf<RetryJob> = std::to_array<Field<RetryJob>>({
    {"id", As<ReadId, &RetryJob::id>, kRequired},
});
template <>
inline constexpr auto kFieldsOf<DeleteJob> = std::to_array<Field<DeleteJob>>({
    {"id", As<ReadId, &DeleteJob::id>, kRequired},
});
template <>
inline constexpr auto kFieldsOf<SetQueue> = std::to_array<Field<SetQueue>>({
    {"name", As<ReadText, &SetQueue::name>, kRequired},
    {"paused", As<ReadBool, &SetQueue::paused>},
    {"max_pending", As<ReadBound, &SetQueue::max_pending>},
    {"max_running", As<ReadBound, &SetQueue::max_running>},
    {"audit", As<ReadBool, &SetQueue::audit>},
    {"retain_completed", As<ReadDuration, &SetQueue::retain_completed>},
    {"retain_failed", As<ReadDuration, &SetQueue::retain_failed>},
});

template <>
inline constexpr auto kFieldsOf<RecordKey> = std::to_array<Field<RecordKey>>({
    {"kind", As<ReadText, &RecordKey::kind>, kRequired},
    {"id", As<ReadText, &RecordKey::id>, kRequired},
});

/// A text that is left out rather than empty.
inline bool ReadGivenText(Value& value, std::string& out, Trouble& trouble) {
  if (!ReadText(value, out, trouble)) return false;
  return !out.empty() || trouble.Say(" is empty (leave it out instead)");
}

template <>
inline constexpr auto kFieldsOf<CreateRecord> = std::to_array<Field<CreateRecord>>({
    {"kind", As<ReadText, &CreateRecord::kind>, kRequired},
    {"id", As<ReadGivenText, &CreateRecord::id>},
    {"data", As<ReadRaw, &CreateRecord::data>},
    {"status", As<ReadGivenText, &CreateRecord::status>},
    {"parent", As<ReadRecordKey, &CreateRecord::parent>},
    {"force", As<ReadBool, &CreateRecord::force>},
});

/// The members of an operation on a record: those of its target, then its own.
template <typename T, std::size_t N>
constexpr std::array<Field<T>, 4 + N> OnRecord(const std::array<Field<T>, N>& own) {
  std::array<Field<T>, 4 + N> fields = {{
      {"kind", As<ReadText, &RecordTarget::kind>, kRequired},
      {"id", As<ReadText, &RecordTarget::id>, kRequired},
      {"version", As<ReadInteger, &RecordTarget::version>},
      {"parent", As<ReadRecordKey, &RecordTarget::parent>},
  }};
  for (std::size_t i = 0; i < N; ++i) fields[4 + i] = own[i];
  return fields;
}

template <>
inline constexpr auto kFieldsOf<ReplaceRecord> = OnRecord(std::to_array<Field<ReplaceRecord>>({
    {"data", As<ReadRaw, &ReplaceRecord::data>, kRequired},
}));
template <>
inline constexpr auto kFieldsOf<MergeRecord> = OnRecord(std::to_array<Field<MergeRecord>>({
    {"patch", As<ReadRaw, &MergeRecord::patch>, kRequired},
}));
template <>
inline constexpr auto kFieldsOf<PatchRecord> = OnRecord(std::to_array<Field<PatchRecord>>({
    {"patch", As<ReadRaw, &PatchRecord::patch>, kRequired},
}));
template <>
inline constexpr auto kFieldsOf<IncrementRecord> = OnRecord(std::to_array<Field<IncrementRecord>>({
    {"path", As<ReadText, &IncrementRecord::path>, kRequired},
    {"by", As<ReadNumber, &IncrementRecord::by>},
}));
template <>
inline constexpr auto kFieldsOf<AppendRecord> = OnRecord(std::to_array<Field<AppendRecord>>({
    {"path", As<ReadText, &AppendRecord::path>, kRequired},
    {"value", As<ReadRaw, &AppendRecord::value>, kRequired},
    {"max_length", As<ReadInteger, &AppendRecord::max_length>},
}));
template <>
inline constexpr auto kFieldsOf<TransitionRecord> =
    OnRecord(std::to_array<Field<TransitionRecord>>({
        {"to", As<ReadText, &TransitionRecord::to>, kRequired},
        {"data", As<ReadRaw, &TransitionRecord::data>},
        {"force", As<ReadBool, &TransitionRecord::force>},
    }));
template <>
inline constexpr auto kFieldsOf<RunAction> = OnRecord(std::to_array<Field<RunAction>>({
    {"action", As<ReadText, &RunAction::action>, kRequired},
    {"params", As<ReadRaw, &RunAction::params>},
}));
template <>
inline constexpr auto kFieldsOf<DeleteRecord> = OnRecord(std::array<Field<DeleteRecord>, 0>());

template <>
inline constexpr auto kFieldsOf<ApplyKind> = std::to_array<Field<ApplyKind>>({
    {"name", As<ReadText, &ApplyKind::name>, kRequired},
    {"rules", As<ReadRaw, &ApplyKind::rules>, kRequired},
    {"version", As<ReadInteger, &ApplyKind::version>},
    {"force", As<ReadBool, &ApplyKind::force>},
});

template <>
inline constexpr auto kFieldsOf<MakeTransfer> = std::to_array<Field<MakeTransfer>>({
    {"from", As<ReadRecordKey, &MakeTransfer::from>, kRequired},
    {"to", As<ReadRecordKey, &MakeTransfer::to>, kRequired},
    {"path", As<ReadText, &MakeTransfer::path>, kRequired},
    {"amount", As<ReadInteger, &MakeTransfer::amount>, kRequired},
    {"pending", As<ReadBool, &MakeTransfer::pending>},
    {"timeout", As<ReadDuration, &MakeTransfer::timeout>},
});
template <>
inline constexpr auto kFieldsOf<PostTransfer> = std::to_array<Field<PostTransfer>>({
    {"id", As<ReadId, &PostTransfer::id>, kRequired},
    {"amount", As<ReadInteger, &PostTransfer::amount>},
});
template <>
inline constexpr auto kFieldsOf<VoidTransfer> = std::to_array<Field<VoidTransfer>>({
    {"id", As<ReadId, &VoidTransfer::id>, kRequired},
});

template <>
inline constexpr auto kFieldsOf<JobGuard> = std::to_array<Field<JobGuard>>({
    {"job", As<ReadId, &JobGuard::id>, kRequired},
    {"token", As<ReadId, &JobGuard::token>, kRequired},
});
inline bool ReadLockMode(Value& value, LockMode& out, Trouble& trouble) {
  std::string text;
  if (!ReadText(value, text, trouble)) return false;
  auto mode = ParseLockMode(text);
  if (!mode) return trouble.Say(R"( must be "exclusive" or "shared")");
  out = *mode;
  return true;
}

inline bool ReadLockPolicy(Value& value, LockPolicy& out, Trouble& trouble) {
  std::string text;
  if (!ReadText(value, text, trouble)) return false;
  auto policy = ParseLockPolicy(text);
  if (!policy) return trouble.Say(R"( must be "all" or "any")");
  out = *policy;
  return true;
}

template <>
inline constexpr auto kFieldsOf<AcquireLock> = std::to_array<Field<AcquireLock>>({
    {"name", As<ReadGivenText, &AcquireLock::name>},
    {"names", As<ReadTextList, &AcquireLock::names>},
    {"policy", As<ReadLockPolicy, &AcquireLock::policy>},
    {"owner", As<ReadText, &AcquireLock::owner>, kRequired},
    {"mode", As<ReadLockMode, &AcquireLock::mode>},
    {"limit", As<ReadInteger, &AcquireLock::limit>},
    {"ttl", As<ReadDuration, &AcquireLock::ttl>},
    {"lock_delay", As<ReadDuration, &AcquireLock::lock_delay>},
    {"preset", As<ReadGivenText, &AcquireLock::preset>},
    {"wait", As<ReadDuration, &AcquireLock::wait>},
});
template <>
inline constexpr auto kFieldsOf<RenewLock> = std::to_array<Field<RenewLock>>({
    {"name", As<ReadText, &RenewLock::name>, kRequired},
    {"token", As<ReadId, &RenewLock::token>, kRequired},
    {"ttl", As<ReadDuration, &RenewLock::ttl>},
});
template <>
inline constexpr auto kFieldsOf<ReleaseLock> = std::to_array<Field<ReleaseLock>>({
    {"name", As<ReadText, &ReleaseLock::name>, kRequired},
    {"token", As<ReadId, &ReleaseLock::token>, kRequired},
});
template <>
inline constexpr auto kFieldsOf<BreakLock> = std::to_array<Field<BreakLock>>({
    {"name", As<ReadText, &BreakLock::name>, kRequired},
    {"reason", As<ReadText, &BreakLock::reason>, kRequired},
    {"token", As<ReadId, &BreakLock::token>},
});
template <>
inline constexpr auto kFieldsOf<LockGuard> = std::to_array<Field<LockGuard>>({
    {"lock", As<ReadText, &LockGuard::name>, kRequired},
    {"token", As<ReadId, &LockGuard::token>, kRequired},
});

/// A guard on a record, before it is clear which.
struct RecordGuard {
  RecordKey record;
  std::optional<std::int64_t> version;
  std::optional<bool> absent;
  std::optional<Token> fence;
};
template <>
inline constexpr auto kFieldsOf<RecordGuard> = std::to_array<Field<RecordGuard>>({
    {"record", As<ReadRecordKey, &RecordGuard::record>, kRequired},
    {"version", As<ReadInteger, &RecordGuard::version>},
    {"absent", As<ReadBool, &RecordGuard::absent>},
    {"fence", As<ReadId, &RecordGuard::fence>},
});

}  // namespace holdfast::wire
