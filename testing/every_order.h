// The definition of linearizability, tried out: for checking the checker, on histories of a few
// calls.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "history/linearizability.h"

namespace holdfast::testing {

/// Looks at every order of the calls, and for what is unknown at every set of them.
template <typename Model>
bool IsLinearizableByTrying(const Model& model, const std::vector<history::Call<Model>>& calls) {
  std::vector<std::size_t> order(calls.size());
  std::iota(order.begin(), order.end(), 0U);
  const std::int64_t never = std::numeric_limits<std::int64_t>::max();
  do {
    typename Model::State state = model.Initial();
    std::int64_t latest =
        std::numeric_limits<std::int64_t>::min();  // no call can happen before those that come
                                                   // first were made
    bool is_right = true;
    for (std::size_t i = 0; i < order.size() && is_right; ++i) {
      const history::Call<Model>& call = calls[order[i]];
      const bool is_unknown = call.end == history::CallEnd::kUnknown;
      latest = std::max(latest, call.invoked);
      // Whatever is unknown may end the story early; an order in which it comes last leaves it out.
      if (is_unknown && std::all_of(order.begin() + static_cast<std::ptrdiff_t>(i), order.end(),
                                    [&](std::size_t rest) {
                                      return calls[rest].end == history::CallEnd::kUnknown;
                                    })) {
        break;
      }
      if ((is_unknown ? never : call.returned) < latest) is_right = false;
      auto after = model.Step(state, call.input, is_unknown ? nullptr : &call.answer);
      if (!after) is_right = false;
      if (after) state = *std::move(after);
    }
    if (is_right) return true;
  } while (std::next_permutation(order.begin(), order.end()));
  return false;
}

}  // namespace holdfast::testing
