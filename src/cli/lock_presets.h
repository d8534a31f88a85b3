// Named leases and waits as configuration: "BILLING=20s/15s" (LOCK-11).
#pragma once

#include <string_view>
#include <vector>

#include "holdfast/error.h"
#include "holdfast/lock.h"

namespace holdfast::cli {

/// Adds the preset, unless there is one of its name: the first one counts.
/// Errors: invalid_argument (not NAME=TTL/WAIT, or out of the limits of locks).
Result<void> AddLockPreset(std::string_view text, std::vector<LockPreset>& presets);

/// Adds those of a list with commas; empty entries are nothing. Errors: those of AddLockPreset.
Result<void> AddLockPresets(std::string_view list, std::vector<LockPreset>& presets);

}  // namespace holdfast::cli
