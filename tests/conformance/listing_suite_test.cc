// Reads: filters, and pages that stay right while jobs come and go.
#include <set>

#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

using enum JobState;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Listing : public StoreSuite {
 protected:
  std::vector<JobId> Ids(JobFilter filter) {
    std::vector<JobId> ids;
    for (const Job& job : Must(store().ListJobs({}, filter)).items) ids.push_back(job.id);
    return ids;
  }
};

TEST_P(Listing, JOB_1_JobsAreListedOldestFirst) {
  std::vector<JobId> ids;
  for (int i = 0; i < 12; ++i) ids.push_back(Push({.kind = "k", .priority = 9 - i % 10}).id);
  EXPECT_EQ(Ids({}), ids);
}

TEST_P(Listing, JOB_1_JobsAreFilteredByStateQueueKindAndParent) {
  JobId parent = Push({.kind = "p", .queue = "a"}).id;
  JobId child = Push({.kind = "c", .queue = "a", .parent = parent}).id;
  JobId other = Push({.kind = "c", .queue = "b", .delay = hours(1), .parent = parent}).id;
  JobId taken = ClaimThis(Push({.kind = "c", .queue = "b"}).id).id;
  EXPECT_THAT(Ids({.state = kPending}), ElementsAre(parent, child));
  EXPECT_THAT(Ids({.state = kScheduled}), ElementsAre(other));
  EXPECT_THAT(Ids({.state = kProcessing}), ElementsAre(taken));
  EXPECT_THAT(Ids({.state = kCompleted}), IsEmpty());
  EXPECT_THAT(Ids({.queue = "a"}), ElementsAre(parent, child));
  EXPECT_THAT(Ids({.queue = "nowhere"}), IsEmpty());
  EXPECT_THAT(Ids({.kind = "c"}), ElementsAre(child, other, taken));
  EXPECT_THAT(Ids({.parent = parent}), ElementsAre(child, other));
  EXPECT_THAT(Ids({.parent = child}), IsEmpty());
  EXPECT_THAT(Ids({.state = kPending, .queue = "a", .kind = "c", .parent = parent}),
              ElementsAre(child));
  EXPECT_THAT(Ids({.state = kPending, .queue = "b"}), IsEmpty());
}

TEST_P(Listing, JOB_7_AttemptsThatWillBeRetriedAreListed) {
  Push({.kind = "k", .delay = hours(1)});
  JobId failed = Push({.kind = "k", .queue = "a"}).id;
  Must(store().FailAttempt({}, {failed, ClaimThis(failed).token, "disk full"}));
  JobId snoozed = Push({.kind = "k"}).id;
  Must(store().Snooze({}, snoozed, ClaimThis(snoozed).token, hours(1)));
  JobId dead = Push({.kind = "k", .max_attempts = 1}).id;
  Must(store().FailAttempt({}, {dead, ClaimThis(dead).token, "disk full"}));
  EXPECT_THAT(Ids({.retrying = true}), ElementsAre(failed));
  EXPECT_THAT(Ids({.queue = "a", .retrying = true}), ElementsAre(failed));
  EXPECT_THAT(Ids({.state = kFailed, .retrying = true}), IsEmpty());
}

TEST_P(Listing, JOB_1_EveryFilterIsPaged) {
  JobId parent = Push({.kind = "p", .queue = "other"}).id;
  std::vector<JobId> ids;
  for (int i = 0; i < 25; ++i) {
    ids.push_back(Push({.kind = "k", .queue = "q", .priority = i % 3, .parent = parent}).id);
    Push({.kind = "noise", .queue = "other"});
  }
  const std::vector<JobFilter> filters = {{.queue = "q"},
                                          {.kind = "k"},
                                          {.parent = parent},
                                          {.state = kPending, .queue = "q"},
                                          {.queue = "q", .kind = "k"}};
  for (JobFilter filter : filters) {
    for (int limit : {1, 7, 24, 25, 26}) {
      filter.limit = limit;
      filter.cursor.clear();
      std::vector<JobId> seen;
      do {
        JobPage page = Must(store().ListJobs({}, filter));
        EXPECT_LE(page.items.size(), static_cast<std::size_t>(limit));
        EXPECT_FALSE(page.items.empty());
        for (const Job& job : page.items) seen.push_back(job.id);
        filter.cursor = page.next_cursor;
        ASSERT_LE(seen.size(), ids.size());
      } while (!filter.cursor.empty());
      EXPECT_EQ(seen, ids);
    }
  }
}

TEST_P(Listing, JOB_1_PagesAreStableWhileJobsComeAndGo) {
  std::vector<JobId> ids;
  for (int i = 0; i < 30; ++i) ids.push_back(Push().id);
  std::vector<JobId> seen;
  JobFilter filter{.limit = 10};
  for (int page_number = 0; page_number < 3; ++page_number) {
    JobPage page = Must(store().ListJobs({}, filter));
    for (const Job& job : page.items) seen.push_back(job.id);
    filter.cursor = page.next_cursor;
    // What was listed already goes; what comes is behind the end.
    for (const Job& job : page.items) Must(store().Delete({}, job.id));
    Push();
  }
  EXPECT_EQ(seen, ids);
  EXPECT_EQ(Must(store().ListJobs({}, filter)).items.size(), 3U);
}

TEST_P(Listing, JOB_1_ACursorWorksOnAfterItsJobIsGone) {
  JobId a = Push().id;
  JobId b = Push().id;
  JobId c = Push().id;
  JobPage page = Must(store().ListJobs({}, {.limit = 2}));
  Must(store().Delete({}, a));
  Must(store().Delete({}, b));
  EXPECT_THAT(Ids({.limit = 2, .cursor = page.next_cursor}), ElementsAre(c));
}

TEST_P(Listing, JOB_1_TheLastPageHasNoCursor) {
  EXPECT_EQ(Must(store().ListJobs({}, {})).next_cursor, "");
  for (int i = 0; i < 3; ++i) Push();
  EXPECT_EQ(Must(store().ListJobs({}, {.limit = 3})).next_cursor, "");
  EXPECT_NE(Must(store().ListJobs({}, {.limit = 2})).next_cursor, "");
}

TEST_P(Listing, JOB_1_WhatIsReadIsACopy) {
  JobId id = Push().id;
  Job copy = Get(id);
  copy.payload = "changed";
  EXPECT_EQ(Get(id).payload, "null");
}

TEST_P(Listing, JOB_13_DeadLettersAreListedAndRetriedOneByOne) {
  std::vector<JobId> dead;
  for (int i = 0; i < 3; ++i) {
    Job job = ClaimThis(Push({.kind = "dead"}).id);
    Must(store().FailAttempt({}, {job.id, job.token, "reason " + std::to_string(i), true}));
    dead.push_back(job.id);
  }
  JobPage page = Must(store().ListJobs({}, {.state = kFailed, .kind = "dead"}));
  ASSERT_EQ(page.items.size(), 3U);
  EXPECT_EQ(page.items[1].errors.at(0).message, "reason 1");
  for (const Job& job : page.items) Must(store().Retry({}, job.id));
  EXPECT_EQ(CountOf(kPending), 3);
  EXPECT_EQ(CountOf(kFailed), 0);
}

HOLDFAST_FOR_ALL_VARIANTS(Listing);

}  // namespace
}  // namespace holdfast::testing
