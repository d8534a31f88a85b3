// What random clients are told of the same jobs, locks and records is explained by the rules,
// applied to one call after the other: hundreds of histories on every engine.
#include <thread>

#include "history/history_file.h"
#include "history/mix_suite.h"
#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

constexpr int kCallsOfHistory = 200;
constexpr int kHistoriesAtOnce = 4;  // so that group commits have something to group

class MixHistories : public StoreSuite {};

TEST_P(MixHistories, REC_1_EveryAnswerFitsIntoOneOrder) {
  const std::uint64_t seed = PrintedSeed();
  const int histories = Scaled(Rounds(500, 20'000), 20);
  std::atomic<int> next = 0;
  std::atomic<std::int64_t> checked_calls = 0;
  std::atomic<std::int64_t> parts = 0;
  std::atomic<std::int64_t> steps = 0;
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> lanes;
    for (int lane = 0; lane < kHistoriesAtOnce; ++lane) {
      lanes.emplace_back([&] {
        for (int i = next++; i < histories && wrong < 3; i = next++) {
          const history::History history =
              RecordMix(store(), seed + static_cast<std::uint64_t>(i), i, kCallsOfHistory);
          const history::Checked checked = Must(history::CheckHistory(history));
          EXPECT_EQ(checked.too_large, 0);
          if (!checked.Held()) {
            ++wrong;
            const std::string file =
                ::testing::TempDir() + "history-" + std::to_string(i) + ".jsonl";
            Must(history::WriteHistory(history, file));
            ADD_FAILURE() << "history " << i << ", kept as " << file << "\n" << TextOf(checked);
          }
          checked_calls += checked.calls;
          parts += checked.searched;
          steps += checked.steps;
        }
      });
    }
  }
  EXPECT_GE(checked_calls, std::int64_t{histories} * (kCallsOfHistory - kMixClients));
  // A counter, a document, a lock with what it guards, accounts, a ticket, places, and three jobs.
  EXPECT_GE(parts, std::int64_t{histories} * 9);
  RecordProperty("calls", std::to_string(checked_calls));
  RecordProperty("steps", std::to_string(steps));
}

INSTANTIATE_TEST_SUITE_P(Stores, MixHistories, ::testing::ValuesIn(EmbeddedVariants()),
                         VariantName);

}  // namespace
}  // namespace holdfast::testing
