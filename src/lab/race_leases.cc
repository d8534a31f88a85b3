// Races for the right to act: a job that two do, a lock whose holder was paused past its lease, two
// locks that two take crosswise.
#include <fmt/format.h>

#include <atomic>
#include <map>

#include "base/result.h"
#include "holdfast/held_lock.h"
#include "lab/race_scenario.h"

namespace holdfast::lab {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// How long a worker waits for a lock that it gets as soon as the others have done their part.
constexpr seconds kLockWait{30};
constexpr Duration kRaceLease = seconds(60);

class DoubleClaim final : public RaceScenario {
 public:
  using RaceScenario::RaceScenario;

  /// Claiming goes by queue, and a queue stays for good: all runs use one, one after the other.
  Result<void> Prepare() override {
    HF_ASSIGN_OR_RETURN(
        turn_, HeldLock::Acquire(store(), context(),
                                 {.name = "race/double-claim", .wait = Duration(kLockWait)}));
    HF_RETURN_IF_ERROR(RemoveFinished());  // of a run that was killed
    Batch batch;
    for (int i = 0; i < 2 * workers(); ++i) {
      batch.operations.push_back(EnqueueJob{{.kind = kQueue, .queue = kQueue}});
    }
    HF_ASSIGN_OR_RETURN(Receipt receipt, store().Commit(context(), std::move(batch)));
    for (const OperationResult& result : receipt.results) done_[result.job->id] = 0;
    return {};
  }

  Result<void> Run(Racer& racer) override {
    bool is_more = true;
    while (is_more) {
      HF_ASSIGN_OR_RETURN(is_more, is_unsafe() ? DoListed(racer) : DoClaimed(racer));
    }
    return {};
  }

  Result<RaceCount> Count() override {
    RaceCount count{.expected = static_cast<std::int64_t>(done_.size())};
    for (const auto& [id, times] : done_) count.happened += times;
    return count;
  }

  Result<void> CleanUp() override {
    HF_RETURN_IF_ERROR(RemoveFinished());
    if (!turn_) return {};
    return turn_->Release(context().ForCleanUp());
  }

 private:
  static constexpr const char* kQueue = "race";

  /// What a table of jobs without a claim invites to.
  Result<bool> DoListed(Racer& racer) {
    HF_ASSIGN_OR_RETURN(
        JobPage waiting,
        store().ListJobs(As(racer), {.state = JobState::kPending, .queue = kQueue, .limit = 1}));
    if (waiting.items.empty()) return false;
    const JobId id = waiting.items.front().id;
    racer.Saw(fmt::format("job {}", id), fmt::format("sees that job {} waits", id));
    racer.Think();
    Do(racer, id);
    racer.Does("marks it as done");
    HF_ASSIGN_OR_RETURN(std::optional<Job> job, store().ClaimById(As(racer), id, racer.name()));
    if (job) HF_RETURN_IF_ERROR(store().Complete(As(racer), id, job->token));
    racer.Ends(true, job ? "is told: done" : "finds it marked");
    return true;
  }

  Result<bool> DoClaimed(Racer& racer) {
    HF_ASSIGN_OR_RETURN(std::vector<Job> jobs,
                        store().Claim(As(racer), {.worker = racer.name(), .queues = {kQueue}}));
    if (jobs.empty()) return false;
    const Job& job = jobs.front();
    racer.Saw(fmt::format("job {}", job.id),
              fmt::format("claims job {}: token {}", job.id, job.token));
    racer.Think();
    Do(racer, job.id);
    racer.Does("completes it");
    HF_RETURN_IF_ERROR(
        racer.EndsWith(store().Complete(As(racer), job.id, job.token), ErrorCode::kFenced));
    return true;
  }

  /// The effect is outside of the store, where nothing can be taken back: an e-mail is sent.
  void Do(Racer& racer, JobId id) {
    racer.Does("does the work");
    auto job = done_.find(id);
    if (job != done_.end()) ++job->second;  // else it is of a run that was killed
  }

  Result<void> RemoveFinished() {
    const Context cleaning = context().ForCleanUp();
    JobFilter filter{.queue = kQueue, .limit = 1'000};
    do {
      HF_ASSIGN_OR_RETURN(JobPage page, store().ListJobs(cleaning, filter));
      for (const Job& job : page.items) {
        Result<void> removed = store().Delete(cleaning, job.id);
        // It is being worked on, for a worker that was killed: its lease will end.
        const bool stays = !removed && removed.error().code == ErrorCode::kInvalidTransition;
        if (!stays) HF_RETURN_IF_ERROR(removed);
      }
      filter.cursor = page.next_cursor;
    } while (!filter.cursor.empty());
    return {};
  }

  std::unique_ptr<HeldLock> turn_;
  std::map<JobId, std::atomic<int>> done_;
};

/// The first of each pair is paused past its lease, and the second takes its place.
class StaleHolder final : public RaceScenario {
 public:
  using RaceScenario::RaceScenario;

  Result<void> Prepare() override {
    HF_RETURN_IF_ERROR(Declare(kKind, "{}"));
    for (int pair = 0; pair < pairs(); ++pair) HF_RETURN_IF_ERROR(Make(KeyOf(pair), R"({"n":0})"));
    return {};
  }

  Result<void> Run(Racer& racer) override {
    const std::string paused = fmt::format("{} is paused", PairOf(racer));
    const std::string overtaken = fmt::format("{} is overtaken", PairOf(racer));
    if (!IsFirst(racer)) {
      racer.track().Await(paused, 1);
      PassTime(2 * kShortLease);
      HF_RETURN_IF_ERROR(AddOne(racer, kRaceLease, [] {}));
      racer.track().Signal(overtaken);
      return {};
    }
    HF_ASSIGN_OR_RETURN(bool is_done, AddOne(racer, kShortLease, [&] {
                          racer.Does("is paused past its lease");
                          racer.track().Signal(paused);
                          racer.track().Await(overtaken, 1);
                          racer.Does("goes on");
                        }));
    if (!is_done) HF_RETURN_IF_ERROR(AddOne(racer, kRaceLease, [] {}));
    return {};
  }

  Result<RaceCount> Count() override {
    RaceCount count{.expected = workers()};
    for (int pair = 0; pair < pairs(); ++pair) {
      HF_ASSIGN_OR_RETURN(Seen counter, Look(context(), KeyOf(pair)));
      count.happened += counter.data["n"].get<std::int64_t>();
    }
    return count;
  }

  Result<void> CleanUp() override {
    for (int pair = 0; pair < pairs(); ++pair) HF_RETURN_IF_ERROR(Remove(KeyOf(pair)));
    return {};
  }

 private:
  static constexpr const char* kKind = "race-locked-counter";
  static constexpr Duration kShortLease = milliseconds(100);

  RecordKey KeyOf(int pair) const { return {kKind, fmt::format("{}-{}", run(), pair)}; }

  template <typename Pause>
  Result<bool> AddOne(Racer& racer, Duration lease, Pause pause) {
    const RecordKey key = KeyOf(PairOf(racer));
    const std::string lock = fmt::format("race/{}/{}", run(), PairOf(racer));
    HF_ASSIGN_OR_RETURN(
        std::vector<LockGrant> grants,
        store().Acquire(As(racer), {.name = lock,
                                    .owner = fmt::format("{} {}", run(), racer.name()),
                                    .ttl = lease,
                                    .wait = Duration(kLockWait)}));
    const Token token = grants.front().token;
    racer.Does(fmt::format("takes the lock: token {}", token));
    HF_ASSIGN_OR_RETURN(Seen counter, Look(As(racer), key));
    const auto n = counter.data["n"].get<std::int64_t>();
    racer.Saw(fmt::format("{}: n = {}", PairOf(racer), n), fmt::format("reads n = {}", n));
    pause();
    racer.Does(fmt::format("writes n = {}", n + 1));
    Batch batch;
    if (!is_unsafe()) batch.guards.push_back(LockGuard{lock, token});
    batch.operations.push_back(
        ReplaceRecord{{key.kind, key.id}, fmt::format(R"({{"n":{}}})", n + 1)});
    HF_ASSIGN_OR_RETURN(bool is_done, racer.EndsWith(store().Commit(As(racer), std::move(batch)),
                                                     ErrorCode::kFenced));
    // Of a lease that ran out there is nothing to give back, which is how it should be.
    Result<LockGrant> released = store().Release(As(racer), ReleaseLock{lock, token});
    if (!released && released.error().code != ErrorCode::kFenced) {
      return std::unexpected(released.error());
    }
    return is_done;
  }
};

class Deadlock final : public RaceScenario {
 public:
  using RaceScenario::RaceScenario;

  Result<void> Prepare() override { return {}; }

  Result<void> Run(Racer& racer) override {
    const std::string one = NameOf(racer, IsFirst(racer) ? "a" : "b");
    const std::string other = NameOf(racer, IsFirst(racer) ? "b" : "a");
    HF_ASSIGN_OR_RETURN(LockGrant first, Take(racer, one, kLockWait));
    racer.Saw(fmt::format("pair {}", PairOf(racer)),
              fmt::format("takes {}", IsFirst(racer) ? "a" : "b"));
    racer.Think();
    racer.Does(fmt::format("wants {}", IsFirst(racer) ? "b" : "a"));
    Result<LockGrant> second =
        is_unsafe() ? TryAgainAndAgain(racer, other) : Take(racer, other, kLockWait);
    if (second) {
      racer.Ends(true, "has both, and does its work");
      ++worked_;
      HF_RETURN_IF_ERROR(Release(racer, *second));
      return Release(racer, first);
    }
    if (second.error().code == ErrorCode::kBusy && is_unsafe()) {
      racer.Ends(true, "gives up: nothing was done");
      return Release(racer, first);
    }
    if (second.error().code != ErrorCode::kDeadlock) return std::unexpected(second.error());
    racer.Ends(false, "is refused: deadlock");
    HF_RETURN_IF_ERROR(Release(racer, first));
    return TakeBoth(racer, {one, other});
  }

  Result<RaceCount> Count() override {
    return RaceCount{.expected = workers(), .happened = worked_};
  }

  /// The leases of a worker that met an error end by themselves.
  Result<void> CleanUp() override { return {}; }

 private:
  std::string NameOf(const Racer& racer, std::string_view which) const {
    return fmt::format("race/{}/{}/{}", run(), PairOf(racer), which);
  }
  std::string OwnerOf(const Racer& racer) const {
    return fmt::format("{} {}", run(), racer.name());
  }

  Result<LockGrant> Take(Racer& racer, const std::string& name, Duration wait) {
    HF_ASSIGN_OR_RETURN(
        std::vector<LockGrant> grants,
        store().Acquire(As(racer),
                        {.name = name, .owner = OwnerOf(racer), .ttl = kRaceLease, .wait = wait}));
    return std::move(grants.front());
  }
  Result<void> Release(Racer& racer, const LockGrant& grant) {
    HF_RETURN_IF_ERROR(store().Release(As(racer).ForCleanUp(), {grant.name, grant.token}));
    return {};
  }

  /// Nobody who tries in this way is seen to wait, so that nobody can tell him. In earnest both
  /// would go on for ever; here both are ended together, as an operator would who has had enough.
  Result<LockGrant> TryAgainAndAgain(Racer& racer, const std::string& name) {
    Result<LockGrant> taken = Take(racer, name, {});
    for (int i = 1; i < kTries && !taken && taken.error().code == ErrorCode::kBusy; ++i) {
      taken = Take(racer, name, {});
    }
    if (taken) return taken;
    racer.Does(fmt::format("has tried {} times", kTries));
    const std::string over = fmt::format("{} is over", PairOf(racer));
    racer.track().Signal(over);
    racer.track().Await(over, 2);
    return taken;
  }

  Result<void> TakeBoth(Racer& racer, std::vector<std::string> names) {
    HF_ASSIGN_OR_RETURN(std::vector<LockGrant> grants,
                        store().Acquire(As(racer), {.names = std::move(names),
                                                    .owner = OwnerOf(racer),
                                                    .ttl = kRaceLease,
                                                    .wait = Duration(kLockWait)}));
    racer.Does("takes a and b in one request");
    racer.Ends(true, "has both, and does its work");
    ++worked_;
    for (const LockGrant& grant : grants) HF_RETURN_IF_ERROR(Release(racer, grant));
    return {};
  }

  static constexpr int kTries = 20;
  std::atomic<std::int64_t> worked_ = 0;
};

}  // namespace

std::unique_ptr<RaceScenario> MakeDoubleClaim(RaceGround ground) {
  return std::make_unique<DoubleClaim>(std::move(ground));
}
std::unique_ptr<RaceScenario> MakeStaleHolder(RaceGround ground) {
  return std::make_unique<StaleHolder>(std::move(ground));
}
std::unique_ptr<RaceScenario> MakeDeadlock(RaceGround ground) {
  return std::make_unique<Deadlock>(std::move(ground));
}

}  // namespace holdfast::lab
