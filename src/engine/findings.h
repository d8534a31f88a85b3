// What an examination of a store finds, for `holdfast doctor`. Each engine examines what is its
// own: it changes nothing, and what goes wrong while it looks is a finding as well.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/error.h"
#include "holdfast/time.h"

namespace holdfast::engine {

enum class Health : std::uint8_t {
  kOk,
  kWarn,  ///< the store does what it promises, but somebody should look
  kFail,  ///< it refuses to open, or will not keep its promises
};
std::string_view NameOf(Health health);

/// The answer of one check. Texts are one line each, and may quote what comes from outside.
struct Finding {
  std::string check;  ///< the same in every release: scripts look for it
  Health health = Health::kOk;
  std::string found;
  std::string advice;                     ///< what to do; empty if nothing needs to be done
  ErrorCode code = ErrorCode::kInternal;  ///< of a failure: what a program would be told
};

// Of a check that is named by whoever asked for it.
Finding Healthy(std::string found);
Finding Suspect(std::string found, std::string advice);
Finding Broken(ErrorCode code, std::string found, std::string advice);

struct ExamineOptions {
  Duration statement_limit = std::chrono::seconds(10);
  /// What has been open for so long is worth a warning.
  Duration long_transaction = std::chrono::minutes(5);
  const Clock* clock = &Clock::System();
};

struct Examination {
  std::string store;  ///< what may be said of its URL: no password
  std::vector<Finding> findings;
};

/// "a; b; c and 4 more".
std::string ListSome(const std::vector<std::string>& texts);

/// "17 bytes", "3.2 MiB".
std::string ByteText(std::int64_t bytes);

}  // namespace holdfast::engine
