#include "engine/postgres/record_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/mutant.h"
#include "base/result.h"
#include "wire/encode.h"

namespace holdfast::engine::postgres {

using rules::StoredRecord;

namespace {

/// Kind and id as two columns.
struct KeyColumns {
  Column kinds{Type::kText};
  Column ids{Type::kText};

  void Add(const RecordKey& key) {
    kinds.Add(key.kind);
    ids.Add(key.id);
  }
};

/// Adds the record, in the order of kRecordColumns.
void AddRecord(RowArray& rows, const StoredRecord& record) {
  Record lists;  // only what is kept as text
  for (const auto& [path, amount] : record.reserved) lists.reserved.push_back({path, amount});
  for (const auto& [of, count] : record.children) {
    lists.children.push_back({of.first, of.second, count});
  }
  rows.NextRow();
  rows.Add(record.key.kind);
  rows.Add(record.key.id);
  rows.Add(record.version);
  rows.Add(record.status);
  if (record.parent) {
    rows.Add(record.parent->kind);
    rows.Add(record.parent->id);
  } else {
    rows.AddNull(Type::kText);
    rows.AddNull(Type::kText);
  }
  rows.Add(record.created_at);
  rows.Add(record.updated_at);
  rows.Add(record.updated_by);
  rows.Add(record.expires_at);
  rows.AddOrNull(lists.reserved.empty() ? "" : wire::EncodeReservations(lists.reserved));
  rows.AddOrNull(lists.children.empty() ? "" : wire::EncodeChildren(lists.children));
  rows.Add(record.text);
  rows.Add(record.fence);
}

/// Adds the transfer, in the order of kTransferColumns.
void AddTransfer(RowArray& rows, const Transfer& transfer) {
  rows.NextRow();
  rows.Add(transfer.id);
  rows.Add(transfer.from.kind);
  rows.Add(transfer.from.id);
  rows.Add(transfer.to.kind);
  rows.Add(transfer.to.id);
  rows.Add(transfer.path);
  rows.Add(transfer.amount);
  rows.Add(transfer.posted);
  rows.Add(NameOf(transfer.state));
  rows.Add(transfer.created_at);
  rows.Add(transfer.expires_at);
  rows.Add(transfer.finished_at);
  rows.Add(transfer.created_by);
}

void AddRecordKey(RowArray& rows, std::string_view kind, std::string_view rule,
                  std::string_view key, std::string_view id) {
  rows.NextRow();
  for (std::string_view text : {kind, rule, key, id}) rows.Add(text);
}

}  // namespace

RecordTable::RecordTable(Connection*& connection, const Settings& settings)
    : connection_(connection),
      load_transfers_(settings,
                      fmt::format("SELECT {} FROM $.transfers WHERE id = ANY ($1::bigint[]) "
                                  "ORDER BY id FOR NO KEY UPDATE",
                                  kTransferColumns)),
      // With their parents, so that all are locked in one order.
      load_records_(
          settings,
          fmt::format("WITH named AS (SELECT * FROM unnest($1::text[], $2::text[]) AS n (kind, "
                      "id)), wanted AS MATERIALIZED (SELECT kind, id FROM named UNION "
                      "SELECT r.parent_kind, r.parent_id FROM named n JOIN $.records r ON "
                      "r.kind = n.kind AND r.id = n.id WHERE r.parent_kind IS NOT NULL) "
                      "SELECT {} FROM $.records WHERE (kind, id) IN (SELECT kind, id FROM wanted) "
                      "ORDER BY kind, id {}",
                      kRecordColumns, HF_MUTANT(records_not_locked) ? "" : "FOR NO KEY UPDATE")),
      new_kinds_(settings,
                 "INSERT INTO $.kinds SELECT name, 0, '', 'epoch', '' FROM unnest($1::text[]) AS "
                 "u (name) ON CONFLICT (name) DO NOTHING"),
      // Shared: whoever changes the rules of a kind waits for those who write its records, and
      // they for it.
      load_kinds_(settings, fmt::format("SELECT {} FROM $.kinds WHERE name = ANY ($1::text[]) "
                                        "ORDER BY name FOR SHARE",
                                        kKindColumns)),
      lock_kinds_(settings, fmt::format("SELECT {} FROM $.kinds WHERE name = ANY ($1::text[]) "
                                        "ORDER BY name FOR UPDATE",
                                        kKindColumns)),
      find_newcomer_(
          settings,
          "SELECT 1 FROM unnest($1::text[], $2::text[]) AS n (kind, id) JOIN $.records r "
          "ON r.kind = n.kind AND r.id = n.id LIMIT 1"),
      find_children_(settings,
                     "SELECT kind, id FROM $.records WHERE parent_kind = $1 AND parent_id = $2 AND "
                     "($3 = '' OR kind = $3) AND status = ANY ($4::text[]) ORDER BY kind, id "
                     "LIMIT $5::bigint"),
      find_free_id_(
          settings,
          "SELECT n FROM generate_series($2::bigint, $2::bigint + $3::bigint) AS n WHERE "
          "NOT EXISTS (SELECT 1 FROM $.records WHERE kind = $1 AND id = n::text) LIMIT 1"),
      find_key_(settings,
                "SELECT id FROM $.record_keys WHERE kind = $1 AND rule = $2 AND key = $3"),
      scan_records_(settings,
                    fmt::format("SELECT {} FROM $.records WHERE kind = $1 AND id > $2 ORDER BY id "
                                "LIMIT $3::bigint",
                                kRecordColumns)),
      insert_records_(settings, fmt::format("INSERT INTO $.records ({}) SELECT * FROM "
                                            "unnest($1::$.record_row[])",
                                            kRecordColumns)),
      // The parent, too: a record may be deleted and made anew in one transaction.
      update_records_(settings,
                      "UPDATE $.records r SET version = u.version, status = u.status, "
                      "parent_kind = u.parent_kind, parent_id = u.parent_id, "
                      "created_at = u.created_at, updated_at = u.updated_at, "
                      "updated_by = u.updated_by, expires_at = u.expires_at, "
                      "reserved = u.reserved, children = u.children, data = u.data, "
                      "fence = u.fence FROM unnest($1::$.record_row[]) AS u WHERE "
                      "r.kind = u.kind AND r.id = u.id"),
      delete_records_(settings,
                      "DELETE FROM $.records r USING unnest($1::text[], $2::text[]) AS u (kind, "
                      "id) WHERE r.kind = u.kind AND r.id = u.id"),
      upsert_kind_(settings,
                   "INSERT INTO $.kinds VALUES ($1, $2::bigint, $3, $4::timestamptz, $5) "
                   "ON CONFLICT (name) DO UPDATE SET version = excluded.version, "
                   "rules = excluded.rules, updated_at = excluded.updated_at, "
                   "updated_by = excluded.updated_by"),
      delete_keys_of_kind_(settings, "DELETE FROM $.record_keys WHERE kind = $1"),
      delete_keys_(settings,
                   "DELETE FROM $.record_keys k USING unnest($1::$.record_key_row[]) AS u WHERE "
                   "k.kind = u.kind AND k.rule = u.rule AND k.key = u.key AND k.id = u.id"),
      insert_keys_(settings,
                   std::string("INSERT INTO $.record_keys SELECT * FROM "
                               "unnest($1::$.record_key_row[])") +
                       (HF_MUTANT(unique_by_looking_first) ? " ON CONFLICT DO NOTHING" : "")),
      insert_transfers_(settings, fmt::format("INSERT INTO $.transfers ({}) SELECT * FROM "
                                              "unnest($1::$.transfer_row[])",
                                              kTransferColumns)),
      update_transfers_(settings,
                        "UPDATE $.transfers t SET posted = u.posted, state = u.state, "
                        "finished_at = u.finished_at FROM unnest($1::$.transfer_row[]) AS u "
                        "WHERE t.id = u.id") {}

void RecordTable::Clear() {
  Forget();
  wanted_.clear();
  wanted_kinds_.clear();
  wanted_transfers_.clear();
}

void RecordTable::Forget() {
  lacks_ = took_unseen_key_ = false;
  records_.clear();
  kinds_.clear();
  transfers_.clear();
  keys_.clear();
  applied_kinds_.clear();
  queued_.clear();
}

Result<std::optional<rules::RecordLoader::StoredKind>> RecordTable::LoadKind(
    const std::string& name) {
  if (auto known = kinds_.find(name); known != kinds_.end()) return known->second;
  wanted_kinds_.insert(name);
  lacks_ = true;
  return std::nullopt;
}

Result<std::optional<StoredRecord>> RecordTable::LoadRecord(const RecordKey& key) {
  if (auto known = records_.find(key); known != records_.end()) return known->second.record;
  wanted_.insert(key);
  lacks_ = true;
  return std::nullopt;
}

Result<std::optional<Transfer>> RecordTable::LoadTransfer(TransferId id) {
  if (auto known = transfers_.find(id); known != transfers_.end()) {
    if (!known->second) return std::nullopt;
    return known->second->transfer;
  }
  wanted_transfers_.insert(id);
  lacks_ = true;
  return std::nullopt;
}

Result<std::vector<RecordKey>> RecordTable::FindChildren(const RecordKey& parent,
                                                         const std::string& kind,
                                                         const std::vector<std::string>& statuses,
                                                         int limit) {
  const auto most = static_cast<std::int64_t>(limit) + static_cast<std::int64_t>(records_.size());
  HF_ASSIGN_OR_RETURN(Answer answer,
                      connection_->Query(find_children_, Parameters()
                                                             .Add(parent.kind)
                                                             .Add(parent.id)
                                                             .Add(kind)
                                                             .Add(Column::Of(statuses))
                                                             .Add(most)));
  // Of records that are here the table does not know the latest.
  std::set<RecordKey> found;
  for (int i = 0; i < answer.size(); ++i) {
    Row row(answer, i);
    RecordKey key{row.String(0), row.String(1)};
    if (!records_.contains(key)) found.insert(std::move(key));
  }
  for (const auto& [key, cached] : records_) {
    if (!cached.record || cached.record->parent != parent) continue;
    if (!kind.empty() && key.kind != kind) continue;
    if (std::ranges::find(statuses, cached.record->status) != statuses.end()) found.insert(key);
  }
  std::vector<RecordKey> children(found.begin(), found.end());
  if (children.size() > static_cast<std::size_t>(limit)) {
    children.resize(static_cast<std::size_t>(limit));
  }
  return children;
}

/// The next number is taken to be free. If it turns out that it is not, the server is asked, for
/// there may be many such, and each costs a transaction that begins anew.
Result<std::int64_t> RecordTable::NextId(const std::string& kind, std::int64_t last) {
  constexpr std::int64_t kLooks = 10'000;
  while (true) {
    auto known = records_.find({kind, fmt::to_string(++last)});
    if (known == records_.end() || !known->second.is_stored || HF_MUTANT(ids_tried_one_by_one)) {
      return last;
    }
    HF_ASSIGN_OR_RETURN(
        Answer answer,
        connection_->Query(find_free_id_, Parameters().Add(kind).Add(last + 1).Add(kLooks)));
    if (answer.size() > 0) return Row(answer, 0).Integer(0);
    last += kLooks;
  }
}

Result<std::optional<std::string>> RecordTable::FindKeyHolder(const std::string& kind,
                                                              const std::string& rule,
                                                              const std::string& key) {
  if (auto known = keys_.find({kind, rule, key}); known != keys_.end()) {
    if (known->second.holder || known->second.stored) return known->second.holder;
  }
  if (!looks_up_keys) return std::nullopt;
  HF_ASSIGN_OR_RETURN(Answer answer,
                      connection_->Query(find_key_, Parameters().Add(kind).Add(rule).Add(key)));
  if (answer.size() == 0) return std::nullopt;
  return Row(answer, 0).String(0);
}

Result<std::vector<StoredRecord>> RecordTable::ScanRecords(const std::string& kind,
                                                           const std::string& after, int limit) {
  HF_ASSIGN_OR_RETURN(Answer answer,
                      connection_->Query(scan_records_, Parameters().Add(kind).Add(after).Add(
                                                            std::int64_t{limit})));
  std::vector<StoredRecord> page;
  for (int i = 0; i < answer.size(); ++i) {
    HF_ASSIGN_OR_RETURN(Record record, ReadRecord(Row(answer, i)));
    HF_ASSIGN_OR_RETURN(StoredRecord stored, rules::ToStored(std::move(record)));
    page.push_back(std::move(stored));
  }
  return page;
}

void RecordTable::QueueLoad(Connection& connection) {
  queued_.clear();
  if (!wanted_transfers_.empty()) {
    Column ids(Type::kInteger);
    for (TransferId id : wanted_transfers_) ids.Add(id);
    connection.Queue(load_transfers_, Parameters().Add(ids));
    queued_.push_back(Step::kTransfers);
  }
  if (!wanted_.empty()) {
    KeyColumns keys;
    for (const RecordKey& key : wanted_) keys.Add(key);
    connection.Queue(load_records_, Parameters().Add(keys.kinds).Add(keys.ids));
    queued_.push_back(Step::kRecords);
  }
  if (wanted_kinds_.empty()) return;
  const Column names = Column::Of(wanted_kinds_);
  if (changes_kinds) {
    connection.Queue(new_kinds_, Parameters().Add(names));
    queued_.push_back(Step::kNewKinds);
  }
  connection.Queue(changes_kinds ? lock_kinds_ : load_kinds_, Parameters().Add(names));
  queued_.push_back(Step::kKinds);
}

Result<void> RecordTable::TakeLoaded(Answers& answers) {
  for (Step step : queued_) {
    Answer answer = answers.Next();
    if (step == Step::kTransfers) {
      for (TransferId id : wanted_transfers_) transfers_[id];
      for (int i = 0; i < answer.size(); ++i) {
        HF_ASSIGN_OR_RETURN(Transfer transfer, ReadTransfer(Row(answer, i)));
        const TransferId id = transfer.id;
        transfers_[id] = CachedTransfer{.transfer = std::move(transfer)};
      }
    } else if (step == Step::kRecords) {
      HF_RETURN_IF_ERROR(TakeRecords(answer));
    } else if (step == Step::kKinds) {
      HF_RETURN_IF_ERROR(TakeKinds(answer));
    }
  }
  queued_.clear();
  lacks_ = false;
  return {};
}

Result<bool> RecordTable::HasNewcomers() {
  KeyColumns absent;
  for (const auto& [key, cached] : records_) {
    if (!cached.record) absent.Add(key);
  }
  if (absent.kinds.size() == 0) return false;
  HF_ASSIGN_OR_RETURN(
      Answer answer,
      connection_->Query(find_newcomer_, Parameters().Add(absent.kinds).Add(absent.ids)));
  return answer.size() > 0;
}

Result<void> RecordTable::TakeRecords(const Answer& answer) {
  for (const RecordKey& key : wanted_) records_[key];
  for (int i = 0; i < answer.size(); ++i) {
    HF_ASSIGN_OR_RETURN(Record record, ReadRecord(Row(answer, i)));
    CachedRecord cached{.is_stored = true};
    HF_ASSIGN_OR_RETURN(cached.record, rules::ToStored(std::move(record)));
    const RecordKey key = cached.record->key;
    records_[key] = std::move(cached);
  }
  return {};
}

Result<void> RecordTable::TakeKinds(const Answer& answer) {
  for (const std::string& name : wanted_kinds_) kinds_[name] = std::nullopt;
  for (int i = 0; i < answer.size(); ++i) {
    Kind kind = ReadKind(Row(answer, i));
    const std::string name = kind.name;
    if (kind.version == 0) continue;
    auto compiled = compiled_.find(name);
    if (compiled == compiled_.end() || compiled->second.kind != kind) {
      HF_ASSIGN_OR_RETURN(rules::KindRulesPtr rules,
                          rules::CompileRules(name, kind.version, kind.rules));
      compiled =
          compiled_.insert_or_assign(name, StoredKind{std::move(kind), std::move(rules)}).first;
    }
    kinds_[name] = compiled->second;
  }
  return {};
}

void RecordTable::TakeOver(rules::RecordRows& rows) {
  for (auto& [name, row] : rows.kinds()) {
    if (!row.is_changed) continue;
    AppliedKind applied{.kind = *row.kind};
    for (const auto& [index, proposal] : rows.proposals) {
      if (proposal.rules->kind != name) continue;
      for (const auto& [key, unique_keys] : proposal.keys) {
        for (const auto& [rule, value] : unique_keys) {
          applied.keys.emplace_back(rule, value, key.id);
        }
      }
    }
    applied_kinds_.push_back(std::move(applied));
    kinds_[name] = StoredKind{*row.kind, row.rules};
  }
  NoteKeys(rows);
  for (auto& [key, row] : rows.records()) {
    if (!row.is_changed) continue;
    CachedRecord& cached = records_[key];
    cached.is_dirty = true;
    if (row.exists) {
      cached.record = row.record;
    } else {
      cached.record.reset();
    }
  }
  for (const auto& [id, row] : rows.transfers()) {
    if (row.change == rules::Change::kNone) continue;
    std::optional<CachedTransfer>& cached = transfers_[id];
    const bool is_new = cached && cached->change == rules::Change::kInserted;
    cached = CachedTransfer{.transfer = row.transfer,
                            .change = is_new ? rules::Change::kInserted : row.change};
  }
}

/// First every key that is given up, then every one that is taken: a batch may hand one over.
void RecordTable::NoteKeys(rules::RecordRows& rows) {
  std::vector<std::pair<UniqueKey, std::string>> taken;
  for (const auto& [key, row] : rows.records()) {
    const rules::KindRules* rules = row.is_changed ? rows.RulesOf(key.kind) : nullptr;
    if (rules == nullptr || (rules->unique.empty() && row.keys_before.empty())) continue;
    rules::UniqueKeys now;
    if (row.exists) now = rules::UniqueKeysOf(*rules, row.record);
    for (const auto& [rule, value] : row.keys_before) {
      if (now.erase({rule, value}) > 0) continue;  // kept
      auto [change, is_new] = keys_.try_emplace({key.kind, rule, value});
      if (is_new) change->second.stored = key.id;
      // A batch of this transaction took it unseen. As it is given up again no constraint will find
      // out whether somebody had it all along.
      if (!is_new && !looks_up_keys && change->second.holder && !change->second.stored) {
        took_unseen_key_ = true;
      }
      change->second.holder.reset();
    }
    for (const auto& [rule, value] : now) taken.push_back({{key.kind, rule, value}, key.id});
  }
  for (auto& [key, id] : taken) keys_[std::move(key)].holder = std::move(id);
}

bool RecordTable::HasWrites() const {
  return !applied_kinds_.empty() ||
         std::ranges::any_of(records_, [](const auto& entry) { return entry.second.is_dirty; }) ||
         std::ranges::any_of(transfers_, [](const auto& entry) {
           return entry.second && entry.second->change != rules::Change::kNone;
         });
}

void RecordTable::QueueWrite(Connection& connection) {
  QueueKinds(connection);
  QueueRecords(connection);
  QueueKeys(connection);
  QueueTransfers(connection);
}

void RecordTable::QueueKinds(Connection& connection) {
  for (const AppliedKind& applied : applied_kinds_) {
    const Kind& kind = applied.kind;
    connection.Queue(upsert_kind_, Parameters()
                                       .Add(kind.name)
                                       .Add(kind.version)
                                       .Add(kind.rules)
                                       .Add(kind.updated_at)
                                       .Add(kind.updated_by));
    // The keys of all its records, by the new rules.
    connection.Queue(delete_keys_of_kind_, Parameters().Add(kind.name));
    RowArray keys(RowType::kRecordKey);
    for (const auto& [rule, key, id] : applied.keys) AddRecordKey(keys, kind.name, rule, key, id);
    connection.QueueRows(insert_keys_, std::move(keys));
  }
}

void RecordTable::QueueRecords(Connection& connection) {
  KeyColumns deleted;
  RowArray updated(RowType::kRecord), inserted(RowType::kRecord);
  for (const auto& [key, cached] : records_) {
    if (!cached.is_dirty) continue;
    if (!cached.record) {
      if (cached.is_stored) deleted.Add(key);
    } else {
      AddRecord(cached.is_stored ? updated : inserted, *cached.record);
    }
  }
  if (deleted.kinds.size() > 0) {
    connection.Queue(delete_records_, Parameters().Add(deleted.kinds).Add(deleted.ids));
  }
  connection.QueueRows(update_records_, std::move(updated));
  connection.QueueRows(insert_records_, std::move(inserted));
}

/// First every key that is given up, then every key that is taken: the constraint looks at every
/// statement.
void RecordTable::QueueKeys(Connection& connection) {
  RowArray given_up(RowType::kRecordKey), taken(RowType::kRecordKey);
  for (const auto& [key, change] : keys_) {
    if (change.stored == change.holder) continue;
    const auto& [kind, rule, text] = key;
    if (change.stored) AddRecordKey(given_up, kind, rule, text, *change.stored);
    if (change.holder) AddRecordKey(taken, kind, rule, text, *change.holder);
  }
  connection.QueueRows(delete_keys_, std::move(given_up));
  connection.QueueRows(insert_keys_, std::move(taken));
}

void RecordTable::QueueTransfers(Connection& connection) {
  RowArray updated(RowType::kTransfer), inserted(RowType::kTransfer);
  for (const auto& [id, cached] : transfers_) {
    if (!cached || cached->change == rules::Change::kNone) continue;
    AddTransfer(cached->change == rules::Change::kUpdated ? updated : inserted, cached->transfer);
  }
  connection.QueueRows(update_transfers_, std::move(updated));
  connection.QueueRows(insert_transfers_, std::move(inserted));
}

}  // namespace holdfast::engine::postgres
