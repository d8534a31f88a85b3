#include "rules/record_rows.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/json_values.h"
#include "base/result.h"

namespace holdfast::rules {

Record ToRecord(const StoredRecord& stored) {
  Record record{.kind = stored.key.kind,
                .id = stored.key.id,
                .version = stored.version,
                .status = stored.status,
                .data = stored.text,
                .parent = stored.parent,
                .created_at = stored.created_at,
                .updated_at = stored.updated_at,
                .updated_by = stored.updated_by,
                .expires_at = stored.expires_at,
                .reserved = {},
                .children = {},
                .fence = stored.fence};
  for (const auto& [path, amount] : stored.reserved) record.reserved.push_back({path, amount});
  for (const auto& [of, count] : stored.children) {
    record.children.push_back({of.first, of.second, count});
  }
  return record;
}

Result<StoredRecord> ToStored(Record record) {
  StoredRecord stored;
  stored.key = {std::move(record.kind), std::move(record.id)};
  Result<Json> data = base::ParseJson("the stored data", record.data);
  if (!data) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("{}: {}", ToString(stored.key), data.error().message));
  }
  stored.version = record.version;
  stored.status = std::move(record.status);
  stored.data = *std::move(data);
  stored.text = std::move(record.data);
  stored.parent = std::move(record.parent);
  stored.created_at = record.created_at;
  stored.updated_at = record.updated_at;
  stored.updated_by = std::move(record.updated_by);
  stored.expires_at = record.expires_at;
  stored.fence = record.fence;
  for (Reservation& reservation : record.reserved) {
    stored.reserved.emplace(std::move(reservation.path), reservation.amount);
  }
  for (ChildCount& child : record.children) {
    stored.children.emplace(std::pair(std::move(child.kind), std::move(child.status)), child.count);
  }
  return stored;
}

UniqueKeys UniqueKeysOf(const KindRules& rules, const StoredRecord& record) {
  UniqueKeys keys;
  for (const UniqueRule& rule : rules.unique) {
    Json values = Json::array();
    for (const std::optional<JsonPointer>& part : rule.parts) {
      if (part) {
        const Json* value = part->Find(record.data);
        if (value != nullptr) values.push_back(*value);
      } else if (record.parent) {
        values.push_back(ToString(*record.parent));
      }
      if (values.empty() || values.back().is_null()) break;
    }
    // A part that is missing or null: the record has no such key.
    if (values.size() != rule.parts.size() || values.back().is_null()) continue;
    keys.emplace(rule.name, base::CanonicalText(values));
  }
  return keys;
}

void RecordRows::Clear() {
  if (!arguments.empty()) arguments.clear();
  if (!proposals.empty()) proposals.clear();
  if (!new_ids.empty()) new_ids.clear();
  records_.clear();
  kinds_.clear();
  transfers_.clear();
  current_operation = kNoOperation;
  effort = {};
}

void RecordRows::AddKind(const std::string& name, std::optional<RecordLoader::StoredKind> kind) {
  KindRow& row = kinds_[name];
  if (!kind) return;
  row.kind = std::move(kind->kind);
  row.rules = std::move(kind->rules);
}

void RecordRows::Add(const RecordKey& key, std::optional<StoredRecord> record) {
  RecordRow& row = records_[key];
  row.existed = row.exists = record.has_value();
  if (record) {
    row.record = *std::move(record);
  } else {
    row.record.key = key;
  }
}

void RecordRows::Add(Transfer transfer) {
  transfers_[transfer.id].transfer = std::move(transfer);
}

RecordRow* RecordRows::Find(const RecordKey& key) {
  auto found = records_.find(key);
  return found == records_.end() || !found->second.exists ? nullptr : &found->second;
}

RecordRow& RecordRows::RowFor(const RecordKey& key) {
  RecordRow& row = records_[key];
  row.record.key = key;
  return row;
}

KindRow& RecordRows::KindNamed(const std::string& name) {
  auto found = kinds_.find(name);
  HF_CHECK(found != kinds_.end());  // the loader looks for every kind that a batch touches
  return found->second;
}

void RecordRows::MarkChanged(RecordRow& row) {
  const KindRules* rules = RulesOf(row.record.key.kind);
  if (row.existed && !row.is_changed && rules != nullptr) {
    row.keys_before = UniqueKeysOf(*rules, row.record);
  }
  row.is_changed = true;
}

const KindRules* RecordRows::RulesOf(const std::string& kind) {
  return KindNamed(kind).rules.get();
}

TransferRow* RecordRows::FindTransfer(TransferId id) {
  auto found = transfers_.find(id);
  return found == transfers_.end() ? nullptr : &found->second;
}

TransferRow& RecordRows::Insert(Transfer transfer) {
  TransferRow& row = transfers_[transfer.id];
  row = {std::move(transfer), Change::kInserted};
  return row;
}

Transfer& RecordRows::Edit(TransferRow& row) {
  if (row.change == Change::kNone) row.change = Change::kUpdated;
  return row.transfer;
}

}  // namespace holdfast::rules
