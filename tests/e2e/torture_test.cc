// holdfast torture as a user meets it: the table, the JSON, kept histories, bad input.
#include <gmock/gmock.h>

#include <filesystem>

#include "e2e/harness.h"

namespace holdfast::e2e {
namespace {

using ::testing::HasSubstr;

class TortureCli : public CliTest {
 protected:
  std::vector<std::string> InSmall(std::vector<std::string> more) {
    std::vector<std::string> arguments = {"torture", "--threads", "8", "--operations", "40"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
};

TEST_F(TortureCli, TellsWhatHeld) {
  Ended ended = Holdfast(InSmall({"--scenario", "places", "increments", "--seed", "7"}));
  EXPECT_EQ(ended.exit_code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("8 threads, seed 7"));
  EXPECT_THAT(ended.out, HasSubstr("capacity_full 10"));
  EXPECT_THAT(ended.out, HasSubstr("2 of 2 scenarios held"));
  EXPECT_EQ(Holdfast({"record", "list", "torture-campaign", "-o", "json"}).out, "{\"items\":[]}\n");
  Json json(Done(InSmall({"--scenario", "seat"})).out);
  EXPECT_EQ(json.At("/held"), "true");
  EXPECT_EQ(json.At("/scenarios/0/scenario"), "seat");
  EXPECT_EQ(json.At("/scenarios/0/violations"), "[]");
  EXPECT_EQ(json.At("/left_behind"), "[]");
  EXPECT_NE(json.At("/scenarios/0/p99_us"), "(none)");
}

TEST_F(TortureCli, WithoutAStoreItMakesAFreshFileAndRemovesIt) {
  Process process({HOLDFAST_BINARY, "torture", "--scenario", "merges", "--threads", "4"}, {}, {},
                  folder_.path());
  Ended ended = process.Wait();
  EXPECT_EQ(ended.exit_code, 0) << ended.out << ended.err;
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(TortureCli, AHistoryIsKeptAndJudgedAgain) {
  const std::string file = folder_.File("run.jsonl");
  Json run(Done({"torture", "--threads", "8", "--operations", "400", "--scenario", "combined",
                 "--history", file})
               .out);
  EXPECT_EQ(run.At("/history"), file);
  Json judged(Done({"torture", "--check", file}).out);
  EXPECT_EQ(judged.At("/held"), "true");
  EXPECT_EQ(judged.At("/engine"), "sqlite");
  EXPECT_EQ(judged.At("/searched"), run.At("/scenarios/0/searched"));
  EXPECT_EQ(judged.At("/too_large"), "0");
  EXPECT_THAT(Holdfast({"torture", "--check", file}).out, HasSubstr("held"));

  const std::string exported = folder_.File("run.json");
  Done({"torture", "--check", file, "--export", exported});
  EXPECT_GT(Json(ReadAll(exported)).SizeOf(""), 100U);

  // Somebody was told of a version that others had already passed.
  std::string text = ReadAll(file);
  const std::string version = "\"version\":3,";
  ASSERT_NE(text.find(version), std::string::npos);
  text.replace(text.find(version), version.size(), "\"version\":9,");
  const std::string tampered = folder_.Write("tampered.jsonl", text);
  Ended refused = Holdfast({"torture", "--check", tampered});
  EXPECT_EQ(refused.exit_code, 1) << refused.out << refused.err;
  EXPECT_THAT(refused.out, HasSubstr("linearizable"));
  EXPECT_THAT(refused.out, HasSubstr("does not fit in"));
  Json json(Holdfast({"torture", "--check", tampered, "-o", "json"}).out);
  EXPECT_EQ(json.At("/held"), "false");
  EXPECT_EQ(json.At("/illegal"), "1");
}

TEST_F(TortureCli, AKindIsAttackedByItsNameOrItsFile) {
  const std::string rules = std::string(HOLDFAST_KINDS_DIR) + "/account.json";
  Json by_file(Done(InSmall({"--kind", rules})).out);
  EXPECT_EQ(by_file.At("/scenarios/0/scenario"), "kind-bounds");
  EXPECT_EQ(by_file.At("/held"), "true");
  EXPECT_EQ(Holdfast({"kind", "apply", rules}).exit_code, 0);
  Json by_name(Done(InSmall({"--kind", "account"})).out);
  EXPECT_EQ(by_name.At("/scenarios/1/scenario"), "kind-transfers");
  EXPECT_EQ(by_name.At("/held"), "true");
}

TEST_F(TortureCli, BadInputIsRefused) {
  ExpectRefused({"torture", "--scenario", "nonsense"}, 2, "invalid_argument", "nonsense");
  ExpectRefused({"torture", "--threads", "1"}, 2, "invalid_argument", "--threads");
  ExpectRefused({"torture", "--kind", "unknown"}, 3, "not_found", "unknown");
  ExpectRefused({"torture", "--kind", folder_.File("none.json")}, 2, "invalid_argument", "none");
  ExpectRefused({"torture", "--check", folder_.File("none")}, 3, "not_found", "none");
  ExpectRefused({"torture", "--check", folder_.Write("bad", "{}\n")}, 2, "invalid_argument",
                "line 1");
  ExpectRefused({"torture", "--check", ""}, 2, "invalid_argument", "empty");
  ExpectRefused({"torture", "--history", folder_.File("no/such/folder"), "--scenario", "seat"}, 7,
                "unavailable", "cannot write");
}

}  // namespace
}  // namespace holdfast::e2e
