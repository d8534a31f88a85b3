// The yardstick: a job's life cycle written by hand with the SQLite C API, on the tables, indexes
// and settings of the sqlite engine.
#include "cli/bench_raw.h"

#include <fmt/format.h>

#include "base/result.h"
#include "cli/bench.h"
#include "engine/sqlite/schema.h"

namespace holdfast::cli {
namespace {

constexpr const char* kPragmas =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;"
    "PRAGMA cache_size=-16384; PRAGMA wal_autocheckpoint=4096";

}  // namespace

Result<void> RawDatabase::Open(const std::string& path) {
  sqlite3* db = nullptr;
  int code = sqlite3_open(path.c_str(), &db);
  db_.reset(db);
  if (code != SQLITE_OK) return Broken();
  HF_RETURN_IF_ERROR(Execute(kPragmas));
  return Execute(std::string(engine::SchemaSql()).c_str());
}

Result<void> RawDatabase::PrepareAll(
    std::initializer_list<std::pair<RawStatement*, const char*>> statements) {
  for (const auto& [statement, sql] : statements) {
    sqlite3_stmt* raw = nullptr;
    if (sqlite3_prepare_v2(db_.get(), sql, -1, &raw, nullptr) != SQLITE_OK) return Broken();
    statement->reset(raw);
  }
  return {};
}

Result<void> RawDatabase::Execute(const char* sql) {
  if (sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) return Broken();
  return {};
}

Result<void> RawDatabase::Run(const RawStatement& statement) {
  int code = sqlite3_step(statement.get());
  sqlite3_reset(statement.get());
  if (code != SQLITE_DONE) return Broken();
  return {};
}

std::unexpected<Error> RawDatabase::Broken() const {
  return Fail(ErrorCode::kUnavailable,
              fmt::format("the raw SQLite file: {}", sqlite3_errmsg(db_.get())));
}

namespace {

constexpr const char* kInsert =
    "INSERT INTO jobs (id, queue, kind, state, priority, run_at, attempt, max_attempts, token,"
    " lease_expiries, cancel_requested, created_at, unique_states, payload, ready_in)"
    " VALUES (?1, 'default', 'bench', 'pending', 4, ?2, 0, 25, 0, 0, 0, ?2, 0, ?3, 'default')";
constexpr const char* kSelect =
    "SELECT id, payload FROM jobs WHERE ready_in = 'default'"
    " ORDER BY priority, run_at, id LIMIT ?1";
constexpr const char* kClaim =
    "UPDATE jobs SET state = 'processing', ready_in = NULL, attempt = attempt + 1, token = ?2,"
    " worker = 'bench', lease_expires_at = ?3, due_at = ?3, started_at = ?3"
    " WHERE id = ?1 AND state = 'pending'";
constexpr const char* kComplete =
    "UPDATE jobs SET state = 'completed', lease_expires_at = NULL, due_at = NULL,"
    " retained_as = 'completed', finished_at = ?3"
    " WHERE id = ?1 AND token = ?2 AND state = 'processing'";

class RawSqlite {
 public:
  explicit RawSqlite(int payload_bytes) : payload_(MakePayload(payload_bytes)) {}

  Result<void> Open(const std::string& path) {
    HF_RETURN_IF_ERROR(db_.Open(path));
    return db_.PrepareAll(
        {{&insert_, kInsert}, {&select_, kSelect}, {&claim_, kClaim}, {&complete_, kComplete}});
  }

  /// `group` jobs from insert to completion, in three transactions.
  Result<void> LifeCycles(int group) {
    HF_RETURN_IF_ERROR(db_.Execute("BEGIN IMMEDIATE"));
    for (int i = 0; i < group; ++i) {
      sqlite3_bind_int64(insert_.get(), 1, ++last_id_);
      sqlite3_bind_int64(insert_.get(), 2, ++time_);
      sqlite3_bind_text(insert_.get(), 3, payload_.data(), static_cast<int>(payload_.size()),
                        SQLITE_STATIC);
      HF_RETURN_IF_ERROR(db_.Run(insert_));
    }
    HF_RETURN_IF_ERROR(db_.Execute("COMMIT"));

    std::vector<std::pair<std::int64_t, std::int64_t>> claimed;  // id and token
    HF_RETURN_IF_ERROR(db_.Execute("BEGIN IMMEDIATE"));
    sqlite3_bind_int(select_.get(), 1, group);
    while (sqlite3_step(select_.get()) == SQLITE_ROW) {
      claimed.emplace_back(sqlite3_column_int64(select_.get(), 0), ++last_token_);
    }
    sqlite3_reset(select_.get());
    HF_RETURN_IF_ERROR(RunForEach(claim_, claimed));
    HF_RETURN_IF_ERROR(db_.Execute("COMMIT"));

    HF_RETURN_IF_ERROR(db_.Execute("BEGIN IMMEDIATE"));
    HF_RETURN_IF_ERROR(RunForEach(complete_, claimed));
    return db_.Execute("COMMIT");
  }

 private:
  Result<void> RunForEach(const RawStatement& statement,
                          const std::vector<std::pair<std::int64_t, std::int64_t>>& jobs) {
    for (const auto& [id, token] : jobs) {
      sqlite3_bind_int64(statement.get(), 1, id);
      sqlite3_bind_int64(statement.get(), 2, token);
      sqlite3_bind_int64(statement.get(), 3, ++time_);
      HF_RETURN_IF_ERROR(db_.Run(statement));
    }
    return {};
  }

  const std::string payload_;
  RawDatabase db_;
  RawStatement insert_, select_, claim_, complete_;
  std::int64_t last_id_ = 0;
  std::int64_t last_token_ = 0;
  std::int64_t time_ = 1'767'225'600'000'000;
};

}  // namespace

Result<double> MeasureRawSqlite(const std::string& file, int group, int payload_bytes,
                                Duration length) {
  RawSqlite raw(payload_bytes);
  HF_RETURN_IF_ERROR(raw.Open(file));
  auto start = std::chrono::steady_clock::now();
  std::int64_t done = 0;
  while (std::chrono::steady_clock::now() - start < length) {
    HF_RETURN_IF_ERROR(raw.LifeCycles(group));
    done += group;
  }
  auto took = std::chrono::steady_clock::now() - start;
  return static_cast<double>(done) / std::chrono::duration<double>(took).count();
}

}  // namespace holdfast::cli
