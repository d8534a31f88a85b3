// The seam between the store and what keeps its rows. Internal: it may change in any release,
// together with tests/conformance, which every engine must pass.
//
// An engine locks and loads the rows that a batch touches, lets rules::Apply decide, persists what
// changed, makes it durable, then answers. It knows no rule of its own.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/answer.h"
#include "holdfast/store.h"
#include "rules/apply.h"
#include "rules/lock_rows.h"
#include "rules/rows.h"

namespace holdfast::engine {

/// What an engine survives and shares. Suites branch on these, never on an engine's name.
struct Traits {
  std::string_view name;
  bool survives_process_kill = false;     ///< acknowledged commits outlive the process
  bool shared_between_processes = false;  ///< several processes may open one store
  /// Tokens follow one another without a gap, as long as nothing is refused.
  bool has_dense_tokens = true;
  /// Time is that of this machine, and is kept with the data.
  bool keeps_time = true;
  /// False in simulations: the store starts no thread either, and Store::Maintain does what its
  /// thread would do.
  bool has_threads = true;
  bool is_remote = false;  ///< a server does the waiting, the maintenance and the recording
};

/// Something became claimable. Best effort: a wake-up, never the truth.
struct Change {
  std::vector<rules::ReadyJobs> ready;  ///< what became claimable
  std::optional<Time> next_due;         ///< something will need maintenance then
  rules::LockNotes locks;

  bool IsEmpty() const { return ready.empty() && !next_due && locks.IsEmpty(); }
  /// Adds what a batch that was applied leads to.
  void Take(rules::Rows& rows);
};

/// Told of changes after they are durable, under no lock of the engine.
class ChangeListener {
 public:
  virtual ~ChangeListener() = default;
  virtual void OnChange(const Change& change) = 0;
  /// Another process has committed something: whoever waits here should look. Best effort.
  virtual void OnChangedElsewhere() {}
};

/// One bounded step of maintenance.
struct MaintainRequest {
  int limit = 1000;                  ///< rows per kind of work
  std::vector<AuditEntry> refusals;  ///< to be appended to the trail, or folded into its entries
  /// Writes failed before this: the engine writes something even if nothing is due, so that the
  /// outcome says whether writes succeed again. A hint, for engines whose own disk it is.
  bool must_write = false;
  /// The engine's time when the caller was last known to run. The engine itself counts from here to
  /// when it gets to it: a stall is also one of the engine. Nothing: not known.
  std::optional<Time> alive_at;
  rules::Stall stall;  ///< an earlier one

  rules::Stall StallAt(Time now) const;
};

struct MaintainResult {
  MaintainReport report;
  std::vector<Job> expired;      ///< the jobs whose leases ran out, as they are now
  std::optional<Time> next_due;  ///< when the next job comes due or the next lease runs out
};

/// A place in the wait queue of a lock.
struct LockPlace {
  std::int64_t ticket = 0;
  std::string name;
  LockMode mode = LockMode::kExclusive;
  std::int64_t limit = 0;  ///< of a shared lock; 0: none
};

class Engine {
 public:
  virtual ~Engine() = default;

  virtual const Traits& traits() const = 0;

  /// Each batch is applied atomically and succeeds or fails alone; all are made durable together.
  /// `done` runs when the outcome is durable: inline, or on the engine's thread.
  /// Batches were validated by the store.
  virtual void Commit(const Context& context, std::vector<Batch> batches, CommitDone done) = 0;

  /// As Commit with this one batch, blocking until the outcome is durable. For an engine whose
  /// commits are done when the call returns: without a completion, an answer to wait for and
  /// vectors of one, a claim on the memory engine needs half the instructions.
  virtual Result<Receipt> CommitAndWait(const Context& context, Batch batch) {
    auto answer = std::make_shared<base::Answer<std::vector<Result<Receipt>>>>();
    std::vector<Batch> batches;
    batches.push_back(std::move(batch));
    Commit(context, std::move(batches),
           [answer](std::vector<Result<Receipt>> answers) { answer->Set(std::move(answers)); });
    return std::move(answer->Take().front());
  }

  /// Takes the next jobs in the order of JOB-3. Never waits behind a row that somebody else holds,
  /// and never for a job to arrive (unless is_remote).
  virtual void Claim(const Context& context, ClaimRequest request, ClaimDone done) = 0;

  /// As Claim, blocking until the outcome is durable.
  virtual Result<std::vector<Job>> ClaimAndWait(const Context& context, ClaimRequest request) {
    auto answer = std::make_shared<base::Answer<Result<std::vector<Job>>>>();
    Claim(context, std::move(request),
          [answer](Result<std::vector<Job>> jobs) { answer->Set(std::move(jobs)); });
    return answer->Take();
  }

  /// As Store::Acquire, the wait included: asked only of an engine that is remote. For the others
  /// the store waits.
  virtual void Acquire(const Context&, AcquireLock, AcquireDone done) {
    done(Fail(ErrorCode::kInternal, "this engine does not wait for locks"));
  }

  virtual Result<std::optional<Job>> GetJob(const Context& context, JobId id) = 0;
  virtual Result<JobPage> ListJobs(const Context& context, const JobFilter& filter) = 0;
  virtual Result<QueuePage> ListQueues(const Context& context, const QueueFilter& filter) = 0;
  virtual Result<std::optional<Queue>> GetQueue(const Context& context, std::string_view name) = 0;
  virtual Result<QueueTotals> GetTotals(const Context& context) = 0;
  virtual Result<std::optional<Record>> GetRecord(const Context& context, const RecordKey& key) = 0;
  virtual Result<RecordPage> ListRecords(const Context& context, const RecordFilter& filter) = 0;
  virtual Result<std::optional<Kind>> GetKind(const Context& context, std::string_view name) = 0;
  virtual Result<std::vector<Kind>> ListKinds(const Context& context) = 0;
  virtual Result<std::optional<Transfer>> GetTransfer(const Context& context, TransferId id) = 0;
  virtual Result<TransferPage> ListTransfers(const Context& context,
                                             const TransferFilter& filter) = 0;
  virtual Result<Lock> GetLock(const Context& context, std::string_view name) = 0;
  virtual Result<LockPage> ListLocks(const Context& context, const LockFilter& filter) = 0;
  virtual Result<AuditPage> ListAudit(const Context& context, const AuditFilter& filter) = 0;

  /// Expires leases, promotes due jobs, prunes, records refusals. Blocks until durable.
  virtual Result<MaintainResult> Maintain(const Context& context, MaintainRequest request) = 0;

  /// At most one listener, for the engine's life. Set before the first commit.
  virtual void Listen(ChangeListener* listener) = 0;

  /// Whether another process has committed since the last call: cheap enough to poll.
  virtual bool ChangedElsewhere() = 0;

  /// Of these queues ("": any queue at all) those that may have a job for a claim. Reads alone, and
  /// a hint: a parked claim that is woken for nothing costs a look.
  virtual Result<std::vector<std::string>> FindReady(const Context&,
                                                     const std::vector<std::string>& queues) {
    return queues;
  }
  /// For each place, whether a look may find that it is its turn, or that the place is gone. Reads
  /// alone, and a hint.
  virtual Result<std::vector<bool>> FindTurns(const Context&,
                                              const std::vector<LockPlace>& places) {
    return std::vector<bool>(places.size(), true);
  }

  /// The engine's clock, the only judge of leases (TIME-1).
  virtual Result<Time> Now() = 0;

  /// Nothing, or why writes are refused.
  virtual Result<void> CheckHealth() = 0;
};

}  // namespace holdfast::engine
