// The yardstick on PostgreSQL: a job's life cycle in hand-written statements, run by pgbench.
#include <fmt/format.h>

#include "base/result.h"
#include "cli/bench_pgbench.h"
#include "engine/postgres/settings.h"

namespace holdfast::cli {
namespace {

/// What somebody would write who needs a queue and nothing else: one index, and no history, unique
/// keys, counts, retention or limits.
constexpr const char* kRawTable =
    "CREATE SEQUENCE {table}_token;"
    "CREATE TABLE {table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, queue text NOT "
    "NULL, kind text NOT NULL, state text NOT NULL, priority int NOT NULL, run_at timestamptz NOT "
    "NULL, attempt int NOT NULL, max_attempts int NOT NULL, token bigint NOT NULL, worker text, "
    "lease_expires_at timestamptz, created_at timestamptz NOT NULL, finished_at timestamptz, "
    "payload text NOT NULL);"
    "ALTER SEQUENCE {table}_token OWNED BY {table}.token;"
    "CREATE INDEX {table}_ready ON {table} (queue, priority, run_at, id) WHERE state = 'pending'";

// Rows are claimed as the manuals advise, and completed by whoever has the token. A queue for each
// client, and its name and the number of jobs as parameters: with both written out the server plans
// the claim otherwise, and does not half as many.
constexpr const char* kLifeCycle =
    "INSERT INTO {table} (queue, kind, state, priority, run_at, attempt, max_attempts, token, "
    "created_at, payload) SELECT 'bench' || :client_id, 'bench', 'pending', 4, now(), 0, 25, 0, "
    "now(), :payload FROM generate_series(1, :jobs);\n"
    "WITH ready AS MATERIALIZED (SELECT id FROM {table} WHERE queue = 'bench' || :client_id AND "
    "state = 'pending' ORDER BY priority, run_at, id LIMIT :jobs FOR UPDATE SKIP LOCKED), claimed "
    "AS (UPDATE {table} t SET state = 'processing', attempt = attempt + 1, token = "
    "nextval('{table}_token'), worker = 'bench', lease_expires_at = now() + interval '30 s' FROM "
    "ready WHERE t.id = ready.id AND t.state = 'pending' RETURNING t.id, t.token) "
    "SELECT array_agg(id) AS ids, array_agg(token) AS tokens FROM claimed \\gset\n"
    "UPDATE {table} t SET state = 'completed', finished_at = now(), lease_expires_at = NULL FROM "
    "unnest(:ids::bigint[], :tokens::bigint[]) AS d (id, token) WHERE t.id = d.id AND t.token = "
    "d.token AND t.state = 'processing';\n";

}  // namespace

Result<double> MeasureRawPostgres(const std::string& store_url, int clients, int group,
                                  std::size_t payload_bytes, Duration length) {
  HF_ASSIGN_OR_RETURN(engine::postgres::Settings settings,
                      engine::postgres::ParsePostgresUrl(store_url));
  BenchTable table(settings.connection);
  HF_RETURN_IF_ERROR(table.Query(kRawTable));
  const auto run = [&](Duration time) {
    return RunPgbench(settings.connection, table.In(kLifeCycle), clients, time,
                      {"-M", "prepared", "-D", fmt::format("jobs={}", group), "-D",
                       fmt::format("payload='{}'", std::string(payload_bytes, 'x'))});
  };
  // Once for the statistics: what is planned for a table that is empty may stay so for long.
  HF_RETURN_IF_ERROR(run(std::chrono::seconds(1)));
  HF_RETURN_IF_ERROR(table.Query("VACUUM ANALYZE {table}"));
  HF_ASSIGN_OR_RETURN(double per_second, run(length));
  return per_second * group;
}

}  // namespace holdfast::cli
