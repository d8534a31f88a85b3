// The server that tests run against: that it is whole, restarts, and never outlives them.
#include "testing/private_postgres.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <cstdlib>
#include <fstream>
#include <memory>

#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

using ::testing::ElementsAre;

using Rows = std::vector<std::vector<std::string>>;
using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;

/// libpq knows nothing of schemas.
Connection ConnectTo(const std::string& url) {
  return {PQconnectdb(url.substr(0, url.find('?')).c_str()), PQfinish};
}

bool Does(PGconn* connection, const std::string& sql) {
  std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection, sql.c_str()), PQclear);
  return PQresultStatus(result.get()) == PGRES_COMMAND_OK;
}

TEST(PrivatePostgres, ServesAnOrdinaryUserOverTcpAndItsSocket) {
  PrivatePostgres& server = PrivatePostgres::Shared();
  for (const std::string& url : {server.Url("a"), server.SocketUrl("a")}) {
    Connection connection = ConnectTo(url);
    ASSERT_EQ(PQstatus(connection.get()), CONNECTION_OK) << PQerrorMessage(connection.get());
    PostgresSchema schema;
    EXPECT_TRUE(Does(connection.get(), "CREATE SCHEMA " + schema.name())) << url;
    EXPECT_FALSE(Does(connection.get(), "CREATE ROLE other")) << url;
  }
}

TEST(PrivatePostgres, IsAsDurableAsAStoreDemands) {
  Rows rows = PrivatePostgres::Shared().Execute(
      "SELECT name || '=' || setting FROM pg_settings WHERE name IN "
      "('fsync', 'full_page_writes', 'synchronous_commit') ORDER BY name");
  EXPECT_THAT(rows, ElementsAre(ElementsAre("fsync=on"), ElementsAre("full_page_writes=on"),
                                ElementsAre("synchronous_commit=on")));
}

TEST(PrivatePostgres, DropsWhatATestMadeInItsSchema) {
  PrivatePostgres& server = PrivatePostgres::Shared();
  std::string name;
  {
    PostgresSchema schema;
    name = schema.name();
    server.Execute("CREATE SCHEMA " + name + "; CREATE TABLE " + name + ".t (id int)");
    EXPECT_NE(PostgresSchema().name(), name);
  }
  EXPECT_EQ(server.Execute("SELECT FROM pg_namespace WHERE nspname = '" + name + "'").size(), 0u);
}

TEST(PrivatePostgres, SaysWhatTheServerSays) {
  PrivatePostgres& server = PrivatePostgres::Shared();
  EXPECT_THROW(server.Execute("SELECT 1 / 0"), std::runtime_error);
  EXPECT_THROW(PrivatePostgres({.settings = {"no_such_setting = 1"}}), std::runtime_error);
}

TEST(PrivatePostgres, KeepsWhatWasCommittedAndItsPortWhenItCrashes) {
  PrivatePostgres server({.settings = {"max_connections = 20"}});
  const std::uint16_t port = server.port();
  EXPECT_NE(port, PrivatePostgres::Shared().port());
  server.Execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)");
  Connection connection = ConnectTo(server.Url("a"));
  EXPECT_EQ(server.KillBackends(), 1);
  EXPECT_FALSE(Does(connection.get(), "SET lock_timeout = 1"));
  for (auto mode : {PrivatePostgres::StopMode::kImmediate, PrivatePostgres::StopMode::kFast}) {
    server.Stop(mode);
    EXPECT_THROW(server.Execute("SELECT 1"), std::runtime_error);
    server.Start();
    EXPECT_EQ(server.port(), port);
    EXPECT_EQ(server.Execute("SELECT id FROM t"), (Rows{{"1"}}));
    EXPECT_EQ(server.Execute("SHOW max_connections"), (Rows{{"20"}}));
  }
}

TEST(PrivatePostgresDeathTest, GoesWithAProcessThatIsAborted) {
  TempDir dir;
  EXPECT_DEATH(
      {
        PrivatePostgres server;
        std::ofstream(dir.File("path")) << server.socket_directory();
        std::abort();
      },
      "");
  std::string path;
  std::ifstream(dir.File("path")) >> path;
  ASSERT_FALSE(path.empty());
  EXPECT_TRUE(WaitUntilTrue([&] { return !std::filesystem::exists(path); })) << path;
}

}  // namespace
}  // namespace holdfast::testing
