#include "engine/sqlite/named_files.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace holdfast::engine {
namespace {

std::string TellLinks(const std::string& path, nlink_t links) {
  return fmt::format(
      "{} has {} names (hard links), and each name would have a log of its own: remove all but one",
      path, links);
}

}  // namespace

std::optional<std::string> SecondName(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || status.st_nlink <= 1) return std::nullopt;
  return TellLinks(path, status.st_nlink);
}

Result<NamedFiles> NamedFiles::Of(const std::string& path, Connection& connection) {
  NamedFiles files;
  // SQLite compares the name with the descriptor that it has open.
  int has_moved = 0;
  const int code =
      sqlite3_file_control(connection.handle(), "main", SQLITE_FCNTL_HAS_MOVED, &has_moved);
  if (code == SQLITE_NOTFOUND) return files;
  const std::string database = std::filesystem::absolute(path);
  const char* resolved = sqlite3_db_filename(connection.handle(), "main");
  const std::string beside = resolved == nullptr ? database : resolved;
  for (const std::string& name : {database, beside + "-wal", beside + "-shm"}) {
    struct stat status {};
    if (has_moved != 0 || ::stat(name.c_str(), &status) != 0) {
      return Fail(ErrorCode::kUnavailable,
                  fmt::format("{} was moved while it was opened", has_moved != 0 ? path : name));
    }
    files.names_.push_back({name, status.st_dev, status.st_ino});
  }
  if (std::optional<FileChange> change = files.Look()) {
    return Fail(ErrorCode::kUnavailable, std::move(change->what));
  }
  return files;
}

std::optional<FileChange> NamedFiles::Look() const {
  for (const Named& name : names_) {
    struct stat status {};
    if (::stat(name.path.c_str(), &status) != 0) {
      const bool is_gone = errno == ENOENT || errno == ENOTDIR;
      return FileChange{
          .is_moved = true,
          .what = fmt::format("{} {}", name.path,
                              is_gone ? "was deleted or renamed"
                                      : std::string("is out of reach: ") + std::strerror(errno))};
    }
    if (status.st_dev != name.device || status.st_ino != name.inode) {
      return FileChange{.is_moved = true,
                        .what = name.path + " was replaced: it is not the file that is open"};
    }
    if (&name == &names_.front() && status.st_nlink > 1) {
      return FileChange{.is_moved = false, .what = TellLinks(name.path, status.st_nlink)};
    }
  }
  return std::nullopt;
}

}  // namespace holdfast::engine
