#include "engine/postgres/postgres_engine.h"

#include <fmt/format.h>

#include <atomic>

#include "base/answer.h"
#include "base/result.h"
#include "engine/postgres/lanes.h"
#include "engine/postgres/reader.h"
#include "engine/postgres/schema.h"
#include "engine/postgres/wake_ups.h"

namespace holdfast::engine::postgres {
namespace {

class PostgresEngine final : public Engine {
 public:
  PostgresEngine(const Settings& settings, std::optional<base::EngineClock> test_clock)
      : node_(settings, std::move(test_clock)),
        readers_(settings),
        wake_ups_(node_),
        lanes_(node_, wake_ups_) {}

  void Start() { lanes_.Start(); }

  const Traits& traits() const override { return traits_; }

  void Commit(const Context& context, std::vector<Batch> batches, CommitDone done) override {
    lanes_.Submit(
        Work::Of(context, std::chrono::steady_clock::now(), std::move(batches), std::move(done)));
  }
  void Claim(const Context& context, ClaimRequest request, ClaimDone done) override {
    lanes_.Submit(
        Work::Of(context, std::chrono::steady_clock::now(), std::move(request), std::move(done)));
  }
  Result<Receipt> CommitAndWait(const Context& context, Batch batch) override {
    auto answer = std::make_shared<base::Answer<std::vector<Result<Receipt>>>>();
    std::vector<Batch> batches;
    batches.push_back(std::move(batch));
    lanes_.SubmitAndHelp(Work::Of(
        context, std::chrono::steady_clock::now(), std::move(batches),
        [answer](std::vector<Result<Receipt>> answers) { answer->Set(std::move(answers)); }));
    return std::move(answer->Take().front());
  }
  Result<std::vector<Job>> ClaimAndWait(const Context& context, ClaimRequest request) override {
    auto answer = std::make_shared<base::Answer<Result<std::vector<Job>>>>();
    lanes_.SubmitAndHelp(
        Work::Of(context, std::chrono::steady_clock::now(), std::move(request),
                 [answer](Result<std::vector<Job>> jobs) { answer->Set(std::move(jobs)); }));
    return answer->Take();
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
    HF_ASSIGN_OR_RETURN(Time now, Now());
    return readers_.GetLock(context, name, node_.session, now);
  }
  Result<LockPage> ListLocks(const Context& context, const LockFilter& filter) override {
    HF_ASSIGN_OR_RETURN(Time now, Now());
    return readers_.ListLocks(context, filter, node_.session, now);
  }
  Result<AuditPage> ListAudit(const Context& context, const AuditFilter& filter) override {
    return readers_.ListAudit(context, filter);
  }

  Result<MaintainResult> Maintain(const Context& context, MaintainRequest request) override {
    auto answer = std::make_shared<base::Answer<Result<MaintainResult>>>();
    lanes_.Submit(
        Work::Of(context, std::chrono::steady_clock::now(), std::move(request),
                 [answer](Result<MaintainResult> result) { answer->Set(std::move(result)); }));
    return answer->Take();
  }

  void Listen(ChangeListener* listener) override {
    lanes_.Listen(listener);
    if (node_.settings.notifies) wake_ups_.Start(listener);
  }

  bool ChangedElsewhere() override {
    // What this process writes counts as well, which costs a needless look and loses nothing.
    Result<std::int64_t> position = readers_.LogPosition();
    if (!position) return true;
    return last_position_.exchange(*position) != *position;
  }

  Result<std::vector<std::string>> FindReady(const Context& context,
                                             const std::vector<std::string>& queues) override {
    return readers_.FindReady(context, queues);
  }
  Result<std::vector<bool>> FindTurns(const Context& context,
                                      const std::vector<LockPlace>& places) override {
    std::optional<Time> now;
    if (node_.test_clock) now = node_.test_clock->Now();
    return readers_.FindTurns(context, places, node_.session, now);
  }

  Result<Time> Now() override {
    if (node_.test_clock) return node_.test_clock->Now();
    return readers_.Now();
  }
  Result<void> CheckHealth() override { return lanes_.CheckHealth(); }

 private:
  const Traits traits_{.name = "postgres",
                       .survives_process_kill = true,
                       .shared_between_processes = true,
                       .has_dense_tokens = false,
                       .keeps_time = false};
  Node node_;
  Readers readers_;
  WakeUps wake_ups_;
  Lanes lanes_;
  std::atomic<std::int64_t> last_position_ = 0;
};

/// A clock that is given stands in for that of the database: tests move it. Every store on the same
/// database must see the same time, whatever the wall clock of its process says.
Result<base::EngineClock> AnchoredClock(Connection& connection, const Settings& settings,
                                        const Clock& clock) {
  const Sql anchor(settings,
                   "INSERT INTO $.holdfast_meta VALUES ('test_clock/' || $1, $2) ON CONFLICT "
                   "(name) DO UPDATE SET value = $.holdfast_meta.value RETURNING value");
  const base::ClockAnchor here = base::EngineClock::Anchor(clock);
  const Duration offset = here.wall.time_since_epoch() - here.since_boot;
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      connection.QueryText(anchor.text(),
                           Parameters().Add(here.boot_id).Add(fmt::to_string(offset.count()))));
  const Duration stored(std::stoll(Row(answer, 0).String(0)));
  return base::EngineClock(clock, {.wall = Time(stored + here.since_boot),
                                   .since_boot = here.since_boot,
                                   .boot_id = here.boot_id});
}

}  // namespace
}  // namespace holdfast::engine::postgres

namespace holdfast::engine {

Result<std::unique_ptr<Engine>> OpenPostgres(std::string_view url, const StoreOptions& options) {
  using namespace postgres;
  HF_ASSIGN_OR_RETURN(Settings settings, ParsePostgresUrl(url));
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection, Connection::Open(settings));
  HF_RETURN_IF_ERROR(MigrateSchema(*connection, settings));
  std::optional<base::EngineClock> test_clock;
  if (options.clock != nullptr) {
    HF_ASSIGN_OR_RETURN(base::EngineClock clock,
                        AnchoredClock(*connection, settings, *options.clock));
    test_clock.emplace(std::move(clock));
  }
  auto engine = std::make_unique<PostgresEngine>(settings, std::move(test_clock));
  engine->Start();
  return engine;
}

Result<PostgresMigration> MigratePostgres(std::string_view url) {
  using namespace postgres;
  HF_ASSIGN_OR_RETURN(Settings settings, ParsePostgresUrl(url));
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection, Connection::Open(settings));
  HF_ASSIGN_OR_RETURN(std::int64_t before, MigrateSchema(*connection, settings));
  return PostgresMigration{settings.shown, before, kPostgresSchema};
}

}  // namespace holdfast::engine
