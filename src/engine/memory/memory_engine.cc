#include "engine/memory/memory_engine.h"

#include "base/check.h"
#include "base/engine_clock.h"
#include "base/mutant.h"
#include "base/mutex.h"
#include "base/result.h"
#include "engine/memory/tables.h"
#include "rules/answer_size.h"
#include "rules/apply.h"
#include "rules/limits.h"
#include "rules/load.h"
#include "rules/validate.h"
#include "wire/encode.h"

namespace holdfast::engine {
namespace {

using base::ReaderLock;
using base::WriterLock;

constexpr int kRowsBetweenChecks = 1000;  // of the context, in a long scan (CTX-1)
constexpr int kQueuesAtOnce = 1000;       // whose finished jobs one step of maintenance looks at

/// One mutex: readers share it, a commit has it to itself. A commit is done when it returns, so the
/// completions run inline.
class MemoryEngine final : public Engine {
 public:
  explicit MemoryEngine(const StoreOptions& options)
      : clock_(options.clock != nullptr ? *options.clock : Clock::System(),
               base::EngineClock::Anchor(options.clock != nullptr ? *options.clock
                                                                  : Clock::System())) {}

  const Traits& traits() const override { return traits_; }

  void Commit(const Context& context, std::vector<Batch> batches, CommitDone done) override {
    std::vector<Result<Receipt>> answers;
    answers.reserve(batches.size());
    if (Result<void> alive = context.Check(); !alive) {
      answers.resize(batches.size(), std::unexpected(alive.error()));
      return done(std::move(answers));
    }
    Change change;
    const Time called = clock_.Now();
    {
      WriterLock lock(mutex_);
      rules::Origin origin = MakeOrigin(context, called);
      std::size_t room = rules::kAnswerBytes;
      for (const Batch& batch : batches) {
        answers.push_back(CommitOne(context, batch, origin, change, room));
      }
    }
    Notify(change);
    done(std::move(answers));
  }

  Result<Receipt> CommitAndWait(const Context& context, Batch batch) override {
    HF_RETURN_IF_ERROR(context.Check());
    Change change;
    const Time called = clock_.Now();
    Result<Receipt> answer = [&] {
      WriterLock lock(mutex_);
      std::size_t room = rules::kAnswerBytes;
      return CommitOne(context, batch, MakeOrigin(context, called), change, room);
    }();
    Notify(change);
    return answer;
  }

  void Claim(const Context& context, ClaimRequest request, ClaimDone done) override {
    if (Result<void> alive = context.Check(); !alive) {
      return done(std::unexpected(std::move(alive).error()));
    }
    std::vector<Job> jobs;
    Change change;
    const Time called = clock_.Now();
    {
      WriterLock lock(mutex_);
      std::vector<JobId> ids = tables_.FindClaimable(request);
      LoadJobs(ids, rules::kAnswerBytes);
      rules::ClaimAll(rows_, ids, request, MakeOrigin(context, called));
      tables_.Persist(rows_);
      change.Take(rows_);
      for (OperationResult& result : rows_.TakeReceipt(false).results) {
        jobs.push_back(std::move(*result.job));
      }
    }
    Notify(change);
    done(std::move(jobs));
  }

  Result<std::optional<Job>> GetJob(const Context& context, JobId id) override {
    HF_RETURN_IF_ERROR(context.Check());
    ReaderLock lock(mutex_);
    auto found = tables_.jobs.find(id);
    if (found == tables_.jobs.end()) return std::nullopt;
    return found->second;
  }

  Result<JobPage> ListJobs(const Context& context, const JobFilter& filter) override {
    HF_RETURN_IF_ERROR(context.Check());
    HF_ASSIGN_OR_RETURN(JobId after, rules::ParseCursor(filter.cursor));
    JobPage page;
    ReaderLock lock(mutex_);
    int rows = 0;
    rules::PageRoom room(filter.limit);
    for (auto job = tables_.jobs.upper_bound(after); job != tables_.jobs.end(); ++job) {
      if (++rows % kRowsBetweenChecks == 0) HF_RETURN_IF_ERROR(context.Check());
      if (!Matches(job->second, filter)) continue;
      if (!room.Take(job->second)) {
        page.next_cursor = std::to_string(page.items.back().id);
        break;
      }
      page.items.push_back(job->second);
    }
    return page;
  }

  Result<QueuePage> ListQueues(const Context& context, const QueueFilter& filter) override {
    HF_RETURN_IF_ERROR(context.Check());
    QueuePage page;
    rules::PageRoom room(filter.limit);
    ReaderLock lock(mutex_);
    for (auto queue = tables_.queues.upper_bound(filter.cursor); queue != tables_.queues.end();
         ++queue) {
      if (!room.Take(queue->second.queue)) {
        page.next_cursor = page.items.back().name;
        break;
      }
      page.items.push_back(AsRead(queue->second));
    }
    return page;
  }

  Result<std::optional<Queue>> GetQueue(const Context& context, std::string_view name) override {
    HF_RETURN_IF_ERROR(context.Check());
    ReaderLock lock(mutex_);
    auto found = tables_.queues.find(name);
    if (found == tables_.queues.end()) return std::nullopt;
    return AsRead(found->second);
  }

  Result<QueueTotals> GetTotals(const Context& context) override {
    HF_RETURN_IF_ERROR(context.Check());
    ReaderLock lock(mutex_);
    return QueueTotals{tables_.totals, static_cast<std::int64_t>(tables_.queues.size())};
  }

  Result<std::optional<Record>> GetRecord(const Context& context, const RecordKey& key) override {
    HF_RETURN_IF_ERROR(context.Check());
    ReaderLock lock(mutex_);
    auto found = tables_.records.records.find(key);
    if (found == tables_.records.records.end()) return std::nullopt;
    return rules::ToRecord(found->second);
  }

  Result<RecordPage> ListRecords(const Context& context, const RecordFilter& filter) override {
    HF_RETURN_IF_ERROR(context.Check());
    ReaderLock lock(mutex_);
    return tables_.records.List(context, filter);
  }

  Result<std::optional<Kind>> GetKind(const Context& context, std::string_view name) override {
    HF_RETURN_IF_ERROR(context.Check());
    ReaderLock lock(mutex_);
    auto found = tables_.records.kinds.find(name);
    if (found == tables_.records.kinds.end()) return std::nullopt;
    return found->second.kind;
  }

  Result<std::vector<Kind>> ListKinds(const Context& context) override {
    HF_RETURN_IF_ERROR(context.Check());
    std::vector<Kind> kinds;
    ReaderLock lock(mutex_);
    for (const auto& [name, stored] : tables_.records.kinds) kinds.push_back(stored.kind);
    return kinds;
  }

  Result<std::optional<Transfer>> GetTransfer(const Context& context, TransferId id) override {
    HF_RETURN_IF_ERROR(context.Check());
    ReaderLock lock(mutex_);
    auto found = tables_.records.transfers.find(id);
    if (found == tables_.records.transfers.end()) return std::nullopt;
    return found->second;
  }

  Result<TransferPage> ListTransfers(const Context& context,
                                     const TransferFilter& filter) override {
    HF_RETURN_IF_ERROR(context.Check());
    HF_ASSIGN_OR_RETURN(TransferId after, rules::ParseCursor(filter.cursor));
    ReaderLock lock(mutex_);
    return tables_.records.List(context, filter, after);
  }

  Result<Lock> GetLock(const Context& context, std::string_view name) override {
    HF_RETURN_IF_ERROR(context.Check());
    const Time now = clock_.Now();
    ReaderLock lock(mutex_);
    return tables_.locks.Get(name, now);
  }

  Result<LockPage> ListLocks(const Context& context, const LockFilter& filter) override {
    HF_RETURN_IF_ERROR(context.Check());
    const Time now = clock_.Now();
    ReaderLock lock(mutex_);
    return tables_.locks.List(context, filter, now);
  }

  Result<AuditPage> ListAudit(const Context& context, const AuditFilter& filter) override {
    HF_RETURN_IF_ERROR(context.Check());
    HF_ASSIGN_OR_RETURN(std::int64_t before, rules::ParseCursor(filter.cursor));
    AuditPage page;
    ReaderLock lock(mutex_);
    int rows = 0;
    rules::PageRoom room(filter.limit);
    for (std::size_t left = tables_.audit.size(); left > 0; --left) {
      const AuditView entry = tables_.audit.At(left - 1);
      if (++rows % kRowsBetweenChecks == 0) HF_RETURN_IF_ERROR(context.Check());
      if (before != 0 && entry.sequence >= before) continue;
      if (!Matches(entry, filter)) continue;
      AuditEntry item = entry.ToEntry();
      if (!room.Take(item)) {
        page.next_cursor = std::to_string(page.items.back().sequence);
        break;
      }
      page.items.push_back(std::move(item));
    }
    return page;
  }

  Result<MaintainResult> Maintain(const Context& context, MaintainRequest request) override {
    HF_RETURN_IF_ERROR(context.Check());
    MaintainResult result;
    Change change;
    {
      WriterLock lock(mutex_);
      rules::Origin origin = MakeOrigin(context, clock_.Now());
      origin.stall = request.StallAt(origin.now);
      ExpireLeases(request.limit, origin, result, change);
      PromoteDue(request.limit, origin, result, change);
      LapseDue(request.limit, origin, result, change);
      SettleLocks(request.limit, origin, result, change);
      Prune(request.limit, origin.now, result.report);
      for (AuditEntry& entry : request.refusals) {
        entry.sequence = ++tables_.counters.last_audit;
        entry.at = origin.now;
        tables_.AddAudit(entry);
      }
      if (!tables_.scheduled.empty()) result.next_due = tables_.scheduled.begin()->first;
      if (!tables_.leases.empty()) {
        Time expiry = tables_.leases.begin()->first;
        if (!result.next_due || expiry < *result.next_due) result.next_due = expiry;
      }
      for (std::optional<Time> due : {tables_.records.NextDue(), tables_.locks.NextDue()}) {
        if (due && (!result.next_due || *due < *result.next_due)) result.next_due = due;
      }
    }
    Notify(change);
    return result;
  }

  void Listen(ChangeListener* listener) override { listener_ = listener; }
  bool ChangedElsewhere() override { return false; }
  Result<Time> Now() override { return clock_.Now(); }
  Result<void> CheckHealth() override { return {}; }

 private:
  static Queue AsRead(const QueueTable& table) {
    Queue queue = table.queue;
    for (int priority = 0; priority <= rules::kLowestPriority; ++priority) {
      auto first = table.ready.lower_bound({priority, Time::min(), 0});
      if (first == table.ready.end() || std::get<int>(*first) != priority) continue;
      const Time due = std::get<Time>(*first);
      if (!queue.oldest_pending_at || due < *queue.oldest_pending_at) queue.oldest_pending_at = due;
    }
    return queue;
  }

  static bool Matches(const Job& job, const JobFilter& filter) {
    return (!filter.state || job.state == *filter.state) &&
           (filter.queue.empty() || job.queue == filter.queue) &&
           (filter.kind.empty() || job.kind == filter.kind) &&
           (!filter.parent || job.parent == filter.parent) &&
           (!filter.retrying || (job.state == JobState::kScheduled && job.attempt > 0));
  }
  static bool Matches(const AuditView& entry, const AuditFilter& filter) {
    return (filter.target.empty() || entry.target == filter.target) &&
           (filter.actor.empty() || entry.actor == filter.actor) &&
           (filter.operation.empty() || entry.operation == filter.operation) &&
           (!filter.since || entry.at >= *filter.since) &&
           (!filter.until || entry.at < *filter.until) &&
           (!filter.min_lock_wait || entry.lock_wait >= *filter.min_lock_wait) &&
           (!filter.refused || entry.error.empty() != *filter.refused);
  }

  rules::Origin MakeOrigin(const Context& context, Time called) const {
    const Time now = clock_.Now();
    return {.now = now,
            .actor = context.actor,
            .correlation_id = context.correlation_id,
            .lock_wait = now - called,
            .ahead = clock_.Ahead()};
  }

  Result<Receipt> CommitOne(const Context& context, const Batch& batch, const rules::Origin& origin,
                            Change& change, std::size_t& room) HF_REQUIRES(mutex_) {
    rows_.Clear(rules::NeedsUndo(batch));
    rows_.answer_room = room;
    rows_.locks().now = origin.now;
    HF_RETURN_IF_ERROR(rules::ReadArguments(batch, rows_));
    std::string fingerprint;
    if (!batch.idempotency_key.empty()) {
      fingerprint = wire::FingerprintOf(batch);
      auto stored = tables_.answers.find(batch.idempotency_key);
      if (stored != tables_.answers.end() && stored->second.expires_at > origin.now) {
        HF_RETURN_IF_ERROR(rules::CheckFingerprint(batch.idempotency_key,
                                                   stored->second.fingerprint, fingerprint));
        Receipt receipt = stored->second.receipt;
        receipt.replayed = true;
        if (rules::TakesOnlyLeases(batch)) HF_RETURN_IF_ERROR(CheckReplay(batch, receipt, origin));
        return receipt;
      }
    }
    rows_.counters = tables_.counters;
    tables_.records.caller = &context;
    Result<void> applied =
        rules::LoadRows(batch, tables_, tables_.records, tables_.locks, keys_, rows_);
    if (applied) applied = rules::Apply(rows_, batch, origin);
    if (applied) applied = rules::CheckUniqueKeys(rows_, tables_.records);
    if (!applied) {
      for (const AuditEntry& entry : rows_.audit()) {
        if (HF_MUTANT(audit_outside_commit)) tables_.AddAudit(entry);
      }
      if (!HF_MUTANT(refused_batch_stays)) rows_.Undo();
      tables_.locks.Forget(rows_.locks());
      return std::unexpected(std::move(applied).error());
    }
    tables_.Persist(rows_);
    change.Take(rows_);
    room = rows_.answer_room;
    Receipt receipt = rows_.TakeReceipt(false);
    if (!batch.idempotency_key.empty()) StoreAnswer(batch, fingerprint, receipt, origin.now);
    return receipt;
  }

  Result<void> CheckReplay(const Batch& batch, const Receipt& receipt, const rules::Origin& origin)
      HF_REQUIRES(mutex_) {
    Result<void> held =
        rules::LoadRows(batch, tables_, tables_.records, tables_.locks, keys_, rows_);
    if (held) held = rules::CheckReplay(rows_, batch, receipt, origin);
    tables_.locks.Forget(rows_.locks());
    return held;
  }

  void StoreAnswer(const Batch& batch, const std::string& fingerprint, const Receipt& receipt,
                   Time now) HF_REQUIRES(mutex_) {
    Time expires_at = now + rules::kIdempotencyRetention;
    StoredAnswer& answer = tables_.answers[batch.idempotency_key];
    tables_.answers_by_expiry.erase({answer.expires_at, batch.idempotency_key});
    answer = {fingerprint, receipt, expires_at};
    tables_.answers_by_expiry.emplace(expires_at, batch.idempotency_key);
  }

  /// Fills rows_ with these jobs and their queues.
  void LoadJobs(const std::vector<JobId>& ids,
                std::size_t most_bytes = std::numeric_limits<std::size_t>::max())
      HF_REQUIRES(mutex_) {
    rows_.Clear(false);
    rows_.counters = tables_.counters;
    (void)rules::LoadJobRows(ids, tables_, keys_, rows_, most_bytes);  // memory does not fail
  }

  static std::vector<JobId> TakeUntil(const TimeIndex& index, Time now, int limit) {
    std::vector<JobId> ids;
    for (const auto& [at, id] : index) {
      if (at > now || ids.size() == static_cast<std::size_t>(limit)) break;
      ids.push_back(id);
    }
    return ids;
  }

  void ExpireLeases(int limit, const rules::Origin& origin, MaintainResult& result, Change& change)
      HF_REQUIRES(mutex_) {
    LoadJobs(TakeUntil(tables_.leases, origin.now, limit));
    for (rules::JobRow& row : rows_.jobs()) rules::EndDue(rows_, row, origin);
    tables_.Persist(rows_);
    change.Take(rows_);
    for (const rules::JobRow& row : rows_.jobs()) result.expired.push_back(*row.job);
    result.report.expired = static_cast<std::int64_t>(rows_.jobs().size());
    result.report.more |= result.report.expired == limit;
  }

  void PromoteDue(int limit, const rules::Origin& origin, MaintainResult& result, Change& change)
      HF_REQUIRES(mutex_) {
    LoadJobs(TakeUntil(tables_.scheduled, origin.now, limit));
    for (rules::JobRow& row : rows_.jobs()) rules::EndDue(rows_, row, origin);
    tables_.Persist(rows_);
    change.Take(rows_);
    result.report.promoted = static_cast<std::int64_t>(rows_.jobs().size());
    result.report.more |= result.report.promoted == limit;
  }

  void LapseDue(int limit, const rules::Origin& origin, MaintainResult& result, Change& change)
      HF_REQUIRES(mutex_) {
    std::vector<RecordKey> records = tables_.records.DueRecords(origin.now, limit);
    std::vector<TransferId> transfers = tables_.records.DueTransfers(origin.now, limit);
    if (records.empty() && transfers.empty()) return;
    rows_.Clear(false);
    rows_.counters = tables_.counters;
    // Loading from memory does not fail.
    HF_CHECK(rules::LoadDueRows(records, transfers, tables_.records, keys_, rows_));
    result.report.lapsed = rules::LapseDue(rows_, origin);
    tables_.Persist(rows_);
    change.Take(rows_);
    auto most = static_cast<std::size_t>(limit);
    result.report.more |= records.size() == most || transfers.size() == most;
  }

  void SettleLocks(int limit, const rules::Origin& origin, MaintainResult& result, Change& change)
      HF_REQUIRES(mutex_) {
    std::vector<std::string> names = tables_.locks.DueLocks(origin.now, limit);
    if (names.empty()) return;
    result.report.more |= names.size() == static_cast<std::size_t>(limit);
    rows_.Clear(false);
    rows_.counters = tables_.counters;
    rows_.locks().now = origin.now;
    // Loading from memory does not fail.
    HF_CHECK(rules::LoadLocks(names, tables_.locks, rows_));
    rules::SettleLocks(rows_, origin);
    result.report.unlocked = static_cast<std::int64_t>(rows_.locks().notes.expired.size());
    tables_.Persist(rows_);
    change.Take(rows_);
  }

  void Prune(int limit, Time now, MaintainReport& report) HF_REQUIRES(mutex_) {
    auto next = tables_.queues.upper_bound(pruned_up_to_);
    for (int i = 0; i < kQueuesAtOnce && next != tables_.queues.end(); ++i, ++next) {
      QueueTable& table = next->second;
      for (JobState state : {JobState::kCompleted, JobState::kFailed, JobState::kCancelled}) {
        Time before = rules::PruneBefore(table.queue, state, now);
        auto left = static_cast<int>(limit - report.pruned);
        // An index entry at exactly `before` is old enough, too.
        for (JobId id : TakeUntil(table.finished[static_cast<std::size_t>(state)], before, left)) {
          tables_.Prune(table, state, id);
          ++report.pruned;
        }
      }
    }
    pruned_up_to_ = next == tables_.queues.end() ? std::string() : std::prev(next)->first;
    while (report.pruned < limit && !tables_.answers_by_expiry.empty() &&
           tables_.answers_by_expiry.begin()->first <= now) {
      tables_.answers.erase(tables_.answers_by_expiry.begin()->second);
      tables_.answers_by_expiry.erase(tables_.answers_by_expiry.begin());
      ++report.pruned;
    }
    report.pruned += tables_.records.Prune(now - rules::kTransferRetention, limit - report.pruned);
    while (report.pruned < limit && !tables_.audit.empty() &&
           tables_.audit.At(0).at <= now - rules::kAuditRetention) {
      tables_.audit.DropOldest();
      ++report.pruned;
    }
    report.more |= report.pruned >= limit;
  }

  void Notify(const Change& change) {
    if (listener_ != nullptr && !change.IsEmpty()) listener_->OnChange(change);
  }

  const Traits traits_{.name = "memory"};
  const base::EngineClock clock_;
  ChangeListener* listener_ = nullptr;  // set once, before the first commit

  base::SharedMutex mutex_{base::LockRank::kEngine};
  Tables tables_ HF_GUARDED_BY(mutex_);
  std::string pruned_up_to_ HF_GUARDED_BY(mutex_);  // the queue at which maintenance is
  rules::Rows rows_ HF_GUARDED_BY(mutex_);          // of the batch at hand
  rules::TouchedKeys keys_ HF_GUARDED_BY(mutex_);   // likewise
};

}  // namespace

Result<std::unique_ptr<Engine>> OpenMemory(const StoreOptions& options) {
  return std::make_unique<MemoryEngine>(options);
}

}  // namespace holdfast::engine
