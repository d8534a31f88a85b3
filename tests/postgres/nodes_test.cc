// Several nodes on one database, as far as the suites of all engines do not show it: opening,
// migrating, settings, enqueueing from SQL, limits and locks across nodes.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <future>
#include <set>
#include <thread>

#include "holdfast/holdfast.h"
#include "postgres/other_session.h"
#include "testing/matchers.h"
#include "testing/private_postgres.h"
#include "testing/store_checks.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

class Nodes : public ::testing::Test {
 protected:
  std::unique_ptr<Store> Open(const std::string& more = "") {
    return Must(OpenStore(schema_.url() + more, {.maintain = false}));
  }
  std::vector<std::vector<std::string>> Sql(std::string text) {
    for (std::size_t at = 0; (at = text.find("$.", at)) != std::string::npos;) {
      text.replace(at, 2, schema_.name() + ".");
    }
    return schema_.server().Execute(text);
  }

  /// Who waits for this session, or for one that does.
  std::size_t CountBlockedBy(const OtherSession& holder) {
    return Sql(fmt::format("WITH RECURSIVE blocked (pid) AS (SELECT {} UNION SELECT a.pid FROM "
                           "pg_stat_activity a JOIN blocked b ON b.pid = ANY "
                           "(pg_blocking_pids(a.pid))) SELECT pid FROM blocked",
                           holder.number()))
               .size() -
           1;
  }

  PostgresSchema schema_;
};

TEST_F(Nodes, MayAllCreateTheSchemaAtOnce) {
  std::vector<std::future<std::unique_ptr<Store>>> opening;
  for (int i = 0; i < 10; ++i) {
    opening.push_back(std::async(std::launch::async, [&] { return Open("&lanes=1"); }));
  }
  std::set<JobId> ids;
  for (auto& store : opening) ids.insert(Must(store.get()->Enqueue({}, {.kind = "k"})).id);
  EXPECT_EQ(ids.size(), 10U);
}

TEST_F(Nodes, BadUrlsAreRefusedByName) {
  for (auto [more, complaint] : {std::pair("&schema=Upper", "schema=Upper"),
                                 {"&lanes=0", "lanes=0"},
                                 {"&prepare=maybe", "prepare=maybe"},
                                 {"&lossy=yes", "lossy=yes"}}) {
    EXPECT_THAT(OpenStore(schema_.url() + more),
                StatusIs(ErrorCode::kInvalidArgument, HasSubstr(complaint)));
  }
  EXPECT_THAT(OpenStore("postgres://nobody:secret@127.0.0.1:1/x"),
              StatusIs(ErrorCode::kUnavailable, ::testing::Not(HasSubstr("secret"))));
}

TEST_F(Nodes, AServerThatMayLoseCommitsIsRefusedUnlessItIsAskedFor) {
  for (std::string setting :
       {"fsync = off", "full_page_writes = off", "synchronous_commit = off"}) {
    PrivatePostgres server({.settings = {setting}});
    EXPECT_THAT(OpenStore(server.Url("s")),
                StatusIs(ErrorCode::kUnavailable, HasSubstr(setting.substr(0, setting.find(' ')))));
    EXPECT_THAT(OpenStore(server.Url("s") + "&lossy=allow"), IsOk());
  }
}

TEST_F(Nodes, AServerThatIsReadOnlyIsRefused) {
  PrivatePostgres server;
  server.Execute("ALTER ROLE holdfast SET default_transaction_read_only = on");
  EXPECT_THAT(OpenStore(server.Url("s")),
              StatusIs(ErrorCode::kUnavailable, HasSubstr("standby or read-only")));
}

TEST_F(Nodes, REC_3_AKeyThatIsTakenIsNamedToItsBatchAloneOfAGroup) {
  auto store = Open("&lanes=1");
  Must(store->Apply({}, {.name = "room", .rules = R"({"unique":["/guest"]})"}));
  Must(store->Create({}, {.kind = "room", .id = "1", .data = R"({"guest":"ada"})"}));
  std::vector<Batch> batches;
  for (std::string id : {"2", "3", "4"}) {
    const std::string guest = id == "3" ? "ada" : "guest of " + id;
    batches.push_back({.operations = {CreateRecord{
                           .kind = "room", .id = id, .data = R"({"guest":")" + guest + "\"}"}}});
  }
  std::vector<Result<Receipt>> answers = store->CommitMany({}, batches);
  EXPECT_THAT(answers[0], IsOk());
  EXPECT_THAT(answers[1], StatusIs(ErrorCode::kAlreadyExists, HasSubstr("room/1")));
  EXPECT_THAT(answers[2], IsOk());
}

/// In one transaction: room/2 would take the key that room/1 has, and then `gone` is deleted.
std::vector<Result<Receipt>> TakeAHeldKeyAndDelete(Store& store, const std::string& gone) {
  Must(store.Apply({}, {.name = "room", .rules = R"({"unique":["/guest"]})"}));
  Must(store.Create({}, {.kind = "room", .id = "1", .data = R"({"guest":"ada"})"}));
  std::vector<Batch> batches(2);
  batches[0].operations.emplace_back(
      CreateRecord{.kind = "room", .id = "2", .data = R"({"guest":"ada"})"});
  batches[1].operations.emplace_back(DeleteRecord{{"room", gone}});
  return store.CommitMany({}, batches);
}

TEST_F(Nodes, REC_3_AKeyThatIsGivenUpLaterInAGroupIsNotFreeBefore) {
  auto store = Open("&lanes=1");
  const std::vector<Result<Receipt>> answers = TakeAHeldKeyAndDelete(*store, "1");
  EXPECT_THAT(answers[0], StatusIs(ErrorCode::kAlreadyExists, HasSubstr("room/1")));
  EXPECT_THAT(answers[1], IsOk());
  // Nobody has it now, and then one.
  auto take = [&](const std::string& id) {
    return store->Create({}, {.kind = "room", .id = id, .data = R"({"guest":"ada"})"});
  };
  EXPECT_THAT(take("2"), IsOk());
  EXPECT_THAT(take("3"), StatusIs(ErrorCode::kAlreadyExists, HasSubstr("room/2")));
}

TEST_F(Nodes, REC_3_AKeyThatIsGivenUpAtOnceWasNotFreeBefore) {
  auto store = Open("&lanes=1");
  const std::vector<Result<Receipt>> answers = TakeAHeldKeyAndDelete(*store, "2");
  EXPECT_THAT(answers[0], StatusIs(ErrorCode::kAlreadyExists, HasSubstr("room/1")));
  EXPECT_THAT(answers[1], StatusIs(ErrorCode::kNotFound, HasSubstr("room/2")));
}

TEST_F(Nodes, ANewerSchemaIsLeftAlone) {
  Open();
  Sql("UPDATE $.holdfast_meta SET value = '999' WHERE name = 'schema'");
  EXPECT_THAT(OpenStore(schema_.url()), StatusIs(ErrorCode::kCorrupt, HasSubstr("schema 999")));
}

TEST_F(Nodes, WorkWithoutPreparedStatementsAndWithoutNotifications) {
  auto store = Open("&prepare=off&notify=off&lanes=2");
  const JobId id = Must(store->Enqueue({}, {.kind = "k", .payload = R"({"a":"ö"})"})).id;
  std::vector<Job> jobs = Must(store->Claim({}, {.worker = "w"}));
  ASSERT_EQ(jobs.size(), 1U);
  EXPECT_EQ(Must(store->Complete({}, id, jobs.front().token)).state, JobState::kCompleted);
}

TEST_F(Nodes, AJobIsEnqueuedFromSqlIfItsTransactionCommits) {
  auto store = Open();
  Must(store->Set({}, {.name = "mail", .max_pending = 2}));
  Sql("BEGIN; SELECT $.enqueue('gone'); ROLLBACK");
  Sql(R"(SELECT $.enqueue('receipt', '{"order": 17}', queue => 'mail'))");
  Sql("SELECT $.enqueue('later', queue => 'mail', run_at => now() + interval '1 hour')");
  EXPECT_THROW(Sql("SELECT $.enqueue('more', queue => 'mail')"), std::runtime_error);
  EXPECT_THROW(Sql("SELECT $.enqueue('no spaces')"), std::runtime_error);
  std::vector<Job> jobs = Must(store->Claim({}, {.worker = "w", .max = 10}));
  ASSERT_EQ(jobs.size(), 1U);
  EXPECT_EQ(jobs.front().kind, "receipt");
  EXPECT_EQ(jobs.front().payload, R"({"order": 17})");
  EXPECT_EQ(Must(store->GetQueue({}, "mail"))->CountOf(JobState::kScheduled), 1);
  EXPECT_EQ(ListAllJobs(*store).size(), 2U);
  ExpectCountsToBeExact(*store);
}

TEST_F(Nodes, IDEM_1_OfTwoThatFoundAKeyFreeOneExecutes) {
  auto first = Open("&lanes=1");
  auto second = Open("&lanes=1");
  OtherSession holder(schema_.server(), "holdfast", "holder");
  holder.Run("BEGIN");
  holder.Run(
      fmt::format("INSERT INTO {}.idempotency VALUES ('key', '', '', now())", schema_.name()));
  auto commit = [](Store& store) {
    return std::async(std::launch::async, [&store] {
      return store.Commit({},
                          {.operations = {EnqueueJob{{.kind = "k"}}}, .idempotency_key = "key"});
    });
  };
  auto one = commit(*first);
  auto other = commit(*second);
  // Both have looked, and now want to store their answer.
  ASSERT_TRUE(WaitUntilTrue([&] { return CountBlockedBy(holder) == 2; }));
  holder.Run("ROLLBACK");
  EXPECT_NE(Must(one.get()).replayed, Must(other.get()).replayed);
  EXPECT_EQ(ListAllJobs(*first).size(), 1U);
}

TEST_F(Nodes, JOB_3_AClaimNeverWaitsForARowThatSomebodyHolds) {
  auto store = Open();
  const Job held = Must(store->Enqueue({}, {.kind = "k"}));
  const Job free = Must(store->Enqueue({}, {.kind = "k"}));
  OtherSession holder(schema_.server(), "holdfast", "holder");
  holder.Run("BEGIN");
  holder.Run(fmt::format("SELECT FROM {}.jobs WHERE id = {} FOR UPDATE", schema_.name(), held.id));
  auto claim = std::async(std::launch::async, [&] {
    return Must(store->Claim({}, {.worker = "w", .queues = {"default"}, .max = 2}));
  });
  auto is_claimed = [&] { return claim.wait_for(seconds(0)) == std::future_status::ready; };
  ASSERT_TRUE(WaitUntilTrue([&] { return is_claimed() || CountBlockedBy(holder) > 0; }));
  EXPECT_TRUE(is_claimed()) << "the claim waits";
  holder.Run("ROLLBACK");
  const std::vector<Job> jobs = claim.get();
  ASSERT_EQ(jobs.size(), 1U);
  EXPECT_EQ(jobs.front().id, free.id);
}

// K2: the grant comes after the wait for the row of the limited queue, and so does its token.
TEST_F(Nodes, JOB_4_ATokenIsDrawnAfterTheLastRowThatItsGrantNeeds) {
  auto here = Open();
  auto there = Open();
  Must(here->Set({}, {.name = "limited", .max_running = 1}));
  Must(here->Enqueue({}, {.kind = "k", .queue = "limited"}));
  Must(here->Enqueue({}, {.kind = "k", .queue = "free"}));
  for (const std::vector<std::string>& queues : {std::vector<std::string>{"limited"}, {}}) {
    OtherSession holder(schema_.server(), "holdfast", "holder");
    holder.Run("BEGIN");
    holder.Run(
        fmt::format("SELECT FROM {}.queues WHERE name = 'limited' FOR UPDATE", schema_.name()));
    Must(there->Set({}, {.name = "free", .paused = true}));
    auto claim = std::async(std::launch::async, [&] {
      const ClaimRequest request{.worker = "late", .queues = queues, .wait = seconds(30)};
      return Must(here->Claim({}, request)).at(0);
    });
    ASSERT_TRUE(WaitUntilTrue([&] { return CountBlockedBy(holder) > 0; }));
    Must(there->Set({}, {.name = "free", .paused = false}));
    const Job early = Must(there->Claim({}, {.worker = "early", .queues = {"free"}})).at(0);
    holder.Run("ROLLBACK");
    const Job late = claim.get();
    EXPECT_EQ(late.queue, "limited");
    EXPECT_GT(late.token, early.token);
    Must(here->Release({}, late.id, late.token));
    Must(there->Release({}, early.id, early.token));
  }
}

// Otherwise a change that found the lock free would land in the middle of the new holder's work.
TEST_F(Nodes, LOCK_8_TheLockOfARecordWaitsForAChangeThatIsUnderWay) {
  auto store = Open();
  Must(store->Apply({}, {.name = "counter", .rules = "{}"}));
  Must(store->Create({}, {.kind = "counter", .id = "a", .data = R"({"n":0})"}));
  OtherSession change(schema_.server(), "holdfast", "change");
  change.Run("BEGIN");
  change.Run(
      fmt::format("SELECT FROM {}.records WHERE id = 'a' FOR NO KEY UPDATE", schema_.name()));
  auto acquire = std::async(std::launch::async, [&] {
    return Must(store->Acquire({}, {.name = LockNameOf({"counter", "a"}), .owner = "o"}));
  });
  auto is_granted = [&] { return acquire.wait_for(seconds(0)) == std::future_status::ready; };
  ASSERT_TRUE(WaitUntilTrue([&] { return is_granted() || CountBlockedBy(change) > 0; }));
  EXPECT_FALSE(is_granted());
  change.Run("ROLLBACK");
  EXPECT_EQ(acquire.get().size(), 1U);
}

// Claims of one group must not take from each other what each alone would have got.
class ClaimGroups : public Nodes {
 protected:
  /// What these claims get from one transaction: they come while the lane of claims waits for the
  /// row of a limited queue, which an outsider holds.
  std::vector<std::vector<Job>> ClaimTogether(Store& store, std::vector<ClaimRequest> requests) {
    Must(store.Set({}, {.name = "held", .max_running = 1}));
    Must(store.Enqueue({}, {.kind = "held", .queue = "held", .priority = 9}));
    OtherSession holder(schema_.server(), "holdfast", "holder");
    holder.Run("BEGIN");
    holder.Run(fmt::format("SELECT FROM {}.queues WHERE name = 'held' FOR UPDATE", schema_.name()));
    auto claim = [&store](const ClaimRequest& request) {
      auto answer = std::make_shared<std::promise<std::vector<Job>>>();
      store.ClaimAsync({}, request, [answer](auto jobs) { answer->set_value(Must(jobs)); });
      return answer->get_future();
    };
    auto first = claim({.worker = "w", .queues = {"held"}});
    EXPECT_TRUE(WaitUntilTrue([&] { return CountBlockedBy(holder) == 1; }));
    std::vector<std::future<std::vector<Job>>> answers;
    for (const ClaimRequest& request : requests) answers.push_back(claim(request));
    holder.Run("ROLLBACK");
    first.get();
    std::vector<std::vector<Job>> jobs;
    for (auto& answer : answers) jobs.push_back(answer.get());
    return jobs;
  }
};

TEST_F(ClaimGroups, JOB_3_AClaimOfANamedQueueGetsItsJobBesideOneOfAnyQueue) {
  auto store = Open("&lanes=1");
  for (int i = 0; i < 30; ++i) {
    Must(store->Enqueue({}, {.kind = "k", .queue = fmt::format("q{}", i), .priority = 0}));
  }
  Must(store->Enqueue({}, {.kind = "k", .queue = "named"}));
  const auto jobs =
      ClaimTogether(*store, {{.worker = "any"}, {.worker = "named", .queues = {"named"}}});
  EXPECT_EQ(jobs[0].size(), 1U);
  EXPECT_EQ(jobs[1].size(), 1U);
}

TEST_F(ClaimGroups, JOB_3_AClaimOfAKindGetsJobsBesideOneOfEveryKind) {
  auto store = Open("&lanes=1");
  for (int i = 0; i < 10; ++i) Must(store->Enqueue({}, {.kind = "k", .queue = "q"}));
  const auto jobs =
      ClaimTogether(*store, {{.worker = "a", .queues = {"q"}, .max = 5},
                             {.worker = "b", .queues = {"q"}, .kinds = {"k"}, .max = 5}});
  EXPECT_EQ(jobs[0].size(), 5U);
  EXPECT_EQ(jobs[1].size(), 5U);
}

TEST_F(Nodes, JOB_11_ALimitHoldsAcrossNodes) {
  auto one = Open();
  auto two = Open();
  Must(one->Set({}, {.name = "q", .max_pending = 50, .max_running = 5}));
  std::atomic<int> made = 0;
  std::atomic<int> refused = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 10; ++i) {
      threads.emplace_back([&, i] {
        for (int n = 0; n < 10; ++n) {
          Result<Job> job = (i % 2 == 0 ? one : two)->Enqueue({}, {.kind = "k", .queue = "q"});
          if (!job) {
            EXPECT_EQ(job.error().code, ErrorCode::kQueueFull);
          }
          ++(job ? made : refused);
        }
      });
    }
  }
  EXPECT_EQ(made, 50);
  EXPECT_EQ(refused, 50);
  std::atomic<int> claimed = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 10; ++i) {
      threads.emplace_back([&, i] {
        ClaimRequest request{.worker = "w", .queues = {"q"}, .max = 3};
        claimed += static_cast<int>(Must((i % 2 == 0 ? one : two)->Claim({}, request)).size());
      });
    }
  }
  EXPECT_EQ(claimed, 5);
}

TEST_F(Nodes, LOCK_2_AWaiterOnAnotherNodeIsWokenAtOnce) {
  auto one = Open();
  auto two = Open();
  for (int i = 0; i < 5; ++i) {
    LockGrant grant = Must(one->Acquire({}, {.name = "l", .owner = "ada"})).front();
    auto waiting = std::async(std::launch::async, [&] {
      return Must(two->Acquire({}, {.name = "l", .owner = "bob", .wait = seconds(30)})).front();
    });
    ASSERT_TRUE(WaitUntilTrue([&] { return !Must(one->GetLock({}, "l")).waiters.empty(); }));
    Must(one->Release({}, {.name = "l", .token = grant.token}));
    LockGrant next = waiting.get();
    EXPECT_GT(next.token, grant.token);
    Must(two->Release({}, {.name = "l", .token = next.token}));
  }
}

// Each request has looked before the other is written: an outsider keeps both from writing until
// then.
TEST_F(Nodes, LOCK_7_ACycleThatTwoNodesCloseAtOnceIsFound) {
  auto one = Open("&lanes=1");
  auto two = Open("&lanes=1");
  OtherSession holder(schema_.server(), "holdfast", "holder");
  const Token a = Must(one->Acquire({}, {.name = "a", .owner = "ada"})).front().token;
  const Token b = Must(two->Acquire({}, {.name = "b", .owner = "bob"})).front().token;
  holder.Run("BEGIN");
  holder.Run(fmt::format("LOCK TABLE {}.lock_waiters IN SHARE MODE", schema_.name()));
  auto wait = [](Store& store, std::string name, std::string owner) {
    return std::async(std::launch::async, [&store, name, owner] {
      return store.Acquire({}, {.name = name, .owner = owner, .wait = seconds(10)});
    });
  };
  auto ada = wait(*one, "b", "ada");
  auto bob = wait(*two, "a", "bob");
  ASSERT_TRUE(WaitUntilTrue([&] { return CountBlockedBy(holder) == 2; }));
  holder.Run("ROLLBACK");
  // The one that is refused releases what it holds, and the other one gets it.
  auto is_over = [](auto& call) { return call.wait_for(seconds(0)) == std::future_status::ready; };
  ASSERT_TRUE(WaitUntilTrue([&] { return is_over(ada) || is_over(bob); }));
  const bool is_ada_refused = is_over(ada);
  EXPECT_THAT(is_ada_refused ? ada.get() : bob.get(),
              StatusIs(ErrorCode::kDeadlock, HasSubstr("")));
  if (is_ada_refused) {
    Must(one->Release({}, {.name = "a", .token = a}));
  } else {
    Must(two->Release({}, {.name = "b", .token = b}));
  }
  EXPECT_THAT(is_ada_refused ? bob.get() : ada.get(), IsOk());
}

// Ids come from ranges, one for each node and each call of enqueue: they do not rise with time.
TEST_F(Nodes, JOB_1_ABatchMayTouchJobsWithHigherIdsThanTheNewOnes) {
  auto one = Open("&lanes=1");
  auto two = Open("&lanes=1");
  const JobId first = Must(one->Enqueue({}, {.kind = "k"})).id;
  const JobId of_two = Must(two->Enqueue({}, {.kind = "k"})).id;
  const JobId of_sql = std::stoll(Sql("SELECT $.enqueue('k')").at(0).at(0));
  ASSERT_LT(first, of_two);
  ASSERT_LT(of_two, of_sql);
  for (const Job& job : Must(one->Claim({}, {.worker = "w", .max = 3}))) {
    Receipt receipt =
        Must(one->Commit({}, {.operations = {CompleteJob{job.id, job.token},
                                             EnqueueJob{{.kind = "next", .parent = of_sql}},
                                             EnqueueJob{{.kind = "next", .parent = job.id}}}}));
    EXPECT_LT(receipt.results[2].job->id, of_two);
    EXPECT_EQ(receipt.results[2].job->parent, job.id);
  }
  EXPECT_EQ(Must(two->GetQueue({}, "default"))->CountOf(JobState::kPending), 6);
  ExpectCountsToBeExact(*two);
}

// What a record's lock is decided by is looked at before the record is written. The trigger holds
// the create up between the two.
TEST_F(Nodes, LOCK_8_TheLockOfARecordThatIsBeingCreatedWaitsForIt) {
  auto one = Open("&lanes=1");
  auto two = Open("&lanes=1");
  Must(one->Apply({}, {.name = "note", .rules = "{}"}));
  OtherSession holder(schema_.server(), "holdfast", "holder");
  holder.Run("SELECT pg_advisory_lock(4711)");
  Sql("CREATE FUNCTION $.hold_up() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN WHILE NOT "
      "pg_try_advisory_xact_lock(4711) LOOP PERFORM pg_sleep(0.002); END LOOP; RETURN new; END'; "
      "CREATE TRIGGER hold_up BEFORE INSERT ON $.records FOR EACH ROW EXECUTE FUNCTION "
      "$.hold_up()");
  std::atomic<bool> is_created = false;
  auto created = std::async(std::launch::async, [&] {
    auto record = one->Create({}, {.kind = "note", .id = "a"});
    is_created = true;
    return record;
  });
  ASSERT_TRUE(WaitUntilTrue([&] {
    return Sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'").at(0).at(0) !=
           "0";
  }));
  std::atomic<bool> is_locked = false;
  auto locked = std::async(std::launch::async, [&] {
    auto grants = two->Acquire({}, {.name = "record:note/a", .owner = "bob"});
    is_locked = true;
    return grants;
  });
  ASSERT_TRUE(WaitUntilTrue([&] {
    return is_locked ||
           Sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'").at(0).at(0) !=
               "0";
  }));
  EXPECT_FALSE(is_locked) << "the record would be created under the lock";
  holder.Run("SELECT pg_advisory_unlock(4711)");
  EXPECT_THAT(created.get(), IsOk());
  EXPECT_THAT(locked.get(), IsOk());
}

TEST_F(Nodes, JOB_6_EveryNodeMayDoTheMaintenanceAndNothingIsDoneTwice) {
  auto one = Open();
  auto two = Open();
  std::vector<Job> jobs;
  for (int i = 0; i < 200; ++i) Must(one->Enqueue({}, {.kind = "k", .run_at = Time()}));
  const ClaimRequest request{.worker = "w", .max = 200, .lease = std::chrono::milliseconds(100)};
  ASSERT_EQ(Must(one->Claim({}, request)).size(), 200U);
  std::atomic<std::int64_t> expired = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      while (expired < 200) {
        expired += Must((i % 2 == 0 ? one : two)->Maintain({})).expired;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(expired, 200);
  EXPECT_EQ(Must(one->GetQueue({}, "default"))->CountOf(JobState::kPending), 200);
}

TEST_F(Nodes, ASchemaOfAnEarlierVersionIsMigratedWithWhatIsInIt) {
  Must(Open()->Enqueue({}, {.kind = "k"}));
  // As version 1 had it.
  Sql("DROP INDEX $.jobs_ready_kind; DROP INDEX $.jobs_running; CREATE INDEX jobs_running ON "
      "$.jobs (id) WHERE is_running; "
      "DO 'DECLARE row_type regtype; BEGIN FOR row_type IN SELECT oid::regtype FROM pg_type WHERE "
      "typnamespace = ''" +
      schema_.name() +
      "''::regnamespace AND typtype = ''c'' AND typname LIKE ''%_row'' LOOP "
      "EXECUTE format(''DROP TYPE %s'', row_type); END LOOP; END'; "
      "UPDATE $.holdfast_meta SET value = '1' WHERE name = 'schema'");
  auto store = Open();
  EXPECT_EQ(Must(store->Claim({}, {.worker = "w"})).size(), 1U);
  EXPECT_THAT(Sql("SELECT indexdef FROM pg_indexes WHERE schemaname = '" + schema_.name() +
                  "' AND indexname = 'jobs_running'")
                  .at(0)
                  .at(0),
              HasSubstr("(token)"));
  EXPECT_EQ(Sql("SELECT to_regclass('$.commits') IS NULL, to_regproc('$.has_changed') IS NULL, "
                "value FROM $.holdfast_meta WHERE name = 'schema'")
                .at(0),
            (std::vector<std::string>{"t", "t", "6"}));
}

TEST_F(Nodes, JOB_11_CountsStayExactWhenTheirSlotsAreFolded) {
  constexpr int kJobs = 3300;  // a connection counts in a new slot after 200 commits
  auto store = Open("&lanes=1");
  for (int i = 0; i < kJobs; ++i) Must(store->Enqueue({}, {.kind = "k"}));
  const std::string slots_left = "SELECT count(*) FROM $.queue_counts WHERE slot >= 128";
  EXPECT_GE(std::stoi(Sql(slots_left).at(0).at(0)), 15);
  Must(store->Maintain({}));
  EXPECT_EQ(Sql(slots_left).at(0).at(0), "0");
  EXPECT_EQ(Must(store->GetQueue({}, "default"))->CountOf(JobState::kPending), kJobs);
  Must(store->Enqueue({}, {.kind = "k"}));
  EXPECT_EQ(Must(store->GetQueue({}, "default"))->CountOf(JobState::kPending), kJobs + 1);
}

}  // namespace
}  // namespace holdfast::testing
