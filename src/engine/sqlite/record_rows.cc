#include "engine/sqlite/record_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "base/result.h"
#include "wire/decode.h"
#include "wire/encode.h"

namespace holdfast::engine {

using rules::StoredRecord;

namespace {

// What a transaction keeps of records beyond this is written and forgotten.
constexpr std::size_t kCachedBytes = 32 * 1024 * 1024;

/// NULL for an empty list.
std::string ReservedText(const Record& record) {
  return record.reserved.empty() ? "" : wire::EncodeReservations(record.reserved);
}
std::string ChildrenText(const Record& record) {
  return record.children.empty() ? "" : wire::EncodeChildren(record.children);
}

std::optional<std::string_view> KindOf(const std::optional<RecordKey>& key) {
  if (!key) return std::nullopt;
  return key->kind;
}
std::optional<std::string_view> IdOf(const std::optional<RecordKey>& key) {
  if (!key) return std::nullopt;
  return key->id;
}

/// When it is to be looked at by maintenance.
std::optional<Time> DueAt(const Transfer& transfer) {
  return transfer.state == TransferState::kPending ? transfer.expires_at : std::nullopt;
}

}  // namespace

Result<void> RecordTable::Prepare(Connection& connection) {
  connection_ = &connection;
  std::string select = fmt::format("SELECT {} FROM records", kRecordColumns);
  std::string children =
      "SELECT kind, id, status FROM records INDEXED BY records_parent WHERE parent_kind = ? AND "
      "parent_id = ?";
  std::tuple<Statement&, std::string> statements[] = {
      {select_record_, select + " WHERE kind = ? AND id = ?"},
      {scan_records_, select + " WHERE kind = ? AND id > ? ORDER BY id LIMIT ?"},
      {insert_record_, fmt::format("INSERT INTO records ({}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
                                   "?, ?, ?, ?)",
                                   kRecordColumns)},
      {update_record_,
       // The parent, too: a record may be deleted and made anew in one transaction.
       "UPDATE records SET version = ?, status = ?, parent_kind = ?, parent_id = ?, "
       "created_at = ?, updated_at = ?, updated_by = ?, expires_at = ?, reserved = ?, "
       "children = ?, data = ?, fence = ? WHERE kind = ? AND id = ?"},
      {delete_record_, "DELETE FROM records WHERE kind = ? AND id = ?"},
      {select_children_, children + " ORDER BY kind, id"},
      {select_children_of_kind_, children + " AND kind = ? ORDER BY kind, id"},
      {select_kind_, fmt::format("SELECT {} FROM kinds WHERE name = ?", kKindColumns)},
      {upsert_kind_,
       fmt::format("INSERT OR REPLACE INTO kinds ({}) VALUES (?, ?, ?, ?, ?)", kKindColumns)},
      {select_key_, "SELECT id FROM record_keys WHERE kind = ? AND rule = ? AND key = ?"},
      {insert_key_, "INSERT INTO record_keys (kind, rule, key, id) VALUES (?, ?, ?, ?)"},
      {delete_key_, "DELETE FROM record_keys WHERE kind = ? AND rule = ? AND key = ?"},
      {delete_keys_of_kind_, "DELETE FROM record_keys WHERE kind = ?"},
      {select_transfer_, fmt::format("SELECT {} FROM transfers WHERE id = ?", kTransferColumns)},
      {insert_transfer_, fmt::format("INSERT INTO transfers ({}, due_at) VALUES (?, ?, ?, ?, ?, ?, "
                                     "?, ?, ?, ?, ?, ?, ?, ?)",
                                     kTransferColumns)},
      {update_transfer_,
       "UPDATE transfers SET posted = ?, state = ?, finished_at = ?, due_at = NULL WHERE id = ?"},
      {delete_transfers_,
       "DELETE FROM transfers WHERE id IN (SELECT id FROM transfers WHERE finished_at <= ? "
       "ORDER BY finished_at LIMIT ?)"},
      {select_due_records_,
       "SELECT kind, id FROM records WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"},
      {select_due_transfers_, "SELECT id FROM transfers WHERE due_at <= ? ORDER BY due_at LIMIT ?"},
      // The conditions let SQLite use the partial indexes.
      {min_due_record_, "SELECT min(expires_at) FROM records WHERE expires_at IS NOT NULL"},
      {min_due_transfer_, "SELECT min(due_at) FROM transfers WHERE due_at IS NOT NULL"},
  };
  for (auto& [statement, sql] : statements) {
    HF_RETURN_IF_ERROR(statement.Prepare(connection, sql));
  }
  return {};
}

void RecordTable::Begin() {
  records_.clear();
  cached_bytes_ = 0;
  kinds_.clear();
}

Result<void> RecordTable::Flush() {
  for (auto& [key, cached] : records_) {
    if (!cached.is_dirty) continue;
    if (cached.record) {
      HF_RETURN_IF_ERROR(Write(*cached.record, cached.is_stored));
    } else if (cached.is_stored) {
      HF_RETURN_IF_ERROR(delete_record_.Bind(key.kind).Bind(key.id).Run());
    }
    cached.is_stored = cached.record.has_value();
    cached.is_dirty = false;
  }
  return {};
}

Result<void> RecordTable::Write(const StoredRecord& stored, bool is_stored) {
  Record lists;  // only what is kept as text
  for (const auto& [path, amount] : stored.reserved) lists.reserved.push_back({path, amount});
  for (const auto& [of, count] : stored.children) {
    lists.children.push_back({of.first, of.second, count});
  }
  std::string reserved = ReservedText(lists);
  std::string children = ChildrenText(lists);
  if (is_stored) {
    return update_record_.Bind(stored.version)
        .Bind(stored.status)
        .Bind(KindOf(stored.parent))
        .Bind(IdOf(stored.parent))
        .Bind(stored.created_at)
        .Bind(stored.updated_at)
        .Bind(stored.updated_by)
        .Bind(stored.expires_at)
        .BindOrNull(reserved)
        .BindOrNull(children)
        .Bind(stored.text)
        .Bind(stored.fence)
        .Bind(stored.key.kind)
        .Bind(stored.key.id)
        .Run();
  }
  return insert_record_.Bind(stored.key.kind)
      .Bind(stored.key.id)
      .Bind(stored.version)
      .Bind(stored.status)
      .Bind(KindOf(stored.parent))
      .Bind(IdOf(stored.parent))
      .Bind(stored.created_at)
      .Bind(stored.updated_at)
      .Bind(stored.updated_by)
      .Bind(stored.expires_at)
      .BindOrNull(reserved)
      .BindOrNull(children)
      .Bind(stored.text)
      .Bind(stored.fence)
      .Run();
}

Result<void> RecordTable::Persist(rules::RecordRows& rows) {
  for (auto& [name, row] : rows.kinds()) {
    if (row.is_changed) HF_RETURN_IF_ERROR(PersistKind(name, row, rows));
  }
  HF_RETURN_IF_ERROR(PersistKeys(rows));
  for (const auto& [id, row] : rows.transfers()) HF_RETURN_IF_ERROR(PersistTransfer(row));
  return {};
}

void RecordTable::TakeOver(rules::RecordRows& rows) {
  for (auto& [key, row] : rows.records()) {
    if (!row.is_changed) continue;
    CachedRecord& cached = records_[key];
    cached.is_dirty = true;
    if (row.exists) {
      cached.record = row.record;
      cached_bytes_ += row.record.text.size();
    } else {
      cached.record.reset();
    }
  }
}

Result<void> RecordTable::Trim() {
  if (cached_bytes_ <= kCachedBytes) return {};
  HF_RETURN_IF_ERROR(Flush());
  records_.clear();
  cached_bytes_ = 0;
  return {};
}

Result<void> RecordTable::PersistKind(const std::string& name, const rules::KindRow& row,
                                      rules::RecordRows& rows) {
  const Kind& kind = *row.kind;
  HF_RETURN_IF_ERROR(upsert_kind_.Bind(kind.name)
                         .Bind(kind.version)
                         .Bind(kind.rules)
                         .Bind(kind.updated_at)
                         .Bind(kind.updated_by)
                         .Run());
  // The keys of all its records, by the new rules.
  HF_RETURN_IF_ERROR(delete_keys_of_kind_.Bind(name).Run());
  for (const auto& [index, proposal] : rows.proposals) {
    if (proposal.rules->kind != name) continue;
    for (const auto& [key, unique_keys] : proposal.keys) {
      for (const auto& [rule, value] : unique_keys) {
        HF_RETURN_IF_ERROR(insert_key_.Bind(name).Bind(rule).Bind(value).Bind(key.id).Run());
      }
    }
  }
  kinds_.erase(name);  // read anew: this batch may yet be rolled back
  return {};
}

/// First every key that is given up, then every key that is taken: a batch may hand one over, and
/// the constraint looks at every statement.
Result<void> RecordTable::PersistKeys(rules::RecordRows& rows) {
  struct Taken {
    const RecordKey* key;
    rules::UniqueKeys keys;
  };
  std::vector<Taken> taken;
  for (const auto& [key, row] : rows.records()) {
    const rules::KindRules* rules = row.is_changed ? rows.RulesOf(key.kind) : nullptr;
    if (rules == nullptr || (rules->unique.empty() && row.keys_before.empty())) continue;
    rules::UniqueKeys now;
    if (row.exists) now = rules::UniqueKeysOf(*rules, row.record);
    for (const auto& before : row.keys_before) {
      if (now.erase(before) > 0) continue;  // kept
      HF_RETURN_IF_ERROR(delete_key_.Bind(key.kind).Bind(before.first).Bind(before.second).Run());
    }
    if (!now.empty()) taken.push_back({&key, std::move(now)});
  }
  for (const auto& [key, keys] : taken) {
    for (const auto& [rule, value] : keys) {
      HF_RETURN_IF_ERROR(insert_key_.Bind(key->kind).Bind(rule).Bind(value).Bind(key->id).Run());
    }
  }
  return {};
}

Result<void> RecordTable::PersistTransfer(const rules::TransferRow& row) {
  const Transfer& transfer = row.transfer;
  if (row.change == rules::Change::kUpdated) {
    return update_transfer_.Bind(transfer.posted)
        .Bind(NameOf(transfer.state))
        .Bind(transfer.finished_at)
        .Bind(transfer.id)
        .Run();
  }
  if (row.change != rules::Change::kInserted) return {};
  return insert_transfer_.Bind(transfer.id)
      .Bind(transfer.from.kind)
      .Bind(transfer.from.id)
      .Bind(transfer.to.kind)
      .Bind(transfer.to.id)
      .Bind(transfer.path)
      .Bind(transfer.amount)
      .Bind(transfer.posted)
      .Bind(NameOf(transfer.state))
      .Bind(transfer.created_at)
      .Bind(transfer.expires_at)
      .Bind(transfer.finished_at)
      .Bind(transfer.created_by)
      .Bind(DueAt(transfer))
      .Run();
}

Result<std::optional<rules::RecordLoader::StoredKind>> RecordTable::LoadKind(
    const std::string& name) {
  auto known = kinds_.find(name);
  if (known != kinds_.end()) return known->second;
  HF_ASSIGN_OR_RETURN(bool exists, select_kind_.Bind(name).Step());
  if (!exists) return kinds_[name];
  Kind kind = ReadKind(select_kind_);
  select_kind_.Reset();
  auto compiled = compiled_.find(name);
  if (compiled == compiled_.end() || compiled->second.kind != kind) {
    HF_ASSIGN_OR_RETURN(rules::KindRulesPtr rules,
                        rules::CompileRules(name, kind.version, kind.rules));
    compiled =
        compiled_.insert_or_assign(name, StoredKind{std::move(kind), std::move(rules)}).first;
  }
  return kinds_[name] = compiled->second;
}

Result<std::optional<StoredRecord>> RecordTable::LoadRecord(const RecordKey& key) {
  auto known = records_.find(key);
  if (known != records_.end()) return known->second.record;
  HF_ASSIGN_OR_RETURN(bool found, select_record_.Bind(key.kind).Bind(key.id).Step());
  CachedRecord cached;
  if (found) {
    Result<Record> record = ReadRecord(select_record_);
    select_record_.Reset();
    if (!record) return std::unexpected(std::move(record).error());
    cached_bytes_ += record->data.size();
    HF_ASSIGN_OR_RETURN(cached.record, rules::ToStored(*std::move(record)));
    cached.is_stored = true;
  }
  return records_.emplace(key, std::move(cached)).first->second.record;
}

Result<std::optional<Transfer>> RecordTable::LoadTransfer(TransferId id) {
  HF_ASSIGN_OR_RETURN(bool found, select_transfer_.Bind(id).Step());
  if (!found) return std::nullopt;
  Result<Transfer> transfer = ReadTransfer(select_transfer_);
  select_transfer_.Reset();
  if (!transfer) return std::unexpected(std::move(transfer).error());
  return *std::move(transfer);
}

Result<std::vector<RecordKey>> RecordTable::FindChildren(const RecordKey& parent,
                                                         const std::string& kind,
                                                         const std::vector<std::string>& statuses,
                                                         int limit) {
  HF_RETURN_IF_ERROR(Flush());  // the table must know what this transaction has changed
  Statement& select = kind.empty() ? select_children_ : select_children_of_kind_;
  select.Bind(parent.kind).Bind(parent.id);
  if (!kind.empty()) select.Bind(kind);
  std::vector<RecordKey> found;
  while (found.size() < static_cast<std::size_t>(limit)) {
    HF_ASSIGN_OR_RETURN(bool more, select.Step());
    if (!more) return found;
    if (std::ranges::find(statuses, select.Text(2)) == statuses.end()) continue;
    found.push_back({std::string(select.Text(0)), std::string(select.Text(1))});
  }
  select.Reset();
  return found;
}

Result<std::optional<std::string>> RecordTable::FindKeyHolder(const std::string& kind,
                                                              const std::string& rule,
                                                              const std::string& key) {
  HF_ASSIGN_OR_RETURN(bool found, select_key_.Bind(kind).Bind(rule).Bind(key).Step());
  if (!found) return std::nullopt;
  std::string id(select_key_.Text(0));
  select_key_.Reset();
  return id;
}

Result<std::vector<StoredRecord>> RecordTable::ScanRecords(const std::string& kind,
                                                           const std::string& after, int limit) {
  HF_RETURN_IF_ERROR(Flush());
  constexpr std::size_t kPageBytes = 8 * 1024 * 1024;
  std::size_t bytes = 0;
  std::vector<StoredRecord> page;
  scan_records_.Bind(kind).Bind(after).Bind(std::int64_t{limit});
  while (true) {
    HF_ASSIGN_OR_RETURN(bool more, scan_records_.Step());
    if (!more) return page;
    Result<Record> record = ReadRecord(scan_records_);
    Result<StoredRecord> stored =
        record ? rules::ToStored(*std::move(record))
               : Result<StoredRecord>(std::unexpected(std::move(record).error()));
    if (!stored) {
      scan_records_.Reset();
      return std::unexpected(std::move(stored).error());
    }
    bytes += stored->text.size();
    page.push_back(*std::move(stored));
    if (bytes > kPageBytes) {
      scan_records_.Reset();
      return page;
    }
  }
}

Result<std::vector<RecordKey>> RecordTable::DueRecords(Time now, int limit) {
  HF_RETURN_IF_ERROR(Flush());
  std::vector<RecordKey> due;
  select_due_records_.Bind(now).Bind(std::int64_t{limit});
  while (true) {
    HF_ASSIGN_OR_RETURN(bool more, select_due_records_.Step());
    if (!more) return due;
    due.push_back(
        {std::string(select_due_records_.Text(0)), std::string(select_due_records_.Text(1))});
  }
}

Result<std::vector<TransferId>> RecordTable::DueTransfers(Time now, int limit) {
  std::vector<TransferId> due;
  select_due_transfers_.Bind(now).Bind(std::int64_t{limit});
  while (true) {
    HF_ASSIGN_OR_RETURN(bool more, select_due_transfers_.Step());
    if (!more) return due;
    due.push_back(select_due_transfers_.Integer(0));
  }
}

Result<std::optional<Time>> RecordTable::NextDue() {
  HF_RETURN_IF_ERROR(Flush());
  std::optional<Time> next;
  for (Statement* min : {&min_due_record_, &min_due_transfer_}) {
    HF_RETURN_IF_ERROR(min->Step());
    std::optional<Time> due = min->OptionalTime(0);
    min->Reset();
    if (due && (!next || *due < *next)) next = due;
  }
  return next;
}

Result<std::int64_t> RecordTable::Prune(Time before, std::int64_t limit) {
  HF_RETURN_IF_ERROR(delete_transfers_.Bind(before).Bind(limit).Run());
  return sqlite3_changes64(connection_->handle());
}

}  // namespace holdfast::engine
