#include "store/recorder.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json_writer.h"
#include "base/log.h"
#include "rules/rows.h"

namespace holdfast::store {
namespace {

// Between two flushes; a flood of distinct refusals is counted in metrics beyond that.
constexpr std::size_t kRefusalsKept = 1000;

// An Operation of each type, in the order of the variant, for its name.
std::string_view NameOfIndex(std::size_t index) {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all;
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (all.push_back(NameOf(Operation(std::in_place_index<I>))), ...);
    }
    (std::make_index_sequence<std::variant_size_v<Operation>>());
    return all;
  }();
  return names[index];
}

/// Empty for what names a job, whose number is kept beside, a lock, which is in the error, or
/// nothing.
std::string TargetOf(const auto& operation) {
  if constexpr (requires { operation.from; }) return ToString(operation.from);
  if constexpr (std::is_base_of_v<RecordTarget, std::remove_cvref_t<decltype(operation)>> ||
                std::same_as<std::remove_cvref_t<decltype(operation)>, CreateRecord>) {
    return operation.id.empty() ? operation.kind : ToString({operation.kind, operation.id});
  }
  if constexpr (requires { operation.rules; }) return "kind/" + operation.name;
  if constexpr (std::same_as<std::remove_cvref_t<decltype(operation)>, PostTransfer> ||
                std::same_as<std::remove_cvref_t<decltype(operation)>, VoidTransfer>) {
    return fmt::format("transfer/{}", operation.id);
  }
  return {};
}

base::Fields FieldsOf(const LockGrant& grant) {
  return {{"lock", grant.name},
          {"owner", grant.owner},
          {"mode", std::string(NameOf(grant.mode))},
          {"token", fmt::to_string(grant.token)}};
}

/// Why it was refused, for the trail.
std::string DetailsOf(const Error& error) {
  base::JsonWriter json;
  json.BeginObject();
  json.Field("message", error.message);
  if (!error.detail.rule.empty()) json.Field("rule", error.detail.rule);
  json.EndObject();
  return std::move(json).Take();
}

/// Refusals that tell something. Ordinary contention is only counted (AUD-1).
bool TellsSomething(ErrorCode code) {
  switch (code) {
    case ErrorCode::kFenced:
    case ErrorCode::kInvalidTransition:
    case ErrorCode::kRuleViolation:
    case ErrorCode::kCapacityFull:
    case ErrorCode::kForbidden:
      return true;
    default:
      return false;
  }
}

}  // namespace

CommitRecord Recorder::BeginCommit(const Context& context, std::span<const Batch> batches) {
  CommitRecord record;
  record.actor = context.actor;
  record.correlation_id = context.correlation_id;
  if (metrics_ != nullptr) record.called = std::chrono::steady_clock::now();
  std::size_t operations = 0;
  for (const Batch& batch : batches) operations += batch.operations.size();
  record.tags.reserve(operations);
  for (const Batch& batch : batches) {
    for (const Operation& operation : batch.operations) {
      OperationTag& tag = record.tags.emplace_back();
      tag.index = static_cast<std::uint8_t>(operation.index());
      std::visit(
          [&tag](const auto& op) {
            if constexpr (rules::OnJob<std::remove_cvref_t<decltype(op)>>) tag.id = op.id;
            tag.target = TargetOf(op);
            if constexpr (requires { Token(op.token); }) tag.token = op.token;
          },
          operation);
    }
    record.tags.back().is_last_of_batch = true;
  }
  return record;
}

void Recorder::EndCommit(const CommitRecord& record, std::span<const Result<Receipt>> answers) {
  if (metrics_ != nullptr) {
    metrics_->Observe(
        Histogram::kCommitSeconds,
        std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - record.called));
  }
  auto begin = record.tags.begin();
  for (const Result<Receipt>& answer : answers) {
    auto end = begin;
    while (!end->is_last_of_batch) ++end;
    ++end;
    if (answer) {
      RecordReceipt({begin, end}, *answer);
      if (!answer->replayed) health_.WriteSucceeded();
    } else {
      RecordRefusal(record, {begin, end}, answer.error());
      if (keeps_refusals_) health_.WriteFailed(answer.error());
    }
    begin = end;
  }
}

void Recorder::Log(LogLevel level, std::string_view event,
                   std::vector<std::pair<std::string_view, std::string>> fields) {
  if (log_ != nullptr && log_->IsEnabled(level)) log_->Write({level, event, std::move(fields)});
}

void Recorder::RecordReceipt(Tags tags, const Receipt& receipt) {
  if (metrics_ != nullptr) metrics_->Add(Counter::kCommits, "", 1);
  if (receipt.replayed || (metrics_ == nullptr && log_ == nullptr)) return;
  for (std::size_t i = 0; i < tags.size() && i < receipt.results.size(); ++i) {
    RecordResult(tags[i], receipt.results[i]);
  }
}

void Recorder::RecordResult(const OperationTag& tag, const OperationResult& result) {
  std::string_view operation = NameOfIndex(tag.index);
  if (result.lock) return RecordLocks(operation, result.lock->grants);
  if (!result.job || result.existing) return;
  const Job& job = *result.job;
  if (operation == "job.enqueue") {
    if (metrics_ != nullptr) metrics_->Add(Counter::kJobsEnqueued, job.queue, 1);
    base::Log(log_, LogLevel::kDebug, "job_created", [&] {
      return base::Fields{
          {"job", fmt::to_string(job.id)}, {"kind", job.kind}, {"queue", job.queue}};
    });
  } else if (operation == "job.claim") {
    RecordClaim(std::vector<Job>{job});
  } else {
    RecordReport(operation, job);
  }
}

void Recorder::RecordReport(std::string_view operation, const Job& job) {
  struct Announcement {
    std::string_view event;
    Counter counter;
    LogLevel level;
  };
  std::optional<Announcement> report;
  if (job.state == JobState::kCancelled && operation != "job.retry") {
    report = {"job_cancelled", Counter::kJobsCancelled, LogLevel::kDebug};
  } else if (operation == "job.complete") {
    report = {"job_completed", Counter::kJobsCompleted, LogLevel::kDebug};
  } else if (operation == "job.fail" && job.state == JobState::kFailed) {
    report = {"job_failed", Counter::kJobsFailed, LogLevel::kWarning};
  } else if (operation == "job.fail" || operation == "job.retry") {
    report = {"job_retried", Counter::kJobsRetried, LogLevel::kDebug};
  } else if (operation == "job.release" || operation == "job.snooze") {
    report = {"job_released", Counter::kJobsReleased, LogLevel::kDebug};
  }
  if (!report) return;
  if (metrics_ != nullptr) {
    metrics_->Add(report->counter, job.queue, 1);
    if (job.finished_at && job.started_at) {
      metrics_->Observe(Histogram::kJobRunSeconds, *job.finished_at - *job.started_at);
    }
  }
  base::Log(log_, report->level, report->event, [&] {
    return base::Fields{{"job", fmt::to_string(job.id)},
                        {"kind", job.kind},
                        {"queue", job.queue},
                        {"attempt", fmt::to_string(job.attempt)},
                        {"worker", job.worker}};
  });
}

void Recorder::RecordReadError(const Error& error) {
  if (keeps_refusals_) health_.ReadFailed(error);
}

void Recorder::RecordMaintenance(const Result<void>& outcome) {
  if (!keeps_refusals_) return;
  if (outcome) {
    health_.WriteSucceeded();
  } else {
    health_.WriteFailed(outcome.error());
  }
}

void Recorder::RecordClaim(const Result<std::vector<Job>>& jobs) {
  if (!jobs) {
    if (keeps_refusals_) health_.WriteFailed(jobs.error());
    return;
  }
  if (!jobs->empty()) health_.WriteSucceeded();
  if (metrics_ == nullptr) return;
  if (jobs->empty()) return metrics_->Add(Counter::kClaimsEmpty, "", 1);
  for (const Job& job : *jobs) {
    metrics_->Add(Counter::kJobsClaimed, job.queue, 1);
    metrics_->Observe(Histogram::kJobWaitSeconds, *job.started_at - job.run_at);
  }
}

void Recorder::RecordExpiry(const Job& job) {
  if (metrics_ != nullptr) {
    metrics_->Add(Counter::kLeasesExpired, job.queue, 1);
    if (job.state == JobState::kFailed) metrics_->Add(Counter::kJobsFailed, job.queue, 1);
  }
  base::Log(log_, LogLevel::kWarning, "lease_expired", [&] {
    return base::Fields{{"job", fmt::to_string(job.id)},
                        {"kind", job.kind},
                        {"queue", job.queue},
                        {"attempt", fmt::to_string(job.attempt)},
                        {"worker", job.worker},
                        {"state", std::string(NameOf(job.state))}};
  });
}

void Recorder::RecordLocks(std::string_view operation, const std::vector<LockGrant>& grants) {
  const bool is_break = operation == "lock.break";
  for (const LockGrant& grant : grants) {
    if (operation == "lock.acquire") RecordGrant(grant);
    if (operation != "lock.release" && !is_break) continue;
    Add(is_break ? Counter::kLocksBroken : Counter::kLocksReleased, NameOf(grant.mode));
    if (metrics_ != nullptr) {
      metrics_->Observe(Histogram::kLockHoldSeconds, grant.expires_at - grant.acquired_at);
    }
    base::Log(log_, is_break ? LogLevel::kWarning : LogLevel::kDebug,
              is_break ? "lock_broken" : "lock_released", [&] { return FieldsOf(grant); });
  }
}

void Recorder::RecordGrant(const LockGrant& grant) {
  if (metrics_ != nullptr) {
    metrics_->Add(Counter::kLocksAcquired, NameOf(grant.mode), 1);
    metrics_->Observe(Histogram::kLockWaitSeconds, grant.waited);
  }
  base::Log(log_, LogLevel::kDebug, "lock_acquired", [&] { return FieldsOf(grant); });
}

void Recorder::RecordExpiry(const LockGrant& grant) {
  if (metrics_ != nullptr) {
    metrics_->Add(Counter::kLocksExpired, NameOf(grant.mode), 1);
    metrics_->Observe(Histogram::kLockHoldSeconds, grant.expires_at - grant.acquired_at);
  }
  base::Log(log_, LogLevel::kWarning, "lock_expired", [&] { return FieldsOf(grant); });
}

void Recorder::RecordLockWait(LockMode mode) {
  Add(Counter::kLocksWaited, NameOf(mode));
}

void Recorder::RecordLockRefusal(const Error& error) {
  Add(Counter::kLocksRefused, InfoOf(error.code).name);
  Add(Counter::kRefusals, InfoOf(error.code).name);
}

void Recorder::RecordRefusal(const CommitRecord& record, Tags tags, const Error& error) {
  std::string_view code = InfoOf(error.code).name;
  Add(Counter::kRefusals, code);
  const bool is_acquire = std::ranges::any_of(
      tags, [](const OperationTag& tag) { return NameOfIndex(tag.index) == "lock.acquire"; });
  if (is_acquire) Add(Counter::kLocksRefused, code);
  if (!keeps_refusals_ || !TellsSomething(error.code)) return;
  AuditEntry entry;
  entry.actor = record.actor;
  entry.correlation_id = record.correlation_id;
  entry.error = code;
  entry.operation = "commit";  // a guard failed: the whole batch was refused
  std::int64_t index = error.detail.operation.value_or(-1);
  if (index >= 0 && index < static_cast<std::int64_t>(tags.size())) {
    const OperationTag& tag = tags[static_cast<std::size_t>(index)];
    entry.operation = NameOfIndex(tag.index);
    if (tag.id != 0) entry.target = fmt::format("job/{}", tag.id);
    if (!tag.target.empty()) entry.target = tag.target;
    entry.token = tag.token;
  }
  if (entry.target.empty()) entry.target = error.detail.record;  // of a guard
  if (entry.target.empty() && !error.detail.lock.empty()) {
    entry.target = "lock/" + error.detail.lock;
  }
  entry.details = DetailsOf(error);
  RefusalKey key{entry.actor, entry.operation, entry.target, entry.error};
  base::MutexLock lock(mutex_);
  auto found = refusals_.find(key);
  if (found != refusals_.end()) {
    ++found->second.count;
  } else if (refusals_.size() < kRefusalsKept) {
    refusals_.emplace(std::move(key), std::move(entry));
  }
}

std::vector<AuditEntry> Recorder::TakeRefusals() {
  std::vector<AuditEntry> entries;
  base::MutexLock lock(mutex_);
  for (auto& [key, entry] : refusals_) entries.push_back(std::move(entry));
  refusals_.clear();
  return entries;
}

void Recorder::PutBack(std::vector<AuditEntry> refusals) {
  base::MutexLock lock(mutex_);
  for (AuditEntry& entry : refusals) {
    RefusalKey key{entry.actor, entry.operation, entry.target, entry.error};
    auto found = refusals_.find(key);
    if (found != refusals_.end()) {
      found->second.count += entry.count;
    } else if (refusals_.size() < kRefusalsKept) {
      refusals_.emplace(std::move(key), std::move(entry));
    }
  }
}

}  // namespace holdfast::store
