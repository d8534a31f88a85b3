#include "engine/memory/record_tables.h"

#include <algorithm>

#include "base/check.h"
#include "base/result.h"
#include "rules/answer_size.h"

namespace holdfast::engine {

using rules::StoredRecord;

Result<std::optional<rules::RecordLoader::StoredKind>> RecordTables::LoadKind(
    const std::string& name) {
  auto found = kinds.find(name);
  if (found == kinds.end()) return std::nullopt;
  return found->second;
}

Result<std::optional<StoredRecord>> RecordTables::LoadRecord(const RecordKey& key) {
  auto found = records.find(key);
  if (found == records.end()) return std::nullopt;
  return found->second;
}

Result<std::optional<Transfer>> RecordTables::LoadTransfer(TransferId id) {
  auto found = transfers.find(id);
  if (found == transfers.end()) return std::nullopt;
  return found->second;
}

Result<std::vector<RecordKey>> RecordTables::FindChildren(const RecordKey& parent,
                                                          const std::string& kind,
                                                          const std::vector<std::string>& statuses,
                                                          int limit) {
  std::vector<RecordKey> found;
  for (auto child = children_.lower_bound({parent, kind, "", ""}); child != children_.end();
       ++child) {
    const auto& [of, child_kind, status, id] = *child;
    if (of != parent || (!kind.empty() && child_kind != kind)) break;
    if (std::ranges::find(statuses, status) == statuses.end()) continue;
    found.push_back({child_kind, id});
    if (found.size() == static_cast<std::size_t>(limit)) break;
  }
  return found;
}

Result<std::optional<std::string>> RecordTables::FindKeyHolder(const std::string& kind,
                                                               const std::string& rule,
                                                               const std::string& key) {
  auto found = keys_.find({kind, rule, key});
  if (found == keys_.end()) return std::nullopt;
  return found->second;
}

Result<std::vector<StoredRecord>> RecordTables::ScanRecords(const std::string& kind,
                                                            const std::string& after, int limit) {
  constexpr std::size_t kPageBytes = 8 * 1024 * 1024;
  std::size_t bytes = 0;
  std::vector<StoredRecord> page;
  for (auto record = records.upper_bound({kind, after});
       record != records.end() && record->first.kind == kind; ++record) {
    if (page.size() == static_cast<std::size_t>(limit) || bytes > kPageBytes) break;
    bytes += record->second.text.size();
    page.push_back(record->second);
  }
  return page;
}

void RecordTables::Index(const StoredRecord& record) {
  if (record.parent) {
    children_.emplace(*record.parent, record.key.kind, record.status, record.key.id);
  }
  if (record.expires_at) due_records_.emplace(*record.expires_at, record.key);
}

void RecordTables::Unindex(const StoredRecord& record) {
  if (record.parent) {
    children_.erase({*record.parent, record.key.kind, record.status, record.key.id});
  }
  if (record.expires_at) due_records_.erase({*record.expires_at, record.key});
}

void RecordTables::Persist(rules::RecordRows& rows) {
  for (auto& [name, row] : rows.kinds()) {
    if (row.is_changed) PersistKind(name, row, rows);
  }
  PersistKeys(rows);
  for (auto& [key, row] : rows.records()) {
    if (!row.is_changed) continue;
    auto present = records.find(key);
    if (present != records.end()) Unindex(present->second);
    if (!row.exists) {
      if (present != records.end()) records.erase(present);
      continue;
    }
    Index(records[key] = row.record);
  }
  for (auto& [id, row] : rows.transfers()) {
    if (row.change == rules::Change::kNone) continue;
    const Transfer& transfer = row.transfer;
    auto before = transfers.find(id);
    if (before != transfers.end() && before->second.expires_at) {
      due_transfers_.erase({*before->second.expires_at, id});
    }
    if (transfer.finished_at) {
      finished_transfers_.emplace(*transfer.finished_at, id);
    } else if (transfer.expires_at) {
      due_transfers_.emplace(*transfer.expires_at, id);
    }
    transfers[id] = transfer;
  }
}

void RecordTables::PersistKind(const std::string& name, const rules::KindRow& row,
                               rules::RecordRows& rows) {
  kinds[name] = {*row.kind, row.rules};
  // The keys of all its records, by the new rules.
  auto first = keys_.lower_bound({name, "", ""});
  while (first != keys_.end() && std::get<0>(first->first) == name) first = keys_.erase(first);
  for (const auto& [index, proposal] : rows.proposals) {
    if (proposal.rules->kind != name) continue;
    for (const auto& [key, unique_keys] : proposal.keys) {
      for (const auto& [rule, value] : unique_keys)
        keys_.emplace(std::tuple(name, rule, value), key.id);
    }
  }
}

/// First every key that is given up, then every key that is taken: a batch may hand one over.
void RecordTables::PersistKeys(rules::RecordRows& rows) {
  for (const auto& [key, row] : rows.records()) {
    for (const auto& [rule, value] : row.keys_before) keys_.erase({key.kind, rule, value});
  }
  for (const auto& [key, row] : rows.records()) {
    const rules::KindRules* rules = row.is_changed ? rows.RulesOf(key.kind) : nullptr;
    if (rules == nullptr || !row.exists) continue;
    for (const auto& [rule, value] : rules::UniqueKeysOf(*rules, row.record)) {
      bool is_new = keys_.emplace(std::tuple(key.kind, rule, value), key.id).second;
      HF_CHECK(is_new);  // the last line: the rules looked before
    }
  }
}

constexpr int kRecordsBetweenChecks = 1000;  // of the context, in a long scan (CTX-1)

Result<TransferPage> RecordTables::List(const Context& context, const TransferFilter& filter,
                                        TransferId after) const {
  TransferPage page;
  int rows = 0;
  rules::PageRoom room(filter.limit);
  for (auto transfer = transfers.upper_bound(after); transfer != transfers.end(); ++transfer) {
    if (++rows % kRecordsBetweenChecks == 0) HF_RETURN_IF_ERROR(context.Check());
    if (filter.state && transfer->second.state != *filter.state) continue;
    if (filter.from && transfer->second.from != *filter.from) continue;
    if (!room.Take(transfer->second)) {
      page.next_cursor = std::to_string(page.items.back().id);
      break;
    }
    page.items.push_back(transfer->second);
  }
  return page;
}

Result<RecordPage> RecordTables::List(const Context& context, const RecordFilter& filter) const {
  RecordPage page;
  int rows = 0;
  rules::PageRoom room(filter.limit);
  for (auto record = records.upper_bound({filter.kind, filter.cursor});
       record != records.end() && record->first.kind == filter.kind; ++record) {
    if (++rows % kRecordsBetweenChecks == 0) HF_RETURN_IF_ERROR(context.Check());
    const StoredRecord& stored = record->second;
    if (!filter.status.empty() && stored.status != filter.status) continue;
    if (filter.parent && stored.parent != filter.parent) continue;
    Record item = rules::ToRecord(stored);
    if (!room.Take(item)) {
      page.next_cursor = page.items.back().id;
      break;
    }
    page.items.push_back(std::move(item));
  }
  return page;
}

std::vector<RecordKey> RecordTables::DueRecords(Time now, int limit) const {
  std::vector<RecordKey> due;
  for (const auto& [at, key] : due_records_) {
    if (at > now || due.size() == static_cast<std::size_t>(limit)) break;
    due.push_back(key);
  }
  return due;
}

std::vector<TransferId> RecordTables::DueTransfers(Time now, int limit) const {
  std::vector<TransferId> due;
  for (const auto& [at, id] : due_transfers_) {
    if (at > now || due.size() == static_cast<std::size_t>(limit)) break;
    due.push_back(id);
  }
  return due;
}

std::optional<Time> RecordTables::NextDue() const {
  std::optional<Time> next;
  if (!due_records_.empty()) next = due_records_.begin()->first;
  if (!due_transfers_.empty() && (!next || due_transfers_.begin()->first < *next)) {
    next = due_transfers_.begin()->first;
  }
  return next;
}

std::int64_t RecordTables::Prune(Time before, std::int64_t limit) {
  std::int64_t pruned = 0;
  while (pruned < limit && !finished_transfers_.empty() &&
         finished_transfers_.begin()->first <= before) {
    transfers.erase(finished_transfers_.begin()->second);
    finished_transfers_.erase(finished_transfers_.begin());
    ++pruned;
  }
  return pruned;
}

}  // namespace holdfast::engine
