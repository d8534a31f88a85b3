// IDEM-1: the same request twice has one effect and one answer.
#include <thread>

#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

using enum JobState;

class Idempotency : public StoreSuite {
 protected:
  static Batch Enqueue(std::string key, std::string payload = "1") {
    return {.operations = {EnqueueJob{{.kind = "k", .payload = std::move(payload)}}},
            .idempotency_key = std::move(key)};
  }
  std::int64_t Jobs() {
    std::int64_t jobs = 0;
    for (std::int64_t count : Must(store().GetStats({})).counts) jobs += count;
    return jobs;
  }
};

TEST_P(Idempotency, IDEM_1_TheSameRequestTwiceHasOneEffectAndOneAnswer) {
  Receipt first = Must(store().Commit({}, Enqueue("key")));
  EXPECT_FALSE(first.replayed);
  clock().Advance(hours(1));
  Receipt second = Must(store().Commit({}, Enqueue("key")));
  EXPECT_TRUE(second.replayed);
  EXPECT_EQ(second.results, first.results);
  EXPECT_EQ(Jobs(), 1);
}

TEST_P(Idempotency, IDEM_1_TheAnswerIsTheOneOfThenNotOfNow) {
  Receipt first = Must(store().Commit({}, Enqueue("key")));
  JobId id = first.results.at(0).job->id;
  Must(store().Complete({}, id, ClaimThis(id).token));
  EXPECT_EQ(Must(store().Commit({}, Enqueue("key"))).results, first.results);
  Must(store().Delete({}, id));
  EXPECT_EQ(Must(store().Commit({}, Enqueue("key"))).results, first.results);
  EXPECT_EQ(Jobs(), 0);
}

TEST_P(Idempotency, IDEM_1_TheSameKeyWithAnotherBodyIsAMismatch) {
  Must(store().Commit({}, Enqueue("key")));
  EXPECT_THAT(store().Commit({}, Enqueue("key", "2")),
              StatusIs(ErrorCode::kIdempotencyMismatch, ::testing::HasSubstr("key")));
  Batch guarded = Enqueue("key");
  guarded.guards.push_back(JobGuard{1, 1});
  EXPECT_THAT(store().Commit({}, guarded), StatusIs(ErrorCode::kIdempotencyMismatch));
  Batch longer = Enqueue("key");
  longer.operations.push_back(EnqueueJob{{.kind = "k"}});
  EXPECT_THAT(store().Commit({}, longer), StatusIs(ErrorCode::kIdempotencyMismatch));
  EXPECT_EQ(Jobs(), 1);
}

TEST_P(Idempotency, IDEM_1_OtherKeysAndNoKeyAreOtherRequests) {
  Must(store().Commit({}, Enqueue("a")));
  Must(store().Commit({}, Enqueue("b")));
  Must(store().Commit({}, Enqueue("")));
  Must(store().Commit({}, Enqueue("")));
  EXPECT_EQ(Jobs(), 4);
}

TEST_P(Idempotency, IDEM_1_AFinishIsReplayedAlthoughTheJobHasMovedOn) {
  Job job = ClaimThis(Push().id);
  Batch complete{.operations = {CompleteJob{job.id, job.token, R"({"n":1})"}},
                 .idempotency_key = "done"};
  Receipt first = Must(store().Commit({}, complete));
  EXPECT_EQ(first.results.at(0).job->state, kCompleted);
  Receipt second = Must(store().Commit({}, complete));
  EXPECT_TRUE(second.replayed);
  EXPECT_EQ(second.results, first.results);
  // Without a key the second report is told that the job is finished.
  complete.idempotency_key.clear();
  EXPECT_THAT(store().Commit({}, complete), StatusIs(ErrorCode::kInvalidTransition));
}

TEST_P(Idempotency, IDEM_1_ARetriedClaimGetsTheSameLease) {
  JobId id = Push().id;
  Batch claim{.operations = {ClaimJob{id, "w"}}, .idempotency_key = "claim"};
  Receipt first = Must(store().Commit({}, claim));
  Receipt second = Must(store().Commit({}, claim));
  EXPECT_TRUE(second.replayed);
  EXPECT_EQ(second.results, first.results);
  EXPECT_EQ(Get(id).attempt, 1);
  EXPECT_THAT(store().Complete({}, id, second.results.at(0).job->token), IsOk());
}

/// An answer is true when it is read: the lease in it may have ended since.
TEST_P(Idempotency, IDEM_1_AClaimWhoseLeaseIsOverIsFenced) {
  JobId id = Push().id;
  Batch claim{.operations = {ClaimJob{id, "w"}}, .idempotency_key = "claim"};
  Token token = Must(store().Commit({}, claim)).results.at(0).job->token;
  Batch renewal{.operations = {RenewJob{id, token}}, .idempotency_key = "renewal"};
  Must(store().Commit({}, renewal));
  EXPECT_TRUE(Must(store().Commit({}, claim)).replayed) << "it is still held";
  EXPECT_TRUE(Must(store().Commit({}, renewal)).replayed);
  const auto is_over = StatusIs(ErrorCode::kFenced, ::testing::HasSubstr("is over"));
  Pass(seconds(31));
  EXPECT_THAT(store().Commit({}, claim), is_over);
  EXPECT_THAT(store().Commit({}, renewal), is_over);
  Job job = ClaimThis(id);
  EXPECT_THAT(store().Commit({}, claim), is_over) << "another one has it";
  Must(store().Complete({}, id, job.token));
  EXPECT_THAT(store().Commit({}, claim), is_over);
  EXPECT_EQ(Get(id).state, kCompleted);
}

TEST_P(Idempotency, IDEM_1_AnAcquireWhoseLeaseIsOverIsFenced) {
  Batch acquire{.operations = {AcquireLock{.names = {"a", "b"}, .owner = "ada"}},
                .idempotency_key = "acquire"};
  Receipt first = Must(store().Commit({}, acquire));
  EXPECT_EQ(Must(store().Commit({}, acquire)).results, first.results);
  const std::vector<LockGrant> grants = first.results.at(0).lock->grants;
  Must(store().Renew({}, {"a", grants.at(0).token, seconds(60)}));
  Must(store().Renew({}, {"b", grants.at(1).token, seconds(60)}));
  clock().Advance(seconds(30));
  EXPECT_TRUE(Must(store().Commit({}, acquire)).replayed) << "the leases were renewed";
  Must(store().Release({}, {"b", grants.at(1).token}));
  Must(store().Acquire({}, {.name = "b", .owner = "bob"}));
  EXPECT_THAT(store().Commit({}, acquire),
              StatusIs(ErrorCode::kFenced, ::testing::HasSubstr("lock b")));
  EXPECT_EQ(Must(store().GetLock({}, "b")).holders.at(0).owner, "bob");

  Batch alone{.operations = {AcquireLock{.name = "c", .owner = "ada"}}, .idempotency_key = "c"};
  Must(store().Commit({}, alone));
  clock().Advance(seconds(11));  // no maintenance
  Result<Receipt> late = store().Commit({}, alone);
  EXPECT_THAT(late, StatusIs(ErrorCode::kFenced));
  EXPECT_EQ(late.error().detail.operation, 0);
  EXPECT_TRUE(Must(store().GetLock({}, "c")).holders.empty());
}

/// It would be taken for one that changed nothing.
TEST_P(Idempotency, IDEM_1_ABatchThatAlsoChangedSomethingIsAnsweredAsItWas) {
  Batch batch{.operations = {AcquireLock{.name = "a", .owner = "ada"}, EnqueueJob{{.kind = "k"}}},
              .idempotency_key = "key"};
  Receipt first = Must(store().Commit({}, batch));
  clock().Advance(seconds(11));
  Receipt second = Must(store().Commit({}, batch));
  EXPECT_TRUE(second.replayed);
  EXPECT_EQ(second.results, first.results);
}

TEST_P(Idempotency, IDEM_1_AnswersOfEveryKindAreKept) {
  JobId missed = Must(store().Cancel({}, Push().id)).id;
  JobId doomed = Push().id;
  Push({.kind = "u", .unique = UniqueKey{.key = "u"}});
  Batch batch{.operations = {ClaimJob{missed, "w"}, DeleteJob{doomed},
                             SetQueue{.name = "default", .paused = true},
                             EnqueueJob{{.kind = "u",
                                         .unique = UniqueKey{.key = "u",
                                                             .on_conflict = OnConflict::kReturn}}}},
              .idempotency_key = "key"};
  Receipt first = Must(store().Commit({}, batch));
  EXPECT_EQ(first.results.at(0).job, std::nullopt);
  EXPECT_EQ(first.results.at(1).job, std::nullopt);
  EXPECT_TRUE(first.results.at(2).queue.has_value());
  EXPECT_TRUE(first.results.at(3).existing);
  EXPECT_EQ(Must(store().Commit({}, batch)).results, first.results);
}

TEST_P(Idempotency, IDEM_1_ARefusedCommitLeavesItsKeyFree) {
  Must(store().Set({}, {.name = "default", .max_pending = std::optional<std::int64_t>(0)}));
  EXPECT_THAT(store().Commit({}, Enqueue("key")), StatusIs(ErrorCode::kQueueFull));
  Must(store().Set({}, {.name = "default", .max_pending = std::optional<std::int64_t>()}));
  EXPECT_FALSE(Must(store().Commit({}, Enqueue("key"))).replayed);
  EXPECT_TRUE(Must(store().Commit({}, Enqueue("key"))).replayed);
}

TEST_P(Idempotency, IDEM_1_ALostLeaseDoesNotChangeAReplayedAnswer) {
  Job job = ClaimThis(Push().id);
  Batch batch{.guards = {JobGuard{job.id, job.token}},
              .operations = {EnqueueJob{{.kind = "child"}}},
              .idempotency_key = "key"};
  Receipt first = Must(store().Commit({}, batch));
  Pass(seconds(31));
  Receipt second = Must(store().Commit({}, batch));
  EXPECT_TRUE(second.replayed);
  EXPECT_EQ(second.results, first.results);
}

TEST_P(Idempotency, IDEM_1_AKeyIsKeptFor24Hours) {
  Must(store().Commit({}, Enqueue("key")));
  Pass(hours(24) - seconds(1));
  EXPECT_TRUE(Must(store().Commit({}, Enqueue("key"))).replayed);
  Pass(seconds(2));
  Receipt later = Must(store().Commit({}, Enqueue("key", "2")));
  EXPECT_FALSE(later.replayed);
  EXPECT_EQ(Jobs(), 2);
}

TEST_P(Idempotency, IDEM_1_AnExpiredKeyIsFreeEvenBeforeItIsPruned) {
  Must(store().Commit({}, Enqueue("key")));
  clock().Advance(hours(24) + seconds(1));  // no maintenance
  Receipt later = Must(store().Commit({}, Enqueue("key", "2")));
  EXPECT_FALSE(later.replayed);
  EXPECT_TRUE(Must(store().Commit({}, Enqueue("key", "2"))).replayed);
  EXPECT_EQ(Jobs(), 2);
}

TEST_P(Idempotency, IDEM_1_KeysSurviveAReopen) {
  if (!traits().survives_process_kill) GTEST_SKIP() << "this store ends with its process";
  Receipt first = Must(store().Commit({}, Enqueue("key")));
  fixture_.Reopen();
  Receipt second = Must(store().Commit({}, Enqueue("key")));
  EXPECT_TRUE(second.replayed);
  EXPECT_EQ(second.results, first.results);
  EXPECT_THAT(store().Commit({}, Enqueue("key", "2")), StatusIs(ErrorCode::kIdempotencyMismatch));
}

TEST_P(Idempotency, IDEM_1_OfEqualRequestsAtOnceOneExecutes) {
  constexpr int kThreads = 16;
  for (int round = 0; round < Scaled(5); ++round) {
    std::vector<Result<Receipt>> results(kThreads, Receipt{});
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < kThreads; ++i) {
        threads.emplace_back(
            [&, i] { results[i] = store().Commit({}, Enqueue("round " + std::to_string(round))); });
      }
    }
    int executed = 0;
    for (const Result<Receipt>& result : results) {
      ASSERT_THAT(result, IsOk());
      executed += result->replayed ? 0 : 1;
      EXPECT_EQ(result->results, results[0]->results);
    }
    EXPECT_EQ(executed, 1);
    EXPECT_EQ(Jobs(), round + 1);
  }
}

TEST_P(Idempotency, IDEM_1_EqualBatchesInOneGroupExecuteOnce) {
  std::vector<Result<Receipt>> results =
      store().CommitMany({}, {Enqueue("key"), Enqueue("key"), Enqueue("key", "2")});
  ASSERT_EQ(results.size(), 3U);
  ASSERT_THAT(results[0], IsOk());
  ASSERT_THAT(results[1], IsOk());
  EXPECT_NE(results[0]->replayed, results[1]->replayed);
  EXPECT_EQ(results[0]->results, results[1]->results);
  EXPECT_THAT(results[2], StatusIs(ErrorCode::kIdempotencyMismatch));
  EXPECT_EQ(Jobs(), 1);
}

HOLDFAST_FOR_ALL_VARIANTS(Idempotency);

}  // namespace
}  // namespace holdfast::testing
