// What one batch may take of the store's time is counted, and what is beyond it refused
// (docs/limits.md).
#include "testing/record_suite.h"

namespace holdfast::testing {
namespace {

using ::testing::HasSubstr;

class EffortOfBatches : public RecordSuite {
 protected:
  template <typename T>
  static void ExpectTooMuch(const Result<T>& result, const char* figure) {
    EXPECT_THAT(result, StatusIs(ErrorCode::kPayloadTooLarge, HasSubstr(figure)));
  }
  static constexpr const char* kSteps = "2000000 steps";
  static constexpr const char* kBytes = "8388608 bytes";
};

TEST_P(EffortOfBatches, K4_ASchemaThatDoublesIsRefusedWhereItGrows) {
  std::string definitions;
  for (int i = 0; i < 14; ++i) {
    std::string next = R"({"$ref":"#/definitions/d)" + std::to_string(i + 1) + R"("})";
    definitions += "\"d" + std::to_string(i) + R"(":{"allOf":[)" + next + "," + next + "]},";
  }
  Declare("note", R"({"schema":{"properties":{"s":{"$ref":"#/definitions/d0"}},"definitions":{)" +
                      definitions + R"("d14":{"type":"string","maxLength":2000000}}}})");
  std::string large = R"({"s":")" + std::string(1'000'000, 'x') + R"("})";
  ExpectTooMuch(store().Create({}, {.kind = "note", .id = "a", .data = large}), kSteps);
  EXPECT_FALSE(Exists("note", "a"));
  Make("note", "a", R"({"s":"x"})");
}

TEST_P(EffortOfBatches, K4_PatternsAreCountedByWhatTheySearch) {
  Declare("note", R"({"schema":{"properties":{"l":{"items":{"pattern":"(a?){200}"}}}}})");
  Json data = {{"l", Json::array()}};
  for (int i = 0; i < 100; ++i) data["l"].push_back(std::string(4096, 'a'));
  ExpectTooMuch(store().Create({}, {.kind = "note", .id = "a", .data = data.dump()}), kSteps);
  Make("note", "a", R"({"l":["aaa"]})");
}

TEST_P(EffortOfBatches, K4_APatchIsCountedByWhatItMoves) {
  Declare("note");
  std::string zeros = "0";
  for (int i = 1; i < 100'000; ++i) zeros += ",0";
  Make("note", "a", R"({"l":[)" + zeros + "]}");
  Make("note", "b", R"({"n":1})");
  std::string patch = "[";
  for (int i = 0; i < 900; ++i) patch += R"({"op":"add","path":"/l/0","value":1},)";
  patch.back() = ']';
  Record before = Read("note", "b");
  Result<Receipt> refused =
      Commit({MergeRecord{{"note", "b"}, R"({"n":2})"}, PatchRecord{{"note", "a"}, patch}});
  ExpectTooMuch(refused, kSteps);
  EXPECT_EQ(refused.error().detail.operation, 1);
  EXPECT_EQ(Read("note", "b"), before);
  // Each commit has a budget of its own.
  for (int i = 0; i < 3; ++i) {
    Must(store().Patch({}, {{"note", "a"}, R"([{"op":"add","path":"/l/0","value":1}])"}));
  }
}

TEST_P(EffortOfBatches, K4_AnActionIsCountedByWhatItWritesToAllChildren) {
  Declare("room", R"({"actions":{"tell":{"params":{"what":{}},"steps":[
      {"do":"record.merge","data":{"told":{"$param":"what"}},"on":{"children":["on"]}}]}}})");
  Declare("seat", R"({"parent":{"kind":"room"},"states":{"initial":"on","final":["on"]}})");
  Make("room", "r");
  std::vector<Operation> seats(500, CreateRecord{.kind = "seat", .parent = RecordKey{"room", "r"}});
  Must(Commit(std::move(seats)));
  auto tell = [&](std::size_t bytes) {
    return Run("room", "r", "tell", R"({"what":")" + std::string(bytes, 'x') + R"("})");
  };
  ExpectTooMuch(tell(100'000), kBytes);
  EXPECT_EQ(Read("room", "r").version, 1);
  EXPECT_EQ(Must(tell(1'000)).version, 2);
}

TEST_P(EffortOfBatches, K4_ABatchReadsAndWritesSoMuchAndNoMore) {
  Declare("note");
  const std::string data = R"({"s":")" + std::string(900'000, 'x') + R"("})";
  for (int i = 0; i < 5; ++i) Make("note", std::to_string(i), data);
  std::vector<Operation> edits;
  for (int i = 0; i < 5; ++i) {
    edits.push_back(MergeRecord{{"note", std::to_string(i)}, R"({"n":1})"});
  }
  ExpectTooMuch(Commit(edits), kBytes);
  edits.resize(4);
  Must(Commit(edits));
  EXPECT_EQ(Read("note", "3").version, 2);
}

HOLDFAST_FOR_ALL_VARIANTS(EffortOfBatches);

}  // namespace
}  // namespace holdfast::testing
