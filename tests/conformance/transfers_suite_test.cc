// REC-7: what one record loses another gets, at once or in two steps.
#include "testing/record_suite.h"

namespace holdfast::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Transfers : public RecordSuite {
 protected:
  Transfers() {
    Declare("account", R"({"bounds":{"/balance":{"min":0}}})");
    Make("account", "a", R"({"balance":100})");
    Make("account", "b", R"({"balance":0})");
  }
  MakeTransfer FromAToB(std::int64_t amount) {
    return {.from = {"account", "a"}, .to = {"account", "b"}, .path = "/balance", .amount = amount};
  }
  Result<Transfer> Send(std::int64_t amount) { return store().Make({}, FromAToB(amount)); }
  Transfer Reserve(std::int64_t amount, std::optional<Duration> timeout = {}) {
    MakeTransfer make = FromAToB(amount);
    make.pending = true;
    make.timeout = timeout;
    return Must(store().Make({}, std::move(make)));
  }
  void ExpectBalances(std::int64_t a, std::int64_t b) {
    EXPECT_EQ(DataOf("account", "a")["balance"], a);
    EXPECT_EQ(DataOf("account", "b")["balance"], b);
  }
};

TEST_P(Transfers, REC_7_AnAmountMovesUnderTheBounds) {
  Transfer sent = Must(store().Make({.actor = "ada"}, FromAToB(60)));
  EXPECT_EQ(sent.state, TransferState::kPosted);
  EXPECT_EQ(sent.posted, 60);
  EXPECT_EQ(sent.created_by, "ada");
  EXPECT_EQ(Must(store().GetTransfer({}, sent.id)), sent);
  ExpectBalances(40, 60);
  Result<Transfer> too_much = Send(41);
  ASSERT_THAT(too_much, StatusIs(ErrorCode::kRuleViolation, HasSubstr("account/a")));
  EXPECT_EQ(too_much.error().detail.rule, "bounds /balance");
  ExpectBalances(40, 60);
  EXPECT_EQ(Read("account", "a").version, 2);
  EXPECT_EQ(Read("account", "b").version, 2);
  EXPECT_EQ(Trail("account/a").size(), 2U);
  EXPECT_EQ(Trail("account/b").back().operation, "transfer");
}

TEST_P(Transfers, REC_7_WhatCannotBeTransferredIsRefused) {
  Declare("other");
  Make("other", "x", R"({"balance":"1"})");
  Make("other", "y", R"({"balance":9223372036854775807})");
  auto refused = [&](MakeTransfer make, ErrorCode code, const char* message) {
    EXPECT_THAT(store().Make({}, std::move(make)), StatusIs(code, HasSubstr(message)));
  };
  refused(FromAToB(0), ErrorCode::kInvalidArgument, "amount is 0");
  refused(FromAToB(-5), ErrorCode::kInvalidArgument, "amount is -5");
  MakeTransfer make = FromAToB(1);
  make.to = make.from;
  refused(make, ErrorCode::kInvalidArgument, "to itself");
  make = FromAToB(1);
  make.path = "balance";
  refused(make, ErrorCode::kInvalidArgument, "pointer");
  make.path = "/none";
  refused(make, ErrorCode::kInvalidArgument, "nothing at /none");
  make = FromAToB(1);
  make.to = {"other", "x"};
  refused(make, ErrorCode::kInvalidArgument, "other/x: /balance is a string");
  make.to = {"other", "y"};
  refused(make, ErrorCode::kInvalidArgument, "64 bits");
  make.to = {"other", "none"};
  refused(make, ErrorCode::kNotFound, "other/none");
  make = FromAToB(1);
  make.timeout = seconds(1);
  refused(make, ErrorCode::kInvalidArgument, "pending");
  ExpectBalances(100, 0);
}

TEST_P(Transfers, REC_7_APendingTransferReserves) {
  Transfer pending = Reserve(70);
  EXPECT_EQ(pending.state, TransferState::kPending);
  EXPECT_EQ(pending.posted, 0);
  ExpectBalances(100, 0);
  EXPECT_THAT(Read("account", "a").reserved, ElementsAre(Reservation{"/balance", 70}));
  EXPECT_THAT(Send(31), StatusIs(ErrorCode::kRuleViolation));
  EXPECT_THAT(store().Delete({}, DeleteRecord{{"account", "a"}}),
              StatusIs(ErrorCode::kRuleViolation, HasSubstr("pending transfers")));
  Must(Send(30));
  Transfer posted = Must(store().Post({}, {pending.id}));
  EXPECT_EQ(posted.state, TransferState::kPosted);
  EXPECT_EQ(posted.posted, 70);
  EXPECT_EQ(posted.finished_at, Now());
  ExpectBalances(0, 100);
  EXPECT_TRUE(Read("account", "a").reserved.empty());
  EXPECT_THAT(store().Post({}, {pending.id}), StatusIs(ErrorCode::kInvalidTransition));
  EXPECT_THAT(store().Void({}, {pending.id}), StatusIs(ErrorCode::kInvalidTransition));
}

TEST_P(Transfers, REC_7_APartMayBePostedAndTheRestIsFreeAgain) {
  Transfer pending = Reserve(70);
  EXPECT_THAT(store().Post({}, {pending.id, 71}), StatusIs(ErrorCode::kInvalidArgument));
  EXPECT_THAT(store().Post({}, {pending.id, 0}), StatusIs(ErrorCode::kInvalidArgument));
  EXPECT_EQ(Must(store().Post({}, {pending.id, 20})).posted, 20);
  ExpectBalances(80, 20);
  Must(Send(80));
}

TEST_P(Transfers, REC_7_AVoidedTransferMovesNothing) {
  Transfer pending = Reserve(70);
  Transfer voided = Must(store().Void({}, {pending.id}));
  EXPECT_EQ(voided.state, TransferState::kVoided);
  ExpectBalances(100, 0);
  Must(Send(100));
  EXPECT_THAT(store().Void({}, {99}), StatusIs(ErrorCode::kNotFound));
  EXPECT_THAT(store().Post({}, {99}), StatusIs(ErrorCode::kNotFound));
  EXPECT_EQ(Must(store().GetTransfer({}, 99)), std::nullopt);
}

TEST_P(Transfers, REC_7_APendingTransferTimesOut) {
  Transfer pending = Reserve(70, minutes(5));
  EXPECT_EQ(pending.expires_at, Now() + minutes(5));
  clock().Advance(minutes(5));
  EXPECT_THAT(store().Post({}, {pending.id}),
              StatusIs(ErrorCode::kInvalidTransition, HasSubstr("time limit")));
  EXPECT_EQ(Pass(seconds(0)).lapsed, 1);
  EXPECT_EQ(Must(store().GetTransfer({}, pending.id))->state, TransferState::kExpired);
  Must(Send(100));
  EXPECT_EQ(Trail("account/a")[2].operation, "transfer.expire");
}

TEST_P(Transfers, REC_7_TransfersOfABatchAreOneChange) {
  Make("account", "c", R"({"balance":0})");
  MakeTransfer on{
      .from = {"account", "b"}, .to = {"account", "c"}, .path = "/balance", .amount = 50};
  Must(Commit({FromAToB(50), on}));
  ExpectBalances(50, 0);
  on.amount = 51;
  Result<Receipt> refused = Commit({FromAToB(50), on});
  ASSERT_THAT(refused, StatusIs(ErrorCode::kRuleViolation));
  EXPECT_EQ(refused.error().detail.operation, 1);
  ExpectBalances(50, 0);
  EXPECT_EQ(DataOf("account", "c")["balance"], 50);
}

TEST_P(Transfers, REC_7_TransfersAreListedByStateAndGiver) {
  std::vector<TransferId> pending;
  for (int i = 0; i < 3; ++i) {
    pending.push_back(Reserve(10).id);
    Must(Send(1));
  }
  Must(store().Make({}, {.from = {"account", "b"},
                         .to = {"account", "a"},
                         .path = "/balance",
                         .amount = 1,
                         .pending = true}));
  TransferFilter filter{
      .state = TransferState::kPending, .from = RecordKey{"account", "a"}, .limit = 2};
  std::vector<TransferId> listed;
  do {
    TransferPage page = Must(store().ListTransfers({}, filter));
    for (const Transfer& transfer : page.items) {
      EXPECT_EQ(transfer, Must(store().GetTransfer({}, transfer.id)));
      listed.push_back(transfer.id);
    }
    filter.cursor = page.next_cursor;
  } while (!filter.cursor.empty());
  EXPECT_EQ(listed, pending);
  EXPECT_EQ(Must(store().ListTransfers({}, {.state = TransferState::kPending})).items.size(), 4U);
  EXPECT_EQ(Must(store().ListTransfers({}, {.state = TransferState::kPosted})).items.size(), 3U);
  EXPECT_EQ(Must(store().ListTransfers({}, {.from = RecordKey{"account", "a"}})).items.size(), 6U);
  EXPECT_EQ(Must(store().ListTransfers({}, {})).items.size(), 7U);
  EXPECT_THAT(store().ListTransfers({}, {.limit = 0}), StatusIs(ErrorCode::kInvalidArgument));
  EXPECT_THAT(store().ListTransfers({}, {.cursor = "x"}), StatusIs(ErrorCode::kInvalidArgument));
}

TEST_P(Transfers, REC_7_FinishedTransfersAreForgottenAfterTheirRetention) {
  Transfer sent = Must(Send(1));
  Transfer pending = Reserve(1);
  Pass(hours(24 * 90) - seconds(1));
  EXPECT_NE(Must(store().GetTransfer({}, sent.id)), std::nullopt);
  Pass(seconds(1));
  EXPECT_EQ(Must(store().GetTransfer({}, sent.id)), std::nullopt);
  EXPECT_EQ(Must(store().GetTransfer({}, pending.id))->state, TransferState::kPending);
}

HOLDFAST_FOR_ALL_VARIANTS(Transfers);

}  // namespace
}  // namespace holdfast::testing
