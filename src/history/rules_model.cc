#include "history/rules_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/result.h"
#include "history/objects.h"
#include "history/without_times.h"
#include "rules/limits.h"
#include "wire/encode.h"

namespace holdfast::history {
namespace {

using State = RulesModel::State;

/// Above every id that an answer can tell: for what is made without anybody hearing of it.
constexpr std::int64_t kUnheardOf = std::numeric_limits<std::int64_t>::max() / 2;

/// The rows of a state, as the rules load them.
class StateLoader final : public rules::RecordLoader, public rules::LockLoader {
 public:
  StateLoader(const State& state, const StoredKinds& kinds, rules::Rows& rows)
      : state_(state), kinds_(kinds), rows_(rows) {}

  Result<Job*> LoadJob(JobId id) {
    auto found = state_.jobs.find(id);
    return found == state_.jobs.end() ? nullptr : rows_.Own(*found->second);
  }
  Result<Job*> LoadUnique(std::string_view kind, std::string_view key) {
    for (const auto& [id, job] : state_.jobs) {
      if (job->kind == kind && job->unique_key == key && rules::HoldsUniqueKey(*job)) {
        return rows_.Own(*job);
      }
    }
    return nullptr;
  }
  Result<Queue*> LoadQueue(std::string_view) { return nullptr; }

  Result<std::optional<StoredKind>> LoadKind(const std::string& name) override {
    return Find<std::optional<StoredKind>>(kinds_, name, [](const auto& kind) { return kind; });
  }
  Result<std::optional<rules::StoredRecord>> LoadRecord(const RecordKey& key) override {
    return Find<std::optional<rules::StoredRecord>>(state_.records, key, Content);
  }
  Result<std::optional<Transfer>> LoadTransfer(TransferId id) override {
    return Find<std::optional<Transfer>>(state_.transfers, id, Content);
  }
  Result<std::vector<RecordKey>> FindChildren(const RecordKey& parent, const std::string& kind,
                                              const std::vector<std::string>& statuses,
                                              int limit) override {
    std::vector<RecordKey> found;
    for (const auto& [key, record] : state_.records) {
      if (record->parent != parent || (!kind.empty() && key.kind != kind)) continue;
      if (std::ranges::find(statuses, record->status) == statuses.end()) continue;
      found.push_back(key);
    }
    if (found.size() > static_cast<std::size_t>(limit)) found.resize(limit);
    return found;
  }
  Result<std::optional<std::string>> FindKeyHolder(const std::string& kind, const std::string& rule,
                                                   const std::string& key) override {
    for (const auto& [at, record] : state_.records) {
      auto rules = kinds_.find(kind);
      if (at.kind != kind || rules == kinds_.end()) continue;
      if (rules::UniqueKeysOf(*rules->second.rules, *record).contains({rule, key})) return at.id;
    }
    return std::nullopt;
  }
  Result<std::vector<rules::StoredRecord>> ScanRecords(const std::string&, const std::string&,
                                                       int) override {
    return std::vector<rules::StoredRecord>();  // for kind.apply alone, which is no part of this
  }

  Result<rules::StoredLock*> LoadLock(std::string_view name) override {
    rules::StoredLock& lock = locks_[std::string(name)];
    if (!lock.name.empty()) return &lock;
    auto found = state_.locks.find(std::string(name));
    if (found != state_.locks.end()) lock = *found->second;
    lock.name = name;
    return &lock;
  }
  // Whoever waits is not seen until the lock is granted: no circles.
  Result<bool> IsEngaged(const std::string&) override { return false; }
  Result<std::vector<std::string>> WaitsOf(const std::string&) override {
    return std::vector<std::string>();
  }
  Result<bool> HasRecordLocks() override { return !state_.locks.empty(); }
  Result<std::map<std::int64_t, Time>> LoadSessions() override {
    return std::map<std::int64_t, Time>();
  }

 private:
  static constexpr auto Content = [](const auto& row) { return *row; };

  template <typename Answer, typename Table, typename Key, typename Read>
  static Answer Find(const Table& table, const Key& key, Read read) {
    auto found = table.find(key);
    if (found == table.end()) return std::nullopt;
    return read(found->second);
  }

  const State& state_;
  const StoredKinds& kinds_;
  rules::Rows& rows_;
  std::map<std::string, rules::StoredLock> locks_;  // copies, to be changed
};

/// The lowest token, or id, that the receipt tells was given out in this commit; nothing: none.
struct GivenOut {
  std::optional<std::int64_t> token, job, record, transfer;

  static void Lower(std::optional<std::int64_t>& lowest, std::int64_t number) {
    lowest = std::min(lowest.value_or(number), number);
  }

  GivenOut(const Batch& batch, const Receipt& receipt) {
    for (std::size_t i = 0; i < std::min(batch.operations.size(), receipt.results.size()); ++i) {
      const Operation& operation = batch.operations[i];
      const OperationResult& result = receipt.results[i];
      if (std::holds_alternative<EnqueueJob>(operation) && result.job && !result.existing) {
        Lower(job, result.job->id);
      }
      if (std::holds_alternative<ClaimJob>(operation) && result.job) {
        Lower(token, result.job->token);
      }
      if (std::holds_alternative<AcquireLock>(operation) && result.lock) {
        for (const LockGrant& grant : result.lock->grants) Lower(token, grant.token);
      }
      if (std::holds_alternative<MakeTransfer>(operation) && result.transfer) {
        Lower(transfer, result.transfer->id);
      }
      const auto* create = std::get_if<CreateRecord>(&operation);
      if (create == nullptr || !create->id.empty() || !result.record) continue;
      Lower(record, std::strtoll(result.record->id.c_str(), nullptr, 10));
    }
  }
};

/// Notes the tokens that the receipt tells were given out. False: one of them is not larger than
/// those before it.
bool NoteTokens(const Batch& batch, const Receipt& receipt, State& state) {
  bool rise = true;
  auto note = [&](const std::string& of, Token token) {
    Token& last = state.issued_of[of];
    rise &= token > last;
    last = token;
  };
  for (std::size_t i = 0; i < batch.operations.size(); ++i) {
    const OperationResult& result = receipt.results[i];
    if (std::holds_alternative<ClaimJob>(batch.operations[i]) && result.job) {
      note(NameOfJob(result.job->id), result.job->token);
    }
    if (std::holds_alternative<AcquireLock>(batch.operations[i]) && result.lock) {
      for (const LockGrant& grant : result.lock->grants) note(NameOfLock(grant.name), grant.token);
    }
  }
  return rise;
}

/// When it was done, as far as the receipt tells: for what the rules write into the data. A record
/// that an idle edit left as it was tells of an earlier change.
Time InstantOf(const std::optional<Receipt>& receipt) {
  Time latest;
  if (!receipt) return latest;
  for (const OperationResult& result : receipt->results) {
    if (result.record) latest = std::max(latest, result.record->updated_at);
  }
  return latest;
}

/// What makes a difference, as text.
std::string CanonicalOf(const State& state) {
  std::string text = fmt::format("{}", state.issued);
  for (const auto& [name, token] : state.issued_of) text += fmt::format(" {}={}", name, token);
  for (const auto& [key, record] : state.records) {
    text += fmt::format("\n{}/{} {} {} {} {} {}", key.kind, key.id, record->version, record->status,
                        record->fence, record->updated_by, record->text);
    for (const auto& [path, amount] : record->reserved) text += fmt::format(" {}={}", path, amount);
    for (const auto& [of, count] : record->children) {
      text += fmt::format(" {}/{}={}", of.first, of.second, count);
    }
  }
  for (const auto& [id, job] : state.jobs) {
    text += '\n';
    text += wire::ToText(wire::WriteJob, *job);
  }
  for (const auto& [name, lock] : state.locks) {
    text += "\n" + name;
    for (const rules::StoredHolder& holder : lock->holders) {
      text += fmt::format(" {} {} {} {}", holder.token, holder.owner, static_cast<int>(holder.mode),
                          holder.limit);
    }
  }
  for (const auto& [id, transfer] : state.transfers) {
    text += fmt::format("\n{} {} {}", id, static_cast<int>(transfer->state), transfer->posted);
  }
  for (const auto& [key, kept] : state.answers) text += "\n" + key;
  return text;
}

template <typename Table, typename Key, typename Row>
void Put(Table& table, const Key& key, Row row) {
  WithoutTimes(row);
  table[key] = std::make_shared<const Row>(std::move(row));
}

/// Takes over what the rules changed.
void Persist(rules::Rows& rows, State& state) {
  for (const rules::JobRow& row : rows.jobs()) {
    if (row.change == rules::Change::kNone) continue;
    if (row.change == rules::Change::kDeleted) {
      state.jobs.erase(row.job->id);
    } else {
      Put(state.jobs, row.job->id, *row.job);
    }
  }
  for (const auto& [key, row] : rows.records().records()) {
    if (!row.is_changed) continue;
    if (row.exists) {
      Put(state.records, key, row.record);
    } else {
      state.records.erase(key);
    }
  }
  for (const auto& [id, row] : rows.records().transfers()) {
    if (row.change != rules::Change::kNone) Put(state.transfers, id, row.transfer);
  }
  for (const rules::StoredLock* lock : rows.locks().locks()) {
    if (lock->IsFree()) {
      state.locks.erase(lock->name);
    } else {
      Put(state.locks, lock->name, *lock);
    }
  }
}

/// Grants whose tokens nobody could know are the same under any token.
void ForgetGuesses(const std::set<Token>& guessed, Receipt& mine, Receipt& told) {
  for (std::size_t i = 0; i < std::min(mine.results.size(), told.results.size()); ++i) {
    if (!mine.results[i].lock || !told.results[i].lock) continue;
    auto& grants = mine.results[i].lock->grants;
    auto& others = told.results[i].lock->grants;
    for (std::size_t k = 0; k < std::min(grants.size(), others.size()); ++k) {
      if (guessed.contains(grants[k].token)) grants[k].token = others[k].token = 0;
    }
  }
}

bool IsSame(const Receipt& mine, const Receipt& told, const std::set<Token>& guessed) {
  auto equal = [](const Receipt& a, const Receipt& b) {
    return a.replayed == b.replayed && a.results == b.results;
  };
  if (equal(mine, told)) return true;
  if (guessed.empty()) return false;
  Receipt my_copy = mine;
  Receipt their_copy = told;
  ForgetGuesses(guessed, my_copy, their_copy);
  return equal(my_copy, their_copy);
}

/// An engine need not know which rule it was: a constraint that was hit says less.
bool IsSame(const Error& mine, const Error& told) {
  return mine.code == told.code && mine.detail.expected == told.detail.expected &&
         mine.detail.current == told.detail.current &&
         (told.detail.rule.empty() || mine.detail.rule == told.detail.rule);
}

/// What is read.
struct ReadCheck {
  const State& state;
  const Answer& answer;

  bool operator()(const ReadRecord& read) const {
    const auto* told = std::get_if<std::optional<Record>>(&answer);
    auto found = state.records.find(read.key);
    if (told == nullptr || told->has_value() != (found != state.records.end())) return false;
    if (!*told) return true;
    Record seen = **told;
    WithoutTimes(seen);
    return seen == rules::ToRecord(*found->second);
  }
  bool operator()(const ReadJob& read) const {
    const auto* told = std::get_if<std::optional<Job>>(&answer);
    auto found = state.jobs.find(read.id);
    if (told == nullptr || told->has_value() != (found != state.jobs.end())) return false;
    if (!*told) return true;
    Job seen = **told;
    WithoutTimes(seen);
    Job there = *found->second;
    there.token = 0;  // for its claimer alone
    return seen == there;
  }
  bool operator()(const ReadLock& read) const {
    const auto* told = std::get_if<Lock>(&answer);
    if (told == nullptr) return false;
    auto found = state.locks.find(read.name);
    Lock there{.name = read.name};
    if (found != state.locks.end()) there = rules::ToLock(*found->second, Time());
    Lock seen = *told;
    for (Lock* lock : {&seen, &there}) {
      lock->waiters.clear();  // they are in no state: see RulesModel
      if (lock->holders.empty()) lock->limit.reset();
      WithoutTimes(*lock);
      for (LockHolder& holder : lock->holders) {
        if (!state.guessed.empty()) holder.token = 0;
      }
    }
    return seen == there;
  }
  bool operator()(const Batch&) const { return false; }
};

}  // namespace

Result<Receipt> RulesModel::Apply(const State& state, const Posed& posed, State& after) const {
  const Batch& batch = std::get<Batch>(posed.request);
  const Time now = InstantOf(posed.receipt);
  const rules::Origin origin{.now = now, .actor = posed.call->actor, .correlation_id = {}};
  rows_.Clear(false);
  rows_.locks().now = now;
  HF_RETURN_IF_ERROR(rules::ReadArguments(batch, rows_));
  if (!batch.idempotency_key.empty()) {
    auto kept = state.answers.find(batch.idempotency_key);
    if (kept != state.answers.end()) {
      HF_RETURN_IF_ERROR(rules::CheckFingerprint(batch.idempotency_key, kept->second->fingerprint,
                                                 posed.fingerprint));
      Receipt receipt = kept->second->receipt;
      receipt.replayed = true;
      if (rules::TakesOnlyLeases(batch)) {
        StateLoader loader(state, *kinds_, rows_);
        HF_RETURN_IF_ERROR(rules::LoadRows(batch, loader, loader, loader, keys_, rows_));
        HF_RETURN_IF_ERROR(rules::CheckReplay(rows_, batch, receipt, origin));
      }
      return receipt;
    }
  }
  const GivenOut given = posed.receipt ? GivenOut(batch, *posed.receipt) : GivenOut(batch, {});
  rows_.counters = {.last_job = given.job.value_or(kUnheardOf) - 1,
                    .last_token = given.token ? *given.token - 1 : state.issued,
                    .last_audit = 0,
                    .last_record = given.record.value_or(kUnheardOf) - 1,
                    .last_transfer = given.transfer.value_or(kUnheardOf) - 1};
  const Token before = rows_.counters.last_token;
  StateLoader loader(state, *kinds_, rows_);
  HF_RETURN_IF_ERROR(rules::LoadRows(batch, loader, loader, loader, keys_, rows_));
  HF_RETURN_IF_ERROR(rules::Apply(rows_, batch, origin));
  HF_RETURN_IF_ERROR(rules::CheckUniqueKeys(rows_, loader));
  after = state;
  Persist(rows_, after);
  after.issued = std::max(state.issued, rows_.counters.last_token);
  Receipt receipt = rows_.TakeReceipt(false);
  if (!posed.receipt) {
    for (Token token = before + 1; token <= after.issued; ++token) after.guessed.insert(token);
  } else if (!NoteTokens(batch, receipt, after)) {
    return Fail(ErrorCode::kCorrupt, "the token is not larger than those before it");
  }
  for (OperationResult& result : receipt.results) WithoutTimes(result);
  if (!batch.idempotency_key.empty()) {
    after.answers[batch.idempotency_key] =
        std::make_shared<const State::Kept>(posed.fingerprint, receipt);
  }
  return receipt;
}

std::optional<State> RulesModel::StepBatch(const State& state, const Posed& posed,
                                           bool is_answered) const {
  State after;
  Result<Receipt> mine = Apply(state, posed, after);
  if (!is_answered) {
    if (!mine || mine->replayed) return std::nullopt;
  } else if (posed.call->error) {
    const Error& told = *posed.call->error;
    if (mine) {
      // It was free for this one, but not for somebody before it in line.
      if (told.code == ErrorCode::kBusy && posed.may_be_kept_back) return state;
      return std::nullopt;
    }
    if (!IsSame(mine.error(), told)) return std::nullopt;
    return state;
  } else {
    if (!mine) return std::nullopt;
    Receipt told = *posed.receipt;
    for (OperationResult& result : told.results) WithoutTimes(result);
    if (!IsSame(*mine, told, state.guessed)) return std::nullopt;
    if (mine->replayed) return state;
  }
  after.canonical = CanonicalOf(after);
  return after;
}

std::optional<std::int64_t> RulesModel::WhenDone(const Posed*, const Posed* answer) {
  if (!answer->receipt || answer->receipt->replayed) return std::nullopt;
  for (const OperationResult& result : answer->receipt->results) {
    if (result.record) return result.record->updated_at.time_since_epoch().count();
    if (!result.transfer) continue;
    const Transfer& transfer = *result.transfer;
    return transfer.finished_at.value_or(transfer.created_at).time_since_epoch().count();
  }
  return std::nullopt;
}

std::optional<State> RulesModel::Step(const State& state, const Posed* input,
                                      const Posed* const* answer) const {
  if (std::holds_alternative<Batch>(input->request)) {
    return StepBatch(state, *input, answer != nullptr);
  }
  if (answer == nullptr) return std::nullopt;  // what was read without an answer tells nothing
  const ReadCheck check{state, *input->call->answer};
  if (!std::visit(check, input->request)) return std::nullopt;
  return state;
}

}  // namespace holdfast::history
