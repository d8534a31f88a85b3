#include "engine/sqlite/sqlite_engine.h"

#include <fmt/format.h>

#include <filesystem>

#include "base/answer.h"
#include "base/log.h"
#include "base/mutant.h"
#include "base/result.h"
#include "base/text.h"
#include "engine/sqlite/named_files.h"
#include "engine/sqlite/reader.h"
#include "engine/sqlite/schema.h"
#include "engine/sqlite/writer.h"

namespace holdfast::engine {
namespace {

// While another process holds the file for longer than this, there is news without a closer look.
constexpr auto kNewsMost = std::chrono::milliseconds(50);

class SqliteEngine final : public Engine {
 public:
  SqliteEngine(const std::string& path, std::unique_ptr<Connection> connection, NamedFiles files,
               base::EngineClock clock, Driver* driver)
      : traits_{.name = "sqlite",
                .survives_process_kill = true,
                .shared_between_processes = true,
                .has_threads = driver == nullptr},
        files_(std::move(files)),
        writer_(std::move(connection), files_, std::move(clock), driver),
        readers_(path, files_),
        watcher_(path, files_) {}
  /// What is answered meanwhile may read.
  ~SqliteEngine() override { writer_.Stop(); }

  Result<void> Start() { return writer_.Start(); }

  const Traits& traits() const override { return traits_; }

  void Commit(const Context& context, std::vector<Batch> batches, CommitDone done) override {
    writer_.Submit(Work::Of(context, writer_.Steady(), std::move(batches), std::move(done)));
  }
  void Claim(const Context& context, ClaimRequest request, ClaimDone done) override {
    writer_.Submit(Work::Of(context, writer_.Steady(), std::move(request), std::move(done)));
  }
  Result<std::optional<Job>> GetJob(const Context& context, JobId id) override {
    return readers_.GetJob(context, id);
  }
  Result<JobPage> ListJobs(const Context& context, const JobFilter& filter) override {
    return readers_.ListJobs(context, filter);
  }
  Result<QueuePage> ListQueues(const Context& context, const QueueFilter& filter) override {
    return readers_.ListQueues(context, filter);
  }
  Result<std::optional<Queue>> GetQueue(const Context& context, std::string_view name) override {
    return readers_.GetQueue(context, name);
  }
  Result<QueueTotals> GetTotals(const Context& context) override {
    return readers_.GetTotals(context);
  }
  Result<std::optional<Record>> GetRecord(const Context& context, const RecordKey& key) override {
    return readers_.GetRecord(context, key);
  }
  Result<RecordPage> ListRecords(const Context& context, const RecordFilter& filter) override {
    return readers_.ListRecords(context, filter);
  }
  Result<std::optional<Kind>> GetKind(const Context& context, std::string_view name) override {
    return readers_.GetKind(context, name);
  }
  Result<std::vector<Kind>> ListKinds(const Context& context) override {
    return readers_.ListKinds(context);
  }
  Result<std::optional<Transfer>> GetTransfer(const Context& context, TransferId id) override {
    return readers_.GetTransfer(context, id);
  }
  Result<TransferPage> ListTransfers(const Context& context,
                                     const TransferFilter& filter) override {
    return readers_.ListTransfers(context, filter);
  }
  Result<Lock> GetLock(const Context& context, std::string_view name) override {
    return readers_.GetLock(context, name, writer_.session(), writer_.Now());
  }
  Result<LockPage> ListLocks(const Context& context, const LockFilter& filter) override {
    return readers_.ListLocks(context, filter, writer_.session(), writer_.Now());
  }
  Result<AuditPage> ListAudit(const Context& context, const AuditFilter& filter) override {
    return readers_.ListAudit(context, filter);
  }

  Result<MaintainResult> Maintain(const Context& context, MaintainRequest request) override {
    auto answer = std::make_shared<base::Answer<Result<MaintainResult>>>();
    writer_.Submit(
        Work::Of(context, writer_.Steady(), std::move(request),
                 [answer](Result<MaintainResult> result) { answer->Set(std::move(result)); }));
    return answer->Take();
  }

  void Listen(ChangeListener* listener) override { writer_.Listen(listener); }

  bool ChangedElsewhere() override {
    // The number is relative to the connection: this one is used for nothing else and counts the
    // commits of this process as well; that of the writer counts only those of others, as of its
    // latest transaction. So an empty one is made, which writes nothing.
    Result<std::int64_t> version = watcher_.DataVersion(Context());
    if (!version) return true;
    if (last_data_version_.exchange(*version) == *version) return false;
    if (HF_MUTANT(own_commits_are_news)) return true;
    Context context;
    context.deadline = std::chrono::steady_clock::now() + kNewsMost;
    if (!CommitAndWait(context, Batch())) return true;
    const std::int64_t of_others = writer_.data_version();
    return last_of_others_.exchange(of_others) != of_others;
  }

  Result<std::vector<std::string>> FindReady(const Context& context,
                                             const std::vector<std::string>& queues) override {
    return readers_.FindReady(context, queues);
  }
  Result<std::vector<bool>> FindTurns(const Context& context,
                                      const std::vector<LockPlace>& places) override {
    return readers_.FindTurns(context, places, writer_.session(), writer_.Now());
  }

  Result<Time> Now() override { return writer_.Now(); }
  Result<void> CheckHealth() override { return writer_.CheckHealth(); }

 private:
  const Traits traits_;
  const NamedFiles files_;
  Writer writer_;  // the last to close the file: it knows whether its log may go
  Readers readers_;
  Readers watcher_;
  std::atomic<std::int64_t> last_data_version_ = 0;  // of the watcher
  std::atomic<std::int64_t> last_of_others_ = 0;     // of the writer
};

struct Opened {
  std::unique_ptr<Connection> connection;
  SchemaVersions versions;
};

/// Moves what the log holds into the file, syncs it, and begins the log anew. A process that died
/// after a failed sync may have left commits in the log that can be read but, on Linux, will never
/// be written: when the power goes, the log ends before them, and so before whatever was added
/// behind them; and what is left of it would be laid over a file that is ahead of it. A log that
/// begins anew, durably, is the end of both. Where other processes have the file open, the log is
/// theirs, and they know what they have synced.
Result<void> SettleLog(Connection& connection) {
  Statement checkpoint;
  HF_RETURN_IF_ERROR(checkpoint.Prepare(connection, "PRAGMA wal_checkpoint(PASSIVE)"));
  HF_ASSIGN_OR_RETURN(bool has_answer, checkpoint.Step());
  const bool is_empty = !has_answer || checkpoint.Integer(1) <= 0;
  const bool is_whole = has_answer && checkpoint.Integer(2) == checkpoint.Integer(1);
  checkpoint.Reset();
  if (!is_empty && is_whole) {
    HF_RETURN_IF_ERROR(connection.Execute("BEGIN IMMEDIATE"));
    HF_ASSIGN_OR_RETURN(std::int64_t version, connection.QueryInteger("PRAGMA user_version"));
    HF_RETURN_IF_ERROR(connection.Execute(fmt::format("PRAGMA user_version={}; COMMIT", version)));
  }
  connection.SetLogIsKept(false);
  return {};
}

Result<Opened> OpenFile(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return Fail(ErrorCode::kUnavailable, fmt::format("cannot open {}: it is a directory", path));
  }
  auto folder = std::filesystem::path(path).parent_path();
  if (!folder.empty() && !std::filesystem::is_directory(folder, ignored)) {
    return Fail(ErrorCode::kUnavailable,
                fmt::format("cannot open {}: there is no folder {}", path, folder.string()));
  }
  if (std::optional<std::string> links = SecondName(path)) {
    return Fail(ErrorCode::kUnavailable, fmt::format("cannot open {}: {}", path, *links));
  }
  Opened opened;
  HF_ASSIGN_OR_RETURN(opened.connection, Connection::Open(path, Connection::Mode::kReadWrite));
  // Until it is settled nobody may move it into the file and remove it: not even SQLite, when the
  // last connection is closed because something here has failed.
  opened.connection->SetLogIsKept(true);
  sqlite3_busy_timeout(opened.connection->handle(), 10'000);
  HF_ASSIGN_OR_RETURN(opened.versions.before, Migrate(*opened.connection, path));
  opened.versions.after = kSchemaVersion;
  HF_RETURN_IF_ERROR(Configure(*opened.connection, Connection::Mode::kReadWrite));
  HF_RETURN_IF_ERROR(SettleLog(*opened.connection));
  return opened;
}

Result<std::unique_ptr<Engine>> OpenEngine(const std::string& path, const StoreOptions& options,
                                           Driver* driver) {
  const Clock& clock = options.clock != nullptr ? *options.clock : Clock::System();
  HF_ASSIGN_OR_RETURN(Opened opened, OpenFile(path));
  HF_ASSIGN_OR_RETURN(base::ClockAnchor anchor, LoadClockAnchor(*opened.connection, clock));
  base::EngineClock engine_clock(clock, std::move(anchor));
  if (const Duration ahead = engine_clock.Ahead(); ahead != Duration::zero()) {
    base::Log(options.log, LogLevel::kWarning, "store_clock_differs", [&] {
      return base::Fields{{"store", path},
                          {"store_time", base::FormatTime(engine_clock.Now())},
                          {"wall_time", base::FormatTime(clock.Wall())}};
    });
  }
  HF_ASSIGN_OR_RETURN(NamedFiles files, NamedFiles::Of(path, *opened.connection));
  auto engine = std::make_unique<SqliteEngine>(path, std::move(opened.connection), std::move(files),
                                               std::move(engine_clock), driver);
  HF_RETURN_IF_ERROR(engine->Start());
  return engine;
}

/// Whatever goes wrong with a file while it is opened, the message says which file.
Error Naming(const std::string& path, Error error) {
  if (error.message.find(path) == std::string::npos) {
    error.message = fmt::format("cannot open {}: {}", path, error.message);
  }
  return error;
}

}  // namespace

Result<std::unique_ptr<Engine>> OpenSqlite(const std::string& path, const StoreOptions& options,
                                           Driver* driver) {
  Result<std::unique_ptr<Engine>> engine = OpenEngine(path, options, driver);
  if (!engine) return std::unexpected(Naming(path, std::move(engine).error()));
  return engine;
}

Result<SchemaVersions> MigrateSqlite(const std::string& path) {
  Result<Opened> opened = OpenFile(path);
  if (!opened) return std::unexpected(Naming(path, std::move(opened).error()));
  return opened->versions;
}

}  // namespace holdfast::engine
