#include "engine/postgres/transaction.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/mutant.h"
#include "base/result.h"
#include "engine/postgres/audit_rows.h"
#include "rules/limits.h"
#include "wire/decode.h"
#include "wire/encode.h"

namespace holdfast::engine::postgres {
namespace {

/// Of the failures to load: rules that are none, and a caller who has given up. Any other concerns
/// the server.
bool ConcernsBatchAlone(const Error& error) {
  return error.code == ErrorCode::kInvalidArgument || error.code == ErrorCode::kCancelled ||
         error.code == ErrorCode::kDeadlineExceeded;
}

template <typename T>
std::size_t CountOf(const Batch& batch) {
  return static_cast<std::size_t>(std::ranges::count_if(
      batch.operations,
      [](const Operation& operation) { return std::holds_alternative<T>(operation); }));
}

std::size_t NewRecordsOf(const Batch& batch) {
  return static_cast<std::size_t>(
      std::ranges::count_if(batch.operations, [](const Operation& operation) {
        const auto* create = std::get_if<CreateRecord>(&operation);
        return create != nullptr && create->id.empty();
      }));
}

// How many tokens, and places in line, a transaction can give out: see schema.cc.
constexpr std::int64_t kStampSize = 65'536;

}  // namespace

void Transaction::Clear() {
  jobs_.Clear();
  records_.Clear();
  locks_.Clear();
  records_.looks_up_keys = records_.changes_kinds = jobs_.loads_counts = false;
  wanted_answers_.clear();
  guards_.clear();
  lacks_guards_ = false;
  commit_was_sent_ = false;
  transaction_id_ = 0;
  Forget();
}

void Transaction::Forget() {
  jobs_.Forget();
  records_.Forget();
  locks_.Forget();
  answers_.clear();
  audit_.clear();
  candidates_.clear();
  change_ = {};
  counters_ = {};
  for (Ids* ids : {&job_ids_, &record_ids_, &transfer_ids_}) counters_.*ids->last = ids->range.last;
}

bool Transaction::Lacks() const {
  return lacks_guards_ || jobs_.LacksJobs() || jobs_.LacksQueues() || records_.Lacks() ||
         locks_.Lacks();
}

Result<void> Transaction::Commit(std::span<BatchRequest> requests, bool is_careful) {
  Clear();
  records_.looks_up_keys = is_careful;
  for (const BatchRequest& request : requests) {
    if (CountOf<ApplyKind>(*request.batch) > 0) records_.changes_kinds = true;
    if (CountOf<SetQueue>(*request.batch) > 0) jobs_.loads_counts = true;
    if (!request.batch->idempotency_key.empty()) {
      wanted_answers_.push_back(request.batch->idempotency_key);
    }
    HF_RETURN_IF_ERROR(Gather(*request.batch));
  }
  Result<void> result = Run([&]() -> Result<bool> {
    for (BatchRequest& request : requests) {
      HF_ASSIGN_OR_RETURN(bool has_all, Apply(request));
      if (!has_all) return false;
    }
    return true;
  });
  GiveBackIds();
  return result;
}

Result<bool> Transaction::RunOnce(const Body& body) {
  HF_ASSIGN_OR_RETURN(bool has_all, Begin());
  if (!has_all) return false;
  HF_ASSIGN_OR_RETURN(bool is_done, body());
  if (!is_done) return false;
  HF_RETURN_IF_ERROR(WriteAndCommit());
  return true;
}

Result<void> Transaction::Run(const Body& body) {
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

/// Notes what the batch names, by looking for it where nothing is.
Result<void> Transaction::Gather(const Batch& batch) {
  BeginBatch();
  Result<void> loaded = rules::LoadRows(batch, jobs_, records_, locks_, keys_, rows_);
  if (!loaded && !ConcernsBatchAlone(loaded.error())) return loaded;
  GuardCreations(batch);
  return {};
}

/// A record that does not exist has no row to be locked, so that a create and an acquire of its
/// lock would pass each other by. An advisory lock stands in for the row: shared by creates,
/// exclusive to what changes the lock. There are few of them, because the server has not many.
void Transaction::Guard(const RecordKey& record, bool is_exclusive) {
  constexpr std::uint64_t kGuards = 1024;
  std::uint64_t hash = 14695981039346656037U;  // FNV-1a
  for (char c : node_.settings.schema + '\0' + record.kind + '/' + record.id) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  }
  constexpr std::int64_t kFirst = 0x486F'6C64'6661'0000;  // not of another program
  auto [guard, is_new] =
      guards_.try_emplace(kFirst + static_cast<std::int64_t>(hash % kGuards), is_exclusive);
  if (!is_new && (guard->second || !is_exclusive)) return;
  guard->second = is_exclusive;
  lacks_guards_ = true;
}

/// After the rows were loaded, or looked for.
void Transaction::GuardCreations(const Batch& batch) {
  if (HF_MUTANT(creations_not_guarded)) return;
  for (std::size_t i = 0; i < batch.operations.size(); ++i) {
    const auto* create = std::get_if<CreateRecord>(&batch.operations[i]);
    if (create == nullptr) continue;
    auto chosen = rows_.records().new_ids.find(i);
    if (!create->id.empty()) {
      Guard({create->kind, create->id}, false);
    } else if (chosen != rows_.records().new_ids.end()) {
      Guard({create->kind, chosen->second}, false);
    }
  }
}

void Transaction::QueueGuards() {
  lacks_guards_ = false;
  if (guards_.empty()) return;
  Column guards(Type::kInteger), are_exclusive(Type::kBool);
  for (auto [guard, is_exclusive] : guards_) {
    guards.Add(guard);
    are_exclusive.Add(is_exclusive);
  }
  connection_->Queue(take_guards_, Parameters().Add(guards).Add(are_exclusive));
}

void Transaction::BeginBatch() {
  rows_.Clear(false);  // rows are copies, but for locks
  rows_.counters = counters_;
  rows_.locks().session = node_.session;
  rows_.locks().now = now_;
  jobs_.UseRows(rows_);
  records_.caller = nullptr;
}

Result<bool> Transaction::Begin() {
  // Who changes a record only looks at its lock. It must not be taken between that look and the
  // change: so whoever takes it locks the record, too, and waits for the change.
  for (const std::string& name : locks_.wanted()) {
    auto record = rules::RecordOfLock(name);
    if (!record) continue;
    records_.Want(*record);
    Guard(*record, true);
  }
  connection_->QueueBegin(lock_timeout);
  QueueGuards();
  locks_.QueueLock(*connection_);
  records_.QueueLoad(*connection_);
  jobs_.QueueLoad(*connection_, true);
  locks_.QueueLoad(*connection_);
  if (!wanted_answers_.empty()) {
    connection_->Queue(load_answers_, Parameters().Add(Column::Of(wanted_answers_)));
  }
  // Last: tokens are drawn when every lock is held, so that they rise in the order of the grants.
  connection_->Queue(stamp_);
  HF_ASSIGN_OR_RETURN(std::vector<Answer> all, connection_->Run());
  Answers answers(std::move(all));
  for (int i = guards_.empty() ? 2 : 3; i > 0; --i) answers.Next();
  locks_.TakeLocked(answers);
  HF_RETURN_IF_ERROR(records_.TakeLoaded(answers));
  HF_RETURN_IF_ERROR(jobs_.TakeLoaded(answers));
  HF_RETURN_IF_ERROR(locks_.TakeLoaded(answers));
  if (!wanted_answers_.empty()) TakeAnswers(answers.Next());
  TakeStamp(answers.Next());
  if (Lacks()) return false;
  // Every row that is there is locked by now.
  HF_ASSIGN_OR_RETURN(bool has_newcomers, records_.HasNewcomers());
  return !has_newcomers;
}

void Transaction::TakeStamp(const Answer& answer) {
  Row row(answer, 0);
  stamp_base_ = row.Integer(0) * kStampSize;
  counters_.last_token = counters_.last_ticket = stamp_base_;
  stamped_at_ = std::chrono::steady_clock::now();
  now_ = node_.test_clock ? node_.test_clock->Now() : row.TimeAt(1);
  transaction_id_ = row.Integer(2);
}

void Transaction::TakeAnswers(const Answer& answer) {
  for (int i = 0; i < answer.size(); ++i) {
    Row row(answer, i);
    answers_[row.String(0)] = {
        .fingerprint = row.String(1), .answer = row.String(2), .expires_at = row.TimeAt(3)};
  }
}

/// False: the rules have not seen all they need.
Result<bool> Transaction::Apply(BatchRequest& request) {
  const SteadyTime began = std::chrono::steady_clock::now();
  const Batch& batch = *request.batch;
  // It may have waited for its rows.
  if (Result<void> alive = request.context->Check(); !alive) {
    request.answer = std::unexpected(std::move(alive).error());
    return true;
  }
  HF_RETURN_IF_ERROR(Reserve(record_ids_, NewRecordsOf(batch)));
  HF_RETURN_IF_ERROR(Reserve(transfer_ids_, CountOf<MakeTransfer>(batch)));
  BeginBatch();
  if (Result<void> read = rules::ReadArguments(batch, rows_); !read) {
    request.answer = std::unexpected(std::move(read).error());
    return true;
  }
  if (!batch.idempotency_key.empty()) {
    if (auto known = FindAnswer(batch, *request.fingerprint)) {
      request.answer = *std::move(known);
      return Replay(request, OriginOf(*request.context, request.called, began, now_));
    }
  }
  Result<void> applied =
      LoadAndApply(request, OriginOf(*request.context, request.called, began, now_));
  if (Lacks()) return false;
  if (!applied) {
    if (!request.answer) {
      rows_.locks().Undo();
      return true;
    }
    return std::unexpected(std::move(applied).error());
  }
  if (locks_.HasChangedUnlocked(rows_.locks())) return false;
  TakeOver(began);
  if (records_.TookUnseenKey()) {
    records_.looks_up_keys = true;
    return false;
  }
  Receipt receipt = rows_.TakeReceipt(true);
  if (!batch.idempotency_key.empty()) StoreAnswer(request, receipt);
  request.answer = std::move(receipt);
  return true;
}

/// An error that concerns the batch alone is its answer as well.
Result<void> Transaction::LoadAndApply(BatchRequest& request, const rules::Origin& origin) {
  const Batch& batch = *request.batch;
  request.answer = Receipt();
  records_.caller = request.context;
  auto refuse = [&](const Error& error) -> Result<void> {
    request.answer = std::unexpected(error);
    return std::unexpected(error);
  };
  if (auto loaded = rules::LoadRows(batch, jobs_, records_, locks_, keys_, rows_); !loaded) {
    if (ConcernsBatchAlone(loaded.error())) return refuse(loaded.error());
    return loaded;
  }
  GuardCreations(batch);
  if (Lacks()) return {};
  if (auto reserved = Reserve(job_ids_, keys_.inserts); !reserved) {
    return ConcernsBatchAlone(reserved.error()) ? refuse(reserved.error()) : reserved;
  }
  rows_.counters.last_job = counters_.last_job;
  if (auto applied = rules::Apply(rows_, batch, origin); !applied) return refuse(applied.error());
  if (auto unique = rules::CheckUniqueKeys(rows_, records_); !unique) {
    if (unique.error().code == ErrorCode::kAlreadyExists) return refuse(unique.error());
    return unique;
  }
  return {};
}

std::optional<Result<Receipt>> Transaction::FindAnswer(const Batch& batch,
                                                       const std::string& fingerprint) {
  auto known = answers_.find(batch.idempotency_key);
  if (known == answers_.end() || known->second.expires_at <= now_) return std::nullopt;
  Result<void> same =
      rules::CheckFingerprint(batch.idempotency_key, known->second.fingerprint, fingerprint);
  if (!same) return std::unexpected(std::move(same).error());
  Result<Receipt> receipt = wire::DecodeReceipt(known->second.answer);
  if (receipt) receipt->replayed = true;
  return receipt;
}

/// Of a batch that takes leases, the stored answer holds only as long as they do. False: the rules
/// have not seen all they need.
Result<bool> Transaction::Replay(BatchRequest& request, const rules::Origin& origin) {
  if (!request.answer || !rules::TakesOnlyLeases(*request.batch)) return true;
  HF_RETURN_IF_ERROR(rules::LoadRows(*request.batch, jobs_, records_, locks_, keys_, rows_));
  if (Lacks()) return false;
  Result<void> held = rules::CheckReplay(rows_, *request.batch, *request.answer, origin);
  if (!held) request.answer = std::unexpected(std::move(held).error());
  return true;
}

void Transaction::StoreAnswer(const BatchRequest& request, const Receipt& receipt) {
  answers_[request.batch->idempotency_key] = {.fingerprint = *request.fingerprint,
                                              .answer = wire::ToText(wire::WriteReceipt, receipt),
                                              .expires_at = now_ + rules::kIdempotencyRetention,
                                              .is_new = true};
}

/// Sees to it that the counter can go on for so many numbers.
Result<void> Transaction::Reserve(Ids& ids, std::size_t count) {
  std::int64_t& last = counters_.*ids.last;
  const auto wanted = static_cast<std::int64_t>(count);
  if (ids.range.end - last >= wanted) return {};
  ids.range.last = last;
  ids.pool.GiveBack(std::exchange(ids.range, {}));
  HF_ASSIGN_OR_RETURN(ids.range, ids.pool.Take(*connection_, wanted));
  last = ids.range.last;
  return {};
}

/// Numbers of a transaction that was given up can be used by another; those of one that may have
/// been committed cannot.
void Transaction::GiveBackIds() {
  for (Ids* ids : {&job_ids_, &record_ids_, &transfer_ids_}) {
    if (commit_was_sent_) ids->range.last = counters_.*ids->last;
    ids->pool.GiveBack(std::exchange(ids->range, {}));
  }
}

/// What the batch changed is what the next one of this transaction sees.
void Transaction::TakeOver(SteadyTime began) {
  auto elapsed = std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - began);
  for (AuditEntry& entry : rows_.audit()) {
    entry.commit = elapsed;
    audit_.push_back(std::move(entry));
  }
  jobs_.TakeOver(rows_);
  if (!rows_.records().IsEmpty()) records_.TakeOver(rows_.records());
  if (!rows_.locks().IsEmpty()) locks_.TakeOver(rows_.locks());
  counters_ = rows_.counters;
  change_.Take(rows_);
}

bool Transaction::HasWrites() const {
  return !audit_.empty() || jobs_.HasWrites() || records_.HasWrites() || locks_.HasWrites() ||
         std::ranges::any_of(answers_, [](const auto& entry) { return entry.second.is_new; });
}

Result<void> Transaction::WriteAndCommit() {
  if (!HasWrites()) {
    connection_->RollBack();
    return {};
  }
  const std::int64_t issued = std::max(counters_.last_token, counters_.last_ticket) - stamp_base_;
  if (issued >= kStampSize) {
    return Fail(ErrorCode::kInternal, fmt::format("one commit would issue {} tokens", issued));
  }
  jobs_.QueueWrite(*connection_);
  records_.QueueWrite(*connection_);
  locks_.QueueWrite(*connection_, now_);
  if (!HF_MUTANT(answer_after_commit)) QueueAnswers();
  connection_->QueueRows(insert_audit_, AuditRows(audit_));
  connection_->Queue(commit_);
  if (HF_MUTANT(answer_after_commit)) QueueAnswers();
  commit_was_sent_ = true;
  Result<std::vector<Answer>> written = connection_->Run();
  if (written) {
    const auto since = std::chrono::steady_clock::now() - stamped_at_;
    node_.low_watermarks.Lower(jobs_.MadeReady(),
                               now_ + std::chrono::duration_cast<Duration>(since));
    if (jobs_.NextSlot()) ++node_.slots_left;
    return {};
  }
  if (connection_->failure() != Failure::kLost) commit_was_sent_ = false;
  return std::unexpected(std::move(written).error());
}

void Transaction::QueueAnswers() {
  Column keys(Type::kText);
  RowArray rows(RowType::kAnswer);
  for (const auto& [key, answer] : answers_) {
    if (!answer.is_new) continue;
    keys.Add(key);
    rows.NextRow();
    rows.Add(key);
    rows.Add(answer.fingerprint);
    rows.Add(answer.answer);
    rows.Add(answer.expires_at);
  }
  if (keys.size() == 0) return;
  // One that is over makes room; one that somebody else has just stored is in the way, and finds
  // out that it came first.
  connection_->Queue(delete_answers_, Parameters().Add(keys).Add(now_));
  connection_->QueueRows(insert_answers_, std::move(rows));
}

}  // namespace holdfast::engine::postgres
