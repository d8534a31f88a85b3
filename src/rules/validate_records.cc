// The limits of the operations on records, kinds and transfers. What is in their JSON is looked at
// when it is parsed.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/json.h"
#include "base/result.h"
#include "base/text.h"
#include "rules/limits.h"
#include "rules/names.h"
#include "rules/rows.h"
#include "rules/validate.h"

namespace holdfast::rules {
namespace {

Result<void> CheckKey(std::string_view what, const RecordKey& key) {
  HF_RETURN_IF_ERROR(CheckRecordName(fmt::format("{} kind", what), key.kind));
  return CheckRecordName(fmt::format("{} id", what), key.id);
}

Result<void> CheckPath(std::string_view path) {
  Result<base::JsonPointer> pointer = base::JsonPointer::Parse(path);
  if (!pointer) return Invalid("path: " + pointer.error().message);
  return CheckText("path", path, 0, path.size());
}

Result<void> CheckPageLimit(int limit) {
  if (limit >= 1 && limit <= kPageItems) return {};
  return Invalid(fmt::format("limit is {} (1 to {})", limit, kPageItems));
}

Result<void> CheckVersion(const std::optional<std::int64_t>& version) {
  if (!version || *version >= 0) return {};
  return Invalid(fmt::format("version is {} (0 or more)", *version));
}

struct Checker {
  Result<void> Target(const RecordTarget& op) {
    HF_RETURN_IF_ERROR(CheckKey("record", {op.kind, op.id}));
    if (op.parent) HF_RETURN_IF_ERROR(CheckKey("parent", *op.parent));
    return CheckVersion(op.version);
  }
  Result<void> Target(const RecordTarget& op, std::string_view what, std::string_view text) {
    HF_RETURN_IF_ERROR(Target(op));
    return CheckSize(what, text, kDataBytes);
  }

  Result<void> operator()(const CreateRecord& op) {
    HF_RETURN_IF_ERROR(CheckRecordName("record kind", op.kind));
    if (!op.id.empty()) HF_RETURN_IF_ERROR(CheckRecordName("record id", op.id));
    if (!op.status.empty()) HF_RETURN_IF_ERROR(CheckRecordName("status", op.status));
    if (op.parent) HF_RETURN_IF_ERROR(CheckKey("parent", *op.parent));
    return CheckSize("data", op.data, kDataBytes);
  }
  Result<void> operator()(const ReplaceRecord& op) { return Target(op, "data", op.data); }
  Result<void> operator()(const MergeRecord& op) { return Target(op, "patch", op.patch); }
  Result<void> operator()(const PatchRecord& op) { return Target(op, "patch", op.patch); }
  Result<void> operator()(const IncrementRecord& op) {
    HF_RETURN_IF_ERROR(Target(op));
    const auto* real = std::get_if<double>(&op.by);
    if (real != nullptr && !std::isfinite(*real)) return Invalid("by is not a finite number");
    return CheckPath(op.path);
  }
  Result<void> operator()(const AppendRecord& op) {
    HF_RETURN_IF_ERROR(Target(op, "value", op.value));
    if (op.max_length && (*op.max_length < 1 || *op.max_length > kArrayLength)) {
      return Invalid(fmt::format("max_length is {} (1 to {})", *op.max_length, kArrayLength));
    }
    return CheckPath(op.path);
  }
  Result<void> operator()(const TransitionRecord& op) {
    HF_RETURN_IF_ERROR(CheckRecordName("to", op.to));
    return Target(op, "data", op.data);
  }
  Result<void> operator()(const RunAction& op) {
    HF_RETURN_IF_ERROR(CheckRecordName("action", op.action));
    return Target(op, "params", op.params);
  }
  Result<void> operator()(const DeleteRecord& op) { return Target(op); }
  Result<void> operator()(const ApplyKind& op) {
    HF_RETURN_IF_ERROR(CheckRecordName("kind", op.name));
    HF_RETURN_IF_ERROR(CheckSize("rules", op.rules, kRulesBytes));
    return CheckVersion(op.version);
  }
  Result<void> operator()(const MakeTransfer& op) {
    HF_RETURN_IF_ERROR(CheckKey("from", op.from));
    HF_RETURN_IF_ERROR(CheckKey("to", op.to));
    if (op.from == op.to) {
      return Invalid(fmt::format("a transfer from {} to itself", ToString(op.from)));
    }
    if (op.amount < 1) return Invalid(fmt::format("amount is {} (1 or more)", op.amount));
    if (op.timeout && !op.pending) return Invalid("timeout is for pending transfers");
    if (op.timeout && (*op.timeout <= Duration::zero() || *op.timeout > kDelayMax)) {
      return Invalid(
          fmt::format("timeout is out of range (1us to {})", base::FormatDuration(kDelayMax)));
    }
    return CheckPath(op.path);
  }
  Result<void> operator()(const PostTransfer& op) {
    if (!op.amount || *op.amount >= 1) return {};
    return Invalid(fmt::format("amount is {} (1 or more)", *op.amount));
  }
  Result<void> operator()(const auto&) { return {}; }
};

/// From each record that the batch creates, up through parents that it creates, too.
Result<void> CheckAncestors(const std::map<RecordKey, RecordKey>& parents) {
  for (const auto& [child, parent] : parents) {
    std::set<RecordKey> seen{child};
    const RecordKey* ancestor = &parent;
    std::string path = ToString(child);
    while (true) {
      path += " > " + ToString(*ancestor);
      if (!seen.insert(*ancestor).second) {
        return Invalid(fmt::format("a cycle of parents: {}", path.substr(0, 1000)));
      }
      auto next = parents.find(*ancestor);
      if (next == parents.end()) break;
      ancestor = &next->second;
    }
  }
  return {};
}

/// `applied`: kinds whose rules the batch changes. A guard is looked at before, under the rules
/// before.
Result<void> CheckGuards(const Batch& batch, const std::set<std::string_view>& applied) {
  for (std::size_t i = 0; i < batch.guards.size(); ++i) {
    Result<void> valid = std::visit(
        [&](const auto& guard) -> Result<void> {
          if constexpr (requires { guard.record; }) {
            HF_RETURN_IF_ERROR(CheckKey("record", guard.record));
            if (applied.contains(guard.record.kind)) {
              return Invalid(fmt::format(
                  "a batch that applies rules of kind {} cannot be guarded by its records",
                  guard.record.kind));
            }
          }
          return {};
        },
        batch.guards[i]);
    if (valid) continue;
    valid.error().detail.guard = static_cast<std::int64_t>(i);
    return valid;
  }
  return {};
}

}  // namespace

Result<void> CheckRecordOperation(const Operation& operation) {
  return std::visit(Checker{}, operation);
}

Result<void> CheckRecordOrder(const Batch& batch) {
  std::set<std::string_view> kinds;
  for (const Operation& operation : batch.operations) {
    const auto* apply = std::get_if<ApplyKind>(&operation);
    if (apply != nullptr) kinds.insert(apply->name);
  }
  HF_RETURN_IF_ERROR(CheckGuards(batch, kinds));
  kinds.clear();
  bool has_records = false;
  std::map<RecordKey, RecordKey> parents;
  for (std::size_t i = 0; i < batch.operations.size(); ++i) {
    const Operation& operation = batch.operations[i];
    if (const auto* apply = std::get_if<ApplyKind>(&operation)) {
      bool is_first = kinds.insert(apply->name).second;
      if (has_records || !is_first) {
        return Fail(ErrorCode::kInvalidArgument,
                    is_first ? "kind.apply must come before the operations on records in its batch"
                             : fmt::format("kind {} is applied twice in one batch", apply->name),
                    {.operation = static_cast<std::int64_t>(i)});
      }
    } else if (const auto* create = std::get_if<CreateRecord>(&operation)) {
      has_records = true;
      if (!create->id.empty() && create->parent) {
        parents.emplace(RecordKey{create->kind, create->id}, *create->parent);
      }
    } else {
      has_records |= std::visit(
          []<typename T>(const T&) {
            return !OnJob<T> && !OnLocks<T> && !std::same_as<T, EnqueueJob> &&
                   !std::same_as<T, SetQueue>;
          },
          operation);
    }
  }
  return CheckAncestors(parents);
}

Result<void> Validate(const RecordKey& key) {
  return CheckKey("record", key);
}

Result<void> Validate(const RecordFilter& filter) {
  HF_RETURN_IF_ERROR(CheckRecordName("record kind", filter.kind));
  if (!filter.status.empty()) HF_RETURN_IF_ERROR(CheckRecordName("status", filter.status));
  if (filter.parent) HF_RETURN_IF_ERROR(CheckKey("parent", *filter.parent));
  if (!filter.cursor.empty()) {
    Result<void> valid = CheckRecordName("cursor", filter.cursor);
    if (!valid) return Invalid("the cursor is not one that this store gave out");
  }
  return CheckPageLimit(filter.limit);
}

Result<void> Validate(const TransferFilter& filter) {
  if (filter.from) HF_RETURN_IF_ERROR(CheckKey("from", *filter.from));
  HF_RETURN_IF_ERROR(ParseCursor(filter.cursor));
  return CheckPageLimit(filter.limit);
}

}  // namespace holdfast::rules
