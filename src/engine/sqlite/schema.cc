#include "engine/sqlite/schema.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/mutant.h"
#include "base/result.h"

namespace holdfast::engine {
namespace {

// "Hold" in ASCII: how a Holdfast database is told from any other SQLite file.
constexpr int kApplicationId = 0x486f6c64;

// Times are microseconds since 1970, UTC. The CHECK and UNIQUE constraints are the last line: the
// rules have looked before, and a batch that trips one is rolled back as an internal error.
//
// Every index of jobs is partial and on columns of its own, so that a write costs index entries,
// and cursors, only for what it really moves: with indexes on `state` each update would visit them
// all. There is no IN (...) with more than two values among the constraints: SQLite would build a
// temporary table for it with every write.
constexpr std::string_view kVersion1 = R"sql(
CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE counters (
  id         INTEGER PRIMARY KEY CHECK (id = 1),
  last_job   INTEGER NOT NULL,
  last_token INTEGER NOT NULL,
  last_audit INTEGER NOT NULL,
  last_time  INTEGER NOT NULL
) STRICT;
INSERT INTO counters VALUES (1, 0, 0, 0, 0);

CREATE TABLE queues (
  name             TEXT PRIMARY KEY,
  paused           INTEGER NOT NULL CHECK (paused IN (0, 1)),
  max_pending      INTEGER CHECK (max_pending >= 0),
  max_running      INTEGER CHECK (max_running >= 0),
  audit            INTEGER NOT NULL CHECK (audit IN (0, 1)),
  retain_completed INTEGER NOT NULL,
  retain_failed    INTEGER NOT NULL,
  scheduled        INTEGER NOT NULL CHECK (scheduled >= 0),
  pending          INTEGER NOT NULL CHECK (pending >= 0),
  processing       INTEGER NOT NULL CHECK (processing >= 0),
  completed        INTEGER NOT NULL CHECK (completed >= 0),
  failed           INTEGER NOT NULL CHECK (failed >= 0),
  cancelled        INTEGER NOT NULL CHECK (cancelled >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
  id               INTEGER PRIMARY KEY,
  queue            TEXT NOT NULL,
  kind             TEXT NOT NULL,
  state            TEXT NOT NULL CHECK (state = 'scheduled' OR state = 'pending' OR
                                        state = 'processing' OR state = 'completed' OR
                                        state = 'failed' OR state = 'cancelled'),
  priority         INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 9),
  run_at           INTEGER NOT NULL,
  attempt          INTEGER NOT NULL CHECK (attempt BETWEEN 0 AND max_attempts),
  max_attempts     INTEGER NOT NULL,
  token            INTEGER NOT NULL,
  worker           TEXT,
  lease_expires_at INTEGER CHECK ((lease_expires_at IS NOT NULL) = (state = 'processing')),
  lease_expiries   INTEGER NOT NULL,
  cancel_requested INTEGER NOT NULL CHECK (cancel_requested IN (0, 1)),
  created_at       INTEGER NOT NULL,
  started_at       INTEGER,
  finished_at      INTEGER CHECK ((finished_at IS NOT NULL) = (retained_as IS NOT NULL)),
  unique_key       TEXT,
  unique_states    INTEGER NOT NULL,
  parent           INTEGER,
  progress         REAL,
  message          TEXT,
  tags             TEXT,
  metadata         TEXT,
  errors           TEXT,
  retry            TEXT,
  result           TEXT,
  -- What the indexes are on: each is NULL in every state but its own.
  ready_in         TEXT,     -- pending: the queue
  due_at           INTEGER,  -- scheduled: run_at; processing: lease_expires_at
  retained_as      TEXT,     -- failed: 'failed'; completed, cancelled: 'completed'
  held_unique_key  TEXT,     -- in one of unique_states: unique_key
  payload          TEXT NOT NULL,
  CHECK ((ready_in IS NOT NULL) = (state = 'pending')),
  CHECK ((due_at IS NOT NULL) = (state = 'scheduled' OR state = 'processing')),
  CHECK ((retained_as IS NOT NULL) = (state = 'completed' OR state = 'failed' OR
                                      state = 'cancelled'))
) STRICT;
CREATE INDEX jobs_ready ON jobs (ready_in, priority, run_at, id) WHERE ready_in IS NOT NULL;
CREATE INDEX jobs_due ON jobs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_retained ON jobs (retained_as, queue, finished_at) WHERE retained_as IS NOT NULL;
CREATE INDEX jobs_parent ON jobs (parent) WHERE parent IS NOT NULL;
CREATE UNIQUE INDEX jobs_unique ON jobs (kind, held_unique_key) WHERE held_unique_key IS NOT NULL;

CREATE TABLE idempotency (
  key         TEXT PRIMARY KEY,
  fingerprint TEXT NOT NULL,
  answer      TEXT NOT NULL,
  expires_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX idempotency_expiry ON idempotency (expires_at);

CREATE TABLE audit (
  sequence       INTEGER PRIMARY KEY,
  at             INTEGER NOT NULL,
  actor          TEXT NOT NULL,
  operation      TEXT NOT NULL,
  target         TEXT NOT NULL,
  old_status     TEXT NOT NULL,
  new_status     TEXT NOT NULL,
  token          INTEGER NOT NULL,
  lock_wait_us   INTEGER NOT NULL,
  commit_us      INTEGER NOT NULL,
  correlation_id TEXT NOT NULL,
  details        TEXT NOT NULL,
  error          TEXT NOT NULL,
  count          INTEGER NOT NULL
) STRICT;
CREATE INDEX audit_target ON audit (target, sequence);
CREATE INDEX audit_actor ON audit (actor, sequence);
)sql";

// Records. The index of a record's key is the table's own; record_keys holds the unique keys of the
// kinds' rules; the last two columns of audit are what a record's history is checked by.
constexpr std::string_view kVersion2 = R"sql(
ALTER TABLE counters ADD COLUMN last_record INTEGER NOT NULL DEFAULT 0;
ALTER TABLE counters ADD COLUMN last_transfer INTEGER NOT NULL DEFAULT 0;
ALTER TABLE audit ADD COLUMN old_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE audit ADD COLUMN new_version INTEGER NOT NULL DEFAULT 0;
CREATE INDEX audit_refused ON audit (actor, sequence) WHERE error <> '';
CREATE INDEX audit_slow ON audit (sequence) WHERE lock_wait_us >= 100000;

CREATE TABLE kinds (
  name       TEXT PRIMARY KEY,
  version    INTEGER NOT NULL CHECK (version >= 1),
  rules      TEXT NOT NULL,
  updated_at INTEGER NOT NULL,
  updated_by TEXT NOT NULL
) STRICT;

CREATE TABLE records (
  kind        TEXT NOT NULL,
  id          TEXT NOT NULL,
  version     INTEGER NOT NULL CHECK (version >= 1),
  status      TEXT NOT NULL,
  parent_kind TEXT,
  parent_id   TEXT CHECK ((parent_id IS NULL) = (parent_kind IS NULL)),
  created_at  INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL,
  updated_by  TEXT NOT NULL,
  expires_at  INTEGER,
  reserved    TEXT,  -- [{path, amount}]
  children    TEXT,  -- [{kind, status, count}]
  data        TEXT NOT NULL,
  UNIQUE (kind, id)
) STRICT;
CREATE INDEX records_status ON records (kind, status, id) WHERE status <> '';
CREATE INDEX records_parent ON records (parent_kind, parent_id, kind, id)
  WHERE parent_kind IS NOT NULL;
CREATE INDEX records_expiry ON records (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE record_keys (
  kind TEXT NOT NULL,
  rule TEXT NOT NULL,
  key  TEXT NOT NULL,
  id   TEXT NOT NULL,
  PRIMARY KEY (kind, rule, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE transfers (
  id          INTEGER PRIMARY KEY,
  from_kind   TEXT NOT NULL,
  from_id     TEXT NOT NULL,
  to_kind     TEXT NOT NULL,
  to_id       TEXT NOT NULL,
  path        TEXT NOT NULL,
  amount      INTEGER NOT NULL CHECK (amount >= 1),
  posted      INTEGER NOT NULL CHECK (posted BETWEEN 0 AND amount),
  state       TEXT NOT NULL,
  created_at  INTEGER NOT NULL,
  expires_at  INTEGER,
  finished_at INTEGER CHECK ((finished_at IS NULL) = (state = 'pending')),
  created_by  TEXT NOT NULL,
  due_at      INTEGER  -- pending: expires_at
) STRICT;
CREATE INDEX transfers_due ON transfers (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX transfers_pending ON transfers (from_kind, from_id, id) WHERE state = 'pending';
CREATE INDEX transfers_finished ON transfers (finished_at) WHERE finished_at IS NOT NULL;
)sql";

// Locks. A lease is a row of lock_holders; an exclusive one is in slot 0 of its lock, a shared one
// in a slot of its own, so that the key lets there be one exclusive lease. A place in line is a row
// of lock_waiters, good for as long as its process keeps its row of lock_sessions young.
constexpr std::string_view kVersion3 = R"sql(
ALTER TABLE counters ADD COLUMN last_ticket INTEGER NOT NULL DEFAULT 0;
ALTER TABLE records ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;

CREATE TABLE lock_holders (
  name          TEXT NOT NULL,
  slot          INTEGER NOT NULL,
  token         INTEGER NOT NULL CHECK (token > 0),
  owner         TEXT NOT NULL,
  mode          TEXT NOT NULL CHECK (mode = 'exclusive' OR mode = 'shared'),
  holder_limit  INTEGER NOT NULL CHECK (holder_limit >= 0),
  ttl_us        INTEGER NOT NULL,
  lock_delay_us INTEGER NOT NULL,
  acquired_at   INTEGER NOT NULL,
  expires_at    INTEGER NOT NULL,
  waited_us     INTEGER NOT NULL,
  ticket        INTEGER NOT NULL,
  is_delay      INTEGER NOT NULL CHECK (is_delay IN (0, 1)),
  due_at        INTEGER NOT NULL,
  PRIMARY KEY (name, slot),
  CHECK (slot = CASE mode WHEN 'exclusive' THEN 0 ELSE token END)
) STRICT, WITHOUT ROWID;
CREATE INDEX lock_holders_owner ON lock_holders (owner);
CREATE INDEX lock_holders_due ON lock_holders (due_at);

CREATE TABLE lock_waiters (
  name           TEXT NOT NULL,
  ticket         INTEGER NOT NULL,
  waiter         INTEGER NOT NULL,
  session        INTEGER NOT NULL,
  owner          TEXT NOT NULL,
  mode           TEXT NOT NULL CHECK (mode = 'exclusive' OR mode = 'shared'),
  holder_limit   INTEGER NOT NULL CHECK (holder_limit >= 0),
  ttl_us         INTEGER NOT NULL,
  lock_delay_us  INTEGER NOT NULL,
  policy         TEXT NOT NULL CHECK (policy = 'all' OR policy = 'any'),
  has_others     INTEGER NOT NULL CHECK (has_others IN (0, 1)),
  since          INTEGER NOT NULL,
  deadline       INTEGER NOT NULL,
  actor          TEXT NOT NULL,
  correlation_id TEXT NOT NULL,
  PRIMARY KEY (name, ticket)
) STRICT, WITHOUT ROWID;
CREATE INDEX lock_waiters_owner ON lock_waiters (owner);
CREATE INDEX lock_waiters_session ON lock_waiters (session);

CREATE TABLE lock_sessions (
  id         INTEGER PRIMARY KEY,
  expires_at INTEGER NOT NULL
) STRICT;
)sql";

// Claims of certain kinds, and claims from every queue: the head of a queue is its first job in the
// order of claims, NULL while none may be claimed.
constexpr std::string_view kVersion4 = R"sql(
CREATE INDEX jobs_ready_kind ON jobs (ready_in, kind, priority, run_at, id)
  WHERE ready_in IS NOT NULL;
ALTER TABLE queues ADD COLUMN head_priority INTEGER;
ALTER TABLE queues ADD COLUMN head_run_at INTEGER;
ALTER TABLE queues ADD COLUMN head_id INTEGER;
UPDATE queues SET (head_priority, head_run_at, head_id) = (SELECT priority, run_at, id FROM jobs
  WHERE ready_in = queues.name ORDER BY priority, run_at, id LIMIT 1)
  WHERE paused = 0 AND (max_running IS NULL OR processing < max_running);
CREATE INDEX queues_head ON queues (head_priority, head_run_at, head_id)
  WHERE head_id IS NOT NULL;
)sql";

// What is in all queues together, kept with every commit: a sum would read every queue.
constexpr std::string_view kVersion5 = R"sql(
CREATE TABLE totals (
  id         INTEGER PRIMARY KEY CHECK (id = 1),
  scheduled  INTEGER NOT NULL,
  pending    INTEGER NOT NULL,
  processing INTEGER NOT NULL,
  completed  INTEGER NOT NULL,
  failed     INTEGER NOT NULL,
  cancelled  INTEGER NOT NULL,
  queues     INTEGER NOT NULL
) STRICT;
INSERT INTO totals SELECT 1, coalesce(sum(scheduled), 0), coalesce(sum(pending), 0),
  coalesce(sum(processing), 0), coalesce(sum(completed), 0), coalesce(sum(failed), 0),
  coalesce(sum(cancelled), 0), count(*) FROM queues;
)sql";

constexpr std::string_view kMigrations[] = {kVersion1, kVersion2, kVersion3, kVersion4, kVersion5};
static_assert(std::size(kMigrations) == kSchemaVersion);

Result<std::int64_t> MigrateInTransaction(Connection& connection, std::string_view path) {
  HF_RETURN_IF_ERROR(CheckOwner(connection, path));
  HF_ASSIGN_OR_RETURN(std::int64_t version, connection.QueryInteger("PRAGMA user_version"));
  if (version > kSchemaVersion) {
    return Fail(
        ErrorCode::kCorrupt,
        fmt::format("{} has schema {}, newer than schema {} of this version: upgrade Holdfast",
                    path, version, kSchemaVersion));
  }
  for (auto step = static_cast<std::size_t>(version); step < std::size(kMigrations); ++step) {
    HF_RETURN_IF_ERROR(connection.Execute(std::string(kMigrations[step])));
  }
  if (version < kSchemaVersion) {
    HF_RETURN_IF_ERROR(connection.Execute(fmt::format(
        "PRAGMA application_id={}; PRAGMA user_version={}", kApplicationId, kSchemaVersion)));
  }
  return version;
}

/// Runs `body` in an immediate transaction.
template <typename Body>
auto InTransaction(Connection& connection, Body body) -> decltype(body()) {
  HF_RETURN_IF_ERROR(connection.Execute("BEGIN IMMEDIATE"));
  auto result = body();
  if (result) {
    HF_RETURN_IF_ERROR(connection.Execute("COMMIT"));
  } else {
    (void)connection.Execute("ROLLBACK");
  }
  return result;
}

Result<std::int64_t> MetaInteger(Connection& connection, std::string_view name) {
  return connection.QueryInteger(fmt::format("SELECT value FROM meta WHERE name = '{}'", name));
}

Result<void> SetMeta(Connection& connection, std::string_view name, const std::string& value) {
  Statement insert;
  HF_RETURN_IF_ERROR(insert.Prepare(connection, "INSERT OR REPLACE INTO meta VALUES (?, ?)"));
  return insert.Bind(name).Bind(std::string_view(value)).Run();
}

/// Moves all times that were noted since `era` back by `by`, so that what is left of each lease,
/// delay and time limit stays as it is. Entries of the trail are never changed.
Result<void> MoveTimes(Connection& connection, std::int64_t era, std::int64_t by) {
  constexpr std::string_view kMoves = R"sql(
UPDATE jobs SET run_at = run_at - {0}, due_at = due_at - {0} WHERE created_at < {1}
  AND state = 'scheduled' AND attempt > 0;
UPDATE jobs SET lease_expires_at = lease_expires_at - {0}, due_at = due_at - {0}
  WHERE created_at < {1} AND state = 'processing';
UPDATE jobs SET created_at = created_at - {0}, run_at = run_at - {0}, due_at = due_at - {0},
  started_at = started_at - {0}, finished_at = finished_at - {0},
  lease_expires_at = lease_expires_at - {0} WHERE created_at >= {1};
UPDATE queues SET (head_priority, head_run_at, head_id) = (SELECT priority, run_at, id FROM jobs
  WHERE ready_in = queues.name ORDER BY priority, run_at, id LIMIT 1) WHERE head_id IS NOT NULL;
UPDATE idempotency SET expires_at = expires_at - {0} WHERE expires_at >= {1};
UPDATE records SET created_at = created_at - {0} WHERE created_at >= {1};
UPDATE records SET updated_at = updated_at - {0}, expires_at = expires_at - {0}
  WHERE updated_at >= {1};
UPDATE transfers SET created_at = created_at - {0}, expires_at = expires_at - {0},
  finished_at = finished_at - {0}, due_at = due_at - {0} WHERE created_at >= {1};
UPDATE lock_holders SET acquired_at = acquired_at - {0}, expires_at = expires_at - {0},
  due_at = due_at - {0};
UPDATE lock_waiters SET since = since - {0}, deadline = deadline - {0};
UPDATE lock_sessions SET expires_at = expires_at - {0};
UPDATE counters SET last_time = last_time - {0};
)sql";
  return connection.Execute(fmt::format(fmt::runtime(kMoves), by, era));
}

/// After a restart of the machine. The processes that counted by the old anchor are gone, so that
/// a clock which was known to differ from the wall clock can follow it now.
Result<base::ClockAnchor> MakeAnchor(Connection& connection, const Clock& clock) {
  base::ClockAnchor anchor = base::EngineClock::Anchor(clock);
  HF_ASSIGN_OR_RETURN(std::int64_t ahead, MetaInteger(connection, kClockAhead));
  if (ahead != 0) {
    HF_ASSIGN_OR_RETURN(std::int64_t era, MetaInteger(connection, "clock_wall_us"));
    HF_RETURN_IF_ERROR(MoveTimes(connection, era, ahead));
    HF_RETURN_IF_ERROR(SetMeta(connection, kClockAhead, "0"));
  }
  HF_ASSIGN_OR_RETURN(std::int64_t last, connection.QueryInteger("SELECT last_time FROM counters"));
  anchor.wall = std::max(anchor.wall, Time(Duration(last)));
  std::pair<std::string_view, std::string> values[] = {
      {"clock_boot_id", anchor.boot_id},
      {"clock_wall_us", fmt::to_string(anchor.wall.time_since_epoch().count())},
      {"clock_boot_us", fmt::to_string(anchor.since_boot.count())}};
  for (const auto& [name, value] : values) {
    HF_RETURN_IF_ERROR(SetMeta(connection, name, value));
  }
  return anchor;
}

/// SQLite does not wait when two connections switch a new file at once: try again.
Result<std::optional<std::string>> SwitchToWal(Connection& connection) {
  constexpr int kTries = 200;
  for (int i = 1;; ++i) {
    Result<std::optional<std::string>> journal = connection.QueryText("PRAGMA journal_mode=WAL");
    if (journal || journal.error().code != ErrorCode::kBusy || i == kTries) return journal;
    sqlite3_sleep(10);
  }
}

}  // namespace

Result<void> CheckOwner(Connection& connection, std::string_view path) {
  HF_ASSIGN_OR_RETURN(std::int64_t id, connection.QueryInteger("PRAGMA application_id"));
  if (id == kApplicationId) return {};
  HF_ASSIGN_OR_RETURN(std::int64_t tables,
                      connection.QueryInteger("SELECT count(*) FROM sqlite_schema"));
  if (id == 0 && tables == 0) return {};  // new
  return Fail(ErrorCode::kCorrupt, fmt::format("{} is not a Holdfast database", path));
}

std::string SchemaSql(int from, int to) {
  std::string sql;
  for (int step = from; step < to; ++step) sql += kMigrations[step];
  return sql;
}

Result<void> Configure(Connection& connection, Connection::Mode mode) {
  sqlite3_busy_timeout(connection.handle(), 10'000);
  HF_RETURN_IF_ERROR(connection.Execute("PRAGMA temp_store=MEMORY; PRAGMA cache_size=-16384"));
  if (mode == Connection::Mode::kReadOnly) return connection.Execute("PRAGMA query_only=1");
  HF_ASSIGN_OR_RETURN(std::optional<std::string> journal, SwitchToWal(connection));
  if (journal != "wal") {
    return Fail(ErrorCode::kUnavailable,
                fmt::format("the file system does not support a write-ahead log (journal_mode={})",
                            journal.value_or("?")));
  }
  // FULL: every commit is followed by an fsync of the log before it is acknowledged. A checkpoint
  // every 16 MiB instead of 4: a quarter of the fsyncs of the main file.
  const std::string level = HF_MUTANT(acknowledged_unsynced) ? "OFF" : "FULL";
  return connection.Execute("PRAGMA synchronous=" + level + "; PRAGMA wal_autocheckpoint=4096");
}

Result<std::int64_t> Migrate(Connection& connection, std::string_view path) {
  return InTransaction(connection, [&] { return MigrateInTransaction(connection, path); });
}

Result<std::optional<base::ClockAnchor>> ReadClockAnchor(Connection& connection) {
  HF_ASSIGN_OR_RETURN(std::optional<std::string> boot_id,
                      connection.QueryText("SELECT value FROM meta WHERE name = 'clock_boot_id'"));
  if (!boot_id) return std::nullopt;
  HF_ASSIGN_OR_RETURN(std::int64_t wall, MetaInteger(connection, "clock_wall_us"));
  HF_ASSIGN_OR_RETURN(std::int64_t boot, MetaInteger(connection, "clock_boot_us"));
  return base::ClockAnchor{Time(Duration(wall)), Duration(boot), *std::move(boot_id)};
}

Result<base::ClockAnchor> LoadClockAnchor(Connection& connection, const Clock& clock) {
  return InTransaction(connection, [&]() -> Result<base::ClockAnchor> {
    HF_ASSIGN_OR_RETURN(std::optional<base::ClockAnchor> anchor, ReadClockAnchor(connection));
    if (anchor && anchor->boot_id == clock.BootId()) return *std::move(anchor);
    return MakeAnchor(connection, clock);
  });
}

}  // namespace holdfast::engine
