#include "history/parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "base/result.h"
#include "history/objects.h"
#include "history/without_times.h"
#include "wire/encode.h"

namespace holdfast::history {
namespace {

/// Which objects belong together.
class Groups {
 public:
  std::size_t Of(const std::string& object) {
    auto [place, is_new] = numbers_.emplace(object, leaders_.size());
    if (is_new) leaders_.push_back(place->second);
    return Leader(place->second);
  }
  void Join(const std::string& a, const std::string& b) {
    const std::size_t first = Of(a);
    leaders_[Of(b)] = first;
  }
  const std::map<std::string, std::size_t>& numbers() const { return numbers_; }

 private:
  std::size_t Leader(std::size_t number) {
    while (leaders_[number] != number) {
      number = leaders_[number] = leaders_[leaders_[number]];
    }
    return number;
  }

  std::map<std::string, std::size_t> numbers_;
  std::vector<std::size_t> leaders_;
};

constexpr std::string_view kJobPrefix = "job ";

/// Records whose unique keys may be in each other's way: those of the same kind, or only those of
/// the same parent if it is part of every key. They exist from their creation on.
struct UniqueJoiner {
  const StoredKinds& kinds;
  Groups& groups;

  void operator()(const CreateRecord& op, const std::optional<Record>& made) const {
    auto stored = kinds.find(op.kind);
    if (stored == kinds.end() || stored->second.rules->unique.empty()) return;
    const std::string id = made ? made->id : op.id;
    if (id.empty()) return;
    std::string place = "kind " + op.kind;
    const bool is_within_parent =
        std::ranges::all_of(stored->second.rules->unique, [](const rules::UniqueRule& rule) {
          return std::ranges::any_of(rule.parts, [](const auto& part) { return !part; });
        });
    if (is_within_parent && op.parent) place += " of " + ToString(*op.parent);
    groups.Join(place, "record " + ToString(RecordKey{op.kind, id}));
  }
  void operator()(const auto&, const std::optional<Record>&) const {}
};

void JoinUnique(const Observed& call, const StoredKinds& kinds, Groups& groups) {
  const auto* batch = std::get_if<Batch>(&call.request);
  if (batch == nullptr) return;
  const Receipt* receipt = call.answer ? &std::get<Receipt>(*call.answer) : nullptr;
  for (std::size_t i = 0; i < batch->operations.size(); ++i) {
    std::optional<Record> made;
    if (receipt != nullptr && i < receipt->results.size()) made = receipt->results[i].record;
    std::visit(
        [&](const auto& op) {
          UniqueJoiner{kinds, groups}(op, made);
        },
        batch->operations[i]);
  }
}

Groups GroupsOf(const History& history, const StoredKinds& kinds) {
  Groups groups;
  for (const Observed& call : history.calls) {
    if (EndOf(call) == CallEnd::kFailed) continue;
    const std::vector<std::string> objects = ObjectsOf(call);
    // Jobs that are claimed together have nothing to do with one another.
    const bool is_claim = std::holds_alternative<ClaimRequest>(call.request);
    for (const std::string& object : objects) {
      groups.Join(is_claim ? object : objects.front(), object);
    }
    JoinUnique(call, kinds, groups);
  }
  return groups;
}

int MostAtOnce(const Part& part) {
  std::vector<std::pair<std::int64_t, int>> steps;
  for (const Call<RulesModel>& call : part.calls) {
    if (call.end != CallEnd::kAnswered) continue;
    steps.emplace_back(call.invoked, 1);
    steps.emplace_back(call.returned, -1);
  }
  std::ranges::sort(steps);
  int now = 0;
  int most = 0;
  for (const auto& [at, step] : steps) most = std::max(most, now += step);
  return most;
}

/// Who waits in line may keep others back for whom the lock would be free: of both modes, or of
/// those who want several locks at once.
void NoteWaiters(Part& part) {
  std::set<LockMode> modes;
  bool somebody_waits = false;
  bool wants_many = false;
  for (const auto& posed : part.posed) {
    const auto* request = std::get_if<AcquireLock>(&posed->call->request);
    if (request == nullptr) continue;
    modes.insert(request->mode);
    somebody_waits |= request->wait.has_value() || !request->preset.empty();
    wants_many |= !request->names.empty();
  }
  if (!somebody_waits || (modes.size() < 2 && !wants_many)) return;
  for (auto& posed : part.posed) posed->may_be_kept_back = true;
}

/// The answers that were stored under idempotency keys: what became of calls whose own was lost.
std::map<std::string, const Receipt*> StoredAnswers(const History& history) {
  std::map<std::string, const Receipt*> stored;
  for (const Observed& call : history.calls) {
    const auto* batch = std::get_if<Batch>(&call.request);
    if (batch == nullptr || batch->idempotency_key.empty() || !call.answer) continue;
    if (const auto* receipt = std::get_if<Receipt>(&*call.answer)) {
      stored.emplace(batch->idempotency_key, receipt);
    }
  }
  return stored;
}

class PartMaker {
 public:
  PartMaker(const History& history, const StoredKinds& kinds)
      : groups_(GroupsOf(history, kinds)), stored_(StoredAnswers(history)) {
    for (const auto& [object, number] : groups_.numbers()) {
      PartOf(object).objects.push_back(object);
      if (object.starts_with(kJobPrefix)) jobs_.push_back(std::stoll(object.substr(4)));
    }
  }

  void Add(const Observed& call) {
    if (EndOf(call) == CallEnd::kFailed) return;
    if (std::holds_alternative<ClaimRequest>(call.request)) return AddClaim(call);
    const std::vector<std::string> objects = ObjectsOf(call);
    if (!objects.empty()) AddTo(objects.front(), Pose(call));
  }

  std::vector<Part> Take() {
    std::vector<Part> parts;
    for (auto& [leader, part] : parts_) {
      NoteWaiters(part);
      part.clients = MostAtOnce(part);
      parts.push_back(std::move(part));
    }
    return parts;
  }

 private:
  Part& PartOf(const std::string& object) { return parts_[groups_.Of(object)]; }

  void AddClaim(const Observed& call) {
    std::vector<JobId> ids;
    if (call.answer) {
      for (const Job& job : std::get<std::vector<Job>>(*call.answer)) ids.push_back(job.id);
    } else {
      ids = jobs_;  // it may have got any of them
    }
    for (JobId id : ids) AddTo(NameOfJob(id), Pose(call, id));
  }

  void AddTo(const std::string& object, Posed posed) {
    Part& part = PartOf(object);
    const Observed& call = *posed.call;
    if (EndOf(call) == CallEnd::kUnknown && std::holds_alternative<Batch>(call.request)) {
      auto stored = stored_.find(std::get<Batch>(call.request).idempotency_key);
      if (stored != stored_.end()) posed.receipt = *stored->second;
    }
    part.posed.push_back(std::make_unique<Posed>(std::move(posed)));
    const Posed* kept = part.posed.back().get();
    part.calls.push_back({.client = call.process,
                          .input = kept,
                          .end = EndOf(call),
                          .answer = kept,
                          .invoked = call.invoked,
                          .returned = call.returned});
  }

  Groups groups_;
  const std::map<std::string, const Receipt*> stored_;
  std::map<std::size_t, Part> parts_;
  std::vector<JobId> jobs_;
};

}  // namespace

Posed Pose(const Observed& call, JobId claimed) {
  Posed posed{.call = &call, .request = Batch()};
  Batch& batch = std::get<Batch>(posed.request);
  if (const auto* sent = std::get_if<Batch>(&call.request)) {
    batch = *sent;
    if (!batch.idempotency_key.empty()) posed.fingerprint = wire::FingerprintOf(batch);
    if (call.answer) posed.receipt = std::get<Receipt>(*call.answer);
  } else if (const auto* claim = std::get_if<ClaimRequest>(&call.request)) {
    batch.operations.emplace_back(ClaimJob{.id = claimed, .worker = claim->worker});
    if (call.answer) {
      for (const Job& job : std::get<std::vector<Job>>(*call.answer)) {
        if (job.id == claimed) posed.receipt.emplace().results.push_back({.job = job});
      }
    }
  } else if (const auto* acquire = std::get_if<AcquireLock>(&call.request)) {
    batch.operations.emplace_back(*acquire);
    if (call.answer) {
      LockOutcome outcome{.grants = std::get<std::vector<LockGrant>>(*call.answer)};
      posed.receipt.emplace().results.push_back({.lock = std::move(outcome)});
    }
  } else if (const auto* record = std::get_if<ReadRecord>(&call.request)) {
    posed.request = *record;
  } else if (const auto* job = std::get_if<ReadJob>(&call.request)) {
    posed.request = *job;
  } else {
    posed.request = std::get<ReadLock>(call.request);
  }
  if (auto* made = std::get_if<Batch>(&posed.request)) {
    for (Operation& operation : made->operations) WithoutTimes(operation);
  }
  return posed;
}

Result<StoredKinds> KindsOf(const History& history) {
  StoredKinds kinds;
  for (const Observed& call : history.calls) {
    const auto* receipt = call.answer ? std::get_if<Receipt>(&*call.answer) : nullptr;
    if (receipt == nullptr) continue;
    for (const OperationResult& result : receipt->results) {
      if (!result.kind) continue;
      const Kind& kind = *result.kind;
      HF_ASSIGN_OR_RETURN(rules::KindRulesPtr rules,
                          rules::CompileRules(kind.name, kind.version, kind.rules));
      auto [known, is_new] = kinds.try_emplace(kind.name, kind, std::move(rules));
      if (is_new || known->second.kind.version == kind.version) continue;
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("kind {} was changed while the history was recorded", kind.name));
    }
  }
  return kinds;
}

std::vector<Part> PartsOf(const History& history, const StoredKinds& kinds) {
  PartMaker maker(history, kinds);
  for (const Observed& call : history.calls) maker.Add(call);
  return maker.Take();
}

}  // namespace holdfast::history
