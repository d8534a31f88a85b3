// Reads, on connections of their own: each one statement, and so one snapshot of the primary.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "engine/engine.h"
#include "engine/postgres/connection.h"

namespace holdfast::engine::postgres {

/// Connections of one process that read. Lists, which may take long, leave some of them to reads of
/// single rows, to the clock, and to the look whether anything has changed.
inline constexpr std::size_t kReaders = 8;
inline constexpr std::size_t kListReaders = 5;

/// A bounded pool of connections, opened when first needed. Threads: any; a call beyond the bound
/// waits for a connection.
class Readers {
 public:
  explicit Readers(const Settings& settings);

  Result<std::optional<Job>> GetJob(const Context& context, JobId id);
  Result<JobPage> ListJobs(const Context& context, const JobFilter& filter);
  Result<QueuePage> ListQueues(const Context& context, const QueueFilter& filter);
  Result<std::optional<Queue>> GetQueue(const Context& context, std::string_view name);
  Result<QueueTotals> GetTotals(const Context& context);
  Result<std::optional<Record>> GetRecord(const Context& context, const RecordKey& key);
  Result<RecordPage> ListRecords(const Context& context, const RecordFilter& filter);
  Result<std::optional<Kind>> GetKind(const Context& context, std::string_view name);
  Result<std::vector<Kind>> ListKinds(const Context& context);
  Result<std::optional<Transfer>> GetTransfer(const Context& context, TransferId id);
  Result<TransferPage> ListTransfers(const Context& context, const TransferFilter& filter);
  /// `session`: whose waiters are alive, whatever its row says.
  Result<Lock> GetLock(const Context& context, std::string_view name, std::int64_t session,
                       Time now);
  Result<LockPage> ListLocks(const Context& context, const LockFilter& filter, std::int64_t session,
                             Time now);
  Result<AuditPage> ListAudit(const Context& context, const AuditFilter& filter);
  Result<std::vector<std::string>> FindReady(const Context& context,
                                             const std::vector<std::string>& queues);
  Result<std::vector<bool>> FindTurns(const Context& context, const std::vector<LockPlace>& places,
                                      std::int64_t session, std::optional<Time> now);
  /// Where the log of the server ends: it moves whenever anybody commits.
  Result<std::int64_t> LogPosition();
  Result<Time> Now();

 private:
  enum class Reads : std::uint8_t { kFew, kList };

  /// Runs one query, on another connection if the first turns out to be dead: reads can be asked
  /// again.
  Result<Answer> Query(const Context& context, const Sql& sql, const Parameters& parameters,
                       Reads reads = Reads::kFew);
  /// The queues of an answer, each with the due time of its oldest job.
  Result<std::vector<Queue>> WithOldest(const Context& context, const Answer& answer, Reads reads);
  Result<Answer> QueryText(const Context& context, const std::string& text,
                           const Parameters& parameters, Reads reads = Reads::kList);
  template <typename Ask>
  Result<Answer> Run(const Context& context, Reads reads, Ask ask);
  Result<std::unique_ptr<Connection>> Take(const Context& context, Reads reads);
  void GiveBack(std::unique_ptr<Connection> connection, Reads reads);
  Result<std::vector<Lock>> ReadLocks(const Context& context, const std::vector<std::string>& names,
                                      std::int64_t session, Time now);
  std::string WithSchema(std::string_view text) const { return Sql(settings_, text).text(); }

  const Settings settings_;
  const Sql get_job_, get_record_, get_kind_, get_transfer_, list_kinds_, list_queues_, get_queue_,
      get_totals_, oldest_pending_, log_position_, now_, find_ready_, find_turns_;

  base::Mutex mutex_{base::LockRank::kEngineLeaf};
  base::CondVar returned_;
  std::vector<std::unique_ptr<Connection>> idle_ HF_GUARDED_BY(mutex_);
  std::size_t open_ HF_GUARDED_BY(mutex_) = 0;
  std::size_t lists_ HF_GUARDED_BY(mutex_) = 0;  // connections that are taken for lists
};

}  // namespace holdfast::engine::postgres
