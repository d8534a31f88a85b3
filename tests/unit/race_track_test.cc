// Where the workers of a race meet: nobody waits for what cannot come, and what is drawn of them
// did get into each other's way.
#include "lab/race_track.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace holdfast::lab {
namespace {

/// As the track measures it: far below its limit of 10 s.
constexpr std::chrono::seconds kAtOnce{5};

TEST(RaceTrack, LetsTwoWhoSawTheSameMeet) {
  RaceTrack track(2);
  std::atomic<bool> has_met = false;
  std::jthread other([&] {
    track.Signal("n = 0");
    track.Await("n = 0", 2);
    has_met = true;
    track.Leave();
  });
  EXPECT_FALSE(has_met) << "there was nobody to meet";
  track.Signal("n = 0");
  track.Await("n = 0", 2);
  other.join();
  EXPECT_TRUE(has_met);
  EXPECT_LT(track.Now(), kAtOnce);
}

TEST(RaceTrack, NobodyWaitsWhereAllDo) {
  RaceTrack track(3);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&track, i] {
      track.Await(std::to_string(i), 1);
      track.Leave();
    });
  }
  threads.clear();
  EXPECT_LT(track.Now(), kAtOnce);
}

TEST(RaceTrack, NobodyWaitsForOneWhoLeft) {
  RaceTrack track(2);
  std::jthread other([&track] { track.Leave(); });
  track.Await("never", 1);
  EXPECT_LT(track.Now(), kAtOnce);
}

TEST(RaceTrack, WhatHasHappenedIsNotWaitedFor) {
  RaceTrack track(2);
  track.Signal("it");
  track.Await("it", 1);  // the other one is under way: nothing else would end this
  EXPECT_LT(track.Now(), kAtOnce);
}

class PictureTest : public ::testing::Test {
 protected:
  /// One try from beginning to end; another one of the same racer follows it.
  void Begin(int racer, const std::string& saw) { racers_.at(racer).Saw(saw, "sees " + saw); }
  void End(int racer, bool is_done) { racers_.at(racer).Ends(is_done, "ends"); }
  std::optional<RacePicture> Draw(bool both_done) { return Picture(racers_, both_done); }

  RaceTrack track_{3};
  std::vector<Racer> racers_{Racer(track_, 0), Racer(track_, 1), Racer(track_, 2)};
};

TEST_F(PictureTest, IsOfTwoWhoSawTheSameAtOnce) {
  Begin(1, "a");
  Begin(0, "a");
  End(0, true);
  End(1, true);
  auto picture = Draw(true);
  ASSERT_TRUE(picture.has_value());
  EXPECT_EQ(picture->left, 2) << "who saw it first is on the left";
  EXPECT_EQ(picture->right, 1);
  ASSERT_EQ(picture->steps.size(), 4U);
  EXPECT_EQ(picture->steps.front().what, "sees a");
  EXPECT_EQ(picture->steps.front().worker, 2);
  EXPECT_FALSE(Draw(false).has_value()) << "neither was refused";
}

TEST_F(PictureTest, IsNotOfTwoWhoSawAnotherThingOrAnotherTime) {
  Begin(0, "a");
  Begin(1, "b");
  End(0, true);
  End(1, true);
  const Duration before = track_.Now();
  while (track_.Now() == before) {
  }
  Begin(1, "a");  // long after the first has ended
  End(1, true);
  Begin(1, "a");
  End(1, true);
  EXPECT_FALSE(Draw(true).has_value());
}

TEST_F(PictureTest, IsOfOneWhoWasRefusedWhereThatIsAskedFor) {
  Begin(0, "a");
  Begin(1, "a");
  Begin(2, "a");
  End(0, true);
  End(1, false);
  End(2, false);
  auto picture = Draw(false);
  ASSERT_TRUE(picture.has_value());
  EXPECT_EQ(picture->left, 1);
  EXPECT_EQ(picture->right, 2);
  EXPECT_FALSE(Draw(true).has_value());
}

}  // namespace
}  // namespace holdfast::lab
