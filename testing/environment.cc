#include "testing/environment.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <system_error>

#include "base/check.h"

namespace holdfast::testing {

int Scaled(int count, int least) {
  const char* text = std::getenv("HOLDFAST_TEST_SCALE");
  double scale = text != nullptr ? std::atof(text) : 1.0;
  return std::max(least, static_cast<int>(count * scale));
}

int Rounds(int ordinary, int long_run) {
  const char* text = std::getenv("HOLDFAST_LONG");
  return text != nullptr && std::string(text) == "1" ? long_run : ordinary;
}

std::uint64_t PrintedSeed() {
  const char* text = std::getenv("HOLDFAST_SEED");
  std::random_device device;
  std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 10) : device();
  std::fprintf(stderr, "seed %llu (replay with HOLDFAST_SEED=%llu)\n",
               static_cast<unsigned long long>(seed), static_cast<unsigned long long>(seed));
  return seed;
}

TempDir::TempDir(Where where) {
  std::string parent = std::filesystem::temp_directory_path().string();
  if (where == Where::kMemory && ::access("/dev/shm", W_OK) == 0) parent = "/dev/shm";
  std::string pattern = parent + "/holdfast-XXXXXX";
  HF_CHECK(::mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace holdfast::testing
