// Many threads edit the same records: no edit is lost, none is done twice, and what the rules
// forbid happens under no interleaving.
#include <map>
#include <set>

#include "base/mutex.h"
#include "contention/records_suite.h"

namespace holdfast::testing {
namespace {

class RecordEdits : public RecordContention {
 protected:
  RecordEdits() { Declare("note", "{}"); }
};

TEST_P(RecordEdits, REC_2_AHundredIncrementsAtOnceMakeAHundred) {
  Create("note", "n", {{"count", 0}});
  RunThreads(100, [&](int thread) {
    EXPECT_THAT(store().Increment(As(thread), {On("note", "n"), "/count"}), IsOk());
  });
  EXPECT_EQ(DataOf("note", "n"), Json({{"count", 100}}));
  ExpectVersion("note", "n", 101);
}

TEST_P(RecordEdits, REC_2_TwoHundredAppendsAreAllThere) {
  Create("note", "n", {{"list", Json::array()}});
  RunThreads(50, [&](int thread) {
    for (int i = 0; i < 4; ++i) {
      std::string value = std::to_string(4 * thread + i);
      EXPECT_THAT(store().Append(As(thread), {On("note", "n"), "/list", value}), IsOk());
    }
  });
  auto list = DataOf("note", "n")["list"].get<std::vector<int>>();
  EXPECT_EQ(list.size(), 200U);
  EXPECT_EQ(std::set<int>(list.begin(), list.end()).size(), 200U);
  ExpectVersion("note", "n", 201);
}

TEST_P(RecordEdits, REC_2_OfAHundredAndFiftyAppendsTheLastHundredAreKept) {
  Create("note", "n", {{"list", Json::array()}});
  base::Mutex mutex{base::LockRank::kMetrics};
  std::map<std::int64_t, int> appended;  // by version
  RunThreads(50, [&](int thread) {
    for (int i = 0; i < 3; ++i) {
      int value = 3 * thread + i;
      Result<Record> record = store().Append(
          As(thread), {On("note", "n"), "/list", std::to_string(value), /*max_length=*/100});
      ASSERT_THAT(record, IsOk());
      base::MutexLock lock(mutex);
      appended[record->version] = value;
    }
  });
  ASSERT_EQ(appended.size(), 150U) << "two appends had one version";
  std::vector<int> newest;
  for (const auto& [version, value] : appended) {
    if (version > 51) newest.push_back(value);
  }
  EXPECT_EQ(DataOf("note", "n")["list"].get<std::vector<int>>(), newest);
  ExpectVersion("note", "n", 151);
}

TEST_P(RecordEdits, REC_2_MergesOfDifferentKeysByFiftyThreadsAreAllThere) {
  Create("note", "n", Json::object());
  RunThreads(50, [&](int thread) {
    Json patch = {{"key-" + std::to_string(thread), thread}};
    EXPECT_THAT(store().Merge(As(thread), {On("note", "n"), patch.dump()}), IsOk());
  });
  Json expected = Json::object();
  for (int i = 0; i < 50; ++i) expected["key-" + std::to_string(i)] = i;
  EXPECT_EQ(DataOf("note", "n"), expected);
  ExpectVersion("note", "n", 51);
}

TEST_P(RecordEdits, REC_2_TenThreadsIncrementAThousandTimesEach) {
  const int each = Scaled(1'000, 10);
  Create("note", "n", {{"count", 0}});
  RunThreads(10, [&](int thread) {
    for (int i = 0; i < each; ++i) {
      EXPECT_THAT(store().Increment(As(thread), {On("note", "n"), "/count"}), IsOk());
    }
  });
  EXPECT_EQ(DataOf("note", "n"), Json({{"count", 10 * each}}));
  ExpectVersion("note", "n", 10 * each + 1);
}

TEST_P(RecordEdits, REC_2_PatchesThatTestAreLostByAllButOne) {
  Create("note", "n", {{"turn", 0}});
  for (int round = 0; round < Scaled(5); ++round) {
    Tally tally;
    Json patch = {{{"op", "test"}, {"path", "/turn"}, {"value", round}},
                  {{"op", "replace"}, {"path", "/turn"}, {"value", round + 1}}};
    RunThreads(10, [&](int thread) {
      tally.Add(store().Patch(As(thread), {On("note", "n"), patch.dump()}));
    });
    ExpectTally(tally, 1, ErrorCode::kRuleViolation, 9);
    ExpectVersion("note", "n", round + 2);
  }
}

TEST_P(RecordEdits, REC_3_ABoundedCounterStopsAtItsBounds) {
  Declare("counter", R"({"bounds":{"/n":{"min":0,"max":20}}})");
  Create("counter", "c", {{"n", 0}});
  Tally up;
  RunThreads(50, [&](int) { up.Add(store().Increment({}, {On("counter", "c"), "/n"})); });
  ExpectTally(up, 20, ErrorCode::kRuleViolation, 30);
  EXPECT_EQ(DataOf("counter", "c")["n"], 20);
  Tally down;
  RunThreads(50, [&](int) { down.Add(store().Increment({}, {On("counter", "c"), "/n", -1})); });
  ExpectTally(down, 20, ErrorCode::kRuleViolation, 30);
  EXPECT_EQ(DataOf("counter", "c")["n"], 0);
  ExpectVersion("counter", "c", 41);
}

TEST_P(RecordEdits, REC_1_FiveUpdatesOfVersionOneEndAtSix) {
  Create("note", "n", {{"count", 0}});
  // Whoever is too late was beaten by one of the four others, each of which wins once: with four
  // retries nobody can run out of them.
  RetryPolicy policy = kUpdatePolicy;
  policy.retries = 4;
  std::atomic<int> readers = 0;
  std::atomic<int> tries = 0;
  RunThreads(5, [&](int thread) {
    bool is_first = true;
    auto add_one = [&](const Record& record) -> Result<std::string> {
      ++tries;
      if (is_first) {  // all five have seen version 1 before the first of them writes
        is_first = false;
        EXPECT_EQ(record.version, 1);
        ++readers;
        while (readers < 5) std::this_thread::yield();
      }
      Json data = DataOf(record);
      data["count"] = data["count"].get<int>() + 1;
      return data.dump();
    };
    EXPECT_THAT(store().UpdateWith(As(thread), {"note", "n"}, add_one, policy), IsOk());
  });
  EXPECT_GE(tries, 9);
  EXPECT_EQ(DataOf("note", "n"), Json({{"count", 5}}));
  ExpectVersion("note", "n", 6);
}

TEST_P(RecordEdits, REC_1_OfFiftyWritesThatExpectOneVersionOneIsDone) {
  Create("note", "n", Json::object());
  for (std::int64_t version = 1; version <= Scaled(5); ++version) {
    Tally tally;
    RunThreads(50, [&](int thread) {
      const std::string data = Json({{"after", version}}).dump();
      Result<Record> record = store().Replace(As(thread), {On("note", "n", version), data});
      tally.Add(record);
      if (record) return;
      EXPECT_EQ(record.error().detail.expected, version);
      EXPECT_EQ(record.error().detail.current, version + 1);
    });
    ExpectTally(tally, 1, ErrorCode::kVersionMismatch, 49);
    ExpectVersion("note", "n", version + 1);
  }
}

TEST_P(RecordEdits, REC_1_AVersionGuardLetsOneOfManyBatchesThrough) {
  Create("note", "gate", Json::object());
  Create("note", "n", {{"count", 0}});
  Tally tally;
  RunThreads(20, [&](int thread) {
    Batch batch{.guards = {VersionGuard{{"note", "gate"}, 1}},
                .operations = {IncrementRecord{On("note", "n"), "/count"},
                               MergeRecord{On("note", "gate"), R"({"passed":true})"}}};
    tally.Add(store().Commit(As(thread), std::move(batch)));
  });
  ExpectTally(tally, 1, ErrorCode::kVersionMismatch, 19);
  EXPECT_EQ(DataOf("note", "n")["count"], 1);
  ExpectVersion("note", "n", 2);
}

TEST_P(RecordEdits, REC_1_OfManyWhoCreateOneRecordOneDoes) {
  Tally plain;
  Tally guarded;
  RunThreads(20, [&](int thread) {
    plain.Add(store().Create(As(thread), {.kind = "note", .id = "a"}));
    guarded.Add(
        store().Commit(As(thread), {.guards = {AbsentGuard{{"note", "b"}}},
                                    .operations = {CreateRecord{.kind = "note", .id = "b"}}}));
  });
  ExpectTally(plain, 1, ErrorCode::kAlreadyExists, 19);
  ExpectTally(guarded, 1, ErrorCode::kAlreadyExists, 19);
  ExpectVersion("note", "a", 1);
  ExpectVersion("note", "b", 1);
}

TEST_P(RecordEdits, REC_1_IdsOfTheStoresChoosingAreNeverGivenTwice) {
  base::Mutex mutex{base::LockRank::kMetrics};
  std::set<std::string> ids;
  RunThreads(16, [&](int) {
    for (int i = 0; i < 10; ++i) {
      std::string id = Must(store().Create({}, {.kind = "note"})).id;
      base::MutexLock lock(mutex);
      EXPECT_TRUE(ids.insert(id).second) << id;
    }
  });
  EXPECT_EQ(LoadAll({.kind = "note"}).size(), 160U);
}

TEST_P(RecordEdits, REC_3_OfFiveApplicationsOfOneUserOneIsMade) {
  DeclareShipped("campaign");
  DeclareShipped("application");
  Create("campaign", "c", {{"title", "t"}, {"is_active", true}, {"max_participants", 10}});
  for (int round = 0; round < Scaled(5); ++round) {
    Json data = {{"user", "user-" + std::to_string(round)}};
    Tally tally;
    base::Mutex mutex{base::LockRank::kMetrics};
    std::set<std::string> told;  // of whom they say that it is there
    RunThreads(5, [&](int thread) {
      Result<Record> made = store().Create(
          As(thread),
          {.kind = "application", .data = data.dump(), .parent = RecordKey{"campaign", "c"}});
      tally.Add(made);
      base::MutexLock lock(mutex);
      told.insert(made ? ToString(made->key()) : made.error().detail.record);
    });
    ExpectTally(tally, 1, ErrorCode::kAlreadyExists, 4);
    EXPECT_EQ(told.size(), 1U);
  }
  ExpectChildrenToBeCounted("campaign", "c", "application");
  EXPECT_EQ(CountOf(Load("campaign", "c"), "application", "pending"), Scaled(5));
}

TEST_P(RecordEdits, REC_3_AUniqueKeyChangesHandsWithoutEverBeingHeldTwice) {
  const int rounds = Scaled(traits().is_remote ? 20 : 60);
  Declare("room", R"({"unique":["/guest"]})");
  for (int i = 0; i < 8; ++i) Create("room", std::to_string(i), Json::object());
  std::atomic<int> holders = 0;
  RunThreads(8, [&](int thread) {
    RecordTarget room = On("room", std::to_string(thread));
    for (int i = 0; i < rounds; ++i) {
      Result<Record> taken = store().Merge({}, {room, R"({"guest":"ada"})"});
      if (!taken) {
        EXPECT_EQ(taken.error().code, ErrorCode::kAlreadyExists);
        continue;
      }
      EXPECT_EQ(++holders, 1);
      --holders;
      EXPECT_THAT(store().Merge({}, {room, R"({"guest":null})"}), IsOk());
    }
  });
}

TEST_P(RecordEdits, REC_9_OfManyWhoChangeTheRulesOneIsFirst) {
  Tally tally;
  RunThreads(10, [&](int thread) {
    std::string rules = R"({"description":"by )" + std::to_string(thread) + "\"}";
    tally.Add(store().Apply(As(thread), {.name = "note", .rules = rules, .version = 1}));
  });
  ExpectTally(tally, 1, ErrorCode::kVersionMismatch, 9);
  EXPECT_EQ(Must(store().GetKind({}, "note"))->version, 2);
}

TEST_P(RecordEdits, REC_9_WhatIsWrittenWhileRulesChangeObeysThem) {
  for (int i = 0; i < 4; ++i) Create("note", std::to_string(i), {{"n", 0}});
  std::atomic<bool> is_applied = false;
  RunThreads(5, [&](int thread) {
    if (thread == 4) {
      Must(store().Apply({}, {.name = "note", .rules = R"({"bounds":{"/n":{"max":1000000}}})"}));
      is_applied = true;
      return;
    }
    for (int i = 0; i < 20; ++i) {
      bool was_applied = is_applied;
      Result<Record> record = store().Merge({}, {On("note", std::to_string(thread)),
                                                 was_applied ? R"({"n":1000001})" : R"({"n":1})"});
      if (was_applied) {
        EXPECT_THAT(record, StatusIs(ErrorCode::kRuleViolation));
      } else {
        EXPECT_THAT(record, IsOk());
      }
    }
  });
  for (const Record& record : LoadAll({.kind = "note"})) EXPECT_LE(DataOf(record)["n"], 1);
}

TEST_P(RecordEdits, IDEM_1_OfManyEqualRequestsAtOnceOneIsExecuted) {
  Create("note", "n", {{"n", 0}});
  for (int round = 0; round < Scaled(10, 2); ++round) {
    Batch batch{.operations = {IncrementRecord{On("note", "n"), "/n"}, EnqueueJob{{.kind = "k"}}},
                .idempotency_key = "round " + std::to_string(round)};
    Tally tally;
    std::atomic<int> replayed = 0;
    std::array<std::optional<Receipt>, 20> receipts;
    RunThreads(20, [&](int thread) {
      Result<Receipt> receipt = store().Commit({}, batch);
      tally.Add(receipt);
      if (!receipt) return;
      if (receipt->replayed) ++replayed;
      receipts[static_cast<std::size_t>(thread)] = *std::move(receipt);
    });
    ExpectTally(tally, 20, ErrorCode::kInternal, 0);
    EXPECT_EQ(replayed, 19);
    for (const auto& receipt : receipts) EXPECT_EQ(receipt->results, receipts[0]->results);
    EXPECT_EQ(DataOf("note", "n")["n"], round + 1);
    EXPECT_EQ(CountOf(JobState::kPending), round + 1);
  }
}

HOLDFAST_FOR_ALL_VARIANTS(RecordEdits);

}  // namespace
}  // namespace holdfast::testing
