// Records, kinds and transfers as rows: the columns, and how they are read.
#pragma once

#include "engine/postgres/values.h"
#include "holdfast/error.h"
#include "holdfast/record.h"

namespace holdfast::engine::postgres {

/// The columns in the order in which the readers below expect them.
inline constexpr const char* kRecordColumns =
    "kind, id, version, status, parent_kind, parent_id, created_at, updated_at, updated_by, "
    "expires_at, reserved, children, data, fence";
inline constexpr const char* kKindColumns = "name, version, rules, updated_at, updated_by";
inline constexpr const char* kTransferColumns =
    "id, from_kind, from_id, to_kind, to_id, path, amount, posted, state, created_at, expires_at, "
    "finished_at, created_by";

/// Errors: corrupt.
Result<Record> ReadRecord(const Row& row);
/// Version 0: it is not declared.
Kind ReadKind(const Row& row);
Result<Transfer> ReadTransfer(const Row& row);

}  // namespace holdfast::engine::postgres
