// Whether the files that a connection has open are still the files that are named. A store whose
// file was deleted, renamed or replaced writes into what no later process will find.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <vector>

#include "engine/sqlite/connection.h"

namespace holdfast::engine {

/// What is wrong with a name.
struct FileChange {
  /// The name means another file, or none. Otherwise the file has a second name (a hard link),
  /// under which another process would keep a second log.
  bool is_moved = false;
  std::string what;
};

/// The database, its log, and the log's index. Immutable; threads: any.
class NamedFiles {
 public:
  /// None: every check passes. For files that are not of the operating system (simulated disks).
  NamedFiles() = default;

  /// Those of a connection that has its log open. Errors: unavailable (already moved, or linked).
  static Result<NamedFiles> Of(const std::string& path, Connection& connection);

  /// Nothing, or what is wrong now. Costs a stat for each name.
  std::optional<FileChange> Look() const;

 private:
  struct Named {
    std::string path;
    dev_t device;
    ino_t inode;
  };
  std::vector<Named> names_;  // the database first
};

/// Nothing, or what is wrong with opening a file that has several names.
std::optional<std::string> SecondName(const std::string& path);

}  // namespace holdfast::engine
