// The records, kinds and transfers that a batch touches: the part of Rows that is about them.
//
// Unlike jobs, records are copies that the engine takes over once every rule has agreed: there is
// nothing to undo.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/context.h"
#include "rules/effort.h"
#include "rules/kind_rules.h"
#include "rules/rows.h"

namespace holdfast::rules {

/// A record as the rules see it.
struct StoredRecord {
  RecordKey key;
  std::int64_t version = 0;
  std::string status;
  Json data = Json::object();
  std::string text = "{}";  // of `data`; behind it while rules run
  std::optional<RecordKey> parent;
  Time created_at;
  Time updated_at;
  std::string updated_by;
  std::optional<Time> expires_at;
  std::int64_t fence = 0;
  std::map<std::string, std::int64_t> reserved;                          // by path
  std::map<std::pair<std::string, std::string>, std::int64_t> children;  // by kind and status
};

Record ToRecord(const StoredRecord& stored);

/// The reverse, for engines whose rows are Records. Errors: corrupt.
Result<StoredRecord> ToStored(Record record);

/// Under which rule, and the values as one text.
using UniqueKeys = std::set<std::pair<std::string, std::string>>;

/// The unique keys that the record holds under these rules.
UniqueKeys UniqueKeysOf(const KindRules& rules, const StoredRecord& record);

/// Numbers of operations from 0 up are those of the batch; what is not one has a number below.
constexpr int kNoOperation = -1;
constexpr int kBeforeOperations = -2;  // and down: guards, and what maintenance does

struct RecordRow {
  StoredRecord record;   // its key is always set
  bool existed = false;  // before the batch
  bool exists = false;
  bool is_changed = false;
  bool is_written = false;       // its version is another, or it is gone
  int operation = kNoOperation;  // the latest that changed it
  UniqueKeys keys_before;
};

struct KindRow {
  std::optional<Kind> kind;  // nothing: not declared
  KindRulesPtr rules;
  bool is_changed = false;
};

struct TransferRow {
  Transfer transfer;
  Change change = Change::kNone;
};

/// What kind.apply found out before the rules run.
struct Proposal {
  KindRulesPtr rules;
  std::vector<std::string> violations;  // the first of them
  std::int64_t broken = 0;              // how many records
  std::int64_t doubled = 0;             // how many share a unique key with another
  std::map<RecordKey, UniqueKeys> keys;
};

/// What the engine reads for a batch with records. Confined to one thread; the answers are copies.
class RecordLoader {
 public:
  struct StoredKind {
    Kind kind;
    KindRulesPtr rules;
  };
  virtual ~RecordLoader() = default;
  virtual Result<std::optional<StoredKind>> LoadKind(const std::string& name) = 0;
  virtual Result<std::optional<StoredRecord>> LoadRecord(const RecordKey& key) = 0;
  virtual Result<std::optional<Transfer>> LoadTransfer(TransferId id) = 0;
  /// At most `limit` children in one of these statuses, of that kind (empty: any).
  virtual Result<std::vector<RecordKey>> FindChildren(const RecordKey& parent,
                                                      const std::string& kind,
                                                      const std::vector<std::string>& statuses,
                                                      int limit) = 0;
  /// A number above `last` that may be the id of a new record: LoadRecord tells whether it is free.
  /// A loader that knows better passes over numbers that are taken.
  virtual Result<std::int64_t> NextId(const std::string& kind, std::int64_t last) {
    (void)kind;
    return last + 1;
  }
  /// The record of the kind that holds the unique key, or nothing.
  virtual Result<std::optional<std::string>> FindKeyHolder(const std::string& kind,
                                                           const std::string& rule,
                                                           const std::string& key) = 0;
  /// The records of the kind after this id, in the order of their ids: at most `limit`, and at
  /// least one if there is one.
  virtual Result<std::vector<StoredRecord>> ScanRecords(const std::string& kind,
                                                        const std::string& after, int limit) = 0;

  /// Of the batch at hand: looked at in long scans (CTX-1).
  const Context* caller = nullptr;
};

/// One batch at a time.
class RecordRows {
 public:
  void Clear();

  // For loading.

  void AddKind(const std::string& name, std::optional<RecordLoader::StoredKind> kind);
  /// Nothing: there is no such record.
  void Add(const RecordKey& key, std::optional<StoredRecord> record);
  void Add(Transfer transfer);
  bool Has(const RecordKey& key) const { return records_.contains(key); }
  bool HasKind(const std::string& name) const { return kinds_.contains(name); }

  // For the rules. Rows stay where they are until Clear.

  /// The record, or nothing if it does not exist (any more).
  RecordRow* Find(const RecordKey& key);
  /// The row of a record that is about to be created.
  RecordRow& RowFor(const RecordKey& key);
  KindRow& KindNamed(const std::string& name);
  /// Before the first change of a row: notes the unique keys that it held.
  void MarkChanged(RecordRow& row);
  /// Nothing: the kind is not declared.
  const KindRules* RulesOf(const std::string& kind);
  TransferRow* FindTransfer(TransferId id);
  TransferRow& Insert(Transfer transfer);
  Transfer& Edit(TransferRow& row);

  // For the engine, after the rules.

  bool IsEmpty() const {
    return records_.empty() && kinds_.empty() && transfers_.empty() && arguments.empty();
  }
  std::map<RecordKey, RecordRow>& records() { return records_; }
  std::map<std::string, KindRow, std::less<>>& kinds() { return kinds_; }
  std::map<TransferId, TransferRow>& transfers() { return transfers_; }

  /// By operation: its JSON argument; what it proposes.
  std::map<std::size_t, Json> arguments;
  std::map<std::size_t, std::string> new_ids;  // of records that are created without one
  std::map<std::size_t, Proposal> proposals;
  int current_operation = kNoOperation;
  Effort effort;  // of the batch

 private:
  std::map<RecordKey, RecordRow> records_;
  std::map<std::string, KindRow, std::less<>> kinds_;
  std::map<TransferId, TransferRow> transfers_;
};

}  // namespace holdfast::rules
