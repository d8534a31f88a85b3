#include "engine/sqlite/transaction.h"

#include <algorithm>
#include <tuple>

#include "base/mutant.h"
#include "base/result.h"
#include "rules/limits.h"
#include "wire/decode.h"
#include "wire/encode.h"

namespace holdfast::engine {
namespace {

/// Of the failures to load: rules that are none, and a caller who has given up. Any other concerns
/// the disk.
bool ConcernsBatchAlone(const Error& error) {
  return error.code == ErrorCode::kInvalidArgument || error.code == ErrorCode::kCancelled ||
         error.code == ErrorCode::kDeadlineExceeded;
}

}  // namespace

Result<void> Transaction::Prepare(Connection& connection, const base::EngineClock& clock) {
  connection_ = &connection;
  clock_ = &clock;
  HF_RETURN_IF_ERROR(jobs_.Prepare(connection));
  HF_RETURN_IF_ERROR(records_.Prepare(connection));
  // SQLite's chance comes from its file system, and so from the simulated one in a simulation.
  sqlite3_randomness(sizeof session_, &session_);
  session_ = static_cast<std::int64_t>(static_cast<std::uint64_t>(session_) >> 1);
  HF_RETURN_IF_ERROR(locks_.Prepare(connection, session_));
  std::tuple<Statement&, std::string_view> statements[] = {
      {select_counters_,
       "SELECT last_job, last_token, last_audit, last_record, last_transfer, "
       "last_ticket FROM counters"},
      {update_counters_,
       "UPDATE counters SET last_job = ?, last_token = ?, last_audit = ?, last_record = ?, "
       "last_transfer = ?, last_ticket = ?, last_time = ?"},
      {savepoint_, "SAVEPOINT batch"},
      {release_, "RELEASE batch"},
      {rollback_to_, "ROLLBACK TO batch"},
      {select_answer_,
       "SELECT fingerprint, answer FROM idempotency WHERE key = ? AND expires_at > ?"},
      {insert_answer_, "INSERT OR REPLACE INTO idempotency VALUES (?, ?, ?, ?)"},
      {delete_answers_,
       "DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE expires_at <= ? "
       "LIMIT ?)"},
      {insert_audit_, "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"},
      {select_old_audit_, "SELECT sequence, at FROM audit ORDER BY sequence LIMIT ?"},
      {delete_audit_, "DELETE FROM audit WHERE sequence <= ?"},
      {select_due_, "SELECT id FROM jobs WHERE due_at <= ? ORDER BY due_at LIMIT ?"},
      // The condition lets SQLite use the partial index; without it this reads the whole table.
      {min_due_, "SELECT min(due_at) FROM jobs WHERE due_at IS NOT NULL"},
      {select_retained_,
       "SELECT id FROM jobs WHERE retained_as = ? AND queue = ? AND state = ? AND finished_at <= ? "
       "ORDER BY finished_at LIMIT ?"},
      {delete_job_, "DELETE FROM jobs WHERE id = ?"},
      {select_meta_, "SELECT CAST(value AS INTEGER) FROM meta WHERE name = ?"},
      {insert_meta_, "INSERT OR REPLACE INTO meta VALUES (?, CAST(? AS TEXT))"},
  };
  for (auto& [statement, sql] : statements) {
    HF_RETURN_IF_ERROR(statement.Prepare(connection, sql));
  }
  return {};
}

Result<void> Transaction::Begin() {
  change_ = {};
  must_write_ = false;
  jobs_.Begin(rows_);
  records_.Begin();
  HF_RETURN_IF_ERROR(locks_.Begin());
  HF_ASSIGN_OR_RETURN(bool found, select_counters_.Step());
  if (!found) return Fail(ErrorCode::kCorrupt, "the table of counters is empty");
  counters_ = {.last_job = select_counters_.Integer(0),
               .last_token = HF_MUTANT(token_not_persisted) ? counters_.last_token
                                                            : select_counters_.Integer(1),
               .last_audit = select_counters_.Integer(2),
               .last_record = select_counters_.Integer(3),
               .last_transfer = select_counters_.Integer(4),
               .last_ticket = select_counters_.Integer(5)};
  select_counters_.Reset();
  changes_at_begin_ = sqlite3_total_changes64(connection_->handle());
  return {};
}

Result<void> Transaction::Finish(Time now) {
  HF_RETURN_IF_ERROR(jobs_.Flush());
  HF_RETURN_IF_ERROR(records_.Flush());
  // With every change the time is noted, too: after a restart of the machine it must not go back.
  const bool has_changed = sqlite3_total_changes64(connection_->handle()) != changes_at_begin_;
  if (!has_changed && !must_write_) return {};
  return update_counters_.Bind(counters_.last_job)
      .Bind(HF_MUTANT(token_not_persisted) ? 0 : counters_.last_token)
      .Bind(counters_.last_audit)
      .Bind(counters_.last_record)
      .Bind(counters_.last_transfer)
      .Bind(counters_.last_ticket)
      .Bind(now)
      .Run();
}

Result<Result<Receipt>> Transaction::Commit(const Batch& batch, const std::string& fingerprint,
                                            const rules::Origin& origin, const Context& context) {
  const SteadyTime began = clock_->Steady();
  rows_.Clear(false);  // rows are copies, but for locks: a refused batch leaves no more to undo
  rows_.answer_room = answer_room_;
  rows_.locks().session = session_;
  rows_.locks().now = origin.now;
  if (Result<void> read = rules::ReadArguments(batch, rows_); !read) {
    return Result<Receipt>(std::unexpected(std::move(read).error()));
  }
  if (!batch.idempotency_key.empty()) {
    HF_ASSIGN_OR_RETURN(std::optional<Result<Receipt>> answer,
                        FindAnswer(batch, fingerprint, origin.now));
    if (answer) return Replay(batch, *std::move(answer), origin);
  }
  rows_.counters = counters_;
  records_.caller = &context;
  Result<void> applied = rules::LoadRows(batch, jobs_, records_, locks_, keys_, rows_);
  if (!applied && !ConcernsBatchAlone(applied.error())) {
    return std::unexpected(std::move(applied).error());
  }
  if (applied) applied = rules::Apply(rows_, batch, origin);
  if (applied && !HF_MUTANT(unique_key_unchecked)) {
    applied = rules::CheckUniqueKeys(rows_, records_);
    if (!applied && applied.error().code != ErrorCode::kAlreadyExists) {
      return std::unexpected(std::move(applied).error());
    }
  }
  if (!applied) return RefuseBatch(std::move(applied).error());
  HF_RETURN_IF_ERROR(savepoint_.Run());
  if (Result<void> persisted = Persist(began, origin.now); !persisted) {
    // A constraint concerns this batch alone; anything else concerns the disk.
    if (persisted.error().code != ErrorCode::kInternal || !connection_->InTransaction()) {
      return std::unexpected(std::move(persisted).error());
    }
    if (!HF_MUTANT(savepoint_kept)) HF_RETURN_IF_ERROR(rollback_to_.Run());
    HF_RETURN_IF_ERROR(release_.Run());
    return RefuseBatch(std::move(persisted).error());
  }
  answer_room_ = rows_.answer_room;
  Receipt receipt = rows_.TakeReceipt(true);
  if (!batch.idempotency_key.empty()) {
    HF_RETURN_IF_ERROR(StoreAnswer(batch, fingerprint, receipt, origin.now));
  }
  HF_RETURN_IF_ERROR(release_.Run());
  HF_RETURN_IF_ERROR(records_.Trim());
  return Result<Receipt>(std::move(receipt));
}

/// Takes back what the rules did to locks, which live from batch to batch.
Result<Receipt> Transaction::RefuseBatch(Error error) {
  if (!HF_MUTANT(refused_locks_stay)) rows_.locks().Undo();
  locks_.Forget(rows_.locks());
  return std::unexpected(std::move(error));
}

Result<std::optional<Result<Receipt>>> Transaction::FindAnswer(const Batch& batch,
                                                               const std::string& fingerprint,
                                                               Time now) {
  HF_ASSIGN_OR_RETURN(bool found, select_answer_.Bind(batch.idempotency_key).Bind(now).Step());
  if (!found) return std::nullopt;
  Result<void> same =
      rules::CheckFingerprint(batch.idempotency_key, select_answer_.Text(0), fingerprint);
  Result<Receipt> receipt = std::unexpected(Error{});
  if (same) {
    receipt = wire::DecodeReceipt(select_answer_.Text(1));
    if (receipt) receipt->replayed = true;
  } else {
    receipt = std::unexpected(std::move(same).error());
  }
  select_answer_.Reset();
  return receipt;
}

Result<Result<Receipt>> Transaction::Replay(const Batch& batch, Result<Receipt> answer,
                                            const rules::Origin& origin) {
  if (!answer || !rules::TakesOnlyLeases(batch)) return answer;
  HF_RETURN_IF_ERROR(rules::LoadRows(batch, jobs_, records_, locks_, keys_, rows_));
  Result<void> held = rules::CheckReplay(rows_, batch, *answer, origin);
  locks_.Forget(rows_.locks());
  if (!held) answer = std::unexpected(std::move(held).error());
  return answer;
}

Result<void> Transaction::StoreAnswer(const Batch& batch, const std::string& fingerprint,
                                      const Receipt& receipt, Time now) {
  std::string answer = wire::ToText(wire::WriteReceipt, receipt);
  return insert_answer_.Bind(batch.idempotency_key)
      .Bind(fingerprint)
      .Bind(answer)
      .Bind(now + rules::kIdempotencyRetention)
      .Run();
}

/// Writes what the rules changed. On an error nothing of it counts: counters_ stay as they were.
Result<void> Transaction::Persist(SteadyTime began, Time now) {
  auto elapsed = std::chrono::duration_cast<Duration>(clock_->Steady() - began);
  for (AuditEntry& entry : rows_.audit()) {
    entry.commit = elapsed;
    HF_RETURN_IF_ERROR(InsertAudit(entry));
  }
  const bool has_locks = !rows_.locks().IsEmpty();
  if (has_locks) HF_RETURN_IF_ERROR(locks_.Persist(rows_.locks(), now));
  const bool has_records = !rows_.records().IsEmpty();
  if (has_records) HF_RETURN_IF_ERROR(records_.Persist(rows_.records()));
  // Last: from here on the rows that are written before the commit are taken over.
  HF_RETURN_IF_ERROR(jobs_.Persist(rows_));
  if (has_records) records_.TakeOver(rows_.records());
  if (has_locks) locks_.Forget(rows_.locks());
  counters_ = rows_.counters;
  change_.Take(rows_);
  return {};
}

Result<void> Transaction::InsertAudit(const AuditEntry& entry) {
  return insert_audit_.Bind(entry.sequence)
      .Bind(entry.at)
      .Bind(entry.actor)
      .Bind(entry.operation)
      .Bind(entry.target)
      .Bind(entry.old_status)
      .Bind(entry.new_status)
      .Bind(entry.token)
      .Bind(entry.lock_wait.count())
      .Bind(entry.commit.count())
      .Bind(entry.correlation_id)
      .Bind(entry.details)
      .Bind(entry.error)
      .Bind(entry.count)
      .Bind(entry.old_version)
      .Bind(entry.new_version)
      .Run();
}

Result<std::vector<Job>> Transaction::Claim(const ClaimRequest& request,
                                            const rules::Origin& origin) {
  const SteadyTime began = clock_->Steady();
  HF_ASSIGN_OR_RETURN(std::vector<JobId> ids, jobs_.FindClaimable(request));
  std::vector<Job> jobs;
  if (ids.empty()) return jobs;
  HF_RETURN_IF_ERROR(LoadAll(ids, rules::kAnswerBytes));
  rules::ClaimAll(rows_, ids, request, origin);
  HF_RETURN_IF_ERROR(Persist(began, origin.now));
  jobs.reserve(ids.size());
  for (OperationResult& result : rows_.TakeReceipt(true).results) {
    jobs.push_back(*std::move(result.job));
  }
  return jobs;
}

}  // namespace holdfast::engine
