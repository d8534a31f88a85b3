// What a run of tests is told from outside: its size, its seed, and where it may put files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace holdfast::testing {

/// `count` times HOLDFAST_TEST_SCALE (1), but at least `least`: sanitizers run smaller loads.
int Scaled(int count, int least = 1);

/// `ordinary`, or `long_run` if HOLDFAST_LONG is 1 (tools/run_tests.py --long): how often a test of
/// chance tries.
int Rounds(int ordinary, int long_run);

/// HOLDFAST_SEED, or a fresh seed. Prints how to replay the run.
std::uint64_t PrintedSeed();

/// A directory of its own, removed with the object.
class TempDir {
 public:
  enum class Where {
    kDisk,
    kMemory,  ///< real files where the system has a file system in memory: no waiting for fsync
  };
  explicit TempDir(Where where = Where::kDisk);
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string File(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace holdfast::testing
