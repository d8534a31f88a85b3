#include "engine/postgres/reader.h"

#include <fmt/format.h>

#include "base/result.h"
#include "engine/postgres/job_rows.h"
#include "engine/postgres/lock_table.h"
#include "engine/sql_rows.h"
#include "rules/answer_size.h"
#include "rules/validate.h"

namespace holdfast::engine::postgres {
namespace {

using base::MutexLock;

constexpr auto kWaitSlice = std::chrono::milliseconds(50);

/// Conditions joined with AND, and the parameters they name.
class Where {
 public:
  /// `condition` has {} for the parameter.
  template <typename T>
  void And(std::string_view condition, const T& value) {
    parameters.Add(value);
    AndText(fmt::format(fmt::runtime(condition), fmt::format("${}", parameters.values().size())));
  }
  void AndText(std::string_view condition) {
    text += text.empty() ? " WHERE " : " AND ";
    text += condition;
  }
  std::string Limit(int limit) {
    parameters.Add(std::int64_t{limit} + 1);
    return fmt::format(" LIMIT ${}::bigint", parameters.values().size());
  }

  std::string text;
  Parameters parameters;
};

/// The rows of a page, and none behind the first that the answer has no room for: up to a thousand
/// large ones would all come to this process first.
std::string PageSql(std::string_view columns, std::string_view table, std::string_view where,
                    std::string_view limit, std::string_view bytes) {
  return fmt::format(
      "SELECT {0} FROM (SELECT *, sum({4}) OVER (ORDER BY id) - ({4}) AS bytes_before FROM (SELECT "
      "* FROM {1}{2} ORDER BY id{3}) page) page WHERE bytes_before <= {5} ORDER BY id",
      columns, table, where, limit, bytes, rules::kAnswerBytes);
}

/// $1 queues; the empty name stands for any. Ordered, so that no plan reads all jobs to find one.
constexpr std::string_view kFindReady = R"sql(
SELECT u.name FROM unnest($1::text[]) AS u (name) LEFT JOIN $.queues q ON q.name = u.name
WHERE CASE WHEN u.name = ''
  THEN (SELECT j.ready_in FROM $.jobs j WHERE j.ready_in IS NOT NULL ORDER BY j.ready_in LIMIT 1)
    IS NOT NULL
  ELSE NOT coalesce(q.paused, false)
    AND (q.max_running IS NULL OR q.max_running >
         (SELECT coalesce(sum(c.processing), 0) FROM $.queue_counts c WHERE c.queue = u.name))
    AND (SELECT j.id FROM $.jobs j WHERE j.ready_in = u.name
         ORDER BY j.ready_in, j.priority, j.run_at, j.id LIMIT 1) IS NOT NULL
  END)sql";

/// $1 tickets, $2 names, $3 modes, $4 limits, $5 this node's session, $6 the time, or none. By
/// place: whether it is gone, or the first and the lock can be had. Leases and waiters that are
/// over do not count.
constexpr std::string_view kFindTurns = R"sql(
SELECT NOT EXISTS (
    SELECT 1 FROM $.lock_waiters w WHERE w.name = u.name AND w.ticket = u.ticket)
  OR (NOT EXISTS (
    SELECT 1 FROM $.lock_waiters w WHERE w.name = u.name AND w.ticket < u.ticket
      AND w.deadline > t.now AND (w.session = $5::bigint OR EXISTS (
        SELECT 1 FROM $.lock_sessions s WHERE s.id = w.session AND s.expires_at > t.now)))
  AND NOT EXISTS (
    SELECT 1 FROM $.lock_holders h WHERE h.name = u.name
      AND (u.mode = 'exclusive' OR h.mode = 'exclusive') AND h.expires_at +
        h.is_delay::int * h.lock_delay_us * interval '1 microsecond' > t.now)
  AND (u.most = 0 OR u.most > (
    SELECT count(*) FROM $.lock_holders h WHERE h.name = u.name AND h.expires_at +
      h.is_delay::int * h.lock_delay_us * interval '1 microsecond' > t.now)))
FROM (SELECT coalesce(($6::timestamptz[])[1], clock_timestamp()) AS now) t
CROSS JOIN unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[])
  WITH ORDINALITY AS u (ticket, name, mode, most, place)
ORDER BY u.place)sql";

/// Of one row more than the page holds: whether there is a next page.
bool HasMore(const Answer& answer, int limit) {
  return answer.size() > limit;
}

}  // namespace

Readers::Readers(const Settings& settings)
    : settings_(settings),
      get_job_(settings, fmt::format("SELECT {} FROM $.jobs WHERE id = $1::bigint", kJobColumns)),
      get_record_(settings, fmt::format("SELECT {} FROM $.records WHERE kind = $1 AND id = $2",
                                        kRecordColumns)),
      get_kind_(settings, fmt::format("SELECT {} FROM $.kinds WHERE name = $1 AND version > 0",
                                      kKindColumns)),
      get_transfer_(settings, fmt::format("SELECT {} FROM $.transfers WHERE id = $1::bigint",
                                          kTransferColumns)),
      list_kinds_(settings, fmt::format("SELECT {} FROM $.kinds WHERE version > 0 ORDER BY name",
                                        kKindColumns)),
      list_queues_(settings, fmt::format("SELECT {} FROM $.queues q LEFT JOIN $.queue_counts c ON "
                                         "c.queue = q.name WHERE q.name = ANY (ARRAY(SELECT name "
                                         "FROM $.queues WHERE name > $1 ORDER BY name LIMIT "
                                         "$2::bigint)) GROUP BY q.name ORDER BY q.name",
                                         kQueueColumns)),
      get_queue_(settings, fmt::format("SELECT {} FROM $.queues q LEFT JOIN $.queue_counts c ON "
                                       "c.queue = q.name WHERE q.name = $1 GROUP BY q.name",
                                       kQueueColumns)),
      get_totals_(settings,
                  "SELECT coalesce(sum(scheduled), 0)::bigint, coalesce(sum(pending), 0)::bigint, "
                  "coalesce(sum(processing), 0)::bigint, coalesce(sum(completed), 0)::bigint, "
                  "coalesce(sum(failed), 0)::bigint, coalesce(sum(cancelled), 0)::bigint, "
                  "(SELECT count(*) FROM $.queues) FROM $.queue_counts"),
      oldest_pending_(settings,
                      "SELECT q.name, min(j.run_at) FROM unnest($1::text[]) AS q (name) CROSS JOIN "
                      "generate_series(0::bigint, 9::bigint) p CROSS JOIN LATERAL (SELECT run_at "
                      "FROM $.jobs WHERE ready_in = q.name AND priority = p ORDER BY run_at "
                      "LIMIT 1) j GROUP BY q.name"),
      log_position_(settings, "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"),
      now_(settings, "SELECT clock_timestamp()"),
      find_ready_(settings, kFindReady),
      find_turns_(settings, kFindTurns) {}

Result<std::unique_ptr<Connection>> Readers::Take(const Context& context, Reads reads) {
  const bool is_list = reads == Reads::kList;
  {
    MutexLock lock(mutex_);
    while ((idle_.empty() && open_ >= kReaders) || (is_list && lists_ >= kListReaders)) {
      HF_RETURN_IF_ERROR(context.Check());
      (void)returned_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kWaitSlice);
    }
    if (is_list) ++lists_;
    if (!idle_.empty()) {
      std::unique_ptr<Connection> connection = std::move(idle_.back());
      idle_.pop_back();
      return connection;
    }
    ++open_;
  }
  Result<std::unique_ptr<Connection>> opened = Connection::Open(settings_);
  if (!opened) GiveBack(nullptr, reads);
  return opened;
}

void Readers::GiveBack(std::unique_ptr<Connection> connection, Reads reads) {
  MutexLock lock(mutex_);
  if (reads == Reads::kList) --lists_;
  if (connection != nullptr && !connection->IsLost()) {
    idle_.push_back(std::move(connection));
  } else {
    --open_;
  }
  returned_.NotifyAll();
}

template <typename Ask>
Result<Answer> Readers::Run(const Context& context, Reads reads, Ask ask) {
  // A server that was restarted leaves the whole pool dead.
  constexpr std::size_t kTries = kReaders + 1;
  for (std::size_t i = 1;; ++i) {
    HF_RETURN_IF_ERROR(context.Check());
    HF_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection, Take(context, reads));
    Result<Answer> answer = ask(*connection);
    const bool is_lost = !answer && connection->IsLost();
    GiveBack(std::move(connection), reads);
    if (!is_lost || i == kTries) return answer;
  }
}

Result<Answer> Readers::Query(const Context& context, const Sql& sql, const Parameters& parameters,
                              Reads reads) {
  return Run(context, reads,
             [&](Connection& connection) { return connection.Query(sql, parameters); });
}

Result<Answer> Readers::QueryText(const Context& context, const std::string& text,
                                  const Parameters& parameters, Reads reads) {
  const std::string sql = WithSchema(text);
  return Run(context, reads,
             [&](Connection& connection) { return connection.QueryText(sql, parameters); });
}

Result<std::optional<Job>> Readers::GetJob(const Context& context, JobId id) {
  HF_ASSIGN_OR_RETURN(Answer answer, Query(context, get_job_, Parameters().Add(id)));
  if (answer.size() == 0) return std::nullopt;
  HF_ASSIGN_OR_RETURN(Job job, ReadJob(Row(answer, 0)));
  return job;
}

Result<JobPage> Readers::ListJobs(const Context& context, const JobFilter& filter) {
  HF_ASSIGN_OR_RETURN(JobId after, rules::ParseCursor(filter.cursor));
  Where where;
  where.And("id > {}::bigint", after);
  if (filter.state) where.And("state = {}", NameOf(*filter.state));
  // A literal, so that the partial index can be used.
  if (filter.state == JobState::kFailed) where.AndText("retained_as = 'failed'");
  if (!filter.queue.empty()) where.And("queue = {}", filter.queue);
  if (!filter.kind.empty()) where.And("kind = {}", filter.kind);
  if (filter.parent) where.And("parent = {}::bigint", *filter.parent);
  if (filter.retrying) where.AndText("state = 'scheduled' AND attempt > 0");
  const std::string limit = where.Limit(filter.limit);
  HF_ASSIGN_OR_RETURN(Answer answer, QueryText(context,
                                               PageSql(kJobColumns, "$.jobs", where.text, limit,
                                                       "octet_length(payload) + "
                                                       "coalesce(octet_length(result), 0)"),
                                               where.parameters));
  JobPage page;
  rules::PageRoom room(filter.limit);
  for (int i = 0; i < answer.size(); ++i) {
    HF_ASSIGN_OR_RETURN(Job job, ReadJob(Row(answer, i)));
    if (!room.Take(job)) {
      page.next_cursor = fmt::to_string(page.items.back().id);
      break;
    }
    page.items.push_back(std::move(job));
  }
  return page;
}

Result<std::vector<Queue>> Readers::WithOldest(const Context& context, const Answer& answer,
                                               Reads reads) {
  std::vector<Queue> queues;
  Column names(Type::kText);
  for (int i = 0; i < answer.size(); ++i) {
    queues.push_back(ReadQueue(Row(answer, i)));
    names.Add(queues.back().name);
  }
  if (queues.empty()) return queues;
  HF_ASSIGN_OR_RETURN(Answer oldest,
                      Query(context, oldest_pending_, Parameters().Add(names), reads));
  std::map<std::string, std::optional<Time>, std::less<>> times;
  for (int i = 0; i < oldest.size(); ++i) {
    times[Row(oldest, i).String(0)] = Row(oldest, i).OptionalTime(1);
  }
  for (Queue& queue : queues) queue.oldest_pending_at = times[queue.name];
  return queues;
}

Result<QueuePage> Readers::ListQueues(const Context& context, const QueueFilter& filter) {
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      Query(context, list_queues_,
            Parameters().Add(filter.cursor).Add(std::int64_t{filter.limit} + 1), Reads::kList));
  HF_ASSIGN_OR_RETURN(std::vector<Queue> queues, WithOldest(context, answer, Reads::kList));
  QueuePage page;
  rules::PageRoom room(filter.limit);
  for (Queue& queue : queues) {
    if (!room.Take(queue)) {
      page.next_cursor = page.items.back().name;
      break;
    }
    page.items.push_back(std::move(queue));
  }
  return page;
}

Result<std::optional<Queue>> Readers::GetQueue(const Context& context, std::string_view name) {
  HF_ASSIGN_OR_RETURN(Answer answer, Query(context, get_queue_, Parameters().Add(name)));
  HF_ASSIGN_OR_RETURN(std::vector<Queue> queues, WithOldest(context, answer, Reads::kFew));
  if (queues.empty()) return std::nullopt;
  return std::move(queues.front());
}

Result<QueueTotals> Readers::GetTotals(const Context& context) {
  HF_ASSIGN_OR_RETURN(Answer answer, Query(context, get_totals_, {}, Reads::kList));
  const Row row(answer, 0);
  QueueTotals totals;
  for (std::size_t i = 0; i < kJobStateCount; ++i) {
    totals.counts[i] = row.Integer(static_cast<int>(i));
  }
  totals.queues = row.Integer(kJobStateCount);
  return totals;
}

Result<std::optional<Record>> Readers::GetRecord(const Context& context, const RecordKey& key) {
  HF_ASSIGN_OR_RETURN(Answer answer,
                      Query(context, get_record_, Parameters().Add(key.kind).Add(key.id)));
  if (answer.size() == 0) return std::nullopt;
  HF_ASSIGN_OR_RETURN(Record record, ReadRecord(Row(answer, 0)));
  return record;
}

Result<RecordPage> Readers::ListRecords(const Context& context, const RecordFilter& filter) {
  Where where;
  where.And("kind = {}", filter.kind);
  where.And("id > {}", filter.cursor);
  if (!filter.status.empty()) {
    where.And("status = {}", filter.status);
    where.AndText("status <> ''");
  }
  if (filter.parent) {
    where.And("parent_kind = {}", filter.parent->kind);
    where.And("parent_id = {}", filter.parent->id);
  }
  const std::string limit = where.Limit(filter.limit);
  HF_ASSIGN_OR_RETURN(Answer answer, QueryText(context,
                                               PageSql(kRecordColumns, "$.records", where.text,
                                                       limit, "octet_length(data)"),
                                               where.parameters));
  RecordPage page;
  rules::PageRoom room(filter.limit);
  for (int i = 0; i < answer.size(); ++i) {
    HF_ASSIGN_OR_RETURN(Record record, ReadRecord(Row(answer, i)));
    if (!room.Take(record)) {
      page.next_cursor = page.items.back().id;
      break;
    }
    page.items.push_back(std::move(record));
  }
  return page;
}

Result<std::optional<Kind>> Readers::GetKind(const Context& context, std::string_view name) {
  HF_ASSIGN_OR_RETURN(Answer answer, Query(context, get_kind_, Parameters().Add(name)));
  if (answer.size() == 0) return std::nullopt;
  return ReadKind(Row(answer, 0));
}

Result<std::vector<Kind>> Readers::ListKinds(const Context& context) {
  HF_ASSIGN_OR_RETURN(Answer answer, Query(context, list_kinds_, {}, Reads::kList));
  std::vector<Kind> kinds;
  for (int i = 0; i < answer.size(); ++i) kinds.push_back(ReadKind(Row(answer, i)));
  return kinds;
}

Result<std::optional<Transfer>> Readers::GetTransfer(const Context& context, TransferId id) {
  HF_ASSIGN_OR_RETURN(Answer answer, Query(context, get_transfer_, Parameters().Add(id)));
  if (answer.size() == 0) return std::nullopt;
  HF_ASSIGN_OR_RETURN(Transfer transfer, ReadTransfer(Row(answer, 0)));
  return transfer;
}

Result<TransferPage> Readers::ListTransfers(const Context& context, const TransferFilter& filter) {
  HF_ASSIGN_OR_RETURN(TransferId after, rules::ParseCursor(filter.cursor));
  Where where;
  where.And("id > {}::bigint", after);
  // A literal, so that the partial index can be used.
  if (filter.state) where.AndText(fmt::format("state = '{}'", NameOf(*filter.state)));
  if (filter.from) {
    where.And("from_kind = {}", filter.from->kind);
    where.And("from_id = {}", filter.from->id);
  }
  const std::string limit = where.Limit(filter.limit);
  HF_ASSIGN_OR_RETURN(Answer answer,
                      QueryText(context,
                                fmt::format("SELECT {} FROM $.transfers{} ORDER BY id{}",
                                            kTransferColumns, where.text, limit),
                                where.parameters));
  TransferPage page;
  rules::PageRoom room(filter.limit);
  for (int i = 0; i < answer.size(); ++i) {
    HF_ASSIGN_OR_RETURN(Transfer transfer, ReadTransfer(Row(answer, i)));
    if (!room.Take(transfer)) {
      page.next_cursor = fmt::to_string(page.items.back().id);
      break;
    }
    page.items.push_back(std::move(transfer));
  }
  return page;
}

/// Without what is over: leases that ran out, waiters that died. In the order of the names.
Result<std::vector<Lock>> Readers::ReadLocks(const Context& context,
                                             const std::vector<std::string>& names,
                                             std::int64_t session, Time now) {
  std::map<std::string, rules::StoredLock, std::less<>> stored;
  Column wanted(Type::kText);
  for (const std::string& name : names) {
    stored[name].name = name;
    wanted.Add(name);
  }
  HF_ASSIGN_OR_RETURN(
      Answer holders,
      QueryText(context,
                fmt::format("SELECT {} FROM $.lock_holders WHERE name = ANY ($1::text[]) "
                            "ORDER BY name, token",
                            kHolderColumns),
                Parameters().Add(wanted), Reads::kFew));
  for (int i = 0; i < holders.size(); ++i) {
    Row row(holders, i);
    HF_ASSIGN_OR_RETURN(rules::StoredHolder holder, ReadHolder(row));
    stored.find(row.Text(0))->second.holders.push_back(std::move(holder));
  }
  HF_ASSIGN_OR_RETURN(
      Answer waiters,
      QueryText(context,
                fmt::format("SELECT {} FROM $.lock_waiters w WHERE name = ANY ($1::text[]) AND "
                            "(session = $2::bigint OR (SELECT s.expires_at FROM $.lock_sessions s "
                            "WHERE s.id = w.session) > $3::timestamptz) ORDER BY name, ticket",
                            kWaiterColumns),
                Parameters().Add(wanted).Add(session).Add(now), Reads::kFew));
  for (int i = 0; i < waiters.size(); ++i) {
    Row row(waiters, i);
    HF_ASSIGN_OR_RETURN(rules::StoredWaiter waiter, ReadWaiter(row));
    stored.find(row.Text(0))->second.waiters.emplace(waiter.ticket, std::move(waiter));
  }
  std::vector<Lock> locks;
  for (const auto& [name, lock] : stored) locks.push_back(rules::ToLock(lock, now));
  return locks;
}

Result<Lock> Readers::GetLock(const Context& context, std::string_view name, std::int64_t session,
                              Time now) {
  HF_ASSIGN_OR_RETURN(std::vector<Lock> locks,
                      ReadLocks(context, {std::string(name)}, session, now));
  return std::move(locks.front());
}

Result<LockPage> Readers::ListLocks(const Context& context, const LockFilter& filter,
                                    std::int64_t session, Time now) {
  LockPage page;
  rules::PageRoom room(filter.limit);
  std::string after = filter.cursor;
  while (true) {
    Where where;
    where.And("starts_with(name, {})", filter.prefix);
    where.And("name >= {}", filter.prefix);
    where.And("name > {}", after);
    if (!filter.owner.empty()) where.And("owner = {}", filter.owner);
    const std::string limit = where.Limit(filter.limit);
    HF_ASSIGN_OR_RETURN(
        Answer answer,
        QueryText(context,
                  fmt::format("SELECT name FROM $.lock_holders{0} UNION SELECT name FROM "
                              "$.lock_waiters{0} ORDER BY name{1}",
                              where.text, limit),
                  where.parameters));
    std::vector<std::string> names;
    for (int i = 0; i < answer.size(); ++i) names.push_back(Row(answer, i).String(0));
    if (names.empty()) return page;
    after = names.back();
    HF_ASSIGN_OR_RETURN(std::vector<Lock> locks, ReadLocks(context, names, session, now));
    for (Lock& lock : locks) {
      if (!rules::IsListed(lock, filter)) continue;
      if (!room.Take(lock)) {
        page.next_cursor = page.items.back().name;
        return page;
      }
      page.items.push_back(std::move(lock));
    }
    if (!HasMore(answer, filter.limit)) return page;
  }
}

Result<AuditPage> Readers::ListAudit(const Context& context, const AuditFilter& filter) {
  HF_ASSIGN_OR_RETURN(std::int64_t before, rules::ParseCursor(filter.cursor));
  Where where;
  if (before != 0) where.And("sequence < {}::bigint", before);
  if (!filter.target.empty()) where.And("target = {}", filter.target);
  if (!filter.actor.empty()) where.And("actor = {}", filter.actor);
  if (!filter.operation.empty()) where.And("operation = {}", filter.operation);
  if (filter.since) where.And("at >= {}::timestamptz", *filter.since);
  if (filter.until) where.And("at < {}::timestamptz", *filter.until);
  // Literals, so that the partial indexes can be used.
  if (filter.min_lock_wait) {
    where.AndText(fmt::format("lock_wait_us >= {}", filter.min_lock_wait->count()));
    if (*filter.min_lock_wait >= std::chrono::milliseconds(100)) {
      where.AndText("lock_wait_us >= 100000");
    }
  }
  if (filter.refused) where.AndText(*filter.refused ? "error <> ''" : "error = ''");
  const std::string limit = where.Limit(filter.limit);
  HF_ASSIGN_OR_RETURN(Answer answer,
                      QueryText(context,
                                fmt::format("SELECT {} FROM $.audit{} ORDER BY sequence DESC{}",
                                            kAuditColumns, where.text, limit),
                                where.parameters));
  AuditPage page;
  rules::PageRoom room(filter.limit);
  for (int i = 0; i < answer.size(); ++i) {
    AuditEntry entry = ReadAudit(Row(answer, i));
    if (!room.Take(entry)) {
      page.next_cursor = fmt::to_string(page.items.back().sequence);
      break;
    }
    page.items.push_back(std::move(entry));
  }
  return page;
}

Result<std::vector<std::string>> Readers::FindReady(const Context& context,
                                                    const std::vector<std::string>& queues) {
  HF_ASSIGN_OR_RETURN(Answer answer,
                      Query(context, find_ready_, Parameters().Add(Column::Of(queues))));
  std::vector<std::string> ready;
  for (int i = 0; i < answer.size(); ++i) ready.push_back(Row(answer, i).String(0));
  return ready;
}

Result<std::vector<bool>> Readers::FindTurns(const Context& context,
                                             const std::vector<LockPlace>& places,
                                             std::int64_t session, std::optional<Time> now) {
  Column tickets(Type::kInteger), names(Type::kText), modes(Type::kText), limits(Type::kInteger);
  Column time(Type::kTime);
  if (now) time.Add(*now);
  for (const LockPlace& place : places) {
    tickets.Add(place.ticket);
    names.Add(place.name);
    modes.Add(NameOf(place.mode));
    limits.Add(place.limit);
  }
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      Query(context, find_turns_,
            Parameters().Add(tickets).Add(names).Add(modes).Add(limits).Add(session).Add(time)));
  std::vector<bool> turns;
  for (int i = 0; i < answer.size(); ++i) turns.push_back(Row(answer, i).Bool(0));
  return turns;
}

Result<std::int64_t> Readers::LogPosition() {
  HF_ASSIGN_OR_RETURN(Answer answer, Query({}, log_position_, {}));
  return Row(answer, 0).Integer(0);
}

Result<Time> Readers::Now() {
  HF_ASSIGN_OR_RETURN(Answer answer, Query({}, now_, {}));
  return Row(answer, 0).TimeAt(0);
}

}  // namespace holdfast::engine::postgres
