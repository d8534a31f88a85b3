#include "store/lock_presets.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "base/utf8.h"

namespace holdfast {

std::span<const LockPreset> ShippedLockPresets() {
  using std::chrono::seconds;
  static const LockPreset presets[] = {{"DEFAULT", seconds(10), seconds(5)},
                                       {"JOB_WORKFLOW", seconds(15), seconds(10)},
                                       {"PARENT_CHILD", seconds(20), seconds(15)},
                                       {"JOB_STATUS", seconds(10), seconds(5)},
                                       {"TICKET_ESCALATION", seconds(15), seconds(10)},
                                       {"JSON_FIELD", seconds(10), seconds(5)}};
  return presets;
}

namespace store {

LockPresets::LockPresets(std::vector<LockPreset> own) : presets_(std::move(own)) {
  for (const LockPreset& shipped : ShippedLockPresets()) {
    if (std::ranges::find(presets_, shipped.name, &LockPreset::name) == presets_.end()) {
      presets_.push_back(shipped);
    }
  }
}

Result<LockPreset> LockPresets::Find(std::string_view name) const {
  auto found = std::ranges::find(presets_, name, &LockPreset::name);
  if (found != presets_.end()) return *found;
  std::vector<std::string_view> names;
  for (const LockPreset& preset : presets_) names.push_back(preset.name);
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("preset {} does not exist (but {})", base::CutUtf8(name, 64),
                          fmt::join(names, ", ")));
}

Result<void> LockPresets::Resolve(AcquireLock& request) const {
  if (request.preset.empty()) return {};
  HF_ASSIGN_OR_RETURN(LockPreset preset, Find(request.preset));
  if (!request.ttl) request.ttl = preset.ttl;
  if (!request.wait) request.wait = preset.wait;
  request.preset.clear();
  return {};
}

Result<void> LockPresets::Resolve(Batch& batch) const {
  for (std::size_t i = 0; i < batch.operations.size(); ++i) {
    auto* acquire = std::get_if<AcquireLock>(&batch.operations[i]);
    if (acquire == nullptr || acquire->preset.empty()) continue;
    Result<LockPreset> preset = Find(acquire->preset);
    if (!preset) {
      preset.error().detail.operation = static_cast<std::int64_t>(i);
      return std::unexpected(std::move(preset).error());
    }
    if (!acquire->ttl) acquire->ttl = preset->ttl;
    acquire->preset.clear();
  }
  return {};
}

}  // namespace store
}  // namespace holdfast
