// Many threads move jobs in the field, tickets, campaigns and applications at once: one transition
// wins, counts of children stay exact, a campaign never has more people than places.
#include <algorithm>
#include <random>

#include "base/mutex.h"
#include "contention/records_suite.h"

namespace holdfast::testing {
namespace {

using ::testing::HasSubstr;

class Jobneeds : public RecordContention {
 protected:
  Jobneeds() { DeclareShipped("jobneed"); }

  RecordKey Parent() const { return {"jobneed", "P"}; }
  void CreateFamily(int children) {
    Create("jobneed", "P", {{"title", "round"}});
    Batch batch;
    for (int i = 0; i < children; ++i) {
      batch.operations.push_back(
          CreateRecord{.kind = "jobneed", .id = "c" + std::to_string(i), .parent = Parent()});
    }
    Must(store().Commit({}, std::move(batch)));
  }
  Result<Record> Autoclose(const std::string& id, int thread) {
    return store().Run(As(thread),
                       {On("jobneed", id), "autoclose", R"({"flags":{"by_server":true}})"});
  }
  Result<Record> MoveTo(const std::string& id, const std::string& status, int thread = 0) {
    return store().Transition(As(thread), {On("jobneed", id), status});
  }
};

TEST_P(Jobneeds, REC_4_FiftyThreadsAutocloseOneJobAndOneDoes) {
  for (int round = 0; round < Scaled(5); ++round) {
    std::string id = "J-" + std::to_string(round);
    Create("jobneed", id, {{"title", "pump"}});
    Tally tally;
    RunThreads(50, [&](int thread) { tally.Add(Autoclose(id, thread)); });
    ExpectTally(tally, 1, ErrorCode::kInvalidTransition, 49);
    EXPECT_EQ(Load("jobneed", id).status, "AUTOCLOSED");
    EXPECT_EQ(DataOf("jobneed", id)["autoclose"]["flags"], Json({{"by_server", true}}));
    EXPECT_EQ(DataOf("jobneed", id)["autoclose"]["was"], "ASSIGNED");
    ExpectVersion("jobneed", id, 2);
  }
}

TEST_P(Jobneeds, REC_6_TenThreadsCloseAHundredChildrenAndTheParentIsExact) {
  const int count = Scaled(100, 10);
  CreateFamily(count);
  const std::int64_t before = Load("jobneed", "P").version;
  EXPECT_EQ(before, 1 + count);  // a child that is added counts as a change of its parent
  Tally tally;
  RunThreads(10, [&](int thread) {
    for (int i = 0; i < count; ++i) {
      std::string id = "c" + std::to_string((i + thread * count / 10) % count);
      tally.Add(MoveTo(id, "AUTOCLOSED", thread));
    }
  });
  ExpectTally(tally, count, ErrorCode::kInvalidTransition, 9 * count);
  Record parent = Load("jobneed", "P");
  EXPECT_EQ(parent.children, (std::vector<ChildCount>{{"jobneed", "AUTOCLOSED", count}}));
  EXPECT_THAT(parent.updated_by, ::testing::StartsWith("t"));
  ExpectChildrenToBeCounted("jobneed", "P", "jobneed");
  ExpectVersion("jobneed", "P", before + count);
  for (int i = 0; i < count; ++i) ExpectVersion("jobneed", "c" + std::to_string(i), 2);
}

TEST_P(Jobneeds, REC_8_AutocloseTakesTheChildrenThatNobodyHasBegun) {
  const int count = Scaled(30, 5);
  CreateFamily(count + 1);
  Must(MoveTo("P", "INPROGRESS"));
  Must(MoveTo("c0", "INPROGRESS"));
  Must(MoveTo("c0", "COMPLETED"));
  Tally closers;
  std::atomic<int> begun = 0;
  RunThreads(10, [&](int thread) {
    if (thread % 2 == 0) return closers.Add(Autoclose("P", thread));
    for (int i = 1; i <= count; ++i) {
      Result<Record> child = MoveTo("c" + std::to_string(i), "INPROGRESS", thread);
      if (child) {
        ++begun;
      } else {
        EXPECT_EQ(child.error().code, ErrorCode::kInvalidTransition);
      }
    }
  });
  // The first makes it PARTIALLYCOMPLETED, the second AUTOCLOSED, and the others are too late.
  ExpectTally(closers, 2, ErrorCode::kInvalidTransition, 3);
  Record parent = Load("jobneed", "P");
  EXPECT_EQ(parent.status, "AUTOCLOSED");
  EXPECT_EQ(CountOf(parent, "jobneed", "ASSIGNED"), 0);
  EXPECT_EQ(CountOf(parent, "jobneed", "INPROGRESS"), begun);
  EXPECT_EQ(CountOf(parent, "jobneed", "AUTOCLOSED"), count - begun);
  EXPECT_EQ(CountOf(parent, "jobneed", "COMPLETED"), 1);
  ExpectChildrenToBeCounted("jobneed", "P", "jobneed");
  ExpectVersion("jobneed", "P", parent.version);
  for (int i = 1; i <= count; ++i) ExpectVersion("jobneed", "c" + std::to_string(i), 2);
}

TEST_P(Jobneeds, REC_6_ABulkChangeOfChildrenIsDoneOnceOrNotAtAll) {
  CreateFamily(10);
  Create("jobneed", "stranger", Json::object());
  const std::int64_t before = Load("jobneed", "P").version;
  Tally family;
  Tally with_stranger;
  RunThreads(20, [&](int thread) {
    Batch batch;
    for (int i = 0; i < 10; ++i) {
      RecordTarget child = On("jobneed", "c" + std::to_string(i));
      child.parent = Parent();
      batch.operations.push_back(TransitionRecord{child, "INPROGRESS"});
    }
    if (thread % 2 == 0) {
      RecordTarget stranger = On("jobneed", "stranger");
      stranger.parent = Parent();
      batch.operations.insert(batch.operations.begin(), TransitionRecord{stranger, "INPROGRESS"});
      return with_stranger.Add(store().Commit({}, std::move(batch)));
    }
    family.Add(store().Commit({}, std::move(batch)));
  });
  ExpectTally(family, 1, ErrorCode::kInvalidTransition, 9);
  ExpectTally(with_stranger, 0, ErrorCode::kRuleViolation, 10);
  EXPECT_EQ(Load("jobneed", "stranger").status, "ASSIGNED");
  EXPECT_EQ(CountOf(Load("jobneed", "P"), "jobneed", "INPROGRESS"), 10);
  ExpectVersion("jobneed", "P", before + 10);
}

HOLDFAST_FOR_ALL_VARIANTS(Jobneeds);

class TicketContention : public RecordContention {
 protected:
  TicketContention() { DeclareShipped("ticket"); }

  std::vector<std::string> CreateTickets(int count) {
    std::vector<std::string> ids;
    for (int i = 0; i < count; ++i) {
      ids.push_back("T-" + std::to_string(i));
      Create("ticket", ids.back(), {{"title", "Printer on fire"}, {"level", 0}});
    }
    return ids;
  }
  Result<Receipt> MoveAll(const std::vector<std::string>& ids, const std::string& to) {
    Batch batch;
    for (const std::string& id : ids) {
      batch.operations.push_back(TransitionRecord{On("ticket", id), to});
    }
    return store().Commit({}, std::move(batch));
  }
};

TEST_P(TicketContention, REC_8_AHundredEscalationsOfTenTicketsAddUp) {
  std::vector<std::string> ids = CreateTickets(10);
  RunThreads(20, [&](int thread) {
    for (std::size_t i = 0; i < 5; ++i) {
      const std::string& id = ids[(5 * static_cast<std::size_t>(thread) + i) % ids.size()];
      Json params = {{"assignee", "t" + std::to_string(thread)}};
      EXPECT_THAT(store().Run(As(thread), {On("ticket", id), "escalate", params.dump()}), IsOk());
    }
  });
  int levels = 0;
  std::size_t entries = 0;
  for (const std::string& id : ids) {
    Json data = DataOf("ticket", id);
    levels += data["level"].get<int>();
    entries += data["history"].size();
    EXPECT_EQ(data["escalated"], true);
    EXPECT_EQ(data["history"].size(), data["level"].get<std::size_t>());
    for (Json& entry : data["history"]) {
      EXPECT_EQ(entry["action"], "escalate");
      EXPECT_EQ(entry["previous_status"], "NEW");
      EXPECT_EQ(entry["details"], Json({{"assignee", entry["who"]}, {"reason", ""}}));
    }
    EXPECT_EQ(data["history"].back()["who"], data["assignee"]);
    ExpectVersion("ticket", id, 11);
  }
  EXPECT_EQ(levels, 100);
  EXPECT_EQ(entries, 100U);
}

TEST_P(TicketContention, REC_4_OneOfManyResolvesATicket) {
  for (int round = 0; round < Scaled(3); ++round) {
    std::string id = "R-" + std::to_string(round);
    Create("ticket", id, {{"title", "t"}, {"level", 0}});
    Must(MoveAll({id}, "OPEN"));
    Tally tally;
    Tally silent;
    RunThreads(20, [&](int thread) {
      if (thread % 2 == 0) {
        return silent.Add(store().Transition(As(thread), {On("ticket", id), "CANCELLED"}));
      }
      Json data = {{"comment", "by " + std::to_string(thread)}};
      tally.Add(store().Transition(As(thread), {On("ticket", id), "RESOLVED", data.dump()}));
    });
    ExpectTally(tally, 1, ErrorCode::kInvalidTransition, 9);
    // Without a comment nothing is cancelled: it is not a way out, or it is not one any more.
    EXPECT_EQ(silent.Of(ErrorCode::kRuleViolation) + silent.Of(ErrorCode::kInvalidTransition), 10);
    EXPECT_EQ(Load("ticket", id).status, "RESOLVED");
    ExpectVersion("ticket", id, 3);
  }
}

TEST_P(TicketContention, REC_4_BulkTransitionsInAnyOrderNeverMixAndNeverBlockEachOther) {
  const int rounds = Scaled(10, 2);
  std::vector<std::string> ids = CreateTickets(10);
  Must(MoveAll(ids, "OPEN"));
  std::atomic<int> done = 0;
  std::atomic<int> running = 10;
  const std::uint64_t seed = PrintedSeed();
  RunThreads(11, [&](int thread) {
    if (thread == 10) {
      while (running > 0) {  // every page that is read shows all of them in one status
        std::vector<Record> tickets = LoadAll({.kind = "ticket"});
        for (const Record& ticket : tickets) EXPECT_EQ(ticket.status, tickets[0].status);
      }
      return;
    }
    std::mt19937_64 random(seed + static_cast<std::uint64_t>(thread));
    for (int i = 0; i < rounds; ++i) {
      std::vector<std::string> order = ids;
      std::ranges::shuffle(order, random);
      Result<Receipt> moved = MoveAll(order, i % 2 == 0 ? "ONHOLD" : "OPEN");
      if (moved) {
        ++done;
      } else {
        EXPECT_EQ(moved.error().code, ErrorCode::kInvalidTransition);
        EXPECT_EQ(moved.error().detail.operation, 0);
      }
    }
    --running;
  });
  EXPECT_GE(done, 1);
  for (const std::string& id : ids) ExpectVersion("ticket", id, 2 + done);
}

HOLDFAST_FOR_ALL_VARIANTS(TicketContention);

class Places : public RecordContention {
 protected:
  Places() {
    DeclareShipped("campaign");
    DeclareShipped("application");
  }

  RecordKey Campaign() const { return {"campaign", "c"}; }
  void OpenCampaign(const Json& places) {
    Create("campaign", "c", {{"title", "t"}, {"is_active", true}, {"max_participants", places}});
  }
  void Limit(int places) {
    Must(store().Merge({}, {On("campaign", "c"), Json({{"max_participants", places}}).dump()}));
  }
  Result<Record> Apply(int user) {
    return store().Create(As(user), {.kind = "application",
                                     .id = "u" + std::to_string(user),
                                     .data = Json({{"user", std::to_string(user)}}).dump(),
                                     .parent = Campaign()});
  }
  void ApplyMany(int users) {
    for (int user = 0; user < users; ++user) Must(Apply(user));
  }
  static TransitionRecord Move(int user, const std::string& to) {
    return {On("application", "u" + std::to_string(user)), to};
  }
  std::int64_t Count(const std::string& status) {
    return CountOf(Load("campaign", "c"), "application", status);
  }
};

TEST_P(Places, REC_5_OfTwentyUsersTenGetTheTenPlaces) {
  OpenCampaign(10);
  Tally tally;
  RunThreads(20, [&](int user) {
    Result<Record> application = Apply(user);
    tally.Add(application);
    if (application) return;
    EXPECT_THAT(application.error().message, HasSubstr("10 of 10"));
  });
  ExpectTally(tally, 10, ErrorCode::kCapacityFull, 10);
  EXPECT_EQ(Count("pending"), 10);
  ExpectChildrenToBeCounted("campaign", "c", "application");
}

TEST_P(Places, REC_5_NullIsUnlimitedAndZeroIsNone) {
  OpenCampaign(nullptr);
  Tally unlimited;
  RunThreads(20, [&](int user) { unlimited.Add(Apply(user)); });
  ExpectTally(unlimited, 20, ErrorCode::kCapacityFull, 0);
  Limit(0);
  Tally none;
  RunThreads(20, [&](int user) { none.Add(Apply(100 + user)); });
  ExpectTally(none, 0, ErrorCode::kCapacityFull, 20);
  EXPECT_EQ(Count("pending"), 20);
}

TEST_P(Places, REC_5_OfTwentyApprovalsAtOnceTenAreGiven) {
  OpenCampaign(nullptr);
  ApplyMany(20);
  Limit(10);
  Tally tally;
  RunThreads(20, [&](int user) { tally.Add(store().Transition({}, Move(user, "approved"))); });
  ExpectTally(tally, 10, ErrorCode::kCapacityFull, 10);
  EXPECT_EQ(Count("approved"), 10);
  EXPECT_EQ(Count("pending"), 10);
  ExpectChildrenToBeCounted("campaign", "c", "application");
}

TEST_P(Places, REC_5_ApprovingInBulkFillsThePlacesInOrder) {
  OpenCampaign(nullptr);
  ApplyMany(20);
  Limit(10);
  Must(store().Transition({}, Move(19, "approved")));
  std::vector<Batch> batches;
  for (int user = 0; user < 19; ++user) batches.push_back({.operations = {Move(user, "approved")}});
  std::vector<Result<Receipt>> answers = store().CommitMany({}, std::move(batches));
  ASSERT_EQ(answers.size(), 19U);
  for (int user = 0; user < 19; ++user) {
    const Result<Receipt>& answer = answers[static_cast<std::size_t>(user)];
    if (user < 9) {
      EXPECT_THAT(answer, IsOk()) << user;
    } else {
      EXPECT_THAT(answer, StatusIs(ErrorCode::kCapacityFull, HasSubstr("10 of 10"))) << user;
    }
    EXPECT_EQ(Load("application", "u" + std::to_string(user)).status,
              user < 9 ? "approved" : "pending");
  }
  EXPECT_EQ(Count("approved"), 10);
  EXPECT_EQ(Count("pending"), 10);
}

TEST_P(Places, REC_5_CountsStayExactWhileManyComeAndGo) {
  const int rounds = Scaled(traits().is_remote ? 20 : 40, 5);
  OpenCampaign(10);
  std::atomic<int> running = 20;
  const std::uint64_t seed = PrintedSeed();
  RunThreads(21, [&](int user) {
    if (user == 20) {
      while (running > 0) {
        Record campaign = Load("campaign", "c");
        EXPECT_LE(CountOf(campaign, "application", "pending") +
                      CountOf(campaign, "application", "approved"),
                  10);
      }
      return;
    }
    std::mt19937_64 random(seed + static_cast<std::uint64_t>(user));
    for (int i = 0; i < rounds; ++i) {
      switch (random() % 5) {
        case 0:
          (void)Apply(user);  // there already, or no place
          break;
        case 1:
          (void)store().Transition({}, Move(user, "approved"));
          break;
        case 2:
          (void)store().Transition({}, Move(user, "withdrawn"));
          break;
        case 3:
          (void)store().Transition({}, Move(user, "pending"));
          break;
        default:
          (void)store().Delete({}, DeleteRecord{On("application", "u" + std::to_string(user))});
      }
    }
    --running;
  });
  ExpectChildrenToBeCounted("campaign", "c", "application");
  EXPECT_LE(Count("pending") + Count("approved"), 10);
  ExpectVersion("campaign", "c", 1);  // the counts are kept beside it
}

TEST_P(Places, REC_5_NobodyAppliesToACampaignThatIsClosed) {
  OpenCampaign(nullptr);
  Tally tally;
  std::atomic<int> late = 0;
  std::atomic<bool> is_closed = false;
  RunThreads(20, [&](int user) {
    if (user == 0) {
      Must(store().Merge({}, {On("campaign", "c"), R"({"is_active":false})"}));
      is_closed = true;
      return;
    }
    bool was_closed = is_closed;
    Result<Record> application = Apply(user);
    tally.Add(application);
    if (was_closed && application) ++late;
  });
  EXPECT_EQ(late, 0);
  EXPECT_EQ(tally.ok() + tally.Of(ErrorCode::kRuleViolation), 19);
  EXPECT_THAT(Apply(100), StatusIs(ErrorCode::kRuleViolation));
  EXPECT_EQ(Count("pending"), tally.ok());
}

HOLDFAST_FOR_ALL_VARIANTS(Places);

}  // namespace
}  // namespace holdfast::testing
