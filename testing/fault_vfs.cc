#include "testing/fault_vfs.h"

#include <sqlite3.h>

#include <cstring>
#include <new>

#include "base/check.h"

namespace holdfast::testing {
namespace {

FaultVfs* g_vfs = nullptr;  // VFS callbacks carry no pointer of ours

/// SQLite allocates szOsFile bytes: this, and the real file right behind it.
struct FaultFile {
  sqlite3_file base;
  sqlite3_file* real;
};

sqlite3_file* RealOf(sqlite3_file* file) {
  return reinterpret_cast<FaultFile*>(file)->real;
}

int Close(sqlite3_file* file) {
  return RealOf(file)->pMethods->xClose(RealOf(file));
}
int Read(sqlite3_file* file, void* data, int size, sqlite3_int64 at) {
  if (g_vfs->Strikes(FaultVfs::Kind::kRead)) return SQLITE_IOERR_READ;
  return RealOf(file)->pMethods->xRead(RealOf(file), data, size, at);
}
int Write(sqlite3_file* file, const void* data, int size, sqlite3_int64 at) {
  if (g_vfs->Strikes(FaultVfs::Kind::kWrite)) return SQLITE_IOERR_WRITE;
  if (g_vfs->Strikes(FaultVfs::Kind::kFull)) {
    // As on a full disk, a part of it may fit.
    (void)RealOf(file)->pMethods->xWrite(RealOf(file), data, size / 2, at);
    return SQLITE_FULL;
  }
  return RealOf(file)->pMethods->xWrite(RealOf(file), data, size, at);
}
int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  if (g_vfs->Strikes(FaultVfs::Kind::kWrite)) return SQLITE_IOERR_TRUNCATE;
  return RealOf(file)->pMethods->xTruncate(RealOf(file), size);
}
int Sync(sqlite3_file* file, int flags) {
  if (g_vfs->Strikes(FaultVfs::Kind::kSync)) return SQLITE_IOERR_FSYNC;
  g_vfs->NoteSync();
  return RealOf(file)->pMethods->xSync(RealOf(file), flags);
}
int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  return RealOf(file)->pMethods->xFileSize(RealOf(file), size);
}
int LockFile(sqlite3_file* file, int level) {
  return RealOf(file)->pMethods->xLock(RealOf(file), level);
}
int UnlockFile(sqlite3_file* file, int level) {
  return RealOf(file)->pMethods->xUnlock(RealOf(file), level);
}
int CheckReservedLock(sqlite3_file* file, int* result) {
  return RealOf(file)->pMethods->xCheckReservedLock(RealOf(file), result);
}
int FileControl(sqlite3_file* file, int what, void* argument) {
  return RealOf(file)->pMethods->xFileControl(RealOf(file), what, argument);
}
int SectorSize(sqlite3_file* file) {
  return RealOf(file)->pMethods->xSectorSize(RealOf(file));
}
int DeviceCharacteristics(sqlite3_file* file) {
  return RealOf(file)->pMethods->xDeviceCharacteristics(RealOf(file));
}
int ShmMap(sqlite3_file* file, int page, int size, int extend, void volatile** map) {
  return RealOf(file)->pMethods->xShmMap(RealOf(file), page, size, extend, map);
}
int ShmLock(sqlite3_file* file, int offset, int count, int flags) {
  return RealOf(file)->pMethods->xShmLock(RealOf(file), offset, count, flags);
}
void ShmBarrier(sqlite3_file* file) {
  RealOf(file)->pMethods->xShmBarrier(RealOf(file));
}
int ShmUnmap(sqlite3_file* file, int remove) {
  return RealOf(file)->pMethods->xShmUnmap(RealOf(file), remove);
}
int Fetch(sqlite3_file* file, sqlite3_int64 at, int size, void** page) {
  return RealOf(file)->pMethods->xFetch(RealOf(file), at, size, page);
}
int Unfetch(sqlite3_file* file, sqlite3_int64 at, void* page) {
  return RealOf(file)->pMethods->xUnfetch(RealOf(file), at, page);
}

constexpr sqlite3_io_methods kMethods = {3,
                                         Close,
                                         Read,
                                         Write,
                                         Truncate,
                                         Sync,
                                         FileSize,
                                         LockFile,
                                         UnlockFile,
                                         CheckReservedLock,
                                         FileControl,
                                         SectorSize,
                                         DeviceCharacteristics,
                                         ShmMap,
                                         ShmLock,
                                         ShmBarrier,
                                         ShmUnmap,
                                         Fetch,
                                         Unfetch};

int Open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  auto* fault = reinterpret_cast<FaultFile*>(file);
  fault->base.pMethods = nullptr;
  fault->real = reinterpret_cast<sqlite3_file*>(fault + 1);
  int code = g_vfs->real()->xOpen(g_vfs->real(), name, fault->real, flags, out_flags);
  if (fault->real->pMethods != nullptr) fault->base.pMethods = &kMethods;
  return code;
}

}  // namespace

FaultVfs::FaultVfs() : real_(sqlite3_vfs_find(nullptr)) {
  HF_CHECK(g_vfs == nullptr);
  g_vfs = this;
  vfs_ = new sqlite3_vfs(*real_);  // everything else is the real one's
  vfs_->zName = "holdfast-fault";
  vfs_->szOsFile = static_cast<int>(sizeof(FaultFile)) + real_->szOsFile;
  vfs_->xOpen = Open;
  HF_CHECK(sqlite3_vfs_register(vfs_, 1) == SQLITE_OK);
}

FaultVfs::~FaultVfs() {
  sqlite3_vfs_unregister(vfs_);
  sqlite3_vfs_register(real_, 1);
  delete vfs_;
  g_vfs = nullptr;
}

void FaultVfs::Break(Kind kind, int after) {
  countdown_ = after;
  kind_ = static_cast<int>(kind);
}

void FaultVfs::Heal() {
  kind_ = -1;
}

bool FaultVfs::Strikes(Kind kind) {
  if (kind_ != static_cast<int>(kind)) return false;
  if (countdown_-- > 0) return false;
  ++struck_;
  return true;
}

}  // namespace holdfast::testing
