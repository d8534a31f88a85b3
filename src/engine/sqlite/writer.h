// The one thread that writes: it turns everything that waits into one SQLite transaction, makes it
// durable with one fsync, and then answers everybody.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/engine_clock.h"
#include "base/mutex.h"
#include "engine/driver.h"
#include "engine/engine.h"
#include "engine/sqlite/connection.h"
#include "engine/sqlite/named_files.h"
#include "engine/sqlite/transaction.h"
#include "engine/work.h"

namespace holdfast::engine {

/// Concurrency is a group commit, not a lock fight. While a group is being synced the next one
/// gathers, so groups grow with the load by themselves.
///
/// After the first I/O error every write is refused with `unavailable`: what the disk holds is no
/// longer known. So it is once the file that is open is not the file that is named. While the file
/// has a second name, writes are refused as well. Threads: any.
class Writer {
 public:
  /// With a driver it has no thread, and writes when the driver says so.
  Writer(std::unique_ptr<Connection> connection, const NamedFiles& files, base::EngineClock clock,
         Driver* driver)
      : connection_(std::move(connection)),
        files_(files),
        clock_(std::move(clock)),
        driver_(driver) {}
  ~Writer();

  /// Prepares the statements and starts the thread.
  Result<void> Start();
  /// Finishes what is queued, answers it, joins. Blocks until then; to call it again does nothing.
  void Stop();

  void Submit(Work work);

  void Listen(ChangeListener* listener) { listener_ = listener; }
  Time Now() const { return clock_.Now(); }
  SteadyTime Steady() const { return clock_.Steady(); }
  /// By which other processes know the waiters of this one. Constant after Start.
  std::int64_t session() const { return transaction_.session(); }
  /// As of the latest group. Changes when, and only when, another process has committed.
  std::int64_t data_version() const { return data_version_.load(); }
  /// Nothing, or the error that ended writing.
  Result<void> CheckHealth() const;

 private:
  using Group = std::vector<Work>;

  void Run();
  void RunQueued();
  bool TakeGroup(Group& group);
  void AwaitCompany() HF_REQUIRES(mutex_);
  void RunGroup(Group& group);
  Result<void> RunTransaction(Group& group);
  Error UndoTransaction(Error error, bool is_committing);
  Result<void> CheckFiles();
  Result<void> Begin(Group& group);
  Result<void> RunWork(Work& work);
  Result<void> RunCommit(Work& work, CommitWork& commit);
  Result<void> RunClaim(Work& work, ClaimWork& claim);
  void RefuseIfOver(Work& work);
  void EndWriting(std::string_view since, const Error& error);

  // Constant after Start, or of the writer's thread alone.
  const std::unique_ptr<Connection> connection_;
  const NamedFiles& files_;
  const base::EngineClock clock_;
  Driver* const driver_;
  ChangeListener* listener_ = nullptr;
  Transaction transaction_;
  Time now_;                      // of the group at hand
  std::size_t last_callers_ = 0;  // in the group before
  Duration last_took_{};          // from its BEGIN until it was durable
  bool is_driven_now_ = false;    // a completion of the group at hand has submitted more
  std::atomic<std::int64_t> data_version_ = 0;
  std::thread thread_;

  mutable base::Mutex mutex_{base::LockRank::kEngine};
  base::CondVar arrived_;
  std::deque<Work> queue_ HF_GUARDED_BY(mutex_);
  bool is_stopping_ HF_GUARDED_BY(mutex_) = false;
  /// How many must be queued to wake the writer; 0 while it is busy.
  std::size_t wake_at_ HF_GUARDED_BY(mutex_) = 0;
  std::optional<Error> fatal_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast::engine
