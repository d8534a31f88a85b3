// The statements of Transaction that are not those of its tables.
#include <fmt/format.h>

#include "base/mutant.h"
#include "engine/postgres/audit_rows.h"
#include "engine/postgres/transaction.h"

namespace holdfast::engine::postgres {

namespace {

/// What may be claimed of one queue: `from` is its name in SQL.
std::string ReadyOf(std::string_view from, std::string_view limit) {
  return fmt::format(
      "SELECT * FROM $.jobs WHERE ready_in = {} ORDER BY priority, run_at, id LIMIT {} "
      "FOR NO KEY UPDATE SKIP LOCKED",
      from, limit);
}

/// The same, where each priority is looked at from its low-watermark on: in the arrays $3 and $4,
/// where `place` says the how manieth queue this is.
std::string ReadyAbove(std::string_view from, std::string_view limit, std::string_view place) {
  const std::string at = fmt::format("({} - 1) * 10 + p.priority + 1", place);
  return fmt::format(
      "SELECT i.* FROM generate_series(0::bigint, 9::bigint) AS p (priority) CROSS JOIN LATERAL "
      "(SELECT * FROM $.jobs WHERE ready_in = {0} AND priority = p.priority AND (run_at, id) >= "
      "(coalesce(($3::timestamptz[])[{2}], '-infinity'), coalesce(($4::bigint[])[{2}], 0)) "
      "ORDER BY run_at, id LIMIT {1} FOR NO KEY UPDATE {3}) i LIMIT {1}",
      from, limit, at, HF_MUTANT(claim_waits_for_rows) ? "" : "SKIP LOCKED");
}

/// The same of one kind.
std::string ReadyOfKind(std::string_view from, std::string_view kind, std::string_view limit) {
  return fmt::format(
      "SELECT * FROM $.jobs WHERE ready_in = {} AND kind = {} ORDER BY priority, run_at, id "
      "LIMIT {} FOR NO KEY UPDATE SKIP LOCKED",
      from, kind, limit);
}

/// The queues that have pending jobs, but for those whose names are in the array `marked`, each
/// with the key of its first job. It takes one look into the index for each such queue, and one for
/// each gap between two names of the array, which is in their order: the entries of jobs in marked
/// queues, dead ones that a snapshot keeps included, are not read. '~' is behind every name.
std::string PendingBesides(std::string_view marked) {
  constexpr std::string_view kFirst =
      "SELECT ready_in, priority, run_at, id FROM $.jobs WHERE ready_in > {} AND "
      "ready_in < gap.beyond ORDER BY ready_in, priority, run_at, id LIMIT 1";
  return fmt::format(
      "(SELECT f.* FROM unnest(array_prepend(''::text, {0}::text[]), array_append({0}::text[], "
      "'~'::text)) AS gap (before, beyond) CROSS JOIN LATERAL (WITH RECURSIVE found (queue, "
      "priority, run_at, id) AS (({1}) UNION ALL SELECT next.* FROM found CROSS JOIN LATERAL ({2}) "
      "next) SELECT * FROM found) f)",
      marked, fmt::format(kFirst, "gap.before"), fmt::format(kFirst, "found.queue"));
}

/// "a, b" as "j.a, j.b".
std::string Of(std::string_view table, std::string_view columns) {
  std::string all = fmt::format("{}.", table);
  for (char c : columns) {
    all += c;
    if (c == ' ') all += fmt::format("{}.", table);
  }
  return all;
}

/// Jobs whose retention is over, of those that are kept as long as `retained_as` says.
std::string OldOf(std::string_view retained_as) {
  return fmt::format(
      "SELECT j.id FROM $.queues q CROSS JOIN LATERAL (SELECT id FROM $.jobs WHERE "
      "retained_as = '{0}' AND queue = q.name AND finished_at <= $1::timestamptz - "
      "q.retain_{0} * interval '1 microsecond' ORDER BY finished_at LIMIT $2::bigint "
      "FOR UPDATE SKIP LOCKED) j",
      retained_as);
}

}  // namespace

Transaction::Transaction(Connection*& connection, Node& node, std::int64_t slot)
    : connection_(connection),
      node_(node),
      jobs_(node.settings, slot),
      records_(connection, node.settings),
      locks_(connection, node.settings, node.session),
      job_ids_{node.job_ids, &rules::Counters::last_job},
      record_ids_{node.record_ids, &rules::Counters::last_record},
      transfer_ids_{node.transfer_ids, &rules::Counters::last_transfer},
      commit_(node.settings, "COMMIT"),
      take_guards_(node.settings,
                   "SELECT CASE WHEN is_exclusive THEN pg_advisory_xact_lock(guard) ELSE "
                   "pg_advisory_xact_lock_shared(guard) END FROM unnest($1::bigint[], $2::bool[]) "
                   "AS u (guard, is_exclusive)"),
      stamp_(node.settings,
             "SELECT nextval('$.stamps'), clock_timestamp(), pg_current_xact_id()::text::bigint"),
      load_answers_(node.settings,
                    "SELECT key, fingerprint, answer, expires_at FROM $.idempotency "
                    "WHERE key = ANY ($1::text[])"),
      delete_answers_(node.settings,
                      "DELETE FROM $.idempotency WHERE key = ANY ($1::text[]) AND "
                      "expires_at <= $2::timestamptz"),
      insert_answers_(node.settings,
                      "INSERT INTO $.idempotency (key, fingerprint, answer, expires_at) SELECT * "
                      "FROM unnest($1::$.answer_row[])"),
      insert_audit_(node.settings, kInsertAudit),
      claim_jobs_(
          node.settings,
          fmt::format("SELECT {} FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS asked "
                      "(of_queue, most, place) JOIN $.queues q ON q.name = asked.of_queue AND "
                      "NOT q.paused AND q.max_running IS NULL CROSS JOIN LATERAL ({}) j",
                      Of("j", kJobColumns),
                      ReadyAbove("asked.of_queue", "asked.most", "asked.place"))),
      claim_any_(
          node.settings,
          // Of the queues without marks those whose first jobs are the first, and a few more in
          // case that another transaction holds jobs of those.
          fmt::format(
              "SELECT {0} FROM unnest($2::text[]) WITH ORDINALITY AS known (of_queue, place) JOIN "
              "$.queues q ON q.name = known.of_queue AND NOT q.paused AND q.max_running IS NULL "
              "CROSS JOIN LATERAL ({1}) j UNION ALL SELECT {0} FROM (SELECT p.queue FROM {2} p "
              "JOIN $.queues q ON q.name = p.queue AND NOT q.paused AND q.max_running IS NULL "
              "ORDER BY p.priority, p.run_at, p.id LIMIT $1::bigint + 8) p "
              "CROSS JOIN LATERAL ({3}) j",
              Of("j", kJobColumns), ReadyAbove("known.of_queue", "$1::bigint", "known.place"),
              PendingBesides("$2"), ReadyOf("p.queue", "$1::bigint"))),
      claim_limited_(node.settings, fmt::format("SELECT {} FROM ({}) j", kJobColumns,
                                                ReadyOf("$1", "$2::bigint"))),
      load_claim_queues_(
          node.settings,
          fmt::format("SELECT {} FROM $.queues q LEFT JOIN $.queue_counts c ON c.queue = "
                      "CASE WHEN q.max_running IS NOT NULL THEN q.name END "
                      "WHERE q.name = ANY ($1::text[]) GROUP BY q.name",
                      kQueueColumns)),
      load_pending_queues_(
          node.settings,
          fmt::format("SELECT {} FROM (SELECT p.queue FROM {} p UNION ALL SELECT "
                      "unnest($1::text[])) pending JOIN $.queues q ON q.name = pending.queue "
                      "LEFT JOIN $.queue_counts c ON c.queue = "
                      "CASE WHEN q.max_running IS NOT NULL THEN q.name END GROUP BY q.name",
                      kQueueColumns, PendingBesides("$1"))),
      lock_free_queues_(node.settings,
                        "SELECT name FROM $.queues WHERE name = ANY ($1::text[]) ORDER BY name "
                        "FOR UPDATE SKIP LOCKED"),
      claim_kinds_(node.settings,
                   fmt::format("SELECT {} FROM unnest($1::text[], $2::text[], $3::bigint[]) AS "
                               "asked (of_queue, of_kind, most) JOIN $.queues q ON q.name = "
                               "asked.of_queue AND NOT q.paused AND q.max_running IS NULL "
                               "CROSS JOIN LATERAL ({}) j",
                               Of("j", kJobColumns),
                               ReadyOfKind("asked.of_queue", "asked.of_kind", "asked.most"))),
      claim_kinds_any_(
          node.settings,
          fmt::format("SELECT {} FROM unnest($1::text[], $2::bigint[]) AS asked (of_kind, most) "
                      "CROSS JOIN {} p JOIN $.queues q ON q.name = p.queue AND NOT q.paused AND "
                      "q.max_running IS NULL CROSS JOIN LATERAL ({}) j",
                      Of("j", kJobColumns), PendingBesides("ARRAY[]"),
                      ReadyOfKind("p.queue", "asked.of_kind", "asked.most"))),
      claim_limited_kinds_(
          node.settings,
          fmt::format("SELECT {} FROM unnest($2::text[], $3::bigint[]) AS asked (of_kind, most) "
                      "CROSS JOIN LATERAL ({}) j",
                      Of("j", kJobColumns), ReadyOfKind("$1", "asked.of_kind", "asked.most"))),
      load_limited_queues_(
          node.settings,
          fmt::format("SELECT {} FROM $.queues q LEFT JOIN $.queue_counts c ON c.queue = "
                      "q.name WHERE q.max_running IS NOT NULL AND EXISTS (SELECT 1 FROM $.jobs f "
                      "WHERE f.ready_in = q.name AND f.kind = ANY ($1::text[])) GROUP BY q.name",
                      kQueueColumns)),
      due_jobs_(node.settings,
                // As an array: a join would be planned for as many rows as LIMIT might let through.
                fmt::format("SELECT {0} FROM $.jobs WHERE id = ANY (ARRAY("
                            "(SELECT id FROM $.jobs WHERE "
                            "due_at <= $1::timestamptz ORDER BY due_at LIMIT $2::bigint) UNION ALL "
                            "(SELECT id FROM $.jobs WHERE is_running AND token >= $3::bigint "
                            "AND lease_expires_at <= $1::timestamptz LIMIT $2::bigint))) AND "
                            "(due_at <= $1::timestamptz OR "
                            "lease_expires_at <= $1::timestamptz) ORDER BY id LIMIT $2::bigint "
                            "FOR NO KEY UPDATE SKIP LOCKED",
                            kJobColumns)),
      due_records_(node.settings,
                   "SELECT kind, id FROM $.records WHERE expires_at <= $1::timestamptz "
                   "ORDER BY expires_at LIMIT $2::bigint"),
      due_transfers_(node.settings,
                     "SELECT id FROM $.transfers WHERE state = 'pending' AND "
                     "expires_at <= $1::timestamptz ORDER BY expires_at LIMIT $2::bigint"),
      due_locks_(node.settings,
                 "SELECT DISTINCT name FROM $.lock_holders WHERE CASE WHEN is_delay THEN "
                 "expires_at + lock_delay_us * interval '1 microsecond' ELSE expires_at END <= "
                 "$1::timestamptz LIMIT $2::bigint"),
      dead_lines_(node.settings,
                  "SELECT DISTINCT w.name FROM $.lock_sessions s JOIN $.lock_waiters w ON "
                  "w.session = s.id WHERE s.expires_at <= $1::timestamptz AND s.id <> $2::bigint "
                  "LIMIT $3::bigint"),
      // Counted off in the same statement, in the slot of this connection.
      prune_jobs_(
          node.settings,
          fmt::format("WITH completed AS MATERIALIZED ({0}), failed AS MATERIALIZED ({1}), "
                      "old AS (SELECT id FROM completed UNION ALL SELECT id FROM failed "
                      "LIMIT $2::bigint), ",
                      OldOf("completed"), OldOf("failed")) +
              "gone AS (DELETE FROM $.jobs WHERE id IN (SELECT id FROM old) RETURNING queue, "
              "state), "
              "counted AS (INSERT INTO $.queue_counts AS c SELECT queue, $3::bigint, 0, 0, 0, "
              "-count(*) FILTER (WHERE state = 'completed'), -count(*) FILTER (WHERE state = "
              "'failed'), -count(*) FILTER (WHERE state = 'cancelled') FROM gone GROUP BY queue "
              "ORDER BY queue " +
              std::string(kAddToCounts) + ") SELECT count(*) FROM gone"),
      prune_answers_(node.settings,
                     "DELETE FROM $.idempotency WHERE key = ANY (ARRAY(SELECT key FROM "
                     "$.idempotency WHERE expires_at <= $1::timestamptz LIMIT $2::bigint "
                     "FOR UPDATE SKIP LOCKED))"),
      prune_audit_(node.settings,
                   "DELETE FROM $.audit WHERE sequence = ANY (ARRAY(SELECT sequence FROM $.audit "
                   "WHERE sequence = ANY (ARRAY(SELECT sequence FROM $.audit ORDER BY sequence "
                   "LIMIT $2::bigint)) AND at <= $1::timestamptz FOR UPDATE SKIP LOCKED))"),
      prune_transfers_(node.settings,
                       "DELETE FROM $.transfers WHERE id = ANY (ARRAY(SELECT id FROM $.transfers "
                       "WHERE finished_at <= $1::timestamptz ORDER BY finished_at LIMIT "
                       "$2::bigint FOR UPDATE SKIP LOCKED))"),
      prune_locks_(node.settings,
                   "DELETE FROM $.locks WHERE name = ANY (ARRAY(SELECT name FROM $.locks l WHERE "
                   "NOT EXISTS (SELECT 1 FROM $.lock_holders h WHERE h.name = l.name) AND "
                   "NOT EXISTS (SELECT 1 FROM $.lock_waiters w WHERE w.name = l.name) LIMIT "
                   "$1::bigint FOR UPDATE SKIP LOCKED))"),
      prune_sessions_(
          node.settings,
          "DELETE FROM $.lock_sessions WHERE id = ANY (ARRAY(SELECT id FROM "
          "$.lock_sessions s WHERE expires_at <= $1::timestamptz AND NOT EXISTS (SELECT "
          "1 FROM $.lock_waiters w WHERE w.session = s.id) FOR UPDATE SKIP LOCKED))"),
      next_due_(
          node.settings,
          "SELECT least((SELECT min(due_at) FROM $.jobs WHERE due_at IS NOT NULL), "
          "(SELECT min(lease_expires_at) FROM $.jobs WHERE is_running AND token >= $2::bigint), "
          "(SELECT min(expires_at) FROM $.records WHERE expires_at IS NOT NULL), "
          "(SELECT min(expires_at) FROM $.transfers WHERE state = 'pending' AND expires_at IS NOT "
          "NULL), (SELECT min(CASE WHEN is_delay THEN expires_at + lock_delay_us * interval '1 "
          "microsecond' ELSE expires_at END) FROM $.lock_holders), "
          "(SELECT min(expires_at) FROM $.lock_sessions s WHERE id <> $1::bigint AND EXISTS "
          "(SELECT 1 FROM $.lock_waiters w WHERE w.session = s.id))), "
          "(SELECT min(token) FROM $.jobs WHERE is_running AND token >= $2::bigint)"),
      fold_counts_(
          node.settings,
          fmt::format(
              "WITH old AS MATERIALIZED (SELECT queue, slot FROM $.queue_counts WHERE slot >= "
              "$2::bigint LIMIT 1000 FOR UPDATE SKIP LOCKED), gone AS (DELETE FROM $.queue_counts "
              "c USING old WHERE c.queue = old.queue AND c.slot = old.slot RETURNING c.*) "
              "INSERT INTO $.queue_counts AS c SELECT queue, $1::bigint, sum(scheduled)::bigint, "
              "sum(pending)::bigint, sum(processing)::bigint, sum(completed)::bigint, "
              "sum(failed)::bigint, sum(cancelled)::bigint FROM gone GROUP BY queue ORDER BY "
              "queue {}",
              kAddToCounts)) {}

}  // namespace holdfast::engine::postgres
