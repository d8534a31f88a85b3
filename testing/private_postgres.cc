#include "testing/private_postgres.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "testing/guard.h"
#include "testing/pooler.h"

namespace holdfast::testing {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSuperuser = "postgres";
constexpr const char* kUser = "holdfast";
constexpr const char* kDatabase = "postgres";

// What it writes at first, and the log that it may keep: see kSettings.
constexpr std::uint64_t kNeededBytes = 512ull << 20;

// Lossless, as a store demands it, and no wider than tests need. Shared memory is in files of the
// directory, so that a server that was killed leaves nothing behind elsewhere.
constexpr const char* kSettings = R"(
listen_addresses = '127.0.0.1'
max_connections = 500
shared_buffers = 64MB
dynamic_shared_memory_type = mmap
fsync = on
synchronous_commit = on
full_page_writes = on
autovacuum = on
min_wal_size = 32MB
max_wal_size = 128MB
log_line_prefix = '%m [%p] '
)";

// The store under test is no superuser's.
constexpr const char* kGrants =
    "CREATE ROLE holdfast LOGIN; GRANT CREATE ON DATABASE postgres TO holdfast";

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The server's programs: Debian keeps each version in a folder of its own, others in the path.
fs::path FindPrograms() {
  std::error_code ignored;
  fs::path newest;
  int newest_version = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator("/usr/lib/postgresql", ignored)) {
    int version = std::atoi(entry.path().filename().c_str());
    if (version <= newest_version || !fs::exists(entry.path() / "bin/initdb")) continue;
    newest_version = version;
    newest = entry.path() / "bin";
  }
  if (!newest.empty()) return newest;
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (fs::exists(fs::path(folder) / "initdb")) return folder;
  }
  throw std::runtime_error("there is no PostgreSQL server here: tools/install-deps --tests");
}

/// One that nobody listens on, below those that connections go out from: a server that was stopped
/// finds its port free again.
std::uint16_t PickPort() {
  std::random_device random;
  while (true) {
    auto port = static_cast<std::uint16_t>(20'000 + random() % 12'000);
    int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bool is_free = ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    if (is_free) return port;
  }
}

/// Containers often have 64 MB there, which is too little.
TempDir::Where WhereThereIsSpace(TempDir::Where where) {
  struct statvfs memory {};
  if (::statvfs("/dev/shm", &memory) != 0) return TempDir::Where::kDisk;
  return memory.f_bavail * memory.f_frsize < kNeededBytes ? TempDir::Where::kDisk : where;
}

/// Unique among the processes that share a server.
std::string FreshName() {
  static std::atomic<int> count = 0;
  return "test_" + std::to_string(::getpid()) + "_" + std::to_string(++count);
}

/// Names a process for good: a number may come again after its end.
std::string ProcessName(pid_t pid) {
  std::string status = ReadFile("/proc/" + std::to_string(pid) + "/stat");
  std::istringstream words(status.substr(status.rfind(')') + 1));
  std::string word;
  for (int i = 0; i < 20; ++i) words >> word;  // the 22nd of the line: when it was started
  return std::to_string(pid) + "-" + word;
}

}  // namespace

PrivatePostgres& PrivatePostgres::Shared() {
  const char* until = std::getenv("HOLDFAST_POSTGRES_UNTIL");
  if (until != nullptr && std::string(until) == "parent") {
    static PrivatePostgres of_parent{OfParent()};
    return of_parent;
  }
  static PrivatePostgres of_process;
  return of_process;
}

PrivatePostgres::PrivatePostgres(const Options& options)
    : standby_of_(options.standby_of),
      dir_(std::in_place, WhereThereIsSpace(options.where)),
      path_(dir_->path()) {
  Create(options);
  EndUpon("read -r _");  // returns when this process ends, or the object
  Start();
  if (standby_of_ == nullptr) Execute(kGrants);
}

PrivatePostgres::PrivatePostgres(OfParent) {
  const bool in_memory = WhereThereIsSpace(TempDir::Where::kMemory) == TempDir::Where::kMemory;
  path_ = (in_memory ? fs::path("/dev/shm") : fs::temp_directory_path()) /
          ("holdfast-postgres-" + ProcessName(::getppid()));
  fs::create_directory(path_);
  // Whoever comes first starts the server, the others wait for it.
  int lock = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  HF_CHECK(lock >= 0 && ::flock(lock, LOCK_EX) == 0);
  if (std::string port = ReadFile(path_ / "port"); !port.empty()) {
    port_ = static_cast<std::uint16_t>(std::stoi(port));
    ::close(lock);
    return;
  }
  for (const fs::directory_entry& left : fs::directory_iterator(path_)) fs::remove_all(left);
  Create({});
  EndUpon("tail --pid=" + std::to_string(::getppid()) + " -s 0.1 -f /dev/null");
  guard_->LetGo();  // others may still be using the server
  Start();
  Execute(kGrants);
  std::ofstream(path_ / "port") << port_;
  ::close(lock);
}

PrivatePostgres::~PrivatePostgres() = default;

void PrivatePostgres::Create(const Options& options) {
  if (const passwd* user = Unprivileged()) {
    HF_CHECK(::chown(path_.c_str(), user->pw_uid, user->pw_gid) == 0);
  }
  const std::string user = "--username=" + std::string(kSuperuser);
  if (const PrivatePostgres* other = options.standby_of) {
    RunTool({"pg_basebackup", "--pgdata=" + data(), user, "--host=" + other->socket_directory(),
             "--port=" + std::to_string(other->port()), "--write-recovery-conf",
             "--checkpoint=fast", "--no-sync"});
  } else {
    RunTool({"initdb", "--pgdata=" + data(), user, "--auth=trust", "--no-sync", "--encoding=UTF8",
             "--locale=C"});
  }
  std::ofstream file(fs::path(data()) / "postgresql.conf", std::ios::app);
  file << kSettings << "unix_socket_directories = '" << socket_directory() << "'\n";
  for (const std::string& setting : options.settings) file << setting << "\n";
  file.close();
  HF_CHECK(file.good());
}

void PrivatePostgres::EndUpon(const std::string& end) {
  const std::string script = end + R"(
"$1"/pg_ctl -D "$2"/data -m immediate stop
rm -rf "$2")";
  guard_.emplace(script, std::vector<std::string>{FindPrograms(), path_});
}

void PrivatePostgres::RunTool(std::vector<std::string> words) const {
  const std::string output = path_.string() + "/" + words[0] + ".txt";
  words[0] = FindPrograms() / words[0];
  pid_t pid = Spawn(AsUnprivileged(words), output);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) throw std::runtime_error(words[0] + " failed: " + ReadFile(output));
}

void PrivatePostgres::Stop(StopMode mode) {
  Connection ends_with_it;
  {
    base::MutexLock lock(mutex_);
    std::swap(ends_with_it, idle_);
  }
  RunTool({"pg_ctl", "--pgdata=" + data(), "--wait",
           mode == StopMode::kFast ? "--mode=fast" : "--mode=immediate", "stop"});
}

void PrivatePostgres::Start() {
  const bool is_first = port_ == 0;
  for (int tries_left = 10;; --tries_left) {
    if (is_first) port_ = PickPort();
    try {
      RunTool({"pg_ctl", "--pgdata=" + data(), "--wait", "--timeout=60", "--log=" + log_file(),
               "--options=-p " + std::to_string(port_), "start"});
      return;
    } catch (const std::runtime_error& error) {
      // Somebody else took the port since.
      const std::string log = ReadLog();
      const bool is_taken = log.find("Address already in use") != std::string::npos;
      if (!is_first || !is_taken || tries_left == 0) throw std::runtime_error(error.what() + log);
    }
  }
}

void PrivatePostgres::Restart(StopMode mode) {
  Stop(mode);
  Start();
}

void PrivatePostgres::Promote() {
  HF_CHECK(standby_of_ != nullptr);
  const std::string end = standby_of_->Execute("SELECT pg_current_wal_lsn()").at(0).at(0);
  while (Execute("SELECT pg_last_wal_replay_lsn() >= '" + end + "'").at(0).at(0) != "t") {
  }
  Execute("SELECT pg_promote()");
}

std::string PrivatePostgres::Url(const std::string& schema, std::uint16_t port) const {
  return std::string("postgres://") + kUser + "@127.0.0.1:" + std::to_string(port) + "/" +
         kDatabase + "?schema=" + schema;
}

std::string PrivatePostgres::SocketUrl(const std::string& schema) const {
  std::string host;
  for (char c : socket_directory()) host += c == '/' ? "%2F" : std::string(1, c);
  return std::string("postgres://") + kUser + "@" + host + ":" + std::to_string(port_) + "/" +
         kDatabase + "?schema=" + schema;
}

int PrivatePostgres::KillBackends() {
  return static_cast<int>(
      Execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
              "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
          .size());
}

std::vector<std::vector<std::string>> PrivatePostgres::Execute(const std::string& sql) const {
  Connection connection = TakeConnection();
  std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection.get(), sql.c_str()),
                                                       PQclear);
  ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY) {
    throw std::runtime_error(PQerrorMessage(connection.get()));
  }
  std::vector<std::vector<std::string>> rows(static_cast<std::size_t>(PQntuples(result.get())));
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    for (int column = 0; column < PQnfields(result.get()); ++column) {
      rows[static_cast<std::size_t>(row)].push_back(PQgetvalue(result.get(), row, column));
    }
  }
  KeepConnection(std::move(connection));
  return rows;
}

void PrivatePostgres::Disconnect::operator()(pg_conn* connection) const {
  PQfinish(connection);
}

PrivatePostgres::Connection PrivatePostgres::TakeConnection() const {
  {
    base::MutexLock lock(mutex_);
    if (idle_) return std::move(idle_);
  }
  const std::string target = "host='" + socket_directory() + "' port=" + std::to_string(port_) +
                             " user=" + kSuperuser + " dbname=" + kDatabase;
  return Connection(PQconnectdb(target.c_str()));  // PQexec says why, if it is not connected
}

void PrivatePostgres::KeepConnection(Connection connection) const {
  std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection.get(), "DISCARD ALL"),
                                                       PQclear);
  if (PQresultStatus(result.get()) != PGRES_COMMAND_OK) return;  // within a transaction
  base::MutexLock lock(mutex_);
  std::swap(idle_, connection);  // what was there ends when nobody holds the mutex
}

std::string PrivatePostgres::ReadLog() const {
  return ReadFile(log_file());
}

PostgresSchema::PostgresSchema(PrivatePostgres& server) : server_(server), name_(FreshName()) {}

PostgresSchema::~PostgresSchema() {
  try {
    // A connection that somebody left open in a transaction must not hold up all other tests.
    server_.Execute(
        "SET lock_timeout = '5s'; SET client_min_messages = 'warning'; "
        "DROP SCHEMA IF EXISTS " +
        name_ + " CASCADE");
  } catch (const std::runtime_error&) {
    // The test stopped the server, which takes the schema with it when it goes.
  }
}

namespace {

base::Mutex idle_schemas_mutex{base::LockRank::kWait};
std::vector<std::string> idle_schemas HF_GUARDED_BY(idle_schemas_mutex);

std::string TakeSchema() {
  base::MutexLock lock(idle_schemas_mutex);
  if (idle_schemas.empty()) return FreshName();
  std::string name = std::move(idle_schemas.back());
  idle_schemas.pop_back();
  return name;
}

}  // namespace

ReusedPostgresSchema::ReusedPostgresSchema() : name_(TakeSchema()) {}

std::string ReusedPostgresSchema::url() const {
  return IsThroughPooler() ? Pooler::Shared().Url(name_) : PrivatePostgres::Shared().Url(name_);
}

ReusedPostgresSchema::~ReusedPostgresSchema() {
  const std::string empty = R"(
SET lock_timeout = '5s';
DO $$
DECLARE
  item record;
BEGIN
  FOR item IN SELECT tablename AS name FROM pg_tables WHERE schemaname = '$schema' LOOP
    EXECUTE format('DELETE FROM $schema.%I', item.name)
      || CASE item.name WHEN 'holdfast_meta' THEN format(' WHERE name <> %L', 'schema') ELSE '' END;
  END LOOP;
  FOR item IN SELECT sequencename AS name FROM pg_sequences WHERE schemaname = '$schema' LOOP
    EXECUTE format('ALTER SEQUENCE $schema.%I RESTART', item.name);
  END LOOP;
END $$)";
  try {
    PrivatePostgres::Shared().Execute(std::regex_replace(empty, std::regex("[$]schema"), name_));
  } catch (const std::runtime_error&) {
    return;  // a connection that somebody left open holds a lock: nobody shall use it again
  }
  base::MutexLock lock(idle_schemas_mutex);
  idle_schemas.push_back(name_);
}

}  // namespace holdfast::testing
