// Who else is at work in the database, and stands in the way of vacuum or of others.
#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "base/text.h"
#include "engine/postgres/doctor_checks.h"

namespace holdfast::engine::postgres {
namespace {

// How many transactions a snapshot may keep vacuum from, however young it is.
constexpr std::int64_t kManyTransactions = 100'000;

// A session as it is told of, in the columns that Person reads. Of a session of another user, one
// without pg_monitor sees no more than process, user and application.
constexpr std::string_view kPerson =
    " a.pid::bigint, coalesce(a.usename, '')::text, a.application_name, "
    "coalesce(host(a.client_addr), ''), coalesce(a.state, ''), "
    "coalesce(to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), ''), "
    "coalesce(date_trunc('second', clock_timestamp() - a.query_start)::text, '') ";
constexpr int kPersonColumns = 7;

/// "pid 4711, ada (psql) from 10.0.0.7, idle in transaction since 2026-11-26 08:15:30 UTC, its
/// latest statement began 00:05:10 ago".
std::string Person(const Row& row, int from) {
  std::string text = fmt::format("pid {}, {}", row.Integer(from), row.Text(from + 1));
  if (!row.Text(from + 2).empty()) text += fmt::format(" ({})", row.Text(from + 2));
  if (row.Text(from + 4).empty()) return text + ", more of which only pg_monitor can see";
  text += row.Text(from + 3).empty() ? " on the server's machine"
                                     : fmt::format(" from {}", row.Text(from + 3));
  text += fmt::format(", {}", row.Text(from + 4));
  if (!row.Text(from + 5).empty()) text += fmt::format(" since {} UTC", row.Text(from + 5));
  if (row.Text(from + 6).empty()) return text;
  return text + fmt::format(", its latest statement began {} ago", row.Text(from + 6));
}

std::string EndSession(std::int64_t pid) {
  return fmt::format("end it in its program, or: SELECT pg_terminate_backend({})", pid);
}

double Seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

struct Holder {
  std::string who;
  std::string advice;
  std::int64_t transactions = 0;  // that vacuum must leave alone for it
  std::optional<double> seconds;  // for which it has done so, where that can be seen
};

/// Sessions in this database, and those that send the log to a standby with hot_standby_feedback.
/// Autovacuum has no user, and stands in nobody's way.
Result<void> AddSessions(const Examined& examined, std::vector<Holder>& holders) {
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      examined.connection.QueryText(fmt::format(
          "SELECT {}, greatest(age(a.backend_xmin), age(a.backend_xid))::bigint, "
          "  extract(epoch FROM clock_timestamp() - a.xact_start)::double precision, "
          "  a.datid IS NULL "
          "FROM pg_stat_activity a WHERE a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL "
          "AND (a.datname = current_database() OR a.datid IS NULL) "
          "AND coalesce(a.backend_xmin, a.backend_xid) IS NOT NULL",
          kPerson)));
  for (int i = 0; i < answer.size(); ++i) {
    const Row row(answer, i);
    Holder holder{.who = Person(row, 0), .advice = EndSession(row.Integer(0))};
    if (row.Bool(kPersonColumns + 2)) {
      holder.who += ", a standby with hot_standby_feedback";
      holder.advice = "end the long query on the standby, or switch hot_standby_feedback off there";
    }
    holder.transactions = row.Integer(kPersonColumns);
    if (!row.IsNull(kPersonColumns + 1)) holder.seconds = row.Real(kPersonColumns + 1);
    holders.push_back(std::move(holder));
  }
  return {};
}

Result<void> AddSlots(const Examined& examined, std::vector<Holder>& holders) {
  HF_ASSIGN_OR_RETURN(Answer answer,
                      examined.connection.QueryText(
                          "SELECT slot_name::text, age(xmin)::bigint, coalesce(active_pid, 0)"
                          "::bigint FROM pg_replication_slots WHERE xmin IS NOT NULL"));
  for (int i = 0; i < answer.size(); ++i) {
    const Row row(answer, i);
    const std::string by =
        row.Integer(2) == 0 ? "by nobody" : fmt::format("by pid {}", row.Integer(2));
    holders.push_back({.who = fmt::format("replication slot {}, used {}", row.Text(0), by),
                       .advice = fmt::format("end the long query on its standby, or, if there is "
                                             "none: SELECT pg_drop_replication_slot('{}')",
                                             row.Text(0)),
                       .transactions = row.Integer(1)});
  }
  return {};
}

Result<void> AddPrepared(const Examined& examined, std::vector<Holder>& holders) {
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      examined.connection.QueryText(
          "SELECT gid, owner::text, age(transaction)::bigint, "
          "extract(epoch FROM clock_timestamp() - prepared)::double precision, "
          "to_char(prepared AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') FROM pg_prepared_xacts "
          "WHERE database = current_database()"));
  for (int i = 0; i < answer.size(); ++i) {
    const Row row(answer, i);
    holders.push_back(
        {.who = fmt::format("prepared transaction '{}' of {} since {} UTC", row.Text(0),
                            row.Text(1), row.Text(4)),
         .advice = fmt::format("COMMIT PREPARED or ROLLBACK PREPARED '{}'", row.Text(0)),
         .transactions = row.Integer(2),
         .seconds = row.Real(3)});
  }
  return {};
}

}  // namespace

Result<Finding> CheckOldestSnapshot(const Examined& examined) {
  std::vector<Holder> holders;
  HF_RETURN_IF_ERROR(AddSessions(examined, holders));
  HF_RETURN_IF_ERROR(AddSlots(examined, holders));
  HF_RETURN_IF_ERROR(AddPrepared(examined, holders));
  if (holders.empty()) return Healthy("nobody holds one");
  std::ranges::sort(holders, [](const Holder& a, const Holder& b) {
    if (a.transactions != b.transactions) return a.transactions > b.transactions;
    return a.seconds.value_or(0) > b.seconds.value_or(0);
  });
  const double most = Seconds(examined.options.long_transaction);
  auto is_old = [&](const Holder& holder) {
    return holder.transactions >= kManyTransactions || (holder.seconds && *holder.seconds >= most);
  };
  auto describe = [](const Holder& holder) {
    return fmt::format("{}, keeps vacuum from {} transactions", holder.who, holder.transactions);
  };
  std::vector<std::string> old;
  std::string advice;
  for (const Holder& holder : holders) {
    if (!is_old(holder)) continue;
    if (old.empty()) advice = holder.advice;
    old.push_back(describe(holder));
  }
  if (old.empty()) return Healthy(describe(holders.front()));
  return Suspect(ListSome(old), std::move(advice));
}

Result<Finding> CheckLongTransactions(const Examined& examined) {
  HF_ASSIGN_OR_RETURN(Answer answer,
                      examined.connection.QueryText(fmt::format(
                          "SELECT {}, extract(epoch FROM clock_timestamp() - a.xact_start)"
                          "::double precision, a.xact_start IS NULL "
                          "FROM pg_stat_activity a WHERE a.pid <> pg_backend_pid() "
                          "AND a.usesysid IS NOT NULL AND a.datname = current_database() "
                          "AND (a.xact_start IS NOT NULL OR a.state IS NULL) "
                          "ORDER BY a.xact_start NULLS LAST",
                          kPerson)));
  std::vector<std::string> old;
  std::int64_t pid = 0;
  int hidden = 0;
  for (int i = 0; i < answer.size(); ++i) {
    const Row row(answer, i);
    if (row.Bool(kPersonColumns + 1)) {
      ++hidden;
    } else if (row.Real(kPersonColumns) >= Seconds(examined.options.long_transaction)) {
      if (old.empty()) pid = row.Integer(0);
      old.push_back(Person(row, 0));
    }
  }
  if (!old.empty()) return Suspect(ListSome(old), EndSession(pid));
  std::string found =
      fmt::format("none of over {}", base::FormatDuration(examined.options.long_transaction));
  if (hidden > 0) {
    found +=
        fmt::format("; {} sessions of other users, of which only pg_monitor can see that", hidden);
  }
  return Healthy(std::move(found));
}

Result<Finding> CheckBlockedSessions(const Examined& examined) {
  // Who waits for a row waits for the transaction that has it, but holds a lock on the table.
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      AskOfSchema(
          examined,
          fmt::format("WITH w AS (SELECT l.pid, min(l.waitstart) AS since FROM pg_locks l "
                      "  WHERE NOT l.granted AND l.waitstart < clock_timestamp() - interval '1 s' "
                      "  AND EXISTS (SELECT FROM pg_locks m JOIN pg_class c ON c.oid = m.relation "
                      "    JOIN pg_namespace n ON n.oid = c.relnamespace "
                      "    JOIN pg_database d ON d.oid = m.database "
                      "    WHERE m.pid = l.pid AND n.nspname = $1::text "
                      "    AND d.datname = current_database()) GROUP BY l.pid) "
                      "SELECT w.pid::bigint, date_trunc('second', clock_timestamp() - w.since)"
                      "::text, {} FROM w JOIN pg_stat_activity a "
                      "ON a.pid = (pg_blocking_pids(w.pid))[1] ORDER BY w.since",
                      kPerson)));
  if (answer.size() == 0) return Healthy("nobody has waited for longer than a second");
  std::vector<std::string> blocked;
  for (int i = 0; i < answer.size(); ++i) {
    const Row row(answer, i);
    blocked.push_back(
        fmt::format("pid {} has waited {} for {}", row.Integer(0), row.Text(1), Person(row, 2)));
  }
  return Suspect(ListSome(blocked), EndSession(Row(answer, 0).Integer(2)));
}

Finding JudgeNotifyQueue(const NotifyQueue& queue, Duration long_transaction) {
  // Of 8 GiB: what is delivered at once never comes near either.
  constexpr double kBehind = 0.01;
  constexpr double kFilling = 0.25;
  std::string found = fmt::format("{:.1f} % in use", queue.usage * 100);
  const bool is_held = queue.pid != 0 && queue.seconds >= Seconds(long_transaction);
  if (queue.usage < (is_held ? kBehind : kFilling)) return Healthy(std::move(found));
  constexpr std::string_view kFull =
      "once the queue is full, every commit with a NOTIFY fails, and nodes find out about one "
      "another by polling alone";
  if (queue.pid == 0) {
    return Suspect(std::move(found),
                   fmt::format("look again as a user with the role pg_monitor, who sees which "
                               "transaction is the oldest: a session that listens may hold it; {}",
                               kFull));
  }
  return Suspect(
      fmt::format("{}; the oldest transaction is that of {}", found, queue.who),
      fmt::format("it holds the queue if it listens: {}; {}", EndSession(queue.pid), kFull));
}

Result<Finding> CheckNotifyQueue(const Examined& examined) {
  // Who listens cannot be asked for. A listener reads nothing while it is in a transaction, and one
  // whose program does not take what it reads is in a transaction, too. There is one queue for all
  // databases.
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      examined.connection.QueryText(
          fmt::format("SELECT {}, q.usage, extract(epoch FROM clock_timestamp() - a.xact_start)"
                      "::double precision FROM (SELECT pg_notification_queue_usage() AS usage) q "
                      "LEFT JOIN pg_stat_activity a ON a.backend_type = 'client backend' "
                      "AND a.pid <> pg_backend_pid() AND a.xact_start IS NOT NULL "
                      "ORDER BY a.xact_start LIMIT 1",
                      kPerson)));
  const Row row(answer, 0);
  NotifyQueue queue{.usage = row.Real(kPersonColumns)};
  if (!row.IsNull(0)) {
    queue.pid = row.Integer(0);
    queue.seconds = row.Real(kPersonColumns + 1);
    queue.who = Person(row, 0);
  }
  return JudgeNotifyQueue(queue, examined.options.long_transaction);
}

}  // namespace holdfast::engine::postgres
