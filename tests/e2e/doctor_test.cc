// holdfast doctor: what it prints, how it ends, and that it finds what was done to a file.
#include <gmock/gmock.h>
#include <signal.h>
#include <sqlite3.h>

#include <filesystem>
#include <fstream>

#include "e2e/harness.h"
#include "testing/private_postgres.h"

namespace holdfast::e2e {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

/// Does statements on the file of a store, as no store would.
class ForeignHand {
 public:
  explicit ForeignHand(const std::string& file) {
    EXPECT_EQ(sqlite3_open(file.c_str(), &db_), SQLITE_OK);
  }
  ~ForeignHand() { sqlite3_close(db_); }
  ForeignHand(const ForeignHand&) = delete;
  ForeignHand& operator=(const ForeignHand&) = delete;
  void Run(const char* sql) {
    EXPECT_EQ(sqlite3_exec(db_, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db_);
  }

 private:
  sqlite3* db_ = nullptr;
};

class DoctorCommand : public CliTest {
 protected:
  std::string file() const { return folder_.File("jobs.db"); }

  /// Examines the store, and expects this of one check; of the others nothing.
  void ExpectFinding(const std::string& check, const std::string& status, const std::string& found,
                     int exit_code) {
    SCOPED_TRACE(check);
    Ended ended = Holdfast({"-o", "json", "doctor"});
    EXPECT_EQ(ended.exit_code, exit_code) << ended.out << ended.err;
    Json report(ended.out);
    for (std::size_t i = 0; i < report.SizeOf("/findings"); ++i) {
      const std::string at = "/findings/" + std::to_string(i);
      if (report.At(at + "/check") != check) continue;
      EXPECT_EQ(report.At(at + "/status"), status);
      EXPECT_THAT(report.At(at + "/found"), HasSubstr(found));
      EXPECT_EQ(report.At(at + "/advice") == "(none)", status == "ok");
      EXPECT_EQ(report.At(at + "/code") == "(none)", status != "fail");
      return;
    }
    ADD_FAILURE() << "no such check in " << ended.out;
  }
};

TEST_F(DoctorCommand, PrintsAFindingALineAndWhatToDoAboutItBelow) {
  Push({"a"});
  Ended healthy = Holdfast({"doctor"});
  EXPECT_EQ(healthy.exit_code, 0) << healthy.err;
  EXPECT_THAT(healthy.out, StartsWith("CHECK           STATUS  FOUND\nfile            ok      "));
  EXPECT_THAT(healthy.out,
              AllOf(HasSubstr("\n11 ok, 0 warn, 0 fail in sqlite:"),
                    HasSubstr("\nschema_version  ok      " + Field("/schema", {"version"}) +
                              ", that of this program\n"),
                    Not(HasSubstr("->"))));
  ForeignHand(file()).Run("PRAGMA user_version = 999");
  Ended newer = Holdfast({"doctor"});
  EXPECT_EQ(newer.exit_code, 1);
  EXPECT_THAT(newer.out, HasSubstr("\n                        -> upgrade Holdfast here\n"));
}

TEST_F(DoctorCommand, PrintsJsonForMachines) {
  Push({"a"});
  Ended ended = Holdfast({"doctor", "-o", "json"});
  Json report(ended.out);
  EXPECT_EQ(report.At("/store"), store());
  EXPECT_EQ(report.SizeOf("/findings"), 11U);
  EXPECT_EQ(report.At("/findings/0/check"), "file");
  EXPECT_EQ(report.At("/findings/0/status"), "ok");
  EXPECT_EQ(report.At("/ok"), "11");
  EXPECT_EQ(report.At("/warn"), "0");
  EXPECT_EQ(report.At("/fail"), "0");
}

TEST_F(DoctorCommand, AStoreThatIsNotThereIsNotMade) {
  ExpectFinding("file", "fail", "there is no store", 3);
  EXPECT_FALSE(std::filesystem::exists(file()));
  folder_.Write("jobs.db", std::string(8192, 'x'));
  ExpectFinding("file", "fail", "not a database", 1);
  std::filesystem::remove(file());
  ForeignHand(file()).Run("CREATE TABLE of_somebody_else (x)");
  ExpectFinding("file", "fail", "not a Holdfast database", 1);
}

TEST_F(DoctorCommand, FindsDamagedPages) {
  for (int i = 0; i < 20; ++i) Push({"a"});
  std::fstream damaged(file(), std::ios::in | std::ios::out | std::ios::binary);
  damaged.seekp(4096 * 4);
  damaged << std::string(4096 * 8, '\x5a');
  damaged.close();
  ExpectFinding("integrity", "fail", "", 1);
}

TEST_F(DoctorCommand, FindsWhatIsMissingOfTheSchema) {
  Push({"a"});
  ForeignHand hand(file());
  hand.Run("DROP INDEX jobs_due");
  ExpectFinding("schema_objects", "fail", "index jobs_due is missing", 1);
  EXPECT_THAT(Holdfast({"doctor"}).out,
              HasSubstr("-> CREATE INDEX jobs_due ON jobs (due_at) WHERE due_at IS NOT NULL\n"));
  hand.Run("PRAGMA user_version = 2");
  ExpectFinding("schema_version", "warn", "2; this program has " + Field("/schema", {"version"}),
                0);
  ExpectFinding("schema_objects", "ok", "not compared", 0);
}

TEST_F(DoctorCommand, FindsAnotherJournalMode) {
  Push({"a"});
  ForeignHand(file()).Run("PRAGMA journal_mode = delete");
  ExpectFinding("journal", "warn", "delete", 0);
}

TEST_F(DoctorCommand, FindsALogThatIsNotCarriedOverAndLeavesItAsItIs) {
  Push({"a"});
  const std::string log = file() + "-wal";
  {
    ForeignHand hand(file());
    hand.Run("PRAGMA wal_autocheckpoint = 0");
    hand.Run("INSERT INTO meta VALUES ('large', hex(zeroblob(40000000)))");
    const auto size = std::filesystem::file_size(log);
    ExpectFinding("log_size", "warn", "MiB beside a file of", 0);
    EXPECT_GE(std::filesystem::file_size(log), size);
    hand.Run("DELETE FROM meta WHERE name = 'large'");
  }
  ExpectFinding("log_size", "ok", "0 bytes", 0);
  ExpectFinding("free_pages", "warn", "76.", 0);
  EXPECT_FALSE(std::filesystem::exists(log)) << "nothing is left beside the file";
}

TEST_F(DoctorCommand, LooksAtAFileThatIsInUse) {
  Process server(Command({"serve", "--listen", "127.0.0.1:0"}));
  const std::string url = server.LineAfter("listening on ");
  Push({"a"});
  ExpectFinding("integrity", "ok", "quick_check", 0);
  set_store(url);
  ExpectFinding("server", "ok", "answers, and takes writes", 0);
  server.Signal(SIGTERM);
  server.Wait();
  ExpectFinding("server", "fail", "cannot be reached", 7);
  set_store("memory:");
  ExpectFinding("durability", "ok", "gone with it", 0);
  set_store("nothing:");
  ExpectRefused({"doctor"}, 2, "invalid_argument", "not a store URL");
}

TEST_F(DoctorCommand, FindsASecondNameOfTheFile) {
  Push({"a"});
  std::filesystem::create_hard_link(file(), folder_.File("other.db"));
  ExpectFinding("file", "fail", "2 names", 7);
  set_store("sqlite:" + folder_.File("other.db"));
  ExpectRefused({"job", "push", "a"}, 7, "unavailable", "hard links");
}

TEST_F(DoctorCommand, ExaminesAPostgresStoreAndExitsAsOpeningItWould) {
  testing::PostgresSchema schema;
  set_store(schema.url());
  ExpectFinding("schema_version", "fail", schema.name(), 3);
  EXPECT_EQ(Holdfast({"migrate"}).exit_code, 0);
  ExpectFinding("schema_objects", "ok", "all there", 0);
  EXPECT_THAT(Holdfast({"doctor"}).out,
              AllOf(HasSubstr("\nschema_version        ok      "),
                    HasSubstr(" in " + schema.name() + ", that of this program\n")));
  // Its own connections are open for no time at all, but those of nobody else are looked for.
  EXPECT_EQ(Holdfast({"doctor", "--long-transaction", "1h", "--timeout", "30s"}).exit_code, 0);
  schema.server().Execute("UPDATE " + schema.name() + ".holdfast_meta SET value = '999'");
  ExpectFinding("schema_version", "fail", "999", 1);
  set_store("postgres://ada:secret@127.0.0.1:1/x");
  ExpectFinding("connection", "fail", "127.0.0.1:1/x", 7);
  EXPECT_THAT(Holdfast({"doctor"}).out, Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace holdfast::e2e
