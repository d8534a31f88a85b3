// What psql and pgbench are given to connect with: all but a password as an argument.
#include "engine/postgres/tool_target.h"

#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <map>

#include "testing/matchers.h"

namespace holdfast::engine::postgres {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Must;
using ::testing::Not;
using testing::StatusIs;

/// As libpq reads it.
std::map<std::string, std::string> PartsOf(const std::string& connection) {
  std::map<std::string, std::string> parts;
  PQconninfoOption* all = PQconninfoParse(connection.c_str(), nullptr);
  EXPECT_NE(all, nullptr) << connection;
  for (PQconninfoOption* part = all; part != nullptr && part->keyword != nullptr; ++part) {
    if (part->val != nullptr) parts[part->keyword] = part->val;
  }
  PQconninfoFree(all);
  return parts;
}

TEST(TargetOfTools, APasswordIsInTheEnvironmentAndAllElseIsAnArgument) {
  for (const std::string connection :
       {"postgres://ada%20b:it%27s%5Ca%20secret%3D%40@h1:1,h2:2/app%20'x%5C"
        "?sslmode=require&connect_timeout=2&options=-c%20work_mem%3D4MB",
        "postgresql://ada%20b@h1:1,h2:2/app%20'x%5C?password=it's\\a%20secret%3D%40"
        "&sslmode=require&connect_timeout=2&options=-c%20work_mem%3D4MB",
        "host=h1,h2 port=1,2 user='ada b' password='it\\'s\\\\a secret=@' dbname='app \\'x\\\\' "
        "sslmode=require connect_timeout=2 options='-c work_mem=4MB'"}) {
    SCOPED_TRACE(connection);
    const ToolTarget target = Must(TargetOfTools(connection));
    EXPECT_THAT(target.environment, ElementsAre("PGPASSWORD=it's\\a secret=@"));
    EXPECT_THAT(target.database, AllOf(Not(HasSubstr("secret")), Not(HasSubstr("password"))));
    auto parts = PartsOf(connection);
    EXPECT_EQ(parts.erase("password"), 1U);
    EXPECT_EQ(parts.size(), 7U);
    EXPECT_EQ(PartsOf(target.database), parts);
  }
}

TEST(TargetOfTools, WithoutAPasswordNothingIsInTheEnvironment) {
  for (const std::string connection :
       {"postgres://127.0.0.1:5433/app", "postgres://ada:@%2Frun%2Fpostgresql/app",
        "dbname=app host=/tmp"}) {
    const ToolTarget target = Must(TargetOfTools(connection));
    EXPECT_THAT(target.environment, IsEmpty());
    EXPECT_EQ(PartsOf(target.database), PartsOf(connection));
  }
}

TEST(TargetOfTools, TheNameOfADatabaseStaysOne) {
  EXPECT_EQ(Must(TargetOfTools("app")).database, "app");
  EXPECT_THAT(Must(TargetOfTools("app")).environment, IsEmpty());
}

TEST(TargetOfTools, WhatCannotBeHandedOnInSecretIsRefusedAndNotSaid) {
  EXPECT_THAT(TargetOfTools("postgres://h/app?sslpassword=hush"),
              StatusIs(ErrorCode::kInvalidArgument,
                       AllOf(HasSubstr("sslpassword"), Not(HasSubstr("hush")))));
  for (const char* connection : {"postgres://ada:hush%zz@h/app", "postgres://ada@h/app?hush=1"}) {
    EXPECT_THAT(
        TargetOfTools(connection),
        StatusIs(ErrorCode::kInvalidArgument, AllOf(HasSubstr("libpq"), Not(HasSubstr("hush")))));
  }
}

}  // namespace
}  // namespace holdfast::engine::postgres
