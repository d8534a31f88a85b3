// What can be wrong with a server, and with what it is set to.
#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "base/text.h"
#include "engine/postgres/doctor_checks.h"
#include "engine/postgres/lanes.h"
#include "engine/postgres/reader.h"

namespace holdfast::engine::postgres {
namespace {

Result<Finding> CheckLossySetting(const Examined& examined, std::string_view name) {
  HF_ASSIGN_OR_RETURN(Answer answer, examined.connection.QueryText(
                                         fmt::format("SELECT current_setting('{}')", name)));
  const std::string_view value = Row(answer, 0).Text(0);
  if (!LosesCommits(value)) return Healthy(std::string(value));
  std::string found = fmt::format("{}: acknowledged commits may be lost", value);
  if (examined.settings.allows_lossy) {
    return Suspect(found + ", which lossy=allow in the URL accepts",
                   fmt::format("for anything but tests: switch {} on", name));
  }
  return Broken(ErrorCode::kUnavailable, found + ", so the store refuses to open",
                fmt::format("switch {} on; for tests alone, add lossy=allow to the URL", name));
}

std::string Milliseconds(std::int64_t value) {
  return value == 0 ? "never" : "after " + base::FormatDuration(std::chrono::milliseconds(value));
}

}  // namespace

Result<Finding> CheckVersion(const Examined& examined) {
  const int version = PQserverVersion(examined.connection.handle());
  std::string found = fmt::format("PostgreSQL {}.{}", version / 10'000, version % 10'000);
  if (version >= kOldestServer) return Healthy(std::move(found));
  return Broken(
      ErrorCode::kUnavailable, found + " is too old, so the store refuses to open",
      fmt::format("upgrade the server to PostgreSQL {} or later", kOldestServer / 10'000));
}

Result<Finding> CheckWritable(const Examined& examined) {
  // The value of this session says that it only looks.
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      examined.connection.QueryText("SELECT pg_is_in_recovery(), reset_val = 'on', "
                                    "EXISTS (SELECT FROM pg_stat_wal_receiver) FROM pg_settings "
                                    "WHERE name = 'default_transaction_read_only'"));
  const Row row(answer, 0);
  if (row.Bool(0)) {
    std::string found = fmt::format("a standby that {} the log of a primary: it can only be read",
                                    row.Bool(2) ? "receives" : "does not receive");
    const Settings& settings = examined.settings;
    if (settings.hosts == 1 || settings.NamesSessionAttributes()) {
      return Broken(ErrorCode::kUnavailable, std::move(found),
                    "connect to the primary: if the URL names all hosts (HOST:PORT,HOST:PORT), and "
                    "no target_session_attrs, a store finds it, and its successor");
    }
    return Broken(ErrorCode::kUnavailable, found + ", and no other host takes writes",
                  "start the primary; if it is gone for good, promote a standby: SELECT "
                  "pg_promote()");
  }
  if (row.Bool(1)) {
    return Broken(ErrorCode::kUnavailable,
                  "default_transaction_read_only is on: nothing can be "
                  "written",
                  "switch it off for the user, the database or the server");
  }
  return Healthy("a primary that takes writes");
}

Result<Finding> CheckEncoding(const Examined& examined) {
  HF_ASSIGN_OR_RETURN(Answer answer,
                      examined.connection.QueryText("SELECT current_setting('server_encoding')"));
  const std::string_view value = Row(answer, 0).Text(0);
  if (value == kEncoding) return Healthy(std::string(value));
  return Broken(ErrorCode::kUnavailable,
                fmt::format("{} cannot hold every text, so the store refuses to open", value),
                fmt::format("create a database with ENCODING '{}' TEMPLATE template0", kEncoding));
}

Result<Finding> CheckFsync(const Examined& examined) {
  return CheckLossySetting(examined, "fsync");
}

Result<Finding> CheckFullPageWrites(const Examined& examined) {
  return CheckLossySetting(examined, "full_page_writes");
}

Result<Finding> CheckSynchronousCommit(const Examined& examined) {
  return CheckLossySetting(examined, "synchronous_commit");
}

Result<Finding> CheckStandbys(const Examined& examined) {
  // A user without pg_monitor sees that there are standbys, but not what they are.
  HF_ASSIGN_OR_RETURN(Answer answer,
                      examined.connection.QueryText(
                          "SELECT current_setting('synchronous_standby_names'), count(*), "
                          "count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')), "
                          "count(*) FILTER (WHERE sync_state IS NULL), pg_is_in_recovery() "
                          "FROM pg_stat_replication"));
  const Row row(answer, 0);
  // It has the primary's settings, but commits nothing that would wait for anybody.
  if (row.Bool(4)) return Healthy("a standby waits for none; see what its primary says");
  const std::int64_t all = row.Integer(1);
  const std::int64_t synchronous = row.Integer(2);
  if (row.Text(0).empty()) {
    return Healthy(
        fmt::format("none is asked for, {} connected: a fail-over may lose the latest "
                    "commits",
                    all));
  }
  std::string found = fmt::format("'{}' is asked for, {} connected", row.Text(0), all);
  if (synchronous > 0) return Healthy(fmt::format("{}, {} synchronous", found, synchronous));
  if (row.Integer(3) > 0) {
    return Healthy(found + "; whether they are synchronous only pg_monitor can see");
  }
  return Broken(ErrorCode::kUnavailable, found + ", none synchronous: every commit waits for ever",
                "start the standby, or take it out of synchronous_standby_names");
}

Result<Finding> CheckTimeouts(const Examined& examined) {
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      examined.connection.QueryText(
          "SELECT name, reset_val::bigint FROM pg_settings WHERE name IN ('idle_session_timeout', "
          "'transaction_timeout', 'deadlock_timeout', 'idle_in_transaction_session_timeout')"));
  constexpr std::int64_t kShort = 60'000;
  std::vector<std::string> wrong;
  std::int64_t others = 0;
  for (int i = 0; i < answer.size(); ++i) {
    const Row row(answer, i);
    const std::string_view name = row.Text(0);
    const std::int64_t value = row.Integer(1);
    if (name == "idle_in_transaction_session_timeout") {
      others = value;
    } else if (name == "deadlock_timeout") {
      // A store's connection gives up waiting for a row after 20 s.
      if (value >= 20'000) wrong.push_back(fmt::format("deadlock_timeout is {} ms", value));
    } else if (value > 0 && value < kShort) {
      wrong.push_back(fmt::format("{} is {} ms", name, value));
    }
  }
  if (!wrong.empty()) {
    return Suspect(ListSome(wrong) + ": the server ends what a store still needs",
                   "raise it for the store's user: ALTER ROLE ... SET ...");
  }
  return Healthy(fmt::format("a store sets its own; an idle transaction of anybody else ends {}",
                             Milliseconds(others)));
}

Result<Finding> CheckConnections(const Examined& examined) {
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      examined.connection.QueryText(
          "WITH a AS (SELECT datid, usesysid FROM pg_stat_activity "
          "  WHERE datid IS NOT NULL AND usesysid IS NOT NULL AND pid <> pg_backend_pid()) "
          "SELECT current_setting('max_connections')::bigint - "
          "    current_setting('superuser_reserved_connections')::bigint, "
          "  (SELECT count(*) FROM a), r.rolconnlimit::bigint, "
          "  (SELECT count(*) FROM a WHERE usesysid = r.oid), d.datconnlimit::bigint, "
          "  (SELECT count(*) FROM a WHERE datid = d.oid) "
          "FROM pg_roles r, pg_database d "
          "WHERE r.rolname = current_user AND d.datname = current_database()"));
  const Row row(answer, 0);
  std::int64_t most = row.Integer(0);
  std::int64_t free = most - row.Integer(1);
  std::string_view bound = "max_connections";
  for (auto [column, name] : {std::pair(2, "the limit of the user"),
                              {4,
                               "the limit of the "
                               "database"}}) {
    const std::int64_t limit = row.Integer(column);
    if (limit < 0 || limit - row.Integer(column + 1) >= free) continue;
    most = limit;
    free = limit - row.Integer(column + 1);
    bound = name;
  }
  const std::int64_t needed = LaneConnections(examined.settings) + std::int64_t{kReaders} +
                              (examined.settings.notifies ? 1 : 0);
  std::string found = fmt::format("{} of {} are free ({}); a node uses up to {}",
                                  std::max<std::int64_t>(free, 0), most, bound, needed);
  if (free >= needed) return Healthy(std::move(found));
  return Suspect(std::move(found),
                 "raise the limit, use fewer lanes, or put a pooler in front of the server");
}

Result<Finding> CheckClock(const Examined& examined) {
  const Clock& clock = *examined.options.clock;
  const Time before = clock.Wall();
  HF_ASSIGN_OR_RETURN(Answer answer, examined.connection.QueryText("SELECT clock_timestamp()"));
  const Time after = clock.Wall();
  const Time server = Row(answer, 0).TimeAt(0);
  // Anything between the two is right.
  const Duration off = server < before  ? before - server
                       : server > after ? server - after
                                        : Duration(0);
  const double seconds = std::chrono::duration<double>(off).count();
  std::string found = off == Duration(0)
                          ? "that of the server is that of this machine"
                          : fmt::format("that of the server is {:.1f} s {} that of this machine",
                                        seconds, server < before ? "behind" : "ahead of");
  if (off <= std::chrono::seconds(1)) return Healthy(std::move(found));
  return Suspect(std::move(found),
                 "synchronise both (NTP): leases go by the server's alone, but times that programs "
                 "name, such as run_at, are meant by theirs");
}

Result<Finding> CheckReplicationSlots(const Examined& examined) {
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      examined.connection.QueryText(
          "SELECT slot_name::text, active, coalesce(pg_size_pretty(pg_wal_lsn_diff(CASE WHEN "
          "pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, "
          "restart_lsn)), 'nothing') FROM pg_replication_slots ORDER BY slot_name"));
  std::vector<std::string> idle;
  for (int i = 0; i < answer.size(); ++i) {
    const Row row(answer, i);
    if (row.Bool(1)) continue;
    idle.push_back(
        fmt::format("{} is used by nobody and keeps {} of the log", row.Text(0), row.Text(2)));
  }
  if (answer.size() == 0) return Healthy("none");
  if (idle.empty()) return Healthy(fmt::format("{}, all in use", answer.size()));
  return Suspect(ListSome(idle),
                 "start its standby, or pg_drop_replication_slot: the log that it "
                 "keeps fills the disk");
}

}  // namespace holdfast::engine::postgres
