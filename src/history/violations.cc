// What is wrong with a history of any length, found in the time it takes to sort it.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <tuple>

#include "history/check.h"
#include "history/objects.h"

namespace holdfast::history {
namespace {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t kShownViolations = 20;  // of one invariant

/// A lease as its holder knows it: from the answer until it sends what may end it.
struct Hold {
  const Observed* call = nullptr;
  std::string object;
  Token token = 0;
  LockMode mode = LockMode::kExclusive;
  std::int64_t limit = 0;
  Time begins;
  Time ends;  // by the clock of the engine, if nobody ends it
  std::int64_t until = kNever;
};

/// A version of a record that somebody was told of.
struct Seen {
  const Observed* call = nullptr;
  const Record* record = nullptr;
  bool is_write = false;
  bool may_be_idle = false;  // a write of what was there already leaves the version (REC-1)

  std::int64_t version() const { return record->version; }
};

/// Whether the operation may leave the record as it is.
bool MayBeIdle(const Operation& operation) {
  if (const auto* increment = std::get_if<IncrementRecord>(&operation)) {
    return std::visit([](auto by) { return by == 0; }, increment->by);
  }
  return std::holds_alternative<ReplaceRecord>(operation) ||
         std::holds_alternative<MergeRecord>(operation) ||
         std::holds_alternative<PatchRecord>(operation) ||
         std::holds_alternative<AppendRecord>(operation) ||
         std::holds_alternative<RunAction>(operation);
}

/// Whether one of the two may have found what the other had written.
bool IsIdleBeside(const Seen& one, const Seen& other) {
  const Record& a = *one.record;
  const Record& b = *other.record;
  return (one.may_be_idle || other.may_be_idle) && a.data == b.data && a.status == b.status &&
         a.updated_at == b.updated_at && a.updated_by == b.updated_by;
}

/// What the calls of a history tell, sorted by what it is about.
class Evidence {
 public:
  explicit Evidence(const History& history) {
    for (const Observed& call : history.calls) Add(call);
    for (Hold& hold : holds) {
      auto ended = ends_.find({hold.object, hold.token});
      if (ended != ends_.end()) hold.until = std::min(hold.until, ended->second);
      auto renewed = renewals_.find({hold.object, hold.token});
      if (renewed != renewals_.end()) hold.ends = std::max(hold.ends, renewed->second);
      auto forced = forced_.find(hold.object);
      if (forced != forced_.end()) hold.until = std::min(hold.until, forced->second);
    }
  }

  std::vector<Hold> holds;
  std::map<std::string, std::vector<Seen>> versions;                 // by record
  std::map<std::string, std::vector<const Observed*>> created;       // jobs and transfers
  std::map<JobId, std::vector<const Observed*>> completed, retried;  // acknowledged
  std::set<std::string> deleted;                                     // records

 private:
  void Add(const Observed& call) {
    if (const auto* batch = std::get_if<Batch>(&call.request)) return AddBatch(call, *batch);
    if (!call.answer) return;
    if (const auto* jobs = std::get_if<std::vector<Job>>(&*call.answer)) {
      for (const Job& job : *jobs) AddClaimed(call, job);
    } else if (const auto* acquire = std::get_if<AcquireLock>(&call.request)) {
      AddGrants(call, *acquire, std::get<std::vector<LockGrant>>(*call.answer));
    } else if (const auto* record = std::get_if<std::optional<Record>>(&*call.answer)) {
      if (*record) AddVersion(call, **record, false);
    }
  }

  void AddBatch(const Observed& call, const Batch& batch) {
    const Receipt* receipt = call.answer ? &std::get<Receipt>(*call.answer) : nullptr;
    const bool may_be_done = receipt != nullptr || EndOf(call) == CallEnd::kUnknown;
    if (!may_be_done || (receipt != nullptr && receipt->replayed)) return;
    for (std::size_t i = 0; i < batch.operations.size(); ++i) {
      NoteEnd(call, batch.operations[i]);
      if (receipt != nullptr && i < receipt->results.size()) {
        AddResult(call, batch.operations[i], receipt->results[i]);
      }
    }
    AddWritten(call, batch, receipt);
  }

  /// What may end a lease, from the moment it is sent.
  void NoteEnd(const Observed& call, const Operation& operation) {
    std::visit(
        [&]<typename T>(const T& op) {
          if constexpr (std::is_same_v<T, CompleteJob> || std::is_same_v<T, FailJob> ||
                        std::is_same_v<T, ReleaseJob> || std::is_same_v<T, SnoozeJob>) {
            NoteEarliest(ends_, std::pair(NameOfJob(op.id), op.token), call.invoked);
          } else if constexpr (std::is_same_v<T, ReleaseLock>) {
            NoteEarliest(ends_, std::pair(NameOfLock(op.name), op.token), call.invoked);
          } else if constexpr (std::is_same_v<T, BreakLock>) {
            NoteEarliest(forced_, NameOfLock(op.name), call.invoked);
          } else if constexpr (std::is_same_v<T, DeleteRecord>) {
            deleted.insert(ToString(RecordKey{op.kind, op.id}));
          }
        },
        operation);
  }

  template <typename Map, typename Key>
  static void NoteEarliest(Map& map, Key key, std::int64_t at) {
    auto [known, is_new] = map.emplace(std::move(key), at);
    if (!is_new) known->second = std::min(known->second, at);
  }

  void AddResult(const Observed& call, const Operation& operation, const OperationResult& result) {
    if (std::holds_alternative<EnqueueJob>(operation) && result.job && !result.existing) {
      created[NameOfJob(result.job->id)].push_back(&call);
    } else if (std::holds_alternative<ClaimJob>(operation) && result.job) {
      AddClaimed(call, *result.job);
    } else if (std::holds_alternative<CompleteJob>(operation) && result.job) {
      completed[result.job->id].push_back(&call);
    } else if (std::holds_alternative<RetryJob>(operation) && result.job) {
      retried[result.job->id].push_back(&call);
    } else if (const auto* renew = std::get_if<RenewJob>(&operation)) {
      if (result.job && result.job->lease_expires_at) {
        NoteRenewal(NameOfJob(renew->id), renew->token, *result.job->lease_expires_at);
      }
    } else if (const auto* acquire = std::get_if<AcquireLock>(&operation)) {
      if (result.lock) AddGrants(call, *acquire, result.lock->grants);
    } else if (const auto* lock = std::get_if<RenewLock>(&operation)) {
      if (result.lock && !result.lock->grants.empty()) {
        NoteRenewal(NameOfLock(lock->name), lock->token, result.lock->grants.front().expires_at);
      }
    } else if (std::holds_alternative<MakeTransfer>(operation) && result.transfer) {
      created[fmt::format("transfer {}", result.transfer->id)].push_back(&call);
    }
  }

  void NoteRenewal(const std::string& object, Token token, Time ends) {
    Time& known = renewals_[{object, token}];
    known = std::max(known, ends);
  }

  /// A batch that changes a record several times tells its last version each time.
  void AddWritten(const Observed& call, const Batch& batch, const Receipt* receipt) {
    if (receipt == nullptr) return;
    std::map<RecordKey, Seen> written;
    for (std::size_t i = 0; i < std::min(batch.operations.size(), receipt->results.size()); ++i) {
      const std::optional<Record>& record = receipt->results[i].record;
      // A transition to the same status may have changed nothing.
      const bool is_change = !std::holds_alternative<TransitionRecord>(batch.operations[i]);
      if (record && !is_change) AddVersion(call, *record, false);
      if (!record || !is_change) continue;
      Seen& seen = written.try_emplace(record->key(), &call, &*record, true, true).first->second;
      seen.may_be_idle &= MayBeIdle(batch.operations[i]);
    }
    for (const auto& [key, seen] : written) versions[ToString(key)].push_back(seen);
  }

  void AddVersion(const Observed& call, const Record& record, bool is_write) {
    versions[ToString(record.key())].push_back({&call, &record, is_write});
  }

  void AddClaimed(const Observed& call, const Job& job) {
    holds.push_back({.call = &call,
                     .object = NameOfJob(job.id),
                     .token = job.token,
                     .begins = job.started_at.value_or(Time::min()),
                     .ends = job.lease_expires_at.value_or(Time::max())});
  }

  void AddGrants(const Observed& call, const AcquireLock& request,
                 const std::vector<LockGrant>& grants) {
    for (const LockGrant& grant : grants) {
      holds.push_back({.call = &call,
                       .object = NameOfLock(grant.name),
                       .token = grant.token,
                       .mode = grant.mode,
                       .limit = request.limit.value_or(0),
                       .begins = grant.acquired_at,
                       .ends = grant.expires_at});
    }
  }

  std::map<std::pair<std::string, Token>, std::int64_t> ends_;
  std::map<std::pair<std::string, Token>, Time> renewals_;
  std::map<std::string, std::int64_t> forced_;
};

class ViolationFinder {
 public:
  explicit ViolationFinder(const History& history) : evidence_(history) {}

  std::vector<Violation> Run() {
    FindTokens();
    FindOverlaps();
    for (const auto& [record, seen] : evidence_.versions) FindVersions(record, seen);
    for (const auto& [object, calls] : evidence_.created) {
      if (calls.size() > 1) Add("ids are given once", object, {calls[0], calls[1]});
    }
    for (const auto& [job, calls] : evidence_.completed) {
      auto retried = evidence_.retried.find(job);
      const std::size_t again = retried == evidence_.retried.end() ? 0 : retried->second.size();
      if (calls.size() <= 1 + again) continue;
      Add("a job is completed once", fmt::format("job {} was {} times", job, calls.size()),
          {calls[0], calls[1]});
    }
    return std::move(found_);
  }

 private:
  void Add(const std::string& invariant, std::string detail,
           std::initializer_list<const Observed*> calls) {
    if (++count_[invariant] > kShownViolations) return;
    for (const Observed* call : calls) detail += "\n  " + Describe(*call);
    found_.push_back({invariant, std::move(detail)});
  }

  /// An acquire or claim that was made after another one was answered has the higher token.
  void FindTokens() {
    std::map<Token, const Hold*> given;
    std::vector<const Hold*> by_answer;
    for (const Hold& hold : evidence_.holds) {
      by_answer.push_back(&hold);
      auto [other, is_new] = given.emplace(hold.token, &hold);
      if (is_new) continue;
      Add("a token is given once",
          fmt::format("token {} of {} and {}", hold.token, other->second->object, hold.object),
          {other->second->call, hold.call});
    }
    std::vector<const Hold*> by_request = by_answer;
    std::ranges::sort(by_answer, {}, [](const Hold* hold) { return hold->call->returned; });
    std::ranges::sort(by_request, {}, [](const Hold* hold) { return hold->call->invoked; });
    const Hold* highest = nullptr;
    auto answered = by_answer.begin();
    for (const Hold* hold : by_request) {
      for (; (*answered)->call->returned < hold->call->invoked; ++answered) {
        if (highest == nullptr || (*answered)->token > highest->token) highest = *answered;
      }
      if (highest == nullptr || hold->token >= highest->token) continue;
      Add("tokens rise",
          fmt::format("{} of {}, then {} of {}", highest->token, highest->object, hold->token,
                      hold->object),
          {highest->call, hold->call});
    }
  }

  /// At the instant in which a lease is told of, no other one that it excludes is good.
  void FindOverlaps() {
    std::map<std::string, std::vector<const Hold*>> by_object;
    for (const Hold& hold : evidence_.holds) by_object[hold.object].push_back(&hold);
    for (auto& [object, holds] : by_object) {
      std::ranges::sort(holds, {}, [](const Hold* hold) { return hold->call->returned; });
      std::multimap<std::int64_t, const Hold*> held;  // by when it may have ended
      for (const Hold* hold : holds) {
        if (hold->until <= hold->call->returned) continue;  // broken before its owner knew of it
        held.erase(held.begin(), held.upper_bound(hold->call->returned));
        FindOverlap(*hold, held);
        held.emplace(hold->until, hold);
      }
    }
  }

  void FindOverlap(const Hold& hold, const std::multimap<std::int64_t, const Hold*>& held) {
    std::int64_t beside = 0;
    const Hold* one = nullptr;
    for (const auto& [until, other] : held) {
      const auto& [earlier, later] =
          std::minmax(*other, hold, [](const Hold& a, const Hold& b) { return a.token < b.token; });
      if (later.begins >= earlier.ends) continue;  // that lease had run out
      ++beside;
      const bool is_alone =
          hold.mode == LockMode::kExclusive || other->mode == LockMode::kExclusive;
      const bool is_full = hold.limit != 0 && beside >= hold.limit;
      if (is_alone || is_full) one = other;
    }
    if (one == nullptr) return;
    Add("leases exclude each other",
        fmt::format("{}: token {} beside {}", hold.object, hold.token, one->token),
        {one->call, hold.call});
  }

  void FindVersions(const std::string& record, const std::vector<Seen>& seen) {
    if (evidence_.deleted.contains(record)) return;  // versions began anew
    std::map<std::int64_t, const Seen*> written;
    std::vector<const Seen*> by_answer;
    for (const Seen& one : seen) {
      by_answer.push_back(&one);
      if (!one.is_write) continue;
      auto [other, is_new] = written.emplace(one.version(), &one);
      if (is_new || IsIdleBeside(one, *other->second)) continue;
      Add("a version is given once", fmt::format("{} version {}", record, one.version()),
          {other->second->call, one.call});
    }
    std::vector<const Seen*> by_request = by_answer;
    std::ranges::sort(by_answer, {}, [](const Seen* one) { return one->call->returned; });
    std::ranges::sort(by_request, {}, [](const Seen* one) { return one->call->invoked; });
    const Seen* highest = nullptr;
    auto answered = by_answer.begin();
    for (const Seen* one : by_request) {
      for (; (*answered)->call->returned < one->call->invoked; ++answered) {
        if (highest == nullptr || (*answered)->version() > highest->version()) highest = *answered;
      }
      if (highest == nullptr || one->version() > highest->version()) continue;
      const bool may_be_same = !one->is_write || IsIdleBeside(*one, *highest);
      if (one->version() == highest->version() && may_be_same) continue;
      Add("versions rise",
          fmt::format("{} at version {} after {}", record, one->version(), highest->version()),
          {highest->call, one->call});
    }
  }

  const Evidence evidence_;
  std::vector<Violation> found_;
  std::map<std::string, std::size_t> count_;
};

}  // namespace

std::vector<Violation> FindViolations(const History& history) {
  return ViolationFinder(history).Run();
}

}  // namespace holdfast::history
