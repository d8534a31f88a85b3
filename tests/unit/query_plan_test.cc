// No statement of the SQLite engine's writer reads a table that grows from end to end.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/sqlite/connection.h"
#include "engine/sqlite/schema.h"
#include "engine/sqlite/transaction.h"
#include "testing/environment.h"

namespace holdfast::engine {
namespace {

// A store has few queues, one row of counters, and a session for each process that waits. The
// oldest audit entries are read up to a limit.
constexpr std::string_view kMayBeScanned[] = {"SCAN queues",          "SCAN counters",
                                              "SCAN audit",           "SCAN lock_sessions",
                                              "SEARCH lock_sessions", "SCAN CONSTANT ROW"};

bool IsWholeScan(std::string_view step) {
  // A min() that no index serves is called a search, but one that uses nothing.
  const bool is_search = step.starts_with("SEARCH ") && !step.contains(" USING ");
  if (!step.starts_with("SCAN ") && !is_search) return false;
  for (std::string_view allowed : kMayBeScanned) {
    if (step.starts_with(allowed)) return false;
  }
  return true;
}

/// The steps of every statement that is prepared on the connection, each after its SQL.
std::vector<std::pair<std::string, std::string>> PlansOf(Connection& connection) {
  std::vector<std::string> texts;
  sqlite3_stmt* next = nullptr;
  while ((next = sqlite3_next_stmt(connection.handle(), next)) != nullptr) {
    texts.emplace_back(sqlite3_sql(next));
  }
  std::vector<std::pair<std::string, std::string>> plans;
  for (const std::string& text : texts) {
    Statement explain;
    EXPECT_TRUE(explain.Prepare(connection, "EXPLAIN QUERY PLAN " + text)) << text;
    for (Result<bool> row = explain.Step(); row && *row; row = explain.Step()) {
      plans.emplace_back(text, explain.Text(3));
    }
  }
  return plans;
}

class QueryPlan : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string path = folder_.File("plan.db");
    auto opened = Connection::Open(path, Connection::Mode::kReadWrite);
    ASSERT_TRUE(opened);
    connection_ = *std::move(opened);
    ASSERT_TRUE(Migrate(*connection_, path));
    ASSERT_TRUE(Configure(*connection_, Connection::Mode::kReadWrite));
  }

  holdfast::testing::TempDir folder_{holdfast::testing::TempDir::Where::kMemory};
  std::unique_ptr<Connection> connection_;
};

TEST_F(QueryPlan, TheWriterScansNoTableThatGrows) {
  const base::EngineClock clock(Clock::System(), {});
  Transaction transaction;
  ASSERT_TRUE(transaction.Prepare(*connection_, clock));
  auto plans = PlansOf(*connection_);
  ASSERT_GE(plans.size(), 15U);
  for (const auto& [text, step] : plans) EXPECT_FALSE(IsWholeScan(step)) << step << ": " << text;
}

TEST_F(QueryPlan, AScanIsRecognised) {
  // The partial index cannot serve it: this is what once made every round read all jobs.
  Statement scan;
  ASSERT_TRUE(scan.Prepare(*connection_, "SELECT min(due_at) FROM jobs"));
  bool found = false;
  for (const auto& [text, step] : PlansOf(*connection_)) found |= IsWholeScan(step);
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace holdfast::engine
