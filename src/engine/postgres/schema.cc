#include "engine/postgres/schema.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"

namespace holdfast::engine::postgres {
namespace {

// Constraints are the last line: the rules have looked before. Every index of jobs is partial and
// on columns of its own, so that renewing a lease or reporting progress touches none and stays
// within its page (HOT), for which a third of each page is left free.
//
// Sequences hand out numbers outside transactions, so that nobody waits for anybody: ids in ranges
// of a thousand, which a node then gives out one by one; stamps one for each transaction, which
// issues the tokens from stamp * 65536 on. What is not used is never handed out again.
constexpr std::string_view kVersion1 = R"sql(
CREATE SEQUENCE $.job_ids AS bigint INCREMENT BY 1000 MINVALUE 1;
CREATE SEQUENCE $.record_ids AS bigint INCREMENT BY 1000 MINVALUE 1;
CREATE SEQUENCE $.transfer_ids AS bigint INCREMENT BY 1000 MINVALUE 1;
CREATE SEQUENCE $.stamps AS bigint MAXVALUE 140737488355327;
CREATE SEQUENCE $.audit_sequence AS bigint;

CREATE TABLE $.queues (
  name             text COLLATE "C" PRIMARY KEY,
  paused           boolean NOT NULL DEFAULT false,
  max_pending      bigint CHECK (max_pending >= 0),
  max_running      bigint CHECK (max_running >= 0),
  audit            boolean NOT NULL DEFAULT false,
  retain_completed bigint NOT NULL,  -- microseconds
  retain_failed    bigint NOT NULL   -- microseconds
);

-- How many jobs of a queue are in each state: the sum over its slots. Every connection that writes
-- counts in a slot of its own, so that they do not wait for one another, and in a new one every so
-- often, because a snapshot may keep all versions of a row; a single slot may be negative.
CREATE TABLE $.queue_counts (
  queue      text COLLATE "C" NOT NULL,
  slot       bigint NOT NULL,
  scheduled  bigint NOT NULL,
  pending    bigint NOT NULL,
  processing bigint NOT NULL,
  completed  bigint NOT NULL,
  failed     bigint NOT NULL,
  cancelled  bigint NOT NULL,
  PRIMARY KEY (queue, slot)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 500);

CREATE TABLE $.jobs (
  id               bigint PRIMARY KEY,
  queue            text COLLATE "C" NOT NULL,
  kind             text COLLATE "C" NOT NULL,
  state            text COLLATE "C" NOT NULL
                   CHECK (state IN ('scheduled', 'pending', 'processing', 'completed', 'failed',
                                    'cancelled')),
  priority         bigint NOT NULL CHECK (priority BETWEEN 0 AND 9),
  run_at           timestamptz NOT NULL,
  attempt          bigint NOT NULL CHECK (attempt BETWEEN 0 AND max_attempts),
  max_attempts     bigint NOT NULL,
  token            bigint NOT NULL,
  worker           text COLLATE "C",
  lease_expires_at timestamptz CHECK ((lease_expires_at IS NOT NULL) = (state = 'processing')),
  lease_expiries   bigint NOT NULL,
  cancel_requested boolean NOT NULL,
  created_at       timestamptz NOT NULL,
  started_at       timestamptz,
  finished_at      timestamptz CHECK ((finished_at IS NOT NULL) = (retained_as IS NOT NULL)),
  unique_key       text COLLATE "C",
  unique_states    bigint NOT NULL,
  parent           bigint,
  progress         double precision,
  message          text COLLATE "C",
  tags             text COLLATE "C",  -- JSON, as metadata, errors, retry, result and payload are
  metadata         text COLLATE "C",
  errors           text COLLATE "C",
  retry            text COLLATE "C",
  result           text COLLATE "C",
  payload          text COLLATE "C" NOT NULL,
  -- What the indexes are on: each is NULL in every state but its own.
  ready_in         text COLLATE "C",  -- pending: the queue
  due_at           timestamptz,       -- scheduled: run_at
  retained_as      text COLLATE "C",  -- failed: 'failed'; completed, cancelled: 'completed'
  held_unique_key  text COLLATE "C",  -- in one of unique_states: unique_key
  is_running       boolean NOT NULL,
  CHECK ((ready_in IS NOT NULL) = (state = 'pending')),
  CHECK ((due_at IS NOT NULL) = (state = 'scheduled')),
  CHECK (is_running = (state = 'processing')),
  CHECK ((retained_as IS NOT NULL) = (state IN ('completed', 'failed', 'cancelled')))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX jobs_ready ON $.jobs (ready_in, priority, run_at, id) WHERE ready_in IS NOT NULL;
CREATE INDEX jobs_due ON $.jobs (due_at) WHERE due_at IS NOT NULL;
-- Not on the lease itself, which every renewal moves: those that run are few.
CREATE INDEX jobs_running ON $.jobs (id) WHERE is_running;
CREATE INDEX jobs_retained ON $.jobs (retained_as, queue, finished_at)
  WHERE retained_as IS NOT NULL;
CREATE INDEX jobs_parent ON $.jobs (parent) WHERE parent IS NOT NULL;
CREATE UNIQUE INDEX jobs_unique ON $.jobs (kind, held_unique_key)
  WHERE held_unique_key IS NOT NULL;

CREATE TABLE $.idempotency (
  key         text COLLATE "C" PRIMARY KEY,
  fingerprint text COLLATE "C" NOT NULL,
  answer      text COLLATE "C" NOT NULL,
  expires_at  timestamptz NOT NULL
);
CREATE INDEX idempotency_expiry ON $.idempotency (expires_at);

CREATE TABLE $.audit (
  sequence       bigint PRIMARY KEY DEFAULT nextval('$.audit_sequence'),
  at             timestamptz NOT NULL,
  actor          text COLLATE "C" NOT NULL,
  operation      text COLLATE "C" NOT NULL,
  target         text COLLATE "C" NOT NULL,
  old_status     text COLLATE "C" NOT NULL,
  new_status     text COLLATE "C" NOT NULL,
  token          bigint NOT NULL,
  lock_wait_us   bigint NOT NULL,
  commit_us      bigint NOT NULL,
  correlation_id text COLLATE "C" NOT NULL,
  details        text COLLATE "C" NOT NULL,
  error          text COLLATE "C" NOT NULL,
  count          bigint NOT NULL,
  old_version    bigint NOT NULL,
  new_version    bigint NOT NULL
);
CREATE INDEX audit_target ON $.audit (target, sequence);
CREATE INDEX audit_actor ON $.audit (actor, sequence);
CREATE INDEX audit_refused ON $.audit (actor, sequence) WHERE error <> '';
CREATE INDEX audit_slow ON $.audit (sequence) WHERE lock_wait_us >= 100000;

-- Version 0: the row is there to be locked while its rules are declared.
CREATE TABLE $.kinds (
  name       text COLLATE "C" PRIMARY KEY,
  version    bigint NOT NULL,
  rules      text COLLATE "C" NOT NULL,
  updated_at timestamptz NOT NULL,
  updated_by text COLLATE "C" NOT NULL
);

CREATE TABLE $.records (
  kind        text COLLATE "C" NOT NULL,
  id          text COLLATE "C" NOT NULL,
  version     bigint NOT NULL CHECK (version >= 1),
  status      text COLLATE "C" NOT NULL,
  parent_kind text COLLATE "C",
  parent_id   text COLLATE "C" CHECK ((parent_id IS NULL) = (parent_kind IS NULL)),
  created_at  timestamptz NOT NULL,
  updated_at  timestamptz NOT NULL,
  updated_by  text COLLATE "C" NOT NULL,
  expires_at  timestamptz,
  reserved    text COLLATE "C",  -- JSON, as children and data are
  children    text COLLATE "C",
  data        text COLLATE "C" NOT NULL,
  fence       bigint NOT NULL,
  PRIMARY KEY (kind, id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX records_status ON $.records (kind, status, id) WHERE status <> '';
CREATE INDEX records_parent ON $.records (parent_kind, parent_id, kind, id)
  WHERE parent_kind IS NOT NULL;
CREATE INDEX records_expiry ON $.records (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE $.record_keys (
  kind text COLLATE "C" NOT NULL,
  rule text COLLATE "C" NOT NULL,
  key  text COLLATE "C" NOT NULL,
  id   text COLLATE "C" NOT NULL,
  PRIMARY KEY (kind, rule, key)
);

CREATE TABLE $.transfers (
  id          bigint PRIMARY KEY,
  from_kind   text COLLATE "C" NOT NULL,
  from_id     text COLLATE "C" NOT NULL,
  to_kind     text COLLATE "C" NOT NULL,
  to_id       text COLLATE "C" NOT NULL,
  path        text COLLATE "C" NOT NULL,
  amount      bigint NOT NULL CHECK (amount >= 1),
  posted      bigint NOT NULL CHECK (posted BETWEEN 0 AND amount),
  state       text COLLATE "C" NOT NULL,
  created_at  timestamptz NOT NULL,
  expires_at  timestamptz,
  finished_at timestamptz CHECK ((finished_at IS NULL) = (state = 'pending')),
  created_by  text COLLATE "C" NOT NULL
);
CREATE INDEX transfers_due ON $.transfers (expires_at)
  WHERE state = 'pending' AND expires_at IS NOT NULL;
CREATE INDEX transfers_pending ON $.transfers (from_kind, from_id, id) WHERE state = 'pending';
CREATE INDEX transfers_finished ON $.transfers (finished_at) WHERE finished_at IS NOT NULL;

-- Whoever looks at a lock in order to change it locks its row here first, held or free: two nodes
-- never decide about one lock at the same time. Rows of free locks are pruned.
CREATE TABLE $.locks (
  name text COLLATE "C" PRIMARY KEY
) WITH (autovacuum_vacuum_scale_factor = 0.02);

-- An exclusive lease is in slot 0 of its lock, a shared one in a slot of its own.
CREATE TABLE $.lock_holders (
  name          text COLLATE "C" NOT NULL,
  slot          bigint NOT NULL,
  token         bigint NOT NULL CHECK (token > 0),
  owner         text COLLATE "C" NOT NULL,
  mode          text COLLATE "C" NOT NULL CHECK (mode IN ('exclusive', 'shared')),
  holder_limit  bigint NOT NULL CHECK (holder_limit >= 0),
  ttl_us        bigint NOT NULL,
  lock_delay_us bigint NOT NULL,
  acquired_at   timestamptz NOT NULL,
  expires_at    timestamptz NOT NULL,
  waited_us     bigint NOT NULL,
  ticket        bigint NOT NULL,
  is_delay      boolean NOT NULL,
  PRIMARY KEY (name, slot),
  CHECK (slot = CASE mode WHEN 'exclusive' THEN 0 ELSE token END)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX lock_holders_owner ON $.lock_holders (owner);

CREATE TABLE $.lock_waiters (
  name           text COLLATE "C" NOT NULL,
  ticket         bigint NOT NULL,
  waiter         bigint NOT NULL,
  session        bigint NOT NULL,
  owner          text COLLATE "C" NOT NULL,
  mode           text COLLATE "C" NOT NULL CHECK (mode IN ('exclusive', 'shared')),
  holder_limit   bigint NOT NULL CHECK (holder_limit >= 0),
  ttl_us         bigint NOT NULL,
  lock_delay_us  bigint NOT NULL,
  policy         text COLLATE "C" NOT NULL CHECK (policy IN ('all', 'any')),
  has_others     boolean NOT NULL,
  since          timestamptz NOT NULL,
  deadline       timestamptz NOT NULL,
  actor          text COLLATE "C" NOT NULL,
  correlation_id text COLLATE "C" NOT NULL,
  PRIMARY KEY (name, ticket)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX lock_waiters_owner ON $.lock_waiters (owner);
CREATE INDEX lock_waiters_session ON $.lock_waiters (session);

-- Processes whose requests wait in line, and until when they are known to be alive.
CREATE TABLE $.lock_sessions (
  id         bigint PRIMARY KEY,
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);
)sql";

// For programs that know nothing of Holdfast: a job that exists if, and only if, their own
// transaction commits. It counts in a slot of its own backend, so that it waits for nobody, unless
// the queue is limited.
constexpr std::string_view kEnqueue = R"sql(
CREATE FUNCTION $.enqueue(
  kind text, payload jsonb DEFAULT 'null', queue text DEFAULT 'default', priority int DEFAULT 4,
  run_at timestamptz DEFAULT NULL, max_attempts int DEFAULT 25) RETURNS bigint
LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
  new_id bigint := nextval('$.job_ids');
  due timestamptz := coalesce(enqueue.run_at, clock_timestamp());
  is_later boolean := due > clock_timestamp();
  bound bigint;
  waiting bigint;
BEGIN
  IF enqueue.kind !~ '^[A-Za-z0-9_.:-]{1,128}$' THEN
    RAISE EXCEPTION 'kind must be 1-128 of [A-Za-z0-9_.:-]'
      USING ERRCODE = 'invalid_parameter_value';
  ELSIF enqueue.queue !~ '^[A-Za-z0-9_.:-]{1,128}$' THEN
    RAISE EXCEPTION 'queue must be 1-128 of [A-Za-z0-9_.:-]'
      USING ERRCODE = 'invalid_parameter_value';
  ELSIF octet_length(enqueue.payload::text) > 262144 THEN
    RAISE EXCEPTION 'payload has % bytes (at most 262144)', octet_length(enqueue.payload::text)
      USING ERRCODE = 'invalid_parameter_value';
  ELSIF enqueue.priority NOT BETWEEN 0 AND 9 THEN
    RAISE EXCEPTION 'priority must be 0-9' USING ERRCODE = 'invalid_parameter_value';
  ELSIF enqueue.max_attempts NOT BETWEEN 1 AND 1000 THEN
    RAISE EXCEPTION 'max_attempts must be 1-1000' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  INSERT INTO $.queues (name, retain_completed, retain_failed)
    VALUES (enqueue.queue, 86400000000, 604800000000) ON CONFLICT (name) DO NOTHING;
  SELECT q.max_pending INTO bound FROM $.queues q WHERE q.name = enqueue.queue;
  IF bound IS NOT NULL THEN
    PERFORM 1 FROM $.queues q WHERE q.name = enqueue.queue FOR UPDATE;
    SELECT sum(c.scheduled + c.pending) INTO waiting FROM $.queue_counts c
      WHERE c.queue = enqueue.queue;
    IF waiting >= bound THEN
      RAISE EXCEPTION 'queue % is full: % of % jobs are waiting', enqueue.queue, waiting, bound
        USING ERRCODE = 'program_limit_exceeded';
    END IF;
  END IF;
  INSERT INTO $.jobs (id, queue, kind, state, priority, run_at, attempt, max_attempts, token,
      lease_expiries, cancel_requested, created_at, unique_states, payload, ready_in, due_at,
      is_running)
    VALUES (new_id, enqueue.queue, enqueue.kind,
      CASE WHEN is_later THEN 'scheduled' ELSE 'pending' END, enqueue.priority, due, 0,
      enqueue.max_attempts, 0, 0, false, clock_timestamp(), 0, enqueue.payload::text,
      CASE WHEN NOT is_later THEN enqueue.queue END, CASE WHEN is_later THEN due END, false);
  INSERT INTO $.queue_counts AS c
    VALUES (enqueue.queue, 64 + pg_backend_pid() % 64, is_later::int, (NOT is_later)::int, 0, 0,
      0, 0)
    ON CONFLICT (queue, slot) DO UPDATE SET scheduled = c.scheduled + excluded.scheduled,
      pending = c.pending + excluded.pending;
  RETURN new_id;
END
$body$;
)sql";

// In the order of claims, so that what is over is at one end: a scan can leave it out.
constexpr std::string_view kVersion2 = R"sql(
DROP INDEX $.jobs_running;
CREATE INDEX jobs_running ON $.jobs (token) WHERE is_running;
)sql";

// What nodes send: see RowArray. A type is never changed, because nodes of the version before may
// be at work: what a later one needs differently is a new type.
constexpr std::string_view kVersion3 = R"sql(
CREATE TYPE $.job_row AS (
  id bigint, queue text, kind text, state text, priority bigint, run_at timestamptz,
  attempt bigint, max_attempts bigint, token bigint, worker text, lease_expires_at timestamptz,
  lease_expiries bigint, cancel_requested boolean, created_at timestamptz,
  started_at timestamptz, finished_at timestamptz, unique_key text, unique_states bigint,
  parent bigint, progress double precision, message text, tags text, metadata text, errors text,
  retry text, result text, payload text, ready_in text, due_at timestamptz, retained_as text,
  held_unique_key text, is_running boolean);
CREATE TYPE $.job_lease_row AS (
  id bigint, lease_expires_at timestamptz, cancel_requested boolean, progress double precision,
  message text);
CREATE TYPE $.job_claim_row AS (
  id bigint, state text, ready_in text, lease_expires_at timestamptz, attempt bigint,
  token bigint, worker text, started_at timestamptz, progress double precision, message text,
  is_running boolean);
CREATE TYPE $.job_finish_row AS (
  id bigint, state text, lease_expires_at timestamptz, retained_as text,
  finished_at timestamptz, lease_expiries bigint, result text, is_running boolean);
CREATE TYPE $.queue_row AS (
  name text, paused boolean, max_pending bigint, max_running bigint, audit boolean,
  retain_completed bigint, retain_failed bigint);
CREATE TYPE $.queue_count_row AS (
  queue text, slot bigint, scheduled bigint, pending bigint, processing bigint,
  completed bigint, failed bigint, cancelled bigint);
CREATE TYPE $.answer_row AS (
  key text, fingerprint text, answer text, expires_at timestamptz);
CREATE TYPE $.audit_row AS (
  at timestamptz, actor text, operation text, target text, old_status text, new_status text,
  token bigint, lock_wait_us bigint, commit_us bigint, correlation_id text, details text,
  error text, count bigint, old_version bigint, new_version bigint);
CREATE TYPE $.record_row AS (
  kind text, id text, version bigint, status text, parent_kind text, parent_id text,
  created_at timestamptz, updated_at timestamptz, updated_by text, expires_at timestamptz,
  reserved text, children text, data text, fence bigint);
CREATE TYPE $.record_key_row AS (kind text, rule text, key text, id text);
CREATE TYPE $.transfer_row AS (
  id bigint, from_kind text, from_id text, to_kind text, to_id text, path text, amount bigint,
  posted bigint, state text, created_at timestamptz, expires_at timestamptz,
  finished_at timestamptz, created_by text);
CREATE TYPE $.lock_holder_row AS (
  name text, slot bigint, token bigint, owner text, mode text, holder_limit bigint,
  ttl_us bigint, lock_delay_us bigint, acquired_at timestamptz, expires_at timestamptz,
  waited_us bigint, ticket bigint, is_delay boolean);
CREATE TYPE $.lock_waiter_row AS (
  name text, ticket bigint, waiter bigint, session bigint, owner text, mode text,
  holder_limit bigint, ttl_us bigint, lock_delay_us bigint, policy text, has_others boolean,
  since timestamptz, deadline timestamptz, actor text, correlation_id text);
)sql";

// For commits in one round trip, which version 5 does without.
constexpr std::string_view kVersion4 = R"sql(
CREATE TYPE $.job_lease_of_version_row AS (
  id bigint, lease_expires_at timestamptz, cancel_requested boolean, progress double precision,
  message text, version xid);
CREATE TYPE $.job_finish_of_version_row AS (
  id bigint, state text, lease_expires_at timestamptz, retained_as text,
  finished_at timestamptz, lease_expiries bigint, result text, is_running boolean, version xid);
CREATE TYPE $.queue_version_row AS (name text, version xid);
CREATE TABLE $.commits (
  mark    bigint PRIMARY KEY,
  left_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE FUNCTION $.has_changed() RETURNS boolean LANGUAGE plpgsql AS $body$
BEGIN
  RAISE EXCEPTION 'a row has changed since this node saw it'
    USING ERRCODE = 'serialization_failure';
END
$body$;
)sql";

constexpr std::string_view kVersion5 = R"sql(
DROP TABLE $.commits;
DROP FUNCTION $.has_changed;
DROP TYPE $.job_lease_of_version_row;
DROP TYPE $.job_finish_of_version_row;
DROP TYPE $.queue_version_row;
)sql";

// For claims that name kinds: in a queue of a million jobs of other kinds, they read none of those.
constexpr std::string_view kVersion6 = R"sql(
CREATE INDEX jobs_ready_kind ON $.jobs (ready_in, kind, priority, run_at, id)
  WHERE ready_in IS NOT NULL;
)sql";

constexpr std::string_view kMigrations[] = {kVersion1, kVersion2, kVersion3,
                                            kVersion4, kVersion5, kVersion6};
static_assert(std::size(kMigrations) == kPostgresSchema);

// Its name says whose schema this is.
constexpr std::string_view kCreateMeta = R"sql(
CREATE SCHEMA IF NOT EXISTS {0};
CREATE TABLE IF NOT EXISTS {0}.holdfast_meta (
  name  text COLLATE "C" PRIMARY KEY,
  value text COLLATE "C" NOT NULL
);
LOCK TABLE {0}.holdfast_meta IN ACCESS EXCLUSIVE MODE;
)sql";

/// The statements of a migration, each on one line, without comments.
std::vector<std::string> StatementsOf(std::string_view migration) {
  std::vector<std::string> statements(1);
  for (std::size_t i = 0; i < migration.size(); ++i) {
    if (migration.substr(i, 2) == "--") i = migration.find('\n', i);
    const char c = migration[i];
    std::string& statement = statements.back();
    if (c == ';') {
      statements.emplace_back();
    } else if (c != '\n' && c != ' ') {
      statement += c;
    } else if (!statement.empty() && statement.back() != ' ') {
      statement += ' ';
    }
  }
  statements.pop_back();  // what stands behind the last semicolon
  return statements;
}

Result<std::int64_t> MigrateOnce(Connection& connection, const Settings& settings) {
  std::string sql = Connection::TextOfBegin();
  sql += fmt::format(kCreateMeta, settings.schema);
  HF_RETURN_IF_ERROR(connection.Execute(sql));
  // Only now, that nobody else is about it.
  HF_ASSIGN_OR_RETURN(std::optional<std::int64_t> found, FindSchemaVersion(connection, settings));
  const std::int64_t version = found.value_or(0);
  if (version > kPostgresSchema) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("{} has schema {}, newer than schema {} of this version: upgrade "
                            "Holdfast",
                            settings.shown, version, kPostgresSchema));
  }
  std::string steps;
  for (auto step = static_cast<std::size_t>(version); step < std::size(kMigrations); ++step) {
    steps += Sql(settings, kMigrations[step]).text();
    if (step == 0) steps += Sql(settings, kEnqueue).text();
  }
  steps += fmt::format(
      "INSERT INTO {}.holdfast_meta VALUES ('schema', '{}') "
      "ON CONFLICT (name) DO UPDATE SET value = excluded.value; COMMIT",
      settings.schema, kPostgresSchema);
  HF_RETURN_IF_ERROR(connection.Execute(steps));
  return version;
}

}  // namespace

Result<std::optional<std::int64_t>> FindSchemaVersion(Connection& connection,
                                                      const Settings& settings) {
  HF_ASSIGN_OR_RETURN(Answer found,
                      connection.QueryText(fmt::format(
                          "SELECT to_regclass('{0}.holdfast_meta') IS NOT NULL", settings.schema)));
  if (!Row(found, 0).Bool(0)) return std::nullopt;
  HF_ASSIGN_OR_RETURN(
      Answer version,
      connection.QueryText(fmt::format(
          "SELECT value::bigint FROM {0}.holdfast_meta WHERE name = 'schema'", settings.schema)));
  if (version.size() == 0) return std::nullopt;
  return Row(version, 0).Integer(0);
}

std::vector<SchemaObject> SchemaObjects(const Settings& settings) {
  std::vector<SchemaObject> objects = {{.kind = "table", .name = "holdfast_meta", .statement = {}},
                                       {.kind = "function", .name = "enqueue", .statement = {}}};
  const std::string schema = settings.schema + ".";
  for (std::string_view migration : kMigrations) {
    for (const std::string& statement : StatementsOf(Sql(settings, migration).text())) {
      for (auto [head, kind] : {std::pair("TABLE ", "table"),
                                {"INDEX ", "index"},
                                {"UNIQUE INDEX ", "index"},
                                {"SEQUENCE ", "sequence"},
                                {"TYPE ", "type"}}) {
        const bool is_made = statement.starts_with(std::string("CREATE ") + head);
        const std::string start = (is_made ? std::string("CREATE ") : std::string("DROP ")) + head;
        if (!statement.starts_with(start)) continue;
        std::string name = statement.substr(start.size());
        if (name.starts_with(schema)) name.erase(0, schema.size());
        name.resize(std::min(name.find(' '), name.size()));
        // A later migration drops what an earlier one made, or makes it anew in another way.
        std::erase_if(objects, [&](const SchemaObject& known) {
          return known.kind == kind && known.name == name;
        });
        if (is_made) objects.push_back({kind, std::move(name), statement});
      }
    }
  }
  return objects;
}

Result<std::int64_t> MigrateSchema(Connection& connection, const Settings& settings) {
  HF_ASSIGN_OR_RETURN(std::optional<std::int64_t> found, FindSchemaVersion(connection, settings));
  if (found == kPostgresSchema) return *found;
  // Two that create a schema at once get in each other's way before either holds a lock.
  constexpr int kTries = 20;
  for (int i = 1;; ++i) {
    Result<std::int64_t> before = MigrateOnce(connection, settings);
    if (before) return before;
    const bool is_conflict = connection.failure() == Failure::kConflict ||
                             connection.failure() == Failure::kConstraint ||
                             before.error().message.find("(42P0") != std::string::npos ||
                             before.error().message.find("concurrently") != std::string::npos;
    connection.RollBack();
    if (!is_conflict || i == kTries) return before;
  }
}

}  // namespace holdfast::engine::postgres
