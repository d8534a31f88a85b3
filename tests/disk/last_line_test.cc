// The constraints of the schema: the last line, behind the rules. What breaks one of them is taken
// back alone, whoever tried it.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <future>

#include "testing/environment.h"
#include "testing/store_checks.h"

namespace holdfast::testing {
namespace {

class LastLine : public ::testing::Test {
 protected:
  LastLine() : store_(Must(OpenStore("sqlite:" + file_, {.maintain = false}))) {
    sqlite3_open(file_.c_str(), &db_);
    sqlite3_busy_timeout(db_, 10'000);
  }
  ~LastLine() override { sqlite3_close(db_); }

  /// What somebody else with the file might do to it: empty if it was done.
  std::string Execute(const std::string& sql) {
    if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) return "";
    return sqlite3_errmsg(db_);
  }

  TempDir dir_{TempDir::Where::kMemory};
  const std::string file_ = dir_.File("store.db");
  std::unique_ptr<Store> store_;
  sqlite3* db_ = nullptr;
};

TEST_F(LastLine, AConstraintTakesItsBatchBackAlone) {
  ASSERT_EQ(Execute("CREATE TRIGGER no_boom BEFORE INSERT ON jobs WHEN NEW.kind = 'boom' "
                    "BEGIN SELECT RAISE(ABORT, 'boom'); END"),
            "");
  std::vector<Batch> batches(3);
  batches[0].operations = {EnqueueJob{{.kind = "first"}}};
  batches[1].operations = {EnqueueJob{{.kind = "good"}},
                           SetQueue{.name = "default", .paused = true},
                           EnqueueJob{{.kind = "boom"}}};
  batches[2].operations = {EnqueueJob{{.kind = "last"}}};
  std::vector<Result<Receipt>> results = store_->CommitMany({}, batches);
  EXPECT_THAT(results.at(0), IsOk());
  EXPECT_THAT(results.at(1), StatusIs(ErrorCode::kInternal));
  EXPECT_THAT(results.at(2), IsOk());
  std::vector<std::string> kinds;
  for (const Job& job : ListAllJobs(*store_)) kinds.push_back(job.kind);
  EXPECT_EQ(kinds, (std::vector<std::string>{"first", "last"}));
  EXPECT_FALSE(Must(store_->GetQueue({}, "default"))->paused);
  EXPECT_TRUE(Must(store_->ListAudit({}, {})).items.empty());
  ExpectCountsToBeExact(*store_);
  EXPECT_THAT(store_->CheckHealth(), IsOk());
}

TEST_F(LastLine, JOB_10_TheDatabaseItselfRefusesASecondHolderOfAUniqueKey) {
  Must(store_->Enqueue({}, {.kind = "k", .unique = UniqueKey{.key = "u"}}));
  JobId other = Must(store_->Enqueue({}, {.kind = "k", .unique = UniqueKey{.key = "v"}})).id;
  EXPECT_THAT(Execute("UPDATE jobs SET held_unique_key = 'u' WHERE id = " + std::to_string(other)),
              ::testing::HasSubstr("UNIQUE"));
}

TEST_F(LastLine, AWriterLooksOnlyWhenItHasTheFileToItself) {
  ASSERT_EQ(Execute("BEGIN IMMEDIATE"), "");
  auto added = std::async(std::launch::async, [&] { return store_->Enqueue({}, {.kind = "k"}); });
  // It is not refused, and has not read what is about to change.
  EXPECT_EQ(added.wait_for(std::chrono::milliseconds(400)), std::future_status::timeout);
  EXPECT_EQ(Execute("UPDATE counters SET last_job = last_job + 10"), "");
  EXPECT_EQ(Execute("COMMIT"), "");
  EXPECT_EQ(Must(added.get()).id, 11);
}

TEST_F(LastLine, JOB_1_TheDatabaseItselfRefusesWhatNoJobCanBe) {
  Job job = Must(store_->Enqueue({}, {.kind = "k"}));
  for (const char* change :
       {"state = 'bogus'", "state = 'processing'", "state = 'completed'", "priority = 10",
        "priority = -1", "attempt = 26", "attempt = -1", "finished_at = 1", "lease_expires_at = 1",
        "cancel_requested = 2", "payload = NULL", "kind = NULL", "id = 'x'"}) {
    EXPECT_NE(Execute("UPDATE jobs SET " + std::string(change)), "") << change;
  }
  EXPECT_NE(Execute("UPDATE queues SET pending = -1"), "");
  EXPECT_NE(Execute("UPDATE queues SET paused = 2"), "");
  EXPECT_EQ(Must(store_->GetJob({}, job.id)), job);
  // Nor is it by accident that they were all refused.
  EXPECT_EQ(Execute("UPDATE jobs SET priority = 9"), "");
}

TEST_F(LastLine, LOCK_1_TheDatabaseItselfRefusesASecondExclusiveHolder) {
  LockGrant grant = Must(store_->Acquire({}, {.name = "l", .owner = "ada"})).front();
  const std::string token = std::to_string(grant.token + 1);
  const std::string second =
      "INSERT INTO lock_holders SELECT name, slot, " + token +
      ", 'bob', mode, holder_limit, ttl_us, lock_delay_us, acquired_at, expires_at, waited_us, "
      "ticket, is_delay, due_at FROM lock_holders";
  EXPECT_THAT(Execute(second), ::testing::HasSubstr("UNIQUE"));
  EXPECT_THAT(Execute("UPDATE lock_holders SET slot = 1"), ::testing::HasSubstr("CHECK"));
  EXPECT_THAT(Execute("UPDATE lock_holders SET mode = 'other'"), ::testing::HasSubstr("CHECK"));
}

TEST_F(LastLine, LOCK_3_ABatchThatIsTakenBackLeavesNoLeaseAndNoWait) {
  ASSERT_EQ(Execute("CREATE TRIGGER no_boom BEFORE INSERT ON lock_holders WHEN NEW.owner = 'boom' "
                    "BEGIN SELECT RAISE(ABORT, 'boom'); END"),
            "");
  LockGrant grant = Must(store_->Acquire({}, {.name = "a", .owner = "ada"})).front();
  EXPECT_THAT(store_->Commit({}, {.operations = {ReleaseLock{"a", grant.token},
                                                 AcquireLock{.name = "b", .owner = "boom"}}}),
              StatusIs(ErrorCode::kInternal));
  // What is kept in memory is as it was, too.
  EXPECT_EQ(Must(store_->GetLock({}, "a")).holders.at(0).token, grant.token);
  EXPECT_THAT(store_->Acquire({}, {.name = "a", .owner = "bob"}), StatusIs(ErrorCode::kBusy));
  EXPECT_THAT(store_->Release({}, {"a", grant.token}), IsOk());
  EXPECT_THAT(store_->Acquire({}, {.name = "b", .owner = "bob"}), IsOk());
}

}  // namespace
}  // namespace holdfast::testing
