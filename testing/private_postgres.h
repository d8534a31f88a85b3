// A PostgreSQL server for tests alone: made from the system's package on first use, in a temporary
// directory, and gone with the process however that ends.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "testing/environment.h"
#include "testing/guard.h"

struct pg_conn;  // of libpq

namespace holdfast::testing {

/// Calls that fail throw std::runtime_error, with what the server says. Threads: any, but one
/// starts and stops it.
class PrivatePostgres {
 public:
  enum class StopMode {
    kFast,       ///< breaks connections off, then shuts down in order
    kImmediate,  ///< as if it crashed: the next start replays its log
  };

  struct Options {
    /// The server always syncs; in memory that costs nothing.
    TempDir::Where where = TempDir::Where::kMemory;
    /// "name = value" lines of postgresql.conf that come after, and so override, those that every
    /// server here has.
    std::vector<std::string> settings;
    /// Begins as a standby of that one, with all it has, and follows it until it is promoted.
    const PrivatePostgres* standby_of = nullptr;
  };

  /// The server of all tests that only need one; started on first use. With
  /// HOLDFAST_POSTGRES_UNTIL=parent in the environment it is that of all processes with the same
  /// parent, and ends with the parent: a runner that starts a process for each test does not wait
  /// for a server in each. Tests that stop a server or break connections off make one of their own.
  static PrivatePostgres& Shared();

  explicit PrivatePostgres(const Options& options);
  PrivatePostgres() : PrivatePostgres(Options{}) {}
  ~PrivatePostgres();
  PrivatePostgres(const PrivatePostgres&) = delete;
  PrivatePostgres& operator=(const PrivatePostgres&) = delete;

  /// Of a store in that schema, as an ordinary user who may create schemas. Over TCP; through
  /// another port where a gate is in between.
  std::string Url(const std::string& schema) const { return Url(schema, port_); }
  std::string Url(const std::string& schema, std::uint16_t port) const;
  /// As Url, over the socket in socket_directory().
  std::string SocketUrl(const std::string& schema) const;

  /// On 127.0.0.1. Stays the same when the server is stopped and started.
  std::uint16_t port() const { return port_; }
  std::string socket_directory() const { return path_.string(); }

  void Stop(StopMode mode = StopMode::kFast);
  void Start();
  void Restart(StopMode mode = StopMode::kFast);

  /// A standby: waits until it has all that the other has, and makes it a server of its own.
  void Promote();

  /// Breaks off all connections of clients; returns how many there were.
  int KillBackends();

  /// Does the statements as the superuser and returns the rows of the last one; a NULL is an empty
  /// text. Nothing of the session is there for the next call.
  std::vector<std::vector<std::string>> Execute(const std::string& sql) const;

  std::string ReadLog() const;

 private:
  struct OfParent {};
  struct Disconnect {
    void operator()(pg_conn* connection) const;
  };
  using Connection = std::unique_ptr<pg_conn, Disconnect>;

  explicit PrivatePostgres(OfParent);

  void Create(const Options& options);
  /// The server ends and is removed when `end`, a command, has returned.
  void EndUpon(const std::string& end);
  /// A program of the server's package.
  void RunTool(std::vector<std::string> words) const;
  Connection TakeConnection() const;
  void KeepConnection(Connection connection) const;
  std::string data() const { return (path_ / "data").string(); }
  std::string log_file() const { return (path_ / "server.log").string(); }

  const PrivatePostgres* standby_of_ = nullptr;
  std::optional<TempDir> dir_;
  std::filesystem::path path_;
  std::uint16_t port_ = 0;
  // The superuser's, while nobody uses it: a connection costs more than what tests do with it.
  mutable base::Mutex mutex_{base::LockRank::kWait};
  mutable Connection idle_ HF_GUARDED_BY(mutex_);
  std::optional<GuardScript> guard_;
};

/// The name of a schema that nobody else uses. What a store made in it is dropped at the end.
class PostgresSchema {
 public:
  explicit PostgresSchema(PrivatePostgres& server = PrivatePostgres::Shared());
  ~PostgresSchema();
  PostgresSchema(const PostgresSchema&) = delete;
  PostgresSchema& operator=(const PostgresSchema&) = delete;

  const std::string& name() const { return name_; }
  PrivatePostgres& server() const { return server_; }
  std::string url() const { return server_.Url(name_); }

 private:
  PrivatePostgres& server_;
  const std::string name_;
};

/// A schema of the shared server for a test that only needs a store. It may have been used before
/// and then has its tables, empty as at first: to make and drop them costs more than most tests.
class ReusedPostgresSchema {
 public:
  ReusedPostgresSchema();
  ~ReusedPostgresSchema();
  ReusedPostgresSchema(const ReusedPostgresSchema&) = delete;
  ReusedPostgresSchema& operator=(const ReusedPostgresSchema&) = delete;

  /// Through Pooler::Shared(), if IsThroughPooler().
  std::string url() const;

 private:
  const std::string name_;
};

}  // namespace holdfast::testing
