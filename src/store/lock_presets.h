// Named leases and waits: the shipped ones, and those of the program (LOCK-11).
#pragma once

#include <string_view>
#include <vector>

#include "holdfast/batch.h"

namespace holdfast::store {

/// Immutable.
class LockPresets {
 public:
  /// `own` come before shipped ones of the same name.
  explicit LockPresets(std::vector<LockPreset> own);

  /// Errors: invalid_argument, which lists the names there are.
  Result<LockPreset> Find(std::string_view name) const;

  /// Fills in what the request leaves to its preset. Errors: those of Find.
  Result<void> Resolve(AcquireLock& request) const;
  /// Likewise every lock.acquire of the batch, but for their waits. Errors: with the operation.
  Result<void> Resolve(Batch& batch) const;

 private:
  std::vector<LockPreset> presets_;
};

}  // namespace holdfast::store
