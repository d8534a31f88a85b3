// One operation's change of one record: edits come first, Finish judges the outcome by the rules of
// the kind and does everything that goes with a change. Internal to src/rules.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rules/apply.h"
#include "rules/record_rows.h"

namespace holdfast::rules {

class RecordChange {
 public:
  /// `operation` is its name ("record.merge"), and `action` that of an action if it is one.
  RecordChange(Rows& rows, RecordRow& row, std::string_view operation, const Origin& origin,
               std::string_view action = {});

  Json& data() { return row_->record.data; }
  RecordRow& row() { return *row_; }
  const KindRules& rules() const { return *rules_; }

  /// Goes to the details of the audit entry, and of the history if `in_history`.
  void Note(std::string_view name, Json value, bool in_history = false);
  /// What the history says of it, whole.
  void NoteForHistory(Json details) { history_ = std::move(details); }

  /// Errors: invalid_transition; rule_violation (`data` does not bring what is required). `force`
  /// lets every declared state be reached. True if the status changed, false if it need not
  /// (REC-4).
  Result<bool> MoveTo(const std::string& status, const Json& data, bool force);

  /// Capacity is not looked at.
  void Force() { is_forced_ = true; }

  /// Checks the rules (REC-3, REC-5), counts the version up, stamps, audits, and keeps the parent's
  /// counts. Errors: rule_violation, capacity_full, payload_too_large, invalid_argument.
  Result<void> Finish();
  /// As Finish, but an edit that leaves the record as it is changes nothing (REC-1): no version, no
  /// audit entry, no look at the rules.
  Result<void> FinishEdit();
  /// Whether data, as text, and status are what they were, and the history takes no entry of it.
  bool IsIdle();
  /// Takes an idle change for not made.
  void Drop();
  /// For what must not fail: everything but the checks.
  void FinishWithoutRules();

 private:
  /// Of the data.
  const std::string& Text();
  bool GoesToHistory() const;
  void AddHistory();
  void Stamp();
  Result<void> CheckAll();
  Json AuditDetails();

  Rows* rows_;
  RecordRow* row_;
  const Origin* origin_;
  const KindRules* rules_;
  std::string operation_;
  std::string action_;
  bool is_new_;
  bool is_forced_ = false;
  bool is_moved_ = false;  // to a status, be it the same
  bool was_changed_;       // by an earlier operation of the batch: the row's flags
  bool was_written_;
  int operation_before_;
  std::string old_status_;
  std::int64_t old_version_;
  std::vector<Json> old_values_;     // at the audited paths
  std::optional<std::string> text_;  // of the data, once it is known and as long as it is true
  Json details_ = Json::object();
  Json history_ = Json::object();
};

/// Counts a child that left `from` and came to `to` in the row of its parent (nothing: it did not
/// exist, or does not any more). Errors: capacity_full, rule_violation (the limit is no number);
/// none if `is_forced`. Nothing is changed on an error.
Result<void> CountInParent(Rows& rows, const KindRules& rules, const StoredRecord& child,
                           const std::optional<std::string>& from,
                           const std::optional<std::string>& to, bool is_forced);

/// The change of a child is a change of its parent, too, if the child's rules say so.
void TouchParent(Rows& rows, const KindRules& rules, const StoredRecord& child,
                 const Origin& origin);

/// Ends a timed status whose time is up. If the rules forbid it now, the record stays as it is, for
/// good, and the audit entry says why. True if it was due.
bool LapseIfDue(Rows& rows, RecordRow& row, const Origin& origin);

/// Gives up a pending transfer; both records' rows are loaded.
void EndTransfer(Rows& rows, TransferRow& row, TransferState state, const Origin& origin);

/// Sets when the present status ends.
void SetExpiry(Rows& rows, const KindRules& rules, StoredRecord& record, Time now);

/// What an audit entry of a record says beyond its origin.
void AuditRecord(Rows& rows, const Origin& origin, std::string_view operation,
                 const StoredRecord& record, std::string_view old_status, std::int64_t old_version,
                 std::int64_t new_version, const Json& details);

}  // namespace holdfast::rules
