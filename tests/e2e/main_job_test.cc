// What users see first: the main job, the examples, the benchmarks.
#include <gmock/gmock.h>

#include <filesystem>

#include "e2e/harness.h"

namespace holdfast::e2e {
namespace {

using ::testing::HasSubstr;

class FirstSteps : public CliTest {
 protected:
  std::string Example(const std::string& name) const {
    std::filesystem::path build = std::filesystem::path(HOLDFAST_BINARY).parent_path();
    return (build / "examples" / name).string();
  }
};

TEST_F(FirstSteps, TheMainJobHashesEveryFileOnce) {
  Ended ended = Process({HOLDFAST_SOURCE_DIR "/tools/main-job", "--limit", "300", "--binary",
                         HOLDFAST_BINARY, "--lease", "1s"})
                    .Wait(std::chrono::seconds(120));
  EXPECT_EQ(ended.exit_code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("files hashed                      300"));
  EXPECT_THAT(ended.out, HasSubstr("duplicates                        0"));
  EXPECT_THAT(ended.out, HasSubstr("digests checked                   200"));
}

TEST_F(FirstSteps, TheMainJobFailsWhenItCannotRace) {
  Ended ended = Process({HOLDFAST_SOURCE_DIR "/tools/main-job", "--binary", HOLDFAST_BINARY,
                         "--root", folder_.path()})
                    .Wait();
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_THAT(ended.err, HasSubstr("too few for a race"));
}

TEST_F(FirstSteps, TheEmbeddedWorkerRuns) {
  Ended ended = Process({Example("embedded_worker"), store()}).Wait();
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(ended.out,
            "completed {\"greeted\":\"ada\"}\ncompleted {\"greeted\":\"grace\"}\n"
            "completed {\"greeted\":\"barbara\"}\n");
}

TEST_F(FirstSteps, ThePaymentIsMadeOnce) {
  Ended ended = Process({Example("idempotent_payment"), store()}).Wait();
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(ended.out, "asked twice: one payment\nanother amount: idempotency_mismatch\n");
}

TEST_F(FirstSteps, TheHandWrittenLoopIsFenced) {
  for (const std::string& url : {std::string("memory:"), store()}) {
    Ended ended = Process({Example("claim_by_hand"), url}).Wait();
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    EXPECT_THAT(ended.out, HasSubstr("2 squared is 4"));
    EXPECT_THAT(ended.out, HasSubstr("the paused worker: fenced"));
  }
}

TEST_F(FirstSteps, TheBenchmarksRunAndLeaveNothingBehind) {
  std::vector<std::string> small = {HOLDFAST_BINARY, "-o",  "json",      "bench", "jobs",
                                    "--jobs",        "400", "--threads", "8",     "--dir",
                                    folder_.path()};
  Ended ended = Process(small).Wait();
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  Json figures(ended.out);
  EXPECT_EQ(figures.At("/cases/0/life_cycles"), "400");
  EXPECT_EQ(figures.At("/cases/2/life_cycles"), "400");
  EXPECT_NE(figures.At("/cases/0/ratio"), "(none)");
  EXPECT_NE(figures.At("/cases/2/calls/2/p99_us"), "(none)");
  small.push_back("--http");
  ended = Process(small).Wait();
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  ended = Process({HOLDFAST_BINARY, "-o", "json", "bench", "claim", "--few", "1000", "--many",
                   "2000", "--claims", "20", "--dir", folder_.path()})
              .Wait();
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_NE(Json(ended.out).At("/ratio_1"), "(none)");
  ended = Process({HOLDFAST_BINARY, "bench", "claim-by-id", "--jobs", "1000"}).Wait();
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  ended = Process({HOLDFAST_BINARY, "-o", "json", "bench", "work", "--jobs", "500", "--concurrency",
                   "8", "--dir", folder_.path()})
              .Wait();
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_NE(Json(ended.out).At("/jobs_per_second"), "(none)");
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

}  // namespace
}  // namespace holdfast::e2e
