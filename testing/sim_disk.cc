#include "testing/sim_disk.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

namespace holdfast::testing {
namespace {

using base::MutexLock;

// What a disk writes whole or not at all.
constexpr std::uint64_t kSector = 512;

constexpr std::uint64_t kHashFactor = 0x9e3779b97f4a7c15;

std::size_t Index(auto value) {
  return static_cast<std::size_t>(value);
}

}  // namespace

std::string_view NameOf(DiskFault fault) {
  static constexpr std::string_view kNames[] = {"write", "short write", "full",        "write done",
                                                "sync",  "sync lost",   "sync hidden", "sync done",
                                                "read",  "open",        "delete",      "death"};
  static_assert(std::size(kNames) == kDiskFaultCount);
  return kNames[Index(fault)];
}

std::string_view NameOf(Crash crash) {
  static constexpr std::string_view kNames[] = {"process", "power", "power torn", "power some"};
  static_assert(std::size(kNames) == kCrashCount);
  return kNames[Index(crash)];
}

// ---- faults ----

void SimDisk::Break(DiskFault fault, std::uint64_t after, Lasts lasts) {
  MutexLock lock(mutex_);
  fault_ = fault;
  countdown_ = after;
  lasts_ = lasts;
}

void SimDisk::Heal() {
  MutexLock lock(mutex_);
  fault_.reset();
}

bool SimDisk::Applies(DiskFault fault, Operation operation) {
  switch (fault) {
    case DiskFault::kWrite:
    case DiskFault::kWriteDone:
      return operation == Operation::kWrite || operation == Operation::kTruncate;
    case DiskFault::kShortWrite:
    case DiskFault::kFull:
      return operation == Operation::kWrite;
    case DiskFault::kSync:
    case DiskFault::kSyncLost:
    case DiskFault::kSyncHidden:
    case DiskFault::kSyncDone:
      return operation == Operation::kSync;
    case DiskFault::kRead:
      return operation == Operation::kRead;
    case DiskFault::kOpen:
      return operation == Operation::kOpen;
    case DiskFault::kDelete:
      return operation == Operation::kDelete;
    case DiskFault::kDeath:
      return operation != Operation::kRead && operation != Operation::kOpen;
  }
  return false;
}

std::optional<DiskFault> SimDisk::Strike(Operation operation) {
  for (std::size_t i = 0; i < kDiskFaultCount; ++i) {
    if (Applies(static_cast<DiskFault>(i), operation)) ++seen_[i];
  }
  if (!fault_ || !Applies(*fault_, operation)) return std::nullopt;
  if (countdown_ > 0) {
    --countdown_;
    return std::nullopt;
  }
  const DiskFault fault = *fault_;
  ++fired_[Index(fault)];
  if (fault == DiskFault::kDeath) is_dead_ = true;
  if (lasts_ == Lasts::kOnce || is_dead_) fault_.reset();
  return fault;
}

bool SimDisk::is_dead() const {
  MutexLock lock(mutex_);
  return is_dead_;
}
std::uint64_t SimDisk::fired(DiskFault fault) const {
  MutexLock lock(mutex_);
  return fired_[Index(fault)];
}
std::uint64_t SimDisk::fired() const {
  MutexLock lock(mutex_);
  std::uint64_t sum = 0;
  for (std::uint64_t count : fired_) sum += count;
  return sum;
}
std::uint64_t SimDisk::crashed(Crash crash) const {
  MutexLock lock(mutex_);
  return crashed_[Index(crash)];
}
std::uint64_t SimDisk::seen(DiskFault fault) const {
  MutexLock lock(mutex_);
  return seen_[Index(fault)];
}
std::uint64_t SimDisk::lost_writes() const {
  MutexLock lock(mutex_);
  return lost_writes_;
}
std::uint64_t SimDisk::torn_writes() const {
  MutexLock lock(mutex_);
  return torn_writes_;
}
std::uint64_t SimDisk::trace() const {
  MutexLock lock(mutex_);
  return trace_;
}

/// Not what is written: SQLite leaves in the free parts of a page what its memory happened to hold.
void SimDisk::Trace(Operation operation, std::uint64_t at, std::size_t size) {
  for (std::uint64_t word : {std::uint64_t{Index(operation)}, at, std::uint64_t{size}}) {
    trace_ = (trace_ ^ word) * kHashFactor;
    trace_ ^= trace_ >> 29;
  }
}

// ---- crashes ----

SimDisk::Image SimDisk::Save() const {
  MutexLock lock(mutex_);
  Image image;
  for (const auto& [name, inode] : names_) image[name] = inode->now;
  return image;
}

void SimDisk::Load(const Image& image) {
  MutexLock lock(mutex_);
  names_.clear();
  for (const auto& [name, bytes] : image) {
    auto inode = std::make_shared<Inode>();
    inode->now = inode->durable = bytes;
    names_[name] = std::move(inode);
  }
  durable_names_ = names_;
}

void SimDisk::CrashAs(Crash crash) {
  MutexLock lock(mutex_);
  ++life_;
  ++crashed_[Index(crash)];
  is_dead_ = false;
  fault_.reset();
  if (crash == Crash::kPowerTorn || crash == Crash::kPowerSome) {
    std::set<std::string> changed;
    for (const auto& [name, inode] : names_) changed.insert(name);
    for (const auto& [name, inode] : durable_names_) changed.insert(name);
    for (const std::string& name : changed) {
      if (Below(2) == 0) continue;
      auto now = names_.find(name);
      if (now == names_.end()) {
        durable_names_.erase(name);
      } else {
        durable_names_[name] = now->second;
      }
    }
  }
  if (crash != Crash::kProcess) {
    names_ = durable_names_;
    KeepSome(crash);
  }
  // No connection is left to share anything or to hold a lock.
  for (auto& [name, inode] : names_) {
    inode->open.clear();
    inode->shared.clear();
    inode->shared_locks = {};
    inode->shared_users = 0;
  }
}

/// Of the changes that are not synced.
void SimDisk::KeepSome(Crash crash) {
  std::vector<std::pair<Inode*, const Change*>> unsynced;
  for (const auto& [name, inode] : names_) {
    for (const Change& change : inode->unsynced) unsynced.emplace_back(inode.get(), &change);
  }
  std::ranges::sort(unsynced, {}, [](const auto& entry) { return entry.second->order; });
  std::size_t kept = 0;
  const std::size_t first = crash == Crash::kPowerTorn ? Below(unsynced.size() + 1) : 0;
  for (std::size_t i = 0; i < unsynced.size(); ++i) {
    auto [inode, change] = unsynced[i];
    const bool whole =
        crash == Crash::kPowerTorn ? i < first : crash == Crash::kPowerSome && Below(2) == 0;
    const bool part =
        !whole &&
        (crash == Crash::kPowerTorn ? i == first : crash == Crash::kPowerSome && Below(3) == 0);
    if (whole) {
      Apply(*change, inode->durable);
      ++kept;
    } else if (part && !change->is_truncation) {
      KeepPart(*change, inode->durable);
      ++torn_writes_;
    }
  }
  lost_writes_ += unsynced.size() - kept;
  for (auto& [name, inode] : names_) {
    inode->unsynced.clear();
    inode->now = inode->durable;
  }
}

/// Some of the sectors of a write.
void SimDisk::KeepPart(const Change& change, std::string& data) {
  for (std::uint64_t from = 0; from < change.data.size();) {
    const std::uint64_t to_border = kSector - (change.at + from) % kSector;
    const std::uint64_t size = std::min<std::uint64_t>(to_border, change.data.size() - from);
    if (Below(2) == 0)
      Apply({.at = change.at + from, .data = change.data.substr(from, size)}, data);
    from += size;
  }
}

void SimDisk::Apply(const Change& change, std::string& data) {
  if (change.is_truncation) {
    data.resize(change.at);
    return;
  }
  if (data.size() < change.at + change.data.size()) data.resize(change.at + change.data.size());
  data.replace(change.at, change.data.size(), change.data);
}

void SimDisk::Do(Inode& inode, Change change) {
  change.order = ++changes_;
  Trace(change.is_truncation ? Operation::kTruncate : Operation::kWrite, change.at,
        change.data.size());
  Apply(change, inode.now);
  inode.unsynced.push_back(std::move(change));
}

bool SimDisk::IsGone(const File& file) const {
  return is_dead_ || file.life != life_;
}

// ---- operations ----

int SimDisk::Open(const char* name, File& file, int flags) {
  MutexLock lock(mutex_);
  if (is_dead_ || Strike(Operation::kOpen)) return SQLITE_CANTOPEN;
  Trace(Operation::kOpen, 0, 0);
  constexpr int kJournals = SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL;
  if (name == nullptr) {
    file.inode = std::make_shared<Inode>();  // a temporary one
  } else if (auto found = names_.find(name); found != names_.end()) {
    file.inode = found->second;
  } else if ((flags & SQLITE_OPEN_CREATE) != 0) {
    file.inode = names_[name] = std::make_shared<Inode>();
    file.syncs_folder = (flags & kJournals) != 0;
  } else {
    return SQLITE_CANTOPEN;
  }
  if (name != nullptr && (flags & SQLITE_OPEN_DELETEONCLOSE) != 0) file.deleted_on_close = name;
  file.life = life_;
  file.inode->open.push_back(&file);
  return SQLITE_OK;
}

void SimDisk::Close(File& file) {
  MutexLock lock(mutex_);
  if (file.life != life_) return;
  std::erase(file.inode->open, &file);
  DropShared(file);
  if (!file.deleted_on_close.empty()) names_.erase(file.deleted_on_close);
}

int SimDisk::Delete(const std::string& name, bool syncs_folder) {
  MutexLock lock(mutex_);
  if (is_dead_) return SQLITE_IOERR_DELETE;
  const std::optional<DiskFault> fault = Strike(Operation::kDelete);
  if (fault && (fault != DiskFault::kDeath || Below(2) == 0)) return SQLITE_IOERR_DELETE;
  Trace(Operation::kDelete, 0, 0);
  if (names_.erase(name) == 0) return SQLITE_IOERR_DELETE_NOENT;
  if (fault) return SQLITE_IOERR_DELETE;
  if (syncs_folder) durable_names_ = names_;
  return SQLITE_OK;
}

int SimDisk::Access(const std::string& name, bool& exists) const {
  MutexLock lock(mutex_);
  if (is_dead_) return SQLITE_IOERR_ACCESS;
  auto found = names_.find(name);
  exists = found != names_.end() && !found->second->now.empty();
  return SQLITE_OK;
}

int SimDisk::Write(File& file, std::string_view data, std::uint64_t at) {
  MutexLock lock(mutex_);
  if (IsGone(file)) return SQLITE_IOERR_WRITE;
  const std::optional<DiskFault> fault = Strike(Operation::kWrite);
  if (fault == DiskFault::kWrite) return SQLITE_IOERR_WRITE;
  const bool is_full = fault == DiskFault::kFull;
  if (is_full || fault == DiskFault::kShortWrite) data = data.substr(0, data.size() / 2);
  Do(*file.inode, {.at = at, .data = std::string(data)});
  if (!fault) return SQLITE_OK;
  return is_full ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

int SimDisk::Truncate(File& file, std::uint64_t size) {
  MutexLock lock(mutex_);
  if (IsGone(file)) return SQLITE_IOERR_TRUNCATE;
  const std::optional<DiskFault> fault = Strike(Operation::kTruncate);
  if (fault == DiskFault::kWrite) return SQLITE_IOERR_TRUNCATE;
  Do(*file.inode, {.at = size, .is_truncation = true});
  return fault ? SQLITE_IOERR_TRUNCATE : SQLITE_OK;
}

int SimDisk::Sync(File& file) {
  MutexLock lock(mutex_);
  if (IsGone(file)) return SQLITE_IOERR_FSYNC;
  const std::optional<DiskFault> fault = Strike(Operation::kSync);
  Trace(Operation::kSync, 0, 0);
  Inode& inode = *file.inode;
  if (fault && fault != DiskFault::kSyncDone) {
    if (fault == DiskFault::kSyncLost) inode.now = inode.durable;
    if (fault == DiskFault::kSyncLost || fault == DiskFault::kSyncHidden) inode.unsynced.clear();
    return SQLITE_IOERR_FSYNC;
  }
  for (const Change& change : inode.unsynced) Apply(change, inode.durable);
  inode.unsynced.clear();
  if (std::exchange(file.syncs_folder, false)) durable_names_ = names_;
  for (const auto& [name, named] : names_) {
    if (named == file.inode) durable_names_[name] = named;
  }
  return fault ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

int SimDisk::Read(File& file, char* data, std::size_t size, std::uint64_t at) {
  MutexLock lock(mutex_);
  if (IsGone(file) || Strike(Operation::kRead)) return SQLITE_IOERR_READ;
  const std::string& bytes = file.inode->now;
  const std::size_t there = bytes.size() > at ? std::min<std::size_t>(size, bytes.size() - at) : 0;
  if (there > 0) std::memcpy(data, bytes.data() + at, there);
  std::memset(data + there, 0, size - there);
  return there == size ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

int SimDisk::Size(const File& file, std::uint64_t& size) const {
  MutexLock lock(mutex_);
  if (IsGone(file)) return SQLITE_IOERR_FSTAT;
  size = file.inode->now.size();
  return SQLITE_OK;
}

// ---- locks and shared memory, among the connections of this process ----

int SimDisk::Lock(File& file, int level) {
  MutexLock lock(mutex_);
  if (IsGone(file)) return SQLITE_IOERR_LOCK;
  if (file.lock >= level) return SQLITE_OK;
  int others = SQLITE_LOCK_NONE;
  for (const File* other : file.inode->open) {
    if (other != &file) others = std::max(others, other->lock);
  }
  if (level == SQLITE_LOCK_SHARED && others >= SQLITE_LOCK_PENDING) return SQLITE_BUSY;
  if (level >= SQLITE_LOCK_RESERVED && others >= SQLITE_LOCK_RESERVED) return SQLITE_BUSY;
  if (level == SQLITE_LOCK_EXCLUSIVE && others >= SQLITE_LOCK_SHARED) {
    file.lock = SQLITE_LOCK_PENDING;  // no new readers
    return SQLITE_BUSY;
  }
  file.lock = level;
  return SQLITE_OK;
}

int SimDisk::Unlock(File& file, int level) {
  MutexLock lock(mutex_);
  file.lock = std::min(file.lock, level);
  return SQLITE_OK;
}

bool SimDisk::IsReserved(const File& file) const {
  MutexLock lock(mutex_);
  if (IsGone(file)) return false;
  return std::ranges::any_of(file.inode->open,
                             [](const File* other) { return other->lock >= SQLITE_LOCK_RESERVED; });
}

int SimDisk::MapShared(File& file, std::size_t page, std::size_t size, bool extends, void** map) {
  MutexLock lock(mutex_);
  *map = nullptr;
  if (IsGone(file)) return SQLITE_IOERR_SHMMAP;
  Inode& inode = *file.inode;
  if (!file.maps_shared) {
    file.maps_shared = true;
    ++inode.shared_users;
  }
  if (page >= inode.shared.size() && !extends) return SQLITE_OK;
  while (inode.shared.size() <= page) {
    inode.shared.push_back(std::shared_ptr<char[]>(new char[size]()));
  }
  *map = inode.shared[page].get();
  file.kept.push_back(inode.shared[page]);  // also after a crash
  return SQLITE_OK;
}

int SimDisk::LockShared(File& file, int first, int count, int flags) {
  MutexLock lock(mutex_);
  if (IsGone(file)) return SQLITE_IOERR_SHMLOCK;
  Inode& inode = *file.inode;
  const auto begin = static_cast<std::size_t>(first);
  const auto end = begin + static_cast<std::size_t>(count);
  if ((flags & SQLITE_SHM_UNLOCK) != 0) {
    for (std::size_t slot = begin; slot < end; ++slot) UnlockShared(file, slot);
    return SQLITE_OK;
  }
  const bool is_shared = (flags & SQLITE_SHM_SHARED) != 0;
  for (std::size_t slot = begin; slot < end; ++slot) {
    if (file.shared_locks[slot] != 0) continue;
    if (is_shared ? inode.shared_locks[slot] < 0 : inode.shared_locks[slot] != 0)
      return SQLITE_BUSY;
  }
  for (std::size_t slot = begin; slot < end; ++slot) {
    if (file.shared_locks[slot] != 0) continue;
    file.shared_locks[slot] = is_shared ? 1 : -1;
    inode.shared_locks[slot] = is_shared ? inode.shared_locks[slot] + 1 : -1;
  }
  return SQLITE_OK;
}

void SimDisk::UnlockShared(File& file, std::size_t slot) {
  if (file.shared_locks[slot] > 0) --file.inode->shared_locks[slot];
  if (file.shared_locks[slot] < 0) file.inode->shared_locks[slot] = 0;
  file.shared_locks[slot] = 0;
}

void SimDisk::UnmapShared(File& file) {
  MutexLock lock(mutex_);
  if (file.life == life_) DropShared(file);
}

void SimDisk::DropShared(File& file) {
  for (std::size_t slot = 0; slot < SQLITE_SHM_NLOCK; ++slot) UnlockShared(file, slot);
  if (!std::exchange(file.maps_shared, false)) return;
  // The last to leave takes it along: whoever comes next reads the log anew.
  if (--file.inode->shared_users == 0) file.inode->shared.clear();
}

void SimDisk::Randomize(char* bytes, std::size_t size) {
  MutexLock lock(mutex_);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(random_());
}

}  // namespace holdfast::testing
