// The records, kinds and transfers of one transaction: loaded and locked for all its batches at
// once, changed in memory batch by batch, written together.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "engine/postgres/answers.h"
#include "engine/postgres/connection.h"
#include "engine/sql_rows.h"
#include "rules/record_rows.h"

namespace holdfast::engine::postgres {

/// As JobTable: what it was asked for and has not loaded it notes, and answers that there is no
/// such row. Confined to one thread.
class RecordTable final : public rules::RecordLoader {
 public:
  RecordTable(Connection*& connection, const Settings& settings);

  void Clear();
  void Forget();
  /// Whether anything was asked for that is not loaded and locked.
  bool Lacks() const { return lacks_; }
  /// A record that is to be locked.
  void Want(const RecordKey& key) { wanted_.insert(key); }
  /// Whether who holds a unique key is looked up before it is taken. Otherwise the constraint finds
  /// out, which costs nothing as long as nobody does.
  bool looks_up_keys = false;
  /// Whether kinds are locked for changing their rules, or declaring them: nobody writes their
  /// records meanwhile.
  bool changes_kinds = false;

  void QueueLoad(Connection& connection);
  Result<void> TakeLoaded(Answers& answers);
  /// What is not there cannot be locked: whether a record that was not there has come into being
  /// while this transaction waited for what is. Then it must begin anew.
  Result<bool> HasNewcomers();

  /// A key was taken without looking who has it, and given up again, so that no constraint will
  /// find out. Then the transaction must begin anew, and look keys up.
  bool TookUnseenKey() const { return took_unseen_key_; }

  /// The batch at hand is accepted.
  void TakeOver(rules::RecordRows& rows);
  void QueueWrite(Connection& connection);
  bool HasWrites() const;

  Result<std::optional<StoredKind>> LoadKind(const std::string& name) override;
  Result<std::optional<rules::StoredRecord>> LoadRecord(const RecordKey& key) override;
  Result<std::optional<Transfer>> LoadTransfer(TransferId id) override;
  Result<std::vector<RecordKey>> FindChildren(const RecordKey& parent, const std::string& kind,
                                              const std::vector<std::string>& statuses,
                                              int limit) override;
  Result<std::int64_t> NextId(const std::string& kind, std::int64_t last) override;
  Result<std::optional<std::string>> FindKeyHolder(const std::string& kind, const std::string& rule,
                                                   const std::string& key) override;
  Result<std::vector<rules::StoredRecord>> ScanRecords(const std::string& kind,
                                                       const std::string& after,
                                                       int limit) override;

 private:
  struct CachedRecord {
    std::optional<rules::StoredRecord> record;  // nothing: there is none
    bool is_stored = false;
    bool is_dirty = false;
  };
  struct CachedTransfer {
    Transfer transfer;
    rules::Change change = rules::Change::kNone;
  };
  struct KeyChange {
    std::optional<std::string> stored;  // who held it before, of the records here
    std::optional<std::string> holder;  // who holds it now, of the records here
  };
  using UniqueKey = std::tuple<std::string, std::string, std::string>;  // kind, rule, key
  enum class Step : std::uint8_t { kTransfers, kRecords, kNewKinds, kKinds };

  Result<void> TakeRecords(const Answer& answer);
  Result<void> TakeKinds(const Answer& answer);
  void NoteKeys(rules::RecordRows& rows);
  void QueueKinds(Connection& connection);
  void QueueRecords(Connection& connection);
  void QueueKeys(Connection& connection);
  void QueueTransfers(Connection& connection);

  Connection*& connection_;  // that of the lane, which may be another after a failure
  bool lacks_ = false;
  bool took_unseen_key_ = false;
  std::set<RecordKey> wanted_;
  std::set<std::string> wanted_kinds_;
  std::set<TransferId> wanted_transfers_;
  std::map<RecordKey, CachedRecord> records_;
  std::map<std::string, std::optional<StoredKind>> kinds_;
  std::map<TransferId, std::optional<CachedTransfer>> transfers_;
  std::map<UniqueKey, KeyChange> keys_;
  struct AppliedKind {
    Kind kind;
    std::vector<std::tuple<std::string, std::string, std::string>> keys;  // rule, key, id
  };
  std::vector<AppliedKind> applied_kinds_;
  std::vector<Step> queued_;
  std::map<std::string, StoredKind> compiled_;  // for longer, by kind

  const Sql load_transfers_, load_records_, new_kinds_, load_kinds_, lock_kinds_;
  const Sql find_newcomer_, find_children_, find_free_id_, find_key_, scan_records_;
  const Sql insert_records_, update_records_, delete_records_;
  const Sql upsert_kind_, delete_keys_of_kind_, delete_keys_, insert_keys_;
  const Sql insert_transfers_, update_transfers_;
};

}  // namespace holdfast::engine::postgres
