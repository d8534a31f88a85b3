#include "engine/postgres/job_rows.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <span>

#include "wire/encode.h"

namespace holdfast::engine::postgres {
namespace {

/// A column of jobs: its name, and how a job gives its value.
struct JobColumn {
  std::string_view name;
  void (*add)(RowArray&, const Job&);
};

constexpr JobColumn kId{"id", [](RowArray& r, const Job& j) { r.Add(j.id); }};
constexpr JobColumn kState{"state", [](RowArray& r, const Job& j) { r.Add(NameOf(j.state)); }};
constexpr JobColumn kRunAt{"run_at", [](RowArray& r, const Job& j) { r.Add(j.run_at); }};
constexpr JobColumn kAttempt{"attempt",
                             [](RowArray& r, const Job& j) { r.Add(std::int64_t{j.attempt}); }};
constexpr JobColumn kToken{"token", [](RowArray& r, const Job& j) { r.Add(j.token); }};
constexpr JobColumn kWorker{"worker", [](RowArray& r, const Job& j) { r.AddOrNull(j.worker); }};
constexpr JobColumn kLease{"lease_expires_at",
                           [](RowArray& r, const Job& j) { r.Add(j.lease_expires_at); }};
constexpr JobColumn kExpiries{
    "lease_expiries", [](RowArray& r, const Job& j) { r.Add(std::int64_t{j.lease_expiries}); }};
constexpr JobColumn kCancel{"cancel_requested",
                            [](RowArray& r, const Job& j) { r.Add(j.cancel_requested); }};
constexpr JobColumn kStarted{"started_at", [](RowArray& r, const Job& j) { r.Add(j.started_at); }};
constexpr JobColumn kFinished{"finished_at",
                              [](RowArray& r, const Job& j) { r.Add(j.finished_at); }};
constexpr JobColumn kProgress{"progress", [](RowArray& r, const Job& j) { r.Add(j.progress); }};
constexpr JobColumn kMessage{"message", [](RowArray& r, const Job& j) { r.AddOrNull(j.message); }};
constexpr JobColumn kErrors{"errors", [](RowArray& r, const Job& j) {
                              r.AddOrNull(j.errors.empty() ? "" : wire::EncodeErrors(j.errors));
                            }};
constexpr JobColumn kResult{"result", [](RowArray& r, const Job& j) { r.Add(j.result); }};
constexpr JobColumn kPayload{"payload", [](RowArray& r, const Job& j) { r.Add(j.payload); }};
constexpr JobColumn kReadyIn{"ready_in", [](RowArray& r, const Job& j) {
                               if (j.state == JobState::kPending) {
                                 r.Add(j.queue);
                               } else {
                                 r.AddNull(Type::kText);
                               }
                             }};
constexpr JobColumn kDueAt{"due_at", [](RowArray& r, const Job& j) {
                             if (j.state == JobState::kScheduled) {
                               r.Add(j.run_at);
                             } else {
                               r.AddNull(Type::kTime);
                             }
                           }};
constexpr JobColumn kRetainedAs{
    "retained_as", [](RowArray& r, const Job& j) { r.AddOrNull(RetainedAs(j.state)); }};
constexpr JobColumn kHeldKey{"held_unique_key", [](RowArray& r, const Job& j) {
                               r.AddOrNull(rules::HoldsUniqueKey(j) ? j.unique_key : "");
                             }};
constexpr JobColumn kIsRunning{
    "is_running", [](RowArray& r, const Job& j) { r.Add(j.state == JobState::kProcessing); }};

// These, and those of the other types, in the order in which schema.cc has them.
constexpr JobColumn kColumns[] = {
    kId,
    {"queue", [](RowArray& r, const Job& j) { r.Add(j.queue); }},
    {"kind", [](RowArray& r, const Job& j) { r.Add(j.kind); }},
    kState,
    {"priority", [](RowArray& r, const Job& j) { r.Add(std::int64_t{j.priority}); }},
    kRunAt,
    kAttempt,
    {"max_attempts", [](RowArray& r, const Job& j) { r.Add(std::int64_t{j.max_attempts}); }},
    kToken,
    kWorker,
    kLease,
    kExpiries,
    kCancel,
    {"created_at", [](RowArray& r, const Job& j) { r.Add(j.created_at); }},
    kStarted,
    kFinished,
    {"unique_key", [](RowArray& r, const Job& j) { r.AddOrNull(j.unique_key); }},
    {"unique_states",
     [](RowArray& r, const Job& j) { r.Add(std::int64_t{j.unique_states.bits()}); }},
    {"parent", [](RowArray& r, const Job& j) { r.Add(j.parent); }},
    kProgress,
    kMessage,
    {"tags", [](RowArray& r,
                const Job& j) { r.AddOrNull(j.tags.empty() ? "" : wire::EncodeTags(j.tags)); }},
    {"metadata",
     [](RowArray& r, const Job& j) { r.AddOrNull(j.metadata == "{}" ? "" : j.metadata); }},
    kErrors,
    {"retry",
     [](RowArray& r, const Job& j) { r.AddOrNull(j.retry ? wire::EncodeRetry(*j.retry) : ""); }},
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
constexpr JobColumn kWhole[] = {kState,    kRunAt,   kAttempt,    kToken,   kWorker,
                                kLease,    kStarted, kExpiries,   kCancel,  kFinished,
                                kProgress, kMessage, kErrors,     kResult,  kPayload,
                                kReadyIn,  kDueAt,   kRetainedAs, kHeldKey, kIsRunning};

/// Of the type, in its order.
std::span<const JobColumn> ColumnsOf(RowType type) {
  switch (type) {
    case RowType::kJobLease:
      return kLeaseOnly;
    case RowType::kJobClaim:
      return kClaimed;
    case RowType::kJobFinish:
      return kFinishedOnly;
    default:
      return kColumns;
  }
}

}  // namespace

void AddJob(RowArray& rows, const Job& job) {
  rows.NextRow();
  for (const JobColumn& column : ColumnsOf(rows.type())) column.add(rows, job);
}

std::string InsertJobsSql() {
  std::vector<std::string_view> names;
  for (const JobColumn& column : kColumns) names.push_back(column.name);
  return fmt::format("INSERT INTO $.jobs ({}) SELECT * FROM unnest($1::$.job_row[])",
                     fmt::join(names, ", "));
}

std::string UpdateJobsSql(RowType type) {
  std::vector<std::string> sets;
  for (const JobColumn& column : type == RowType::kJob ? kWhole : ColumnsOf(type)) {
    if (column.name != "id") sets.push_back(fmt::format("{0} = u.{0}", column.name));
  }
  return fmt::format("UPDATE $.jobs SET {} FROM unnest($1::$.{}[]) AS u WHERE jobs.id = u.id",
                     fmt::join(sets, ", "), NameOf(type));
}

}  // namespace holdfast::engine::postgres
