// The examples with records: each runs under threads and checks its own invariant.
#include <gmock/gmock.h>

#include <filesystem>
#include <sstream>

#include "e2e/harness.h"

namespace holdfast::e2e {
namespace {

using ::testing::HasSubstr;

class RecordExamples : public CliTest {
 protected:
  /// Runs the example in memory and on a file; it must say all of this.
  void Expect(const std::string& name, const std::vector<std::string>& lines) {
    const std::string kinds = HOLDFAST_SOURCE_DIR "/kinds";
    for (const std::string& url : {std::string("memory:"), store()}) {
      Ended ended = Process({Program(name), kinds, url}).Wait();
      EXPECT_EQ(ended.exit_code, 0) << url << "\n" << ended.out << ended.err;
      EXPECT_EQ(ended.err, "");
      for (const std::string& line : lines) EXPECT_THAT(ended.out, HasSubstr(line)) << url;
    }
  }
  std::string Program(const std::string& name) const {
    std::filesystem::path build = std::filesystem::path(HOLDFAST_BINARY).parent_path();
    return (build / "examples" / name).string();
  }
};

TEST_F(RecordExamples, REC_7_AccountsAreNeverOverdrawnAndTheSumStays) {
  Expect("accounts", {"6 payments of 150 from 1000, 4 refused, 100 left\n",
                      "after 800 moves 5 accounts hold 500\n"});
}

TEST_F(RecordExamples, REC_5_CampaignsNeverHaveMorePeopleThanPlaces) {
  Expect("campaigns", {"10 of 20 applied for 10 places, 10 are pending\n", "4 of 4",
                       "4 approved, 6 still pending\n"});
}

TEST_F(RecordExamples, REC_8_AJobAndItsChildrenCloseTogether) {
  Expect("job_workflow", {"ten closed it at once: 1 partially, 1 for good, 8 refused\n"
                          "round AUTOCLOSED\npump COMPLETED\nvalve AUTOCLOSED\ngate AUTOCLOSED\n"});
}

TEST_F(RecordExamples, REC_8_NoEscalationOfATicketIsLost) {
  Expect("tickets", {"the levels sum to 100, with 100 history entries\n",
                     "without a comment: ", "T-9 is OPEN\n"});
}

TEST_F(RecordExamples, LOCK_10_NoClerkUndoesWhatTheOtherDidUnderTheLock) {
  Expect("locked_update", {"two clerks made 100 deposits of 10, 0 failed: 1000\n"});
}

TEST_F(RecordExamples, AKindsFolderThatIsNotThereIsNamed) {
  Ended ended = Process({Program("tickets"), folder_.File("none")}).Wait();
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_THAT(ended.err, HasSubstr("none/ticket.json"));
}

TEST_F(RecordExamples, TheCommandsInTheDescriptionOfTheKindsRun) {
  std::istringstream lines(ReadAll(HOLDFAST_SOURCE_DIR "/kinds/README.md"));
  std::string script = "set -eu\nholdfast() { \"$BINARY\" \"$@\"; }\n";
  bool is_code = false;
  int commands = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line == "```") {
      is_code = !is_code;
    } else if (is_code) {
      script += line + "\n";
      ++commands;
    }
  }
  EXPECT_GE(commands, 20);
  Ended ended =
      Process({"/bin/sh", "-c", script}, "",
              {{"BINARY", HOLDFAST_BINARY}, {"HOLDFAST_STORE", store()}}, HOLDFAST_SOURCE_DIR)
          .Wait();
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  Ended seat = Holdfast({"-o", "json", "record", "get", "seat", "1A"});
  EXPECT_EQ(Json(seat.out).At("/status"), "booked");
  Ended job = Holdfast({"-o", "json", "record", "get", "jobneed", "J-1a"});
  EXPECT_EQ(Json(job.out).At("/status"), "AUTOCLOSED");
}

}  // namespace
}  // namespace holdfast::e2e
