// The checks of `holdfast doctor` on PostgreSQL, and what they look at.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/findings.h"
#include "engine/postgres/connection.h"
#include "engine/postgres/settings.h"
#include "holdfast/time.h"

namespace holdfast::engine::postgres {

struct Examined {
  Connection& connection;
  const Settings& settings;
  const ExamineOptions& options;
};

/// Asks with the name of the schema as $1.
Result<Answer> AskOfSchema(const Examined& examined, std::string_view sql);

// Of the server, and of what it is set to.
Result<Finding> CheckVersion(const Examined& examined);
Result<Finding> CheckWritable(const Examined& examined);
Result<Finding> CheckEncoding(const Examined& examined);
Result<Finding> CheckFsync(const Examined& examined);
Result<Finding> CheckFullPageWrites(const Examined& examined);
Result<Finding> CheckSynchronousCommit(const Examined& examined);
Result<Finding> CheckStandbys(const Examined& examined);
Result<Finding> CheckTimeouts(const Examined& examined);
Result<Finding> CheckConnections(const Examined& examined);
Result<Finding> CheckClock(const Examined& examined);
Result<Finding> CheckReplicationSlots(const Examined& examined);

// Of the store's tables.
Result<Finding> CheckSchemaVersion(const Examined& examined);
Result<Finding> CheckSchemaObjects(const Examined& examined);
Result<Finding> CheckPrivileges(const Examined& examined);
Result<Finding> CheckAutovacuum(const Examined& examined);
Result<Finding> CheckDeadRows(const Examined& examined);
Result<Finding> CheckIndexSize(const Examined& examined);
Result<Finding> CheckTransactionIds(const Examined& examined);

// Of who else is at work.
Result<Finding> CheckOldestSnapshot(const Examined& examined);
Result<Finding> CheckLongTransactions(const Examined& examined);
Result<Finding> CheckBlockedSessions(const Examined& examined);
Result<Finding> CheckNotifyQueue(const Examined& examined);

struct NotifyQueue {
  double usage = 0;  ///< of what there is room for: 0 to 1
  // Of the oldest transaction on the server that can be seen; pid 0: there is none.
  std::int64_t pid = 0;
  double seconds = 0;  ///< for which it has been open
  std::string who;
};
/// What is delivered at once needs next to no room. The verdict of CheckNotifyQueue.
Finding JudgeNotifyQueue(const NotifyQueue& queue, Duration long_transaction);

}  // namespace holdfast::engine::postgres
