// JOB-1: every state against every operation. What is not listed as legal changes nothing.
#include <functional>
#include <map>

#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

using enum JobState;

/// A job in some state, with the token of its last attempt (0: there was none).
struct Subject {
  JobId id = 0;
  Token token = 0;
};

class JobMoves : public StoreSuite {
 protected:
  using Make = std::function<Subject()>;

  Subject Claimed(JobSpec spec = {.kind = "k"}) {
    Job job = ClaimThis(Push(std::move(spec)).id);
    return {job.id, job.token};
  }

  /// Every way to be in a state that the rules could tell apart.
  std::map<std::string, Make> Subjects() {
    return {
        {"scheduled", [this] { return Subject{Push({.kind = "k", .delay = hours(1)}).id}; }},
        {"scheduled by a retry",
         [this] {
           Subject s = Claimed();
           Must(store().FailAttempt({}, {s.id, s.token, "no", false, hours(1)}));
           return s;
         }},
        {"scheduled by a snooze",
         [this] {
           Subject s = Claimed();
           Must(store().Snooze({}, s.id, s.token, hours(1)));
           return s;
         }},
        {"pending", [this] { return Subject{Push().id}; }},
        {"pending after a release",
         [this] {
           Subject s = Claimed();
           Must(store().Release({}, s.id, s.token));
           return s;
         }},
        {"pending after an expiry",
         [this] {
           Subject s = Claimed();
           Pass(seconds(31));
           return s;
         }},
        {"pending after a manual retry",
         [this] {
           Subject s = Claimed();
           Must(store().FailAttempt({}, {s.id, s.token, "no", true}));
           Must(store().Retry({}, s.id));
           return s;
         }},
        {"processing", [this] { return Claimed(); }},
        {"processing, cancel requested",
         [this] {
           Subject s = Claimed();
           Must(store().Cancel({}, s.id));
           return s;
         }},
        {"completed",
         [this] {
           Subject s = Claimed();
           Must(store().Complete({}, s.id, s.token));
           return s;
         }},
        {"failed for good",
         [this] {
           Subject s = Claimed();
           Must(store().FailAttempt({}, {s.id, s.token, "no", true}));
           return s;
         }},
        {"failed by attempts",
         [this] {
           Subject s = Claimed({.kind = "k", .max_attempts = 1});
           Must(store().FailAttempt({}, {s.id, s.token, "no"}));
           return s;
         }},
        {"cancelled while waiting",
         [this] {
           Subject s{Push().id};
           Must(store().Cancel({}, s.id));
           return s;
         }},
        {"cancelled while running",
         [this] {
           Subject s = Claimed();
           Must(store().Cancel({}, s.id));
           Must(store().Release({}, s.id, s.token));
           return s;
         }},
    };
  }

  static std::map<std::string, std::function<Operation(Subject)>> Reports() {
    return {
        {"complete", [](Subject s) { return CompleteJob{s.id, s.token, "1"}; }},
        {"fail", [](Subject s) { return FailJob{s.id, s.token, "no"}; }},
        {"fail for good", [](Subject s) { return FailJob{s.id, s.token, "no", true}; }},
        {"release", [](Subject s) { return ReleaseJob{s.id, s.token}; }},
        {"snooze", [](Subject s) { return SnoozeJob{s.id, s.token, hours(1)}; }},
        {"renew", [](Subject s) { return RenewJob{s.id, s.token}; }},
        {"progress", [](Subject s) { return ProgressJob{s.id, s.token, 0.5, "half"}; }},
    };
  }

  Result<Receipt> Do(Operation operation) {
    Batch batch;
    batch.operations.push_back(std::move(operation));
    return store().Commit({}, std::move(batch));
  }

  /// The operation is refused with this code, and neither the job nor any count changes.
  void ExpectRefused(const Subject& subject, Operation operation, ErrorCode code) {
    Job before = Get(subject.id);
    Queue queue_before = GetQueue();
    Result<Receipt> receipt = Do(std::move(operation));
    EXPECT_THAT(receipt, StatusIs(code));
    if (!receipt) {
      EXPECT_EQ(receipt.error().detail.operation, 0);
      EXPECT_THAT(receipt.error().message, ::testing::HasSubstr(std::to_string(subject.id)));
    }
    EXPECT_EQ(Get(subject.id), before);
    EXPECT_EQ(GetQueue(), queue_before);
  }

  void ExpectMove(const Subject& subject, Operation operation, JobState to) {
    Queue before = GetQueue();
    JobState from = StateOf(subject.id);
    Result<Receipt> receipt = Do(std::move(operation));
    ASSERT_THAT(receipt, IsOk());
    ASSERT_TRUE(receipt->results.at(0).job.has_value());
    EXPECT_EQ(receipt->results[0].job->state, to);
    EXPECT_EQ(WithoutToken(*receipt->results[0].job), Get(subject.id));
    Queue after = GetQueue();
    before.CountOf(from) -= 1;
    before.CountOf(to) += 1;
    EXPECT_EQ(after.counts, before.counts);
  }
};

TEST_P(JobMoves, JOB_1_ReportsOfTheHolderMoveAProcessingJob) {
  const std::map<std::string, JobState> ends = {
      {"complete", kCompleted},    {"fail", kScheduled},   {"fail for good", kFailed},
      {"release", kPending},       {"snooze", kScheduled}, {"renew", kProcessing},
      {"progress", kProcessing},
  };
  for (const auto& [name, report] : Reports()) {
    SCOPED_TRACE(name);
    Subject subject = Claimed();
    ExpectMove(subject, report(subject), ends.at(name));
  }
}

TEST_P(JobMoves, JOB_9_ReportsAfterACancelRequestEndTheJob) {
  const std::map<std::string, JobState> ends = {
      {"complete", kCompleted},      {"fail", kCancelled},   {"fail for good", kCancelled},
      {"release", kCancelled},       {"snooze", kCancelled}, {"renew", kProcessing},
      {"progress", kProcessing},
  };
  for (const auto& [name, report] : Reports()) {
    SCOPED_TRACE(name);
    Subject subject = Claimed();
    Must(store().Cancel({}, subject.id));
    ExpectMove(subject, report(subject), ends.at(name));
  }
}

TEST_P(JobMoves, JOB_1_ReportsOnAJobThatIsNotProcessingAreRefused) {
  for (const auto& [state, make] : Subjects()) {
    if (state.starts_with("processing")) continue;
    Subject subject = make();
    for (const auto& [name, report] : Reports()) {
      SCOPED_TRACE(name + " when " + state);
      bool is_finished = Get(subject.id).finished_at.has_value();
      bool ran = subject.token != 0;
      Subject used{subject.id, ran ? subject.token : 1'000'000};
      ExpectRefused(subject, report(used),
                    is_finished && ran ? ErrorCode::kInvalidTransition : ErrorCode::kFenced);
    }
  }
}

TEST_P(JobMoves, JOB_5_ReportsWithAWrongTokenAreFencedInEveryState) {
  for (const auto& [state, make] : Subjects()) {
    Subject subject = make();
    for (const auto& [name, report] : Reports()) {
      SCOPED_TRACE(name + " when " + state);
      ExpectRefused(subject, report({subject.id, subject.token + 1'000'000}), ErrorCode::kFenced);
    }
  }
}

TEST_P(JobMoves, JOB_1_WhatIsNotAReportMovesOnlyWhereItIsLegal) {
  const std::map<JobState, JobState> cancel = {
      {kScheduled, kCancelled}, {kPending, kCancelled}, {kProcessing, kProcessing}};
  const std::map<JobState, JobState> retry = {{kFailed, kPending}, {kCancelled, kPending}};
  for (const auto& [name, make] : Subjects()) {
    SCOPED_TRACE(name);
    auto check = [&](const std::map<JobState, JobState>& legal, auto operation) {
      Subject subject = make();
      operation.id = subject.id;
      if (auto to = legal.find(StateOf(subject.id)); to != legal.end()) {
        ExpectMove(subject, operation, to->second);
      } else {
        ExpectRefused(subject, operation, ErrorCode::kInvalidTransition);
      }
    };
    check(cancel, CancelJob{});
    check(retry, RetryJob{});
  }
}

TEST_P(JobMoves, JOB_2_OnlyAPendingJobIsClaimedById) {
  for (const auto& [name, make] : Subjects()) {
    SCOPED_TRACE(name);
    Subject subject = make();
    Job before = Get(subject.id);
    Queue queue = GetQueue();
    Result<std::optional<Job>> claimed = store().ClaimById({}, subject.id, "w");
    ASSERT_THAT(claimed, IsOk());
    EXPECT_EQ(claimed->has_value(), before.state == kPending);
    if (before.state != kPending) {
      EXPECT_EQ(Get(subject.id), before);
      EXPECT_EQ(GetQueue(), queue);
    }
  }
}

TEST_P(JobMoves, JOB_1_AJobIsDeletedUnlessSomebodyWorksOnIt) {
  for (const auto& [name, make] : Subjects()) {
    SCOPED_TRACE(name);
    Subject subject = make();
    JobState state = StateOf(subject.id);
    if (state == kProcessing) {
      ExpectRefused(subject, DeleteJob{subject.id}, ErrorCode::kInvalidTransition);
      continue;
    }
    std::int64_t count = CountOf(state);
    EXPECT_THAT(store().Delete({}, subject.id), IsOk());
    EXPECT_EQ(Must(store().GetJob({}, subject.id)), std::nullopt);
    EXPECT_EQ(CountOf(state), count - 1);
  }
}

TEST_P(JobMoves, JOB_1_OperationsOnAnUnknownJobAreNotFound) {
  Job job = Push();
  const Subject unknown{job.id + 1'000, 1};
  for (const auto& [name, report] : Reports()) {
    SCOPED_TRACE(name);
    EXPECT_THAT(Do(report(unknown)), StatusIs(ErrorCode::kNotFound,
                                              ::testing::HasSubstr(std::to_string(unknown.id))));
  }
  EXPECT_THAT(Do(CancelJob{unknown.id}), StatusIs(ErrorCode::kNotFound));
  EXPECT_THAT(Do(RetryJob{unknown.id}), StatusIs(ErrorCode::kNotFound));
  EXPECT_THAT(Do(DeleteJob{unknown.id}), StatusIs(ErrorCode::kNotFound));
  EXPECT_EQ(Must(store().GetJob({}, unknown.id)), std::nullopt);
  EXPECT_EQ(Must(store().ClaimById({}, unknown.id, "w")), std::nullopt);
  EXPECT_EQ(Get(job.id), job);
}

TEST_P(JobMoves, JOB_1_ANewJobHasWhatItsSpecSays) {
  Job parent = Push();
  JobSpec spec{.kind = "mail.send",
               .queue = "mail",
               .payload = R"({"n":18446744073709551615,"s":"ü\n"})",
               .priority = 7,
               .max_attempts = 3,
               .retry = RetryDelay{seconds(2), 3.5, minutes(5), 0.25},
               .unique = UniqueKey{.key = "a b/ü"},
               .parent = parent.id,
               .tags = {"red", "two words"},
               .metadata = R"({"trace":"x"})"};
  Job job = Push(spec);
  EXPECT_GT(job.id, parent.id);
  EXPECT_EQ(job.kind, spec.kind);
  EXPECT_EQ(job.queue, spec.queue);
  EXPECT_EQ(job.payload, spec.payload);
  EXPECT_EQ(job.priority, 7);
  EXPECT_EQ(job.state, kPending);
  EXPECT_EQ(job.attempt, 0);
  EXPECT_EQ(job.max_attempts, 3);
  EXPECT_EQ(job.retry, spec.retry);
  EXPECT_EQ(job.unique_key, "a b/ü");
  EXPECT_EQ(job.unique_states, kLiveStates);
  EXPECT_EQ(job.parent, parent.id);
  EXPECT_EQ(job.tags, spec.tags);
  EXPECT_EQ(job.metadata, spec.metadata);
  EXPECT_EQ(job.created_at, Now());
  EXPECT_EQ(job.run_at, job.created_at);
  EXPECT_EQ(job.token, 0);
  EXPECT_EQ(job.finished_at, std::nullopt);
  EXPECT_FALSE(job.cancel_requested);
  EXPECT_EQ(Get(job.id), job);
}

TEST_P(JobMoves, JOB_1_ADelayedJobIsScheduledAndPromotedWhenDue) {
  Job by_delay = Push({.kind = "k", .delay = seconds(10)});
  Job by_time = Push({.kind = "k", .run_at = Now() + seconds(10)});
  Job overdue = Push({.kind = "k", .run_at = Now() - hours(1)});
  EXPECT_EQ(by_delay.state, kScheduled);
  EXPECT_EQ(by_time.state, kScheduled);
  EXPECT_EQ(by_delay.run_at, by_time.run_at);
  EXPECT_EQ(overdue.state, kPending);
  EXPECT_EQ(Pass(seconds(10) - microseconds(1)).promoted, 0);
  EXPECT_EQ(StateOf(by_delay.id), kScheduled);
  EXPECT_EQ(Pass(microseconds(1)).promoted, 2);
  EXPECT_EQ(StateOf(by_delay.id), kPending);
  EXPECT_EQ(StateOf(by_time.id), kPending);
}

TEST_P(JobMoves, JOB_1_ARetriedJobStartsAnewAndKeepsItsErrors) {
  Subject subject = Claimed({.kind = "k", .max_attempts = 2});
  Must(store().FailAttempt({}, {subject.id, subject.token, "first", true}));
  Job retried = Must(store().Retry({}, subject.id));
  EXPECT_EQ(retried.state, kPending);
  EXPECT_EQ(retried.attempt, 0);
  EXPECT_EQ(retried.lease_expiries, 0);
  EXPECT_EQ(retried.finished_at, std::nullopt);
  ASSERT_EQ(retried.errors.size(), 1U);
  EXPECT_EQ(retried.errors[0].message, "first");
  Job again = ClaimThis(subject.id);
  EXPECT_EQ(again.attempt, 1);
  EXPECT_GT(again.token, subject.token);
}

TEST_P(JobMoves, JOB_1_ACompletedJobShowsItsResultAndWhenItEnded) {
  Subject subject = Claimed();
  clock().Advance(seconds(5));
  Job job = Must(store().Complete({}, subject.id, subject.token, R"({"sum":[1,2]})"));
  EXPECT_EQ(job.result, R"({"sum":[1,2]})");
  EXPECT_EQ(job.finished_at, Now());
  EXPECT_EQ(job.lease_expires_at, std::nullopt);
  Subject bare = Claimed();
  EXPECT_EQ(Must(store().Complete({}, bare.id, bare.token)).result, std::nullopt);
  Subject null = Claimed();
  EXPECT_EQ(Must(store().Complete({}, null.id, null.token, "null")).result, "null");
}

TEST_P(JobMoves, JOB_1_EverythingSurvivesWhatTheStoreSurvives) {
  if (!traits().survives_process_kill) GTEST_SKIP() << "this store ends with its process";
  std::map<JobId, Job> jobs;
  for (const auto& [name, make] : Subjects()) {
    JobId id = make().id;
    jobs[id] = {};
  }
  for (auto& [id, job] : jobs) job = Get(id);
  Queue queue = GetQueue();
  fixture_.Reopen();
  for (const auto& [id, job] : jobs) EXPECT_EQ(Get(id), job);
  EXPECT_EQ(GetQueue(), queue);
  JobId last = jobs.rbegin()->first;
  EXPECT_GT(Push().id, last);
}

HOLDFAST_FOR_ALL_VARIANTS(JobMoves);

}  // namespace
}  // namespace holdfast::testing
