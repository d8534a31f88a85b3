// Bodies of answers: jobs, queues, audit entries, receipts, errors; and the columns of a job's row,
// which have the same shapes.
#include <fmt/format.h>

#include "wire/answers.h"
#include "wire/decode.h"

namespace holdfast::wire {
namespace {

constexpr Field<JobError> kJobErrorFields[] = {
    {"attempt", As<ReadInt, &JobError::attempt>, kRequired},
    {"worker", As<ReadText, &JobError::worker>, kRequired},
    {"at", As<ReadTime, &JobError::at>, kRequired},
    {"message", As<ReadText, &JobError::message>, kRequired},
};

bool ReadJobError(Value& value, JobError& out, Trouble& trouble) {
  return ReadFields<JobError>(value, kJobErrorFields, out, trouble, kLenient);
}

constexpr Field<Job> kJobFields[] = {
    {"id", As<ReadId, &Job::id>, kRequired},
    {"queue", As<ReadText, &Job::queue>, kRequired},
    {"kind", As<ReadText, &Job::kind>, kRequired},
    {"state", As<ReadState, &Job::state>, kRequired},
    {"priority", As<ReadInt, &Job::priority>, kRequired},
    {"attempt", As<ReadInt, &Job::attempt>, kRequired},
    {"max_attempts", As<ReadInt, &Job::max_attempts>, kRequired},
    {"payload", As<ReadRaw, &Job::payload>},
    {"result", As<ReadRaw, &Job::result>},
    {"progress", As<ReadDouble, &Job::progress>},
    {"message", As<ReadText, &Job::message>},
    {"run_at", As<ReadTime, &Job::run_at>, kRequired},
    {"created_at", As<ReadTime, &Job::created_at>, kRequired},
    {"started_at", As<ReadTime, &Job::started_at>},
    {"finished_at", As<ReadTime, &Job::finished_at>},
    {"worker", As<ReadText, &Job::worker>},
    {"token", As<ReadId, &Job::token>},
    {"lease_expires_at", As<ReadTime, &Job::lease_expires_at>},
    {"lease_expiries", As<ReadInt, &Job::lease_expiries>},
    {"errors", As<ReadList<ReadJobError, JobError>, &Job::errors>},
    {"unique_key", As<ReadText, &Job::unique_key>},
    {"unique_states", As<ReadStates, &Job::unique_states>},
    {"parent", As<ReadId, &Job::parent>},
    {"tags", As<ReadTextList, &Job::tags>},
    {"metadata", As<ReadRaw, &Job::metadata>},
    {"cancel_requested", As<ReadBool, &Job::cancel_requested>},
    {"retry", As<ReadRetry, &Job::retry>},
};

bool ReadJob(Value& value, Job& out, Trouble& trouble) {
  return ReadFields<Job>(value, kJobFields, out, trouble, kLenient);
}

constexpr Field<JobPage> kJobPageFields[] = {
    {"items", As<ReadList<ReadJob, Job>, &JobPage::items>, kRequired},
    {"next_cursor", As<ReadCursor, &JobPage::next_cursor>},
};

struct ClaimedJobs {
  std::vector<Job> jobs;
};
constexpr Field<ClaimedJobs> kClaimedJobsFields[] = {
    {"jobs", As<ReadList<ReadJob, Job>, &ClaimedJobs::jobs>, kRequired},
};

using Counts = std::array<std::int64_t, kJobStateCount>;

template <JobState state>
bool ReadCount(Value& value, Counts& out, Trouble& trouble) {
  return ReadInteger(value, out[static_cast<std::size_t>(state)], trouble);
}

constexpr Field<Counts> kCountsFields[] = {
    {"scheduled", ReadCount<JobState::kScheduled>, kRequired},
    {"pending", ReadCount<JobState::kPending>, kRequired},
    {"processing", ReadCount<JobState::kProcessing>, kRequired},
    {"completed", ReadCount<JobState::kCompleted>, kRequired},
    {"failed", ReadCount<JobState::kFailed>, kRequired},
    {"cancelled", ReadCount<JobState::kCancelled>, kRequired},
};

bool ReadCounts(Value& value, Counts& out, Trouble& trouble) {
  return ReadFields<Counts>(value, kCountsFields, out, trouble, kLenient);
}

constexpr Field<Queue> kQueueFields[] = {
    {"name", As<ReadText, &Queue::name>, kRequired},
    {"paused", As<ReadBool, &Queue::paused>, kRequired},
    {"max_pending", As<ReadInteger, &Queue::max_pending>},
    {"max_running", As<ReadInteger, &Queue::max_running>},
    {"audit", As<ReadBool, &Queue::audit>, kRequired},
    {"retain_completed", As<ReadDuration, &Queue::retain_completed>, kRequired},
    {"retain_failed", As<ReadDuration, &Queue::retain_failed>, kRequired},
    {"counts", As<ReadCounts, &Queue::counts>, kRequired},
    {"oldest_pending_at", As<ReadTime, &Queue::oldest_pending_at>},
};

bool ReadQueue(Value& value, Queue& out, Trouble& trouble) {
  return ReadFields<Queue>(value, kQueueFields, out, trouble, kLenient);
}

constexpr Field<QueuePage> kQueuePageFields[] = {
    {"items", As<ReadList<ReadQueue, Queue>, &QueuePage::items>, kRequired},
    {"next_cursor", As<ReadCursor, &QueuePage::next_cursor>},
};

constexpr Field<AuditEntry> kAuditFields[] = {
    {"sequence", As<ReadId, &AuditEntry::sequence>, kRequired},
    {"at", As<ReadTime, &AuditEntry::at>, kRequired},
    {"actor", As<ReadText, &AuditEntry::actor>},
    {"operation", As<ReadText, &AuditEntry::operation>, kRequired},
    {"target", As<ReadText, &AuditEntry::target>, kRequired},
    {"old_status", As<ReadText, &AuditEntry::old_status>},
    {"new_status", As<ReadText, &AuditEntry::new_status>},
    {"old_version", As<ReadInteger, &AuditEntry::old_version>},
    {"new_version", As<ReadInteger, &AuditEntry::new_version>},
    {"token", As<ReadId, &AuditEntry::token>},
    {"lock_wait", As<ReadDuration, &AuditEntry::lock_wait>},
    {"commit", As<ReadDuration, &AuditEntry::commit>},
    {"correlation_id", As<ReadText, &AuditEntry::correlation_id>},
    {"details", As<ReadRaw, &AuditEntry::details>},
    {"error", As<ReadText, &AuditEntry::error>},
    {"count", As<ReadInteger, &AuditEntry::count>},
};

bool ReadAuditEntry(Value& value, AuditEntry& out, Trouble& trouble) {
  return ReadFields<AuditEntry>(value, kAuditFields, out, trouble, kLenient);
}

constexpr Field<AuditPage> kAuditPageFields[] = {
    {"items", As<ReadList<ReadAuditEntry, AuditEntry>, &AuditPage::items>, kRequired},
    {"next_cursor", As<ReadCursor, &AuditPage::next_cursor>},
};

constexpr Field<StoreStats> kStatsFields[] = {
    {"engine", As<ReadText, &StoreStats::engine>, kRequired},
    {"version", As<ReadText, &StoreStats::version>, kRequired},
    {"counts", As<ReadCounts, &StoreStats::counts>, kRequired},
    {"queues", As<ReadInteger, &StoreStats::queues>, kRequired},
    {"waiting_claims", As<ReadInteger, &StoreStats::waiting_claims>, kRequired},
    {"waiting_locks", As<ReadInteger, &StoreStats::waiting_locks>},
    {"now", As<ReadTime, &StoreStats::now>, kRequired},
};

constexpr Field<OperationResult> kResultFields[] = {
    {"job", As<ReadJob, &OperationResult::job>},
    {"existing", As<ReadBool, &OperationResult::existing>},
    {"queue", As<ReadQueue, &OperationResult::queue>},
    {"record", As<ReadRecord, &OperationResult::record>},
    {"kind", As<ReadKind, &OperationResult::kind>},
    {"transfer", As<ReadTransfer, &OperationResult::transfer>},
    {"locks", As<ReadGrants, &OperationResult::lock>},
};

bool ReadResult(Value& value, OperationResult& out, Trouble& trouble) {
  return ReadFields<OperationResult>(value, kResultFields, out, trouble, kLenient);
}

constexpr Field<Receipt> kReceiptFields[] = {
    {"results", As<ReadList<ReadResult, OperationResult>, &Receipt::results>, kRequired},
    {"replayed", As<ReadBool, &Receipt::replayed>},
};

/// The code may be one that this version does not know.
struct Problem {
  std::optional<ErrorCode> code;
  std::string detail;
  ErrorDetail facts;
};

bool ReadCode(Value& value, std::optional<ErrorCode>& out, Trouble& trouble) {
  std::string name;
  if (!ReadText(value, name, trouble)) return false;
  out = ParseErrorCode(name);
  return true;
}

template <auto Read, auto Member>
bool Fact(Value& value, Problem& problem, Trouble& trouble) {
  return As<Read, Member>(value, problem.facts, trouble);
}

bool ReadProblemCode(Value& value, Problem& problem, Trouble& trouble) {
  return ReadCode(value, problem.code, trouble);
}

constexpr Field<Problem> kProblemFields[] = {
    {"code", ReadProblemCode, kRequired},
    {"detail", As<ReadText, &Problem::detail>},
    {"operation", Fact<ReadInteger, &ErrorDetail::operation>},
    {"guard", Fact<ReadInteger, &ErrorDetail::guard>},
    {"id", Fact<ReadId, &ErrorDetail::id>},
    {"expected", Fact<ReadInteger, &ErrorDetail::expected>},
    {"current", Fact<ReadInteger, &ErrorDetail::current>},
    {"retry_after", Fact<ReadDuration, &ErrorDetail::retry_after>},
    {"rule", Fact<ReadText, &ErrorDetail::rule>},
    {"record", Fact<ReadText, &ErrorDetail::record>},
    {"lock", Fact<ReadText, &ErrorDetail::lock>},
    {"violations", Fact<ReadTextList, &ErrorDetail::violations>},
    {"cycle", Fact<ReadTextList, &ErrorDetail::cycle>},
};

bool ReadProblem(Value& value, Problem& out, Trouble& trouble) {
  return ReadFields<Problem>(value, kProblemFields, out, trouble, kLenient);
}

/// One of many answers: a receipt's members, or an error.
struct Item {
  Receipt receipt;
  std::optional<Problem> error;
};

bool ReadItemResults(Value& value, Item& item, Trouble& trouble) {
  return ReadList<ReadResult>(value, item.receipt.results, trouble);
}

bool ReadItemReplayed(Value& value, Item& item, Trouble& trouble) {
  return ReadBool(value, item.receipt.replayed, trouble);
}

constexpr Field<Item> kItemFields[] = {
    {"results", ReadItemResults},
    {"replayed", ReadItemReplayed},
    {"error", As<ReadProblem, &Item::error>},
};

bool ReadItem(Value& value, Item& out, Trouble& trouble) {
  return ReadFields<Item>(value, kItemFields, out, trouble, kLenient);
}

struct ItemList {
  std::vector<Item> items;
};
constexpr Field<ItemList> kItemListFields[] = {
    {"items", As<ReadList<ReadItem, Item>, &ItemList::items>, kRequired},
};

Error ToError(Problem problem, ErrorCode otherwise) {
  return Error{problem.code.value_or(otherwise), std::move(problem.detail),
               std::move(problem.facts)};
}

/// What an answer means that somebody other than Holdfast gave: a proxy, for instance.
ErrorCode CodeOfStatus(int status) {
  switch (status) {
    case 401:
      return ErrorCode::kUnauthenticated;
    case 403:
      return ErrorCode::kForbidden;
    case 404:
      return ErrorCode::kNotFound;
    case 408:
      return ErrorCode::kDeadlineExceeded;
    case 409:
      return ErrorCode::kInvalidTransition;
    case 412:
      return ErrorCode::kVersionMismatch;
    case 413:
      return ErrorCode::kPayloadTooLarge;
    case 422:
      return ErrorCode::kIdempotencyMismatch;
    case 423:
      return ErrorCode::kBusy;
    case 429:
      return ErrorCode::kRateLimited;
    case 502:
    case 504:
      return ErrorCode::kOutcomeUnknown;
    case 503:
      return ErrorCode::kUnavailable;
    default:
      return status < 500 ? ErrorCode::kInvalidArgument : ErrorCode::kInternal;
  }
}

}  // namespace

Result<Job> DecodeJob(std::string_view text) {
  return DecodeAnswer<Job>(text, kJobFields);
}
Result<JobPage> DecodeJobPage(std::string_view text) {
  return DecodeAnswer<JobPage>(text, kJobPageFields);
}
Result<std::vector<Job>> DecodeClaimedJobs(std::string_view text) {
  auto claimed = DecodeAnswer<ClaimedJobs>(text, kClaimedJobsFields);
  if (!claimed) return std::unexpected(std::move(claimed).error());
  return std::move(claimed->jobs);
}
Result<Queue> DecodeQueue(std::string_view text) {
  return DecodeAnswer<Queue>(text, kQueueFields);
}
Result<QueuePage> DecodeQueuePage(std::string_view text) {
  return DecodeAnswer<QueuePage>(text, kQueuePageFields);
}
Result<AuditPage> DecodeAuditPage(std::string_view text) {
  return DecodeAnswer<AuditPage>(text, kAuditPageFields);
}
Result<StoreStats> DecodeStats(std::string_view text) {
  return DecodeAnswer<StoreStats>(text, kStatsFields);
}
Result<Receipt> DecodeReceipt(std::string_view text) {
  return DecodeAnswer<Receipt>(text, kReceiptFields);
}

Result<std::vector<Result<Receipt>>> DecodeReceipts(std::string_view text) {
  auto list = DecodeAnswer<ItemList>(text, kItemListFields);
  if (!list) return std::unexpected(std::move(list).error());
  std::vector<Result<Receipt>> receipts;
  receipts.reserve(list->items.size());
  for (Item& item : list->items) {
    if (item.error) {
      receipts.emplace_back(std::unexpected(ToError(*std::move(item.error), ErrorCode::kInternal)));
    } else {
      receipts.emplace_back(std::move(item.receipt));
    }
  }
  return receipts;
}

Error DecodeProblem(std::string_view text, int http_status) {
  ErrorCode otherwise = CodeOfStatus(http_status);
  auto problem = DecodeAnswer<Problem>(text, kProblemFields);
  if (problem) return ToError(*std::move(problem), otherwise);
  return Error{
      otherwise, fmt::format("the server answered {} without saying why", http_status), {}};
}

Result<std::vector<JobError>> DecodeErrors(std::string_view text) {
  return DecodeColumn<ReadList<ReadJobError, JobError>, std::vector<JobError>>(text,
                                                                               "the stored errors");
}
Result<std::vector<std::string>> DecodeTags(std::string_view text) {
  return DecodeColumn<ReadTextList, std::vector<std::string>>(text, "the stored tags");
}
Result<RetryDelay> DecodeRetry(std::string_view text) {
  return DecodeColumn<ReadRetry, RetryDelay>(text, "the stored retry policy");
}

}  // namespace holdfast::wire
