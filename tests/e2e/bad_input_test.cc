// Every bad input gets its own clear error with the right exit code, and changes nothing.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>
#include <regex>

#include "e2e/harness.h"

namespace holdfast::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class BadInput : public CliTest {
 protected:
  /// Runs it and expects this refusal; `names` is what the message must name.
  void ExpectRefused(std::vector<std::string> arguments, int exit_code, const std::string& code,
                     const std::string& names, const std::string& input = {}) {
    SCOPED_TRACE(::testing::PrintToString(arguments));
    Ended ended = Holdfast(std::move(arguments), input);
    EXPECT_EQ(ended.exit_code, exit_code);
    EXPECT_THAT(ended.err, StartsWith("holdfast: " + code + ": "));
    EXPECT_THAT(ended.err, HasSubstr(names));
    EXPECT_EQ(ended.out, "");
  }
  void ExpectJobs(std::size_t count) {
    Ended list = Holdfast({"-o", "json", "job", "list", "--all"});
    EXPECT_EQ(Json(list.out).SizeOf("/items"), count) << list.err;
  }
};

TEST_F(BadInput, JobsThatBreakALimitAreNotStored) {
  ExpectRefused({"job", "push", "a", "{\"x\":"}, 2, "invalid_argument", "payload");
  ExpectRefused({"job", "push", "a", "1 2"}, 2, "invalid_argument", "payload");
  ExpectRefused({"job", "push", ""}, 2, "invalid_argument", "kind");
  ExpectRefused({"job", "push", std::string(129, 'k')}, 2, "invalid_argument", "128");
  ExpectRefused({"job", "push", "no spaces"}, 2, "invalid_argument", "kind");
  ExpectRefused({"job", "push", "a", "--queue", "qu/eue"}, 2, "invalid_argument", "queue");
  ExpectRefused({"job", "push", "a", "--delay", "-5s"}, 2, "invalid_argument", "-5s");
  ExpectRefused({"job", "push", "a", "--delay", "soon"}, 2, "invalid_argument", "soon");
  ExpectRefused({"job", "push", "a", "--run-at", "tomorrow"}, 2, "invalid_argument", "tomorrow");
  ExpectRefused({"job", "push", "a", "--priority", "10"}, 2, "invalid_argument", "priority");
  ExpectRefused({"job", "push", "a", "--priority", "x"}, 2, "invalid_argument", "priority");
  ExpectRefused({"job", "push", "a", "--max-attempts", "0"}, 2, "invalid_argument", "max-attempts");
  ExpectRefused({"job", "push", "a", "--metadata", "[]"}, 2, "invalid_argument", "metadata");
  ExpectRefused({"job", "push", "a", "--on-conflict", "return"}, 2, "invalid_argument",
                "--unique-key");
  ExpectRefused({"job", "push", "a", "--unique-key", "k", "--on-conflict", "maybe"}, 2,
                "invalid_argument", "maybe");
  ExpectRefused({"job", "push", "a", "--parent", "7"}, 3, "not_found", "7");
  ExpectRefused({"job", "push", "a", "--idempotency-key", std::string(256, 'k')}, 2,
                "invalid_argument", "255");
  ExpectRefused({"job", "push", "a", "--colour", "red"}, 2, "invalid_argument", "--colour");
  ExpectRefused({"job", "push"}, 2, "invalid_argument", "KIND");
  ExpectJobs(0);
}

TEST_F(BadInput, APayloadOver256KiBIsTooLarge) {
  // One argument of a command line holds at most 128 KiB: this comes through a file.
  std::string file = folder_.Write("big", "\"" + std::string(256 * 1024, 'x') + "\"\n");
  ExpectRefused({"job", "push", "a", "--file", file}, 2, "payload_too_large", "256 KiB");
  ExpectRefused({"job", "push", "a", "--stdin"}, 2, "payload_too_large", "line 1", ReadAll(file));
  ExpectJobs(0);
}

TEST_F(BadInput, WhatDoesNotExistIsNotFound) {
  ExpectRefused({"job", "get", "7"}, 3, "not_found", "job 7");
  ExpectRefused({"job", "cancel", "7"}, 3, "not_found", "7");
  ExpectRefused({"job", "delete", "7"}, 3, "not_found", "7");
  ExpectRefused({"job", "watch", "7"}, 3, "not_found", "7");
  ExpectRefused({"job", "complete", "7", "--token", "1"}, 3, "not_found", "7");
  ExpectRefused({"job", "get", "seven"}, 2, "invalid_argument", "seven");
  ExpectRefused({"job", "get", "-1"}, 2, "invalid_argument", "-1");
  ExpectRefused({"job", "get", "99999999999999999999"}, 2, "invalid_argument", "99999999999999");
  ExpectRefused({"job", "complete", "7"}, 2, "invalid_argument", "--token");
}

TEST_F(BadInput, UnknownCommandsAndOptionsAreNamed) {
  ExpectRefused({"frobnicate"}, 2, "invalid_argument", "frobnicate");
  ExpectRefused({"job", "frobnicate"}, 2, "invalid_argument", "frobnicate");
  ExpectRefused({"job"}, 2, "invalid_argument", "job needs a command: push, get");
  ExpectRefused({}, 2, "invalid_argument", "holdfast needs a command: job");
  ExpectRefused({"queue", "set", "mail", "--max-weight", "3"}, 2, "invalid_argument",
                "--max-weight");
  ExpectRefused({"queue", "set", "mail", "--max-pending", "-1"}, 2, "invalid_argument", "-1");
  ExpectRefused({"queue", "set", "mail"}, 2, "invalid_argument", "setting");
  ExpectRefused({"queue", "set", "ma il", "--audit", "on"}, 2, "invalid_argument", "queue");
  ExpectRefused({"job", "list", "--state", "done"}, 2, "invalid_argument", "done");
  ExpectRefused({"job", "list", "--limit", "0"}, 2, "invalid_argument", "limit");
  ExpectRefused({"job", "claim", "--lease", "1ms"}, 2, "invalid_argument", "lease");
  ExpectRefused({"job", "claim", "--max", "1001"}, 2, "invalid_argument", "1000");
  ExpectRefused({"work"}, 2, "invalid_argument", "-- CMD");
  ExpectRefused({"work", "--", "no-such-program-anywhere"}, 2, "invalid_argument",
                "no-such-program-anywhere");
  ExpectRefused({"work", "--claim-ahead", "1001", "--", "true"}, 2, "invalid_argument",
                "claim_ahead is 1001 (0 to 1000)");
  ExpectRefused({"work", "--concurrency", "1001", "--", "true"}, 2, "invalid_argument",
                "concurrency");
  ExpectRefused({"job", "list", "--", "x"}, 2, "invalid_argument", "list");
  ExpectRefused({"serve", "--listen", "nowhere"}, 2, "invalid_argument", "nowhere");
  ExpectRefused({"serve", "--listen", "127.0.0.1:99999"}, 2, "invalid_argument", "99999");
}

TEST_F(BadInput, StoresThatCannotBeOpenedSayWhy) {
  set_store("frob:x");
  ExpectRefused({"job", "list"}, 2, "invalid_argument", "'frob:***'");
  set_store("");
  ExpectRefused({"job", "list"}, 2, "invalid_argument", "");
  set_store("sqlite:" + folder_.path());
  Ended directory = Holdfast({"job", "list"});
  EXPECT_THAT(directory.exit_code, ::testing::AnyOf(2, 7));
  EXPECT_THAT(directory.err, HasSubstr("directory"));
  set_store("sqlite:" + folder_.File("missing/jobs.db"));
  ExpectRefused({"job", "list"}, 7, "unavailable", "missing");
  set_store("sqlite:" + folder_.Write("text",
                                      "this is not a database, but a text of some length\n"
                                      "that nobody should ever overwrite with a schema"));
  ExpectRefused({"job", "list"}, 1, "corrupt", "not a database");
  set_store("http://127.0.0.1:1");
  ExpectRefused({"job", "list"}, 7, "unavailable", "127.0.0.1:1");
  ExpectRefused({"work", "--", "true"}, 7, "unavailable", "127.0.0.1:1");
}

TEST_F(BadInput, WithJsonOutputErrorsAreJson) {
  Ended ended = Holdfast({"-o", "json", "job", "get", "7"});
  EXPECT_EQ(ended.exit_code, 3);
  EXPECT_EQ(Json(ended.err).At("/code"), "not_found");
  Ended parse = Holdfast({"job", "get", "seven", "--output=json"});
  EXPECT_EQ(parse.exit_code, 2);
  EXPECT_EQ(Json(parse.err).At("/code"), "invalid_argument");
}

TEST_F(BadInput, AFileWithOneBadLineStoresNothing) {
  std::string lines;
  for (int i = 1; i <= 1200; ++i) lines += i == 1100 ? "{oops\n" : std::to_string(i) + "\n";
  std::string file = folder_.Write("lines", lines);
  ExpectRefused({"job", "push", "a", "--file", file}, 2, "invalid_argument", "line 1100");
  ExpectJobs(0);
  ExpectRefused({"job", "push", "a", "--file", folder_.File("none")}, 2, "invalid_argument",
                "none");
  ExpectRefused({"job", "push", "a", "--file", folder_.path()}, 2, "invalid_argument", "directory");
  ExpectRefused({"job", "push", "a", "1", "--file", file}, 2, "invalid_argument", "--file");
}

TEST_F(BadInput, FromAPipeEverythingBeforeTheBadLineIsStored) {
  std::string lines;
  for (int i = 1; i <= 1200; ++i) lines += i == 1100 ? "{oops\n" : std::to_string(i) + "\n";
  std::string file = folder_.Write("lines", lines);
  std::string program =
      "cat " + file + " | " HOLDFAST_BINARY " --store " + store() + " job push a --stdin";
  Ended ended = Process({"sh", "-c", program}).Wait();
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_THAT(ended.err, HasSubstr("line 1100"));
  EXPECT_THAT(ended.err, HasSubstr("1,099 jobs were stored; not tried: lines after 1099"));
  ExpectJobs(1099);
}

TEST_F(BadInput, ManyLinesArePushedInOrderAndBlankOnesSkipped) {
  std::string lines = "\n  \n";
  for (int i = 1; i <= 1234; ++i) lines += " {\"n\":" + std::to_string(i) + "} \r\n";
  lines += "{\"n\":1235}";  // no line end
  Ended pushed = Holdfast({"-o", "json", "job", "push", "a", "--stdin"}, lines);
  ASSERT_EQ(pushed.exit_code, 0) << pushed.err;
  EXPECT_EQ(Json(pushed.out).At("/stored"), "1235");
  EXPECT_EQ(Json(pushed.out).SizeOf("/ids"), 1235U);
  Json list(Holdfast({"-o", "json", "job", "list", "--all"}).out);
  EXPECT_EQ(list.SizeOf("/items"), 1235U);
  EXPECT_EQ(list.At("/items/0/payload/n"), "1");
  EXPECT_EQ(list.At("/items/1234/payload/n"), "1235");
}

TEST_F(BadInput, ALinePushedTwiceWithAnIdempotencyKeyIsStoredOnce) {
  std::string file = folder_.Write("lines", "1\n2\n3\n");
  for (int i = 0; i < 2; ++i) {
    Ended pushed = Holdfast({"job", "push", "a", "--file", file, "--idempotency-key", "load-1"});
    EXPECT_EQ(pushed.exit_code, 0) << pushed.err;
  }
  ExpectJobs(3);
}

TEST_F(BadInput, AFullQueueSaysWhichLinesWereStored) {
  EXPECT_EQ(Holdfast({"queue", "set", "default", "--max-pending", "2"}).exit_code, 0);
  std::string file = folder_.Write("lines", "1\n2\n3\n4\n");
  Ended full = Holdfast({"job", "push", "a", "--file", file});
  EXPECT_EQ(full.exit_code, 8);
  EXPECT_THAT(full.err, StartsWith("holdfast: queue_full: line 3: "));
  EXPECT_THAT(full.err, HasSubstr("2 jobs were stored"));
  EXPECT_THAT(full.err, HasSubstr("refused: lines 3, 4"));
  ExpectJobs(2);
}

/// A file that may not grow is what a full disk looks like from inside one process.
TEST_F(BadInput, AFullDiskIsSaidSoAndLosesNothing) {
  std::string lines;
  for (int i = 0; i < 20'000; ++i) lines += "\"" + std::string(300, 'x') + "\"\n";
  std::string file = folder_.Write("lines", lines);
  Ended full = Process({"bash", "-c",
                        "trap '' XFSZ; ulimit -f 3000; exec " HOLDFAST_BINARY " --store " +
                            store() + " job push a --file " + file})
                   .Wait();
  EXPECT_EQ(full.exit_code, 7) << full.err;
  std::smatch stored;
  ASSERT_TRUE(std::regex_search(full.err, stored, std::regex("([0-9,]+) jobs were stored")))
      << full.err;
  std::string digits = std::regex_replace(stored[1].str(), std::regex(","), "");
  Ended list = Holdfast({"-o", "json", "queue", "list"});
  ASSERT_EQ(list.exit_code, 0) << list.err;
  long there = std::stol(Json(list.out).At("/items/0/counts/pending"));
  EXPECT_GE(there, std::stol(digits));
  EXPECT_LE(there, std::stol(digits) + 500) << "at most one group is in doubt";
  Push({"a"});
}

TEST_F(BadInput, AnAnswerThatCannotBeWrittenIsAnError) {
  Push({"a"});
  std::string program = HOLDFAST_BINARY " --store " + store() + " job list >/dev/full";
  Ended ended = Process({"sh", "-c", program}).Wait();
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_THAT(ended.err, HasSubstr("cannot write to stdout"));
}

}  // namespace
}  // namespace holdfast::e2e
