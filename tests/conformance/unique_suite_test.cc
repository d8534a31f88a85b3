// JOB-10: at most one job of a kind holds a unique key, whatever happens around it.
#include <thread>

#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

using enum JobState;
using ::testing::HasSubstr;

class UniqueKeys : public StoreSuite {
 protected:
  static JobSpec Spec(OnConflict on_conflict = OnConflict::kReject, std::string payload = "1",
                      JobStates states = kLiveStates) {
    return {.kind = "k",
            .payload = std::move(payload),
            .unique = UniqueKey{.key = "key", .states = states, .on_conflict = on_conflict}};
  }
  Result<OperationResult> Enqueue(JobSpec spec) {
    Batch batch;
    batch.operations.push_back(EnqueueJob{std::move(spec)});
    Result<Receipt> receipt = store().Commit({}, std::move(batch));
    if (!receipt) return std::unexpected(receipt.error());
    return receipt->results.at(0);
  }
  /// The key is taken by this job.
  void ExpectTakenBy(JobId id) {
    Queue before = GetQueue();
    Result<Job> job = store().Enqueue({}, Spec());
    ASSERT_THAT(job, StatusIs(ErrorCode::kAlreadyExists, HasSubstr("key")));
    EXPECT_EQ(job.error().detail.id, id);
    EXPECT_EQ(GetQueue(), before);
  }
};

TEST_P(UniqueKeys, JOB_10_AConflictIsRejectedWithTheIdOfTheHolder) {
  Job holder = Push(Spec());
  ExpectTakenBy(holder.id);
  EXPECT_EQ(Get(holder.id), holder);
}

TEST_P(UniqueKeys, JOB_10_AConflictMayReturnTheHolder) {
  Job holder = Push(Spec());
  OperationResult again = Must(Enqueue(Spec(OnConflict::kReturn, "2")));
  EXPECT_TRUE(again.existing);
  EXPECT_EQ(again.job, holder);
  EXPECT_EQ(Get(holder.id).payload, "1");
  EXPECT_EQ(CountOf(kPending), 1);
  JobSpec other{.kind = "k", .unique = UniqueKey{"else", kLiveStates, OnConflict::kReturn}};
  EXPECT_FALSE(Must(Enqueue(other)).existing);
}

TEST_P(UniqueKeys, JOB_10_AConflictMayReplaceThePayloadOfAWaitingHolder) {
  for (std::optional<Duration> delay : {std::optional<Duration>(), std::optional<Duration>(hours(1))}) {
    JobSpec first = Spec(OnConflict::kReplace);
    first.delay = delay;
    JobId id = Push(first).id;
    OperationResult again = Must(Enqueue(Spec(OnConflict::kReplace, R"({"new":2})")));
    EXPECT_TRUE(again.existing);
    EXPECT_EQ(again.job->id, id);
    EXPECT_EQ(again.job->payload, R"({"new":2})");
    EXPECT_EQ(Get(id).payload, R"({"new":2})");
    Must(store().Delete({}, id));
  }
}

TEST_P(UniqueKeys, JOB_10_ThePayloadOfARunningHolderIsNotReplaced) {
  Job holder = ClaimThis(Push(Spec()).id);
  Result<OperationResult> again = Enqueue(Spec(OnConflict::kReplace, "2"));
  ASSERT_THAT(again, StatusIs(ErrorCode::kAlreadyExists));
  EXPECT_EQ(again.error().detail.id, holder.id);
  EXPECT_EQ(Get(holder.id).payload, "1");
}

TEST_P(UniqueKeys, JOB_10_TheKeyIsScopedToTheKindNotToTheQueue) {
  JobId id = Push(Spec()).id;
  JobSpec other_kind = Spec();
  other_kind.kind = "other";
  EXPECT_NE(Push(other_kind).id, id);
  JobSpec other_queue = Spec();
  other_queue.queue = "other";
  EXPECT_THAT(store().Enqueue({}, other_queue), StatusIs(ErrorCode::kAlreadyExists));
}

TEST_P(UniqueKeys, JOB_10_TheKeyIsHeldInEveryLiveState) {
  JobSpec spec = Spec();
  spec.delay = seconds(10);
  JobId id = Push(spec).id;
  ExpectTakenBy(id);  // scheduled
  Pass(seconds(10));
  ExpectTakenBy(id);  // pending
  Job job = ClaimThis(id);
  ExpectTakenBy(id);  // processing
  Must(store().FailAttempt({}, {id, job.token, "no"}));
  ExpectTakenBy(id);  // scheduled for a retry
}

TEST_P(UniqueKeys, JOB_10_FinishingFreesTheKey) {
  JobId completed = Push(Spec()).id;
  Must(store().Complete({}, completed, ClaimThis(completed).token));
  JobId failed = Push(Spec()).id;
  Must(store().FailAttempt({}, {failed, ClaimThis(failed).token, "no", true}));
  JobId cancelled = Push(Spec()).id;
  Must(store().Cancel({}, cancelled));
  JobId deleted = Push(Spec()).id;
  Must(store().Delete({}, deleted));
  JobId poisoned = Push(Spec()).id;
  for (int i = 0; i < 3; ++i) {
    ClaimThis(poisoned);
    Pass(seconds(31));
  }
  EXPECT_EQ(StateOf(poisoned), kFailed);
  ExpectTakenBy(Push(Spec()).id);
}

TEST_P(UniqueKeys, JOB_10_TheCallerNamesTheStatesThatHoldTheKey) {
  JobStates states = kLiveStates;
  states.Add(kCompleted);
  JobId id = Push(Spec(OnConflict::kReject, "1", states)).id;
  Must(store().Complete({}, id, ClaimThis(id).token));
  ExpectTakenBy(id);
  // A holder that is finished has no payload left to replace.
  EXPECT_THAT(Enqueue(Spec(OnConflict::kReplace, "2")), StatusIs(ErrorCode::kAlreadyExists));
  EXPECT_TRUE(Must(Enqueue(Spec(OnConflict::kReturn, "2"))).existing);
  Pass(hours(24) + seconds(1));  // until it is pruned
  EXPECT_NE(Push(Spec()).id, id);
}

TEST_P(UniqueKeys, JOB_10_TheNamedStatesMustIncludeTheLiveOnes) {
  for (JobState missing : {kScheduled, kPending, kProcessing}) {
    JobStates states{kCompleted};
    for (JobState state : {kScheduled, kPending, kProcessing}) {
      if (state != missing) states.Add(state);
    }
    EXPECT_THAT(store().Enqueue({}, Spec(OnConflict::kReject, "1", states)),
                StatusIs(ErrorCode::kInvalidArgument, HasSubstr("states")));
  }
}

TEST_P(UniqueKeys, JOB_10_AFinishedJobIsNotRetriedIntoATakenKey) {
  JobId old = Push(Spec()).id;
  Must(store().Cancel({}, old));
  JobId holder = Push(Spec()).id;
  Result<Job> retried = store().Retry({}, old);
  ASSERT_THAT(retried, StatusIs(ErrorCode::kAlreadyExists));
  EXPECT_EQ(retried.error().detail.id, holder);
  EXPECT_EQ(StateOf(old), kCancelled);
  Must(store().Cancel({}, holder));
  EXPECT_EQ(Must(store().Retry({}, old)).state, kPending);
  ExpectTakenBy(old);
}

TEST_P(UniqueKeys, JOB_10_AKeyCanChangeHandsWithinABatch) {
  // In both orders of ids: the holder is the older one, then the younger one.
  JobId older = Push(Spec()).id;
  Must(store().Cancel({}, older));
  JobId younger = Push(Spec()).id;
  Batch hand_back{.operations = {CancelJob{younger}, RetryJob{older}}};
  ASSERT_THAT(store().Commit({}, hand_back), IsOk());
  ExpectTakenBy(older);
  Batch hand_over{.operations = {CancelJob{older}, RetryJob{younger}}};
  ASSERT_THAT(store().Commit({}, hand_over), IsOk());
  ExpectTakenBy(younger);
  Batch replace{.operations = {DeleteJob{younger}, EnqueueJob{Spec()}}};
  JobId newest = Must(store().Commit({}, replace)).results.at(1).job->id;
  ExpectTakenBy(newest);
  // Not before its holder lets go.
  Batch too_early{.operations = {RetryJob{older}, CancelJob{newest}}};
  Result<Receipt> refused = store().Commit({}, too_early);
  ASSERT_THAT(refused, StatusIs(ErrorCode::kAlreadyExists));
  EXPECT_EQ(refused.error().detail.operation, 0);
  ExpectTakenBy(newest);
}

TEST_P(UniqueKeys, JOB_10_TheKeyHoldsWithinABatch) {
  Batch batch{.operations = {EnqueueJob{Spec()}, EnqueueJob{Spec()}}};
  Result<Receipt> refused = store().Commit({}, batch);
  ASSERT_THAT(refused, StatusIs(ErrorCode::kAlreadyExists));
  EXPECT_EQ(refused.error().detail.operation, 1);
  EXPECT_TRUE(Must(store().ListJobs({}, {})).items.empty());
  batch.operations[1] = EnqueueJob{Spec(OnConflict::kReturn)};
  Receipt receipt = Must(store().Commit({}, batch));
  EXPECT_FALSE(receipt.results[0].existing);
  EXPECT_TRUE(receipt.results[1].existing);
  EXPECT_EQ(receipt.results[0].job, receipt.results[1].job);
}

TEST_P(UniqueKeys, JOB_10_OfManyEnqueuesAtOnceOneWins) {
  constexpr int kThreads = 16;
  for (int round = 0; round < Scaled(5); ++round) {
    JobSpec spec = Spec();
    spec.unique->key = "round " + std::to_string(round);
    std::vector<Result<Job>> results(kThreads, Job{});
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < kThreads; ++i) {
        threads.emplace_back([&, i] { results[i] = store().Enqueue({}, spec); });
      }
    }
    std::optional<JobId> winner;
    for (const Result<Job>& result : results) {
      if (!result) continue;
      EXPECT_FALSE(winner.has_value());
      winner = result->id;
    }
    ASSERT_TRUE(winner.has_value());
    for (const Result<Job>& result : results) {
      if (result) continue;
      EXPECT_EQ(result.error().code, ErrorCode::kAlreadyExists);
      EXPECT_EQ(result.error().detail.id, winner);
    }
  }
}

TEST_P(UniqueKeys, JOB_10_TheKeySurvivesAReopen) {
  if (!traits().survives_process_kill) GTEST_SKIP() << "this store ends with its process";
  JobId id = Push(Spec()).id;
  fixture_.Reopen();
  ExpectTakenBy(id);
}

HOLDFAST_FOR_ALL_VARIANTS(UniqueKeys);

}  // namespace
}  // namespace holdfast::testing
