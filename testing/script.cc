#include "testing/script.h"

#include <algorithm>

namespace holdfast::testing {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

const std::vector<std::string>& Queues() {
  static const std::vector<std::string> names = {"default", "a", "b-2"};
  return names;
}
const std::vector<std::string>& Kinds() {
  static const std::vector<std::string> names = {"k", "mail.send", "x:y"};
  return names;
}
const std::vector<JobState>& States() {
  static const std::vector<JobState> states = {JobState::kScheduled,  JobState::kPending,
                                               JobState::kProcessing, JobState::kCompleted,
                                               JobState::kFailed,     JobState::kCancelled};
  return states;
}

}  // namespace

std::string ScriptWriter::MakeText() {
  static const std::vector<std::string> texts = {
      "",  "null", "plain text", "ü€\xf0\x9f\x98\x80", "quote \" back \\ slash", "tab\tline\n",
      "'", "a b c"};
  return Pick(texts);
}

JobId ScriptWriter::MakeId() {
  if (OneIn(20)) return last_id_ + 1 + Below(3);  // not there yet
  if (last_id_ == 0) return 1;
  // Mostly one of the latest: older ones are finished.
  JobId span = OneIn(4) ? last_id_ : std::min<JobId>(last_id_, 8);
  return last_id_ - Below(static_cast<int>(span));
}

Token ScriptWriter::MakeToken(JobId id) {
  auto known = tokens_.find(id);
  if (known == tokens_.end() || OneIn(15)) return Below(50);
  return OneIn(6) ? Pick(known->second) : known->second.back();
}

JobSpec ScriptWriter::MakeSpec() {
  static const std::vector<std::string> payloads = {
      "null", "{}", "[1,2,3]", R"({"b":1.50,"a":"\u00e4"})", "\"x\"", "-0", "18446744073709551615"};
  JobSpec spec{.kind = Pick(Kinds()), .queue = Pick(Queues()), .payload = Pick(payloads)};
  if (OneIn(3)) spec.priority = Below(10);
  if (OneIn(4)) spec.delay = milliseconds(Below(60'000));
  if (OneIn(3)) spec.max_attempts = 1 + Below(3);
  if (OneIn(4)) spec.retry = RetryDelay{seconds(Below(9)), 1.5, seconds(30), 0.1 * Below(11)};
  if (!has_jitter_) {
    if (!spec.retry) spec.retry = RetryDelay{seconds(1), 2.0, seconds(30)};
    spec.retry->jitter = 0;
  }
  if (OneIn(3)) {
    UniqueKey unique{.key = "key " + std::to_string(Below(3)),
                     .on_conflict = static_cast<OnConflict>(Below(3))};
    if (OneIn(3)) unique.states.Add(Pick(States()));
    spec.unique = unique;
  }
  if (OneIn(5)) spec.parent = MakeId();
  if (OneIn(5)) spec.tags = {"red", "ü \" tag"};
  if (OneIn(5)) spec.metadata = R"({ "trace" : "1" })";
  if (OneIn(40)) spec.kind = "bad kind";
  if (OneIn(40)) spec.payload = "{";
  return spec;
}

SetQueue ScriptWriter::MakeSetQueue() {
  SetQueue change{.name = Pick(Queues())};
  auto bound = [this] {
    return OneIn(2) ? std::optional<std::int64_t>() : std::optional<std::int64_t>(Below(12));
  };
  if (OneIn(3)) change.paused = OneIn(3);
  if (OneIn(4)) change.max_pending = bound();
  if (OneIn(4)) change.max_running = bound();
  if (OneIn(3)) change.audit = OneIn(2);
  if (OneIn(6)) change.retain_completed = seconds(Below(100));
  if (OneIn(6)) change.retain_failed = seconds(Below(100));
  return change;
}

Operation ScriptWriter::MakeReport(JobId id, Token token) {
  switch (Below(8)) {
    case 0:
    case 1:
      return CompleteJob{id, token,
                         OneIn(2) ? std::optional<std::string>("{\"r\": 1}") : std::nullopt};
    case 2:
    case 3: {
      FailJob fail{id, token, MakeText(), OneIn(4)};
      if (OneIn(3)) fail.retry_in = milliseconds(Below(20'000));
      return fail;
    }
    case 4:
      return ReleaseJob{id, token};
    case 5:
      return SnoozeJob{id, token, milliseconds(Below(20'000))};
    case 6:
      return RenewJob{id, token, milliseconds(100 + Below(60'000))};
    default:
      return ProgressJob{id, token, 0.1 * Below(11), MakeText()};
  }
}

Operation ScriptWriter::MakeOperation() {
  if (OneIn(3)) return MakeRecordOperation();
  if (OneIn(12)) return MakeTransfer();
  if (OneIn(5)) return MakeLockOperation();
  JobId id = MakeId();
  int kind = Below(100);
  if (kind < 30) return EnqueueJob{MakeSpec()};
  if (kind < 45)
    return ClaimJob{id, "w" + std::to_string(Below(3)), milliseconds(100 + Below(30'000))};
  if (kind < 80) {
    // Of a job that somebody has claimed, if there is one.
    if (!tokens_.empty() && !OneIn(5)) {
      auto latest = tokens_.end();
      for (int back = 1 + Below(std::min<int>(4, static_cast<int>(tokens_.size()))); back > 0;
           --back) {
        --latest;
      }
      id = latest->first;
    }
    return MakeReport(id, MakeToken(id));
  }
  if (kind < 87) return CancelJob{id};
  if (kind < 93) return RetryJob{id};
  if (kind < 96) return DeleteJob{id};
  return MakeSetQueue();
}

Batch ScriptWriter::MakeBatch() {
  if (!keyed_.empty() && OneIn(12)) return Pick(keyed_);
  Batch batch;
  int count = OneIn(2) ? 1 : 1 + Below(5);
  while (count-- > 0) batch.operations.push_back(MakeOperation());
  if (OneIn(8)) {
    JobId id = MakeId();
    batch.guards.push_back(JobGuard{id, MakeToken(id)});
  }
  if (OneIn(12)) batch.guards.push_back(MakeRecordGuard());
  if (OneIn(10)) {
    std::string name = MakeLockName();
    batch.guards.push_back(LockGuard{name, MakeLockToken(name)});
  }
  if (OneIn(6)) {
    batch.idempotency_key = "key " + std::to_string(Below(30));
    keyed_.push_back(batch);
  }
  return batch;
}

ClaimRequest ScriptWriter::MakeClaim() {
  ClaimRequest request{.worker = "w" + std::to_string(Below(3)),
                       .max = 1 + Below(5),
                       .lease = milliseconds(100 + Below(30'000))};
  if (OneIn(3)) request.queues = {Pick(Queues())};
  if (OneIn(3)) request.queues.push_back(Pick(Queues()));
  if (OneIn(4)) request.kinds = {Pick(Kinds())};
  return request;
}

JobFilter ScriptWriter::MakeJobFilter() {
  JobFilter filter{.limit = 1 + Below(20)};
  if (OneIn(3)) filter.state = Pick(States());
  if (OneIn(3)) filter.queue = Pick(Queues());
  if (OneIn(3)) filter.kind = Pick(Kinds());
  if (OneIn(5)) filter.parent = MakeId();
  if (OneIn(3)) filter.cursor = std::to_string(MakeId());
  return filter;
}

AuditFilter ScriptWriter::MakeAuditFilter() {
  AuditFilter filter{.limit = 1 + Below(30)};
  if (OneIn(3)) filter.target = "job/" + std::to_string(MakeId());
  if (OneIn(3)) filter.actor = "actor 1";
  if (OneIn(4)) filter.operation = "job.cancel";
  if (OneIn(3)) filter.cursor = std::to_string(1 + Below(50));
  return filter;
}

Context ScriptWriter::MakeContext() {
  Context context;
  if (OneIn(2)) context.actor = "actor " + std::to_string(Below(3));
  context.correlation_id = "correlation " + std::to_string(Below(3));  // a server makes one up
  return context;
}

Duration ScriptWriter::MakePause() {
  if (OneIn(30)) return hours(24 * 8);
  if (OneIn(10)) return hours(25);
  return milliseconds(Below(30'000));
}

void ScriptWriter::Learn(const Job& job) {
  last_id_ = std::max(last_id_, job.id);
  if (job.token == 0) return;
  std::vector<Token>& tokens = tokens_[job.id];
  if (tokens.empty() || tokens.back() < job.token) tokens.push_back(job.token);
}

void ScriptWriter::Learn(const Receipt& receipt) {
  for (const OperationResult& result : receipt.results) {
    if (result.job) Learn(*result.job);
    if (!result.lock) continue;
    for (const LockGrant& grant : result.lock->grants) Learn(grant);
  }
}

}  // namespace holdfast::testing
