// Whether a history can be right: what is seen of it in the time it takes to sort it, and whether
// each of its parts is linearizable under the rules of the store.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "history/history.h"

namespace holdfast::history {

/// Proving that nothing explains a history takes ever longer with the number of clients and calls:
/// larger parts are not searched, and judged by what is seen of them.
inline constexpr int kMostClients = 8;
inline constexpr std::size_t kMostCalls = 1'000;

struct Violation {
  std::string invariant;  ///< "tokens rise", "linearizable"
  std::string detail;     ///< the values, in some lines

  bool operator==(const Violation&) const = default;
};

/// What is seen of a history of any length: tokens rise in the order in which they are granted and
/// are never given twice; no two leases that exclude each other are good at the same time; a job is
/// completed once; no version of a record and no id is given twice; and nobody reads what was
/// overwritten before the call.
std::vector<Violation> FindViolations(const History& history);

struct Checked {
  std::int64_t calls = 0;
  std::int64_t parts = 0;
  std::int64_t searched = 0;   ///< parts that were small enough to be searched
  std::int64_t too_large = 0;  ///< the others
  std::int64_t illegal = 0;
  std::int64_t undecided = 0;  ///< the search became too long: a failure, too
  std::int64_t steps = 0;
  std::vector<Violation> violations{};  ///< of invariants, and one for each part that is not right

  bool Held() const { return violations.empty(); }
};

/// Errors: invalid_argument (a kind's rules were changed in between).
Result<Checked> CheckHistory(const History& history, std::int64_t most_steps = 1'000'000);

}  // namespace holdfast::history
