// Files that are not what they should be: each has its own clear error, and none is harmed.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "base/check.h"
#include "engine/sqlite/schema.h"
#include "testing/environment.h"
#include "testing/store_checks.h"

namespace holdfast::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Opening : public ::testing::Test {
 protected:
  static Result<std::unique_ptr<Store>> Open(const std::string& file) {
    return OpenStore("sqlite:" + file);
  }
  static void Execute(const std::string& file, const std::string& sql) {
    sqlite3* db = nullptr;
    HF_CHECK(sqlite3_open(file.c_str(), &db) == SQLITE_OK);
    HF_CHECK(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(db);
  }
  static void Write(const std::string& file, const std::string& bytes) {
    std::ofstream(file, std::ios::binary) << bytes;
  }
  static std::string ReadFile(const std::string& file) {
    std::ostringstream text;
    text << std::ifstream(file, std::ios::binary).rdbuf();
    return text.str();
  }

  TempDir dir_{TempDir::Where::kMemory};
  const std::string file_ = dir_.File("store.db");
};

TEST_F(Opening, ADirectoryIsNotAStore) {
  EXPECT_THAT(Open(dir_.path().string()),
              StatusIs(ErrorCode::kUnavailable, HasSubstr(dir_.path().string())));
}

TEST_F(Opening, AFolderThatIsNotThereIsNamed) {
  std::string file = dir_.File("nowhere/store.db");
  EXPECT_THAT(Open(file), StatusIs(ErrorCode::kUnavailable, HasSubstr(file)));
}

TEST_F(Opening, AFileThatIsNoDatabaseIsLeftAlone) {
  std::string text(10'000, 'x');
  Write(file_, text);
  EXPECT_THAT(Open(file_), StatusIs(ErrorCode::kCorrupt, HasSubstr(file_)));
  EXPECT_EQ(ReadFile(file_), text);
}

TEST_F(Opening, SomebodyElsesDatabaseIsLeftAlone) {
  Execute(file_, "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)");
  EXPECT_THAT(Open(file_),
              StatusIs(ErrorCode::kCorrupt, AllOf(HasSubstr(file_), HasSubstr("not a Holdfast"))));
  Execute(file_, "INSERT INTO theirs VALUES (2)");  // still good
}

TEST_F(Opening, ANewerSchemaIsRefusedAndNotTouched) {
  Must(Must(Open(file_))->Enqueue({}, {.kind = "k"}));
  Execute(file_, "PRAGMA user_version=999");
  EXPECT_THAT(Open(file_),
              StatusIs(ErrorCode::kCorrupt, AllOf(HasSubstr("999"), HasSubstr("newer"))));
  EXPECT_THAT(Open(file_), StatusIs(ErrorCode::kCorrupt));
}

TEST_F(Opening, AStoreOfAnEarlierSchemaIsBroughtUpToDateAndLosesNothing) {
  // What the first version would have left behind: a job, its queue, an entry of the trail.
  Execute(file_, "PRAGMA journal_mode=WAL; " + engine::SchemaSql(0, 1) + R"sql(
      PRAGMA application_id=1215261796; PRAGMA user_version=1;
      UPDATE counters SET last_job = 7, last_token = 9, last_audit = 3, last_time = 1000000;
      INSERT INTO queues VALUES ('default', 0, NULL, NULL, 0, 86400000000, 604800000000,
                                 0, 1, 0, 0, 0, 0);
      INSERT INTO jobs (id, queue, kind, state, priority, run_at, attempt, max_attempts, token,
                        lease_expiries, cancel_requested, created_at, unique_states, payload,
                        ready_in)
        VALUES (7, 'default', 'k', 'pending', 4, 1000000, 0, 25, 0, 0, 0, 1000000, 0, '"x"',
                'default');
      INSERT INTO audit VALUES (3, 1000000, 'ada', 'queue.set', 'queue/default', 'running',
                                'running', 0, 0, 0, '', '{}', '', 1))sql");
  std::unique_ptr<Store> store = Must(OpenStore("sqlite:" + file_, {.maintain = false}));
  EXPECT_EQ(Must(store->GetJob({}, 7))->payload, "\"x\"");
  Job oldest = Must(store->Claim({}, {.worker = "w"})).at(0);  // by the head of its queue
  EXPECT_EQ(oldest.id, 7);
  Must(store->Release({}, oldest.id, oldest.token));
  std::vector<AuditEntry> trail = Must(store->ListAudit({}, {})).items;
  ASSERT_EQ(trail.size(), 1U);
  EXPECT_EQ(trail[0].actor, "ada");
  EXPECT_EQ(trail[0].new_version, 0);
  Must(store->Apply({}, {.name = "note", .rules = "{}"}));
  EXPECT_EQ(Must(store->Create({}, {.kind = "note"})).version, 1);
  EXPECT_EQ(Must(store->Enqueue({}, {.kind = "k"})).id, 8);
  EXPECT_EQ(Must(store->Claim({}, {.worker = "w", .kinds = {"k"}})).at(0).token, 11);
  EXPECT_EQ(Must(store->Acquire({}, {.name = "l", .owner = "o"})).at(0).token, 12);
  store.reset();
  EXPECT_THAT(Open(file_), IsOk());
}

TEST_F(Opening, AnEmptyFileBecomesAStore) {
  Write(file_, "");
  std::unique_ptr<Store> store = Must(Open(file_));
  EXPECT_THAT(store->Enqueue({}, {.kind = "k"}), IsOk());
}

TEST_F(Opening, ATruncatedDatabaseIsReportedNotServed) {
  {
    std::unique_ptr<Store> store = Must(Open(file_));
    Batch batch;
    for (int i = 0; i < 1'000; ++i) batch.operations.push_back(EnqueueJob{{.kind = "k"}});
    Must(store->Commit({}, std::move(batch)));
  }
  std::filesystem::resize_file(file_, std::filesystem::file_size(file_) / 2);
  Result<std::unique_ptr<Store>> store = Open(file_);
  if (!store) {
    EXPECT_THAT(store, StatusIs(ErrorCode::kCorrupt));
    return;
  }
  // It may open, but the pages that are missing are an error and not an empty answer.
  EXPECT_THAT((*store)->ListJobs({}, {.limit = 1'000}), StatusIs(ErrorCode::kCorrupt));
}

TEST_F(Opening, ManyProcessesMayCreateTheSameFileAtOnce) {
  std::vector<Result<std::unique_ptr<Store>>> stores(8);
  {
    std::vector<std::jthread> threads;
    for (auto& store : stores) threads.emplace_back([&] { store = Open(file_); });
  }
  for (auto& store : stores) {
    ASSERT_THAT(store, IsOk());
    EXPECT_THAT((*store)->Enqueue({}, {.kind = "k"}), IsOk());
  }
  EXPECT_EQ(Must(stores[0]->get()->GetQueue({}, "default"))->Waiting(), 8);
}

}  // namespace
}  // namespace holdfast::testing
