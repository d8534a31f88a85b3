// The bugs that tools/mutants.py switches on are in the builds that ask for them, and in no other.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>

namespace holdfast::base {
namespace {

TEST(Mutants, AreOnlyInABuildThatIsMadeForThem) {
  // Put together here, so that this program does not contain it because of this test.
  std::string name = "HOLDFAST";
  name += "_MUTANT";
  std::ifstream program("/proc/self/exe", std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(program), {}};
  ASSERT_GT(bytes.size(), 1'000'000U);
#if defined(HOLDFAST_MUTANTS)
  EXPECT_NE(bytes.find(name), std::string::npos);
#else
  EXPECT_EQ(bytes.find(name), std::string::npos);
#endif
}

}  // namespace
}  // namespace holdfast::base
