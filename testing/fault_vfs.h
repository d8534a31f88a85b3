// A disk that fails when a test says so: an SQLite VFS in front of the real one.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

struct sqlite3_vfs;

namespace holdfast::testing {

/// Registered as the default VFS for as long as it lives: stores opened meanwhile use it. Open none
/// before it, and close all before its end. One at a time.
class FaultVfs {
 public:
  FaultVfs();
  ~FaultVfs();
  FaultVfs(const FaultVfs&) = delete;
  FaultVfs& operator=(const FaultVfs&) = delete;

  enum class Kind { kWrite, kSync, kFull, kRead };

  /// From the `after`-th such operation on (0: the next), each one fails until Heal.
  void Break(Kind kind, int after = 0);
  void Heal();

  /// How often something really failed: a test whose fault never struck has tested nothing.
  int struck() const { return struck_; }

  /// For the VFS's own functions. True: this operation is to fail.
  bool Strikes(Kind kind);
  sqlite3_vfs* real() const { return real_; }

 private:
  sqlite3_vfs* real_ = nullptr;
  sqlite3_vfs* vfs_ = nullptr;
  std::atomic<int> kind_ = -1;
  std::atomic<int> countdown_ = 0;
  std::atomic<int> struck_ = 0;
};

}  // namespace holdfast::testing
