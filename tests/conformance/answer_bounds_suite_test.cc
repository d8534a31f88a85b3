// The bound of an answer in bytes: a list ends its page, a claim takes fewer jobs, a batch is
// refused before it is done.
#include "rules/answer_size.h"
#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class AnswerBounds : public StoreSuite {
 protected:
  static constexpr int kJobs = 40;

  static std::string Text(std::size_t bytes) { return '"' + std::string(bytes - 2, 'x') + '"'; }
  /// More than one answer can hold.
  void PushLarge() {
    for (int i = 0; i < kJobs; ++i) Push({.kind = "k", .payload = Text(rules::kPayloadBytes)});
  }
  static std::size_t BytesOf(const std::vector<Job>& jobs) {
    std::size_t bytes = 0;
    for (const Job& job : jobs) bytes += rules::SizeOf(job);
    return bytes;
  }
};

// K9: a client that could not read the answer left a thousand jobs leased.
TEST_P(AnswerBounds, JOB_3_AClaimTakesNoMoreThanItsAnswerHolds) {
  PushLarge();
  std::vector<Job> first = Claim({.max = 1'000});
  EXPECT_LE(BytesOf(first), rules::kAnswerBytes);
  EXPECT_GT(BytesOf(first), rules::kAnswerBytes - 2 * rules::kPayloadBytes);
  std::vector<Job> second = Claim({.max = 1'000});
  EXPECT_EQ(first.size() + second.size(), std::size_t{kJobs});
  EXPECT_LT(first.back().id, second.front().id);
  EXPECT_EQ(CountOf(JobState::kProcessing), kJobs);
}

TEST_P(AnswerBounds, ReportsOfManyLargeJobsAreAnsweredInBrief) {
  PushLarge();
  std::vector<Job> jobs = Claim({.max = 1'000});
  for (const Job& job : Claim({.max = 1'000})) jobs.push_back(job);
  Batch renewals;
  Batch completions;
  for (const Job& job : jobs) {
    renewals.operations.push_back(RenewJob{job.id, job.token, minutes(1)});
    completions.operations.push_back(CompleteJob{job.id, job.token});
  }
  Receipt receipt = Must(store().Commit({}, std::move(renewals)));
  EXPECT_EQ(receipt.results.back().job->id, jobs.back().id);
  EXPECT_EQ(receipt.results.back().job->lease_expires_at, Now() + minutes(1));
  EXPECT_THAT(receipt.results.back().job->payload, IsEmpty());
  EXPECT_THAT(store().Commit({}, std::move(completions)), IsOk());
  EXPECT_EQ(CountOf(JobState::kCompleted), kJobs);
}

TEST_P(AnswerBounds, ABatchWhoseAnswerIsTooLargeIsRefusedBeforeItIsDone) {
  Batch batch;
  for (int i = 0; i < kJobs; ++i) {
    batch.operations.push_back(EnqueueJob{{.kind = "k", .payload = Text(rules::kPayloadBytes)}});
  }
  EXPECT_THAT(store().Commit({}, std::move(batch)),
              StatusIs(ErrorCode::kPayloadTooLarge, HasSubstr(" bytes")));
  EXPECT_THAT(Must(store().ListJobs({}, {})).items, IsEmpty());
}

TEST_P(AnswerBounds, AListOfJobsEndsItsPage) {
  PushLarge();
  JobFilter filter{.limit = 1'000};
  std::size_t listed = 0;
  int pages = 0;
  do {
    JobPage page = Must(store().ListJobs({}, filter));
    EXPECT_LE(BytesOf(page.items), rules::kAnswerBytes);
    listed += page.items.size();
    filter.cursor = page.next_cursor;
    ++pages;
  } while (!filter.cursor.empty());
  EXPECT_EQ(listed, std::size_t{kJobs});
  EXPECT_EQ(pages, 2);
}

TEST_P(AnswerBounds, AListOfRecordsEndsItsPage) {
  Must(store().Apply({}, {.name = "doc", .rules = "{}"}));
  const std::string data = "{\"text\":" + Text(1'000'000) + "}";
  for (int i = 0; i < 10; ++i) {
    Must(store().Create({}, {.kind = "doc", .id = std::to_string(i), .data = data}));
  }
  RecordPage first = Must(store().ListRecords({}, {.kind = "doc", .limit = 1'000}));
  EXPECT_EQ(first.items.size(), 8U);
  EXPECT_EQ(first.next_cursor, "7");
  RecordPage second =
      Must(store().ListRecords({}, {.kind = "doc", .limit = 1'000, .cursor = first.next_cursor}));
  EXPECT_EQ(second.items.size(), 2U);
  EXPECT_THAT(second.next_cursor, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Stores, AnswerBounds, ::testing::ValuesIn(AllVariants()), VariantName);

}  // namespace
}  // namespace holdfast::testing
