// One connection to PostgreSQL: statements are queued, sent together and answered together, with
// errors as results.
#pragma once

#include <libpq-fe.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "engine/postgres/settings.h"
#include "engine/postgres/values.h"
#include "holdfast/error.h"

namespace holdfast::engine::postgres {

/// As PQserverVersion counts.
inline constexpr int kOldestServer = 150'000;

/// Of the database, since texts are of any characters.
inline constexpr std::string_view kEncoding = "UTF8";

/// Whether a server with this for fsync, full_page_writes or synchronous_commit may lose what it
/// has acknowledged.
inline bool LosesCommits(std::string_view value) {
  return value == "off" || value == "local";
}

/// The text of a statement. Lives as long as every connection that has run it: its address is its
/// name there.
class Sql {
 public:
  /// `$.` stands for the schema: "SELECT id FROM $.jobs".
  Sql(const Settings& settings, std::string_view text);
  /// One that names nothing in the schema.
  explicit Sql(std::string_view text) : text_(text) {}
  const std::string& text() const { return text_; }

 private:
  const std::string text_;
};

/// What a failure means for whoever asked.
enum class Failure : std::uint8_t {
  kNone,
  kConflict,    // with another transaction: the whole of this one may be tried again
  kConstraint,  // a unique key was taken meanwhile
  kHeld,        // another session held a row for longer than lock_timeout
  kLost,        // the connection is gone, and with it the answer
  kOther,
};

/// Confined to one thread at a time.
class Connection {
 public:
  /// Connects, and sees that the server is one that can be trusted with a commit. Blocks for 10 s
  /// at most, or 3 s for each of several hosts, unless the URL has a connect_timeout.
  /// Errors: unavailable (no server, a standby, lossy settings that were not asked for; the message
  /// says which).
  static Result<std::unique_ptr<Connection>> Open(const Settings& settings);
  /// As Open, for whoever only wants to know how a server is: it may be a standby, too old, or
  /// lossy. Of several hosts it is the one that takes writes, or, if there is none, the first that
  /// answers: that takes as long again. Every statement only reads, and ends after `limit`; a
  /// server that then says nothing for another second counts as lost.
  static Result<std::unique_ptr<Connection>> OpenToLook(const Settings& settings, Duration limit);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Begins a transaction with all that statements rely on, whatever the session has: the isolation
  /// level, limits of time, the search path. Two answers. Ended by what the caller queues.
  void QueueBegin(Duration lock_timeout);
  /// The same for Execute.
  static std::string TextOfBegin();

  /// Adds a statement to those that the next Run sends.
  void Queue(const Sql& sql, const Parameters& parameters = {});
  /// One whose only parameter is an array of rows; unless there are none, then it has nothing to
  /// do.
  void QueueRows(const Sql& sql, RowArray&& rows);
  /// One that is not worth preparing.
  void QueueText(std::string_view text, const Parameters& parameters = {});

  /// Sends what is queued in one go and waits for all the answers: one round trip. The first error
  /// ends it; statements behind it were not run. Outside QueueBegin and COMMIT, what is sent
  /// together is one transaction, in the same environment.
  Result<std::vector<Answer>> Run();
  /// Queue and Run.
  Result<Answer> Query(const Sql& sql, const Parameters& parameters = {});
  Result<Answer> QueryText(std::string_view text, const Parameters& parameters = {});
  /// Several statements that answer nothing, outside of all that is queued.
  Result<void> Execute(const std::string& text);

  /// Before QueueRows: finds the types of rows, whose numbers are others in every schema. Errors:
  /// unavailable, corrupt (the schema has them not).
  Result<void> LearnRowTypes(const Settings& settings);

  /// Ends a transaction that has failed, if one is open.
  void RollBack();

  /// Of the latest error.
  Failure failure() const { return failure_; }
  /// Which server this is, and in which of its lives: another after a fail-over, a restart, a
  /// crash. Numbers that were drawn in one life and not committed may come again in the next.
  const std::string& server() const { return server_; }
  /// Whether it is of no use any more: broken off, or about to be, as the server has said.
  bool IsLost() const { return is_lost_ || PQstatus(connection_) != CONNECTION_OK; }
  PGconn* handle() const { return connection_; }

 private:
  Connection(PGconn* connection, bool prepares) : connection_(connection), prepares_(prepares) {}

  struct Sent {
    const Sql* prepares = nullptr;  // it is the preparation of this, not an execution
  };

  /// `attributes`: the target_session_attrs, whatever the URL says; null: what it says, else one
  /// that takes writes, of several.
  static Result<std::unique_ptr<Connection>> Connect(const Settings& settings,
                                                     const char* attributes = nullptr);
  Result<void> CheckServer(const Settings& settings);
  Result<void> BeginPipelines();
  void BeginIfIdle();
  void QueueStatement(const Sql& sql, const Parameters& parameters);
  Result<std::vector<Answer>> RunQueued();
  /// `name`: of a prepared statement, or nothing.
  void Send(const std::string& name, const std::string& text, const Parameters& parameters);
  Result<void> Push();
  /// Until the server has begun to answer.
  Result<void> AwaitAnswer(Duration limit);
  std::optional<Error> Receive(const Sent& sent, std::vector<Answer>& answers);
  Error Lost(std::string_view doing);
  Error ErrorOf(const PGresult* result);

  PGconn* const connection_;
  const bool prepares_;
  std::string server_;
  std::unordered_set<const Sql*> prepared_;  // or about to be, by what is queued
  std::vector<Sent> sent_;                   // since the last Run
  std::array<std::uint32_t, kRowTypeCount> row_types_{};
  std::optional<Duration> patience_;  // for an answer, where it is limited
  Failure failure_ = Failure::kNone;
  bool is_lost_ = false;
  bool states_environment_ = false;  // of every transaction
  bool is_implicit_ = false;         // what is queued began outside of a transaction
};

}  // namespace holdfast::engine::postgres
