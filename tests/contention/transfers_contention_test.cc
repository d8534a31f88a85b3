// Payments, transfers, stock and seats under contention: nothing is overdrawn, sold or booked
// twice, no transfer makes or loses money, and a commit over jobs and records is done whole or not
// at all.
#include <map>
#include <random>

#include "base/mutex.h"
#include "contention/records_suite.h"

namespace holdfast::testing {
namespace {

class Money : public RecordContention {
 protected:
  Money() { DeclareShipped("account"); }

  static std::string Name(std::size_t number) { return "a" + std::to_string(100 + number); }
  void Open(std::size_t count, std::int64_t balance) {
    for (std::size_t i = 0; i < count; ++i) Create("account", Name(i), {{"balance", balance}});
  }
  std::int64_t Balance(std::size_t number) {
    return DataOf("account", Name(number))["balance"].get<std::int64_t>();
  }
  static MakeTransfer Between(std::size_t from, std::size_t to, std::int64_t amount) {
    return {.from = {"account", Name(from)},
            .to = {"account", Name(to)},
            .path = "/balance",
            .amount = amount};
  }
  Transfer Hold(std::size_t from, std::size_t to, std::int64_t amount,
                std::optional<Duration> timeout = {}) {
    MakeTransfer transfer = Between(from, to, amount);
    transfer.pending = true;
    transfer.timeout = timeout;
    return Must(store().Make({}, transfer));
  }
  static std::int64_t ReservedOf(const Record& account) {
    std::int64_t sum = 0;
    for (const Reservation& reservation : account.reserved) sum += reservation.amount;
    return sum;
  }
};

TEST_P(Money, REC_3_TenPaymentsOfAHundredFromAThousandAreAllMade) {
  Open(1, 1'000);
  Tally tally;
  RunThreads(10, [&](int thread) {
    tally.Add(store().Increment(As(thread), {On("account", Name(0)), "/balance", -100}));
  });
  ExpectTally(tally, 10, ErrorCode::kRuleViolation, 0);
  EXPECT_EQ(Balance(0), 0);
  ExpectVersion("account", Name(0), 11);
}

TEST_P(Money, REC_3_OfTenPaymentsOfAHundredAndFiftySixAreMade) {
  Open(1, 1'000);
  Tally tally;
  RunThreads(10, [&](int thread) {
    Result<Record> paid = store().Increment(As(thread), {On("account", Name(0)), "/balance", -150});
    tally.Add(paid);
    if (paid) return;
    EXPECT_EQ(paid.error().detail.rule, "bounds /balance");
    EXPECT_EQ(paid.error().detail.record, "account/" + Name(0));
  });
  ExpectTally(tally, 6, ErrorCode::kRuleViolation, 4);
  EXPECT_EQ(Balance(0), 100);
  ExpectVersion("account", Name(0), 7);
}

TEST_P(Money, REC_7_WhatIsHeldCannotBeSpentByAnybodyElse) {
  Open(2, 1'000);
  Hold(0, 1, 400);
  Tally transfers;
  Tally payments;
  RunThreads(20, [&](int thread) {
    if (thread % 2 == 0) {
      transfers.Add(store().Make(As(thread), Between(0, 1, 100)));
    } else {
      payments.Add(store().Increment(As(thread), {On("account", Name(0)), "/balance", -100}));
    }
  });
  EXPECT_EQ(transfers.ok() + payments.ok(), 6);
  EXPECT_EQ(transfers.Of(ErrorCode::kRuleViolation) + payments.Of(ErrorCode::kRuleViolation), 14);
  EXPECT_EQ(Balance(0), 400);
  EXPECT_EQ(Balance(1), 1'000 + 100 * transfers.ok());
}

TEST_P(Money, REC_7_APendingTransferEndsOnce) {
  Open(2, 1'000);
  for (int round = 0; round < Scaled(5); ++round) {
    const std::int64_t before = Balance(0);
    TransferId id = Hold(0, 1, 50).id;
    Tally posts;
    Tally voids;
    RunThreads(12, [&](int thread) {
      if (thread % 2 == 0) {
        posts.Add(store().Post(As(thread), {.id = id}));
      } else {
        voids.Add(store().Void(As(thread), {.id = id}));
      }
    });
    EXPECT_EQ(posts.ok() + voids.ok(), 1);
    EXPECT_EQ(posts.Of(ErrorCode::kInvalidTransition) + voids.Of(ErrorCode::kInvalidTransition),
              11);
    EXPECT_EQ(Balance(0), before - 50 * posts.ok());
    EXPECT_EQ(Balance(0) + Balance(1), 2'000);
    EXPECT_THAT(Load("account", Name(0)).reserved, ::testing::IsEmpty());
    std::optional<Transfer> transfer = Must(store().GetTransfer({}, id));
    ASSERT_TRUE(transfer);
    EXPECT_EQ(transfer->state, posts.ok() == 1 ? TransferState::kPosted : TransferState::kVoided);
  }
}

/// Random transfers, and what of them, by the answers, has come to each account.
class Moves : public Money {
 protected:
  static constexpr std::size_t kAccounts = 20;
  static constexpr std::int64_t kBalance = 500;

  void MoveAtRandom(int thread, int count) {
    std::mt19937_64 random(seed_ + static_cast<std::uint64_t>(thread));
    for (int i = 0; i < count; ++i) {
      std::size_t from = random() % kAccounts;
      std::size_t to = (from + 1 + random() % (kAccounts - 1)) % kAccounts;
      MakeTransfer transfer = Between(from, to, 1 + static_cast<std::int64_t>(random() % 200));
      transfer.pending = random() % 2 == 0;
      if (transfer.pending) transfer.timeout = minutes(10);
      Result<Transfer> made = store().Make(As(thread), transfer);
      if (!made) {
        EXPECT_EQ(made.error().code, ErrorCode::kRuleViolation) << made.error().message;
        continue;
      }
      if (transfer.pending) made = End(*made, random());
      EXPECT_THAT(made, IsOk());
      base::MutexLock lock(mutex_);
      moved_[from] -= made->posted;
      moved_[to] += made->posted;
    }
  }

  /// Posts it, or a part of it, or voids it, or leaves it to its time limit.
  Result<Transfer> End(const Transfer& pending, std::uint64_t chance) {
    switch (chance % 4) {
      case 0:
        return store().Post({}, {.id = pending.id});
      case 1:
        return store().Post({}, {.id = pending.id, .amount = (pending.amount + 1) / 2});
      case 2:
        return store().Void({}, {.id = pending.id});
      default:
        return pending;
    }
  }

  /// A page is one instant: at each of them all the money is there, and no more of it reserved.
  void ExpectTheSumToStay() {
    std::vector<Record> accounts = Must(store().ListRecords({}, {.kind = "account"})).items;
    std::int64_t sum = 0;
    for (const Record& account : accounts) {
      std::int64_t balance = DataOf(account)["balance"].get<std::int64_t>();
      EXPECT_GE(balance, ReservedOf(account));
      sum += balance;
    }
    EXPECT_EQ(sum, static_cast<std::int64_t>(kAccounts) * kBalance);
  }

  const std::uint64_t seed_ = PrintedSeed();
  base::Mutex mutex_{base::LockRank::kMetrics};
  std::map<std::size_t, std::int64_t> moved_ HF_GUARDED_BY(mutex_);
};

TEST_P(Moves, REC_7_TransfersOfManyThreadsConserveTheSum) {
  constexpr int kThreads = 12;
  const int count = Scaled(traits().is_remote ? 30 : 60, 25);
  Open(kAccounts, kBalance);
  std::atomic<int> running = kThreads;
  RunThreads(kThreads + 1, [&](int thread) {
    if (thread < kThreads) {
      MoveAtRandom(thread, count);
      --running;
      return;
    }
    while (running > 0) ExpectTheSumToStay();
  });
  ExpectTheSumToStay();
  std::int64_t reserved = 0;
  for (const Record& account : LoadAll({.kind = "account"})) reserved += ReservedOf(account);
  EXPECT_GT(reserved, 0);  // one in eight is left pending
  Pass(minutes(11));       // those that nobody has ended
  ExpectTheSumToStay();
  std::map<std::size_t, std::int64_t> moved;
  {
    base::MutexLock lock(mutex_);
    moved = moved_;
  }
  for (std::size_t i = 0; i < kAccounts; ++i) {
    Record account = Load("account", Name(i));
    EXPECT_EQ(account.reserved.size(), 0U);
    EXPECT_EQ(Balance(i), kBalance + moved[i]);
    ExpectVersion("account", Name(i), account.version);
  }
}

HOLDFAST_FOR_ALL_VARIANTS(Money);
HOLDFAST_FOR_ALL_VARIANTS(Moves);

class Goods : public RecordContention {
 protected:
  Goods() {
    DeclareShipped("stock");
    DeclareShipped("seat");
  }
  Result<Record> Act(const std::string& kind, const std::string& id, const std::string& action,
                     const Json& params = Json::object(),
                     std::optional<std::int64_t> version = {}) {
    return store().Run({}, {On(kind, id, version), action, params.dump()});
  }
};

TEST_P(Goods, REC_3_TheLastItemHasOneBuyer) {
  Create("stock", "teapot", {{"on_hand", 1}, {"reserved", 0}});
  Tally tally;
  RunThreads(50, [&](int thread) {
    tally.Add(store().Increment(As(thread), {On("stock", "teapot"), "/on_hand", -1}));
  });
  ExpectTally(tally, 1, ErrorCode::kRuleViolation, 49);
  EXPECT_EQ(DataOf("stock", "teapot")["on_hand"], 0);
  ExpectVersion("stock", "teapot", 2);
}

TEST_P(Goods, REC_8_NoMoreIsReservedThanIsOnHandAndWhatIsReservedIsSoldOnce) {
  Create("stock", "teapot", {{"on_hand", 10}, {"reserved", 0}});
  Tally reserved;
  Tally ended;
  std::atomic<int> sold = 0;
  RunThreads(25, [&](int thread) {
    Result<Record> mine = Act("stock", "teapot", "reserve");
    reserved.Add(mine);
    if (!mine) return;
    const bool buys = thread % 2 == 0;
    if (buys) ++sold;
    ended.Add(Act("stock", "teapot", buys ? "sell" : "release"));
  });
  // Who releases makes room for somebody else, so that more than ten may have had one.
  EXPECT_GE(reserved.ok(), 10);
  EXPECT_LE(sold, 10);
  EXPECT_EQ(reserved.all(), reserved.ok() + reserved.Of(ErrorCode::kRuleViolation));
  ExpectTally(ended, reserved.ok(), ErrorCode::kRuleViolation, 0);
  EXPECT_EQ(DataOf("stock", "teapot")["on_hand"], 10 - sold);
  EXPECT_EQ(DataOf("stock", "teapot")["reserved"], 0);
  EXPECT_THAT(Act("stock", "teapot", "sell"), StatusIs(ErrorCode::kRuleViolation));
  ExpectVersion("stock", "teapot", 1 + 2 * reserved.ok());
}

TEST_P(Goods, REC_8_QuantitiesAreReservedAndSoldWhole) {
  Create("stock", "teapot", {{"on_hand", 10}, {"reserved", 0}});
  Tally reserved;
  Tally sold;
  RunThreads(20, [&](int) {
    Result<Record> mine = Act("stock", "teapot", "reserve", {{"quantity", 3}});
    reserved.Add(mine);
    if (mine) sold.Add(Act("stock", "teapot", "sell", {{"quantity", 3}}));
  });
  ExpectTally(reserved, 3, ErrorCode::kRuleViolation, 17);
  ExpectTally(sold, 3, ErrorCode::kRuleViolation, 0);
  EXPECT_EQ(DataOf("stock", "teapot"), Json({{"on_hand", 1}, {"reserved", 0}}));
  ExpectVersion("stock", "teapot", 7);
}

TEST_P(Goods, REC_8_SeatOneAIsConfirmedOnce) {
  for (int round = 0; round < Scaled(5); ++round) {
    std::string seat = "1A-" + std::to_string(round);
    Create("seat", seat, Json::object());
    Tally holds;
    Tally confirmations;
    base::Mutex mutex{base::LockRank::kMetrics};
    std::string holder;
    RunThreads(50, [&](int thread) {
      std::string name = "t" + std::to_string(thread);
      Result<Record> held = Act("seat", seat, "hold", {{"holder", name}});
      holds.Add(held);
      // Whoever has lost tries to confirm all the same.
      Result<Record> booked = Act("seat", seat, "confirm", {{"holder", name}});
      confirmations.Add(booked);
      if (!booked) return;
      base::MutexLock lock(mutex);
      holder = name;
    });
    ExpectTally(holds, 1, ErrorCode::kInvalidTransition, 49);
    EXPECT_EQ(confirmations.ok(), 1);
    EXPECT_EQ(confirmations.all(), 50);
    Record record = Load("seat", seat);
    EXPECT_EQ(record.status, "booked");
    EXPECT_EQ(DataOf(record)["holder"], holder);
    ExpectVersion("seat", seat, 3);
  }
}

TEST_P(Goods, REC_4_AHoldEndsByItselfAndItsHolderIsTooLate) {
  Create("seat", "1A", Json::object());
  Record held = Must(Act("seat", "1A", "hold", {{"holder", "ada"}}));
  EXPECT_TRUE(held.expires_at);
  Pass(minutes(11));
  EXPECT_EQ(Load("seat", "1A").status, "free");
  EXPECT_FALSE(DataOf("seat", "1A").contains("holder"));
  Tally confirmations;
  Tally holds;
  RunThreads(20, [&](int thread) {
    if (thread % 2 == 0) {
      return confirmations.Add(Act("seat", "1A", "confirm", {{"holder", "ada"}}));
    }
    holds.Add(Act("seat", "1A", "hold", {{"holder", "t" + std::to_string(thread)}}));
  });
  // It is free, or somebody else's.
  EXPECT_EQ(
      confirmations.Of(ErrorCode::kInvalidTransition) + confirmations.Of(ErrorCode::kRuleViolation),
      10);
  ExpectTally(holds, 1, ErrorCode::kInvalidTransition, 9);
  EXPECT_EQ(Load("seat", "1A").status, "held");
  ExpectVersion("seat", "1A", 4);  // free, held, free again, held
}

HOLDFAST_FOR_ALL_VARIANTS(Goods);

class Mixed : public RecordContention {
 protected:
  Mixed() {
    DeclareShipped("ticket");
    DeclareShipped("stock");
  }

  /// A repair is done: report the job, resolve its ticket, take a part, and let three jobs follow.
  static Batch Repair(const Job& job, const std::string& ticket) {
    Batch batch{.operations = {
                    CompleteJob{job.id, job.token, R"({"repaired":true})"},
                    TransitionRecord{On("ticket", ticket), "RESOLVED", R"({"comment":"repaired"})"},
                    IncrementRecord{On("stock", "fuse"), "/on_hand", -1}}};
    for (const char* kind : {"bill", "mail", "survey"}) {
      batch.operations.push_back(EnqueueJob{{.kind = kind, .queue = "follow-up"}});
    }
    return batch;
  }
};

TEST_P(Mixed, REC_3_ACommitOverJobsAndRecordsIsDoneWholeOrNotAtAll) {
  constexpr int kRepairs = 20;
  constexpr int kFuses = 8;
  Create("stock", "fuse", {{"on_hand", kFuses}, {"reserved", 0}});
  std::vector<Job> jobs;
  for (int i = 0; i < kRepairs; ++i) {
    std::string ticket = "T-" + std::to_string(i);
    Create("ticket", ticket, {{"title", "no light"}, {"level", 0}});
    Must(store().Transition({}, {On("ticket", ticket), "OPEN"}));
    jobs.push_back(ClaimThis(Push({.kind = "repair"}).id));
  }
  std::array<std::atomic<bool>, kRepairs> is_done{};
  Tally tally;
  RunThreads(kRepairs, [&](int i) {
    auto index = static_cast<std::size_t>(i);
    Result<Receipt> receipt = store().Commit(As(i), Repair(jobs[index], "T-" + std::to_string(i)));
    tally.Add(receipt);
    is_done[index] = receipt.has_value();
    if (receipt) return;
    EXPECT_EQ(receipt.error().detail.operation, 2);
    EXPECT_EQ(receipt.error().detail.rule, "bounds /on_hand");
  });
  ExpectTally(tally, kFuses, ErrorCode::kRuleViolation, kRepairs - kFuses);
  EXPECT_EQ(DataOf("stock", "fuse")["on_hand"], 0);
  ExpectVersion("stock", "fuse", 1 + kFuses);
  EXPECT_EQ(CountOf(JobState::kPending, "follow-up"), 3 * kFuses);
  for (std::size_t i = 0; i < kRepairs; ++i) {
    std::string ticket = "T-" + std::to_string(i);
    EXPECT_EQ(StateOf(jobs[i].id), is_done[i] ? JobState::kCompleted : JobState::kProcessing);
    EXPECT_EQ(Load("ticket", ticket).status, is_done[i] ? "RESOLVED" : "OPEN");
    ExpectVersion("ticket", ticket, is_done[i] ? 3 : 2);
  }
}

TEST_P(Mixed, REC_1_AStaleTokenKeepsItsRecordsFromChanging) {
  Create("stock", "fuse", {{"on_hand", 10}, {"reserved", 0}});
  Create("ticket", "T", {{"title", "no light"}, {"level", 0}});
  Must(store().Transition({}, {On("ticket", "T"), "OPEN"}));
  JobId id = Push({.kind = "repair"}).id;
  Job paused = ClaimThis(id, seconds(1));
  Pass(seconds(2));
  Job successor = ClaimThis(id);
  Tally stale;
  Tally current;
  RunThreads(20, [&](int thread) {
    if (thread == 7) return current.Add(store().Commit({}, Repair(successor, "T")));
    stale.Add(store().Commit({}, Repair(paused, "T")));
  });
  ExpectTally(current, 1, ErrorCode::kFenced, 0);
  ExpectTally(stale, 0, ErrorCode::kFenced, 19);
  EXPECT_EQ(DataOf("stock", "fuse")["on_hand"], 9);
  EXPECT_EQ(CountOf(JobState::kPending, "follow-up"), 3);
  ExpectVersion("ticket", "T", 3);
}

HOLDFAST_FOR_ALL_VARIANTS(Mixed);

}  // namespace
}  // namespace holdfast::testing
