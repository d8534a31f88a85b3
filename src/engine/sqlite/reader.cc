#include "engine/sqlite/reader.h"

#include <fmt/format.h>

#include <tuple>

#include "base/result.h"
#include "engine/sqlite/job_rows.h"
#include "engine/sqlite/lock_table.h"
#include "engine/sqlite/record_rows.h"
#include "engine/sqlite/schema.h"
#include "rules/answer_size.h"
#include "rules/limits.h"
#include "rules/validate.h"

namespace holdfast::engine {
namespace {

using base::MutexLock;

constexpr std::size_t kReaders = 4;
// About a thousand rows of a scan.
constexpr int kInstructionsBetweenChecks = 20'000;
constexpr auto kWaitSlice = std::chrono::milliseconds(50);

int StopIfOver(void* context) {
  return static_cast<const Context*>(context)->Check().has_value() ? 0 : 1;
}

/// The SQL of a list, with its conditions in the order in which they are bound. States are
/// literals: otherwise a partial index cannot be used.
std::string JobListSql(const JobFilter& filter) {
  std::string where = "id > ?";
  if (filter.state) where += fmt::format(" AND state = '{}'", NameOf(*filter.state));
  if (!filter.queue.empty()) where += " AND queue = ?";
  if (!filter.kind.empty()) where += " AND kind = ?";
  if (filter.parent) where += " AND parent = ?";
  if (filter.retrying) where += " AND state = 'scheduled' AND attempt > 0";
  // Few jobs fail, and few have one parent: there an index helps. Everything else is read in the
  // order of ids, which stops at the limit instead of sorting a whole state.
  std::string_view hint = " NOT INDEXED";
  if (filter.parent) {
    hint = " INDEXED BY jobs_parent";
  } else if (filter.state == JobState::kFailed) {
    hint = " INDEXED BY jobs_retained";
    where += " AND retained_as = 'failed'";
  }
  return fmt::format("SELECT {} FROM jobs{} WHERE {} ORDER BY id LIMIT ?", kJobColumns, hint,
                     where);
}

std::string RecordListSql(const RecordFilter& filter) {
  std::string where = "kind = ? AND id > ?";
  std::string_view hint;
  if (!filter.status.empty()) {
    where += " AND status = ? AND status <> ''";
    hint = " INDEXED BY records_status";
  }
  if (filter.parent) {
    where += " AND parent_kind = ? AND parent_id = ?";
    hint = " INDEXED BY records_parent";  // fewer have one parent than have one status
  }
  return fmt::format("SELECT {} FROM records{} WHERE {} ORDER BY id LIMIT ?", kRecordColumns, hint,
                     where);
}

std::string TransferListSql(const TransferFilter& filter) {
  std::string where = "id > ?";
  std::string_view hint = " NOT INDEXED";
  // Few are pending at a time; all others are read in the order of their ids.
  if (filter.state == TransferState::kPending) hint = " INDEXED BY transfers_pending";
  if (filter.state) where += fmt::format(" AND state = '{}'", NameOf(*filter.state));
  if (filter.from) where += " AND from_kind = ? AND from_id = ?";
  return fmt::format("SELECT {} FROM transfers{} WHERE {} ORDER BY id LIMIT ?", kTransferColumns,
                     hint, where);
}

std::string AuditListSql(const AuditFilter& filter, bool has_cursor) {
  std::string where = "1";
  if (has_cursor) where += " AND sequence < ?";
  if (!filter.target.empty()) where += " AND target = ?";
  if (!filter.actor.empty()) where += " AND actor = ?";
  if (!filter.operation.empty()) where += " AND operation = ?";
  if (filter.since) where += " AND at >= ?";
  if (filter.until) where += " AND at < ?";
  // Literals: otherwise the partial indexes cannot be used.
  if (filter.min_lock_wait) {
    where += fmt::format(" AND lock_wait_us >= {}", filter.min_lock_wait->count());
    if (*filter.min_lock_wait >= std::chrono::milliseconds(100)) {
      where += " AND lock_wait_us >= 100000";
    }
  }
  if (filter.refused) where += *filter.refused ? " AND error <> ''" : " AND error = ''";
  return fmt::format("SELECT {} FROM audit WHERE {} ORDER BY sequence DESC LIMIT ?", kAuditColumns,
                     where);
}

/// Whether a place in the wait queue of a lock is gone, or the first and the lock can be had:
/// leases and waiters that are over do not count. ?1 name, ?2 ticket, ?3 whether it is exclusive,
/// ?4 limit, ?5 now, ?6 session of this process.
constexpr std::string_view kIsTurn = R"sql(
SELECT NOT EXISTS (SELECT 1 FROM lock_waiters WHERE name = ?1 AND ticket = ?2) OR (
  NOT EXISTS (
    SELECT 1 FROM lock_waiters w WHERE w.name = ?1 AND w.ticket < ?2 AND w.deadline > ?5 AND
      (w.session = ?6 OR (SELECT expires_at FROM lock_sessions WHERE id = w.session) > ?5)) AND
  NOT EXISTS (
    SELECT 1 FROM lock_holders WHERE name = ?1 AND due_at > ?5 AND (?3 OR mode = 'exclusive')) AND
  (?4 = 0 OR (SELECT count(*) FROM lock_holders WHERE name = ?1 AND due_at > ?5) < ?4))
)sql";

/// An interrupted scan is the context's doing.
std::unexpected<Error> Explain(const Context& context, Error error) {
  if (error.code == ErrorCode::kCancelled) {
    if (Result<void> alive = context.Check(); !alive) return std::unexpected(alive.error());
  }
  return std::unexpected(std::move(error));
}

/// Reads locks one by one, without what is over: leases that ran out, waiters that died.
class LockReader {
 public:
  LockReader(std::int64_t session, Time now) : session_(session), now_(now) {}

  Result<void> Prepare(Connection& connection) {
    HF_RETURN_IF_ERROR(holders_.Prepare(
        connection,
        fmt::format("SELECT {} FROM lock_holders WHERE name = ? ORDER BY token", kHolderColumns)));
    return waiters_.Prepare(
        connection, fmt::format("SELECT {} FROM lock_waiters WHERE name = ? AND (session = ? OR "
                                "(SELECT expires_at FROM lock_sessions WHERE id = session) > ?) "
                                "ORDER BY ticket",
                                kWaiterColumns));
  }

  Result<Lock> Read(std::string_view name) {
    rules::StoredLock lock;
    lock.name = name;
    holders_.Bind(lock.name);
    while (true) {
      HF_ASSIGN_OR_RETURN(bool more, holders_.Step());
      if (!more) break;
      HF_ASSIGN_OR_RETURN(rules::StoredHolder holder, ReadHolder(holders_));
      lock.holders.push_back(std::move(holder));
    }
    waiters_.Bind(lock.name).Bind(session_).Bind(now_);
    while (true) {
      HF_ASSIGN_OR_RETURN(bool more, waiters_.Step());
      if (!more) return rules::ToLock(lock, now_);
      HF_ASSIGN_OR_RETURN(rules::StoredWaiter waiter, ReadWaiter(waiters_));
      lock.waiters.emplace(waiter.ticket, std::move(waiter));
    }
  }

 private:
  const std::int64_t session_;
  const Time now_;
  Statement holders_, waiters_;
};

}  // namespace

/// A connection on loan; goes back when this goes out of scope.
class Readers::Lease {
 public:
  Lease(Readers& readers, std::unique_ptr<Reader> reader, const Context& context)
      : readers_(&readers), reader_(std::move(reader)) {
    sqlite3_progress_handler(reader_->connection->handle(), kInstructionsBetweenChecks, StopIfOver,
                             const_cast<Context*>(&context));
  }
  Lease(Lease&&) = default;
  ~Lease() {
    if (!reader_) return;
    sqlite3_progress_handler(reader_->connection->handle(), 0, nullptr, nullptr);
    readers_->GiveBack(std::move(reader_));
  }
  Reader* operator->() const { return reader_.get(); }
  Reader* get() const { return reader_.get(); }

 private:
  Readers* readers_;
  std::unique_ptr<Reader> reader_;
};

Result<std::unique_ptr<Readers::Reader>> Readers::OpenReader() const {
  auto reader = std::make_unique<Reader>();
  HF_ASSIGN_OR_RETURN(reader->connection, Connection::Open(path_, Connection::Mode::kReadOnly));
  Connection& connection = *reader->connection;
  HF_RETURN_IF_ERROR(Configure(connection, Connection::Mode::kReadOnly));
  std::tuple<Statement&, std::string> statements[] = {
      {reader->get_job, fmt::format("SELECT {} FROM jobs WHERE id = ?", kJobColumns)},
      {reader->get_record,
       fmt::format("SELECT {} FROM records WHERE kind = ? AND id = ?", kRecordColumns)},
      {reader->list_queues,
       fmt::format("SELECT {} FROM queues WHERE name > ? ORDER BY name LIMIT ?", kQueueColumns)},
      {reader->get_queue, fmt::format("SELECT {} FROM queues WHERE name = ?", kQueueColumns)},
      {reader->get_totals,
       "SELECT scheduled, pending, processing, completed, failed, cancelled, queues FROM totals"},
      {reader->oldest_pending, "SELECT min(run_at) FROM jobs WHERE ready_in = ? AND priority = ?"},
      {reader->data_version, "PRAGMA data_version"},
      {reader->is_ready,
       "SELECT EXISTS (SELECT 1 FROM queues WHERE name = ? AND pending > 0 AND paused = 0 AND "
       "(max_running IS NULL OR processing < max_running))"},
      {reader->is_any_ready,
       "SELECT EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_ready WHERE ready_in IS NOT NULL)"},
      {reader->is_turn, std::string(kIsTurn)},
  };
  for (auto& [statement, sql] : statements) {
    HF_RETURN_IF_ERROR(statement.Prepare(connection, sql));
  }
  // Otherwise what was opened here may be another store.
  std::optional<FileChange> change = files_.Look();
  if (change && change->is_moved) return Fail(ErrorCode::kUnavailable, std::move(change->what));
  return reader;
}

Result<Readers::Lease> Readers::Take(const Context& context) {
  std::unique_ptr<Reader> reader;
  {
    MutexLock lock(mutex_);
    while (idle_.empty() && open_ >= kReaders) {
      HF_RETURN_IF_ERROR(context.Check());
      (void)returned_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kWaitSlice);
    }
    if (!idle_.empty()) {
      reader = std::move(idle_.back());
      idle_.pop_back();
    } else {
      ++open_;
    }
  }
  HF_RETURN_IF_ERROR(context.Check());
  if (reader == nullptr) {
    Result<std::unique_ptr<Reader>> opened = OpenReader();
    if (!opened) {
      MutexLock lock(mutex_);
      --open_;
      return std::unexpected(std::move(opened).error());
    }
    reader = *std::move(opened);
  }
  return Lease(*this, std::move(reader), context);
}

void Readers::GiveBack(std::unique_ptr<Reader> reader) {
  MutexLock lock(mutex_);
  idle_.push_back(std::move(reader));
  returned_.NotifyOne();
}

Result<std::optional<Job>> Readers::GetJob(const Context& context, JobId id) {
  HF_ASSIGN_OR_RETURN(Lease reader, Take(context));
  HF_ASSIGN_OR_RETURN(bool found, reader->get_job.Bind(id).Step());
  if (!found) return std::nullopt;
  Result<Job> job = ReadJob(reader->get_job);
  reader->get_job.Reset();
  if (!job) return std::unexpected(std::move(job).error());
  return *std::move(job);
}

Result<JobPage> Readers::ListJobs(const Context& context, const JobFilter& filter) {
  HF_ASSIGN_OR_RETURN(JobId after, rules::ParseCursor(filter.cursor));
  HF_ASSIGN_OR_RETURN(Lease reader, Take(context));
  Statement list;
  HF_RETURN_IF_ERROR(list.Prepare(*reader->connection, JobListSql(filter)));
  list.Bind(after);
  if (!filter.queue.empty()) list.Bind(filter.queue);
  if (!filter.kind.empty()) list.Bind(filter.kind);
  if (filter.parent) list.Bind(*filter.parent);
  list.Bind(std::int64_t{filter.limit} + 1);
  JobPage page;
  rules::PageRoom room(filter.limit);
  while (true) {
    Result<bool> found = list.Step();
    if (!found) return Explain(context, std::move(found).error());
    if (!*found) break;
    HF_ASSIGN_OR_RETURN(Job job, ReadJob(list));
    if (!room.Take(job)) {
      page.next_cursor = fmt::to_string(page.items.back().id);
      break;
    }
    page.items.push_back(std::move(job));
  }
  return page;
}

Result<std::optional<Record>> Readers::GetRecord(const Context& context, const RecordKey& key) {
  HF_ASSIGN_OR_RETURN(Lease reader, Take(context));
  HF_ASSIGN_OR_RETURN(bool found, reader->get_record.Bind(key.kind).Bind(key.id).Step());
  if (!found) return std::nullopt;
  Result<Record> record = ReadRecord(reader->get_record);
  reader->get_record.Reset();
  if (!record) return std::unexpected(std::move(record).error());
  return *std::move(record);
}

Result<RecordPage> Readers::ListRecords(const Context& context, const RecordFilter& filter) {
  HF_ASSIGN_OR_RETURN(Lease reader, Take(context));
  Statement list;
  HF_RETURN_IF_ERROR(list.Prepare(*reader->connection, RecordListSql(filter)));
  list.Bind(filter.kind).Bind(filter.cursor);
  if (!filter.status.empty()) list.Bind(filter.status);
  if (filter.parent) list.Bind(filter.parent->kind).Bind(filter.parent->id);
  list.Bind(std::int64_t{filter.limit} + 1);
  RecordPage page;
  rules::PageRoom room(filter.limit);
  while (true) {
    Result<bool> found = list.Step();
    if (!found) return Explain(context, std::move(found).error());
    if (!*found) break;
    HF_ASSIGN_OR_RETURN(Record record, ReadRecord(list));
    if (!room.Take(record)) {
      page.next_cursor = page.items.back().id;
      break;
    }
    page.items.push_back(std::move(record));
  }
  return page;
}

Result<Lock> Readers::GetLock(const Context& context, std::string_view name, std::int64_t session,
                              Time now) {
  HF_ASSIGN_OR_RETURN(Lease reader, Take(context));
  LockReader locks(session, now);
  HF_RETURN_IF_ERROR(locks.Prepare(*reader->connection));
  return locks.Read(name);
}

Result<LockPage> Readers::ListLocks(const Context& context, const LockFilter& filter,
                                    std::int64_t session, Time now) {
  HF_ASSIGN_OR_RETURN(Lease reader, Take(context));
  LockReader locks(session, now);
  HF_RETURN_IF_ERROR(locks.Prepare(*reader->connection));
  Statement names;
  HF_RETURN_IF_ERROR(names.Prepare(*reader->connection,
                                   "SELECT name FROM lock_holders WHERE name >= ?1 AND name > ?2 "
                                   "UNION SELECT name FROM lock_waiters WHERE name >= ?1 AND "
                                   "name > ?2 ORDER BY name"));
  names.Bind(filter.prefix).Bind(filter.cursor);
  LockPage page;
  rules::PageRoom room(filter.limit);
  while (true) {
    Result<bool> found = names.Step();
    if (!found) return Explain(context, std::move(found).error());
    if (!*found || !names.Text(0).starts_with(filter.prefix)) return page;
    Result<Lock> lock = locks.Read(names.Text(0));
    if (!lock) return Explain(context, std::move(lock).error());
    if (!rules::IsListed(*lock, filter)) continue;
    if (!room.Take(*lock)) {
      page.next_cursor = page.items.back().name;
      return page;
    }
    page.items.push_back(*std::move(lock));
  }
}

Result<std::optional<Kind>> Readers::GetKind(const Context& context, std::string_view name) {
  HF_ASSIGN_OR_RETURN(Lease reader, Take(context));
  Statement get;
  HF_RETURN_IF_ERROR(get.Prepare(*reader->connection,
                                 fmt::format("SELECT {} FROM kinds WHERE name = ?", kKindColumns)));
  HF_ASSIGN_OR_RETURN(bool found, get.Bind(name).Step());
  if (!found) return std::nullopt;
  return ReadKind(get);
}

Result<std::vector<Kind>> Readers::ListKinds(const Context& context) {
  HF_ASSIGN_OR_RETURN(Lease reader, Take(context));
  Statement list;
  HF_RETURN_IF_ERROR(list.Prepare(*reader->connection,
                                  fmt::format("SELECT {} FROM kinds ORDER BY name", kKindColumns)));
  std::vector<Kind> kinds;
  while (true) {
    Result<bool> found = list.Step();
    if (!found) return Explain(context, std::move(found).error());
    if (!*found) return kinds;
    kinds.push_back(ReadKind(list));
  }
}

Result<std::optional<Transfer>> Readers::GetTransfer(const Context& context, TransferId id) {
  HF_ASSIGN_OR_RETURN(Lease reader, Take(context));
  Statement get;
  HF_RETURN_IF_ERROR(get.Prepare(
      *reader->connection, fmt::format("SELECT {} FROM transfers WHERE id = ?", kTransferColumns)));
  HF_ASSIGN_OR_RETURN(bool found, get.Bind(id).Step());
  if (!found) return std::nullopt;
  HF_ASSIGN_OR_RETURN(Transfer transfer, ReadTransfer(get));
  return transfer;
}

Result<TransferPage> Readers::ListTransfers(const Context& context, const TransferFilter& filter) {
  HF_ASSIGN_OR_RETURN(TransferId after, rules::ParseCursor(filter.cursor));
  HF_ASSIGN_OR_RETURN(Lease reader, Take(context));
  Statement list;
  HF_RETURN_IF_ERROR(list.Prepare(*reader->connection, TransferListSql(filter)));
  list.Bind(after);
  if (filter.from) list.Bind(filter.from->kind).Bind(filter.from->id);
  list.Bind(std::int64_t{filter.limit} + 1);
  TransferPage page;
  rules::PageRoom room(filter.limit);
  while (true) {
    Result<bool> found = list.Step();
    if (!found) return Explain(context, std::move(found).error());
    if (!*found) return page;
    HF_ASSIGN_OR_RETURN(Transfer transfer, ReadTransfer(list));
    if (!room.Take(transfer)) {
      page.next_cursor = fmt::to_string(page.items.back().id);
      return page;
    }
    page.items.push_back(std::move(transfer));
  }
}

Result<void> Readers::AddOldest(Reader& reader, Queue& queue) {
  if (queue.CountOf(JobState::kPending) == 0) return {};
  for (int priority = 0; priority <= rules::kLowestPriority; ++priority) {
    reader.oldest_pending.Bind(queue.name).Bind(std::int64_t{priority});
    HF_RETURN_IF_ERROR(reader.oldest_pending.Step());
    std::optional<Time> oldest = reader.oldest_pending.OptionalTime(0);
    reader.oldest_pending.Reset();
    if (oldest && (!queue.oldest_pending_at || *oldest < *queue.oldest_pending_at)) {
      queue.oldest_pending_at = oldest;
    }
  }
  return {};
}

Result<QueuePage> Readers::ListQueues(const Context& context, const QueueFilter& filter) {
  HF_ASSIGN_OR_RETURN(Lease reader, Take(context));
  QueuePage page;
  rules::PageRoom room(filter.limit);
  reader->list_queues.Bind(filter.cursor).Bind(std::int64_t{filter.limit} + 1);
  while (true) {
    Result<bool> found = reader->list_queues.Step();
    if (!found) return Explain(context, std::move(found).error());
    if (!*found) break;
    Queue queue = ReadQueue(reader->list_queues);
    if (!room.Take(queue)) {
      page.next_cursor = page.items.back().name;
      reader->list_queues.Reset();
      break;
    }
    page.items.push_back(std::move(queue));
  }
  for (Queue& queue : page.items) {
    if (auto added = AddOldest(*reader.get(), queue); !added) {
      return Explain(context, std::move(added).error());
    }
  }
  return page;
}

Result<std::optional<Queue>> Readers::GetQueue(const Context& context, std::string_view name) {
  HF_ASSIGN_OR_RETURN(Lease reader, Take(context));
  HF_ASSIGN_OR_RETURN(bool found, reader->get_queue.Bind(name).Step());
  if (!found) return std::nullopt;
  Queue queue = ReadQueue(reader->get_queue);
  reader->get_queue.Reset();
  HF_RETURN_IF_ERROR(AddOldest(*reader.get(), queue));
  return queue;
}

Result<QueueTotals> Readers::GetTotals(const Context& context) {
  HF_ASSIGN_OR_RETURN(Lease reader, Take(context));
  HF_ASSIGN_OR_RETURN(bool found, reader->get_totals.Step());
  if (!found) return Fail(ErrorCode::kCorrupt, "the table of totals is empty");
  QueueTotals totals;
  for (std::size_t i = 0; i < kJobStateCount; ++i) {
    totals.counts[i] = reader->get_totals.Integer(static_cast<int>(i));
  }
  totals.queues = reader->get_totals.Integer(kJobStateCount);
  reader->get_totals.Reset();
  return totals;
}

Result<AuditPage> Readers::ListAudit(const Context& context, const AuditFilter& filter) {
  HF_ASSIGN_OR_RETURN(std::int64_t before, rules::ParseCursor(filter.cursor));
  HF_ASSIGN_OR_RETURN(Lease reader, Take(context));
  Statement list;
  HF_RETURN_IF_ERROR(list.Prepare(*reader->connection, AuditListSql(filter, before != 0)));
  if (before != 0) list.Bind(before);
  if (!filter.target.empty()) list.Bind(filter.target);
  if (!filter.actor.empty()) list.Bind(filter.actor);
  if (!filter.operation.empty()) list.Bind(filter.operation);
  if (filter.since) list.Bind(*filter.since);
  if (filter.until) list.Bind(*filter.until);
  list.Bind(std::int64_t{filter.limit} + 1);
  AuditPage page;
  rules::PageRoom room(filter.limit);
  while (true) {
    Result<bool> found = list.Step();
    if (!found) return Explain(context, std::move(found).error());
    if (!*found) break;
    AuditEntry entry = ReadAudit(list);
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
  HF_ASSIGN_OR_RETURN(Lease reader, Take(context));
  std::vector<std::string> ready;
  for (const std::string& queue : queues) {
    Statement& look = queue.empty() ? reader->is_any_ready : reader->is_ready.Bind(queue);
    Result<bool> found = look.Step();
    if (!found) return Explain(context, std::move(found).error());
    if (look.Bool(0)) ready.push_back(queue);
    look.Reset();
  }
  return ready;
}

Result<std::vector<bool>> Readers::FindTurns(const Context& context,
                                             const std::vector<LockPlace>& places,
                                             std::int64_t session, Time now) {
  HF_ASSIGN_OR_RETURN(Lease reader, Take(context));
  std::vector<bool> turns;
  for (const LockPlace& place : places) {
    Statement& look = reader->is_turn.Bind(place.name)
                          .Bind(place.ticket)
                          .Bind(std::int64_t{place.mode == LockMode::kExclusive})
                          .Bind(place.limit)
                          .Bind(now)
                          .Bind(session);
    Result<bool> found = look.Step();
    if (!found) return Explain(context, std::move(found).error());
    turns.push_back(look.Bool(0));
    look.Reset();
  }
  return turns;
}

Result<std::int64_t> Readers::DataVersion(const Context& context) {
  HF_ASSIGN_OR_RETURN(Lease reader, Take(context));
  HF_RETURN_IF_ERROR(reader->data_version.Step());
  std::int64_t version = reader->data_version.Integer(0);
  reader->data_version.Reset();
  return version;
}

}  // namespace holdfast::engine
