#include "engine/postgres/connection.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/result.h"
#include "engine/postgres/conninfo.h"

namespace holdfast::engine::postgres {
namespace {

// Every transaction states its own environment. A session of a pooler in transaction mode has what
// its server connection happens to have, and a database or a user may have other defaults.
// In small letters: gates in tests look for COMMIT.
const Sql kBegin("begin isolation level read committed");
// How long a server may take to run one statement, to let go of a row that another transaction
// holds, and to hear of us within a transaction. Each is far above what anything here needs; each
// ends what would otherwise stand in the way of everybody for ever.
const Sql kSetEnvironment(
    "SELECT set_config('lock_timeout', $1::text, true), "
    "set_config('statement_timeout', '60s', true), "
    "set_config('idle_in_transaction_session_timeout', '10s', true), "
    "set_config('search_path', 'pg_catalog', true), set_config('TimeZone', 'UTC', true), "
    "set_config('standard_conforming_strings', 'on', true), set_config('jit', 'off', true), "
    // Every statement has an index that suits it, whatever the statistics say of a table that was
    // empty a moment ago; so that there is nothing to plan again for each use. Joins go through
    // such an index, too: the others would read one from end to end.
    "set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), "
    "set_config('enable_mergejoin', 'off', true), "
    "set_config('plan_cache_mode', 'force_generic_plan', true)");
// COMMIT ends only what a caller has begun: gates in tests tell the two apart.
const Sql kEndStatement("END");
constexpr std::string_view kLockTimeout = "20s";

std::string_view StateOf(const PGresult* result) {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  return state == nullptr ? std::string_view() : state;
}

Failure FailureOf(std::string_view state) {
  if (state == "40001" || state == "40P01") return Failure::kConflict;
  if (state == "23505") return Failure::kConstraint;
  if (state == "55P03") return Failure::kHeld;
  // The server says goodbye: an administrator, a shutdown, a crash, an idle transaction.
  if (state.starts_with("08") || state.starts_with("57P") || state == "25P03") {
    return Failure::kLost;
  }
  // It takes no writes any more: another does, which a new connection finds.
  if (state == "25006") return Failure::kLost;
  return Failure::kOther;
}

ErrorCode CodeOf(std::string_view state) {
  if (state.starts_with("XX00")) {
    return state == "XX000" ? ErrorCode::kInternal : ErrorCode::kCorrupt;
  }
  // Connections, resources, the operator, a standby, a lock that is not let go, time-outs.
  for (std::string_view unavailable :
       {"08", "53", "57", "58", "25006", "25P03", "55P03", "40", "28", "3D000"}) {
    if (state.starts_with(unavailable)) return ErrorCode::kUnavailable;
  }
  return ErrorCode::kInternal;
}

/// The first line, without what libpq puts around it.
std::string FirstLine(std::string_view text) {
  for (std::string_view mark : {"ERROR:  ", "FATAL:  "}) {
    if (text.starts_with(mark)) text.remove_prefix(mark.size());
  }
  return std::string(text.substr(0, text.find('\n')));
}

}  // namespace

Sql::Sql(const Settings& settings, std::string_view text)
    : text_([&] {
        std::string whole;
        for (std::size_t i = 0; i < text.size(); ++i) {
          if (text.substr(i, 2) == "$.") {
            whole += settings.schema + ".";
            ++i;
          } else {
            whole += text[i];
          }
        }
        return whole;
      }()) {}

Result<std::unique_ptr<Connection>> Connection::Open(const Settings& settings) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection, Connect(settings));
  HF_RETURN_IF_ERROR(connection->CheckServer(settings));
  HF_RETURN_IF_ERROR(connection->BeginPipelines());
  connection->states_environment_ = true;
  return connection;
}

Result<std::unique_ptr<Connection>> Connection::OpenToLook(const Settings& settings,
                                                           Duration limit) {
  Result<std::unique_ptr<Connection>> connected = Connect(settings);
  if (!connected && (settings.hosts > 1 || settings.NamesSessionAttributes())) {
    // What a standby says of itself helps more than that there is no primary.
    auto any = Connect(settings, "any");
    if (any) connected = std::move(any);
  }
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection, std::move(connected));
  // Who only looks waits for nobody's lock.
  HF_RETURN_IF_ERROR(connection->Execute(fmt::format(
      "SET statement_timeout = {}; SET lock_timeout = '1s'; SET client_encoding = 'UTF8'; "
      "SET default_transaction_read_only = on; SET IntervalStyle = 'postgres'",
      std::max<std::int64_t>(std::chrono::ceil<std::chrono::milliseconds>(limit).count(), 1))));
  HF_RETURN_IF_ERROR(connection->BeginPipelines());
  connection->patience_ = limit + std::chrono::seconds(1);
  return connection;
}

Result<std::unique_ptr<Connection>> Connection::Connect(const Settings& settings,
                                                        const char* attributes) {
  HF_ASSIGN_OR_RETURN(const Conninfo parts, ParseConninfo(settings.connection));
  // Of several hosts libpq asks one after the other, each for as long as connect_timeout: one that
  // does not answer must not keep it from the one that has taken over. A machine that vanished
  // while it had a request in hand is noticed by keepalives alone, the second of them; the system's
  // interval would be over a minute. What stands in the URL overrides what comes before it.
  const bool is_one = settings.hosts == 1;
  const std::pair<const char*, const char*> parameters[] = {
      {"application_name", "holdfast"},
      {"connect_timeout", is_one ? "10" : "3"},
      {"keepalives_idle", "10"},
      {"keepalives_interval", "5"},
      {"tcp_user_timeout", "15000"},
      // Of one host alone, what is wrong with it is said better by CheckServer.
      {"target_session_attrs", is_one ? "any" : "read-write"},
      {"client_encoding", "UTF8"},
      {"dbname", settings.connection.c_str()},
      {"target_session_attrs", attributes},
      {nullptr, nullptr}};
  std::array<const char*, std::size(parameters)> keywords;
  std::array<const char*, std::size(parameters)> values;
  for (std::size_t i = 0; i < keywords.size(); ++i) {
    std::tie(keywords[i], values[i]) = parameters[i];
  }
  PGconn* handle = PQconnectdbParams(keywords.data(), values.data(), 1);
  // A library does not write to its program's stderr: what matters comes as an error.
  PQsetNoticeProcessor(
      handle, [](void*, const char*) {}, nullptr);
  std::unique_ptr<Connection> connection(new Connection(handle, settings.prepares));
  if (PQstatus(handle) != CONNECTION_OK) {
    return Fail(ErrorCode::kUnavailable,
                fmt::format("cannot connect to {}: {}", settings.shown,
                            WithoutSecrets(FirstLine(PQerrorMessage(handle)), parts)));
  }
  PQsetErrorVerbosity(handle, PQERRORS_TERSE);
  return connection;
}

Result<void> Connection::BeginPipelines() {
  if (PQsetnonblocking(connection_, 1) != 0 || PQenterPipelineMode(connection_) != 1) {
    return std::unexpected(Lost("preparing the connection"));
  }
  return {};
}

Connection::~Connection() {
  PQfinish(connection_);
}

/// A server that may lose what it has acknowledged, or that only follows another, is not one to
/// keep promises on.
Result<void> Connection::CheckServer(const Settings& settings) {
  PGresult* raw = PQexec(connection_,
                         "SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), "
                         "current_setting('default_transaction_read_only'), "
                         "current_setting('fsync'), current_setting('full_page_writes'), "
                         "current_setting('synchronous_commit'), "
                         "(SELECT system_identifier FROM pg_control_system()), "
                         // pg_control_checkpoint names the old timeline until the first checkpoint
                         // after a promotion is done, minutes later.
                         "CASE WHEN NOT pg_is_in_recovery() THEN "
                         "left(pg_walfile_name(pg_current_wal_lsn()), 8) END, "
                         // A crash loses what was not on the disk yet, numbers of transactions and
                         // of sequences included, which are given out once more. After one that
                         // leaves the server process alive, statistics start anew.
                         "pg_postmaster_start_time(), "
                         "(SELECT stats_reset FROM pg_stat_bgwriter), "
                         "current_setting('server_encoding')");
  Answer answer(raw);
  if (PQresultStatus(raw) != PGRES_TUPLES_OK) return std::unexpected(ErrorOf(raw));
  auto value = [&](int column) { return std::string_view(PQgetvalue(raw, 0, column)); };
  server_ = fmt::format("{}/{}/{}/{}", value(6), value(7), value(8), value(9));
  if (PQserverVersion(connection_) < kOldestServer) {
    return Fail(ErrorCode::kUnavailable,
                fmt::format("{} is PostgreSQL {}; Holdfast needs 15 or later", settings.shown,
                            PQserverVersion(connection_) / 10'000));
  }
  if (value(1) == "t" || value(2) == "on") {
    return Fail(ErrorCode::kUnavailable,
                fmt::format("{} is a standby or read-only: connect to the primary "
                            "(target_session_attrs=read-write finds it)",
                            settings.shown));
  }
  if (value(10) != kEncoding) {
    return Fail(ErrorCode::kUnavailable,
                fmt::format("{} has the encoding {}: create a database with ENCODING '{}' (and "
                            "TEMPLATE template0)",
                            settings.shown, value(10), kEncoding));
  }
  if (settings.allows_lossy) return {};
  for (auto [column, name] :
       {std::pair(3, "fsync"), {4, "full_page_writes"}, {5, "synchronous_commit"}}) {
    if (!LosesCommits(value(column))) continue;
    return Fail(ErrorCode::kUnavailable,
                fmt::format("{} has {} = {}, and would lose acknowledged commits: switch it on, or "
                            "add lossy=allow to the URL",
                            settings.shown, name, value(column)));
  }
  return {};
}

void Connection::QueueBegin(Duration lock_timeout) {
  const auto limit = std::chrono::ceil<std::chrono::milliseconds>(lock_timeout);
  QueueStatement(kBegin, {});
  QueueStatement(kSetEnvironment, Parameters().Add(fmt::to_string(limit.count())));
}

std::string Connection::TextOfBegin() {
  std::string text = kBegin.text() + "; " + kSetEnvironment.text() + "; ";
  const std::string_view parameter = "$1::text";
  return text.replace(text.find(parameter), parameter.size(), fmt::format("'{}'", kLockTimeout));
}

/// What is sent outside of a transaction becomes one, so that it has the same environment.
void Connection::BeginIfIdle() {
  if (!states_environment_ || !sent_.empty()) return;
  if (PQtransactionStatus(connection_) != PQTRANS_IDLE) return;
  QueueStatement(kBegin, {});
  QueueStatement(kSetEnvironment, Parameters().Add(kLockTimeout));
  is_implicit_ = true;
}

void Connection::Queue(const Sql& sql, const Parameters& parameters) {
  BeginIfIdle();
  QueueStatement(sql, parameters);
}

void Connection::QueueStatement(const Sql& sql, const Parameters& parameters) {
  if (!prepares_) return Send("", sql.text(), parameters);
  // The name of a short statement is its text, so that a gate in a test finds COMMIT in what is
  // sent.
  constexpr std::size_t kShort = 16;
  const std::string name =
      sql.text().size() <= kShort ? sql.text() : fmt::format("{}", fmt::ptr(&sql));
  if (prepared_.insert(&sql).second) {
    PQsendPrepare(connection_, name.c_str(), sql.text().c_str(), 0, nullptr);
    sent_.push_back({.prepares = &sql});
  }
  Send(name, sql.text(), parameters);
}

void Connection::QueueRows(const Sql& sql, RowArray&& rows) {
  if (rows.IsEmpty()) return;
  const std::uint32_t oid = row_types_[static_cast<std::size_t>(rows.type())];
  HF_CHECK(oid != 0);
  Queue(sql, Parameters().Add(std::move(rows), oid));
}

Result<void> Connection::LearnRowTypes(const Settings& settings) {
  HF_ASSIGN_OR_RETURN(
      Answer found,
      QueryText("SELECT t.typname::text, t.oid::bigint FROM pg_type t JOIN pg_namespace n ON "
                "n.oid = t.typnamespace WHERE n.nspname = $1 AND t.typname LIKE '%\\_row'",
                Parameters().Add(settings.schema)));
  for (std::size_t i = 0; i < kRowTypeCount; ++i) {
    for (int row = 0; row < found.size(); ++row) {
      if (Row(found, row).Text(0) != NameOf(static_cast<RowType>(i))) continue;
      row_types_[i] = static_cast<std::uint32_t>(Row(found, row).Integer(1));
    }
    if (row_types_[i] != 0) continue;
    return Fail(ErrorCode::kCorrupt, fmt::format("{} has no type {}.{}", settings.shown,
                                                 settings.schema, NameOf(static_cast<RowType>(i))));
  }
  return {};
}

void Connection::QueueText(std::string_view text, const Parameters& parameters) {
  BeginIfIdle();
  Send("", std::string(text), parameters);
}

void Connection::Send(const std::string& name, const std::string& text,
                      const Parameters& parameters) {
  constexpr std::size_t kMost = 40;  // no statement has more
  std::array<const char*, kMost> values;
  std::array<int, kMost> lengths;
  std::array<int, kMost> formats;
  const std::size_t count = parameters.values().size();
  HF_CHECK(count <= kMost);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = parameters.values()[i].data();
    lengths[i] = static_cast<int>(parameters.values()[i].size());
    formats[i] = 1;  // binary
  }
  sent_.push_back({});
  const int n = static_cast<int>(count);
  if (name.empty()) {
    PQsendQueryParams(connection_, text.c_str(), n, nullptr, values.data(), lengths.data(),
                      formats.data(), 1);
  } else {
    PQsendQueryPrepared(connection_, name.c_str(), n, values.data(), lengths.data(), formats.data(),
                        1);
  }
}

Result<std::vector<Answer>> Connection::Run() {
  if (!std::exchange(is_implicit_, false)) return RunQueued();
  QueueStatement(kEndStatement, {});
  Result<std::vector<Answer>> answers = RunQueued();
  if (!answers) {
    RollBack();
    return answers;
  }
  answers->pop_back();
  answers->erase(answers->begin(), answers->begin() + 2);
  return answers;
}

Result<std::vector<Answer>> Connection::RunQueued() {
  std::vector<Sent> sent;
  sent.swap(sent_);
  failure_ = Failure::kNone;
  if (PQpipelineSync(connection_) != 1) return std::unexpected(Lost("sending"));
  HF_RETURN_IF_ERROR(Push());
  if (patience_) HF_RETURN_IF_ERROR(AwaitAnswer(*patience_));
  std::vector<Answer> answers;
  answers.reserve(sent.size());
  std::optional<Error> error;
  for (const Sent& one : sent) {
    std::optional<Error> wrong = Receive(one, answers);
    if (wrong && !error) error = std::move(wrong);
    if (failure_ == Failure::kLost) return std::unexpected(*std::move(error));
  }
  Answer sync(PQgetResult(connection_));
  if (IsLost()) return std::unexpected(error ? *std::move(error) : Lost("waiting for the answer"));
  if (error) return std::unexpected(*std::move(error));
  return answers;
}

/// Sends all of it. Takes in what the server answers meanwhile: otherwise each side may wait for
/// the other to read.
Result<void> Connection::Push() {
  while (true) {
    const int left = PQflush(connection_);
    if (left == 0) return {};
    if (left < 0) return std::unexpected(Lost("sending"));
    pollfd wait{.fd = PQsocket(connection_), .events = POLLIN | POLLOUT, .revents = 0};
    (void)::poll(&wait, 1, -1);
    if ((wait.revents & POLLIN) != 0 && PQconsumeInput(connection_) == 0) {
      return std::unexpected(Lost("sending"));
    }
  }
}

Result<void> Connection::AwaitAnswer(Duration limit) {
  const SteadyTime end = std::chrono::steady_clock::now() + limit;
  while (PQisBusy(connection_) != 0) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd wait{.fd = PQsocket(connection_), .events = POLLIN, .revents = 0};
    if (left.count() <= 0 || ::poll(&wait, 1, static_cast<int>(left.count())) == 0) {
      failure_ = Failure::kLost;
      is_lost_ = true;
      return Fail(ErrorCode::kUnavailable, "PostgreSQL has stopped answering");
    }
    if (PQconsumeInput(connection_) == 0) {
      return std::unexpected(Lost("waiting for the answer"));
    }
  }
  return {};
}

/// The answer to one statement, and the mark behind it.
std::optional<Error> Connection::Receive(const Sent& sent, std::vector<Answer>& answers) {
  PGresult* result = PQgetResult(connection_);
  if (result == nullptr) return Lost("waiting for the answer");
  Answer answer(result);
  std::optional<Error> error;
  switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
      if (sent.prepares == nullptr) answers.push_back(std::move(answer));
      break;
    case PGRES_PIPELINE_ABORTED:
      if (sent.prepares != nullptr) prepared_.erase(sent.prepares);
      error = Error{ErrorCode::kInternal, "a statement before this one failed", {}};
      break;
    default:
      if (sent.prepares != nullptr) prepared_.erase(sent.prepares);
      error = ErrorOf(result);
  }
  if (IsLost()) {
    failure_ = Failure::kLost;
    return error ? error : Lost("waiting for the answer");
  }
  Answer end(PQgetResult(connection_));  // nothing
  return error;
}

Result<Answer> Connection::Query(const Sql& sql, const Parameters& parameters) {
  Queue(sql, parameters);
  HF_ASSIGN_OR_RETURN(std::vector<Answer> answers, Run());
  return std::move(answers.front());
}

Result<Answer> Connection::QueryText(std::string_view text, const Parameters& parameters) {
  QueueText(text, parameters);
  HF_ASSIGN_OR_RETURN(std::vector<Answer> answers, Run());
  return std::move(answers.front());
}

Result<void> Connection::Execute(const std::string& text) {
  const bool pipelines = PQpipelineStatus(connection_) != PQ_PIPELINE_OFF;
  if (pipelines) PQexitPipelineMode(connection_);
  failure_ = Failure::kNone;
  PGresult* result = PQexec(connection_, text.c_str());
  Answer answer(result);
  Result<void> outcome;
  if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
    outcome = std::unexpected(ErrorOf(result));
  }
  if (pipelines) PQenterPipelineMode(connection_);
  return outcome;
}

void Connection::RollBack() {
  if (IsLost() || PQtransactionStatus(connection_) == PQTRANS_IDLE) return;
  const Failure failure = failure_;
  (void)QueryText("ROLLBACK");
  failure_ = failure;
}

Error Connection::Lost(std::string_view doing) {
  failure_ = Failure::kLost;
  is_lost_ = true;
  std::string why = FirstLine(PQerrorMessage(connection_));
  if (why.empty()) why = "it was closed";
  return {ErrorCode::kUnavailable,
          fmt::format("the connection to PostgreSQL was lost while {}: {}", doing, why),
          {}};
}

Error Connection::ErrorOf(const PGresult* result) {
  const std::string_view state = StateOf(result);
  if (state.empty() && IsLost()) return Lost("waiting for the answer");
  failure_ = FailureOf(state);
  // What else the server says before it goes is not waited for.
  is_lost_ |= failure_ == Failure::kLost;
  const char* message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  return {CodeOf(state),
          fmt::format("PostgreSQL: {} ({})",
                      message == nullptr ? FirstLine(PQerrorMessage(connection_)) : message, state),
          {}};
}

}  // namespace holdfast::engine::postgres
