// The simulated disk as SQLite sees it.
#include <malloc.h>
#include <sqlite3.h>

#include <atomic>
#include <cstring>
#include <new>

#include "base/check.h"
#include "testing/sim_disk.h"

namespace holdfast::testing {

/// A friend, so that the functions whose addresses SQLite is given reach the disk.
struct SimVfs {
  using File = SimDisk::File;

  static File& Of(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }
  static SimDisk& Of(sqlite3_vfs* vfs) { return *static_cast<SimDisk*>(vfs->pAppData); }
  static std::uint64_t Offset(sqlite3_int64 at) { return static_cast<std::uint64_t>(at); }

  static int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* raw, int flags, int* out) {
    auto* file = new (raw) File{};
    file->disk = &Of(vfs);
    const int code = file->disk->Open(name, *file, flags);
    if (code != SQLITE_OK) {
      file->~File();
      raw->pMethods = nullptr;  // nothing to close
      return code;
    }
    file->base.pMethods = &kMethods;
    if (out != nullptr) *out = flags;
    return SQLITE_OK;
  }
  static int Close(sqlite3_file* raw) {
    File& file = Of(raw);
    file.disk->Close(file);
    file.~File();
    return SQLITE_OK;
  }
  static int Read(sqlite3_file* file, void* data, int size, sqlite3_int64 at) {
    return Of(file).disk->Read(Of(file), static_cast<char*>(data), static_cast<std::size_t>(size),
                               Offset(at));
  }
  static int Write(sqlite3_file* file, const void* data, int size, sqlite3_int64 at) {
    return Of(file).disk->Write(
        Of(file), {static_cast<const char*>(data), static_cast<std::size_t>(size)}, Offset(at));
  }
  static int Truncate(sqlite3_file* file, sqlite3_int64 size) {
    return Of(file).disk->Truncate(Of(file), Offset(size));
  }
  static int Sync(sqlite3_file* file, int) { return Of(file).disk->Sync(Of(file)); }
  static int FileSize(sqlite3_file* file, sqlite3_int64* size) {
    std::uint64_t bytes = 0;
    const int code = Of(file).disk->Size(Of(file), bytes);
    *size = static_cast<sqlite3_int64>(bytes);
    return code;
  }
  static int Lock(sqlite3_file* file, int level) { return Of(file).disk->Lock(Of(file), level); }
  static int Unlock(sqlite3_file* file, int level) {
    return Of(file).disk->Unlock(Of(file), level);
  }
  static int CheckReservedLock(sqlite3_file* file, int* result) {
    *result = Of(file).disk->IsReserved(Of(file)) ? 1 : 0;
    return SQLITE_OK;
  }
  static int FileControl(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
  static int SectorSize(sqlite3_file*) { return 4096; }
  static int DeviceCharacteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }
  static int ShmMap(sqlite3_file* file, int page, int size, int extends, void volatile** map) {
    return Of(file).disk->MapShared(Of(file), static_cast<std::size_t>(page),
                                    static_cast<std::size_t>(size), extends != 0,
                                    const_cast<void**>(map));
  }
  static int ShmLock(sqlite3_file* file, int first, int count, int flags) {
    return Of(file).disk->LockShared(Of(file), first, count, flags);
  }
  static void ShmBarrier(sqlite3_file*) { std::atomic_thread_fence(std::memory_order_seq_cst); }
  static int ShmUnmap(sqlite3_file* file, int) {
    Of(file).disk->UnmapShared(Of(file));
    return SQLITE_OK;
  }

  static int Delete(sqlite3_vfs* vfs, const char* name, int syncs_folder) {
    return Of(vfs).Delete(name, syncs_folder != 0);
  }
  static int Access(sqlite3_vfs* vfs, const char* name, int, int* result) {
    bool exists = false;
    const int code = Of(vfs).Access(name, exists);
    *result = exists ? 1 : 0;
    return code;
  }
  static int FullPathname(sqlite3_vfs*, const char* name, int size, char* out) {
    if (std::strlen(name) >= static_cast<std::size_t>(size)) return SQLITE_CANTOPEN;
    std::strcpy(out, name);
    return SQLITE_OK;
  }
  static int Randomness(sqlite3_vfs* vfs, int size, char* out) {
    Of(vfs).Randomize(out, static_cast<std::size_t>(size));
    return size;
  }

  static constexpr sqlite3_io_methods kMethods = {2,
                                                  Close,
                                                  Read,
                                                  Write,
                                                  Truncate,
                                                  Sync,
                                                  FileSize,
                                                  Lock,
                                                  Unlock,
                                                  CheckReservedLock,
                                                  FileControl,
                                                  SectorSize,
                                                  DeviceCharacteristics,
                                                  ShmMap,
                                                  ShmLock,
                                                  ShmBarrier,
                                                  ShmUnmap,
                                                  nullptr,
                                                  nullptr};
};

/// Files come and go by the thousand, of a megabyte each. By default the allocator gives each back
/// to the system, and gets the next page by page: that was 26 of 70 seconds of the I/O sweep.
static void KeepFreedMemory() {
  mallopt(M_MMAP_THRESHOLD, 64 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
}

SimDisk::SimDisk(std::uint64_t seed)
    : real_(sqlite3_vfs_find(nullptr)), vfs_(std::make_unique<sqlite3_vfs>(*real_)), random_(seed) {
  vfs_->zName = "holdfast-sim";
  vfs_->szOsFile = sizeof(File);
  vfs_->pAppData = this;
  vfs_->xOpen = SimVfs::Open;
  vfs_->xDelete = SimVfs::Delete;
  vfs_->xAccess = SimVfs::Access;
  vfs_->xFullPathname = SimVfs::FullPathname;
  vfs_->xRandomness = SimVfs::Randomness;
  KeepFreedMemory();
  HF_CHECK(sqlite3_vfs_find(vfs_->zName) == nullptr);
  HF_CHECK(sqlite3_vfs_register(vfs_.get(), 1) == SQLITE_OK);
  sqlite3_randomness(0, nullptr);  // from now on of this disk's
}

SimDisk::~SimDisk() {
  sqlite3_vfs_unregister(vfs_.get());
  sqlite3_vfs_register(real_, 1);
  sqlite3_randomness(0, nullptr);
}

}  // namespace holdfast::testing
