// A session of somebody else on the server, which holds what a test says for as long as it says.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <string>

#include "testing/private_postgres.h"

namespace holdfast::testing {

/// A session of a program that has nothing to do with Holdfast.
class OtherSession {
 public:
  OtherSession(const PrivatePostgres& server, const std::string& user, const std::string& name)
      : connection_(PQconnectdb(fmt::format("host=127.0.0.1 port={} user={} dbname=postgres "
                                            "application_name='{}'",
                                            server.port(), user, name)
                                    .c_str())) {}
  ~OtherSession() { PQfinish(connection_); }
  OtherSession(const OtherSession&) = delete;
  OtherSession& operator=(const OtherSession&) = delete;

  void Run(const std::string& sql) {
    PGresult* result = PQexec(connection_, sql.c_str());
    const ExecStatusType status = PQresultStatus(result);
    EXPECT_TRUE(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
        << PQerrorMessage(connection_);
    PQclear(result);
  }
  /// May fail.
  void Try(const std::string& sql) { PQclear(PQexec(connection_, sql.c_str())); }
  /// Does not wait for the answer.
  void Start(const std::string& sql) { EXPECT_EQ(PQsendQuery(connection_, sql.c_str()), 1); }
  int number() const { return PQbackendPID(connection_); }
  std::string pid() const { return fmt::format("pid {},", PQbackendPID(connection_)); }
  std::string ending() const {
    return fmt::format("pg_terminate_backend({})", PQbackendPID(connection_));
  }

 private:
  PGconn* connection_;
};

}  // namespace holdfast::testing
