// The locks of one transaction: loaded for all its batches at once, changed in memory batch by
// batch, written together.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/postgres/answers.h"
#include "engine/postgres/connection.h"
#include "engine/sql_rows.h"
#include "rules/lock_rows.h"

namespace holdfast::engine::postgres {

/// As JobTable: what it was asked for and has not loaded it notes, and answers that it is free.
///
/// Whoever may change a lock holds its row in `locks`. What is only looked at, because it may keep
/// a record or close a circle of waits, is read without. Confined to one thread.
class LockTable final : public rules::LockLoader {
 public:
  LockTable(Connection*& connection, const Settings& settings, std::int64_t session);

  void Clear();
  void Forget();
  bool Lacks() const { return lacks_; }

  /// Locks that are to be changed.
  void Want(const std::string& name) { wanted_.insert(name); }
  const std::set<std::string, std::less<>>& wanted() const { return wanted_; }

  void QueueLock(Connection& connection);
  /// After every other row was locked, so that what is read of the locks of records is the truth.
  void QueueLoad(Connection& connection);
  /// Takes the answers to QueueLock, and those to QueueLoad.
  void TakeLocked(Answers& answers);
  Result<void> TakeLoaded(Answers& answers);

  /// Whether a batch has changed a lock that was only looked at: it is wanted now.
  bool HasChangedUnlocked(rules::LockRows& rows);
  void TakeOver(rules::LockRows& rows);
  void QueueWrite(Connection& connection, Time now);
  bool HasWrites() const;
  /// Whether what other nodes wait for has changed: the life of a session is no change.
  bool HasChanges() const;

  Result<rules::StoredLock*> LoadLock(std::string_view name) override;
  Result<rules::StoredLock*> PeekLock(std::string_view name) override;
  Result<bool> IsEngaged(const std::string& owner) override;
  Result<std::vector<std::string>> WaitsOf(const std::string& owner) override;
  Result<bool> HasRecordLocks() override { return true; }
  Result<std::map<std::int64_t, Time>> LoadSessions() override { return sessions_; }

 private:
  using Names = std::set<std::string, std::less<>>;
  struct CachedLock {
    rules::StoredLock lock;
    std::vector<rules::StoredHolder> holders_before;
    std::set<std::int64_t> tickets_before;
    bool is_changed = false;
  };
  enum class Step : std::uint8_t { kNew, kLock, kHolders, kWaiters, kSessions };

  static void NoteChanges(const CachedLock& cached, struct LockWrites& writes);

  Connection*& connection_;
  const std::int64_t session_;
  bool lacks_ = false;
  Names wanted_;
  Names peeked_;
  bool is_locked_ = true;  // every row was there to be locked
  std::map<std::string, CachedLock, std::less<>> locks_;
  std::map<std::int64_t, Time> sessions_;
  bool renews_session_ = false;
  std::vector<Step> queued_;

  const Sql new_locks_, lock_, load_holders_, load_waiters_, load_sessions_;
  const Sql find_owner_, find_waits_;
  const Sql delete_holders_, insert_holders_, update_holders_, delete_waiters_, insert_waiters_,
      upsert_session_;
};

}  // namespace holdfast::engine::postgres
