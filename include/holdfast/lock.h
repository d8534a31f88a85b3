// Locks: leases on a name, exclusive or shared, with a fencing token for each grant.
//
// A lease alone never excludes anybody: its holder may be paused past its end. What protects is the
// token, checked in the commit that depends on it: see LockGuard in batch.h and HeldLock in
// held_lock.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/error.h"
#include "holdfast/job.h"
#include "holdfast/record.h"
#include "holdfast/time.h"

namespace holdfast {

enum class LockMode : std::uint8_t {
  kExclusive,  ///< one holder
  kShared,     ///< as many as the limit says; a semaphore of n is shared with limit n
};

/// "exclusive", "shared".
std::string_view NameOf(LockMode mode);
std::optional<LockMode> ParseLockMode(std::string_view name);

/// What an acquire of several names wants.
enum class LockPolicy : std::uint8_t {
  kAll,  ///< every one, or none (LOCK-6)
  kAny,  ///< the first that is free, in the order in which they are given (LOCK-2)
};

/// "all", "any".
std::string_view NameOf(LockPolicy policy);
std::optional<LockPolicy> ParseLockPolicy(std::string_view name);

/// The name of a record's lock: "record:ticket/T-1". While somebody holds it, changes of the record
/// that do not carry the guard of its token are `busy`.
std::string LockNameOf(const RecordKey& key);

/// One lease of a lock.
struct LockGrant {
  std::string name{};
  std::string owner{};
  LockMode mode = LockMode::kExclusive;
  /// Larger than that of every grant of this lock before it, and of any grant or claim that was
  /// answered before this one was asked for.
  Token token = 0;
  Time acquired_at{};
  Time expires_at{};  ///< by the engine's clock
  /// Between the request and the grant, never more than has really passed since the request was
  /// sent: the lease ends at the earliest at sent + waited + ttl, by the clock of the caller.
  Duration waited{};

  bool operator==(const LockGrant&) const = default;
};

/// What became of an operation on locks.
struct LockOutcome {
  /// lock.acquire and lock.renew: the leases as they are now. lock.release and lock.break: as they
  /// were.
  std::vector<LockGrant> grants{};
  // Between the store and its engine, while a request waits: see AwaitLock.
  std::int64_t ticket = 0;
  std::optional<Time> deadline{};
  Duration remaining{};

  bool operator==(const LockOutcome&) const = default;
};

struct LockHolder {
  std::string owner{};
  LockMode mode = LockMode::kExclusive;
  Token token = 0;
  Time acquired_at{};
  Time expires_at{};

  bool operator==(const LockHolder&) const = default;
};

struct LockWaiter {
  std::string owner{};
  LockMode mode = LockMode::kExclusive;
  Time since{};

  bool operator==(const LockWaiter&) const = default;
};

/// A lock as it is now. A lock that nobody holds and nobody waits for is free, and no more is known
/// of it than its name.
struct Lock {
  std::string name{};
  std::optional<std::int64_t> limit{};  ///< of a shared lock
  std::vector<LockHolder> holders{};    ///< in the order of their tokens
  std::vector<LockWaiter> waiters{};    ///< in the order in which they will get it
  std::optional<Time> delayed_until{};  ///< its lock delay (LOCK-9) ends then

  bool operator==(const Lock&) const = default;
};

/// Which locks to list, in the order of their names: those that are held or waited for.
struct LockFilter {
  std::string prefix{};  ///< of the name; empty: any
  std::string owner{};   ///< of a holder or a waiter; empty: every owner
  int limit = 100;       ///< 1-1,000
  std::string cursor{};  ///< the next_cursor of the page before; empty: from the beginning
};

struct LockPage {
  std::vector<Lock> items{};
  std::string next_cursor{};  ///< empty: this was the last page
};

/// A record and the lock on it, taken together: see Store::AcquireNext.
struct LockedRecord {
  LockGrant lock{};
  Record record{};
};

/// A named pair of lease and wait (LOCK-11).
struct LockPreset {
  std::string name{};
  Duration ttl{};
  Duration wait{};

  bool operator==(const LockPreset&) const = default;
};

/// DEFAULT 10 s / 5 s, JOB_WORKFLOW 15/10, PARENT_CHILD 20/15, JOB_STATUS 10/5,
/// TICKET_ESCALATION 15/10, JSON_FIELD 10/5. StoreOptions::lock_presets adds to these or replaces
/// them.
std::span<const LockPreset> ShippedLockPresets();

}  // namespace holdfast
