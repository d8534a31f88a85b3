#include "engine/postgres/lanes.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/mutant.h"
#include "base/result.h"

namespace holdfast::engine::postgres {
namespace {

using base::MutexLock;

// A transaction is closed at this many operations, so that no call waits long for what all share.
// Ids come in ranges of a thousand: see schema.cc.
constexpr std::size_t kGroupOperations = 1000;

// How long a group, a batch of it that is tried alone, and a patient batch wait for a row in one
// try. The last is shorter than the first: a patient batch lets go of the rows that it has while a
// group still waits for them.
constexpr Duration kGroupPatience = std::chrono::milliseconds(250);
constexpr Duration kAlonePatience = std::chrono::milliseconds(10);
constexpr Duration kPatientTry = std::chrono::milliseconds(100);
// How long a batch waits for its rows in all, if its context has no earlier deadline.
constexpr Duration kHeldLimit = std::chrono::seconds(20);
constexpr int kPatientLanes = 4;
// After a claim has met a queue that is held, how long claims pass such queues over at once.
constexpr Duration kSkipHeldQueues = std::chrono::seconds(1);

// Conflicts are rare, because rows are locked in one order; each costs a transaction.
constexpr int kCommitTries = 12;

/// With jitter, so that two that met do not meet again.
Duration PauseAfter(int tries) {
  const auto most = std::uint64_t{1000} << std::min(tries, 6);
  return std::chrono::microseconds(1 + Random::System().Next() % most);
}

int ClaimLanes(const Settings& settings) {
  return std::max(settings.lanes / 2, 1);
}

/// Changing the rules of a kind looks at every record as the tables have it.
bool WantsToBeAlone(const Batch& batch) {
  return std::ranges::any_of(batch.operations, [](const Operation& operation) {
    return std::holds_alternative<ApplyKind>(operation);
  });
}

}  // namespace

int LaneConnections(const Settings& settings) {
  constexpr int kMaintenanceLanes = 1;
  return settings.lanes + ClaimLanes(settings) + kMaintenanceLanes + kPatientLanes;
}

struct Lanes::Lane {
  Lane(Node& node, std::int64_t slot, Family of_family)
      : family(of_family), transaction(connection, node, slot) {}

  void Disconnect() {
    owned.reset();
    connection = nullptr;
  }

  /// Whether a failure would befall every call of a group by itself as well: it is one of the
  /// server, or of the way there.
  bool ConcernsAll(const Error& error) const {
    if (connection == nullptr || error.code == ErrorCode::kOutcomeUnknown) return true;
    const Failure failure = connection->failure();
    return failure == Failure::kLost ||
           (failure == Failure::kOther && error.code == ErrorCode::kUnavailable);
  }
  bool IsHeld() const { return connection != nullptr && connection->failure() == Failure::kHeld; }

  const Family family;
  Connection* connection = nullptr;
  std::unique_ptr<Connection> owned;
  Transaction transaction;
  SteadyTime skips_held_queues_until;
  std::thread thread;
  bool is_idle = false;  // under the mutex of the lanes
  base::CondVar woken;
};

Lanes::Lanes(Node& node, WakeUps& wake_ups) : node_(node), wake_ups_(wake_ups) {}

Lanes::~Lanes() {
  {
    MutexLock lock(mutex_);
    is_stopping_ = true;
    for (OfFamily& family : families_) {
      while (!family.idle.empty()) WakeOne(family);
    }
    stopping_.NotifyAll();
  }
  for (auto& lane : lanes_) lane->thread.join();
}

void Lanes::Start() {
  // Slots of counts are shared by few: see queue_counts. Two that share one only wait a little.
  constexpr std::int64_t kSlots = 64;
  // Patient lanes connect when there is something for them.
  for (auto [family, count] : {std::pair(kCommits, node_.settings.lanes),
                               {kClaims, ClaimLanes(node_.settings)},
                               {kMaintenance, 1},
                               {kPatient, kPatientLanes}}) {
    for (int i = 0; i < count; ++i) {
      const std::int64_t slot = node_.session + static_cast<std::int64_t>(lanes_.size());
      lanes_.push_back(std::make_unique<Lane>(node_, slot % kSlots, family));
      lanes_.back()->thread = std::thread([this, &lane = *lanes_.back()] { Run(lane); });
    }
  }
}

Result<void> Lanes::CheckHealth() const {
  MutexLock lock(mutex_);
  if (unhealthy_) return std::unexpected(*unhealthy_);
  return {};
}

void Lanes::NoteHealth(const Result<void>& health) {
  MutexLock lock(mutex_);
  unhealthy_.reset();
  if (!health) unhealthy_ = health.error();
}

void Lanes::Submit(Work work) {
  std::optional<Error> refusal;
  if (Result<void> alive = work.context.Check(); !alive) {
    refusal = std::move(alive).error();
  } else {
    MutexLock lock(mutex_);
    if (is_stopping_) {
      refusal = Error{ErrorCode::kShuttingDown, "the store is being closed", {}};
    } else {
      // The families are in the order of the sorts of work.
      const auto family = static_cast<Family>(work.what.index());
      Add(family, {.work = std::move(work), .requests = {}});
    }
  }
  if (!refusal) return;
  work.Refuse(*refusal);
  work.Answer();
}

void Lanes::SubmitAndHelp(Work work) {
  const auto family = static_cast<Family>(work.what.index());
  Lane* lane = work.context.Check() ? Borrow(family) : nullptr;
  if (lane == nullptr) return Submit(std::move(work));
  Group group;
  group.push_back({.work = std::move(work), .requests = {}});
  RunGroup(*lane, group);
  GiveBack(*lane);
  Conclude(group.front());
}

/// A lane that is idle; its thread goes on sleeping.
Lanes::Lane* Lanes::Borrow(Family family) {
  MutexLock lock(mutex_);
  std::vector<Lane*>& idle = families_.at(family).idle;
  if (is_stopping_ || idle.empty()) return nullptr;
  Lane* lane = idle.back();
  idle.pop_back();
  return lane;
}

void Lanes::GiveBack(Lane& lane) {
  MutexLock lock(mutex_);
  OfFamily& family = families_.at(lane.family);
  family.idle.push_back(&lane);
  if (is_stopping_ || !family.queue.empty()) WakeOne(family);
}

void Lanes::Run(Lane& lane) {
  Group group;
  while (TakeGroup(lane, group)) {
    RunGroup(lane, group);
    for (Call& call : group) Conclude(call);
    group.clear();
  }
}

void Lanes::Add(Family family, Call call) {
  OfFamily& of_family = families_.at(family);
  of_family.queue.push_back(std::move(call));
  WakeOne(of_family);
}

void Lanes::WakeOne(OfFamily& family) {
  if (family.idle.empty()) return;
  Lane& lane = *family.idle.back();
  family.idle.pop_back();
  lane.is_idle = false;
  lane.woken.NotifyOne();
}

/// False: the lanes are being closed, and nothing waits.
bool Lanes::TakeGroup(Lane& lane, Group& group) {
  MutexLock lock(mutex_);
  OfFamily& family = families_.at(lane.family);
  while (family.queue.empty()) {
    if (is_stopping_) return false;
    family.idle.push_back(&lane);
    lane.is_idle = true;
    while (lane.is_idle) lane.woken.Wait(mutex_);
  }
  const bool is_alone = lane.family == kMaintenance || lane.family == kPatient;
  std::size_t operations = 0;
  do {
    operations += family.queue.front().work.size;
    group.push_back(std::move(family.queue.front()));
    family.queue.pop_front();
  } while (!is_alone && !family.queue.empty() && operations < kGroupOperations);
  if (!family.queue.empty()) WakeOne(family);
  return true;
}

void Lanes::RunGroup(Lane& lane, Group& group) {
  switch (lane.family) {
    case kCommits:
      return RunCommits(lane, group);
    case kClaims:
      return RunClaims(lane, group);
    case kMaintenance:
      return RunMaintain(lane, group.front().work);
    case kPatient:
      return RunPatient(lane, group.front());
  }
}

void Lanes::RunCommits(Lane& lane, Group& group) {
  std::vector<BatchRequest> requests;
  for (Call& call : group) {
    auto& commit = std::get<CommitWork>(call.work.what);
    for (std::size_t i = 0; i < commit.batches.size(); ++i) {
      requests.push_back({.batch = &commit.batches[i],
                          .fingerprint = &commit.fingerprints[i],
                          .context = &call.work.context,
                          .called = call.work.called,
                          .answer = Receipt()});
    }
  }
  std::span<BatchRequest> rest = requests;
  while (!rest.empty()) {
    std::size_t count = 0;
    std::size_t operations = 0;
    while (count < rest.size()) {
      const Batch& batch = *rest[count].batch;
      operations += batch.operations.size();
      const bool is_alone = WantsToBeAlone(batch);
      if (count > 0 && (is_alone || operations > kGroupOperations)) break;
      ++count;
      if (is_alone) break;
    }
    RunChunk(lane, rest.first(count), kGroupPatience);
    rest = rest.subspan(count);
  }
  auto request = requests.begin();
  for (Call& call : group) {
    for (std::size_t i = 0; i < std::get<CommitWork>(call.work.what).batches.size(); ++i) {
      call.requests.push_back(std::move(*request++));
    }
  }
}

/// One transaction. If it fails as a whole for what one of its batches does or needs, each is tried
/// alone. A batch that is held and alone has its error for an answer, and says so.
void Lanes::RunChunk(Lane& lane, std::span<BatchRequest> requests, Duration patience) {
  bool is_careful = false;
  Result<void> done = Persist(lane, [&] {
    lane.transaction.lock_timeout = HF_MUTANT(held_rows_waited_for) ? kHeldLimit : patience;
    Result<void> committed = lane.transaction.Commit(requests, is_careful);
    // Another transaction holds a key that was taken for free: a careful look tells which.
    is_careful |= lane.connection->failure() == Failure::kConstraint;
    return committed;
  });
  for (BatchRequest& request : requests) request.is_held = false;
  if (done) return Tell(lane);
  if (requests.size() > 1 && !lane.ConcernsAll(done.error())) {
    for (BatchRequest& request : requests) RunChunk(lane, {&request, 1}, kAlonePatience);
    return;
  }
  Error error = std::move(done).error();
  if (lane.connection != nullptr && lane.connection->failure() == Failure::kConstraint) {
    // Held by another at every try, and free again at every look.
    error = {ErrorCode::kAlreadyExists,
             "another commit has just taken a unique key that the batch would take",
             {}};
  }
  if (lane.IsHeld()) {
    error = {ErrorCode::kUnavailable,
             "another session of the database keeps a row locked that the batch needs",
             {}};
  }
  for (BatchRequest& request : requests) {
    request.is_held = lane.IsHeld();
    request.answer = std::unexpected(error);
  }
}

void Lanes::RunPatient(Lane& lane, Call& call) {
  for (BatchRequest& request : call.requests) {
    request.context = &call.work.context;  // the call has moved
    if (request.is_held) RunChunk(lane, {&request, 1}, kPatientTry);
  }
}

/// Answers the call, unless it has become patient.
void Lanes::Conclude(Call& call) {
  if (PutOff(call)) return;
  for (BatchRequest& request : call.requests) {
    std::get<CommitWork>(call.work.what).answers.push_back(std::move(request.answer));
  }
  call.work.Answer();
}

bool Lanes::PutOff(Call& call) {
  if (std::ranges::none_of(call.requests, &BatchRequest::is_held)) return false;
  if (Result<void> alive = call.work.context.Check(); !alive) {
    for (BatchRequest& request : call.requests) {
      if (request.is_held) request.answer = std::unexpected(alive.error());
    }
    return false;
  }
  if (call.work.called + kHeldLimit <= std::chrono::steady_clock::now()) return false;
  MutexLock lock(mutex_);
  if (is_stopping_) return false;
  Add(kPatient, std::move(call));
  return true;
}

/// Claims pass over rows that are held, but wait a moment for a queue that is limited: it may be
/// another claim that holds it. If the group fails, each claim is tried alone.
void Lanes::RunClaims(Lane& lane, std::span<Call> group) {
  std::vector<ClaimOne> requests;
  for (Call& call : group) {
    requests.push_back({.request = &std::get<ClaimWork>(call.work.what).request,
                        .context = &call.work.context,
                        .called = call.work.called,
                        .answer = {}});
  }
  lane.transaction.lock_timeout = kGroupPatience;
  auto claim = [&] {
    return Persist(lane, [&] {
      const bool skips = std::chrono::steady_clock::now() < lane.skips_held_queues_until;
      return lane.transaction.Claim(requests, skips);
    });
  };
  Result<void> done = claim();
  if (!done && lane.IsHeld()) {
    lane.skips_held_queues_until = std::chrono::steady_clock::now() + kSkipHeldQueues;
    done = claim();
  }
  if (done) {
    Tell(lane);
  } else if (group.size() > 1 && !lane.ConcernsAll(done.error())) {
    for (Call& call : group) RunClaims(lane, {&call, 1});
    return;
  }
  for (std::size_t i = 0; i < group.size(); ++i) {
    auto& work = std::get<ClaimWork>(group[i].work.what);
    if (done) {
      work.answer = std::move(requests[i].answer);
    } else {
      work.answer = std::unexpected(done.error());
    }
  }
}

void Lanes::RunMaintain(Lane& lane, Work& work) {
  auto& maintain = std::get<MaintainWork>(work.what);
  Result<void> done = Persist(lane, [&]() -> Result<void> {
    maintain.answer = lane.transaction.Maintain(maintain.request, work.context);
    if (!maintain.answer) return std::unexpected(maintain.answer.error());
    return {};
  });
  if (!done) maintain.answer = std::unexpected(std::move(done).error());
  Tell(lane);
}

template <typename Attempt>
Result<void> Lanes::Persist(Lane& lane, Attempt attempt) {
  for (int i = 0;; ++i) {
    if (Result<void> connected = Connect(lane); !connected) return connected;
    Result<void> done = attempt();
    if (done) return done;
    const bool is_last = i + 1 == kCommitTries;
    switch (lane.connection->failure()) {
      case Failure::kConflict:
      case Failure::kConstraint:
        // Somebody else was faster; the next look sees what they did.
        if (is_last) return done;
        if (!Pause(PauseAfter(i))) return done;
        continue;
      case Failure::kLost:
        if (lane.transaction.commit_was_sent() && !HF_MUTANT(lost_commit_done_again)) {
          Result<bool> is_committed = Resolve(lane, done.error());
          if (!is_committed) return std::unexpected(std::move(is_committed).error());
          if (*is_committed) return {};
        } else {
          lane.Disconnect();
        }
        // Nothing was committed: a new connection may try again, but not for long.
        if (i > 0) return done;
        continue;
      case Failure::kNone:
      case Failure::kHeld:
      case Failure::kOther:
        return done;
    }
  }
}

/// False: the store is being closed, and there is no time for it.
bool Lanes::Pause(Duration time) {
  const SteadyTime until = std::chrono::steady_clock::now() + time;
  MutexLock lock(mutex_);
  while (!is_stopping_ && std::chrono::steady_clock::now() < until) {
    (void)stopping_.WaitUntil(mutex_, until);
  }
  return !is_stopping_;
}

Result<void> Lanes::Connect(Lane& lane) {
  if (lane.owned != nullptr && !lane.owned->IsLost()) return {};
  lane.Disconnect();
  Result<std::unique_ptr<Connection>> opened = Connection::Open(node_.settings);
  NoteHealth(opened ? Result<void>() : std::unexpected(opened.error()));
  if (!opened) return std::unexpected(std::move(opened).error());
  HF_RETURN_IF_ERROR((*opened)->LearnRowTypes(node_.settings));
  lane.owned = *std::move(opened);
  lane.connection = lane.owned.get();
  return {};
}

/// The connection was lost during COMMIT: whether the transaction was committed. The server knows,
/// if it is still the same one in the same life.
Result<bool> Lanes::Resolve(Lane& lane, const Error& lost) {
  auto unknown = [&](std::string_view why) {
    return Fail(
        HF_MUTANT(lost_commit_told_undone) ? ErrorCode::kUnavailable : ErrorCode::kOutcomeUnknown,
        fmt::format("{} during the commit, and {}", lost.message, why));
  };
  const std::string server = lane.connection->server();
  lane.Disconnect();
  if (!Connect(lane)) return unknown("the server cannot be asked what became of it");
  if (lane.connection->server() != server) return unknown("another server has taken over");
  // A server process that has not noticed yet goes on with the commit.
  constexpr int kLooks = 100;
  for (int i = 0; i < kLooks; ++i) {
    Result<Answer> status = lane.connection->QueryText(
        "SELECT coalesce(pg_xact_status($1::bigint::text::xid8), 'unknown')",
        Parameters().Add(lane.transaction.transaction_id()));
    if (!status) return unknown("the server could not say what became of it");
    const std::string_view text = Row(*status, 0).Text(0);
    if (text == "committed") {
      HF_RETURN_IF_ERROR(AwaitReplicas(lane, lost));
      return true;
    }
    if (text == "aborted") return false;
    if (text != "in progress" || !Pause(std::chrono::milliseconds(50))) break;
  }
  return unknown("the server does not know what became of it");
}

/// A commit counts when those standbys have it that the server waits for, which nobody has said of
/// this one: who breaks the connection off while it waits (an administrator, a shutdown) makes it
/// visible here at once. One that comes after it, and is acknowledged, has it before itself.
Result<void> Lanes::AwaitReplicas(Lane& lane, const Error& lost) {
  if (lane.connection->QueryText("SELECT pg_logical_emit_message(true, 'holdfast', '')")) return {};
  return Fail(ErrorCode::kOutcomeUnknown,
              lost.message +
                  " during the commit, and the server could not say whether its "
                  "standbys have it");
}

void Lanes::Tell(Lane& lane) {
  const Change& change = lane.transaction.change();
  if (listener_ != nullptr && !change.IsEmpty()) listener_->OnChange(change);
  if (!change.ready.empty() || lane.transaction.has_changed_locks()) wake_ups_.Tell();
}

}  // namespace holdfast::engine::postgres
