// The locks that a batch touches: the part of Rows that is about them.
//
// Locks live with the engine and are changed in place, because a thousand waiters must not be
// copied for every release. Every change is logged: the log is what the engine writes down, and
// what Undo takes back.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "holdfast/batch.h"
#include "holdfast/lock.h"

namespace holdfast::rules {

/// A lease as the rules see it.
struct StoredHolder {
  Token token = 0;
  std::string owner;
  LockMode mode = LockMode::kExclusive;
  std::int64_t limit = 0;  // of a shared lock; 0: none
  Duration ttl{};
  Duration lock_delay{};
  Time acquired_at;
  Time expires_at;
  Duration waited{};
  std::int64_t ticket = 0;  // of the wait that led to it; 0: there was none
  /// The lease has run out, and only its lock delay keeps the lock taken.
  bool is_delay = false;

  bool IsLive(Time now) const { return expires_at > now; }
  /// When something is to be done about it.
  Time due_at() const { return is_delay ? expires_at + lock_delay : expires_at; }
};

/// A place in line.
struct StoredWaiter {
  std::int64_t ticket = 0;  // rises in the order of arrival, store-wide
  std::int64_t waiter = 0;  // by which its session knows it
  std::int64_t session = 0;
  std::string owner;
  LockMode mode = LockMode::kExclusive;
  std::int64_t limit = 0;
  Duration ttl{};
  Duration lock_delay{};
  LockPolicy policy = LockPolicy::kAll;
  bool has_others = false;  // it waits for other names as well
  Time since;
  Time deadline;
  std::string actor;
  std::string correlation_id;
};

struct StoredLock {
  std::string name;
  std::vector<StoredHolder> holders;             // by token
  std::map<std::int64_t, StoredWaiter> waiters;  // by ticket

  bool IsFree() const { return holders.empty() && waiters.empty(); }
  StoredHolder* FindHolder(Token token);
};

/// What anybody may know of it. Leases that ran out and waiters that died are left out.
Lock ToLock(const StoredLock& lock, Time now);
LockGrant ToGrant(const StoredLock& lock, const StoredHolder& holder);
/// Whether the filter lets it through: a lock that is free is not listed.
bool IsListed(const Lock& lock, const LockFilter& filter);
/// Whether it is the name of a record's lock.
inline bool IsRecordLock(std::string_view name) {
  return name.starts_with("record:");
}

/// The record whose lock has that name. Nothing: it is no record's.
std::optional<RecordKey> RecordOfLock(std::string_view name);

/// One step of what a batch did to a lock. `before` is of the holder that was changed or removed.
struct LockEdit {
  enum class What : std::uint8_t {
    kHolderAdded,
    kHolderChanged,
    kHolderRemoved,
    kWaiterAdded,
    kWaiterRemoved
  };
  What what = What::kHolderAdded;
  StoredLock* lock = nullptr;
  std::int64_t key = 0;  // the token or ticket
  StoredHolder before{};
  std::unique_ptr<StoredWaiter> waiter_before{};
};

/// What became of one holder or waiter over a whole batch. Nothing before: it was added; what it is
/// now, if it is still there, is in the lock.
struct LockNet {
  StoredLock* lock = nullptr;
  bool is_waiter = false;
  std::int64_t key = 0;
  std::size_t order = 0;  // of the edit that tells how it was
  const StoredHolder* holder_before = nullptr;
  const StoredWaiter* waiter_before = nullptr;
};

/// What the engine reads for a batch with locks. Confined to one thread.
class LockLoader {
 public:
  virtual ~LockLoader() = default;
  /// The lock, which lives with the engine; one that nobody holds is made, and is to be forgotten
  /// by the engine after the batch if it is free.
  virtual Result<StoredLock*> LoadLock(std::string_view name) = 0;
  /// As LoadLock, for looking alone: the lock of a record that the batch writes, or one that
  /// somebody waits for.
  virtual Result<StoredLock*> PeekLock(std::string_view name) { return LoadLock(name); }
  /// Whether the owner holds or waits for any lock.
  virtual Result<bool> IsEngaged(const std::string& owner) = 0;
  /// The names of the locks that the owner waits for, all of which it must get.
  virtual Result<std::vector<std::string>> WaitsOf(const std::string& owner) = 0;
  /// False: no record is locked, and nobody need look.
  virtual Result<bool> HasRecordLocks() = 0;
  /// Until when the other sessions are alive, by their ids.
  virtual Result<std::map<std::int64_t, Time>> LoadSessions() = 0;
};

/// A request that waited in this process got its lock.
struct LockGranted {
  std::int64_t waiter = 0;
  std::int64_t ticket = 0;  // of the place in line that led to it
  LockGrant grant;
};

/// What the engine's listener is to be told, once it is durable.
struct LockNotes {
  std::vector<LockGranted> granted;  // told exactly once
  std::vector<std::int64_t> woken;   // requests that should look again
  std::vector<LockGrant> expired;    // leases that ran out

  bool IsEmpty() const { return granted.empty() && woken.empty() && expired.empty(); }
  void Clear();
  /// Adds what `other` has, which is empty then.
  void Take(LockNotes& other);
};

/// One batch at a time.
class LockRows {
 public:
  void Clear();

  // For loading.

  void Add(StoredLock* lock);
  /// Brings the locks into their order, so that they can be found.
  void Seal();

  // For the rules.

  /// The lock, which was loaded.
  StoredLock& Named(std::string_view name);
  /// The lock if it was loaded.
  StoredLock* Find(std::string_view name);

  StoredHolder& AddHolder(StoredLock& lock, StoredHolder holder);
  /// Before a change: notes how the holder was.
  StoredHolder& Edit(StoredLock& lock, StoredHolder& holder);
  void RemoveHolder(StoredLock& lock, Token token);
  void AddWaiter(StoredLock& lock, StoredWaiter waiter);
  void RemoveWaiter(StoredLock& lock, std::int64_t ticket);

  // For the engine, after the rules.

  bool IsEmpty() const { return locks_.empty() && !renews_session; }
  const std::vector<StoredLock*>& locks() const { return locks_; }
  /// What differs, once for each holder and waiter. Good until the next call, Clear or Undo.
  const std::vector<LockNet>& NetChanges();
  void Undo();

  /// Set by the engine before anything is loaded: the process that runs the batch, and when.
  std::int64_t session = 0;
  Time now;
  /// Until when the other sessions are alive.
  std::map<std::int64_t, Time> sessions;
  bool renews_session = false;  // the session is to be kept alive

  LockNotes notes;
  /// By operation: the circle of owners that waiting would close.
  std::map<std::size_t, std::vector<std::string>> cycles;
  std::vector<LockOutcome> outcomes;

 private:
  std::vector<StoredLock*> locks_;  // by name, once sealed
  std::vector<LockEdit> edits_;
  std::vector<LockNet> nets_;  // of the last NetChanges
};

}  // namespace holdfast::rules
