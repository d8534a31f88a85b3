// `holdfast doctor` on PostgreSQL: each condition that it warns of is made to be so.
#include "engine/postgres/doctor.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <memory>
#include <optional>

#include "engine/postgres/doctor_checks.h"
#include "holdfast/holdfast.h"
#include "postgres/other_session.h"
#include "testing/fake_clock.h"
#include "testing/matchers.h"
#include "testing/private_postgres.h"
#include "testing/tcp_gate.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

using engine::Examination;
using engine::ExamineOptions;
using engine::Finding;
using engine::Health;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

/// Not the server of the other suites: what these do at the same time would be found, too.
PrivatePostgres& DoctorsServer() {
  static PrivatePostgres server({.settings = {"max_prepared_transactions = 5"}});
  return server;
}

Finding FindingOf(const Examination& examination, std::string_view check) {
  auto found = std::ranges::find(examination.findings, check, &Finding::check);
  if (found != examination.findings.end()) return *found;
  ADD_FAILURE() << "there is no check " << check;
  return {};
}

class Doctor : public ::testing::Test {
 protected:
  void MakeStore() { Must(OpenStore(schema_.url(), {.maintain = false})); }
  Examination Examine(const ExamineOptions& options = {}) const {
    return Must(engine::ExaminePostgres(schema_.url(), options));
  }
  Finding Look(std::string_view check, const ExamineOptions& options = {}) const {
    return FindingOf(Examine(options), check);
  }
  /// Looks until it is so: statistics come late.
  Finding LookUntil(std::string_view check, Health health,
                    const ExamineOptions& options = {}) const {
    Finding finding = Look(check, options);
    for (int i = 0; i < 300 && finding.health != health; ++i) {
      DoctorsServer().Execute("SELECT pg_sleep(0.1)");
      finding = Look(check, options);
    }
    return finding;
  }
  void Sql(std::string text) const {
    for (std::size_t at = 0; (at = text.find("$.", at)) != std::string::npos;) {
      text.replace(at, 2, schema_.name() + ".");
    }
    DoctorsServer().Execute(text);
  }

  PostgresSchema schema_{DoctorsServer()};
  // Everything that is open is open for too long.
  const ExamineOptions no_time_{.long_transaction = Duration(0)};
};

void ExpectFinding(const Finding& finding, Health health, const std::string& found,
                   const std::string& advice) {
  EXPECT_EQ(finding.health, health) << finding.check << ": " << finding.found;
  EXPECT_THAT(finding.found, HasSubstr(found));
  EXPECT_THAT(finding.advice, HasSubstr(advice));
  EXPECT_EQ(finding.found.find('\n'), std::string::npos);
  EXPECT_EQ(finding.advice.find('\n'), std::string::npos);
}

TEST_F(Doctor, FindsNothingWrongWithAHealthyStore) {
  MakeStore();
  const Examination examination = Examine();
  EXPECT_THAT(examination.store, Not(HasSubstr("holdfast@")));
  EXPECT_EQ(examination.findings.size(), 23U);
  for (const Finding& finding : examination.findings) ExpectFinding(finding, Health::kOk, "", "");
}

TEST_F(Doctor, ChangesNothingAndMakesNoStore) {
  const Finding version = Look("schema_version");
  ExpectFinding(version, Health::kFail, schema_.name(), "holdfast migrate");
  EXPECT_EQ(version.code, ErrorCode::kNotFound);
  auto is_there = DoctorsServer().Execute("SELECT to_regnamespace('" + schema_.name() + "')");
  EXPECT_EQ(is_there[0][0], "");
}

TEST_F(Doctor, NamesWhoHoldsTheOldestSnapshot) {
  OtherSession report(DoctorsServer(), "holdfast", "nightly report");
  report.Run("BEGIN ISOLATION LEVEL REPEATABLE READ");
  report.Run("SELECT 1");
  for (std::string_view check : {"oldest_snapshot", "long_transactions"}) {
    const Finding finding = Look(check, no_time_);
    ExpectFinding(finding, Health::kWarn, report.pid(), report.ending());
    EXPECT_THAT(finding.found, AllOf(HasSubstr("holdfast (nightly report) from 127.0.0.1"),
                                     HasSubstr("idle in transaction since 20"),
                                     HasSubstr("its latest statement began 00:0")));
  }
  ExpectFinding(Look("oldest_snapshot"), Health::kOk, report.pid(), "");
  report.Run("COMMIT");
  ExpectFinding(Look("oldest_snapshot", no_time_), Health::kOk, "nobody", "");
}

TEST_F(Doctor, ASnapshotThatManyTransactionsHavePassedIsOldHoweverLittleIsSeenOfIt) {
  OtherSession hidden(DoctorsServer(), "postgres", "dump");
  hidden.Run("BEGIN ISOLATION LEVEL REPEATABLE READ");
  hidden.Run("SELECT 1");
  Finding finding = Look("oldest_snapshot", no_time_);
  ExpectFinding(finding, Health::kOk, hidden.pid() + " postgres (dump)", "");
  EXPECT_THAT(finding.found, HasSubstr("only pg_monitor can see"));
  EXPECT_THAT(Look("long_transactions").found, HasSubstr("only pg_monitor can see"));
  // Each block with a handler is a transaction of its own.
  DoctorsServer().Execute(
      "DO $$ BEGIN CREATE TEMP TABLE n (n int); FOR i IN 1..100001 LOOP BEGIN INSERT INTO n "
      "VALUES (i); EXCEPTION WHEN division_by_zero THEN END; END LOOP; END $$");
  finding = Look("oldest_snapshot");
  ExpectFinding(finding, Health::kWarn, hidden.pid(), hidden.ending());
  EXPECT_THAT(finding.found, HasSubstr("keeps vacuum from 1000"));
}

TEST_F(Doctor, AUserWithPgMonitorSeesAllOfASession) {
  OtherSession dump(DoctorsServer(), "postgres", "dump");
  dump.Run("BEGIN ISOLATION LEVEL REPEATABLE READ");
  dump.Run("SELECT 1");
  DoctorsServer().Execute("GRANT pg_monitor TO holdfast");
  ExpectFinding(Look("oldest_snapshot", no_time_), Health::kWarn, "idle in transaction",
                dump.ending());
  DoctorsServer().Execute("REVOKE pg_monitor FROM holdfast");
}

TEST_F(Doctor, NamesAPreparedTransaction) {
  DoctorsServer().Execute("BEGIN; CREATE TABLE left_over (); PREPARE TRANSACTION 'forgotten'");
  ExpectFinding(Look("oldest_snapshot", no_time_), Health::kWarn,
                "prepared transaction 'forgotten' of postgres", "ROLLBACK PREPARED 'forgotten'");
  DoctorsServer().Execute("ROLLBACK PREPARED 'forgotten'");
}

TEST_F(Doctor, NamesAReplicationSlotThatNobodyUses) {
  DoctorsServer().Execute("SELECT pg_create_physical_replication_slot('left_behind', true)");
  ExpectFinding(Look("replication_slots"), Health::kWarn, "left_behind is used by nobody",
                "pg_drop_replication_slot");
  DoctorsServer().Execute("SELECT pg_drop_replication_slot('left_behind')");
}

TEST_F(Doctor, NamesTheTableWhoseDeadRowsPileUp) {
  MakeStore();
  Sql("ALTER TABLE $.idempotency SET (autovacuum_enabled = off)");
  Sql("INSERT INTO $.idempotency SELECT i, '', '', now() FROM generate_series(1, 20000) i");
  Sql("DELETE FROM $.idempotency");
  ExpectFinding(Look("autovacuum"), Health::kWarn, "idempotency", "RESET (autovacuum_enabled)");
  ExpectFinding(LookUntil("dead_rows", Health::kWarn), Health::kWarn,
                "idempotency has 20000 dead rows beside 0, last vacuumed never",
                "VACUUM " + schema_.name() + ".idempotency");
  Sql("VACUUM $.idempotency");
  EXPECT_EQ(LookUntil("dead_rows", Health::kOk).health, Health::kOk);
}

TEST_F(Doctor, NamesTheTableThatIsSmallBesideItsIndexes) {
  MakeStore();
  Sql("INSERT INTO $.idempotency SELECT repeat('k', 60) || i, '', '', now() "
      "FROM generate_series(1, 100000) i");
  Sql("DELETE FROM $.idempotency");
  Sql("VACUUM $.idempotency");
  ExpectFinding(Look("index_size"), Health::kWarn, "idempotency has 1",
                "REINDEX TABLE CONCURRENTLY " + schema_.name() + ".idempotency");
  Sql("REINDEX TABLE $.idempotency");
  EXPECT_EQ(Look("index_size").health, Health::kOk);
}

TEST_F(Doctor, NamesAnIndexThatIsMissingAndTheStatementThatMakesIt) {
  MakeStore();
  Sql("DROP INDEX $.jobs_due");
  const Finding finding = Look("schema_objects");
  ExpectFinding(
      finding, Health::kFail, "index jobs_due is missing",
      "CREATE INDEX jobs_due ON " + schema_.name() + ".jobs (due_at) WHERE due_at IS NOT NULL");
  EXPECT_EQ(finding.code, ErrorCode::kCorrupt);
  Sql(finding.advice);
  EXPECT_EQ(Look("schema_objects").health, Health::kOk);
}

TEST_F(Doctor, NamesTheStatementOfTheLatestMigrationThatMakesAnIndex) {
  MakeStore();
  Sql("DROP INDEX $.jobs_running");
  ExpectFinding(
      Look("schema_objects"), Health::kFail, "index jobs_running is missing",
      "CREATE INDEX jobs_running ON " + schema_.name() + ".jobs (token) WHERE is_running");
}

TEST_F(Doctor, NamesWhateverElseOfTheSchemaIsNotAsItWasMade) {
  MakeStore();
  Sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = '$.jobs_unique'::regclass");
  ExpectFinding(Look("schema_objects"), Health::kFail, "index jobs_unique is not valid",
                "REINDEX INDEX");
  Sql("DROP TABLE $.transfers");
  Sql("DROP SEQUENCE $.stamps");
  Sql("ALTER TABLE $.kinds DROP CONSTRAINT kinds_pkey");
  const std::string found = Look("schema_objects").found;
  EXPECT_THAT(found, HasSubstr("table kinds has no primary key"));
  EXPECT_THAT(found, HasSubstr(" more"));
}

TEST_F(Doctor, ASchemaOfAnotherVersionIsNotTakenForADamagedOne) {
  MakeStore();
  Sql("UPDATE $.holdfast_meta SET value = '999' WHERE name = 'schema'");
  Sql("DROP INDEX $.jobs_due");
  const Examination newer = Examine();
  ExpectFinding(FindingOf(newer, "schema_version"), Health::kFail, "999", "upgrade");
  EXPECT_EQ(FindingOf(newer, "schema_version").code, ErrorCode::kCorrupt);
  EXPECT_EQ(FindingOf(newer, "schema_objects").health, Health::kOk);
  Sql("UPDATE $.holdfast_meta SET value = '0' WHERE name = 'schema'");
  ExpectFinding(Look("schema_version"), Health::kWarn, "0 in", "holdfast migrate");
}

TEST_F(Doctor, NamesATableThatTheUserMayNotWrite) {
  MakeStore();
  Sql("REVOKE DELETE ON $.records FROM holdfast");
  const Finding finding = Look("privileges");
  ExpectFinding(finding, Health::kFail, "holdfast may not read and write records", "GRANT");
  Sql(finding.advice);
  EXPECT_EQ(Look("privileges").health, Health::kOk);
}

TEST_F(Doctor, NamesWhoIsBlockedAndByWhom) {
  MakeStore();
  Sql("INSERT INTO $.locks VALUES ('l')");
  OtherSession holder(DoctorsServer(), "holdfast", "holder");
  OtherSession waiter(DoctorsServer(), "holdfast", "waiter");
  const std::string lock_row = "SELECT FROM " + schema_.name() + ".locks FOR UPDATE";
  holder.Run("BEGIN");
  holder.Run(lock_row);
  waiter.Start(lock_row);
  const Finding finding = LookUntil("blocked_sessions", Health::kWarn);
  ExpectFinding(finding, Health::kWarn, holder.pid(), holder.ending());
  EXPECT_THAT(finding.found,
              HasSubstr(waiter.pid().substr(0, waiter.pid().size() - 1) + " has waited 00:00:0"));
}

TEST_F(Doctor, NamesWhoKeepsTheNotifyQueueFromBeingRead) {
  OtherSession listener(DoctorsServer(), "holdfast", "listener");
  listener.Run("LISTEN news");
  listener.Run("BEGIN");
  // Each takes a page of the queue, which has a little over a million.
  DoctorsServer().Execute(
      "DO $$ BEGIN FOR i IN 1..10700 LOOP "
      "PERFORM pg_notify('news', rpad(i::text, 7999, 'x')); END LOOP; END $$");
  ExpectFinding(Look("notify_queue"), Health::kOk, "1.0 % in use", "");
  const Finding finding = Look("notify_queue", no_time_);
  ExpectFinding(finding, Health::kWarn, listener.pid(), listener.ending());
  EXPECT_THAT(finding.found,
              AllOf(HasSubstr("1.0 % in use; the oldest transaction is that of"),
                    HasSubstr("holdfast (listener) from 127.0.0.1, idle in transaction since 20")));
  EXPECT_THAT(finding.advice, HasSubstr("if it listens"));
  DoctorsServer().Execute("SELECT " + listener.ending());
  LookUntil("notify_queue", Health::kOk, no_time_);
  ExpectFinding(Look("notify_queue", no_time_), Health::kOk, "0.0 % in use", "");
}

TEST_F(Doctor, ANotifyQueueThatFillsIsNamedWhoeverKeepsIt) {
  using engine::postgres::JudgeNotifyQueue;
  const seconds old(300);
  const std::string who = "pid 17, ada, more";
  auto judge = [&](double usage, double open_for) {
    return JudgeNotifyQueue({.usage = usage, .pid = 17, .seconds = open_for, .who = who}, old);
  };
  ExpectFinding(judge(0.009, 1000), Health::kOk, "0.9 % in use", "");
  ExpectFinding(judge(0.01, 299), Health::kOk, "1.0 % in use", "");
  ExpectFinding(judge(0.01, 300), Health::kWarn, who, "pg_terminate_backend(17)");
  ExpectFinding(judge(0.249, 299), Health::kOk, "24.9 % in use", "");
  ExpectFinding(judge(0.25, 0), Health::kWarn, who, "every commit with a NOTIFY fails");
  // Of sessions of others nothing is seen.
  ExpectFinding(JudgeNotifyQueue({.usage = 0.2}, Duration(0)), Health::kOk, "20.0 % in use", "");
  ExpectFinding(JudgeNotifyQueue({.usage = 1}, old), Health::kWarn, "100.0 %", "pg_monitor");
}

TEST_F(Doctor, ACheckThatCannotBeMadeIsAFindingAndTheOthersAreMade) {
  MakeStore();
  OtherSession owner(DoctorsServer(), "holdfast", "");
  owner.Run("BEGIN");
  owner.Run("LOCK TABLE " + schema_.name() + ".jobs IN ACCESS EXCLUSIVE MODE");
  const Examination examination = Examine();
  EXPECT_EQ(examination.findings.size(), 23U);
  ExpectFinding(FindingOf(examination, "index_size"), Health::kWarn, "could not be looked at",
                "--timeout");
}

TEST_F(Doctor, AServerThatStopsAnsweringIsNotWaitedForForEver) {
  MakeStore();
  TcpGate gate(DoctorsServer().port());
  OtherSession owner(DoctorsServer(), "holdfast", "");
  owner.Run("BEGIN");
  owner.Run("LOCK TABLE " + schema_.name() + ".jobs IN ACCESS EXCLUSIVE MODE");
  auto examining = std::async(std::launch::async, [&] {
    return engine::ExaminePostgres(DoctorsServer().Url(schema_.name(), gate.port()),
                                   {.statement_limit = seconds(2)});
  });
  // It waits a second for the table.
  ASSERT_TRUE(WaitUntilTrue([&] {
    return examining.wait_for(seconds(0)) != std::future_status::timeout ||
           !DoctorsServer().Execute("SELECT FROM pg_locks WHERE NOT granted").empty();
  }));
  gate.Freeze();
  const Examination examination = Must(examining.get());
  const Finding& last = examination.findings.back();
  EXPECT_EQ(last.check, "connection");
  ExpectFinding(last, Health::kFail, "was lost", "look again");
  EXPECT_EQ(last.code, ErrorCode::kUnavailable);
  const Finding& before = examination.findings[examination.findings.size() - 2];
  ExpectFinding(before, Health::kWarn, "stopped answering", "--timeout");
}

TEST_F(Doctor, NamesAServerThatCannotBeReachedAndNoPassword) {
  const Examination examination =
      Must(engine::ExaminePostgres("postgres://ada:secret@127.0.0.1:1/x", {}));
  ASSERT_EQ(examination.findings.size(), 1U);
  ExpectFinding(examination.findings[0], Health::kFail, "127.0.0.1:1", "URL");
  EXPECT_EQ(examination.findings[0].code, ErrorCode::kUnavailable);
  EXPECT_THAT(examination.findings[0].found + examination.store, Not(HasSubstr("secret")));
  EXPECT_THAT(engine::ExaminePostgres("postgres://x/y?lanes=0", {}),
              StatusIs(ErrorCode::kInvalidArgument));
}

TEST_F(Doctor, SettingsOfTheUserThatHarmAStoreAreNamed) {
  struct Harm {
    std::string setting, check;
    Health health;
    std::string found;
  };
  for (const Harm& harm :
       {Harm{"SET default_transaction_read_only = on", "writable", Health::kFail, "read_only"},
        Harm{"SET synchronous_commit = off", "synchronous_commit", Health::kFail, "may be lost"},
        Harm{"SET idle_session_timeout = '5s'", "timeouts", Health::kWarn, "5000 ms"},
        Harm{"CONNECTION LIMIT 5", "connections", Health::kWarn,
             "of 5 are free (the limit of the "
             "user); a node uses up to 17"}}) {
    SCOPED_TRACE(harm.setting);
    DoctorsServer().Execute("ALTER ROLE holdfast " + harm.setting);
    const Finding finding = Look(harm.check);
    DoctorsServer().Execute("ALTER ROLE holdfast RESET ALL");
    DoctorsServer().Execute("ALTER ROLE holdfast CONNECTION LIMIT -1");
    ExpectFinding(finding, harm.health, harm.found, "");
    EXPECT_THAT(finding.advice, Not(IsEmpty()));
  }
}

TEST_F(Doctor, TellsHowFarTheClocksAreApart) {
  FakeClock clock;
  ExpectFinding(Look("clock", {.clock = &clock}), Health::kWarn, "s ahead of", "NTP");
}

TEST_F(Doctor, TransactionIdsThatRunOutAreNamedWithTheTable) {
  MakeStore();
  for (auto [used, health] :
       {std::pair(600'000'000, Health::kWarn), {2'050'000'000, Health::kFail}}) {
    Sql(
        fmt::format("UPDATE pg_class SET relfrozenxid = (((pg_current_xact_id()::text::bigint - {} "
                    "+ 4294967296) % 4294967296)::text)::xid WHERE oid = '$.jobs'::regclass",
                    used));
    ExpectFinding(Look("transaction_ids"), health, "table jobs", "FREEZE");
  }
}

TEST(DoctorOfAServer, NamesWhatMayLoseCommitsOrHoldsThemUp) {
  PrivatePostgres server(
      {.settings = {"fsync = off", "full_page_writes = off", "autovacuum = off"}});
  const std::string url = server.Url("s") + "&lossy=allow";
  Must(OpenStore(url, {.maintain = false}));
  server.Execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
  server.Execute("SELECT pg_reload_conf()");
  auto look = [](const std::string& at, std::string_view check) {
    return FindingOf(Must(engine::ExaminePostgres(at, {})), check);
  };
  for (int i = 0; i < 100 && look(url, "synchronous_standbys").health == Health::kOk; ++i) {
    server.Execute("SELECT pg_sleep(0.1)");
  }
  ExpectFinding(look(url, "synchronous_standbys"), Health::kFail, "every commit waits", "standby");
  for (std::string check : {"fsync", "full_page_writes"}) {
    ExpectFinding(look(server.Url("s"), check), Health::kFail, "refuses to open", check);
    ExpectFinding(look(url, check), Health::kWarn, "lossy=allow", check);
  }
  ExpectFinding(look(url, "autovacuum"), Health::kWarn, "autovacuum is off", "settings");
}

/// A primary with a store, and a standby that really receives its log.
class DoctorOfAStandby : public ::testing::Test {
 protected:
  DoctorOfAStandby() {
    Must(OpenStore(primary_.Url("s"), {.maintain = false}));
    // The standby gets that with all else, as from any primary that waits for one.
    primary_.Execute("ALTER SYSTEM SET synchronous_standby_names = '*'");
    standby_.emplace(PrivatePostgres::Options{.standby_of = &primary_});
  }
  /// Names both.
  std::string UrlOfBoth() const {
    return fmt::format("postgres://holdfast@127.0.0.1:{},127.0.0.1:{}/postgres?schema=s",
                       standby_->port(), primary_.port());
  }
  bool Receives() const {
    return !standby_->Execute("SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'")
                .empty();
  }
  void WaitUntilItReceives(bool receives) const {
    for (int i = 0; i < 300 && Receives() != receives; ++i) {
      standby_->Execute("SELECT pg_sleep(0.02)");
    }
    ASSERT_EQ(Receives(), receives);
  }

  PrivatePostgres primary_;
  std::optional<PrivatePostgres> standby_;
};

void ExpectOnlyReadable(const Examination& examination, const std::string& found,
                        const std::string& advice) {
  EXPECT_EQ(examination.findings.size(), 23U);
  for (const Finding& finding : examination.findings) {
    if (finding.check == "writable") {
      ExpectFinding(finding, Health::kFail, found, advice);
      EXPECT_EQ(finding.code, ErrorCode::kUnavailable);
    } else {
      ExpectFinding(finding, Health::kOk, "", "");
    }
  }
}

TEST_F(DoctorOfAStandby, IsToldFromThePrimaryAndFromOneThatHasLostIt) {
  const std::string url = standby_->Url("s");
  auto examine = [](const std::string& at) { return Must(engine::ExaminePostgres(at, {})); };
  WaitUntilItReceives(true);
  ExpectOnlyReadable(examine(url),
                     "a standby that receives the log of a primary: it can only be read",
                     "connect to the primary");
  EXPECT_THAT(FindingOf(examine(url), "synchronous_standbys").found, HasSubstr("waits for none"));
  EXPECT_THAT(OpenStore(url, {.maintain = false}),
              StatusIs(ErrorCode::kUnavailable, HasSubstr("is a standby")));
  // Of both, the primary is the one to look at.
  Examination both = examine(UrlOfBoth());
  ExpectFinding(FindingOf(both, "connection"), Health::kOk,
                fmt::format("connected to 127.0.0.1:{} ", primary_.port()), "");
  ExpectFinding(FindingOf(both, "writable"), Health::kOk, "a primary", "");
  Must(OpenStore(UrlOfBoth(), {.maintain = false}));

  primary_.Stop(PrivatePostgres::StopMode::kImmediate);
  WaitUntilItReceives(false);
  ExpectOnlyReadable(examine(url), "does not receive the log of a primary",
                     "connect to the primary");
  both = examine(UrlOfBoth());
  ExpectOnlyReadable(both, "no other host takes writes", "pg_promote()");
  EXPECT_THAT(FindingOf(both, "connection").found,
              HasSubstr(fmt::format("connected to 127.0.0.1:{} ", standby_->port())));
  // Somebody who insists on a primary is told as much.
  ExpectFinding(FindingOf(examine(url + "&target_session_attrs=read-write"), "writable"),
                Health::kFail, "a standby", "names all hosts");
  EXPECT_THAT(OpenStore(UrlOfBoth(), {.maintain = false}), StatusIs(ErrorCode::kUnavailable));
}

}  // namespace
}  // namespace holdfast::testing
