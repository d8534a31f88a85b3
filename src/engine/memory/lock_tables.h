// The locks of the memory engine. Not thread-safe: the engine's mutex guards it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "engine/memory/spares.h"
#include "holdfast/context.h"
#include "rules/lock_rows.h"

namespace holdfast::engine {

class LockTables final : public rules::LockLoader {
 public:
  // Never fail.
  Result<rules::StoredLock*> LoadLock(std::string_view name) override;
  Result<bool> IsEngaged(const std::string& owner) override;
  Result<std::vector<std::string>> WaitsOf(const std::string& owner) override;
  Result<bool> HasRecordLocks() override { return record_leases_ > 0; }
  Result<std::map<std::int64_t, Time>> LoadSessions() override { return {}; }

  /// Takes over what the rules changed.
  void Persist(rules::LockRows& rows);
  /// Drops the locks among these that nobody holds or waits for.
  void Forget(const rules::LockRows& rows);

  Lock Get(std::string_view name, Time now) const;
  Result<LockPage> List(const Context& context, const LockFilter& filter, Time now) const;

  /// Locks with leases that have run out by now, at most `limit`.
  std::vector<std::string> DueLocks(Time now, int limit) const;
  std::optional<Time> NextDue() const;

 private:
  void Index(rules::StoredLock& lock, const rules::StoredHolder& holder);
  void Unindex(rules::StoredLock& lock, const rules::StoredHolder& holder);
  void Engage(const std::string& owner);
  void Disengage(const std::string& owner);

  using Locks = std::map<std::string, rules::StoredLock, std::less<>>;
  using Dues = std::set<std::tuple<Time, Token, rules::StoredLock*>>;
  using Owners = std::unordered_map<std::string, int>;

  Locks locks_;
  Dues due_;
  Owners engaged_;             // how many leases and waits an owner has
  Spares<Locks> spare_locks_;  // free
  Spares<Dues> spare_dues_;
  Spares<Owners> spare_owners_;
  std::set<std::tuple<std::string, std::int64_t, std::string>> waits_;  // owner, ticket, lock
  std::int64_t record_leases_ = 0;
};

}  // namespace holdfast::engine
