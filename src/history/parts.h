// A history cut into parts that have nothing to do with one another: objects that no call touches
// together. A history is linearizable if and only if each of its parts is.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "history/rules_model.h"

namespace holdfast::history {

struct Part {
  std::vector<std::string> objects;  ///< "record ticket/T-1": see ObjectsOf
  std::vector<std::unique_ptr<Posed>> posed{};
  std::vector<Call<RulesModel>> calls{};  ///< of the posed, in the same order
  /// How many calls were going on at the same time, at most. Those that never ended are not
  /// counted.
  int clients = 0;
};

/// The rules of every kind that the history declares. Errors: invalid_argument (a kind was changed
/// in between: which rules a call has met cannot be told).
Result<StoredKinds> KindsOf(const History& history);

/// The kinds are those of KindsOf.
std::vector<Part> PartsOf(const History& history, const StoredKinds& kinds);

}  // namespace holdfast::history
