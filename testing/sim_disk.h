// A file system in memory, for SQLite, that forgets and fails as real ones do: it knows of every
// file what is synced and what is not, and can lose what is not.
#pragma once

#include <sqlite3.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"

namespace holdfast::testing {

enum class DiskFault : std::uint8_t {
  kWrite,       ///< nothing is written
  kShortWrite,  ///< the first half is written
  kFull,        ///< no room: the first half is written
  kWriteDone,   ///< an error, although all is written
  kSync,        ///< an error; what is not synced may still be, by the next sync
  kSyncLost,    ///< an error; what was not synced is gone, and reads show so at once
  kSyncHidden,  ///< an error; what was not synced can still be read, but no sync will write it
  kSyncDone,    ///< an error, although all is synced
  kRead,        ///< nothing is read
  kOpen,        ///< a file cannot be opened
  kDelete,      ///< a file cannot be deleted
  kDeath,       ///< in the middle of a write, sync or delete the machine or process stops
};
constexpr std::size_t kDiskFaultCount = 12;
std::string_view NameOf(DiskFault fault);

/// What is left after a crash.
enum class Crash : std::uint8_t {
  kProcess,    ///< everything that was written: the operating system lives on
  kPower,      ///< what was synced, and nothing else
  kPowerTorn,  ///< of the rest the first writes, the last of them in part
  kPowerSome,  ///< of the rest any writes, in whole or in part
};
constexpr std::size_t kCrashCount = 4;
std::string_view NameOf(Crash crash);

/// Registered as SQLite's default file system for as long as it lives: stores that are opened
/// meanwhile are kept in it. Open none before it, and close all before its end. One at a time.
/// Equal seeds and equal calls lead to equal operations, SQLite's own chance included.
///
/// As on Linux, a new file's name is durable once the file was synced, or another that SQLite syncs
/// with its folder (a log, a journal); a deleted file may come back until then. Threads: any.
class SimDisk {
 public:
  explicit SimDisk(std::uint64_t seed = 1);
  ~SimDisk();
  SimDisk(const SimDisk&) = delete;
  SimDisk& operator=(const SimDisk&) = delete;

  enum class Lasts : std::uint8_t { kOnce, kForEver };

  /// The operation after the next `after` to which this fault applies fails, and those that follow
  /// too until Heal, if it lasts. Takes the place of the fault before.
  void Break(DiskFault fault, std::uint64_t after = 0, Lasts lasts = Lasts::kForEver);
  void Heal();

  /// The process, or the machine, is gone: files that are open now fail from now on, and what is
  /// opened sees what is left. Ends a death and a fault.
  void CrashAs(Crash crash);
  /// Since kDeath has struck, until CrashAs: every operation fails.
  bool is_dead() const;

  /// How often a fault or a crash really struck: a test whose fault never did has tested nothing.
  std::uint64_t fired(DiskFault fault) const;
  std::uint64_t fired() const;
  std::uint64_t crashed(Crash crash) const;
  /// How many operations there were to which the fault applies.
  std::uint64_t seen(DiskFault fault) const;
  /// Writes that crashes took back, in whole or in part.
  std::uint64_t lost_writes() const;
  std::uint64_t torn_writes() const;
  std::uint64_t syncs() const { return seen(DiskFault::kSync); }

  /// A hash over all operations so far, their places and sizes.
  std::uint64_t trace() const;

  /// The files as they are, and files to begin with, all synced.
  using Image = std::map<std::string, std::string>;
  Image Save() const;
  void Load(const Image& image);

 private:
  friend struct SimVfs;

  struct Change {
    std::uint64_t order = 0;  // among the changes of all files
    std::uint64_t at = 0;     // of a truncation: the new size
    std::string data;
    bool is_truncation = false;
  };
  struct Inode;
  /// What SQLite holds of an open file.
  struct File {
    sqlite3_file base;
    SimDisk* disk;
    std::shared_ptr<Inode> inode;
    std::string deleted_on_close;  // its name, if it is
    std::uint64_t life = 0;
    int lock = 0;  // SQLITE_LOCK_...
    bool syncs_folder = false;
    bool maps_shared = false;
    std::vector<std::shared_ptr<char[]>> kept;  // what it has mapped, for as long as it is open
    std::array<std::int8_t, SQLITE_SHM_NLOCK> shared_locks{};  // 1: shared, -1: exclusive
  };
  struct Inode {
    std::string now;
    std::string durable;
    std::vector<Change> unsynced;
    std::vector<File*> open;
    // The shared memory of a database's connections.
    std::vector<std::shared_ptr<char[]>> shared;
    std::array<int, SQLITE_SHM_NLOCK> shared_locks{};  // how many share it; -1: exclusive
    int shared_users = 0;
  };
  using InodePtr = std::shared_ptr<Inode>;
  enum class Operation : std::uint8_t { kWrite, kTruncate, kSync, kRead, kOpen, kDelete };

  std::optional<DiskFault> Strike(Operation operation) HF_REQUIRES(mutex_);
  static bool Applies(DiskFault fault, Operation operation);
  bool IsGone(const File& file) const HF_REQUIRES(mutex_);
  void Do(Inode& inode, Change change) HF_REQUIRES(mutex_);
  void Trace(Operation operation, std::uint64_t at, std::size_t size) HF_REQUIRES(mutex_);
  static void Apply(const Change& change, std::string& data);

  // The operations of SQLite's interface, with its codes.
  int Open(const char* name, File& file, int flags);
  void Close(File& file);
  int Delete(const std::string& name, bool syncs_folder);
  int Access(const std::string& name, bool& exists) const;
  int Write(File& file, std::string_view data, std::uint64_t at);
  int Truncate(File& file, std::uint64_t size);
  int Sync(File& file);
  int Read(File& file, char* data, std::size_t size, std::uint64_t at);
  int Size(const File& file, std::uint64_t& size) const;
  int Lock(File& file, int level);
  int Unlock(File& file, int level);
  bool IsReserved(const File& file) const;
  int MapShared(File& file, std::size_t page, std::size_t size, bool extends, void** map);
  int LockShared(File& file, int first, int count, int flags);
  void UnmapShared(File& file);
  void Randomize(char* bytes, std::size_t size);

  void UnlockShared(File& file, std::size_t slot) HF_REQUIRES(mutex_);
  void DropShared(File& file) HF_REQUIRES(mutex_);
  void KeepSome(Crash crash) HF_REQUIRES(mutex_);
  void KeepPart(const Change& change, std::string& data) HF_REQUIRES(mutex_);
  std::uint64_t Below(std::uint64_t bound) HF_REQUIRES(mutex_) { return random_() % bound; }

  sqlite3_vfs* real_ = nullptr;
  std::unique_ptr<sqlite3_vfs> vfs_;

  mutable base::Mutex mutex_{base::LockRank::kLog};
  std::mt19937_64 random_ HF_GUARDED_BY(mutex_);
  std::map<std::string, InodePtr> names_ HF_GUARDED_BY(mutex_);
  std::map<std::string, InodePtr> durable_names_ HF_GUARDED_BY(mutex_);
  std::uint64_t life_ HF_GUARDED_BY(mutex_) = 0;  // files opened in an earlier one are gone
  bool is_dead_ HF_GUARDED_BY(mutex_) = false;
  std::uint64_t changes_ HF_GUARDED_BY(mutex_) = 0;
  std::optional<DiskFault> fault_ HF_GUARDED_BY(mutex_);
  std::uint64_t countdown_ HF_GUARDED_BY(mutex_) = 0;
  Lasts lasts_ HF_GUARDED_BY(mutex_) = Lasts::kForEver;
  std::array<std::uint64_t, kDiskFaultCount> fired_ HF_GUARDED_BY(mutex_){};
  std::array<std::uint64_t, kDiskFaultCount> seen_ HF_GUARDED_BY(mutex_){};
  std::array<std::uint64_t, kCrashCount> crashed_ HF_GUARDED_BY(mutex_){};
  std::uint64_t lost_writes_ HF_GUARDED_BY(mutex_) = 0;
  std::uint64_t torn_writes_ HF_GUARDED_BY(mutex_) = 0;
  std::uint64_t trace_ HF_GUARDED_BY(mutex_) = 0xcbf29ce484222325;
};

}  // namespace holdfast::testing
