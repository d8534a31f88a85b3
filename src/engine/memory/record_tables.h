// The records, kinds and transfers of the memory engine. Not thread-safe: the engine's mutex guards
// it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "holdfast/context.h"
#include "rules/record_rows.h"

namespace holdfast::engine {

class RecordTables final : public rules::RecordLoader {
 public:
  Result<std::optional<StoredKind>> LoadKind(const std::string& name) override;
  Result<std::optional<rules::StoredRecord>> LoadRecord(const RecordKey& key) override;
  Result<std::optional<Transfer>> LoadTransfer(TransferId id) override;
  Result<std::vector<RecordKey>> FindChildren(const RecordKey& parent, const std::string& kind,
                                              const std::vector<std::string>& statuses,
                                              int limit) override;
  Result<std::optional<std::string>> FindKeyHolder(const std::string& kind, const std::string& rule,
                                                   const std::string& key) override;
  Result<std::vector<rules::StoredRecord>> ScanRecords(const std::string& kind,
                                                       const std::string& after,
                                                       int limit) override;

  /// Takes over what the rules changed.
  void Persist(rules::RecordRows& rows);

  Result<RecordPage> List(const Context& context, const RecordFilter& filter) const;

  Result<TransferPage> List(const Context& context, const TransferFilter& filter,
                            TransferId after) const;

  /// What is due by now, at most `limit` each.
  std::vector<RecordKey> DueRecords(Time now, int limit) const;
  std::vector<TransferId> DueTransfers(Time now, int limit) const;
  std::optional<Time> NextDue() const;
  /// Forgets finished transfers of before `before`: how many.
  std::int64_t Prune(Time before, std::int64_t limit);

  std::map<RecordKey, rules::StoredRecord> records;
  std::map<std::string, StoredKind, std::less<>> kinds;
  std::map<TransferId, Transfer> transfers;

 private:
  void Index(const rules::StoredRecord& record);
  void Unindex(const rules::StoredRecord& record);
  void PersistKind(const std::string& name, const rules::KindRow& row, rules::RecordRows& rows);
  void PersistKeys(rules::RecordRows& rows);

  // Parent, kind, status, id.
  std::set<std::tuple<RecordKey, std::string, std::string, std::string>> children_;
  // Kind, rule, key.
  std::map<std::tuple<std::string, std::string, std::string>, std::string> keys_;
  std::set<std::pair<Time, RecordKey>> due_records_;
  std::set<std::pair<Time, TransferId>> due_transfers_;
  std::set<std::pair<Time, TransferId>> finished_transfers_;
};

}  // namespace holdfast::engine
