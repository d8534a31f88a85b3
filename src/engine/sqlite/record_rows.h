// Records, kinds and transfers as rows: the columns, how they are read, and the statements that
// write them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/sql_rows.h"
#include "engine/sqlite/connection.h"
#include "rules/record_rows.h"

namespace holdfast::engine {

/// Reads and writes rows for the writer. A record is read and parsed once a transaction, however
/// many batches change it, and written once, before the commit: that is what makes a hot record as
/// fast as spread ones. Unique keys are written at once, so that the constraint looks at every
/// batch. Confined to the writer's thread.
class RecordTable final : public rules::RecordLoader {
 public:
  Result<void> Prepare(Connection& connection);

  /// A transaction begins: nothing that was read before is still true, compiled rules of an
  /// unchanged version apart.
  void Begin();
  /// Writes what was changed since.
  Result<void> Flush();
  /// Writes what the rules changed, but for the records themselves. Errors: internal (a constraint:
  /// the last line), or those of the disk.
  Result<void> Persist(rules::RecordRows& rows);
  /// Takes over the records. Cannot fail: to be called when nothing else of the batch can.
  void TakeOver(rules::RecordRows& rows);
  /// Outside the batch's savepoint: writes and forgets the records if they are many.
  Result<void> Trim();

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

  /// What is due by now, at most `limit` each.
  Result<std::vector<RecordKey>> DueRecords(Time now, int limit);
  Result<std::vector<TransferId>> DueTransfers(Time now, int limit);
  Result<std::optional<Time>> NextDue();
  /// Deletes finished transfers of before `before`: how many.
  Result<std::int64_t> Prune(Time before, std::int64_t limit);

 private:
  struct CachedRecord {
    std::optional<rules::StoredRecord> record;  // nothing: there is none
    bool is_stored = false;                     // as far as the table knows
    bool is_dirty = false;
  };

  Result<void> PersistKind(const std::string& name, const rules::KindRow& row,
                           rules::RecordRows& rows);
  Result<void> PersistKeys(rules::RecordRows& rows);
  Result<void> PersistTransfer(const rules::TransferRow& row);
  Result<void> Write(const rules::StoredRecord& record, bool is_stored);

  Connection* connection_ = nullptr;
  std::map<RecordKey, CachedRecord> records_;  // of this transaction
  std::size_t cached_bytes_ = 0;
  std::map<std::string, std::optional<StoredKind>> kinds_;  // of this transaction
  std::map<std::string, StoredKind> compiled_;              // for longer, by kind

  Statement select_record_, insert_record_, update_record_, delete_record_, scan_records_;
  Statement select_children_, select_children_of_kind_;
  Statement select_kind_, upsert_kind_;
  Statement select_key_, insert_key_, delete_key_, delete_keys_of_kind_;
  Statement select_transfer_, insert_transfer_, update_transfer_, delete_transfers_;
  Statement select_due_records_, select_due_transfers_, min_due_record_, min_due_transfer_;
};

}  // namespace holdfast::engine
