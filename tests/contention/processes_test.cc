// Several processes on one store, without a server of ours: the same guarantees, and a process that
// was stopped past its lease does no damage when it goes on.
#include <memory>
#include <set>
#include <sstream>
#include <thread>

#include "testing/environment.h"
#include "testing/helper_process.h"
#include "testing/store_checks.h"
#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

class Processes : public ::testing::TestWithParam<Variant> {
 protected:
  Processes() : store_(Must(OpenStore(url()))) {}

  void Push(int count) {
    Batch batch;
    for (int i = 0; i < count; ++i) batch.operations.push_back(EnqueueJob{{.kind = "k"}});
    Must(store_->Commit({}, std::move(batch)));
  }
  const std::string& url() const { return place_->url(); }
  std::unique_ptr<HelperProcess> Start(const std::string& helper,
                                       std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(), url());
    return std::make_unique<HelperProcess>(helper, arguments);
  }

  const std::unique_ptr<StorePlace> place_ = GetParam().make_place();
  std::unique_ptr<Store> store_;
};

TEST_P(Processes, JOB_3_FourProcessesDrainOneStoreAndEachJobIsDoneOnce) {
  const int count = Scaled(2'000);
  for (int left = count; left > 0; left -= 1'000) Push(std::min(left, 1'000));
  std::vector<std::unique_ptr<HelperProcess>> helpers;
  for (int i = 0; i < 4; ++i) helpers.push_back(Start("drain", {"p" + std::to_string(i)}));
  std::set<JobId> ids;
  std::set<Token> tokens;
  for (auto& helper : helpers) {
    Token last = 0;
    while (std::optional<std::string> line = helper->ReadLine()) {
      std::istringstream words(*line);
      JobId id = 0;
      Token token = 0;
      words >> id >> token;
      EXPECT_TRUE(ids.insert(id).second) << "job " << id << " was done twice";
      EXPECT_TRUE(tokens.insert(token).second) << "token " << token << " was given twice";
      EXPECT_GT(token, last);
      last = token;
    }
    EXPECT_EQ(helper->Wait(), 0);
  }
  EXPECT_EQ(ids.size(), static_cast<std::size_t>(count));
  EXPECT_EQ(Must(store_->GetQueue({}, "default"))->CountOf(JobState::kCompleted), count);
  ExpectCountsToBeExact(*store_);
}

TEST_P(Processes, JOB_5_AProcessThatWasStoppedPastItsLeaseIsFenced) {
  const int rounds = Scaled(Rounds(20, 500), 2);
  for (int round = 0; round < rounds; ++round) {
    Push(1);
    auto stalled = Start("hold", {"200"});
    std::istringstream words(stalled->ReadLine().value());
    JobId id = 0;
    Token token = 0;
    words >> id >> token;
    stalled->Pause();
    stalled->WriteLine("go");
    std::vector<Job> taken =
        Must(store_->Claim({}, {.worker = "successor", .wait = std::chrono::minutes(2)}));
    ASSERT_EQ(taken.size(), 1U);
    EXPECT_EQ(taken[0].id, id);
    EXPECT_GT(taken[0].token, token);
    stalled->Resume();
    EXPECT_EQ(stalled->ReadLine(), "fenced");
    EXPECT_EQ(stalled->Wait(), 0);
    EXPECT_THAT(store_->Complete({}, id, taken[0].token, "\"right\""), IsOk());
    EXPECT_EQ(Must(store_->GetJob({}, id))->result, "\"right\"");
  }
}

TEST_P(Processes, JOB_5_AProcessThatIsKilledLosesItsJobToAnother) {
  Push(1);
  auto killed = Start("hold", {"200"});
  ASSERT_TRUE(killed->ReadLine().has_value());
  killed->Signal(SIGKILL);
  EXPECT_EQ(killed->Wait(), -SIGKILL);
  std::vector<Job> taken =
      Must(store_->Claim({}, {.worker = "successor", .wait = std::chrono::minutes(2)}));
  ASSERT_EQ(taken.size(), 1U);
  EXPECT_EQ(taken[0].attempt, 2);
  EXPECT_EQ(taken[0].errors.at(0).message, "lease_expired");
}

TEST_P(Processes, JOB_3_AClaimThatWaitsSeesAJobOfAnotherProcess) {
  auto waiter = Start("wait");
  EXPECT_EQ(waiter->ReadLine(), "waiting");
  // Whether it has parked by now or not: it must get the job.
  JobId id = Must(store_->Enqueue({}, {.kind = "k"})).id;
  EXPECT_EQ(waiter->ReadLine(), std::to_string(id));
  EXPECT_EQ(waiter->Wait(), 0);
}

TEST_P(Processes, IDEM_1_EqualRequestsOfFourProcessesExecuteOnce) {
  const int keys = Scaled(50, 5);
  std::vector<std::unique_ptr<HelperProcess>> helpers;
  for (int i = 0; i < 4; ++i) helpers.push_back(Start("duplicate", {std::to_string(keys)}));
  std::vector<std::string> first;
  for (auto& helper : helpers) {
    std::vector<std::string> ids;
    while (std::optional<std::string> line = helper->ReadLine()) ids.push_back(*line);
    EXPECT_EQ(helper->Wait(), 0);
    EXPECT_EQ(ids.size(), static_cast<std::size_t>(keys));
    if (first.empty()) first = ids;
    EXPECT_EQ(ids, first);
  }
  EXPECT_EQ(ListAllJobs(*store_).size(), static_cast<std::size_t>(keys));
}

INSTANTIATE_TEST_SUITE_P(Stores, Processes, ::testing::ValuesIn(SharedVariants()), VariantName);

}  // namespace
}  // namespace holdfast::testing
