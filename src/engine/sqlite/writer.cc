#include "engine/sqlite/writer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/mutant.h"
#include "base/result.h"

namespace holdfast::engine {
namespace {

using base::MutexLock;

// A group is closed at this many operations: about 20 ms of work, so that nobody waits long for a
// fsync that everybody shares.
constexpr std::size_t kGroupOperations = 2000;

// How long a group waits at most for those who were in the one before.
constexpr Duration kCompanyMost = std::chrono::milliseconds(1);

// How long BEGIN may wait for other processes before the group is refused.
constexpr auto kBusyLimit = std::chrono::seconds(30);

}  // namespace

Writer::~Writer() {
  Stop();
}

void Writer::Stop() {
  {
    MutexLock lock(mutex_);
    is_stopping_ = true;
    arrived_.NotifyAll();
  }
  if (driver_ != nullptr) RunQueued();
  if (thread_.joinable()) thread_.join();
  // What is named now may belong to another store, whose log closing would remove.
  if (files_.Look()) connection_->SetLogIsKept(true);
}

Result<void> Writer::Start() {
  HF_RETURN_IF_ERROR(transaction_.Prepare(*connection_, clock_));
  if (driver_ == nullptr) thread_ = std::thread([this] { Run(); });
  return {};
}

Result<void> Writer::CheckHealth() const {
  MutexLock lock(mutex_);
  if (fatal_) return std::unexpected(*fatal_);
  return {};
}

void Writer::Submit(Work work) {
  std::optional<Error> refusal;
  if (Result<void> alive = work.context.Check(); !alive) {
    refusal = std::move(alive).error();
  } else {
    MutexLock lock(mutex_);
    if (fatal_) {
      refusal = *fatal_;
    } else if (is_stopping_) {
      refusal = Error{ErrorCode::kShuttingDown, "the store is being closed", {}};
    } else {
      queue_.push_back(std::move(work));
      // A busy writer needs no waking: it looks again when its group is done.
      if (wake_at_ != 0 && queue_.size() >= wake_at_) arrived_.NotifyOne();
    }
  }
  if (!refusal) {
    if (driver_ != nullptr) driver_->OnSubmit([this] { RunQueued(); });
    return;
  }
  work.Refuse(*refusal);
  work.Answer();
}

void Writer::Run() {
  Group group;
  while (TakeGroup(group)) {
    const SteadyTime began = clock_.Steady();
    RunGroup(group);
    last_took_ = std::chrono::duration_cast<Duration>(clock_.Steady() - began);
    for (Work& work : group) work.Answer();
    group.clear();
  }
}

/// What completions submit meanwhile belongs to the groups that follow.
void Writer::RunQueued() {
  if (is_driven_now_) return;
  is_driven_now_ = true;
  Run();
  is_driven_now_ = false;
}

/// Waits for work, unless driven. False: there is none, and no more will come.
bool Writer::TakeGroup(Group& group) {
  MutexLock lock(mutex_);
  const bool waits = driver_ == nullptr;
  if (waits) AwaitCompany();
  while (waits && queue_.empty() && !is_stopping_) {
    wake_at_ = 1;
    arrived_.Wait(mutex_);
  }
  wake_at_ = 0;
  std::size_t operations = 0;
  while (!queue_.empty() && operations < kGroupOperations) {
    operations += queue_.front().size;
    group.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  last_callers_ = group.size();
  return !group.empty();
}

/// Those who were answered a moment ago are about to ask again. One fsync for all of them beats one
/// for the few who are first and another for the rest: measured with 64 threads on a shared
/// disk, 1.2 times as many commits, 1.6 times while the disk was slow. Never longer than a quarter
/// of what the group before took, so that nobody loses much if they do not come; and not for a
/// single caller, who is answered at once.
void Writer::AwaitCompany() {
  if (last_callers_ < 2) return;
  const SteadyTime until =
      std::chrono::steady_clock::now() + std::min<Duration>(last_took_ / 4, kCompanyMost);
  wake_at_ = last_callers_;
  while (queue_.size() < last_callers_ && !is_stopping_) {
    if (!arrived_.WaitUntil(mutex_, until)) break;
  }
}

void Writer::RunGroup(Group& group) {
  if (Result<void> health = CheckHealth(); !health) {
    for (Work& work : group) work.Refuse(health.error());
    return;
  }
  Result<void> result = RunTransaction(group);
  if (result) {
    const Change& change = transaction_.change();
    if (listener_ != nullptr && !change.IsEmpty()) listener_->OnChange(change);
    return;
  }
  for (Work& work : group) work.Refuse(result.error());
}

/// Errors concern the whole group. Everything before COMMIT had no effect; a COMMIT that failed on
/// the disk may or may not have had one.
Result<void> Writer::RunTransaction(Group& group) {
  HF_RETURN_IF_ERROR(Begin(group));
  now_ = clock_.Now();
  Result<void> result = transaction_.Begin();
  data_version_ = transaction_.data_version();
  for (Work& work : group) {
    if (!result) break;
    RefuseIfOver(work);
    if (!work.is_answered) result = RunWork(work);
  }
  if (result) result = transaction_.Finish(now_);
  // As late as possible: what is committed into a file without its name is lost.
  if (result) result = CheckFiles();
  bool is_committing = false;
  if (result) {
    is_committing = true;
    result = connection_->Execute("COMMIT");
    if (HF_MUTANT(failed_commit_acknowledged)) result = {};
  }
  if (result) {
    transaction_.Committed();
    return result;
  }
  return std::unexpected(UndoTransaction(std::move(result).error(), is_committing));
}

/// The answer to its group.
Error Writer::UndoTransaction(Error error, bool is_committing) {
  const bool is_fatal = connection_->IsLastErrorFatal();
  if (connection_->InTransaction()) (void)connection_->Execute("ROLLBACK");
  if (!is_fatal) return error;
  EndWriting("since an I/O error", error);
  if (is_committing && !HF_MUTANT(failed_commit_told_undone)) {
    return {
        ErrorCode::kOutcomeUnknown, "the commit may or may not be durable: " + error.message, {}};
  }
  if (error.code != ErrorCode::kCorrupt) error.code = ErrorCode::kUnavailable;
  return error;
}

Result<void> Writer::CheckFiles() {
  std::optional<FileChange> change = files_.Look();
  if (!change || HF_MUTANT(moved_file_written)) return {};
  Error error{ErrorCode::kUnavailable, "the store refuses writes: " + change->what, {}};
  if (change->is_moved) EndWriting("since its file was moved", {error.code, change->what, {}});
  return std::unexpected(std::move(error));
}

/// Waits for other processes, but for no caller longer than the caller's own deadline.
Result<void> Writer::Begin(Group& group) {
  const SteadyTime give_up = clock_.Steady() + kBusyLimit;
  sqlite3_busy_timeout(connection_->handle(), 100);
  while (true) {
    Result<void> begun =
        connection_->Execute(HF_MUTANT(locks_file_too_late) ? "BEGIN" : "BEGIN IMMEDIATE");
    if (begun) return begun;
    if (begun.error().code != ErrorCode::kBusy) {
      if (connection_->IsLastErrorFatal()) EndWriting("since an I/O error", begun.error());
      return begun;
    }
    for (Work& work : group) RefuseIfOver(work);
    if (std::ranges::all_of(group, &Work::is_answered)) return begun;
    if (clock_.Steady() >= give_up) {
      return Fail(
          ErrorCode::kUnavailable,
          fmt::format("another process has held the database for {} s", kBusyLimit.count()));
    }
  }
}

Result<void> Writer::RunWork(Work& work) {
  if (auto* commit = std::get_if<CommitWork>(&work.what)) return RunCommit(work, *commit);
  if (auto* claim = std::get_if<ClaimWork>(&work.what)) return RunClaim(work, *claim);
  auto& maintain = std::get<MaintainWork>(work.what);
  rules::Origin origin = OriginOf(work.context, work.called, clock_.Steady(), now_);
  origin.stall = maintain.request.StallAt(now_);
  maintain.answer = transaction_.Maintain(maintain.request, origin);
  if (!maintain.answer) return std::unexpected(maintain.answer.error());
  return {};
}

Result<void> Writer::RunCommit(Work& work, CommitWork& commit) {
  rules::Origin origin = OriginOf(work.context, work.called, clock_.Steady(), now_);
  origin.ahead = clock_.Ahead();
  commit.answers.reserve(commit.batches.size());
  transaction_.BeginCall();
  for (std::size_t i = 0; i < commit.batches.size(); ++i) {
    HF_ASSIGN_OR_RETURN(
        Result<Receipt> answer,
        transaction_.Commit(commit.batches[i], commit.fingerprints[i], origin, work.context));
    commit.answers.push_back(std::move(answer));
  }
  return {};
}

Result<void> Writer::RunClaim(Work& work, ClaimWork& claim) {
  claim.answer =
      transaction_.Claim(claim.request, OriginOf(work.context, work.called, clock_.Steady(), now_));
  if (!claim.answer) return std::unexpected(claim.answer.error());
  return {};
}

void Writer::RefuseIfOver(Work& work) {
  if (work.is_answered) return;
  Result<void> alive = work.context.Check();
  if (alive) return;
  work.Refuse(alive.error());
  work.is_answered = true;
}

void Writer::EndWriting(std::string_view since, const Error& error) {
  connection_->SetLogIsKept(true);  // for whoever opens the file next to settle
  MutexLock lock(mutex_);
  if (fatal_ || HF_MUTANT(writes_on_after_an_error)) return;
  fatal_ = Error{
      error.code == ErrorCode::kCorrupt ? ErrorCode::kCorrupt : ErrorCode::kUnavailable,
      fmt::format("the store refuses writes {}, until it is opened anew: {}", since, error.message),
      {}};
}

}  // namespace holdfast::engine
