// Batches: everything is done, or nothing and an error that names what was at fault.
#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

using enum JobState;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Batches : public StoreSuite {
 protected:
  /// All that a refused batch could have changed.
  struct Picture {
    std::vector<Job> jobs;
    std::vector<Queue> queues;
    std::vector<AuditEntry> done;
    bool operator==(const Picture&) const = default;
  };
  Picture Look() {
    Picture picture{
        Must(store().ListJobs({}, {.limit = 1'000})).items, Must(store().ListQueues({})).items, {}};
    for (AuditEntry& entry : Must(store().ListAudit({}, {})).items) {
      if (entry.error.empty()) picture.done.push_back(std::move(entry));
    }
    return picture;
  }
  void ExpectRefused(Batch batch, ErrorCode code, std::optional<std::int64_t> operation,
                     std::optional<std::int64_t> guard = {}) {
    Picture before = Look();
    Result<Receipt> receipt = store().Commit({}, std::move(batch));
    ASSERT_THAT(receipt, StatusIs(code));
    EXPECT_EQ(receipt.error().detail.operation, operation);
    EXPECT_EQ(receipt.error().detail.guard, guard);
    EXPECT_EQ(Look(), before);
  }
};

TEST_P(Batches, JOB_1_OperationsSeeWhatEarlierOnesDid) {
  JobId id = Push().id;
  Batch batch{.operations = {ClaimJob{id, "w"}, CancelJob{id},
                             EnqueueJob{{.kind = "child", .parent = id}},
                             SetQueue{.name = "default", .paused = true}, ClaimJob{id, "w2"}}};
  Receipt receipt = Must(store().Commit({}, batch));
  ASSERT_EQ(receipt.results.size(), 5U);
  EXPECT_FALSE(receipt.replayed);
  EXPECT_EQ(receipt.results[1].job->state, kProcessing);
  EXPECT_TRUE(receipt.results[1].job->cancel_requested);
  EXPECT_EQ(receipt.results[2].job->parent, id);
  EXPECT_TRUE(receipt.results[3].queue->paused);
  EXPECT_EQ(receipt.results[4].job, std::nullopt);
  EXPECT_EQ(Get(id).worker, "w");
}

TEST_P(Batches, JOB_1_AJobMayBeChangedAndDeletedInOneBatch) {
  JobId id = Push().id;
  JobId other = Push().id;
  Batch batch{.operations = {CancelJob{id}, DeleteJob{id}, CancelJob{other}}};
  Receipt receipt = Must(store().Commit({}, batch));
  EXPECT_EQ(receipt.results.at(0).job->state, kCancelled);
  EXPECT_EQ(receipt.results.at(0).job->id, id);
  EXPECT_EQ(receipt.results.at(1).job, std::nullopt);
  EXPECT_EQ(Must(store().GetJob({}, id)), std::nullopt);
  EXPECT_EQ(GetQueue().counts, (std::array<std::int64_t, kJobStateCount>{0, 0, 0, 0, 0, 1}));
  ExpectRefused({.operations = {DeleteJob{other}, RetryJob{other}}}, ErrorCode::kNotFound, 1);
}

TEST_P(Batches, JOB_1_AJobMayBeWorkedOnInTheBatchThatAddsIt) {
  if (!traits().has_dense_tokens) GTEST_SKIP() << "nobody knows the tokens to come";
  // Nobody else has seen the store, so the ids to come are known.
  JobId last = Push().id;
  Token token = ClaimThis(last).token;
  Batch batch{.operations = {EnqueueJob{{.kind = "k", .parent = last}}, ClaimJob{last + 1, "w"},
                             ProgressJob{last + 1, token + 1, 0.5, "half"},
                             EnqueueJob{{.kind = "k", .parent = last + 1}}, CancelJob{last + 2},
                             EnqueueJob{{.kind = "k"}}, ClaimJob{last + 3, "w"},
                             FailJob{last + 3, token + 2, "no", true}, EnqueueJob{{.kind = "k"}},
                             DeleteJob{last + 4}}};
  ASSERT_THAT(store().Commit({}, batch), IsOk());
  EXPECT_EQ(StateOf(last + 1), kProcessing);
  EXPECT_EQ(Get(last + 1).progress, 0.5);
  EXPECT_EQ(StateOf(last + 2), kCancelled);
  EXPECT_EQ(StateOf(last + 3), kFailed);
  EXPECT_EQ(Get(last + 3).errors.size(), 1U);
  EXPECT_EQ(Must(store().GetJob({}, last + 4)), std::nullopt);
  EXPECT_EQ(GetQueue().counts, (std::array<std::int64_t, kJobStateCount>{0, 0, 2, 0, 1, 1}));
  EXPECT_THAT(store().Complete({}, last + 1, token + 1), IsOk());
}

TEST_P(Batches, JOB_5_AJobIsCompletedAndItsChildrenEnqueuedInOneCommit) {
  Job job = ClaimThis(Push().id);
  Batch batch{.guards = {JobGuard{job.id, job.token}},
              .operations = {CompleteJob{job.id, job.token, "1"}}};
  for (int i = 0; i < 3; ++i) {
    batch.operations.push_back(EnqueueJob{{.kind = "child", .parent = job.id}});
  }
  Receipt receipt = Must(store().Commit({}, batch));
  EXPECT_EQ(receipt.results.at(0).job->state, kCompleted);
  EXPECT_EQ(Must(store().ListJobs({}, {.parent = job.id})).items.size(), 3U);
}

TEST_P(Batches, JOB_1_OneRefusedOperationUndoesAllOthers) {
  Job job = ClaimThis(Push().id);
  Job waiting = Push({.kind = "k", .unique = UniqueKey{.key = "u"}});
  JobId finished = Must(store().Cancel({}, Push().id)).id;
  const std::vector<Operation> good = {
      EnqueueJob{{.kind = "k"}},
      EnqueueJob{{.kind = "k", .queue = "new-queue"}},
      CompleteJob{job.id, job.token, "1"},
      ClaimJob{waiting.id, "w"},
      RetryJob{finished},
      SetQueue{.name = "default", .paused = true},
      SetQueue{.name = "another-queue", .audit = true},
  };
  const std::vector<std::pair<Operation, ErrorCode>> bad = {
      {CompleteJob{job.id, job.token + 1, "1"}, ErrorCode::kFenced},
      {CancelJob{999'999}, ErrorCode::kNotFound},
      {DeleteJob{999'999}, ErrorCode::kNotFound},
      {EnqueueJob{{.kind = "k", .unique = UniqueKey{.key = "u"}}}, ErrorCode::kAlreadyExists},
      {EnqueueJob{{.kind = "k", .parent = 999'999}}, ErrorCode::kNotFound},
      {EnqueueJob{{.kind = ""}}, ErrorCode::kInvalidArgument},
      {EnqueueJob{{.kind = "k", .payload = "{"}}, ErrorCode::kInvalidArgument},
  };
  for (const auto& [operation, code] : bad) {
    for (std::size_t at = 0; at <= good.size(); at += good.size()) {
      SCOPED_TRACE(std::string(NameOf(operation)) + " at " + std::to_string(at));
      Batch batch{.operations = good};
      batch.operations.insert(batch.operations.begin() + static_cast<std::ptrdiff_t>(at),
                              operation);
      ExpectRefused(std::move(batch), code, static_cast<std::int64_t>(at));
    }
  }
  // Nor did the refusals use up ids or tokens that somebody could miss: the good ones still work.
  EXPECT_THAT(store().Commit({}, Batch{.operations = good}), IsOk());
}

TEST_P(Batches, JOB_4_ARefusedBatchDoesNotTakeTokensOrIdsBack) {
  JobId id = Push().id;
  Batch batch{.operations = {ClaimJob{id, "w"}, EnqueueJob{{.kind = "k"}}, CancelJob{999'999}}};
  ASSERT_THAT(store().Commit({}, batch), StatusIs(ErrorCode::kNotFound));
  Job job = ClaimThis(id);
  EXPECT_EQ(job.attempt, 1);
  Token token = job.token;
  Must(store().Release({}, id, token));
  ASSERT_THAT(store().Commit({}, batch), StatusIs(ErrorCode::kNotFound));
  EXPECT_GT(ClaimThis(id).token, token);
  EXPECT_GT(Push().id, id);
}

TEST_P(Batches, JOB_5_GuardsAreCheckedInTheCommit) {
  Job job = ClaimThis(Push().id);
  Job other = ClaimThis(Push().id);
  auto guarded = [&](std::vector<Guard> guards) {
    return Batch{.guards = std::move(guards), .operations = {EnqueueJob{{.kind = "effect"}}}};
  };
  EXPECT_THAT(store().Commit({}, guarded({JobGuard{job.id, job.token}})), IsOk());
  ExpectRefused(guarded({JobGuard{job.id, job.token}, JobGuard{other.id, job.token}}),
                ErrorCode::kFenced, {}, 1);
  ExpectRefused(guarded({JobGuard{999'999, 1}}), ErrorCode::kFenced, {}, 0);
  Must(store().Complete({}, other.id, other.token));
  ExpectRefused(guarded({JobGuard{other.id, other.token}}), ErrorCode::kFenced, {}, 0);
  Pass(seconds(31));
  ExpectRefused(guarded({JobGuard{job.id, job.token}}), ErrorCode::kFenced, {}, 0);
  Job fresh = ClaimThis(job.id);
  ExpectRefused(guarded({JobGuard{job.id, job.token}}), ErrorCode::kFenced, {}, 0);
  EXPECT_THAT(store().Commit({}, guarded({JobGuard{fresh.id, fresh.token}})), IsOk());
}

TEST_P(Batches, JOB_5_AGuardLooksBeforeTheOperations) {
  JobId id = Push().id;
  Token next = ClaimThis(id).token + 1;
  Must(store().Release({}, id, next - 1));
  // The batch's own claim would be given this token, but the guard does not hold yet.
  ExpectRefused({.guards = {JobGuard{id, next}}, .operations = {ClaimJob{id, "w"}}},
                ErrorCode::kFenced, {}, 0);
}

TEST_P(Batches, JOB_12_AThousandOperationsAreTakenAndNoMore) {
  Batch batch;
  for (int i = 0; i < 1'000; ++i) batch.operations.push_back(EnqueueJob{{.kind = "k"}});
  Receipt receipt = Must(store().Commit({}, batch));
  ASSERT_EQ(receipt.results.size(), 1'000U);
  for (std::size_t i = 1; i < 1'000; ++i) {
    EXPECT_GT(receipt.results[i].job->id, receipt.results[i - 1].job->id);
  }
  EXPECT_EQ(CountOf(kPending), 1'000);
  batch.operations.push_back(EnqueueJob{{.kind = "k"}});
  EXPECT_THAT(store().Commit({}, batch),
              StatusIs(ErrorCode::kInvalidArgument, AllOf(HasSubstr("1001"), HasSubstr("1000"))));
  EXPECT_EQ(CountOf(kPending), 1'000);
}

TEST_P(Batches, JOB_12_AHundredGuardsAreTakenAndNoMore) {
  Job job = ClaimThis(Push().id);
  Batch batch{.guards = std::vector<Guard>(100, JobGuard{job.id, job.token}),
              .operations = {RenewJob{job.id, job.token}}};
  EXPECT_THAT(store().Commit({}, batch), IsOk());
  batch.guards.push_back(JobGuard{job.id, job.token});
  EXPECT_THAT(store().Commit({}, batch),
              StatusIs(ErrorCode::kInvalidArgument, AllOf(HasSubstr("guards"), HasSubstr("100"))));
}

TEST_P(Batches, JOB_11_ABatchFillsAQueueAllOrNothing) {
  Must(store().Set({}, {.name = "default", .max_pending = std::optional<std::int64_t>(3)}));
  Batch batch;
  for (int i = 0; i < 4; ++i) batch.operations.push_back(EnqueueJob{{.kind = "k"}});
  ExpectRefused(batch, ErrorCode::kQueueFull, 3);
  batch.operations.pop_back();
  EXPECT_THAT(store().Commit({}, batch), IsOk());
}

TEST_P(Batches, JOB_5_BatchesCommittedTogetherSucceedOrFailAlone) {
  Job job = ClaimThis(Push().id);
  std::vector<Batch> batches;
  batches.push_back({.operations = {EnqueueJob{{.kind = "a"}}}});
  batches.push_back({.operations = {EnqueueJob{{.kind = "b"}}, CancelJob{999'999}}});
  batches.push_back({.operations = {CompleteJob{job.id, job.token, "1"}}});
  batches.push_back({.operations = {CompleteJob{job.id, job.token, "2"}}});
  batches.push_back({.operations = {}});
  batches.push_back({.operations = {EnqueueJob{{.kind = "c"}}}});
  std::vector<Result<Receipt>> results = store().CommitMany({}, batches);
  ASSERT_EQ(results.size(), 6U);
  EXPECT_THAT(results[0], IsOk());
  EXPECT_THAT(results[1], StatusIs(ErrorCode::kNotFound));
  EXPECT_THAT(results[2], IsOk());
  EXPECT_THAT(results[3], StatusIs(ErrorCode::kInvalidTransition));
  EXPECT_THAT(results[4], StatusIs(ErrorCode::kInvalidArgument));
  EXPECT_THAT(results[5], IsOk());
  EXPECT_EQ(Get(job.id).result, "1");
  EXPECT_EQ(Must(store().ListJobs({}, {})).items.size(), 3U);
}

TEST_P(Batches, JOB_5_ManyBatchesTogetherKeepCountsExact) {
  std::vector<Batch> batches;
  for (int i = 0; i < 300; ++i) {
    Batch& batch = batches.emplace_back();
    batch.operations.push_back(EnqueueJob{{.kind = "k", .queue = "q" + std::to_string(i % 3)}});
    if (i % 2 == 1) batch.operations.push_back(CancelJob{999'999});
  }
  std::vector<Result<Receipt>> results = store().CommitMany({}, batches);
  for (int i = 0; i < 300; ++i) EXPECT_EQ(results.at(i).has_value(), i % 2 == 0);
  for (int q = 0; q < 3; ++q) EXPECT_EQ(CountOf(kPending, "q" + std::to_string(q)), 50);
  EXPECT_TRUE(store().CommitMany({}, {}).empty());
}

TEST_P(Batches, K14_WhatIsTakenBackWithTheBatchIsNotNamed) {
  auto refused = [&](std::vector<Operation> operations) {
    Result<Receipt> receipt = store().Commit({}, {.operations = std::move(operations)});
    EXPECT_THAT(receipt, StatusIs(ErrorCode::kAlreadyExists));
    Error error = receipt ? Error{} : receipt.error();
    EXPECT_EQ(error.detail.operation, 1);
    EXPECT_EQ(error.detail.id, std::nullopt);
    EXPECT_EQ(error.detail.record, "");
    return error;
  };
  Must(store().Apply({}, {.name = "user", .rules = R"({"unique":["/mail"]})"}));
  JobSpec spec{.kind = "k", .unique = UniqueKey{.key = "u"}};
  EXPECT_THAT(refused({EnqueueJob{spec}, EnqueueJob{spec}}).message, HasSubstr("two jobs"));
  EXPECT_TRUE(Must(store().ListJobs({}, {})).items.empty());
  CreateRecord user{.kind = "user", .id = "a", .data = R"({"mail":"x"})"};
  CreateRecord other{.kind = "user", .id = "b", .data = R"({"mail":"x"})"};
  EXPECT_THAT(refused({user, user}).message, HasSubstr("creates record user/a twice"));
  EXPECT_EQ(refused({user, other}).detail.rule, "unique /mail");
  AcquireLock lock{.name = "l", .owner = "ada"};
  EXPECT_EQ(refused({lock, lock}).detail.lock, "l");

  // What stays is named.
  Job job = Must(store().Enqueue({}, spec));
  Must(store().Create({}, user));
  Result<Receipt> taken = store().Commit({}, {.operations = {EnqueueJob{spec}}});
  ASSERT_THAT(taken, StatusIs(ErrorCode::kAlreadyExists));
  EXPECT_EQ(taken.error().detail.id, job.id);
  taken = store().Commit({}, {.operations = {other}});
  ASSERT_THAT(taken, StatusIs(ErrorCode::kAlreadyExists));
  EXPECT_EQ(taken.error().detail.record, "user/a");
}

HOLDFAST_FOR_ALL_VARIANTS(Batches);

}  // namespace
}  // namespace holdfast::testing
