// Locks as rows: the columns, how they are read, and the statements that write them.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/sql_rows.h"
#include "engine/sqlite/connection.h"
#include "rules/lock_rows.h"

namespace holdfast::engine {

/// Reads and writes rows for the writer. Locks that are held or waited for stay in memory from one
/// transaction to the next, as long as no other connection has written to the file: a line of a
/// thousand must not be read anew for every release. Confined to the writer's thread.
class LockTable final : public rules::LockLoader {
 public:
  Result<void> Prepare(Connection& connection, std::int64_t session);

  /// A transaction begins: what another process may have changed is forgotten, and all of it if the
  /// transaction before did not end with Committed.
  Result<void> Begin();
  /// As of Begin. Changes when, and only when, another process has committed.
  std::int64_t data_version() const { return data_version_; }
  void Committed() { is_clean_ = true; }

  /// Writes what the rules changed. Errors: internal (a constraint: the last line), or those of the
  /// disk.
  Result<void> Persist(rules::LockRows& rows, Time now);
  /// After a batch: drops the locks among these that nobody holds or waits for.
  void Forget(const rules::LockRows& rows);

  Result<rules::StoredLock*> LoadLock(std::string_view name) override;
  Result<bool> IsEngaged(const std::string& owner) override;
  Result<std::vector<std::string>> WaitsOf(const std::string& owner) override;
  Result<bool> HasRecordLocks() override;
  Result<std::map<std::int64_t, Time>> LoadSessions() override;

  /// Locks with leases that have run out by now, or with waiters whose process is dead.
  Result<std::vector<std::string>> DueLocks(Time now, int limit);
  Result<std::optional<Time>> NextDue();
  /// Deletes the sessions that are over and have no waiters.
  Result<void> Prune(Time now);

 private:
  struct NameHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const {
      return std::hash<std::string_view>()(name);
    }
  };

  Result<void> PersistHolder(const rules::LockNet& net);
  Result<void> PersistWaiter(const rules::LockNet& net);

  Connection* connection_ = nullptr;
  std::int64_t session_ = 0;
  bool is_clean_ = false;
  std::int64_t data_version_ = -1;  // changes when another connection commits
  std::unordered_map<std::string, rules::StoredLock, NameHash, std::equal_to<>> locks_;
  std::optional<std::int64_t> record_leases_;             // nothing: to be counted
  std::optional<std::map<std::int64_t, Time>> sessions_;  // of this transaction

  Statement data_version_of_, select_holders_, select_waiters_, select_sessions_;
  Statement insert_holder_, update_holder_, delete_holder_, insert_waiter_, delete_waiter_;
  Statement find_owner_, select_waits_, count_record_leases_, upsert_session_;
  Statement select_due_, select_dead_, min_due_, min_session_, delete_sessions_;
};

}  // namespace holdfast::engine
