#include "engine/sqlite/doctor.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "base/engine_clock.h"
#include "base/result.h"
#include "base/text.h"
#include "engine/sqlite/connection.h"
#include "engine/sqlite/named_files.h"
#include "engine/sqlite/schema.h"

namespace holdfast::engine {
namespace {

constexpr std::int64_t kMebibyte = 1 << 20;

struct ExaminedFile {
  std::string path;
  Connection& connection;
  const ExamineOptions& options;
};

struct FileCheck {
  std::string_view name;
  Result<Finding> (*look)(const ExaminedFile&);
};

std::int64_t SizeOf(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? status.st_size : 0;
}

/// The folder, too: the log stands beside the file.
Finding CheckFile(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || status.st_size == 0) {
    return Broken(ErrorCode::kNotFound, fmt::format("there is no store at {}", path),
                  "name the right file, or make it: holdfast migrate");
  }
  if (!S_ISREG(status.st_mode)) {
    return Broken(ErrorCode::kUnavailable, path + " is not a file", "name the file of the store");
  }
  if (std::optional<std::string> links = SecondName(path)) {
    return Broken(ErrorCode::kUnavailable, *std::move(links),
                  "remove every name but the one that programs open");
  }
  std::string folder = std::filesystem::path(path).parent_path();
  if (folder.empty()) folder = ".";
  for (const std::string& place : {path, folder}) {
    if (::access(place.c_str(), R_OK | W_OK) == 0) continue;
    return Broken(ErrorCode::kUnavailable, place + " may not be read and written by this user",
                  "give it to the user that the store runs as, and examine it as that user");
  }
  return Healthy(fmt::format("{}, {}", path, ByteText(status.st_size)));
}

Result<Finding> CheckFileSystem(const ExaminedFile& file) {
  struct statfs system {};
  if (::statfs(file.path.c_str(), &system) != 0) {
    return Fail(ErrorCode::kUnavailable, "the file system does not say what it is");
  }
  // As statfs(2) has them.
  constexpr unsigned kNetwork[] = {0x6969, 0xFF534D42, 0xFE534D42, 0x517B, 0x564C, 0x5346414F};
  for (unsigned type : kNetwork) {
    if (static_cast<unsigned>(system.f_type) != type) continue;
    return Broken(ErrorCode::kUnavailable, "a network file system, whose locks do not hold",
                  "keep the file on a disk of this machine, or use the server or PostgreSQL");
  }
  return Healthy("one of this machine");
}

Result<Finding> CheckDisk(const ExaminedFile& file) {
  struct statvfs disk {};
  if (::statvfs(file.path.c_str(), &disk) != 0) {
    return Fail(ErrorCode::kUnavailable, "the disk does not say how full it is");
  }
  const auto unit = static_cast<std::int64_t>(disk.f_frsize);
  const std::int64_t free = static_cast<std::int64_t>(disk.f_bavail) * unit;
  std::string found = fmt::format("{} of {} free", ByteText(free),
                                  ByteText(static_cast<std::int64_t>(disk.f_blocks) * unit));
  constexpr std::string_view kAdvice = "make room: on a full disk every write is refused";
  if (free < 16 * kMebibyte) {
    return Broken(ErrorCode::kUnavailable, std::move(found), std::string(kAdvice));
  }
  if (free < 256 * kMebibyte) return Suspect(std::move(found), std::string(kAdvice));
  return Healthy(std::move(found));
}

Result<Finding> CheckVersion(const ExaminedFile& file) {
  HF_ASSIGN_OR_RETURN(std::int64_t version, file.connection.QueryInteger("PRAGMA user_version"));
  if (version == kSchemaVersion) return Healthy(fmt::format("{}, that of this program", version));
  if (version < kSchemaVersion) {
    return Suspect(fmt::format("{}; this program has {}", version, kSchemaVersion),
                   "holdfast migrate, once every process runs a version that knows it");
  }
  return Broken(ErrorCode::kCorrupt,
                fmt::format("{}, newer than {} of this program, which therefore refuses it",
                            version, kSchemaVersion),
                "upgrade Holdfast here");
}

/// What is in a database, and the statements that made it.
Result<std::map<std::string, std::string>> ObjectsOf(Connection& connection) {
  Statement list;
  HF_RETURN_IF_ERROR(
      list.Prepare(connection,
                   "SELECT type || ' ' || name, coalesce(sql, '') "
                   "FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"));
  std::map<std::string, std::string> objects;
  while (true) {
    HF_ASSIGN_OR_RETURN(bool is_there, list.Step());
    if (!is_there) return objects;
    objects.emplace(list.Text(0), list.Text(1));
  }
}

Result<Finding> CheckObjects(const ExaminedFile& file) {
  HF_ASSIGN_OR_RETURN(std::int64_t version, file.connection.QueryInteger("PRAGMA user_version"));
  if (version != kSchemaVersion) return Healthy("not compared: the schema has another version");
  HF_ASSIGN_OR_RETURN(auto model, Connection::Open(":memory:", Connection::Mode::kReadWrite));
  HF_RETURN_IF_ERROR(model->Execute(SchemaSql()));
  HF_ASSIGN_OR_RETURN(auto expected, ObjectsOf(*model));
  HF_ASSIGN_OR_RETURN(auto present, ObjectsOf(file.connection));
  std::vector<std::string> missing;
  std::string advice;
  for (const auto& [name, statement] : expected) {
    if (present.contains(name)) continue;
    if (missing.empty()) {
      advice = name.starts_with("index") ? statement : "restore the file from a backup";
    }
    missing.push_back(name + " is missing");
  }
  if (missing.empty()) {
    return Healthy(fmt::format("{} tables and indexes, all there", expected.size()));
  }
  return Broken(ErrorCode::kCorrupt, ListSome(missing), std::move(advice));
}

Result<Finding> CheckIntegrity(const ExaminedFile& file) {
  Result<std::optional<std::string>> answer = file.connection.QueryText("PRAGMA quick_check(1)");
  constexpr std::string_view kAdvice =
      "stop what uses the file, keep a copy, and restore it from a backup";
  if (!answer && answer.error().code == ErrorCode::kCorrupt) {
    return Broken(ErrorCode::kCorrupt, answer.error().message, std::string(kAdvice));
  }
  if (!answer && answer.error().code == ErrorCode::kCancelled) {
    return Suspect("the file is too large to be looked through in this time",
                   "look again with a longer --timeout");
  }
  if (!answer) return std::unexpected(answer.error());
  if (*answer == "ok") return Healthy("every page is as it should be (quick_check)");
  std::string found = answer->value_or("nothing is known");
  for (char& c : found) c = c == '\n' ? ' ' : c;
  return Broken(ErrorCode::kCorrupt, std::move(found), std::string(kAdvice));
}

Result<Finding> CheckJournal(const ExaminedFile& file) {
  HF_ASSIGN_OR_RETURN(std::optional<std::string> mode,
                      file.connection.QueryText("PRAGMA journal_mode"));
  if (mode == "wal") return Healthy("wal; a store commits with synchronous=FULL");
  return Suspect(fmt::format("journal_mode is {}, so somebody has changed it", mode.value_or("?")),
                 "open the store once, which switches it back to wal, and find out who did");
}

Result<Finding> CheckLog(const ExaminedFile& file) {
  const std::int64_t size = SizeOf(file.path + "-wal");
  std::string found =
      fmt::format("{} beside a file of {}", ByteText(size), ByteText(SizeOf(file.path)));
  // Four times as much as a store lets gather before it carries the log over.
  if (size < 64 * kMebibyte) return Healthy(std::move(found));
  return Suspect(std::move(found),
                 fmt::format("end who reads in a transaction that stays open (fuser -v {}): the "
                             "log can only be carried over up to its snapshot",
                             file.path));
}

Result<Finding> CheckFreePages(const ExaminedFile& file) {
  HF_ASSIGN_OR_RETURN(std::int64_t size, file.connection.QueryInteger("PRAGMA page_size"));
  HF_ASSIGN_OR_RETURN(std::int64_t all, file.connection.QueryInteger("PRAGMA page_count"));
  HF_ASSIGN_OR_RETURN(std::int64_t free, file.connection.QueryInteger("PRAGMA freelist_count"));
  std::string found = fmt::format("{} of {} pages, {}", free, all, ByteText(free * size));
  if (free * size < 64 * kMebibyte || free <= all / 2) return Healthy(std::move(found));
  return Suspect(std::move(found),
                 "nothing, if it was so full once and will be again; else VACUUM it while nobody "
                 "uses it");
}

/// The store's clock is tied to the wall clock when the machine starts (EngineClock).
Result<Finding> CheckClock(const ExaminedFile& file) {
  const Clock& clock = *file.options.clock;
  HF_ASSIGN_OR_RETURN(std::optional<base::ClockAnchor> anchor, ReadClockAnchor(file.connection));
  if (!anchor || anchor->boot_id != clock.BootId()) {
    return Healthy("set when a store opens the file, for the first time since the machine started");
  }
  const base::EngineClock store_clock(clock, *std::move(anchor));
  if (store_clock.Ahead() == Duration::zero()) return Healthy("that of the machine");
  return Suspect(fmt::format("the store's is {}, the machine's {}",
                             base::FormatTime(store_clock.Now()), base::FormatTime(clock.Wall())),
                 "see that the machine's clock is right; the store's follows when the machine is "
                 "restarted, and no lease ends early for it");
}

/// Only what is a store, and for reading alone unless said otherwise. Closing the last connection
/// carries the log over into the file, which is the business of a store; only an empty one, made by
/// opening, goes again.
Result<std::unique_ptr<Connection>> OpenToLook(const std::string& path,
                                               const ExamineOptions& options) {
  HF_ASSIGN_OR_RETURN(auto connection, Connection::Open(path, Connection::Mode::kReadOnly));
  connection->SetLogIsKept(SizeOf(path + "-wal") > 0);
  const auto limit = std::chrono::ceil<std::chrono::milliseconds>(options.statement_limit);
  sqlite3_busy_timeout(connection->handle(), static_cast<int>(limit.count()));
  HF_RETURN_IF_ERROR(connection->Execute("PRAGMA query_only=1"));
  HF_RETURN_IF_ERROR(CheckOwner(*connection, path));
  return connection;
}

/// What only a write tells: it leaves every row as it is.
Result<Finding> CheckWrites(const ExaminedFile& file) {
  constexpr std::string_view kAdvice = "see what the error says; until then writes are refused";
  HF_ASSIGN_OR_RETURN(std::int64_t version, file.connection.QueryInteger("PRAGMA user_version"));
  if (version != kSchemaVersion) return Healthy("not tried: the schema has another version");
  HF_ASSIGN_OR_RETURN(auto connection, OpenToLook(file.path, file.options));
  Result<void> written = connection->Execute(
      "PRAGMA query_only=0; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; BEGIN IMMEDIATE; "
      "UPDATE counters SET last_time = last_time; COMMIT");
  if (written) return Healthy("a commit is durable");
  if (written.error().code == ErrorCode::kBusy) return std::unexpected(std::move(written).error());
  return Broken(written.error().code, written.error().message, std::string(kAdvice));
}

constexpr FileCheck kFileChecks[] = {
    {"schema_version", &CheckVersion},
    {"schema_objects", &CheckObjects},
    {"integrity", &CheckIntegrity},
    {"journal", &CheckJournal},
    {"log_size", &CheckLog},
    {"free_pages", &CheckFreePages},
    {"file_system", &CheckFileSystem},
    {"disk", &CheckDisk},
    {"clock", &CheckClock},
    {"writes", &CheckWrites},
};

/// Which instructions a statement may run until.
struct Limit {
  SteadyTime end;
};

int StopAtLimit(void* limit) {
  return std::chrono::steady_clock::now() >= static_cast<Limit*>(limit)->end ? 1 : 0;
}

/// What stops a check is bad news about the file, if it is not that somebody else has it.
Finding FileNotSeen(const Error& error) {
  if (error.code == ErrorCode::kCorrupt) {
    return Broken(error.code, error.message, "name the file of a store, or restore it");
  }
  return Suspect("could not be looked at: " + error.message,
                 "look again, with a longer --timeout or while nobody uses the file");
}

void RunFileChecks(const ExaminedFile& file, std::vector<Finding>& findings) {
  constexpr int kInstructions = 10'000;
  for (const FileCheck& check : kFileChecks) {
    Limit limit{std::chrono::steady_clock::now() + file.options.statement_limit};
    sqlite3_progress_handler(file.connection.handle(), kInstructions, &StopAtLimit, &limit);
    Result<Finding> looked = check.look(file);
    sqlite3_progress_handler(file.connection.handle(), 0, nullptr, nullptr);
    Finding finding = looked ? *std::move(looked) : FileNotSeen(looked.error());
    finding.check = check.name;
    findings.push_back(std::move(finding));
  }
}

}  // namespace

Examination ExamineSqlite(const std::string& path, const ExamineOptions& options) {
  Examination examination{.store = "sqlite:" + path, .findings = {}};
  Finding finding = CheckFile(path);
  if (finding.health != Health::kFail) {
    auto connection = OpenToLook(path, options);
    if (connection) {
      finding.check = "file";
      examination.findings.push_back(std::move(finding));
      RunFileChecks({path, **connection, options}, examination.findings);
      return examination;
    }
    finding = Broken(connection.error().code, connection.error().message,
                     "see that it is the file of a store, and that this user may open it");
  }
  finding.check = "file";
  examination.findings.push_back(std::move(finding));
  return examination;
}

}  // namespace holdfast::engine
