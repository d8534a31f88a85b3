// Benchmarks beside PostgreSQL run psql and pgbench, whose arguments everybody can read.
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>

#include "e2e/harness.h"
#include "testing/private_postgres.h"

namespace holdfast::e2e {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class BenchPostgres : public CliTest {
 protected:
  /// PostgreSQL's own programs, of which it is written down how each was called.
  std::string PathOfWitnessed() const {
    const std::string bin = folder_.File("bin");
    std::filesystem::create_directory(bin);
    for (const char* name : {"psql", "pgbench"}) {
      folder_.Write(std::string("bin/") + name,
                    "#!/bin/sh\n"
                    "echo \"$0 $*\" >> '" +
                        folder_.File("calls") +
                        "'\n"
                        "PATH=${PATH#*:} exec ${0##*/} \"$@\"\n",
                    true);
    }
    const char* path = std::getenv("PATH");
    return bin + ":" + (path != nullptr ? path : "/usr/bin:/bin");
  }
  /// Lets nobody in over TCP without a password. Its user reads no folder of this one's.
  std::string RulesOfAccess() const {
    std::filesystem::permissions(folder_.path(), std::filesystem::perms::others_exec,
                                 std::filesystem::perm_options::add);
    const std::string file =
        folder_.Write("hba", "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n");
    std::filesystem::permissions(file, std::filesystem::perms::others_read,
                                 std::filesystem::perm_options::add);
    return file;
  }
};

TEST_F(BenchPostgres, APasswordIsInNoArgument) {
  testing::PrivatePostgres server({.settings = {"hba_file = '" + RulesOfAccess() + "'"}});
  server.Execute("ALTER ROLE holdfast PASSWORD 'not for ps'");
  server.Execute("GRANT CREATE ON SCHEMA public TO holdfast");
  const std::string path = PathOfWitnessed();
  auto bench = [&](const std::string& user) {
    return Process(
               {HOLDFAST_BINARY, "-o", "json", "bench", "records", "--scenario", "transfer",
                "--threads", "2", "--duration", "100ms", "--postgres-clients", "1", "--postgres",
                "postgres://" + user + "@127.0.0.1:" + std::to_string(server.port()) + "/postgres"},
               "", {{"PATH", path}, {"PGPASSFILE", "/dev/null"}}, folder_.path())
        .Wait();
  };
  Ended refused = bench("holdfast:wrong");
  EXPECT_EQ(refused.exit_code, 7);
  EXPECT_THAT(refused.err, HasSubstr("password authentication failed"));
  Ended ended = bench("holdfast:not%20for%20ps");
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_NE(Json(ended.out).At("/postgres/transfers_per_second"), "(none)");
  const std::string calls = ReadAll(folder_.File("calls"));
  EXPECT_THAT(calls, HasSubstr("/psql -XAtq"));
  EXPECT_THAT(
      calls, ContainsRegex("/pgbench -n [^\n]*user='holdfast' dbname='postgres' host='127.0.0.1'"));
  for (const char* part : {"not for ps", "not%20for", "wrong", "password"}) {
    EXPECT_THAT(calls, Not(HasSubstr(part)));
  }
}

}  // namespace
}  // namespace holdfast::e2e
