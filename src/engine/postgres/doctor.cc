#include "engine/postgres/doctor.h"

#include <fmt/format.h>

#include "base/result.h"
#include "engine/postgres/doctor_checks.h"

namespace holdfast::engine::postgres {
namespace {

struct Check {
  std::string_view name;
  Result<Finding> (*look)(const Examined&);
  bool needs_tables = false;
};

constexpr std::string_view kSchemaVersion = "schema_version";

constexpr Check kChecks[] = {
    {"version", &CheckVersion},
    {"writable", &CheckWritable},
    {"encoding", &CheckEncoding},
    {"fsync", &CheckFsync},
    {"full_page_writes", &CheckFullPageWrites},
    {"synchronous_commit", &CheckSynchronousCommit},
    {"synchronous_standbys", &CheckStandbys},
    {"timeouts", &CheckTimeouts},
    {"connections", &CheckConnections},
    {"clock", &CheckClock},
    {kSchemaVersion, &CheckSchemaVersion},
    {"schema_objects", &CheckSchemaObjects, true},
    {"privileges", &CheckPrivileges, true},
    {"autovacuum", &CheckAutovacuum, true},
    {"dead_rows", &CheckDeadRows, true},
    {"index_size", &CheckIndexSize, true},
    {"oldest_snapshot", &CheckOldestSnapshot},
    {"long_transactions", &CheckLongTransactions},
    {"blocked_sessions", &CheckBlockedSessions, true},
    {"transaction_ids", &CheckTransactionIds},
    {"notify_queue", &CheckNotifyQueue},
    {"replication_slots", &CheckReplicationSlots},
};

/// A check that cannot be made says nothing about the store, but somebody should know.
Finding NotSeen(const Error& error) {
  return Suspect("could not be looked at: " + error.message,
                 "look again with a longer --timeout, or as a user with the role pg_monitor");
}

void RunChecks(const Examined& examined, std::vector<Finding>& findings) {
  bool has_tables = true;
  for (const Check& check : kChecks) {
    if (check.needs_tables && !has_tables) continue;
    Result<Finding> looked = check.look(examined);
    Finding finding = looked ? *std::move(looked) : NotSeen(looked.error());
    finding.check = check.name;
    if (check.name == kSchemaVersion && finding.code == ErrorCode::kNotFound) has_tables = false;
    findings.push_back(std::move(finding));
    if (!examined.connection.IsLost()) continue;
    Finding lost = Broken(ErrorCode::kUnavailable, "the connection was lost on the way",
                          "look again; if it stays so, see the log of the server");
    lost.check = "connection";
    findings.push_back(std::move(lost));
    return;
  }
}

}  // namespace

Result<Answer> AskOfSchema(const Examined& examined, std::string_view sql) {
  return examined.connection.QueryText(sql, Parameters().Add(examined.settings.schema));
}

}  // namespace holdfast::engine::postgres

namespace holdfast::engine {

Result<Examination> ExaminePostgres(std::string_view url, const ExamineOptions& options) {
  using namespace postgres;
  HF_ASSIGN_OR_RETURN(Settings settings, ParsePostgresUrl(url));
  Examination examination{.store = settings.shown, .findings = {}};
  const SteadyTime before = std::chrono::steady_clock::now();
  auto connection = Connection::OpenToLook(settings, options.statement_limit);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - before);
  auto connected = [&] {
    PGconn* handle = (*connection)->handle();
    const std::string which =
        settings.hosts == 1 ? "" : fmt::format(" to {}:{}", PQhost(handle), PQport(handle));
    return Healthy(fmt::format("connected{} within {} ms", which, took.count()));
  };
  Finding finding = connection
                        ? connected()
                        : Broken(connection.error().code, connection.error().message,
                                 "see that the server runs, that host, port and database of the "
                                 "URL are right, and that the user may log in");
  finding.check = "connection";
  examination.findings.push_back(std::move(finding));
  if (connection) RunChecks({**connection, settings, options}, examination.findings);
  return examination;
}

}  // namespace holdfast::engine
