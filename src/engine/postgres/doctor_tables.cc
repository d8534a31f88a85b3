// What can be wrong with the tables of a store.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/result.h"
#include "engine/postgres/doctor_checks.h"
#include "engine/postgres/schema.h"

namespace holdfast::engine::postgres {
namespace {

/// What is wrong with the schema, and how to put it right.
struct Fault {
  std::string what;
  std::string advice = "restore the schema from a backup, or make what is missing by hand";
};

struct Present {
  std::set<std::pair<std::string, std::string>> objects;  // kind and name
  std::vector<Fault> faults;
};

Result<Present> FindPresent(const Examined& examined) {
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      AskOfSchema(examined,
                  "SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'i' THEN 'index' WHEN 'S' THEN "
                  "    'sequence' WHEN 'c' THEN 'type' ELSE '' END, "
                  "  c.relname::text, coalesce(i.indisvalid, true), "
                  "  c.relkind <> 'r' OR EXISTS (SELECT FROM pg_index p WHERE p.indrelid = c.oid "
                  "    AND p.indisprimary) "
                  "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                  "LEFT JOIN pg_index i ON i.indexrelid = c.oid WHERE n.nspname = $1::text "
                  "UNION ALL SELECT 'function', p.proname::text, true, true FROM pg_proc p "
                  "JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1::text"));
  Present present;
  for (int i = 0; i < answer.size(); ++i) {
    const Row row(answer, i);
    present.objects.emplace(row.String(0), row.String(1));
    if (!row.Bool(2)) {
      present.faults.push_back(
          {.what = "index " + row.String(1) + " is not valid",
           .advice = fmt::format("REINDEX INDEX {}.{}", examined.settings.schema, row.Text(1))});
    }
    if (!row.Bool(3)) {
      present.faults.push_back({.what = "table " + row.String(1) + " has no primary key"});
    }
  }
  return present;
}

/// Of one table, by pg_stat_user_tables.
struct DeadRows {
  std::string table;
  std::int64_t live = 0;
  std::int64_t dead = 0;
  std::string vacuumed;  // how long ago, or nothing
  bool vacuumed_of_late = false;

  /// A busy queue leaves hundreds of thousands of them between two vacuums, as it should. That one
  /// was there of late is no comfort where millions stay.
  bool AreTooMany() const {
    if (dead > 1'000'000) return dead > live;
    return dead > 10'000 && dead > live / 5 && !vacuumed_of_late;
  }
  std::string Describe() const {
    return fmt::format("{} has {} dead rows beside {}, last vacuumed {}", table, dead, live,
                       vacuumed.empty() ? "never" : vacuumed + " ago");
  }
};

Result<std::vector<DeadRows>> FindDeadRows(const Examined& examined) {
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      AskOfSchema(examined,
                  "WITH t AS (SELECT relname::text, n_live_tup, n_dead_tup, clock_timestamp() - "
                  "  greatest(last_autovacuum, last_vacuum) AS since "
                  "  FROM pg_stat_user_tables WHERE schemaname = $1::text) "
                  "SELECT relname, n_live_tup, n_dead_tup, "
                  "  coalesce(date_trunc('second', since)::text, ''), "
                  "  coalesce(since < interval '10 minutes', false) "
                  "FROM t ORDER BY n_dead_tup DESC, relname"));
  std::vector<DeadRows> tables;
  for (int i = 0; i < answer.size(); ++i) {
    const Row row(answer, i);
    tables.push_back({row.String(0), row.Integer(1), row.Integer(2), row.String(3), row.Bool(4)});
  }
  return tables;
}

}  // namespace

Result<Finding> CheckSchemaVersion(const Examined& examined) {
  const std::string& schema = examined.settings.schema;
  Result<std::optional<std::int64_t>> found =
      FindSchemaVersion(examined.connection, examined.settings);
  if (!found) {
    return Broken(found.error().code, "cannot be read: " + found.error().message,
                  fmt::format("see what the user may do in the schema {}", schema));
  }
  if (!*found) {
    return Broken(ErrorCode::kNotFound, fmt::format("there is no store in the schema {}", schema),
                  "name the right one (?schema=NAME), or make it: holdfast migrate");
  }
  const std::int64_t version = **found;
  if (version == kPostgresSchema) {
    return Healthy(fmt::format("{} in {}, that of this program", version, schema));
  }
  if (version < kPostgresSchema) {
    return Suspect(fmt::format("{} in {}; this program has {}", version, schema, kPostgresSchema),
                   "holdfast migrate, once every node runs a version that knows it");
  }
  return Broken(ErrorCode::kCorrupt,
                fmt::format("{} in {}, newer than {} of this program, which therefore refuses it",
                            version, schema, kPostgresSchema),
                "upgrade Holdfast here");
}

Result<Finding> CheckSchemaObjects(const Examined& examined) {
  HF_ASSIGN_OR_RETURN(std::optional<std::int64_t> version,
                      FindSchemaVersion(examined.connection, examined.settings));
  if (version != kPostgresSchema) return Healthy("not compared: the schema has another version");
  HF_ASSIGN_OR_RETURN(Present present, FindPresent(examined));
  const std::vector<SchemaObject> expected = SchemaObjects(examined.settings);
  for (const SchemaObject& object : expected) {
    if (present.objects.contains({object.kind, object.name})) continue;
    Fault fault{.what = object.kind + " " + object.name + " is missing"};
    if (object.kind == "index") fault.advice = object.statement;
    present.faults.push_back(std::move(fault));
  }
  if (present.faults.empty()) {
    return Healthy(fmt::format("{} tables, indexes, sequences, types and functions, all there",
                               expected.size()));
  }
  std::vector<std::string> texts;
  for (const Fault& fault : present.faults) texts.push_back(fault.what);
  return Broken(ErrorCode::kCorrupt, ListSome(texts), present.faults.front().advice);
}

Result<Finding> CheckPrivileges(const Examined& examined) {
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      AskOfSchema(examined,
                  "SELECT c.relname::text, current_user::text FROM pg_class c "
                  "JOIN pg_namespace n ON n.oid = c.relnamespace "
                  "WHERE n.nspname = $1::text AND c.relkind IN ('r', 'S') AND NOT CASE c.relkind "
                  "  WHEN 'S' THEN has_sequence_privilege(c.oid, 'USAGE') "
                  "  ELSE has_table_privilege(c.oid, 'SELECT') AND "
                  "    has_table_privilege(c.oid, 'INSERT') AND "
                  "    has_table_privilege(c.oid, 'UPDATE') AND "
                  "    has_table_privilege(c.oid, 'DELETE') END ORDER BY 1"));
  std::vector<std::string> refused;
  for (int i = 0; i < answer.size(); ++i) refused.push_back(Row(answer, i).String(0));
  if (refused.empty()) return Healthy("the user may read and write every table");
  const std::string_view user = Row(answer, 0).Text(1);
  return Broken(ErrorCode::kForbidden,
                fmt::format("{} may not read and write {}", user, ListSome(refused)),
                fmt::format("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {0} TO "
                            "{1}; GRANT USAGE ON ALL SEQUENCES IN SCHEMA {0} TO {1}",
                            examined.settings.schema, user));
}

Result<Finding> CheckAutovacuum(const Examined& examined) {
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      AskOfSchema(examined,
                  "SELECT current_setting('autovacuum'), current_setting('track_counts'), "
                  "  (SELECT coalesce(string_agg(c.relname, ', ' ORDER BY c.relname), '') "
                  "   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                  "   WHERE n.nspname = $1::text AND EXISTS (SELECT FROM "
                  "     pg_options_to_table(c.reloptions) WHERE option_name = "
                  "     'autovacuum_enabled' AND NOT option_value::boolean))"));
  const Row row(answer, 0);
  for (int column : {0, 1}) {
    if (row.Text(column) == "on") continue;
    const std::string_view name = column == 0 ? "autovacuum" : "track_counts";
    return Suspect(
        fmt::format("{} is off: dead rows pile up, and every claim reads past them", name),
        fmt::format("switch {} on in the server's settings", name));
  }
  const std::string_view tables = row.Text(2);
  if (!tables.empty()) {
    return Suspect(fmt::format("off for {}: dead rows pile up there", tables),
                   fmt::format("ALTER TABLE {}.{} RESET (autovacuum_enabled)",
                               examined.settings.schema, tables.substr(0, tables.find(','))));
  }
  return Healthy("on, for every table");
}

Result<Finding> CheckDeadRows(const Examined& examined) {
  HF_ASSIGN_OR_RETURN(std::vector<DeadRows> tables, FindDeadRows(examined));
  if (tables.empty()) return Healthy("no table");
  std::vector<std::string> bad;
  std::string worst;
  for (const DeadRows& table : tables) {
    if (!table.AreTooMany()) continue;
    if (bad.empty()) worst = table.table;
    bad.push_back(table.Describe());
  }
  if (bad.empty()) return Healthy("at most: " + tables.front().Describe());
  return Suspect(ListSome(bad),
                 fmt::format("VACUUM {}.{}; where they stay, see oldest_snapshot and autovacuum",
                             examined.settings.schema, worst));
}

Result<Finding> CheckIndexSize(const Examined& examined) {
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      AskOfSchema(examined,
                  "SELECT c.relname::text, pg_table_size(c.oid), pg_indexes_size(c.oid) "
                  "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                  "WHERE n.nspname = $1::text AND c.relkind = 'r' ORDER BY 3 DESC, 1"));
  // Below that, nobody gains by making it smaller.
  constexpr std::int64_t kSmall = 8 << 20;
  std::vector<std::string> bad;
  std::string worst;
  std::int64_t tables = 0;
  std::int64_t indexes = 0;
  for (int i = 0; i < answer.size(); ++i) {
    const Row row(answer, i);
    tables += row.Integer(1);
    indexes += row.Integer(2);
    if (row.Integer(2) < kSmall || row.Integer(2) <= 2 * row.Integer(1)) continue;
    if (bad.empty()) worst = row.String(0);
    bad.push_back(fmt::format("{} has {} of indexes on {} of rows", row.Text(0),
                              ByteText(row.Integer(2)), ByteText(row.Integer(1))));
  }
  if (bad.empty()) {
    return Healthy(
        fmt::format("{} of indexes on {} of tables", ByteText(indexes), ByteText(tables)));
  }
  return Suspect(ListSome(bad),
                 fmt::format("REINDEX TABLE CONCURRENTLY {}.{}", examined.settings.schema, worst));
}

Result<Finding> CheckTransactionIds(const Examined& examined) {
  // The server stops for the oldest of its databases, whosever it is.
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      AskOfSchema(examined,
                  "SELECT 'database ' || datname, "
                  "  greatest(age(datfrozenxid), mxid_age(datminmxid))::bigint FROM pg_database "
                  "UNION ALL SELECT 'table ' || c.relname, "
                  "  greatest(age(c.relfrozenxid), mxid_age(c.relminmxid))::bigint FROM pg_class c "
                  "JOIN pg_namespace n ON n.oid = c.relnamespace "
                  "WHERE n.nspname = $1::text AND c.relkind = 'r' ORDER BY 2 DESC LIMIT 1"));
  const Row row(answer, 0);
  // It accepts no more writes three million before the end.
  constexpr std::int64_t kEnd = 2'147'483'648 - 3'000'000;
  std::string found =
      fmt::format("{} of {} used up, the most by {}", row.Integer(1), kEnd, row.Text(0));
  if (row.Integer(1) < 500'000'000) return Healthy(std::move(found));
  std::string advice =
      "VACUUM (FREEZE) it, and see what keeps autovacuum from it: at the end the server takes no "
      "more writes";
  if (row.Integer(1) < 2'000'000'000) return Suspect(std::move(found), std::move(advice));
  return Broken(ErrorCode::kUnavailable, std::move(found), std::move(advice));
}

}  // namespace holdfast::engine::postgres
