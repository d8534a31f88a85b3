// Reads, on connections of their own: a consistent snapshot each, never behind the writer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "engine/engine.h"
#include "engine/sqlite/connection.h"
#include "engine/sqlite/named_files.h"

namespace holdfast::engine {

/// A bounded pool of connections, opened when first needed. Threads: any; a call beyond the bound
/// waits for a connection, not for a writer.
class Readers {
 public:
  Readers(std::string path, const NamedFiles& files) : path_(std::move(path)), files_(files) {}

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
                                      std::int64_t session, Time now);
  /// Changes whenever another connection, of any process, commits.
  Result<std::int64_t> DataVersion(const Context& context);

 private:
  struct Reader {
    std::unique_ptr<Connection> connection;
    Statement get_job, get_record, list_queues, get_queue, get_totals, oldest_pending, data_version,
        is_ready, is_any_ready, is_turn;
  };
  static Result<void> AddOldest(Reader& reader, Queue& queue);
  class Lease;

  Result<Lease> Take(const Context& context);
  Result<std::unique_ptr<Reader>> OpenReader() const;
  void GiveBack(std::unique_ptr<Reader> reader);

  const std::string path_;
  const NamedFiles& files_;

  base::Mutex mutex_{base::LockRank::kEngineLeaf};
  base::CondVar returned_;
  std::vector<std::unique_ptr<Reader>> idle_ HF_GUARDED_BY(mutex_);
  std::size_t open_ HF_GUARDED_BY(mutex_) = 0;
};

}  // namespace holdfast::engine
