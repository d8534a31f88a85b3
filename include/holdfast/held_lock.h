// A lock that is held: renewed by itself, with a clock of its own, and a guard for every commit.
//
//   auto done = WithLock(store, {}, {.name = "invoices/7", .wait = 5s}, [&](HeldLock& lock) {
//     ...                                   // lock.stop() fires before the lease ends
//     return lock.Commit({}, std::move(batch));  // refused if the lock was lost meanwhile
//   });
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/store.h"

namespace holdfast {

/// How a HeldLock is doing (LOCK-10).
enum class LockState : std::uint8_t {
  kHeld,
  kSuspect,   ///< a renewal is overdue or failed; the lease may still be good, and may not
  kLost,      ///< it was refused, or its time is up by the clock of this process
  kReleased,  ///< given back by this process
};

/// "held", "suspect", "lost", "released".
std::string_view NameOf(LockState state);

/// One lock, or several that were taken together. Renewed at a third of the lease, on a thread that
/// all locks of the store share.
///
/// The object judges its leases by a clock of its own, which also counts the time in which the
/// machine is suspended, from when the request that granted them was sent: a process that was
/// paused or cut off knows that it lost before it is told. Renewal goes on after errors and unknown
/// outcomes until that time is up. What protects data all the same is the guard: use Commit.
///
/// Threads: any.
class HeldLock {
 public:
  /// As Store::Acquire. An empty owner: one that is made up, of host, process and a random part.
  /// `store` must outlive the object. Errors: those of Store::Acquire; unavailable, if the system
  /// refuses the thread.
  static Result<std::unique_ptr<HeldLock>> Acquire(Store& store, const Context& context,
                                                   AcquireLock request);
  /// Releases, if it is still held, with a context of its own; a failure is not told.
  ~HeldLock();
  HeldLock(const HeldLock&) = delete;
  HeldLock& operator=(const HeldLock&) = delete;

  /// As they were granted.
  const std::vector<LockGrant>& grants() const;
  /// Of the first one.
  const std::string& name() const;
  Token token() const;
  const std::string& owner() const;

  LockState state() const;
  /// Until when the leases are good, less a margin: a twentieth, at least 50 ms but no more than a
  /// quarter, and a hundredth for clocks that do not run alike. Zero once they are lost.
  Duration remaining() const;
  /// Fires when the leases are lost, a margin before they end. Callbacks on it must be quick: the
  /// thread that runs them also renews other locks.
  std::stop_token stop() const;
  /// Why they were lost; empty while they are not.
  std::string lost_because() const;

  /// Guards for batches of the caller's own, one for each lease.
  std::vector<Guard> Guards() const;
  /// Commits the batch under these guards, ahead of its own. Errors: fenced (also before anything
  /// is sent, once the lock is known to be lost), those of Store::Commit; an index of a guard in
  /// the detail counts these guards first.
  Result<Receipt> Commit(const Context& context, Batch batch);

  /// Gives the leases back. Errors: fenced, if they were lost; then everything is as it would be
  /// after success. cancelled and deadline_exceeded of a context that was over before: then nothing
  /// has changed. Others: the leases are no longer renewed, and end by themselves. Blocks for one
  /// commit. Idempotent: a second call does nothing.
  Result<void> Release(const Context& context);

 private:
  class Impl;
  explicit HeldLock(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

/// Takes the lock, runs `work` on this thread, gives the lock back whatever came of it. The answer
/// is that of `work`; if it succeeded although the lock was lost, fenced: what it did outside of
/// HeldLock::Commit may have met somebody else's work. Errors: those of Store::Acquire, `work`'s.
Result<void> WithLock(Store& store, const Context& context, AcquireLock request,
                      const std::function<Result<void>(HeldLock& lock)>& work);

}  // namespace holdfast
