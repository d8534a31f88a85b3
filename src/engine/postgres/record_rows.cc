#include "engine/postgres/record_rows.h"

#include <fmt/format.h>

#include "base/result.h"
#include "wire/decode.h"

namespace holdfast::engine::postgres {

Result<Record> ReadRecord(const Row& row) {
  Record record;
  record.kind = row.Text(0);
  record.id = row.Text(1);
  record.version = row.Integer(2);
  record.status = row.Text(3);
  if (!row.IsNull(4)) record.parent = RecordKey{row.String(4), row.String(5)};
  record.created_at = row.TimeAt(6);
  record.updated_at = row.TimeAt(7);
  record.updated_by = row.Text(8);
  record.expires_at = row.OptionalTime(9);
  if (!row.IsNull(10)) {
    HF_ASSIGN_OR_RETURN(record.reserved, wire::DecodeReservations(row.Text(10)));
  }
  if (!row.IsNull(11)) {
    HF_ASSIGN_OR_RETURN(record.children, wire::DecodeChildren(row.Text(11)));
  }
  record.data = row.Text(12);
  record.fence = row.Integer(13);
  return record;
}

Kind ReadKind(const Row& row) {
  return {.name = row.String(0),
          .version = row.Integer(1),
          .rules = row.String(2),
          .updated_at = row.TimeAt(3),
          .updated_by = row.String(4)};
}

Result<Transfer> ReadTransfer(const Row& row) {
  Transfer transfer;
  transfer.id = row.Integer(0);
  transfer.from = {row.String(1), row.String(2)};
  transfer.to = {row.String(3), row.String(4)};
  transfer.path = row.Text(5);
  transfer.amount = row.Integer(6);
  transfer.posted = row.Integer(7);
  std::optional<TransferState> state = ParseTransferState(row.Text(8));
  if (!state) {
    return Fail(ErrorCode::kCorrupt, fmt::format("transfer {} has no known state", transfer.id));
  }
  transfer.state = *state;
  transfer.created_at = row.TimeAt(9);
  transfer.expires_at = row.OptionalTime(10);
  transfer.finished_at = row.OptionalTime(11);
  transfer.created_by = row.Text(12);
  return transfer;
}

}  // namespace holdfast::engine::postgres
