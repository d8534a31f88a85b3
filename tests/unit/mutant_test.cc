// The bugs that tools/mutants.py switches on are in the builds that ask for them, and in no other.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace holdfast::base {
namespace {

TEST(Mutants, AreOnlyInABuildThatIsMadeForThem) {
  // Put together here, so that this program does not contain it because of this test.
  std::string name = "HOLDFAST";
  name += "_MUTANT";
  std::string bytes(std::filesystem::file_size("/proc/self/exe"), '\0');
  ASSERT_GT(bytes.size(), 1'000'000U);
  std::ifstream program("/proc/self/exe", std::ios::binary);
  ASSERT_TRUE(program.read(bytes.data(), static_cast<std::streamsize>(bytes.size())));
#if defined(HOLDFAST_MUTANTS)
  EXPECT_NE(bytes.find(name), std::string::npos);
#else
  EXPECT_EQ(bytes.find(name), std::string::npos);
#endif
}

}  // namespace
}  // namespace holdfast::base
