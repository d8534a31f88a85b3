// The operations on records, kinds and transfers, one overload each. Internal to src/rules.
#pragma once

#include "rules/record_change.h"

namespace holdfast::rules {

Result<OperationOutcome> ApplyOperation(Rows& rows, const CreateRecord& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const ReplaceRecord& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const MergeRecord& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const PatchRecord& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const IncrementRecord& op,
                                        const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const AppendRecord& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const TransitionRecord& op,
                                        const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const RunAction& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const DeleteRecord& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const ApplyKind& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const MakeTransfer& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const PostTransfer& op, const Origin& origin);
Result<OperationOutcome> ApplyOperation(Rows& rows, const VoidTransfer& op, const Origin& origin);

Result<void> CheckGuard(Rows& rows, const VersionGuard& guard, const Origin& origin);
Result<void> CheckGuard(Rows& rows, const AbsentGuard& guard, const Origin& origin);
/// Errors: not_found, fenced.
Result<void> CheckGuard(Rows& rows, const FenceGuard& guard, const Origin& origin);

/// The record, with a timed status that is over brought to its end. Errors: not_found.
Result<RecordRow*> FindRecord(Rows& rows, const RecordKey& key, const Origin& origin);

/// As FindRecord, and what the operation says must be true of it is. Errors: not_found,
/// version_mismatch, rule_violation.
Result<RecordRow*> FindTarget(Rows& rows, const RecordTarget& target, const Origin& origin);

}  // namespace holdfast::rules
