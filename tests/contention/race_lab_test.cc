// The race lab on every store: without protection each race is lost, with it none ever is, and a
// store that was raced on looks as before.
#include <set>

#include "lab/race.h"
#include "testing/environment.h"
#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

using lab::RaceOutcome;

class RaceLab : public StoreSuite {
 protected:
  RaceOutcome Race(std::string_view name, bool is_unsafe, int threads) {
    return Must(lab::RunRace(store(), name,
                             {.is_unsafe = is_unsafe,
                              .threads = threads,
                              .pass_time = [this](Duration time) { Pass(time); }}));
  }

  /// Both sides, with as few workers as there can be, and with more.
  void ExpectToBeLostAndHeld(std::string_view name) {
    for (int threads : {2, 5}) {
      SCOPED_TRACE(std::string(name) + ", " + std::to_string(threads) + " threads");
      ExpectLost(Race(name, true, threads));
      ExpectHeld(Race(name, false, threads));
      ExpectNothingLeft();
    }
  }

  static void ExpectLost(const RaceOutcome& outcome) {
    EXPECT_GT(outcome.lost(), 0) << "happened: " << outcome.happened;
    EXPECT_TRUE(outcome.as_promised());
    ASSERT_TRUE(outcome.picture.has_value());
    ExpectToBeDrawn(*outcome.picture);
    for (const lab::RaceStep& step : outcome.picture->steps) {
      EXPECT_THAT(step.what, ::testing::Not(::testing::HasSubstr("refused")));
    }
  }

  static void ExpectHeld(const RaceOutcome& outcome) {
    EXPECT_EQ(outcome.happened, outcome.expected);
    EXPECT_EQ(outcome.lost(), 0);
    EXPECT_TRUE(outcome.as_promised());
    // Who claims gets a job of his own: there nobody is in anybody's way.
    ASSERT_EQ(outcome.picture.has_value(), outcome.info.name != "double-claim");
    if (!outcome.picture) return;
    ExpectToBeDrawn(*outcome.picture);
    EXPECT_TRUE(std::ranges::any_of(outcome.picture->steps, [](const lab::RaceStep& step) {
      return step.what.starts_with("is refused: ");
    }));
  }

  /// Two workers, whose steps are in order, and each of whom begins before the other has ended.
  static void ExpectToBeDrawn(const lab::RacePicture& picture) {
    EXPECT_NE(picture.left, picture.right);
    std::map<int, std::pair<Duration, Duration>> spans;
    Duration last{};
    for (const lab::RaceStep& step : picture.steps) {
      EXPECT_GE(step.at, last);
      last = step.at;
      EXPECT_FALSE(step.what.empty());
      spans.try_emplace(step.worker, step.at, step.at).first->second.second = step.at;
    }
    ASSERT_EQ(spans.size(), 2U);
    const auto& [left_begin, left_end] = spans.at(picture.left);
    const auto& [right_begin, right_end] = spans.at(picture.right);
    EXPECT_LE(left_begin, right_begin);
    EXPECT_LE(right_begin, left_end);
    EXPECT_GE(picture.steps.size(), 6U);
  }

  void ExpectNothingLeft() {
    Pass(minutes(1));  // leases of workers that were overtaken
    for (const Kind& kind : Must(store().ListKinds({}))) {
      EXPECT_THAT(Must(store().ListRecords({}, {.kind = kind.name})).items, ::testing::IsEmpty())
          << kind.name;
    }
    EXPECT_THAT(Must(store().ListJobs({}, {})).items, ::testing::IsEmpty());
    EXPECT_THAT(Must(store().ListLocks({}, {})).items, ::testing::IsEmpty());
  }
};

TEST_P(RaceLab, REC_1_LostUpdate) {
  ExpectToBeLostAndHeld("lost-update");
}
TEST_P(RaceLab, JOB_3_DoubleClaim) {
  ExpectToBeLostAndHeld("double-claim");
}
TEST_P(RaceLab, REC_5_Overflow) {
  ExpectToBeLostAndHeld("overflow");
}
TEST_P(RaceLab, REC_3_Overdraft) {
  ExpectToBeLostAndHeld("overdraft");
}
TEST_P(RaceLab, REC_4_DoubleBooking) {
  ExpectToBeLostAndHeld("double-booking");
}
TEST_P(RaceLab, REC_1_Toctou) {
  ExpectToBeLostAndHeld("toctou");
}
TEST_P(RaceLab, LOCK_8_StaleHolder) {
  ExpectToBeLostAndHeld("stale-holder");
}
TEST_P(RaceLab, LOCK_7_Deadlock) {
  ExpectToBeLostAndHeld("deadlock");
}

TEST_P(RaceLab, OneThatCannotBeRunIsRefusedAndLeavesNothing) {
  EXPECT_THAT(lab::RunRace(store(), "no-such-race", {}), StatusIs(ErrorCode::kInvalidArgument));
  for (int threads : {-1, 0, 1, lab::kRaceThreadsMost + 1}) {
    EXPECT_THAT(lab::RunRace(store(), "overdraft", {.threads = threads}),
                StatusIs(ErrorCode::kInvalidArgument));
  }
  // An error in the middle of it ends it for everybody.
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THAT(lab::RunRace(store(), "overdraft", {.context = {.stop = stop.get_token()}}),
              StatusIs(ErrorCode::kCancelled));
  ExpectNothingLeft();
}

HOLDFAST_FOR_ALL_VARIANTS(RaceLab);

TEST(Races, AreFoundByTheirNames) {
  std::set<std::string_view> names;
  for (const lab::RaceInfo& info : lab::AllRaces()) {
    EXPECT_TRUE(names.insert(info.name).second);
    EXPECT_EQ(Must(lab::FindRace(info.name)).stake, info.stake);
  }
  EXPECT_EQ(names.size(), 8U);
  EXPECT_THAT(lab::FindRace("all"), StatusIs(ErrorCode::kInvalidArgument));
}

}  // namespace
}  // namespace holdfast::testing
