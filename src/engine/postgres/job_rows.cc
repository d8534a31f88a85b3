#include "engine/postgres/job_rows.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <span>

#include "wire/encode.h"

namespace holdfast::engine::postgres {
namespace {

/// A column of jobs: its name, its type, and how a job gives its value.
struct JobColumn {
  std::string_view name;
  Type type;
  void (*add)(Column&, const Job&);
};

std::string_view NameOfType(Type type) {
  switch (type) {
    case Type::kBool:
      return "boolean";
    case Type::kInteger:
      return "bigint";
    case Type::kReal:
      return "double precision";
    case Type::kTime:
      return "timestamptz";
    case Type::kText:
      break;
  }
  return "text";
}

constexpr JobColumn kId{"id", Type::kInteger, [](Column& c, const Job& j) { c.Add(j.id); }};
constexpr JobColumn kState{"state", Type::kText,
                           [](Column& c, const Job& j) { c.Add(NameOf(j.state)); }};
constexpr JobColumn kRunAt{"run_at", Type::kTime, [](Column& c, const Job& j) { c.Add(j.run_at); }};
constexpr JobColumn kAttempt{"attempt", Type::kInteger,
                             [](Column& c, const Job& j) { c.Add(std::int64_t{j.attempt}); }};
constexpr JobColumn kToken{"token", Type::kInteger,
                           [](Column& c, const Job& j) { c.Add(j.token); }};
constexpr JobColumn kWorker{"worker", Type::kText,
                            [](Column& c, const Job& j) { c.AddOrNull(j.worker); }};
constexpr JobColumn kLease{"lease_expires_at", Type::kTime,
                           [](Column& c, const Job& j) { c.Add(j.lease_expires_at); }};
constexpr JobColumn kExpiries{"lease_expiries", Type::kInteger, [](Column& c, const Job& j) {
                                c.Add(std::int64_t{j.lease_expiries});
                              }};
constexpr JobColumn kCancel{"cancel_requested", Type::kBool,
                            [](Column& c, const Job& j) { c.Add(j.cancel_requested); }};
constexpr JobColumn kStarted{"started_at", Type::kTime,
                             [](Column& c, const Job& j) { c.Add(j.started_at); }};
constexpr JobColumn kFinished{"finished_at", Type::kTime,
                              [](Column& c, const Job& j) { c.Add(j.finished_at); }};
constexpr JobColumn kProgress{"progress", Type::kReal,
                              [](Column& c, const Job& j) { c.Add(j.progress); }};
constexpr JobColumn kMessage{"message", Type::kText,
                             [](Column& c, const Job& j) { c.AddOrNull(j.message); }};
constexpr JobColumn kErrors{"errors", Type::kText, [](Column& c, const Job& j) {
                              c.AddOrNull(j.errors.empty() ? "" : wire::EncodeErrors(j.errors));
                            }};
constexpr JobColumn kResult{"result", Type::kText,
                            [](Column& c, const Job& j) { c.Add(j.result); }};
constexpr JobColumn kPayload{"payload", Type::kText,
                             [](Column& c, const Job& j) { c.Add(j.payload); }};
constexpr JobColumn kReadyIn{"ready_in", Type::kText, [](Column& c, const Job& j) {
                               if (j.state == JobState::kPending) {
                                 c.Add(j.queue);
                               } else {
                                 c.AddNull();
                               }
                             }};
constexpr JobColumn kDueAt{"due_at", Type::kTime, [](Column& c, const Job& j) {
                             if (j.state == JobState::kScheduled) {
                               c.Add(j.run_at);
                             } else {
                               c.AddNull();
                             }
                           }};
constexpr JobColumn kRetainedAs{"retained_as", Type::kText,
                                [](Column& c, const Job& j) { c.AddOrNull(RetainedAs(j.state)); }};
constexpr JobColumn kHeldKey{"held_unique_key", Type::kText, [](Column& c, const Job& j) {
                               c.AddOrNull(rules::HoldsUniqueKey(j) ? j.unique_key : "");
                             }};
constexpr JobColumn kIsRunning{"is_running", Type::kBool, [](Column& c, const Job& j) {
                                 c.Add(j.state == JobState::kProcessing);
                               }};

constexpr JobColumn kInserted[] = {
    kId,
    {"queue", Type::kText, [](Column& c, const Job& j) { c.Add(j.queue); }},
    {"kind", Type::kText, [](Column& c, const Job& j) { c.Add(j.kind); }},
    kState,
    {"priority", Type::kInteger, [](Column& c, const Job& j) { c.Add(std::int64_t{j.priority}); }},
    kRunAt,
    kAttempt,
    {"max_attempts", Type::kInteger,
     [](Column& c, const Job& j) { c.Add(std::int64_t{j.max_attempts}); }},
    kToken,
    kWorker,
    kLease,
    kExpiries,
    kCancel,
    {"created_at", Type::kTime, [](Column& c, const Job& j) { c.Add(j.created_at); }},
    kStarted,
    kFinished,
    {"unique_key", Type::kText, [](Column& c, const Job& j) { c.AddOrNull(j.unique_key); }},
    {"unique_states", Type::kInteger,
     [](Column& c, const Job& j) { c.Add(std::int64_t{j.unique_states.bits()}); }},
    {"parent", Type::kInteger, [](Column& c, const Job& j) { c.Add(j.parent); }},
    kProgress,
    kMessage,
    {"tags", Type::kText,
     [](Column& c, const Job& j) { c.AddOrNull(j.tags.empty() ? "" : wire::EncodeTags(j.tags)); }},
    {"metadata", Type::kText,
     [](Column& c, const Job& j) { c.AddOrNull(j.metadata == "{}" ? "" : j.metadata); }},
    kErrors,
    {"retry", Type::kText,
     [](Column& c, const Job& j) { c.AddOrNull(j.retry ? wire::EncodeRetry(*j.retry) : ""); }},
    kResult,
    kPayload,
    kReadyIn,
    kDueAt,
    kRetainedAs,
    kHeldKey,
    kIsRunning,
};

// Statements name only what may change, so that the indexes on the rest are left alone.
constexpr JobColumn kLeaseOnly[] = {kId, kLease, kCancel, kProgress, kMessage};
constexpr JobColumn kClaimed[] = {kId,     kState,   kReadyIn,  kLease,   kAttempt,  kToken,
                                  kWorker, kStarted, kProgress, kMessage, kIsRunning};
constexpr JobColumn kFinishedOnly[] = {kId,       kState,    kLease,  kRetainedAs,
                                       kFinished, kExpiries, kResult, kIsRunning};
constexpr JobColumn kWhole[] = {kId,         kState,   kRunAt,    kAttempt, kToken,    kWorker,
                                kLease,      kStarted, kExpiries, kCancel,  kFinished, kProgress,
                                kMessage,    kErrors,  kResult,   kPayload, kReadyIn,  kDueAt,
                                kRetainedAs, kHeldKey, kIsRunning};

std::span<const JobColumn> ColumnsOf(rules::Change change, rules::Extent extent) {
  if (change == rules::Change::kInserted) return kInserted;
  switch (extent) {
    case rules::Extent::kLease:
      return kLeaseOnly;
    case rules::Extent::kClaim:
      return kClaimed;
    case rules::Extent::kFinish:
      return kFinishedOnly;
    case rules::Extent::kWhole:
      break;
  }
  return kWhole;
}

}  // namespace

JobColumns::JobColumns(rules::Change change, rules::Extent extent)
    : change_(change), extent_(extent) {
  for (const JobColumn& column : ColumnsOf(change, extent)) columns_.emplace_back(column.type);
}

void JobColumns::Add(const Job& job) {
  std::span<const JobColumn> columns = ColumnsOf(change_, extent_);
  for (std::size_t i = 0; i < columns.size(); ++i) columns[i].add(columns_[i], job);
}

Parameters JobColumns::ToParameters() const {
  Parameters parameters;
  for (const Column& column : columns_) parameters.Add(column);
  return parameters;
}

std::string JobColumns::SqlOf(rules::Change change, rules::Extent extent) {
  std::vector<std::string> names;
  std::vector<std::string> sets;
  std::vector<std::string> arrays;
  for (const JobColumn& column : ColumnsOf(change, extent)) {
    names.emplace_back(column.name);
    if (column.name != "id") sets.push_back(fmt::format("{0} = u.{0}", column.name));
    arrays.push_back(fmt::format("${}::{}[]", arrays.size() + 1, NameOfType(column.type)));
  }
  const std::string rows = fmt::format("unnest({})", fmt::join(arrays, ", "));
  if (change == rules::Change::kInserted) {
    return fmt::format("INSERT INTO $.jobs ({}) SELECT * FROM {}", fmt::join(names, ", "), rows);
  }
  return fmt::format("UPDATE $.jobs SET {} FROM {} AS u ({}) WHERE jobs.id = u.id",
                     fmt::join(sets, ", "), rows, fmt::join(names, ", "));
}

}  // namespace holdfast::engine::postgres
