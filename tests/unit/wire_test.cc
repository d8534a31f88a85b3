// The JSON shapes: what is written can be read back, and what is not right is refused by name.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/wire_checks.h"
#include "wire/decode.h"
#include "wire/encode.h"

namespace holdfast::wire {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Job SmallJob() {
  return Job{.id = 7,
             .queue = "default",
             .kind = "email",
             .payload = "null",
             .run_at = At(0),
             .created_at = At(1),
             .metadata = "{}"};
}

Job FullJob() {
  Job job = SmallJob();
  job.id = 9'007'199'254'740'993;  // not a double
  job.state = JobState::kProcessing;
  job.priority = 0;
  job.attempt = 3;
  job.max_attempts = 5;
  job.payload = R"({"n": 18446744073709551615, "s":"é\u00e9\n\"", "x":[1.10, {}, []]})";
  job.result = "[ ]";
  job.progress = 0.1;
  job.message = "half \"way\"\n\x01";
  job.started_at = At(2);
  job.finished_at = At(3'000'000);
  job.worker = "w\\1";
  job.token = 9'223'372'036'854'775'807;
  job.lease_expires_at = At(4);
  job.lease_expiries = 2;
  job.errors = {{1, "w1", At(5), "no such \"file\"\t/tmp"}, {2, "", At(6), ""}};
  job.unique_key = "order:1/é";
  job.unique_states = {JobState::kPending, JobState::kScheduled, JobState::kProcessing,
                       JobState::kCompleted};
  job.parent = 1;
  job.tags = {"a", "b c", ""};
  job.metadata = R"({"trace" : "00-1"})";
  job.cancel_requested = true;
  job.retry = RetryDelay{milliseconds(1500), 1.5, std::chrono::hours(2), 0};
  return job;
}

Queue FullQueue() {
  Queue queue{.name = "q.1", .paused = true, .max_pending = 0, .max_running = 10, .audit = true};
  queue.retain_completed = Duration(1);
  queue.counts = {1, 2, 3, 4, 5, 6};
  queue.oldest_pending_at = At(7);
  return queue;
}

JobSpec FullSpec() {
  return JobSpec{.kind = "k",
                 .queue = "q",
                 .payload = R"([1, 2 ,{"a":"]}"}])",
                 .priority = 9,
                 .run_at = At(8),
                 .delay = milliseconds(250),
                 .max_attempts = 1,
                 .retry = RetryDelay{},
                 .unique = UniqueKey{"u", kLiveStates, OnConflict::kReplace},
                 .parent = 12,
                 .tags = {"t"},
                 .metadata = R"({"m":1})"};
}

std::vector<Operation> EveryOperation() {
  return {EnqueueJob{FullSpec()},
          EnqueueJob{JobSpec{.kind = "only"}},
          ClaimJob{1, "w", seconds(5)},
          CompleteJob{2, 20, R"({"ok":true})"},
          CompleteJob{2, 20, std::nullopt},
          FailJob{3, 30, "broke", true, seconds(9)},
          FailJob{3, 30, "", false, std::nullopt},
          ReleaseJob{4, 40},
          SnoozeJob{5, 50, std::chrono::hours(1)},
          RenewJob{6, 60, seconds(30)},
          ProgressJob{7, 70, 0.25, "going"},
          ProgressJob{7, 70, 1, ""},
          CancelJob{8},
          RetryJob{9},
          DeleteJob{10},
          SetQueue{.name = "q",
                   .paused = false,
                   .max_pending = std::optional<std::int64_t>(5),
                   .max_running = std::optional<std::int64_t>(),
                   .audit = true,
                   .retain_completed = seconds(1),
                   .retain_failed = seconds(2)},
          SetQueue{.name = "nothing"},
          AcquireLock{.name = "l", .owner = "o"},
          AcquireLock{.names = {"a", "b"},
                      .policy = LockPolicy::kAny,
                      .owner = "o",
                      .mode = LockMode::kShared,
                      .limit = 3,
                      .ttl = seconds(20),
                      .lock_delay = seconds(2),
                      .preset = "DEFAULT",
                      .wait = seconds(1)},
          RenewLock{"l", 7, seconds(4)},
          RenewLock{"l", 7},
          ReleaseLock{"l", 7},
          BreakLock{"l", "because", 7},
          BreakLock{"l", "because"}};
}

TEST(Wire, AJobSurvivesTheRoundTrip) {
  for (const Job& job : {SmallJob(), FullJob()}) {
    auto read = DecodeJob(ToText(WriteJob, job));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, job);
  }
}

TEST(Wire, AJobHasTheShapeOfTheContract) {
  EXPECT_EQ(
      ToText(WriteJob, SmallJob()),
      R"({"id":"7","queue":"default","kind":"email","state":"pending","priority":4,)"
      R"("attempt":0,"max_attempts":25,"payload":null,"run_at":"2026-01-01T00:00:00.000000Z",)"
      R"("created_at":"2026-01-01T00:00:00.000001Z","lease_expiries":0,"errors":[],)"
      R"("tags":[],"metadata":{},"cancel_requested":false})");
}

TEST(Wire, RawJsonIsHandedOnAsItWasSent) {
  for (std::string raw : {"{}", "[]", "null", "0", "-1.50e+10", "\"a\\u0041\"", "true", "[[]]",
                          "{ \"a\" : [ 1 ,2 ] }", "\"\"", "12345678901234567890123"}) {
    for (std::string text : {fmt::format(R"({{"kind":"k","payload":{}}})", raw),
                             fmt::format("{{ \"payload\" :\n {} \t, \"kind\":\"k\" }} ", raw)}) {
      auto spec = DecodeJobSpec(text);
      ASSERT_TRUE(spec) << spec.error().message << " in " << text;
      EXPECT_EQ(spec->payload, raw) << text;
      EXPECT_EQ(spec->kind, "k");
    }
  }
}

TEST(Wire, LocksLeasesAndTheirGuardsSurviveTheRoundTrip) {
  const Time now{seconds(1'767'225'600)};
  LockGrant grant{"l", "o", LockMode::kShared, 7, now, now + seconds(10), seconds(3)};
  auto grants = DecodeGrants(ToText(WriteGrants, std::vector<LockGrant>{grant}));
  ASSERT_TRUE(grants) << grants.error().message;
  EXPECT_EQ(grants->front(), grant);
  Lock lock{.name = "l",
            .limit = 5,
            .holders = {LockHolder{"a", LockMode::kShared, 7, now, now + seconds(10)}},
            .waiters = {LockWaiter{"b", LockMode::kExclusive, now}},
            .delayed_until = now + seconds(20)};
  auto read = DecodeLock(ToText(WriteLock, lock));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, lock);
  Receipt receipt;
  receipt.results.emplace_back().lock = LockOutcome{.grants = {grant}};
  auto answer = DecodeReceipt(ToText(WriteReceipt, receipt));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->results, receipt.results);
  Batch batch{.guards = {LockGuard{"l", 7}, FenceGuard{{"k", "i"}, 8}},
              .operations = {CancelJob{1}},
              .wait = seconds(5)};
  auto back = DecodeBatch(ToText(WriteBatch, batch));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(std::get<LockGuard>(back->guards[0]), (LockGuard{"l", 7}));
  EXPECT_EQ(std::get<FenceGuard>(back->guards[1]).token, 8);
  EXPECT_EQ(back->wait, seconds(5));
  // How long a batch may wait, and what it holds meanwhile, is no part of what it means.
  Batch waited = batch;
  waited.wait = {};
  waited.held = {{"record:k/i", 9}};
  EXPECT_EQ(FingerprintOf(waited), FingerprintOf(batch));
}

TEST(Wire, WhatIsBetweenTheStoreAndItsEngineHasNoJson) {
  for (const char* name : {"lock.await", "lock.leave", "lock.keep"}) {
    auto read = DecodeBatch(R"({"operations":[{"do":")" + std::string(name) + R"("}]})");
    EXPECT_THAT(MessageOf(read), ::testing::HasSubstr("is not an operation")) << name;
  }
}

TEST(Wire, EveryOperationAndGuardSurvivesTheRoundTrip) {
  Batch batch{{JobGuard{1, 2}, JobGuard{3, 4}}, EveryOperation(), "key \"1\""};
  std::string text = TextOf(batch);
  auto read = DecodeBatch(text);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(TextOf(*read), text);
  ASSERT_EQ(read->operations.size(), batch.operations.size());
  EXPECT_EQ(std::get<EnqueueJob>(read->operations[0]).spec, FullSpec());
  EXPECT_EQ(std::get<EnqueueJob>(read->operations[1]).spec, JobSpec{.kind = "only"});
  const auto& set = std::get<SetQueue>(read->operations[15]);
  ASSERT_TRUE(set.max_pending.has_value());
  EXPECT_EQ(*set.max_pending, 5);
  ASSERT_TRUE(set.max_running.has_value());
  EXPECT_FALSE(set.max_running->has_value());
  EXPECT_FALSE(std::get<SetQueue>(read->operations[16]).max_running.has_value());
  EXPECT_EQ(std::get<JobGuard>(read->guards[1]).token, 4);
  EXPECT_EQ(read->idempotency_key, "key \"1\"");
}

TEST(Wire, TheNameOfAnOperationMayComeLast) {
  auto batch = DecodeBatch(R"({"operations":[{"id":"4","token":5,"do":"job.release"}]})");
  ASSERT_TRUE(batch) << batch.error().message;
  EXPECT_EQ(std::get<ReleaseJob>(batch->operations.at(0)).token, 5);
}

TEST(Wire, QueuesAuditEntriesAndStatsSurviveTheRoundTrip) {
  auto queue_list = [](const Queue& queue) {
    return fmt::format(R"({{"items":[{}]}})", ToText(WriteQueue, queue));
  };
  for (const Queue& queue : {FullQueue(), Queue{.name = "plain"}}) {
    auto queues = DecodeQueuePage(queue_list(queue));
    ASSERT_TRUE(queues) << queues.error().message;
    EXPECT_EQ(queues->items.at(0), queue);
  }
  AuditEntry entry{.sequence = 3,
                   .at = At(0),
                   .actor = "ada",
                   .operation = "job.cancel",
                   .target = "job/7",
                   .old_status = "pending",
                   .new_status = "cancelled",
                   .old_version = 6,
                   .new_version = 7,
                   .token = 5,
                   .lock_wait = Duration(12),
                   .commit = milliseconds(3),
                   .correlation_id = "c",
                   .details = R"({"a":1})",
                   .error = "fenced",
                   .count = 4};
  AuditEntry bare{.sequence = 1, .at = At(1), .operation = "queue.set", .target = "queue/q"};
  auto page =
      DecodeAuditPage(fmt::format(R"({{"items":[{},{}],"next_cursor":"c1"}})",
                                  ToText(WriteAuditEntry, entry), ToText(WriteAuditEntry, bare)));
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_EQ(page->items, (std::vector{entry, bare}));
  EXPECT_EQ(page->next_cursor, "c1");

  StoreStats stats{"sqlite", "1.2", {1, 2, 3, 4, 5, 6}, 7, 8, 10, At(9)};
  auto read = DecodeStats(ToText(WriteStats, stats));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->engine, stats.engine);
  EXPECT_EQ(read->version, stats.version);
  EXPECT_EQ(read->counts, stats.counts);
  EXPECT_EQ(read->queues, 7);
  EXPECT_EQ(read->waiting_claims, 8);
  EXPECT_EQ(read->waiting_locks, 10);
  EXPECT_EQ(read->now, stats.now);
}

TEST(Wire, ReceiptsAndPagesSurviveTheRoundTrip) {
  Receipt receipt{{{.job = FullJob(), .existing = true}, {}, {.queue = FullQueue()}}, true};
  auto read = DecodeReceipt(ToText(WriteReceipt, receipt));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->results, receipt.results);
  EXPECT_TRUE(read->replayed);

  std::string job = ToText(WriteJob, SmallJob());
  auto page = DecodeJobPage(fmt::format(R"({{"items":[{}],"next_cursor":null}})", job));
  ASSERT_TRUE(page);
  EXPECT_EQ(page->items.at(0), SmallJob());
  EXPECT_EQ(page->next_cursor, "");
  auto claimed = DecodeClaimedJobs(fmt::format(R"({{"jobs":[{},{}]}})", job, job));
  ASSERT_TRUE(claimed);
  EXPECT_EQ(claimed->size(), 2U);
}

TEST(Wire, ClaimRequestsSurviveTheRoundTrip) {
  ClaimRequest request{"w", {"a", "b"}, {"k"}, 100, seconds(5), milliseconds(1)};
  auto read = DecodeClaimRequest(ToText(WriteClaimRequest, request));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(ToText(WriteClaimRequest, *read), ToText(WriteClaimRequest, request));
  EXPECT_EQ(read->queues, request.queues);
}

TEST(Wire, EveryErrorKeepsItsCodeAndItsFacts) {
  for (const ErrorCodeInfo& info : kErrorCodes) {
    Error error{info.code, "because \"so\"", {}};
    error.detail = {.operation = 1,
                    .guard = 2,
                    .id = 3,
                    .expected = 4,
                    .current = 5,
                    .retry_after = milliseconds(7),
                    .rule = "r",
                    .record = "ticket/T-1",
                    .violations = {"ticket/T-1: /a", "ticket/T-2: \"b\""},
                    .cycle = {"a", "b"}};
    base::JsonWriter json;
    json.BeginObject();
    json.Field("title", "ignored");
    WriteErrorFields(json, error);
    json.EndObject();
    EXPECT_EQ(DecodeProblem(json.text(), 500), error);
  }
  EXPECT_EQ(DecodeProblem("<html>", 504).code, ErrorCode::kOutcomeUnknown);
  EXPECT_EQ(DecodeProblem("", 503).code, ErrorCode::kUnavailable);
  EXPECT_EQ(DecodeProblem(R"({"code":"from_the_future","detail":"x"})", 409).code,
            ErrorCode::kInvalidTransition);
}

TEST(Wire, ManyAnswersKeepWhichOfThemFailed) {
  auto receipts = DecodeReceipts(
      R"({"items":[{"results":[{}],"replayed":true},{"error":{"code":"fenced","detail":"no"}}]})");
  ASSERT_TRUE(receipts) << receipts.error().message;
  ASSERT_EQ(receipts->size(), 2U);
  ASSERT_TRUE((*receipts)[0]);
  EXPECT_TRUE((*receipts)[0]->replayed);
  EXPECT_EQ((*receipts)[0]->results.size(), 1U);
  EXPECT_EQ((*receipts)[1].error(), (Error{ErrorCode::kFenced, "no", {}}));
}

TEST(Wire, AnswersOfNewerServersAreUnderstood) {
  std::string text = ToText(WriteJob, FullJob());
  text.insert(1, R"("colour":{"red":[1,2]},)");
  auto job = DecodeJob(text);
  ASSERT_TRUE(job) << job.error().message;
  EXPECT_EQ(*job, FullJob());
}

TEST(Wire, ColumnsSurviveTheRoundTripAndSayWhenTheyAreCorrupt) {
  EXPECT_EQ(*DecodeErrors(EncodeErrors(FullJob().errors)), FullJob().errors);
  EXPECT_EQ(*DecodeErrors("[]"), std::vector<JobError>());
  EXPECT_EQ(*DecodeTags(EncodeTags(FullJob().tags)), FullJob().tags);
  EXPECT_EQ(*DecodeRetry(EncodeRetry(*FullJob().retry)), *FullJob().retry);
  EXPECT_EQ(DecodeErrors("[{]").error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(DecodeTags("[1]").error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(DecodeRetry("").error().code, ErrorCode::kCorrupt);
}

TEST(Wire, EqualBatchesHaveEqualFingerprintsWhateverTheirKey) {
  Batch batch{{JobGuard{1, 2}}, EveryOperation(), "k1"};
  Batch same{{JobGuard{1, 2}}, EveryOperation(), "k2"};
  EXPECT_EQ(FingerprintOf(batch), FingerprintOf(same));
  EXPECT_EQ(FingerprintOf(batch).size(), 64U);
  std::get<ClaimJob>(same.operations[2]).id = 2;
  EXPECT_NE(FingerprintOf(batch), FingerprintOf(same));
  // Pinned: keys outlive an upgrade, so that the text behind a fingerprint may not change.
  EXPECT_EQ(FingerprintOf(Batch{{}, {CancelJob{7}}, ""}),
            "09c2b284c8f9fe347d52ae74020e48d0f460cf3328e5cbdad6b0f11aba31e861");
}

struct BadSpec {
  std::string text;
  std::string complaint;
};

TEST(Wire, BadJobsAreRefusedByName) {
  const BadSpec bad[] = {
      {"", "the body is not valid JSON"},
      {"   ", "the body is not valid JSON"},
      {"7", "the body must be a JSON object"},
      {"\"kind\"", "the body must be a JSON object"},
      {"[]", "the body must be an object"},
      {R"({"kind":"k")", "the body is not valid JSON"},
      {R"({"kind":)", "the body is not valid JSON"},
      {R"({"kind":})", "the body is not valid JSON"},
      {R"({"kind":"k","tags":[)", "the body is not valid JSON"},
      {R"({"kind":"k","tags":[,]})", "the body is not valid JSON"},
      {R"({"kind":"k","payload":)", "the body is not valid JSON"},
      {R"({"kind":"k)", "the body is not valid JSON"},
      {R"({"kind":"k",})", "the body is not valid JSON"},
      {R"({"kind":"k"} {})", "the body is not valid JSON"},
      {R"({"kind":"k"} x)", "the body is not valid JSON"},
      {R"({"kind":"k" "queue":"q"})", "the body is not valid JSON"},
      {R"({"kind" "k"})", "the body is not valid JSON"},
      {R"({kind:"k"})", "the body is not valid JSON"},
      {"{\"kind\":\"\xff\"}", "the body is not valid JSON"},
      {"{\"kind\":\"a\nb\"}", "the body is not valid JSON"},
      {R"({"kind":"\q"})", "the body is not valid JSON"},
      {R"({})", "kind is missing"},
      {R"({"kind":"k","colour":1})", "colour is not a known field"},
      {R"({"kind":"k","kind":"l"})", "kind is given twice"},
      {R"({"kind":7})", "kind must be a string"},
      {R"({"kind":null})", "kind must be a string"},
      {R"({"kind":"k","priority":"4"})", "priority must be a whole number"},
      {R"({"kind":"k","priority":4.5})", "priority must be a whole number"},
      {R"({"kind":"k","priority":99999999999})", "priority is out of range"},
      {R"({"kind":"k","delay":"-5s"})", "delay: '-5s' is not a duration"},
      {R"({"kind":"k","delay":5})", "delay must be a string"},
      {R"({"kind":"k","delay":"soon"})", "delay: 'soon' is not a duration"},
      {R"({"kind":"k","run_at":"tomorrow"})", "run_at: 'tomorrow' is not an RFC 3339 time"},
      {R"({"kind":"k","parent":"x"})", "parent must be a decimal number"},
      {R"({"kind":"k","parent":-1})", "parent must be a decimal number"},
      {R"({"kind":"k","tags":"a"})", "tags must be an array"},
      {R"({"kind":"k","tags":["a",1]})", "tags[1] must be a string"},
      {R"({"kind":"k","unique":{"states":[]}})", "unique.key is missing"},
      {R"({"kind":"k","unique":{"key":"u","states":["open"]}})",
       "unique.states[0]: 'open' is not a job state"},
      {R"({"kind":"k","unique":{"key":"u","on_conflict":"win"}})",
       R"(unique.on_conflict must be "reject", "return" or "replace")"},
      {R"({"kind":"k","retry":{"factor":"2"}})", "retry.factor must be a number"},
      {R"({"kind":"k","retry":7})", "retry must be an object"},
      {R"({"kind":"k","do":"job.enqueue"})", "do is not a known field"},
  };
  for (const BadSpec& spec : bad) {
    std::string message = MessageOf(DecodeJobSpec(spec.text));
    EXPECT_TRUE(message.starts_with(spec.complaint)) << spec.text << "\n  " << message;
  }
}

TEST(Wire, BadBatchesNameTheOperationAndTheField) {
  const BadSpec bad[] = {
      {R"({"guards":[]})", "operations is missing"},
      {R"({"operations":{}})", "operations must be an array"},
      {R"({"operations":[7]})", "operations[0] must be an object"},
      {R"({"operations":[{"do":"job.cancel","id":"1"},{"id":"7"}]})",
       "operations[1].do is missing"},
      {R"({"operations":[{"do":"job.explode","id":"7"}]})",
       "operations[0].do: 'job.explode' is not an operation"},
      {R"({"operations":[{"do":"job.cancel","do":"job.cancel","id":"7"}]})",
       "operations[0].do is given twice"},
      {R"({"operations":[{"do":"job.complete","id":"7"}]})", "operations[0].token is missing"},
      {R"({"operations":[{"do":"job.enqueue","kind":"k","unique":{"key":1}}]})",
       "operations[0].unique.key must be a string"},
      {R"({"guards":[{"job":"7"}],"operations":[]})", "guards[0].token is missing"},
      {R"({"guards":[{"lock":"l"}],"operations":[]})", "guards[0].token is missing"},
      {R"({"operations":[{"do":"queue.set","name":"q","max_pending":"5"}]})",
       "operations[0].max_pending must be a whole number"},
      {R"({"operations":[],"colour":1})", "colour is not a known field"},
  };
  for (const BadSpec& spec : bad) {
    std::string message = MessageOf(DecodeBatch(spec.text));
    EXPECT_TRUE(message.starts_with(spec.complaint)) << spec.text << "\n  " << message;
  }
  auto second = DecodeBatch(R"({"operations":[{"do":"job.cancel","id":"1"},{"do":"job.cancel"}]})");
  EXPECT_EQ(second.error().detail.operation, 1);
  auto guard = DecodeBatch(R"({"guards":[{"job":"7"}],"operations":[]})");
  EXPECT_EQ(guard.error().detail.guard, 0);
}

TEST(Wire, AnOperationOfAPathTakesItsIdFromThere) {
  auto complete = DecodeJobOperation(CompleteJob{.id = 7}, R"({"token":"5","result":{"a":1}})");
  ASSERT_TRUE(complete) << complete.error().message;
  EXPECT_EQ(std::get<CompleteJob>(*complete).id, 7);
  EXPECT_EQ(std::get<CompleteJob>(*complete).result, R"({"a":1})");
  EXPECT_TRUE(DecodeJobOperation(CancelJob{7}, ""));
  EXPECT_TRUE(DecodeJobOperation(CancelJob{7}, "{}"));
  EXPECT_EQ(MessageOf(DecodeJobOperation(CancelJob{7}, R"({"id":"7"})")),
            "id is not a known field");
  EXPECT_EQ(MessageOf(DecodeJobOperation(ReleaseJob{7}, "")), "token is missing");
  auto change = DecodeQueueChange("q", R"({"paused":true,"max_running":null})");
  ASSERT_TRUE(change) << change.error().message;
  EXPECT_EQ(change->name, "q");
  EXPECT_TRUE(change->max_running.has_value());
  EXPECT_EQ(MessageOf(DecodeQueueChange("q", R"({"colour":1})")), "colour is not a known field");
}

TEST(Wire, FinishAndRenewBecomeOperations) {
  auto finish = DecodeFinish(R"({"items":[
      {"id":"1","token":"2","outcome":"completed","result":[1]},
      {"id":"3","token":"4","outcome":"failed","error":"e","permanent":true},
      {"id":"5","token":"6","outcome":"released"}]})");
  ASSERT_TRUE(finish) << finish.error().message;
  EXPECT_EQ(std::get<CompleteJob>(finish->at(0)).result, "[1]");
  EXPECT_TRUE(std::get<FailJob>(finish->at(1)).permanent);
  EXPECT_EQ(std::get<ReleaseJob>(finish->at(2)).token, 6);
  auto item = [](std::string_view members) {
    return MessageOf(
        DecodeFinish(fmt::format(R"({{"items":[{{"id":"1","token":"2",{}}}]}})", members)));
  };
  EXPECT_EQ(item(R"("outcome":"lost")"),
            R"(items[0].outcome must be "completed", "failed" or "released")");
  EXPECT_EQ(item(R"("outcome":"failed")"), "items[0].error is missing");
  EXPECT_EQ(item(R"("outcome":"released","result":1)"),
            "items[0].result does not go with the outcome released");

  auto renew = DecodeRenew(R"({"items":[{"id":"1","token":"2"}],"lease":"5s"})");
  ASSERT_TRUE(renew) << renew.error().message;
  EXPECT_EQ(std::get<RenewJob>(renew->at(0)).lease, seconds(5));
}

TEST(Wire, ACommitIsOneBatchOrMany) {
  auto one = DecodeCommit(R"({"operations":[{"do":"job.cancel","id":"7"}]})");
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_FALSE(one->is_many);
  auto many = DecodeCommit(R"({"batches":[{"operations":[]},{"operations":[],
      "idempotency_key":"k"}]})");
  ASSERT_TRUE(many) << many.error().message;
  EXPECT_TRUE(many->is_many);
  EXPECT_EQ(many->batches.at(1).idempotency_key, "k");
  EXPECT_EQ(MessageOf(DecodeCommit(R"({"batches":[],"operations":[]})")),
            "operations is not a known field");
  EXPECT_EQ(MessageOf(DecodeCommit("{}")), "operations is missing");
}

TEST(Wire, ACommitThatIsBrokenOffIsRefused) {
  // Members are looked for before the object is read; each of these ends the search early.
  for (std::string text : {
           std::string(R"({"a":"b":{"batches":[]}})"),
           R"({"guards":[{"lo.ck":"d":{"kind":"k",)" + std::string(4, '\0') +
               R"("id":"i"},"fence":"8"}],"operations":[{"do":"lock.release","name":"l"}]})",
           std::string(R"({"guards":[{"x":1:2}],"operations":[]})"),
           std::string(R"({"guards":[{"x" "lock"}],"operations":[]})"),
           std::string(R"({"guards":[{"x":[}],"operations":[]})"),
           std::string(R"({"operations":[{"x":"y":"do","do":"job.cancel"}]})"),
       }) {
    EXPECT_THAT(MessageOf(DecodeCommit(text)), ::testing::HasSubstr("is not valid JSON")) << text;
  }
}

std::string Nested(int depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}

TEST(ValidateJson, AcceptsOneValueAndNothingElse) {
  for (std::string_view good : {"null", "{}", "[]", "1", "\"x\"", " {\"a\":[1,2.5e3,true]} ",
                                "18446744073709551615", "-9223372036854775808"}) {
    EXPECT_TRUE(ValidateJson("payload", good, JsonShape::kAny)) << good;
  }
  for (std::string_view bad :
       {"", " ", "{", "[1}", "{\"a\":}", "nul", "1 2", "{} {}", "'x'", "\"\xff\"", "\"\\q\"", "01",
        "[1,]", "NaN", "{\"a\" 1}", "\"a\nb\""}) {
    auto result = ValidateJson("payload", bad, JsonShape::kAny);
    ASSERT_FALSE(result) << bad;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
    EXPECT_TRUE(result.error().message.starts_with("payload ")) << result.error().message;
  }
}

TEST(ValidateJson, BoundsTheDepth) {
  EXPECT_TRUE(ValidateJson("payload", Nested(64), JsonShape::kAny));
  EXPECT_FALSE(ValidateJson("payload", Nested(65), JsonShape::kAny));
  EXPECT_FALSE(ValidateJson("payload", Nested(200'000), JsonShape::kAny));
  std::string big = "\"" + std::string(500'000, 'x') + "\"";
  EXPECT_TRUE(ValidateJson("result", big, JsonShape::kAny));
  EXPECT_TRUE(ValidateJson("payload", Nested(64), JsonShape::kAny));
}

TEST(ValidateJson, TellsAnObjectFromOtherValues) {
  EXPECT_TRUE(ValidateJson("metadata", R"({"a":1})", JsonShape::kObject));
  for (std::string_view other : {"null", "[]", "7", "\"{}\""}) {
    EXPECT_EQ(MessageOf(ValidateJson("metadata", other, JsonShape::kObject)),
              "metadata must be a JSON object");
  }
}

}  // namespace
}  // namespace holdfast::wire
