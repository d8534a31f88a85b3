// What is shown on a terminal does not command it, nor change the order in which it is read.
#include "base/printable.h"

#include <gmock/gmock.h>

#include "base/json.h"
#include "base/log.h"
#include "testing/matchers.h"

namespace holdfast::base {
namespace {

using ::testing::HasSubstr;
using testing::Must;
using ::testing::Not;

/// Escapes, C1 controls, marks and overrides of direction, line separators.
constexpr const char* kCommands[] = {
    "\x1b[2J",      "\x01",         "\x7f",         "\xc2\x9b[31m", "\xd8\x9c",     "\xe2\x80\x8e",
    "\xe2\x80\x8f", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaa", "\xe2\x80\xab", "\xe2\x80\xac",
    "\xe2\x80\xad", "\xe2\x80\xae", "\xe2\x81\xa6", "\xe2\x81\xa7", "\xe2\x81\xa8", "\xe2\x81\xa9"};

TEST(Printable, LeavesTextAsItIs) {
  for (const char* text : {"", "ada", "Zoë \xe2\x82\xac \xf0\x9f\x98\x80", "\xd7\xa9\xd7\x9c"}) {
    EXPECT_EQ(Printable(text), text);
    EXPECT_TRUE(IsPrintable(text));
  }
  EXPECT_EQ(Printable("a\nb\tc"), "a b c");
  EXPECT_EQ(Printable("\xc3\xa4\xc3\xb6\xc3\xbc", 2), "\xc3\xa4\xc3\xb6...");
  EXPECT_EQ(Printable("ab", 2), "ab");
}

TEST(Printable, ShowsCommandsAsQuestionMarks) {
  for (const std::string command : kCommands) {
    EXPECT_FALSE(IsPrintable("a" + command));
    EXPECT_THAT(Printable("a" + command + "b"), ::testing::StartsWith("a?"));
    EXPECT_TRUE(IsPrintable(Printable("a" + command + "b")));
  }
  EXPECT_EQ(Printable("a\xff\x9b"
                      "b\xe2\x80"),
            "a??b??");
  EXPECT_EQ(Printable(std::string("a\0b", 3)), "a?b");
}

TEST(Printable, JsonMeansTheSame) {
  for (const std::string command : kCommands) {
    const std::string json = Json({{"a", "x" + command}}).dump(2);
    const std::string shown = PrintableJson(json);
    EXPECT_THAT(shown, HasSubstr("\n")) << "white space between values stays";
    std::string line = shown;
    std::erase(line, '\n');
    EXPECT_TRUE(IsPrintable(line)) << line;
    EXPECT_EQ(Must(ParseJson("it", shown)), Must(ParseJson("it", json)));
  }
}

TEST(Printable, ALogOfTextIsWrittenSo) {
  auto logged = [](LogFormat format, const std::string& value) {
    ::testing::internal::CaptureStderr();
    MakeStderrLog(LogLevel::kInfo, format)
        ->Write({LogLevel::kInfo, "lock_lost", {{"owner", value}, {"lock", "a"}}});
    return ::testing::internal::GetCapturedStderr();
  };
  EXPECT_THAT(logged(LogFormat::kText, "ada"), HasSubstr("lock_lost owner=ada lock=a\n"));
  EXPECT_THAT(logged(LogFormat::kText, "a b"), HasSubstr("owner=\"a b\" lock=a\n"));
  for (const std::string command : kCommands) {
    std::string line = logged(LogFormat::kText, "ada" + command + "\nb");
    ASSERT_EQ(line.back(), '\n');
    line.pop_back();
    EXPECT_TRUE(IsPrintable(line)) << line;
    EXPECT_THAT(line, HasSubstr("owner=\"ada\\u")) << "it is told which character it was";
    // JSON is exact.
    const std::string json = logged(LogFormat::kJson, "ada" + command);
    EXPECT_EQ(Must(ParseJson("it", json))["owner"], "ada" + command);
  }
}

}  // namespace
}  // namespace holdfast::base
