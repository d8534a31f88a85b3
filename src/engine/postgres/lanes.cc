#include "engine/postgres/lanes.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/mutant.h"
#include "base/result.h"

namespace holdfast::engine::postgres {
namespace {

using base::MutexLock;

// A transaction is closed at this many operations, so that nobody waits long for what everybody
// shares. Ids come in ranges of a thousand: see schema.cc.
constexpr std::size_t kGroupOperations = 1000;

// Transactions on their way before what comes waits for one of them; and for how long it does. Of
// 64 threads with one job a call, two lanes did 7,700 life cycles/s on two cores, four did 4,600.
constexpr int kAtOnce = 2;
constexpr Duration kPatience = std::chrono::milliseconds(20);

// Conflicts are rare, because rows are locked in one order; each costs a transaction.
constexpr int kCommitTries = 12;

/// With jitter, so that two that met do not meet again.
Duration PauseAfter(int tries) {
  const auto most = std::uint64_t{1000} << std::min(tries, 6);
  return std::chrono::microseconds(1 + Random::System().Next() % most);
}

/// Changing the rules of a kind looks at every record as the tables have it.
bool WantsToBeAlone(const Batch& batch) {
  return std::ranges::any_of(batch.operations, [](const Operation& operation) {
    return std::holds_alternative<ApplyKind>(operation);
  });
}

}  // namespace

struct Lanes::Lane {
  Lane(Node& node, std::int64_t slot) : transaction(connection, node, slot) {}

  void Disconnect() {
    owned.reset();
    connection = nullptr;
  }

  Connection* connection = nullptr;
  std::unique_ptr<Connection> owned;
  Transaction transaction;
  std::thread thread;
  // Under the mutex of the lanes.
  bool is_idle = false;
  bool is_answering = false;
  base::CondVar woken;
};

Lanes::Lanes(Node& node, WakeUps& wake_ups) : node_(node), wake_ups_(wake_ups) {}

Lanes::~Lanes() {
  {
    MutexLock lock(mutex_);
    is_stopping_ = true;
    while (!idle_.empty()) WakeOne();
    stopping_.NotifyAll();
  }
  for (auto& lane : lanes_) lane->thread.join();
}

void Lanes::Start() {
  // Slots of counts are shared by few: see queue_counts. Two that share one only wait a little.
  constexpr std::int64_t kSlots = 64;
  for (int i = 0; i < node_.settings.lanes; ++i) {
    lanes_.push_back(std::make_unique<Lane>(node_, (node_.session + i) % kSlots));
    lanes_.back()->thread = std::thread([this, &lane = *lanes_.back()] { Run(lane); });
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
      queue_.push_back(std::move(work));
      SeeToQueue();
    }
  }
  if (!refusal) return;
  work.Refuse(*refusal);
  work.Answer();
}

void Lanes::SubmitAndHelp(Work work) {
  Lane* lane = work.context.Check() ? Borrow() : nullptr;
  if (lane == nullptr) return Submit(std::move(work));
  Group group;
  group.push_back(std::move(work));
  RunGroup(*lane, group);
  GiveBack(*lane);
  group.front().Answer();
}

/// A lane that is idle, if one would be woken; its thread goes on sleeping.
Lanes::Lane* Lanes::Borrow() {
  MutexLock lock(mutex_);
  const bool would_wake = queue_.empty() && answering_ == 0 && working_ < kAtOnce;
  if (is_stopping_ || !would_wake || idle_.empty()) return nullptr;
  Lane* lane = idle_.back();
  idle_.pop_back();
  ++working_;
  return lane;
}

void Lanes::GiveBack(Lane& lane) {
  MutexLock lock(mutex_);
  --working_;
  idle_.push_back(&lane);
  if (is_stopping_) {
    WakeOne();
  } else {
    SeeToQueue();
  }
}

void Lanes::Run(Lane& lane) {
  Group group;
  while (TakeGroup(lane, group)) {
    RunGroup(lane, group);
    NoteDone(lane);
    for (Work& work : group) work.Answer();
    group.clear();
  }
}

void Lanes::NoteDone(Lane& lane) {
  MutexLock lock(mutex_);
  --working_;
  ++answering_;
  lane.is_answering = true;
}

void Lanes::WakeOne() {
  if (idle_.empty()) return;
  Lane& lane = *idle_.back();
  idle_.pop_back();
  lane.is_idle = false;
  lane.woken.NotifyOne();
}

/// Somebody shall look at what waits: at once, or when it has waited for long. A lane that answers
/// will do so in a moment: none is woken for what the caller it has just answered asks next.
void Lanes::SeeToQueue() {
  if (queue_.empty()) return;
  const bool is_for_idle = answering_ == 0 && (working_ < kAtOnce || !is_watched_);
  if (is_for_idle || IsLate()) WakeOne();
}

bool Lanes::IsLate() const {
  return queue_.front().called + kPatience <= std::chrono::steady_clock::now();
}

bool Lanes::IsTurn() const {
  if (queue_.empty()) return false;
  return working_ < kAtOnce || is_stopping_ || IsLate();
}

void Lanes::AwaitTurn(Lane& lane) {
  if (!queue_.empty() && !is_watched_) {
    is_watched_ = true;
    (void)lane.woken.WaitUntil(mutex_, queue_.front().called + kPatience);
    is_watched_ = false;
    return;
  }
  idle_.push_back(&lane);
  lane.is_idle = true;
  while (lane.is_idle) lane.woken.Wait(mutex_);
}

/// What is of the same sort as the first in the queue: a claim waits for nobody's rows, and must
/// not be kept by a commit that does.
bool Lanes::TakeGroup(Lane& lane, Group& group) {
  MutexLock lock(mutex_);
  if (lane.is_answering) --answering_;
  lane.is_answering = false;
  while (!IsTurn()) {
    if (is_stopping_) return false;  // and nothing waits
    AwaitTurn(lane);
  }
  ++working_;
  const std::size_t sort = queue_.front().what.index();
  std::size_t operations = 0;
  for (auto work = queue_.begin(); work != queue_.end() && operations < kGroupOperations;) {
    if (work->what.index() != sort) {
      ++work;
      continue;
    }
    operations += work->size;
    group.push_back(std::move(*work));
    work = queue_.erase(work);
    if (std::holds_alternative<MaintainWork>(group.back().what)) break;
  }
  SeeToQueue();
  return true;
}

void Lanes::RunGroup(Lane& lane, Group& group) {
  if (std::holds_alternative<CommitWork>(group.front().what)) return RunCommits(lane, group);
  if (std::holds_alternative<ClaimWork>(group.front().what)) return RunClaims(lane, group);
  RunMaintain(lane, group.front());
}

void Lanes::RunCommits(Lane& lane, Group& group) {
  std::vector<BatchRequest> requests;
  for (Work& work : group) {
    auto& commit = std::get<CommitWork>(work.what);
    for (std::size_t i = 0; i < commit.batches.size(); ++i) {
      requests.push_back({.batch = &commit.batches[i],
                          .fingerprint = &commit.fingerprints[i],
                          .context = &work.context,
                          .called = work.called,
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
    RunChunk(lane, rest.first(count));
    rest = rest.subspan(count);
  }
  auto request = requests.begin();
  for (Work& work : group) {
    auto& commit = std::get<CommitWork>(work.what);
    for (std::size_t i = 0; i < commit.batches.size(); ++i) {
      commit.answers.push_back(std::move((request++)->answer));
    }
  }
}

/// One transaction. If it is refused as a whole for what one of its batches does, each is tried by
/// itself.
void Lanes::RunChunk(Lane& lane, std::span<BatchRequest> requests) {
  bool is_careful = false;
  Result<void> done = Persist(lane, [&] {
    Result<void> committed = lane.transaction.Commit(requests, is_careful);
    // Somebody holds a key that was taken for free: a careful look tells who.
    is_careful |= lane.connection->failure() == Failure::kConstraint;
    return committed;
  });
  if (done) return Tell(lane);
  const bool is_for_all = done.error().code == ErrorCode::kUnavailable ||
                          done.error().code == ErrorCode::kOutcomeUnknown;
  if (requests.size() > 1 && !is_for_all) {
    for (BatchRequest& request : requests) RunChunk(lane, {&request, 1});
    return;
  }
  Error error = std::move(done).error();
  if (lane.connection != nullptr && lane.connection->failure() == Failure::kConstraint) {
    // Held by another at every try, and free again at every look.
    error = {ErrorCode::kAlreadyExists,
             "somebody else has just held a unique key that the batch would take",
             {}};
  }
  for (BatchRequest& request : requests) request.answer = std::unexpected(error);
}

void Lanes::RunClaims(Lane& lane, Group& group) {
  std::vector<ClaimOne> requests;
  for (Work& work : group) {
    requests.push_back({.request = &std::get<ClaimWork>(work.what).request,
                        .context = &work.context,
                        .called = work.called,
                        .answer = {}});
  }
  Result<void> done = Persist(lane, [&] { return lane.transaction.Claim(requests, false); });
  if (done) Tell(lane);
  for (std::size_t i = 0; i < group.size(); ++i) {
    auto& claim = std::get<ClaimWork>(group[i].what);
    if (done) {
      claim.answer = std::move(requests[i].answer);
    } else {
      claim.answer = std::unexpected(done.error());
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

/// The connection went with the answer to COMMIT: whether it was committed.
Result<bool> Lanes::Resolve(Lane& lane, const Error& lost) {
  const std::string server = lane.connection->server();
  lane.Disconnect();
  Result<bool> is_committed = AskServer(lane, server);
  if (!is_committed) {
    return Fail(
        HF_MUTANT(lost_commit_told_undone) ? ErrorCode::kUnavailable : ErrorCode::kOutcomeUnknown,
        fmt::format("{} during the commit, and {}", lost.message, is_committed.error().message));
  }
  if (*is_committed) HF_RETURN_IF_ERROR(AwaitReplicas(lane, lost));
  return is_committed;
}

// Errors of all of these: outcome_unknown, and why.

Result<bool> Lanes::AskServer(Lane& lane, const std::string& server) {
  if (!Connect(lane)) {
    return Fail(ErrorCode::kOutcomeUnknown, "the server cannot be asked what became of it");
  }
  return lane.transaction.mark() != 0 ? AskForMark(lane) : AskForStatus(lane, server);
}

/// The server knows what became of the transaction, if it is still the one that was asked.
Result<bool> Lanes::AskForStatus(Lane& lane, const std::string& server) {
  if (lane.connection->server() != server) {
    return Fail(ErrorCode::kOutcomeUnknown, "another server has taken over");
  }
  // A server process that has not noticed yet goes on with the commit.
  constexpr int kLooks = 100;
  for (int i = 0; i < kLooks; ++i) {
    Result<Answer> status = lane.connection->QueryText(
        "SELECT coalesce(pg_xact_status($1::bigint::text::xid8), 'unknown')",
        Parameters().Add(lane.transaction.transaction_id()));
    if (!status) break;
    const std::string_view text = Row(*status, 0).Text(0);
    if (text == "committed") return true;
    if (text == "aborted") return false;
    if (text != "in progress" || !Pause(std::chrono::milliseconds(50))) break;
  }
  return Fail(ErrorCode::kOutcomeUnknown, "the server does not know what became of it");
}

/// The mark is where the commit is, on whatever server. If it is not there it is left now: should a
/// server process still be about that commit, it finds the mark, and ends without effect. If it is
/// just leaving it, this waits until it has ended.
Result<bool> Lanes::AskForMark(Lane& lane) {
  const Sql leave(node_.settings,
                  "INSERT INTO $.commits (mark, left_at) VALUES ($1, clock_timestamp()) "
                  "ON CONFLICT (mark) DO NOTHING");
  Result<Answer> left =
      lane.connection->QueryText(leave.text(), Parameters().Add(lane.transaction.mark()));
  if (left) return left->affected() == 0;
  return Fail(ErrorCode::kOutcomeUnknown, "the server could not say what became of it");
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
