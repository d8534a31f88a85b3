// What the URL of a PostgreSQL store says, to Holdfast and to libpq.
#include <gtest/gtest.h>

#include "engine/postgres/settings.h"
#include "testing/matchers.h"

namespace holdfast::engine::postgres {
namespace {

using testing::Must;

TEST(PostgresSettings, KeepsWhatIsItsOwnAndLeavesTheRestToLibpq) {
  Settings settings = Must(ParsePostgresUrl(
      "postgres://ada:secret@db:5433/app?schema=mine&sslmode=require&lanes=9&connect_timeout=2"));
  EXPECT_EQ(settings.connection,
            "postgres://ada:secret@db:5433/app?sslmode=require&connect_timeout=2");
  EXPECT_EQ(settings.shown, "postgres://db:5433/app");
  EXPECT_EQ(settings.schema, "mine");
  EXPECT_EQ(settings.lanes, 9);
  EXPECT_EQ(settings.hosts, 1);
}

TEST(PostgresSettings, TakesSeveralHosts) {
  Settings settings = Must(ParsePostgresUrl("postgres://ada@h1:1,h2:2,h3:3/app?schema=mine"));
  EXPECT_EQ(settings.connection, "postgres://ada@h1:1,h2:2,h3:3/app");
  EXPECT_EQ(settings.shown, "postgres://h1:1,h2:2,h3:3/app");
  EXPECT_EQ(settings.hosts, 3);
}

TEST(PostgresSettings, CountsHostsWhereverLibpqTakesThemFrom) {
  for (auto [url, hosts] : {std::pair("postgres://h1,h2", 2),
                            {"postgres://[::1]:5432,[::2]:5432/app", 2},
                            {"postgres:///app?host=h1,h2,h3&port=1,2,3", 3},
                            {"postgres://ada@/app?hostaddr=10.0.0.1,10.0.0.2", 2},
                            {"postgres:///app", 1},
                            {"postgres://a,b:c,d@h1/app,x?options=a,b", 1}}) {
    EXPECT_EQ(Must(ParsePostgresUrl(url)).hosts, hosts) << url;
  }
}

}  // namespace
}  // namespace holdfast::engine::postgres
