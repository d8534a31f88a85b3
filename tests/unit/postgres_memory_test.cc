// What a node of PostgreSQL remembers, for how long, and what time it takes it to be.
#include <gtest/gtest.h>

#include "engine/postgres/memory.h"

namespace holdfast::engine::postgres {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

class RememberedJobs : public ::testing::Test {
 protected:
  void Note(JobId id, Token token, std::int64_t transaction, const std::string& server = "s") {
    Job job;
    job.id = id;
    job.token = token;
    job.payload = payload_;
    memory_.Note(server, {&job}, RowVersion::Of(transaction));
  }
  /// The token of the job, or 0 if it is not known.
  Token Take(JobId id, const std::string& server = "s") {
    auto jobs = memory_.TakeJobs(server, {id});
    return jobs ? jobs->at(0).mapped().job.token : 0;
  }

  Memory memory_;
  std::string payload_ = "null";
};

TEST_F(RememberedJobs, AreTakenOnceAndAllOrNone) {
  Note(1, 10, 100);
  Note(2, 20, 100);
  EXPECT_FALSE(memory_.TakeJobs("s", {1, 2, 3}));
  auto both = memory_.TakeJobs("s", {1, 2});
  ASSERT_TRUE(both);
  EXPECT_EQ(both->at(1).mapped().job.token, 20);
  EXPECT_EQ(both->at(1).mapped().version, RowVersion{100});
  EXPECT_EQ(Take(1), 0);
}

TEST_F(RememberedJobs, AreKnownAsTheyWereNotedLast) {
  Note(1, 10, 100);
  Note(1, 11, (std::int64_t{7} << 32) + 5);
  auto jobs = memory_.TakeJobs("s", {1});
  EXPECT_EQ(jobs->at(0).mapped().job.token, 11);
  EXPECT_EQ(jobs->at(0).mapped().version, RowVersion{5}) << "as xmin has it";
}

TEST_F(RememberedJobs, AreForgottenWhenAnotherServerAnswers) {
  Note(1, 10, 100);
  EXPECT_EQ(Take(1, "other"), 0);
  Note(2, 20, 100, "other");
  EXPECT_EQ(Take(1), 0);
  EXPECT_EQ(Take(1, "other"), 0);
  EXPECT_EQ(Take(2, "other"), 20);
}

TEST_F(RememberedJobs, AreNotMoreThanSoMany) {
  constexpr JobId kMany = 40'000;
  for (JobId id = 1; id <= kMany; ++id) Note(id, id, 100);
  EXPECT_EQ(Take(1), 0);
  EXPECT_EQ(Take(kMany), kMany);
  EXPECT_EQ(Take(kMany - 8'000), kMany - 8'000) << "in the generation before";
}

TEST_F(RememberedJobs, DoNotTakeMoreThanSoMuchMemory) {
  payload_.assign(200'000, 'x');
  for (JobId id = 1; id <= 200; ++id) Note(id, id, 100);
  EXPECT_EQ(Take(1), 0);
  EXPECT_EQ(Take(200), 200);
}

TEST(RememberedQueues, AreOfOneServer) {
  Memory memory;
  Queue queue;
  queue.name = "mail";
  memory.Note("s", {.queue = queue, .version = {3}});
  ASSERT_TRUE(memory.FindQueue("s", "mail"));
  EXPECT_EQ(memory.FindQueue("s", "mail")->version, RowVersion{3});
  EXPECT_FALSE(memory.FindQueue("s", "other"));
  EXPECT_FALSE(memory.FindQueue("other", "mail"));
}

class ServerClocks : public ::testing::Test {
 protected:
  static Time Wall(Duration since) { return Time(seconds(1'000'000)) + since; }
  static SteadyTime Steady(Duration since) { return SteadyTime(seconds(500)) + since; }

  ServerClock clock_;
};

TEST_F(ServerClocks, SayNothingBeforeTheServerHas) {
  EXPECT_FALSE(clock_.Estimate(Steady({})));
}

TEST_F(ServerClocks, GoOnFromWhatTheServerHasTold) {
  clock_.Note(Wall({}), Steady({}));
  EXPECT_EQ(clock_.Estimate(Steady(milliseconds(3))), Wall(milliseconds(3)));
}

// An answer that took long says that it was at least as late as that, which is known better.
TEST_F(ServerClocks, BelieveTheFastestAnswer) {
  clock_.Note(Wall({}), Steady({}));
  clock_.Note(Wall(milliseconds(10)), Steady(milliseconds(15)));
  EXPECT_EQ(clock_.Estimate(Steady(milliseconds(20))), Wall(milliseconds(20)));
  clock_.Note(Wall(milliseconds(21)), Steady(milliseconds(20)));
  EXPECT_EQ(clock_.Estimate(Steady(milliseconds(30))), Wall(milliseconds(31)));
}

TEST_F(ServerClocks, SayNothingAfterASecondAndThenBelieveAClockThatWasSetBack) {
  clock_.Note(Wall({}), Steady({}));
  clock_.Note(Wall(-seconds(60)), Steady(milliseconds(999)));
  EXPECT_EQ(clock_.Estimate(Steady(milliseconds(999))), Wall(milliseconds(999)));
  EXPECT_FALSE(clock_.Estimate(Steady(seconds(1))));
  clock_.Note(Wall(-seconds(59)), Steady(seconds(1)));
  EXPECT_EQ(clock_.Estimate(Steady(seconds(1) + microseconds(5))),
            Wall(-seconds(59) + microseconds(5)));
}

}  // namespace
}  // namespace holdfast::engine::postgres
