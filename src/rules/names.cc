// The names of states and operations, the same in C++, SQL, JSON and on the command line; and what
// names may look like.
#include "rules/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <type_traits>

#include "base/utf8.h"
#include "holdfast/batch.h"
#include "rules/limits.h"

namespace holdfast {
namespace {

constexpr std::array<std::string_view, kJobStateCount> kStateNames = {
    "scheduled", "pending", "processing", "completed", "failed", "cancelled"};

// In the order of the variant Operation.
constexpr std::string_view kOperationNames[] = {
    "job.enqueue",   "job.claim",        "job.complete",  "job.fail",          "job.release",
    "job.snooze",    "job.renew",        "job.progress",  "job.cancel",        "job.retry",
    "job.delete",    "queue.set",        "record.create", "record.replace",    "record.merge",
    "record.patch",  "record.increment", "record.append", "record.transition", "record.action",
    "record.delete", "kind.apply",       "transfer",      "transfer.post",     "transfer.void",
    "lock.acquire",  "lock.renew",       "lock.release",  "lock.break",        "lock.await",
    "lock.leave",    "lock.keep"};
static_assert(std::size(kOperationNames) == std::variant_size_v<Operation>);
static_assert(std::is_same_v<std::variant_alternative_t<7, Operation>, ProgressJob>);
static_assert(std::is_same_v<std::variant_alternative_t<18, Operation>, TransitionRecord>);
static_assert(std::is_same_v<std::variant_alternative_t<22, Operation>, MakeTransfer>);
static_assert(std::is_same_v<std::variant_alternative_t<28, Operation>, BreakLock>);

constexpr std::array<std::string_view, kTransferStateCount> kTransferStateNames = {
    "pending", "posted", "voided", "expired"};

}  // namespace

std::string_view NameOf(JobState state) {
  return kStateNames[static_cast<std::size_t>(state)];
}

std::optional<JobState> ParseJobState(std::string_view name) {
  for (std::size_t i = 0; i < kStateNames.size(); ++i) {
    if (kStateNames[i] == name) return static_cast<JobState>(i);
  }
  return std::nullopt;
}

std::string_view NameOf(TransferState state) {
  return kTransferStateNames[static_cast<std::size_t>(state)];
}

std::optional<TransferState> ParseTransferState(std::string_view name) {
  for (std::size_t i = 0; i < kTransferStateNames.size(); ++i) {
    if (kTransferStateNames[i] == name) return static_cast<TransferState>(i);
  }
  return std::nullopt;
}

std::string_view NameOf(LockMode mode) {
  return mode == LockMode::kExclusive ? "exclusive" : "shared";
}

std::optional<LockMode> ParseLockMode(std::string_view name) {
  for (LockMode mode : {LockMode::kExclusive, LockMode::kShared}) {
    if (NameOf(mode) == name) return mode;
  }
  return std::nullopt;
}

std::string_view NameOf(LockPolicy policy) {
  return policy == LockPolicy::kAll ? "all" : "any";
}

std::optional<LockPolicy> ParseLockPolicy(std::string_view name) {
  for (LockPolicy policy : {LockPolicy::kAll, LockPolicy::kAny}) {
    if (NameOf(policy) == name) return policy;
  }
  return std::nullopt;
}

std::string LockNameOf(const RecordKey& key) {
  return "record:" + ToString(key);
}

std::string ToString(const RecordKey& key) {
  return key.kind + "/" + key.id;
}

std::string_view NameOf(const Operation& operation) {
  return kOperationNames[operation.index()];
}

namespace rules {
namespace {

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == ':' || c == '-';
}

Result<void> CheckCharacters(std::string_view what, std::string_view name, bool with_at) {
  if (name.empty()) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is empty (1-{} characters)", what, kNameBytes));
  }
  if (name.size() > kNameBytes) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{} has {} characters (at most {})", what, name.size(), kNameBytes));
  }
  if (with_at && (name == "." || name == "..")) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is {}, which a path cannot carry", what, name));
  }
  auto fits = [&](char c) { return IsNameCharacter(c) || (with_at && c == '@'); };
  if (std::ranges::all_of(name, fits)) return {};
  return Fail(
      ErrorCode::kInvalidArgument,
      fmt::format("{} has a character outside [A-Za-z0-9_.:{}-]", what, with_at ? "@" : ""));
}

}  // namespace

Result<void> CheckName(std::string_view what, std::string_view name) {
  return CheckCharacters(what, name, false);
}

Result<void> CheckLockName(std::string_view name) {
  auto refuse = [](std::string message) {
    return Fail(ErrorCode::kInvalidArgument, std::move(message));
  };
  if (name.empty()) return refuse(fmt::format("lock name is empty (1-{} bytes)", kLockNameBytes));
  if (name.size() > kLockNameBytes) {
    return refuse(fmt::format("lock name has {} bytes (at most {})", name.size(), kLockNameBytes));
  }
  if (name == "." || name == "..") {
    return refuse(fmt::format("lock name is {}, which a path cannot carry", name));
  }
  if (!base::IsUtf8(name)) return refuse("lock name is not UTF-8");
  auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  if (std::ranges::any_of(name, is_control)) return refuse("lock name has a control character");
  return {};
}

Result<void> CheckRecordName(std::string_view what, std::string_view name) {
  return CheckCharacters(what, name, true);
}

}  // namespace rules
}  // namespace holdfast
