// holdfast race as a user meets it: what it prints, what it exits with, what it leaves behind.
#include <gmock/gmock.h>

#include <filesystem>

#include "e2e/harness.h"

namespace holdfast::e2e {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class RaceTest : public CliTest {};

TEST_F(RaceTest, ShowsARaceThatIsLost) {
  Ended lost = Holdfast({"race", "lost-update", "--unsafe", "--threads", "4"});
  EXPECT_EQ(lost.exit_code, 0) << lost.err;
  EXPECT_THAT(lost.out, StartsWith("lost-update, unsafe: "));
  EXPECT_THAT(lost.out, HasSubstr("expected      20 (the counter)\n"));
  EXPECT_THAT(lost.out, HasSubstr("lost, as it must be"));
  EXPECT_THAT(lost.out, ::testing::ContainsRegex("MS  WORKER [1-4] +WORKER [1-4]"));
  EXPECT_THAT(lost.out, HasSubstr("reads n = 0"));
  EXPECT_THAT(lost.out, HasSubstr("writes n = 1"));
}

TEST_F(RaceTest, ShowsARaceThatIsHeld) {
  Ended held = Holdfast({"race", "overdraft"});
  EXPECT_EQ(held.exit_code, 0) << held.err;
  EXPECT_THAT(held.out, HasSubstr("happened      100\nlost          0\n"));
  EXPECT_THAT(held.out, HasSubstr("verdict       held\n"));
  EXPECT_THAT(held.out, HasSubstr("is refused: rule_violation"));
}

TEST_F(RaceTest, TellsTheSameAsJson) {
  Json lost(Done({"race", "stale-holder", "--unsafe", "--threads", "3"}).out);
  EXPECT_EQ(lost.At("/scenario"), "stale-holder");
  EXPECT_EQ(lost.At("/side"), "unsafe");
  EXPECT_EQ(lost.At("/threads"), "2") << "they meet in pairs";
  EXPECT_EQ(lost.At("/expected"), "2");
  EXPECT_EQ(lost.At("/happened"), "1");
  EXPECT_EQ(lost.At("/lost"), "1");
  EXPECT_EQ(lost.At("/held"), "false");
  EXPECT_EQ(lost.At("/as_promised"), "true");
  EXPECT_GT(std::stoll(lost.At("/took_us")), 100'000) << "the lease was not waited for";
  EXPECT_EQ(lost.At("/timeline/workers"), "[1,2]");
  const std::size_t steps = lost.SizeOf("/timeline/steps");
  ASSERT_GE(steps, 8U);
  EXPECT_THAT(lost.At("/timeline/steps/0/what"), StartsWith("takes the lock: token "));
  EXPECT_EQ(lost.At("/timeline/steps/0/worker"), "1");
  const std::string last = "/timeline/steps/" + std::to_string(steps - 1);
  EXPECT_EQ(lost.At(last + "/what"), "is told: done");
  EXPECT_EQ(lost.At(last + "/worker"), "1") << "the one who was paused has the last word";
  EXPECT_GE(std::stoll(lost.At(last + "/at_us")), 100'000);

  Json held(Done({"race", "double-claim"}).out);
  EXPECT_EQ(held.At("/side"), "safe");
  EXPECT_EQ(held.At("/expected"), "16");
  EXPECT_EQ(held.At("/happened"), "16");
  EXPECT_EQ(held.At("/timeline"), "(none)") << "nobody was in anybody's way";
}

TEST_F(RaceTest, RunsThemAllOnAServerAndLeavesItAsItWas) {
  Process server({HOLDFAST_BINARY, "--store", store(), "serve", "--listen", "127.0.0.1:0"});
  set_store(server.LineAfter("listening on "));
  Ended all = Holdfast({"race", "all", "--threads", "4"});
  EXPECT_EQ(all.exit_code, 0) << all.out << all.err;
  EXPECT_THAT(all.out, EndsWith("8 of 8 lost without protection, 8 of 8 held with it\n"));
  EXPECT_EQ(Field("/items", {"job", "list"}), "[]");
  EXPECT_EQ(Field("/items", {"record", "list", "race-account"}), "[]");
  EXPECT_EQ(Field("/items", {"record", "list", "race-account-naive"}), "[]");
}

TEST_F(RaceTest, WithoutAStoreUsesAFileThatIsGoneAfterwards) {
  Ended all =
      Process({HOLDFAST_BINARY, "-o", "json", "race", "all"}, {}, {}, folder_.path()).Wait();
  EXPECT_EQ(all.exit_code, 0) << all.err;
  Json json(all.out);
  EXPECT_EQ(json.At("/as_promised"), "true");
  EXPECT_EQ(json.SizeOf("/races"), 16U);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(RaceTest, RefusesWhatItCannotRun) {
  ExpectRefused({"race"}, 2, "invalid_argument", "SCENARIO");
  ExpectRefused({"race", "chess"}, 2, "invalid_argument", "chess");
  ExpectRefused({"race", "all", "--unsafe"}, 2, "invalid_argument", "both sides");
  ExpectRefused({"race", "toctou", "--threads", "1"}, 2, "invalid_argument", "1");
  ExpectRefused({"race", "toctou", "--threads", "201"}, 2, "invalid_argument", "2 to 200");
  set_store("http://127.0.0.1:1");
  ExpectRefused({"race", "toctou"}, 7, "unavailable", "127.0.0.1");
}

TEST_F(RaceTest, HelpBeginsWithExamples) {
  Ended help = Holdfast({"race", "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, StartsWith("Examples:\n  holdfast race lost-update --unsafe\n"));
}

}  // namespace
}  // namespace holdfast::e2e
