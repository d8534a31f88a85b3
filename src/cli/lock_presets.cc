#include "cli/lock_presets.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "base/text.h"
#include "cli/input.h"
#include "cli/output.h"
#include "rules/limits.h"
#include "rules/names.h"

namespace holdfast::cli {
namespace {

std::unexpected<Error> Bad(std::string_view text, std::string_view why) {
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("lock preset '{}': {}", Printable(text, 100), why));
}

/// A duration of `least` to `most`, or what is wrong with it.
Result<Duration> ParseBounded(std::string_view what, std::string_view text, Duration least,
                              Duration most) {
  HF_ASSIGN_OR_RETURN(Duration value, base::ParseDuration(text));
  if (value >= least && value <= most) return value;
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("{} is {} ({} to {})", what, base::FormatDuration(value),
                          base::FormatDuration(least), base::FormatDuration(most)));
}

}  // namespace

Result<void> AddLockPreset(std::string_view text, std::vector<LockPreset>& presets) {
  const std::size_t equals = text.find('=');
  const std::size_t slash = text.find('/', equals == std::string_view::npos ? 0 : equals);
  if (equals == std::string_view::npos || slash == std::string_view::npos) {
    return Bad(text, "is not NAME=TTL/WAIT, such as BILLING=20s/15s");
  }
  const std::string_view name = text.substr(0, equals);
  if (auto valid = rules::CheckName("its name", name); !valid) {
    return Bad(text, valid.error().message);
  }
  auto ttl = ParseBounded("ttl", text.substr(equals + 1, slash - equals - 1), rules::kLockTtlMin,
                          rules::kLockTtlMax);
  if (!ttl) return Bad(text, ttl.error().message);
  auto wait = ParseBounded("wait", text.substr(slash + 1), Duration::zero(), rules::kLockWaitMax);
  if (!wait) return Bad(text, wait.error().message);
  if (std::ranges::find(presets, name, &LockPreset::name) == presets.end()) {
    presets.push_back({std::string(name), *ttl, *wait});
  }
  return {};
}

Result<void> AddLockPresets(std::string_view list, std::vector<LockPreset>& presets) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    const std::string_view text = TrimBlanks(list.substr(0, comma));
    if (!text.empty()) HF_RETURN_IF_ERROR(AddLockPreset(text, presets));
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return {};
}

}  // namespace holdfast::cli
