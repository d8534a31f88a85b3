// AUD-1: who did what, written in the commit that did it; and what was refused, folded together.
#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Audit : public StoreSuite {
 protected:
  static Context By(std::string actor, std::string correlation_id = "") {
    Context context;
    context.actor = std::move(actor);
    context.correlation_id = std::move(correlation_id);
    return context;
  }
  std::vector<AuditEntry> List(AuditFilter filter = {}) {
    return Must(store().ListAudit({}, filter)).items;
  }
  std::vector<AuditEntry> Done() {
    std::vector<AuditEntry> entries = List({.limit = 1'000});
    std::erase_if(entries, [](const AuditEntry& entry) { return !entry.error.empty(); });
    return entries;
  }
  /// Refusals are recorded outside the commit they refused: maintenance writes them.
  std::vector<AuditEntry> Refused() {
    Pass(Duration::zero());
    std::vector<AuditEntry> entries = List({.limit = 1'000});
    std::erase_if(entries, [](const AuditEntry& entry) { return entry.error.empty(); });
    return entries;
  }
  static std::vector<std::string> OperationsOf(const std::vector<AuditEntry>& entries) {
    std::vector<std::string> names;
    for (const AuditEntry& entry : entries) names.push_back(entry.operation);
    return names;
  }
};

TEST_P(Audit, AUD_1_SettingAQueueIsRecorded) {
  Must(store().Set(By("ada", "corr-1"), {.name = "mail", .paused = true, .audit = false}));
  std::vector<AuditEntry> entries = List();
  ASSERT_EQ(entries.size(), 1U);
  const AuditEntry& entry = entries[0];
  EXPECT_GT(entry.sequence, 0);
  EXPECT_EQ(entry.at, Now());
  EXPECT_EQ(entry.actor, "ada");
  EXPECT_EQ(entry.correlation_id, "corr-1");
  EXPECT_EQ(entry.operation, "queue.set");
  EXPECT_EQ(entry.target, "queue/mail");
  EXPECT_EQ(entry.old_status, "running");
  EXPECT_EQ(entry.new_status, "paused");
  EXPECT_THAT(entry.details, HasSubstr("paused"));
  EXPECT_EQ(entry.error, "");
  EXPECT_EQ(entry.count, 1);
  EXPECT_GE(entry.lock_wait, Duration::zero());
  EXPECT_GE(entry.commit, Duration::zero());
}

TEST_P(Audit, AUD_1_CancelRetryAndDeleteAreRecorded) {
  JobId id = Push().id;
  std::string target = "job/" + std::to_string(id);
  Must(store().Cancel(By("ada"), id));
  Must(store().Retry(By("bob"), id));
  Must(store().Delete(By("cy"), id));
  std::vector<AuditEntry> entries = List({.target = target});
  ASSERT_THAT(OperationsOf(entries), ElementsAre("job.delete", "job.retry", "job.cancel"));
  EXPECT_EQ(entries[2].actor, "ada");
  EXPECT_EQ(entries[2].old_status, "pending");
  EXPECT_EQ(entries[2].new_status, "cancelled");
  EXPECT_EQ(entries[1].actor, "bob");
  EXPECT_EQ(entries[1].old_status, "cancelled");
  EXPECT_EQ(entries[1].new_status, "pending");
  EXPECT_EQ(entries[0].actor, "cy");
  EXPECT_LT(entries[1].sequence, entries[0].sequence);
}

TEST_P(Audit, AUD_1_OrdinaryJobTrafficIsNotRecorded) {
  Job job = ClaimThis(Push().id);
  Must(store().Renew({}, job.id, job.token));
  Must(store().Complete({}, job.id, job.token));
  EXPECT_THAT(List(), IsEmpty());
}

TEST_P(Audit, AUD_1_AQueueMayAskForClaimsAndFinishes) {
  Must(store().Set({}, {.name = "default", .audit = true}));
  JobId id = Push().id;
  Job first = Must(store().ClaimById(By("worker-host"), id, "w")).value();
  Must(store().Release({}, id, first.token));
  Job second = ClaimOne();
  Must(store().FailAttempt({}, {id, second.token, "no", false, Duration::zero()}));
  Pass(Duration::zero());
  Job third = ClaimOne();
  Pass(seconds(31));
  Job fourth = ClaimOne();
  Must(store().Complete({}, id, fourth.token));
  std::vector<AuditEntry> entries = List({.target = "job/" + std::to_string(id)});
  ASSERT_THAT(OperationsOf(entries),
              ElementsAre("job.complete", "job.claim", "job.expire", "job.claim", "job.fail",
                          "job.claim", "job.release", "job.claim", "job.enqueue"));
  EXPECT_EQ(entries[0].token, fourth.token);
  EXPECT_EQ(entries[0].old_status, "processing");
  EXPECT_EQ(entries[0].new_status, "completed");
  EXPECT_EQ(entries[2].token, third.token);
  EXPECT_EQ(entries[3].old_status, "pending");
  EXPECT_EQ(entries[3].new_status, "processing");
  EXPECT_EQ(entries[7].actor, "worker-host");
}

TEST_P(Audit, AUD_1_ARefusedBatchLeavesNoEntryOfWhatItDidNotDo) {
  JobId id = Push().id;
  Batch batch{.operations = {CancelJob{id}, SetQueue{.name = "default", .paused = true},
                             CancelJob{999'999}}};
  ASSERT_THAT(store().Commit({}, batch), StatusIs(ErrorCode::kNotFound));
  EXPECT_THAT(Done(), IsEmpty());
}

TEST_P(Audit, AUD_1_ReplayedAnswersLeaveNoSecondEntry) {
  JobId id = Push().id;
  Batch batch{.operations = {CancelJob{id}}, .idempotency_key = "key"};
  Must(store().Commit({}, batch));
  Must(store().Commit({}, batch));
  EXPECT_EQ(Done().size(), 1U);
}

TEST_P(Audit, AUD_1_RefusalsThatTellSomethingAreRecorded) {
  Job job = ClaimThis(Push().id);
  std::string target = "job/" + std::to_string(job.id);
  ASSERT_THAT(store().Complete(By("eve", "corr"), job.id, job.token + 7),
              StatusIs(ErrorCode::kFenced));
  Must(store().Complete({}, job.id, job.token));
  ASSERT_THAT(store().Cancel(By("eve"), job.id), StatusIs(ErrorCode::kInvalidTransition));
  std::vector<AuditEntry> refused = Refused();
  ASSERT_EQ(refused.size(), 2U);
  if (refused[0].operation == "job.complete") std::swap(refused[0], refused[1]);
  EXPECT_EQ(refused[1].operation, "job.complete");
  EXPECT_EQ(refused[1].target, target);
  EXPECT_EQ(refused[1].actor, "eve");
  EXPECT_EQ(refused[1].error, "fenced");
  EXPECT_EQ(refused[1].token, job.token + 7);
  EXPECT_EQ(refused[1].correlation_id, "corr");
  EXPECT_EQ(refused[0].operation, "job.cancel");
  EXPECT_EQ(refused[0].error, "invalid_transition");
}

TEST_P(Audit, AUD_1_EqualRefusalsAreFolded) {
  Job job = ClaimThis(Push().id);
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(store().Release(By("eve"), job.id, job.token + 1), StatusIs(ErrorCode::kFenced));
  }
  std::vector<AuditEntry> refused = Refused();
  ASSERT_EQ(refused.size(), 1U);
  EXPECT_EQ(refused[0].count, 20);
  for (int i = 0; i < 5; ++i) {
    EXPECT_THAT(store().Release(By("eve"), job.id, job.token + 1), StatusIs(ErrorCode::kFenced));
  }
  std::int64_t total = 0;
  for (const AuditEntry& entry : Refused()) total += entry.count;
  EXPECT_EQ(total, 25);
}

TEST_P(Audit, AUD_1_OrdinaryContentionIsNotRecorded) {
  Must(store().Set({}, {.name = "full", .max_pending = std::optional<std::int64_t>(0)}));
  EXPECT_THAT(store().Enqueue({}, {.kind = "k", .queue = "full"}), StatusIs(ErrorCode::kQueueFull));
  EXPECT_THAT(store().Cancel({}, 999'999), StatusIs(ErrorCode::kNotFound));
  JobId id = Push().id;
  ClaimThis(id);
  EXPECT_EQ(Must(store().ClaimById({}, id, "w")), std::nullopt);
  EXPECT_THAT(Refused(), IsEmpty());
}

TEST_P(Audit, AUD_1_EntriesAreListedNewestFirstInPages) {
  for (int i = 0; i < 25; ++i) {
    Must(store().Set({}, {.name = "q" + std::to_string(i), .paused = true}));
  }
  std::vector<std::int64_t> sequences;
  AuditFilter filter{.limit = 10};
  int pages = 0;
  do {
    AuditPage page = Must(store().ListAudit({}, filter));
    for (const AuditEntry& entry : page.items) sequences.push_back(entry.sequence);
    filter.cursor = page.next_cursor;
    ASSERT_LE(++pages, 3);
    // What happens meanwhile is newer, and shifts nothing.
    Must(store().Set({}, {.name = "later", .paused = pages % 2 == 0}));
  } while (!filter.cursor.empty());
  ASSERT_EQ(sequences.size(), 25U);
  for (std::size_t i = 1; i < sequences.size(); ++i) EXPECT_EQ(sequences[i], sequences[i - 1] - 1);
}

TEST_P(Audit, AUD_1_EntriesAreFound) {
  Must(store().Set(By("ada"), {.name = "a", .paused = true}));
  clock().Advance(minutes(1));
  Time middle = Now();
  Must(store().Set(By("bob"), {.name = "b", .paused = true}));
  clock().Advance(minutes(1));
  Must(store().Cancel(By("bob"), Push().id));
  EXPECT_EQ(List({.target = "queue/a"}).size(), 1U);
  EXPECT_EQ(List({.target = "queue/c"}).size(), 0U);
  EXPECT_EQ(List({.actor = "bob"}).size(), 2U);
  EXPECT_EQ(List({.operation = "queue.set"}).size(), 2U);
  EXPECT_EQ(List({.actor = "bob", .operation = "queue.set"}).size(), 1U);
  EXPECT_EQ(List({.since = middle}).size(), 2U);
  EXPECT_EQ(List({.since = middle + microseconds(1)}).size(), 1U);
  AuditFilter until;
  until.until = middle - microseconds(1);
  EXPECT_EQ(List(until).size(), 1U);
}

TEST_P(Audit, AUD_1_EntriesAreNeverChangedAndSurvive) {
  Must(store().Set(By("ada"), {.name = "a", .paused = true}));
  JobId id = Push().id;
  Must(store().Cancel(By("bob"), id));
  std::vector<AuditEntry> before = List();
  Pass(hours(24 * 8));  // the job is pruned
  ASSERT_EQ(Must(store().GetJob({}, id)), std::nullopt);
  EXPECT_EQ(List(), before);
  if (!traits().survives_process_kill) return;
  fixture_.Reopen();
  EXPECT_EQ(List(), before);
  Must(store().Set({}, {.name = "a", .paused = false}));
  EXPECT_GT(List().front().sequence, before.front().sequence);
}

HOLDFAST_FOR_ALL_VARIANTS(Audit);

}  // namespace
}  // namespace holdfast::testing
