// CTX-1: a context that is over is noticed before anything is done, on every call.
#include <functional>
#include <map>
#include <thread>

#include "testing/store_suite.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

class Contexts : public StoreSuite {
 protected:
  static Context Cancelled() {
    std::stop_source source;
    source.request_stop();
    Context context;
    context.stop = source.get_token();
    return context;
  }
  static Context Expired() {
    Context context;
    context.deadline = std::chrono::steady_clock::now() - milliseconds(1);
    return context;
  }

  template <typename T>
  static ErrorCode CodeOf(const Result<T>& result) {
    return result ? ErrorCode::kInternal : result.error().code;
  }

  using Call = std::function<ErrorCode(const Context&)>;
  /// Every call of Store that takes a context.
  std::map<std::string, Call> Calls(const Job& job, JobId waiting) {
    JobId id = job.id;
    Token token = job.token;
    Batch batch{.operations = {EnqueueJob{{.kind = "k"}}}};
    return {
        {"Commit", [=, this](const Context& c) { return CodeOf(store().Commit(c, batch)); }},
        {"CommitMany",
         [=, this](const Context& c) {
           auto results = store().CommitMany(c, {batch, batch});
           EXPECT_EQ(CodeOf(results.at(0)), CodeOf(results.at(1)));
           return CodeOf(results.at(0));
         }},
        {"Enqueue",
         [=, this](const Context& c) { return CodeOf(store().Enqueue(c, {.kind = "k"})); }},
        {"Claim",
         [=, this](const Context& c) { return CodeOf(store().Claim(c, {.worker = "w"})); }},
        {"Claim and wait",
         [=, this](const Context& c) {
           return CodeOf(store().Claim(c, {.worker = "w", .queues = {"none"}, .wait = minutes(1)}));
         }},
        {"ClaimById",
         [=, this](const Context& c) { return CodeOf(store().ClaimById(c, waiting, "w")); }},
        {"Complete",
         [=, this](const Context& c) { return CodeOf(store().Complete(c, id, token)); }},
        {"FailAttempt",
         [=, this](const Context& c) {
           return CodeOf(store().FailAttempt(c, {id, token, "no"}));
         }},
        {"Release", [=, this](const Context& c) { return CodeOf(store().Release(c, id, token)); }},
        {"Snooze",
         [=, this](const Context& c) { return CodeOf(store().Snooze(c, id, token, seconds(1))); }},
        {"Renew", [=, this](const Context& c) { return CodeOf(store().Renew(c, id, token)); }},
        {"ReportProgress",
         [=, this](const Context& c) {
           return CodeOf(store().ReportProgress(c, {id, token, 0.5, ""}));
         }},
        {"Cancel", [=, this](const Context& c) { return CodeOf(store().Cancel(c, waiting)); }},
        {"Retry", [=, this](const Context& c) { return CodeOf(store().Retry(c, waiting)); }},
        {"Delete", [=, this](const Context& c) { return CodeOf(store().Delete(c, waiting)); }},
        {"GetJob", [=, this](const Context& c) { return CodeOf(store().GetJob(c, id)); }},
        {"ListJobs", [=, this](const Context& c) { return CodeOf(store().ListJobs(c, {})); }},
        {"GetQueue",
         [=, this](const Context& c) { return CodeOf(store().GetQueue(c, "default")); }},
        {"GetStats", [=, this](const Context& c) { return CodeOf(store().GetStats(c)); }},
        {"ListQueues", [=, this](const Context& c) { return CodeOf(store().ListQueues(c)); }},
        {"GetQueue",
         [=, this](const Context& c) { return CodeOf(store().GetQueue(c, "default")); }},
        {"ListAudit", [=, this](const Context& c) { return CodeOf(store().ListAudit(c, {})); }},
        {"GetStats", [=, this](const Context& c) { return CodeOf(store().GetStats(c)); }},
        {"Set",
         [=, this](const Context& c) {
           return CodeOf(store().Set(c, {.name = "default", .paused = true}));
         }},
        {"Maintain", [=, this](const Context& c) { return CodeOf(backing().Maintain(c)); }},
    };
  }

  void ExpectEveryCallToGiveUp(const Context& context, ErrorCode code) {
    Job job = ClaimThis(Push().id);
    JobId waiting = Push().id;
    std::vector<Job> before = Must(store().ListJobs({}, {})).items;
    std::vector<Queue> queues = Must(store().ListQueues({})).items;
    for (const auto& [name, call] : Calls(job, waiting)) {
      SCOPED_TRACE(name);
      EXPECT_EQ(call(context), code);
    }
    EXPECT_EQ(Must(store().ListJobs({}, {})).items, before);
    EXPECT_EQ(Must(store().ListQueues({})).items, queues);
    // The lease is still good: nothing was half done.
    EXPECT_THAT(store().Complete({}, job.id, job.token), IsOk());
  }
};

TEST_P(Contexts, CTX_1_ACancelledContextIsNoticedByEveryCall) {
  ExpectEveryCallToGiveUp(Cancelled(), ErrorCode::kCancelled);
}

TEST_P(Contexts, CTX_1_AnExpiredContextIsNoticedByEveryCall) {
  ExpectEveryCallToGiveUp(Expired(), ErrorCode::kDeadlineExceeded);
}

TEST_P(Contexts, CTX_1_AContextWithTimeLeftDoesItsWork) {
  EXPECT_THAT(store().Enqueue(Context::WithTimeout(minutes(1)), {.kind = "k"}), IsOk());
}

TEST_P(Contexts, CTX_1_CancellingEndsAWaitingClaim) {
  std::stop_source source;
  Context context;
  context.stop = source.get_token();
  std::jthread canceller([&] {
    if (!traits().is_remote) {
      EXPECT_TRUE(WaitUntilTrue([&] { return Must(store().GetStats({})).waiting_claims > 0; }));
    }
    source.request_stop();
  });
  EXPECT_THAT(store().Claim(context, {.worker = "w", .wait = minutes(1)}),
              StatusIs(ErrorCode::kCancelled));
  // The claim that gave up gets nothing any more: the job is there for the next.
  JobId id = Push().id;
  EXPECT_EQ(ClaimOne().id, id);
}

TEST_P(Contexts, CTX_1_TheDeadlineEndsAWaitingClaim) {
  auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(
      store().Claim(Context::WithTimeout(milliseconds(50)), {.worker = "w", .wait = minutes(1)}),
      StatusIs(ErrorCode::kDeadlineExceeded));
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(30));
  JobId id = Push().id;
  EXPECT_EQ(ClaimOne().id, id);
}

TEST_P(Contexts, CTX_1_ClosingAStoreEndsWaitingClaims) {
  if (traits().is_remote) GTEST_SKIP() << "the server's store is closed after its connections";
  store().StopWaiting();
  EXPECT_TRUE(Claim({.wait = minutes(1)}).empty());
  EXPECT_THAT(store().Enqueue({}, {.kind = "k"}), IsOk());
}

HOLDFAST_FOR_ALL_VARIANTS(Contexts);

}  // namespace
}  // namespace holdfast::testing
