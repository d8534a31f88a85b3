#include "store/outcome_reporter.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/mutant.h"
#include "base/result.h"
#include "holdfast/retry.h"

namespace holdfast::store {
namespace {

using std::chrono::steady_clock;

// Of one commit. A result may have 1 MiB, and a server takes 8 MiB at a time.
constexpr std::size_t kReportsAtOnce = 500;
constexpr std::size_t kBytesAtOnce = 4 * 1024 * 1024;

Operation OperationOf(const Report& report) {
  JobId id = report.attempt->job().id;
  Token token = report.attempt->job().token;
  struct Visitor {
    JobId id;
    Token token;
    Operation operator()(const Completed& o) const { return CompleteJob{id, token, o.result}; }
    Operation operator()(const Failed& o) const {
      return FailJob{id, token, o.error, o.permanent, o.retry_in};
    }
    Operation operator()(const Released&) const { return ReleaseJob{id, token}; }
    Operation operator()(const Snoozed& o) const { return SnoozeJob{id, token, o.delay}; }
  };
  return std::visit(Visitor{id, token}, report.outcome);
}

std::size_t BytesOf(const Report& report) {
  const auto* completed = std::get_if<Completed>(&report.outcome);
  return completed != nullptr && completed->result ? completed->result->size() : 0;
}

bool IsCompletion(const Report& report) {
  return std::holds_alternative<Completed>(report.outcome);
}

/// The keys make it safe to ask again after outcome_unknown. A refused outcome left nothing behind,
/// but the one that replaces it is another batch and gets a key of its own.
/// A completion has none: a row for each, kept for a day, costs nearly as much as the completion.
/// It is the one outcome that only the holder of the token can bring about and that nothing ever
/// undoes, so the job itself tells whether it was done (FindReported).
std::string KeyOf(const Report& report) {
  if (IsCompletion(report)) return {};
  const Job& job = report.attempt->job();
  return fmt::format("finish/{}/{}{}", job.id, job.token, report.refused ? "/refused" : "");
}

/// Whether trying again may help. Beyond the common rule: every try has a deadline and a context of
/// its own, and a server that is shutting down may be followed by another.
bool IsPassing(const Error& error) {
  return IsTransient(error, true) || error.code == ErrorCode::kDeadlineExceeded ||
         error.code == ErrorCode::kShuttingDown || error.code == ErrorCode::kRateLimited;
}

/// The handler gave an outcome that cannot be stored: a result that is too long or no JSON, a
/// negative delay.
bool IsRefusal(const Error& error) {
  return error.code == ErrorCode::kInvalidArgument || error.code == ErrorCode::kPayloadTooLarge;
}

const RetryPolicy& Policy() {
  static const RetryPolicy policy = *FindRetryPolicy("DATABASE_OPERATION");
  return policy;
}

}  // namespace

OutcomeReporter::OutcomeReporter(Store& store, const LeaseKeeper& keeper, Duration lease,
                                 std::string actor, Settled settled)
    : store_(store),
      keeper_(keeper),
      lease_(lease),
      actor_(std::move(actor)),
      settled_(std::move(settled)) {}

void OutcomeReporter::Start() {
  thread_ = std::thread([this] { Run(); });
}

void OutcomeReporter::Stop() {
  {
    base::MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void OutcomeReporter::Add(Report report) {
  base::MutexLock lock(mutex_);
  reports_.push_back(std::move(report));
  changed_.NotifyAll();
}

void OutcomeReporter::Run() {
  for (;;) {
    std::vector<Report> reports = WaitForReports();
    if (reports.empty()) return;
    std::vector<Result<Receipt>> answers = Send(reports);
    bool passing = std::ranges::any_of(
        answers, [](const auto& answer) { return !answer && IsPassing(answer.error()); });
    SteadyTime retry_at = passing ? NextTry() : SteadyTime{};
    if (!passing) failures_ = 0;

    std::vector<Report> again;
    for (std::size_t i = 0; i < reports.size(); ++i) {
      Take(std::move(reports[i]), answers[i], retry_at, again);
    }
    base::MutexLock lock(mutex_);
    retry_at_ = retry_at;
    reports_.insert(reports_.begin(), std::make_move_iterator(again.begin()),
                    std::make_move_iterator(again.end()));
  }
}

std::vector<Report> OutcomeReporter::WaitForReports() {
  base::MutexLock lock(mutex_);
  for (;;) {
    bool wait_for_retry = !reports_.empty() && steady_clock::now() < retry_at_;
    if (wait_for_retry) {
      changed_.WaitUntil(mutex_, retry_at_);
    } else if (reports_.empty() && !stopping_) {
      changed_.Wait(mutex_);
    } else {
      break;
    }
  }
  std::vector<Report> reports;
  std::size_t bytes = 0;
  while (!reports_.empty() && reports.size() < kReportsAtOnce && bytes < kBytesAtOnce) {
    bytes += BytesOf(reports_.front());
    reports.push_back(std::move(reports_.front()));
    reports_.pop_front();
  }
  return reports;
}

std::vector<Result<Receipt>> OutcomeReporter::Send(std::vector<Report>& reports) {
  std::vector<Batch> batches;
  batches.reserve(reports.size());
  for (const Report& report : reports) {
    const std::string key = HF_MUTANT(reported_without_key) ? "" : KeyOf(report);
    batches.push_back({.operations = {OperationOf(report)}, .idempotency_key = key});
  }
  // A context of its own: what stops the pool must not stop it from giving back its jobs.
  Context context = Context::WithTimeout(lease_ / 3);
  context.actor = actor_;
  std::vector<Result<Receipt>> answers = store_.CommitMany(context, std::move(batches));
  HF_CHECK(answers.size() == reports.size());
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (answers[i] || answers[i].error().code != ErrorCode::kInvalidTransition) continue;
    if (HF_MUTANT(completion_not_looked_for)) continue;
    answers[i] = FindReported(context, reports[i], answers[i].error());
  }
  return answers;
}

/// The job has ended under this token: by a first try whose answer was lost, or by a batch of the
/// handler's own. A lease that ran out is refused with another error. What was done is what counts.
Result<Receipt> OutcomeReporter::FindReported(const Context& context, Report& report,
                                              const Error& refusal) {
  HF_ASSIGN_OR_RETURN(std::optional<Job> job, store_.GetJob(context, report.attempt->job().id));
  if (!job) return std::unexpected(refusal);
  switch (job->state) {
    case JobState::kCompleted:
      report.outcome = Completed{};
      break;
    case JobState::kFailed:
      report.outcome = Failed{.error = job->errors.empty() ? "" : job->errors.back().message};
      break;
    case JobState::kCancelled:
      report.outcome = Released{};
      break;
    default:
      return std::unexpected(refusal);  // retried since, by hand
  }
  return Receipt{.results = {{.job = std::move(job)}}};
}

void OutcomeReporter::Take(Report report, const Result<Receipt>& answer, SteadyTime retry_at,
                           std::vector<Report>& again) {
  if (answer) {
    const auto& results = answer->results;
    bool has_job = !results.empty() && results.front().job;
    settled_(report, has_job ? results.front().job->state : report.attempt->job().state);
    return;
  }
  const Error& error = answer.error();
  const Duration left = report.lost_at - keeper_.Now();
  if (IsPassing(error) && retry_at < steady_clock::now() + left && MayRetry()) {
    again.push_back(std::move(report));
  } else if (IsRefusal(error) && !report.refused) {
    report.outcome = Failed{.error = "the outcome was refused: " + error.message};
    report.refused = true;
    again.push_back(std::move(report));
  } else {
    settled_(report, std::unexpected(error));
  }
}

SteadyTime OutcomeReporter::NextTry() {
  Duration delay = DelayOf(Policy(), failures_++, Random::System());
  return steady_clock::now() + std::min(delay, lease_ / 3);
}

/// A pool that runs has nothing better to do than to try until the lease is lost. One that stops
/// must end: it tries as often as the policy says.
bool OutcomeReporter::MayRetry() {
  base::MutexLock lock(mutex_);
  return !stopping_ || failures_ <= Policy().retries;
}

}  // namespace holdfast::store
