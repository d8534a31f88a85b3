// The worker pool when its store fails: leases are given up in time, outcomes are reported once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "engine/memory/memory_engine.h"
#include "holdfast/worker.h"
#include "testing/fake_clock.h"
#include "testing/faulty_engine.h"
#include "testing/matchers.h"
#include "testing/recording_log.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using ::testing::HasSubstr;

class WorkerFaults : public ::testing::Test {
 protected:
  WorkerFaults() {
    auto engine = std::make_unique<FaultyEngine>(Must(engine::OpenMemory({})));
    engine_ = engine.get();
    store_ = std::make_unique<Store>(std::move(engine), StoreOptions{});
  }
  ~WorkerFaults() override { engine_->Set(Fault::kNone); }

  WorkerOptions Options(Duration lease) {
    WorkerOptions options;
    options.name = "pool";
    options.concurrency = 4;
    options.lease = lease;
    options.log = &log_;
    return options;
  }

  Job Push() { return Must(store_->Enqueue({}, {.kind = "work"})); }
  Job Get(JobId id) { return Must(store_->GetJob({}, id)).value(); }

  /// A handler meets the fault while it works. When its stop token fired, and why.
  void LoseTheLeaseBy(Fault fault) {
    std::atomic<StopReason> reason = StopReason::kNone;
    SteadyTime fired;
    WorkerPool pool(*store_, Options(seconds(2)));
    pool.Handle("work", [&](Attempt& attempt) -> Outcome {
      Must(store_->Set({}, {.name = "default", .paused = true}));  // nobody takes it again
      engine_->Set(fault);
      WaitForStop(attempt.stop());
      reason = attempt.stop_reason();
      fired = steady_clock::now();
      return Completed{};
    });
    Job job = Push();
    const SteadyTime started = steady_clock::now();
    Must(pool.Start());
    ASSERT_TRUE(log_.WaitFor("lease_lost", 1));
    engine_->Set(Fault::kNone);
    pool.Stop();
    EXPECT_EQ(reason, StopReason::kLeaseLost);
    EXPECT_GE(fired - started, milliseconds(1'800)) << "given up although there was time to try";
    EXPECT_EQ(pool.stats().completed, 0);
    EXPECT_NE(Get(job.id).state, JobState::kCompleted);
  }

  RecordingLog log_;
  FaultyEngine* engine_ = nullptr;
  std::unique_ptr<Store> store_;
};

TEST_F(WorkerFaults, EndTheHandlerBeforeALeaseThatCannotBeRenewedRunsOut) {
  LoseTheLeaseBy(Fault::kUnavailable);
  EXPECT_GT(engine_->faults(), 2) << "renewing must be tried again after an error";
}

TEST_F(WorkerFaults, EndTheHandlerBeforeALeaseRunsOutInAStoreThatHangs) {
  LoseTheLeaseBy(Fault::kHang);
  EXPECT_EQ(engine_->faults(), 1) << "a store that hangs must not be heaped with renewals";
}

TEST_F(WorkerFaults, KeepTheLeaseWhenRenewalsFailForAWhile) {
  WorkerPool pool(*store_, Options(seconds(2)));
  std::atomic<bool> stopped = false;
  pool.Handle("work", [&](Attempt& attempt) -> Outcome {
    engine_->Set(Fault::kUnavailable);
    EXPECT_TRUE(WaitUntilTrue([&] { return engine_->faults() >= 2; }));
    engine_->Set(Fault::kNone);
    // Longer than the first lease: a later renewal must have got through.
    stopped = WaitForStop(attempt.stop(), seconds(2));
    return Completed{};
  });
  Job job = Push();
  Must(pool.Start());
  ASSERT_TRUE(log_.WaitFor("job_completed", 1));
  pool.Stop();
  EXPECT_FALSE(stopped);
  EXPECT_EQ(Get(job.id).attempt, 1);
}

TEST_F(WorkerFaults, ReportTheOutcomeOnceTheStoreIsBack) {
  WorkerPool pool(*store_, Options(seconds(30)));
  pool.Handle("work", [&](Attempt&) -> Outcome {
    engine_->Set(Fault::kUnavailable);
    return Completed{"7"};
  });
  Job job = Push();
  Must(pool.Start());
  ASSERT_TRUE(WaitUntilTrue([&] { return engine_->faults() >= 1; }));
  engine_->Set(Fault::kNone);
  ASSERT_TRUE(log_.WaitFor("job_completed", 1));
  pool.Stop();
  EXPECT_EQ(Get(job.id).result, "7");
  EXPECT_EQ(Get(job.id).attempt, 1);
  EXPECT_EQ(pool.stats().completed, 1);
  EXPECT_EQ(pool.stats().lost, 0);
}

TEST_F(WorkerFaults, IDEM_1_TakeAnUnknownOutcomeForDoneWhenItWas) {
  WorkerPool pool(*store_, Options(seconds(30)));
  pool.Handle("work", [&](Attempt& attempt) -> Outcome {
    engine_->Set(Fault::kOutcomeUnknown);
    if (attempt.job().payload == "1") return Completed{"7"};
    return Failed{.error = "odd"};
  });
  Job completed = Must(store_->Enqueue({}, {.kind = "work", .payload = "1"}));
  Job failed = Must(store_->Enqueue({}, {.kind = "work", .payload = "2"}));
  Must(pool.Start());
  ASSERT_TRUE(WaitUntilTrue([&] { return engine_->faults() >= 1; }));
  ASSERT_TRUE(WaitUntilTrue([&] {
    return !Get(failed.id).errors.empty() && Get(completed.id).state == JobState::kCompleted;
  })) << "done, but nobody was told";
  engine_->Set(Fault::kNone);
  ASSERT_TRUE(WaitUntilTrue([&] {
    const WorkerStats stats = pool.stats();
    return stats.completed + stats.failed + stats.lost == 2;
  }));
  pool.Stop();
  EXPECT_TRUE(log_.WaitFor("job_completed", 1, {}));
  EXPECT_TRUE(log_.WaitFor("job_retried", 1, {}));
  EXPECT_EQ(Get(completed.id).result, "7");
  EXPECT_EQ(Get(failed.id).errors.size(), 1u) << "reported twice";
  EXPECT_EQ(pool.stats().lost, 0);
}

TEST_F(WorkerFaults, CallACompletionLostThatCameAfterTheLastAttemptRanOut) {
  FakeClock clock;
  auto engine = std::make_unique<FaultyEngine>(Must(engine::OpenMemory({.clock = &clock})));
  FaultyEngine& faulty = *engine;
  Store store(std::move(engine), {.clock = &clock, .maintain = false});
  Job job = Must(store.Enqueue({}, {.kind = "work", .max_attempts = 1}));
  WorkerPool pool(store, Options(seconds(30)));
  pool.Handle("work", [&](Attempt&) -> Outcome {
    faulty.Set(Fault::kUnavailable);
    return Completed{"7"};
  });
  Must(pool.Start());
  ASSERT_TRUE(WaitUntilTrue([&] { return faulty.faults() >= 1; }));
  clock.Advance(seconds(31));
  Must(store.Maintain({}));
  faulty.Set(Fault::kNone);
  // What is asked again is refused as a completed job's would be: the job tells the difference.
  ASSERT_TRUE(log_.WaitFor("lease_lost", 1));
  pool.Stop();
  EXPECT_EQ(Must(store.GetJob({}, job.id))->state, JobState::kFailed);
  EXPECT_EQ(pool.stats().completed, 0);
  EXPECT_EQ(pool.stats().lost, 1);
}

TEST_F(WorkerFaults, StopWithinThePolicysRetriesWhenTheStoreIsGone) {
  WorkerPool pool(*store_, Options(std::chrono::minutes(10)));
  pool.Handle("work", [&](Attempt&) -> Outcome {
    engine_->Set(Fault::kUnavailable);
    return Completed{};
  });
  Push();
  Must(pool.Start());
  ASSERT_TRUE(WaitUntilTrue([&] { return engine_->faults() >= 1; }));
  const SteadyTime begin = steady_clock::now();
  pool.Stop();
  EXPECT_LT(steady_clock::now() - begin, seconds(30));
  EXPECT_EQ(pool.stats().lost, 1);
  EXPECT_THAT(log_.All("lease_lost").at(0).fields.at("reason"), HasSubstr("a fault was injected"));
}

TEST_F(WorkerFaults, StopClaimingWhileOutcomesCannotBeReported) {
  WorkerOptions options = Options(std::chrono::minutes(10));  // 4 handlers
  options.claim_ahead = 10;                                   // at most 2 * 14 + 100 jobs
  WorkerPool pool(*store_, options);
  pool.Handle("work", [&](Attempt&) -> Outcome { return Completed{}; });
  std::vector<Batch> batches(300, Batch{.operations = {EnqueueJob{{.kind = "work"}}}});
  for (const auto& answer : store_->CommitMany({}, std::move(batches))) ASSERT_THAT(answer, IsOk());
  engine_->Set(Fault::kHang);
  Must(pool.Start());
  EXPECT_TRUE(WaitUntilTrue([&] { return pool.stats().claimed >= 128; }));
  EXPECT_EQ(pool.stats().claimed, 128);
  engine_->Set(Fault::kNone);
  ASSERT_TRUE(log_.WaitFor("job_completed", 300));
  pool.Stop();
  EXPECT_EQ(pool.stats().completed, 300);
}

struct BadOption {
  const char* name;
  std::function<void(WorkerOptions&)> change;
  const char* message;
};

TEST_F(WorkerFaults, RefuseOptionsOutOfTheirLimits) {
  const BadOption bad[] = {
      {"concurrency", [](auto& o) { o.concurrency = 1001; }, "concurrency is 1001 (0 to 1000)"},
      {"negative", [](auto& o) { o.concurrency = -1; }, "concurrency is -1 (0 to 1000)"},
      {"ahead", [](auto& o) { o.claim_ahead = 1001; }, "claim_ahead is 1001 (0 to 1000)"},
      {"behind", [](auto& o) { o.claim_ahead = -1; }, "claim_ahead is -1 (0 to 1000)"},
      {"name", [](auto& o) { o.name = std::string(129, 'x'); }, "at most 128"},
      {"lease", [](auto& o) { o.lease = milliseconds(99); }, "lease is 99ms (100ms to 1d)"},
      {"queue", [](auto& o) { o.queues = {"a b"}; }, "queue has a character outside"},
      {"timeout", [](auto& o) { o.timeout = -seconds(1); }, "timeout is negative (0s to 3660d)"},
      {"grace", [](auto& o) { o.grace = std::chrono::hours(24 * 4000); }, "grace is 4000d"},
      {"wait", [](auto& o) { o.claim_wait = std::chrono::minutes(6); }, "wait is 6m (0s to 5m)"},
  };
  for (const BadOption& option : bad) {
    SCOPED_TRACE(option.name);
    WorkerOptions options = Options(seconds(30));
    option.change(options);
    WorkerPool pool(*store_, options);
    pool.Handle("work", [](Attempt&) -> Outcome { return Completed{}; });
    EXPECT_THAT(pool.Start(), StatusIs(ErrorCode::kInvalidArgument, HasSubstr(option.message)));
  }
}

TEST_F(WorkerFaults, RefuseHandlersThatCannotBe) {
  auto start = [&](const std::string& kind, Handler handler) {
    WorkerPool pool(*store_, Options(seconds(30)));
    pool.Handle(kind, std::move(handler));
    return pool.Start();
  };
  Handler good = [](Attempt&) -> Outcome { return Completed{}; };
  EXPECT_THAT(start("", good), StatusIs(ErrorCode::kInvalidArgument, HasSubstr("kind is empty")));
  EXPECT_THAT(start("a b", good), StatusIs(ErrorCode::kInvalidArgument, HasSubstr("kind has a")));
  EXPECT_THAT(start("work", nullptr),
              StatusIs(ErrorCode::kInvalidArgument, HasSubstr("'work' is empty")));
  WorkerPool none(*store_, Options(seconds(30)));
  EXPECT_THAT(none.Start(), StatusIs(ErrorCode::kInvalidArgument, HasSubstr("no handler")));
}

TEST_F(WorkerFaults, StartOnceAndStopAnyNumberOfTimes) {
  WorkerPool pool(*store_, Options(seconds(30)));
  pool.Handle("work", [](Attempt&) -> Outcome { return Completed{}; });
  Must(pool.Start());
  EXPECT_THAT(pool.Start(), StatusIs(ErrorCode::kInvalidArgument, HasSubstr("started before")));
  pool.Stop();
  pool.Stop();
  EXPECT_THAT(pool.Start(), StatusIs(ErrorCode::kInvalidArgument));

  WorkerPool never(*store_, {});
  never.Stop();
  EXPECT_THAT(never.name(), ::testing::MatchesRegex("..*:[0-9]+:[0-9a-f]+"));
}

}  // namespace
}  // namespace holdfast::testing
