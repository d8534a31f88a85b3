// The checker of histories is checked itself: it lets through what is right, refuses what is wrong,
// and says so when it does not know.
#include "history/linearizability.h"

#include <gtest/gtest.h>

#include <random>

#include "history/lock_model.h"
#include "testing/environment.h"
#include "testing/every_order.h"

namespace holdfast::testing {
namespace {

using history::Call;
using history::CallEnd;
using history::CheckLinearizable;
using history::Describe;
using history::FindLockViolation;
using history::Linearizable;
using history::LockCall;
using history::LockHistory;
using history::LockModel;
using history::Verdict;

using Op = LockModel::Operation;

/// Builds a history call by call.
class Histories : public ::testing::Test {
 protected:
  LockCall& Add(LockModel::Input input, std::int64_t invoked, std::int64_t returned, bool ok,
                std::vector<Token> tokens = {}) {
    history_.push_back({.client = static_cast<int>(history_.size()),
                        .input = std::move(input),
                        .answer = {ok, std::move(tokens)},
                        .invoked = invoked,
                        .returned = returned});
    return history_.back();
  }
  LockCall& Acquire(std::int64_t invoked, std::int64_t returned, Token token) {
    return Add({.operation = Op::kAcquire}, invoked, returned, true, {token});
  }
  LockCall& Share(std::int64_t limit, std::int64_t invoked, std::int64_t returned, Token token) {
    return Add({.mode = LockMode::kShared, .limit = limit}, invoked, returned, true, {token});
  }
  LockCall& Busy(std::int64_t invoked, std::int64_t returned) {
    return Add({.operation = Op::kAcquire}, invoked, returned, false);
  }
  LockCall& Release(Token token, std::int64_t invoked, std::int64_t returned, bool ok = true) {
    return Add({.operation = Op::kRelease, .token = token}, invoked, returned, ok);
  }
  LockCall& Renew(Token token, std::int64_t invoked, std::int64_t returned, bool ok = true) {
    return Add({.operation = Op::kRenew, .token = token}, invoked, returned, ok);
  }
  LockCall& Break(std::vector<Token> tokens, std::int64_t invoked, std::int64_t returned) {
    const bool ok = !tokens.empty();
    return Add({.operation = Op::kBreak}, invoked, returned, ok, std::move(tokens));
  }

  void ExpectIs(Linearizable expected) const {
    const Verdict verdict = CheckLinearizable(model_, history_);
    EXPECT_EQ(verdict.is, expected) << Describe(verdict, history_);
  }

  LockModel model_;
  LockHistory history_;
};

TEST_F(Histories, NothingHappened) {
  ExpectIs(Linearizable::kYes);
}

TEST_F(Histories, OneAfterTheOther) {
  Acquire(1, 2, 5);
  Renew(5, 3, 4);
  Busy(5, 6);
  Release(5, 7, 8);
  Acquire(9, 10, 6);
  ExpectIs(Linearizable::kYes);
  EXPECT_EQ(FindLockViolation(history_), std::nullopt);
}

TEST_F(Histories, CallsThatOverlapMayHaveHappenedInAnyOrder) {
  Acquire(1, 20, 6);  // in line
  Busy(2, 19);        // before the release, or after the grant
  Acquire(3, 4, 5);
  Release(5, 5, 18);
  ExpectIs(Linearizable::kYes);
  EXPECT_EQ(FindLockViolation(history_), std::nullopt);
}

TEST_F(Histories, TheSearchTakesBackAWrongBeginning) {
  // The one that was asked for first came second, and each order but one is wrong.
  Share(2, 1, 30, 7);
  Share(2, 2, 29, 5);
  Share(2, 3, 28, 6);
  Release(5, 31, 32);
  Release(6, 4, 27);
  ExpectIs(Linearizable::kYes);
}

TEST_F(Histories, TwoWhoHaveItToThemselvesAreRefused) {
  Acquire(1, 2, 5);
  Acquire(3, 4, 6);
  Release(5, 5, 6);
  Release(6, 7, 8);
  ExpectIs(Linearizable::kNo);
  EXPECT_NE(FindLockViolation(history_), std::nullopt);
}

TEST_F(Histories, ATokenThatGoesBackIsRefused) {
  Acquire(1, 2, 6);
  Release(6, 3, 4);
  Acquire(5, 6, 5);
  ExpectIs(Linearizable::kNo);
  EXPECT_NE(FindLockViolation(history_), std::nullopt);
}

TEST_F(Histories, ATokenThatIsGivenTwiceIsRefused) {
  Acquire(1, 2, 5);
  Release(5, 3, 4);
  Acquire(5, 6, 5);
  ExpectIs(Linearizable::kNo);
  EXPECT_NE(FindLockViolation(history_), std::nullopt);
}

TEST_F(Histories, FiveMayShareWhatIsForFive) {
  for (int i = 0; i < 5; ++i) Share(5, 1 + i, 20 - i, 10 + i);
  Add({.mode = LockMode::kShared, .limit = 5}, 21, 22, false);
  Release(12, 23, 30);
  Share(5, 24, 29, 15);
  ExpectIs(Linearizable::kYes);
  EXPECT_EQ(FindLockViolation(history_), std::nullopt);
}

TEST_F(Histories, ASixthOfFiveIsRefused) {
  for (int i = 0; i < 6; ++i) Share(5, 1 + i, 20 - i, 10 + i);
  ExpectIs(Linearizable::kNo);
  EXPECT_NE(FindLockViolation(history_), std::nullopt);
}

TEST_F(Histories, OneAloneBesideSharersIsRefused) {
  model_.has_both_modes = true;
  Share(0, 1, 2, 5);
  Acquire(3, 4, 6);
  ExpectIs(Linearizable::kNo);
  EXPECT_NE(FindLockViolation(history_), std::nullopt);
}

TEST_F(Histories, AStaleReleaseThatIsAcceptedIsRefused) {
  Acquire(1, 2, 5);
  Release(5, 3, 4);
  Acquire(5, 6, 6);
  Release(5, 7, 8);
  ExpectIs(Linearizable::kNo);
}

TEST_F(Histories, AStaleReleaseThatIsFencedIsRight) {
  Acquire(1, 2, 5);
  Release(5, 3, 4);
  Acquire(5, 6, 6);
  Release(5, 7, 8, false);
  Renew(6, 9, 10);
  ExpectIs(Linearizable::kYes);
}

TEST_F(Histories, AGoodLeaseThatIsFencedIsRefused) {
  Acquire(1, 2, 5);
  Renew(5, 3, 4, false);
  ExpectIs(Linearizable::kNo);
}

TEST_F(Histories, AnEndedLeaseThatIsRenewedIsRefused) {
  Acquire(1, 2, 5);
  Release(5, 3, 4);
  Renew(5, 5, 6);
  ExpectIs(Linearizable::kNo);
}

TEST_F(Histories, AGrantBeforeTheReleaseWasSentIsRefused) {
  Acquire(1, 2, 5);
  Acquire(3, 6, 6);
  Release(5, 7, 8);
  ExpectIs(Linearizable::kNo);
  EXPECT_NE(FindLockViolation(history_), std::nullopt);
}

TEST_F(Histories, AGrantWhileTheReleaseIsUnderWayIsRight) {
  Acquire(1, 2, 5);
  Acquire(3, 7, 6);
  Release(5, 6, 8);
  ExpectIs(Linearizable::kYes);
  EXPECT_EQ(FindLockViolation(history_), std::nullopt);
}

TEST_F(Histories, BusyIsRefusedIfTheLockWasFreeAllTheTime) {
  Busy(1, 2);
  ExpectIs(Linearizable::kNo);
  history_.clear();
  Acquire(1, 2, 5);
  Release(5, 3, 4);
  Busy(5, 6);
  ExpectIs(Linearizable::kNo);
}

TEST_F(Histories, WhoIsInLineKeepsOthersBackOnlyWhereBothModesAreAskedFor) {
  Share(0, 1, 2, 5);
  Acquire(3, 10, 6);  // in line
  Add({.mode = LockMode::kShared}, 4, 5, false);
  Release(5, 6, 7);
  ExpectIs(Linearizable::kNo);
  model_.has_both_modes = true;
  ExpectIs(Linearizable::kYes);
}

TEST_F(Histories, ABreakEndsEveryLease) {
  Share(5, 1, 2, 5);
  Share(5, 3, 4, 6);
  Break({5, 6}, 5, 6);
  Release(5, 7, 8, false);
  Break({}, 9, 10);
  Acquire(11, 12, 8);
  ExpectIs(Linearizable::kYes);
  EXPECT_EQ(FindLockViolation(history_), std::nullopt);
  history_[2].answer.tokens = {5};
  ExpectIs(Linearizable::kNo);
}

TEST_F(Histories, WhatFailedDidNotHappen) {
  Acquire(1, 2, 5);
  Release(5, 3, 4).end = CallEnd::kFailed;
  ExpectIs(Linearizable::kYes);
  Acquire(5, 6, 6);
  ExpectIs(Linearizable::kNo);
}

TEST_F(Histories, WhatIsUnknownMayHaveHappenedOrNot) {
  Acquire(1, 2, 5);
  Release(5, 3, 4).end = CallEnd::kUnknown;
  ExpectIs(Linearizable::kYes);
  Acquire(5, 6, 6);  // it has
  ExpectIs(Linearizable::kYes);
  history_.pop_back();
  Renew(5, 5, 6);  // it has not
  ExpectIs(Linearizable::kYes);
  Acquire(7, 8, 6);  // it happened after all, late
  ExpectIs(Linearizable::kYes);
  Renew(5, 9, 10);  // but then it cannot be that
  ExpectIs(Linearizable::kNo);
}

TEST_F(Histories, AnAcquireWithoutAnAnswerMayHoldTheLock) {
  Acquire(1, 2, 5).end = CallEnd::kUnknown;
  Busy(3, 4);
  Busy(5, 6);
  ExpectIs(Linearizable::kYes);
  Break({9}, 7, 8);  // whose token nobody was told
  Acquire(9, 10, 11);
  ExpectIs(Linearizable::kYes);
  Busy(11, 12);
  Release(11, 13, 14);
  Busy(15, 16);
  ExpectIs(Linearizable::kNo);
}

TEST_F(Histories, ASearchThatIsTooLongIsNoYes) {
  for (int i = 0; i < 12; ++i) Share(0, 1 + i, 100 - i, 20 - i);
  const Verdict verdict = CheckLinearizable(model_, history_, 10);
  EXPECT_EQ(verdict.is, Linearizable::kGaveUp);
  EXPECT_NE(Describe(verdict, history_).find("not known"), std::string::npos);
  EXPECT_EQ(CheckLinearizable(model_, history_).is, Linearizable::kYes);
}

TEST_F(Histories, ARefusalTellsWhatDoesNotFit) {
  Acquire(1, 2, 5);
  Acquire(3, 4, 6);
  const Verdict verdict = CheckLinearizable(model_, history_);
  ASSERT_TRUE(verdict.stuck_at);
  EXPECT_EQ(*verdict.stuck_at, 1U);
  EXPECT_NE(Describe(verdict, history_).find("does not fit in: client 1"), std::string::npos);
}

/// Five random calls with random answers, some of which are even right.
LockHistory MakeHistory(std::mt19937_64& random) {
  auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  LockHistory history;
  for (int i = 0; i < 5; ++i) {
    LockCall call{.client = i};
    call.input.operation = static_cast<Op>(std::min<std::int64_t>(below(5), 3));
    if (below(3) == 0) call.input.operation = Op::kAcquire;
    call.input.mode = below(2) == 0 ? LockMode::kShared : LockMode::kExclusive;
    if (call.input.mode == LockMode::kShared) call.input.limit = 2;
    call.answer.ok = below(3) != 0;
    if (call.input.operation == Op::kRenew || call.input.operation == Op::kRelease) {
      call.input.token = 1 + below(4);
    } else if (call.answer.ok) {
      call.answer.tokens = {1 + below(4)};
    }
    if (below(6) == 0) call.end = CallEnd::kUnknown;
    call.invoked = 100 * below(12) + i;
    call.returned = call.invoked + 10 + 100 * below(9);
    history.push_back(std::move(call));
  }
  return history;
}

TEST(Linearizability, AgreesWithTryingEveryOrder) {
  std::mt19937_64 random(PrintedSeed());
  LockModel model{.has_both_modes = true};
  const int rounds = Scaled(4'000, 500);
  int right = 0;
  int wrong = 0;
  // Until enough of both were asked for.
  for (int round = 0; round < rounds || right < 10 || wrong < 10; ++round) {
    ASSERT_LT(round, 20 * rounds) << right << " right, " << wrong << " wrong";
    const LockHistory history = MakeHistory(random);
    const Verdict verdict = CheckLinearizable(model, history);
    const bool expected = IsLinearizableByTrying(model, history);
    ++(expected ? right : wrong);
    ASSERT_EQ(verdict.is, expected ? Linearizable::kYes : Linearizable::kNo)
        << "round " << round << ": " << Describe(verdict, history);
    if (expected) {
      EXPECT_EQ(FindLockViolation(history), std::nullopt) << Describe(verdict, history);
    }
  }
}

}  // namespace
}  // namespace holdfast::testing
