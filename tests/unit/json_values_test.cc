// Equality of JSON values, against exact arithmetic.
#include "base/json_values.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "testing/environment.h"

namespace holdfast::base {
namespace {

/// A number that is exact in 128 bits once it is doubled: an integer of 64 bits, or a half or a
/// whole that a double holds.
struct ExactNumber {
  Json json;
  __int128 twice;
};

class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : random_(seed) {}

  ExactNumber Draw() {
    // Near where doubles begin to skip integers, near the ends of 64 bits, and near 0.
    static constexpr __int128 kCentres[] = {0, __int128{1} << 53, __int128{1} << 54,
                                            __int128{1} << 62, __int128{1} << 63};
    __int128 centre = kCentres[random_() % std::size(kCentres)];
    if (random_() % 2 == 0) centre = -centre;
    __int128 whole = centre + static_cast<int>(random_() % 9) - 4;
    const bool fits = whole >= std::numeric_limits<std::int64_t>::min() &&
                      whole <= std::numeric_limits<std::int64_t>::max();
    if (fits && random_() % 2 == 0) return {static_cast<std::int64_t>(whole), whole * 2};
    double real = static_cast<double>(whole) + (random_() % 3 == 0 ? 0.5 : 0.0);
    return {real, static_cast<__int128>(real * 2)};
  }

  /// A value, and one that equals it though its numbers may be written otherwise.
  std::pair<Json, Json> Twins(int depth) {
    switch (depth == 0 ? random_() % 4 : random_() % 6) {
      case 0: {
        auto small = static_cast<std::int64_t>(random_() % 7) - 3;
        return {small, static_cast<double>(small)};
      }
      case 1: {
        Json number = Draw().json;
        return {number, number};
      }
      case 2:
        return {"1", "1"};
      case 3:
        return {random_() % 2 == 0 ? Json(true) : Json(), Json()};
      case 4: {
        Json a = Json::array();
        Json b = Json::array();
        for (auto n = random_() % 4; n > 0; --n) Add(a, b, depth);
        return {a, b};
      }
      default: {
        Json a = Json::object();
        Json b = Json::object();
        for (auto n = random_() % 4; n > 0; --n) {
          auto [x, y] = Twins(depth - 1);
          std::string name(1, static_cast<char>('a' + random_() % 3));
          a[name] = x;
          b[name] = y;
        }
        return {a, b};
      }
    }
  }

 private:
  void Add(Json& a, Json& b, int depth) {
    auto [x, y] = Twins(depth - 1);
    a.push_back(x);
    b.push_back(y);
  }

  std::mt19937_64 random_;
};

/// As AreEqual, by other means: by the texts' own tree, numbers by exact arithmetic.
bool AreEqualByArithmetic(const Json& a, const Json& b) {
  auto twice = [](const Json& number) {
    return number.is_number_integer() ? __int128{number.get<std::int64_t>()} * 2
                                      : static_cast<__int128>(number.get<double>() * 2);
  };
  if (a.is_number() && b.is_number()) return twice(a) == twice(b);
  if (a.type() != b.type() || a.size() != b.size()) return false;
  if (!a.is_structured()) return a.dump() == b.dump();
  for (const auto& [name, value] : a.items()) {
    if (a.is_object() && !b.contains(name)) return false;
    const Json& other = a.is_object() ? b[name] : b[std::stoul(name)];
    if (!AreEqualByArithmetic(value, other)) return false;
  }
  return true;
}

TEST(JsonValues, K12_NumbersAreEqualIfAndOnlyIfTheirValuesAre) {
  Numbers numbers(testing::PrintedSeed());
  for (int i = 0; i < 20'000; ++i) {
    ExactNumber a = numbers.Draw();
    ExactNumber b = numbers.Draw();
    int order = CompareNumbers(a.json, b.json);
    int expected = a.twice < b.twice ? -1 : static_cast<int>(a.twice > b.twice);
    ASSERT_EQ(order < 0 ? -1 : static_cast<int>(order > 0), expected) << a.json << " " << b.json;
    ASSERT_EQ(AreEqual(a.json, b.json), expected == 0) << a.json << " " << b.json;
    ASSERT_EQ(CanonicalText(a.json) == CanonicalText(b.json), expected == 0)
        << a.json << " " << b.json;
  }
}

TEST(JsonValues, K12_ValuesAreEqualIfAndOnlyIfTheirCanonicalTextsAre) {
  Numbers numbers(testing::PrintedSeed());
  for (int i = 0; i < 20'000; ++i) {
    auto [a, b] = numbers.Twins(3);
    const bool expected = AreEqualByArithmetic(a, b);
    ASSERT_EQ(AreEqual(a, b), expected) << a << "\n" << b;
    ASSERT_EQ(CanonicalText(a) == CanonicalText(b), expected) << a << "\n" << b;
    ASSERT_TRUE(AreEqual(a, *ParseJson("canonical", CanonicalText(a)))) << a;
  }
}

TEST(JsonValues, K12_CanonicalTextIsThatOfIntegersAsTheyAre) {
  auto canonical = [](const char* text) { return CanonicalText(*ParseJson("x", text)); };
  EXPECT_EQ(canonical(R"([1.0, "a\u0001", {"b":[-0.0,1e2],"a":null}, [], {}])"),
            R"([1,"a\u0001",{"a":null,"b":[0,100]},[],{}])");
  EXPECT_EQ(canonical("[9007199254740993,9007199254740992.0,0.5,1e300,true]"),
            "[9007199254740993,9007199254740992,0.5,1e+300,true]");
}

}  // namespace
}  // namespace holdfast::base
