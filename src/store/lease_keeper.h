// Keeps leases, of jobs and of locks: renews those that are due in one commit, and tells of those
// that are in doubt, out of time, or lost.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "holdfast/store.h"
#include "store/lease_clock.h"

namespace holdfast::store {

/// A lease, or several that live and die together, as its keeper sees it.
///
/// What it is told it is told on the keeper's thread, or on that of whoever found out first, and
/// under no mutex.
class KeptLease {
 public:
  virtual ~KeptLease() = default;
  /// How long it is, from when it is granted or renewed. Always the same.
  virtual Duration length() const = 0;
  /// What renews it. Asked for again, it has no other effect: after an unknown outcome it is.
  virtual Batch Renewal() const = 0;

  virtual void OnRenewed(const Receipt& receipt, LeaseTime lost_at) = 0;
  /// A renewal failed, or is overdue. It is tried again.
  virtual void OnSuspect() {}
  /// Once, and nothing after it: it is no longer held.
  virtual void OnLost(std::string_view why) = 0;
  /// Likewise: what it was for is over, by a commit under its own token. That is no loss.
  virtual void OnOver() {}
  virtual void OnTimeOut() {}
  virtual void OnShutDown() {}
};

/// How long before its end a lease is given up: a twentieth, but at least 50 ms, to end the work
/// in; and a hundredth for clocks that do not run alike. The 50 ms would leave a lease of 100 ms no
/// time to be renewed in: never more than a quarter, beside the hundredth.
Duration LeaseMargin(Duration length);

/// The keeper judges a lease by a deadline of its own, counted from when the request that granted
/// it was sent: a holder that was paused, or cut off, knows that it lost before anybody tells it.
///
/// Threads: any. Held by a shared_ptr, because an answer of the store may come after Stop.
class LeaseKeeper : public std::enable_shared_from_this<LeaseKeeper> {
 public:
  /// `actor` is told to the store with every renewal.
  LeaseKeeper(Store& store, std::string actor, const Clock& clock);

  /// By the clock that leases are counted by.
  LeaseTime Now() const { return LeaseNow(clock_); }

  void Start();
  /// Ends the thread. Nothing is held any more.
  void Stop();

  /// Renews the lease from now on, at a third of its length. It was granted at `granted`, or a
  /// little later. With `confirm` it is renewed at once, to learn whether it is still held.
  void Hold(std::shared_ptr<KeptLease> lease, LeaseTime granted, bool confirm = false);

  /// Tells the lease then that it is out of time, if it is held.
  void EndAt(const KeptLease& lease, LeaseTime timeout_at);

  /// No longer renews the lease. When it will be lost; nothing if it has been.
  std::optional<LeaseTime> LetGo(const KeptLease& lease);

  /// Somebody else than the keeper learned that the lease is lost. Tells it, if it is held.
  void Lose(KeptLease& lease, std::string_view why);

  /// The store has refused a call under the lease's token. False: the error says nothing of the
  /// lease. Otherwise the lease is told that it is lost, or over, if it is held.
  bool EndIfRefused(KeptLease& lease, const Error& error);

  /// Tells every lease that is held to shut down. They are kept all the same.
  void ShutDownAll();

  bool IsIdle() const;

 private:
  struct Entry {
    std::shared_ptr<KeptLease> lease;
    Duration length{};
    LeaseTime renew_at{};
    LeaseTime suspect_at{};
    LeaseTime lost_at{};
    LeaseTime timeout_at{};
    bool has_failed = false;  // the last renewal did
  };
  using Leases = std::vector<std::shared_ptr<KeptLease>>;
  /// A renewal on its way. At most one is, so that a store that hangs is not heaped with them.
  struct Renewal {
    Leases leases;
    LeaseTime sent;
  };
  /// What there is to do, collected under the mutex and done outside.
  struct Due {
    Leases timed_out;
    Leases suspect;
    Leases lost;
    Leases renew;
    LeaseTime renew_by;
    std::optional<std::vector<Result<Receipt>>> answers;
    bool stop = false;
  };

  void Run();
  Due WaitUntilDue();
  bool Collect(Due& due, LeaseTime now) HF_REQUIRES(mutex_);
  void CollectRenewals(Due& due, LeaseTime now) HF_REQUIRES(mutex_);
  void SendRenewal(Leases leases, LeaseTime renew_by);
  void TakeAnswers(const std::vector<Result<Receipt>>& answers);
  void TakeReceipt(KeptLease& lease, const Receipt& receipt, LeaseTime sent);
  void TryAgain(KeptLease& lease);
  /// From when it was granted or renewed.
  static void Begin(Entry& entry, LeaseTime at);

  Store& store_;
  const std::string actor_;
  const Clock& clock_;
  std::thread thread_;     // Start and Stop
  std::stop_source stop_;  // of a renewal that blocks the thread
  Renewal in_flight_;      // the keeper's thread

  mutable base::Mutex mutex_{base::LockRank::kWorkers};
  base::CondVar changed_;
  std::map<const KeptLease*, Entry> entries_ HF_GUARDED_BY(mutex_);
  LeaseTime wake_at_ HF_GUARDED_BY(mutex_);  // until when the thread sleeps
  bool renewing_ HF_GUARDED_BY(mutex_) = false;
  std::optional<std::vector<Result<Receipt>>> answers_ HF_GUARDED_BY(mutex_);
  bool stopping_ HF_GUARDED_BY(mutex_) = false;
};

}  // namespace holdfast::store
