// How a transaction is begun, and begun anew: for the parts of Transaction alone.
#pragma once

#include "base/result.h"
#include "engine/postgres/transaction.h"

namespace holdfast::engine::postgres {

template <typename Body>
Result<bool> Transaction::RunOnce(Body body) {
  HF_ASSIGN_OR_RETURN(bool has_all, Begin());
  if (!has_all) return false;
  HF_ASSIGN_OR_RETURN(bool is_done, body());
  if (!is_done) return false;
  HF_RETURN_IF_ERROR(WriteAndCommit());
  return true;
}

template <typename Body>
Result<void> Transaction::Run(Body body) {
  constexpr int kTries = 20;  // each with more rows than the one before
  for (int i = 0; i < kTries; ++i) {
    Result<bool> is_done = RunOnce(body);
    if (is_done && *is_done) return {};
    connection_->RollBack();
    if (!is_done) return std::unexpected(std::move(is_done).error());
    Forget();
  }
  return Fail(ErrorCode::kUnavailable, "what the batch touches kept changing under it");
}

}  // namespace holdfast::engine::postgres
