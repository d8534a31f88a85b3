#include "sim/simulation.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/memory/memory_engine.h"
#include "testing/store_checks.h"
#include "testing/text_of.h"

namespace holdfast::testing {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kSimFile = "sim.db";
constexpr const char* kWork = "work";  // the queue of the workers
constexpr Duration kLongestLease = seconds(60);

// A dead process is known as such after that time.
constexpr Duration kDown = milliseconds(2'500);

}  // namespace

void SimulationReport::Add(const SimulationReport& other) {
  for (const auto& [name, count] : other.counts) counts[name] += count;
  operations += other.operations;
  simulated += other.simulated;
  if (violation.empty()) violation = other.violation;
}

Simulation::Simulation(Subject subject, std::uint64_t seed)
    : subject_(subject), disk_(seed), script_(seed) {}

Simulation::~Simulation() {
  store_.reset();
}

SimulationReport Simulation::Run(Duration length) {
  const Time began = Now();
  if (!Open()) Violate("the store cannot be opened");
  if (twin_.violation().empty()) Declare();
  while (Now() < began + length && twin_.violation().empty()) Step();
  if (twin_.violation().empty()) Finish();
  report_.simulated = Now() - began;
  report_.operations = twin_.operations();
  report_.counts["unknown outcome"] = twin_.unknown();
  for (std::size_t i = 0; i < kDiskFaultCount; ++i) {
    const auto fault = static_cast<DiskFault>(i);
    report_.counts["disk: " + std::string(NameOf(fault))] = disk_.fired(fault);
  }
  for (std::size_t i = 0; i < kCrashCount; ++i) {
    const auto crash = static_cast<Crash>(i);
    report_.counts["crash: " + std::string(NameOf(crash))] = disk_.crashed(crash);
  }
  twin_.Trace(std::to_string(disk_.trace()));
  report_.trace = twin_.trace();
  report_.violation = twin_.violation();
  return report_;
}

/// Something happens. In all ten minutes, some hundreds of times.
void Simulation::Step() {
  const int what = script_.Below(100);
  if (what < 47) {
    Gather();
  } else if (what < 90) {
    Pass(milliseconds(script_.Below(script_.OneIn(8) ? 40'000 : 8'000)));
  } else if (what < 95) {
    Read();
  } else if (subject_ == Subject::kSqlite) {
    if (what < 98) {
      BreakDisk();
    } else if (script_.OneIn(2)) {
      Restart();
    } else {
      Count("checkpoint by another");
      AskSqlite(kSimFile, script_.OneIn(2) ? "PRAGMA wal_checkpoint(TRUNCATE)"
                                           : "PRAGMA wal_checkpoint(PASSIVE)");
    }
  }
  Settle();
}

/// Some ask at the same time: one transaction, where the engine makes groups.
void Simulation::Gather() {
  driver_.Hold();
  for (int asks = script_.OneIn(2) ? 1 : 1 + script_.Below(5); asks > 0; --asks) Ask();
  driver_.LetGo();
  if (script_.OneIn(4)) CheckLocks();
}

void Simulation::Ask() {
  switch (script_.Below(12)) {
    case 0:
      return AskForJobs();
    case 1:
      return script_.OneIn(3) ? GiveUpWaiting() : AskForLock();
    case 2:
      return Enqueue();
    case 3:
    case 4:
      return Report();
    case 5:
    case 6:
      return Add();
    default:
      return AskScript();
  }
}

void Simulation::Commit(Batch batch, std::function<void(const Result<Receipt>&)> learn) {
  store_->CommitAsync(
      script_.MakeContext(), {std::move(batch)},
      [this, life = life_, learn = std::move(learn)](std::vector<Result<Receipt>> answers) {
        if (life == life_) learn(answers.front());
      });
}

void Simulation::AskScript() {
  if (script_.OneIn(5)) {
    ClaimRequest request = script_.MakeClaim();
    if (request.queues.empty()) request.queues = {"default", "a", "b-2"};  // the workers' is theirs
    store_->ClaimAsync(script_.MakeContext(), std::move(request),
                       [this, life = life_](const Result<std::vector<Job>>& jobs) {
                         if (life != life_ || !jobs) return;
                         for (const Job& job : *jobs) script_.Learn(job);
                       });
    return;
  }
  Commit(script_.MakeBatch(), [this](const Result<Receipt>& receipt) {
    if (receipt) script_.Learn(*receipt);
  });
}

void Simulation::Enqueue() {
  Commit({.operations = {EnqueueJob{{.kind = "work", .queue = kWork, .max_attempts = 4}}}},
         [](const Result<Receipt>&) {});
}

/// A worker asks for work, and waits for it a while.
void Simulation::AskForJobs() {
  ClaimRequest request{.worker = "worker " + std::to_string(script_.Below(3)),
                       .queues = {kWork},
                       .max = 1 + script_.Below(3),
                       .lease = milliseconds(500 + script_.Below(30'000)),
                       .wait = milliseconds(script_.OneIn(2) ? 0 : script_.Below(20'000))};
  store_->ClaimAsync(script_.MakeContext(), std::move(request),
                     [this, life = life_](const Result<std::vector<Job>>& jobs) {
                       if (life != life_ || !jobs) return;
                       if (jobs->empty()) Count("claim that came to nothing");
                       for (const Job& job : *jobs) Learn(job);
                     });
}

void Simulation::Learn(const Job& job) {
  Count("job taken");
  Token& latest = latest_[job.id];
  if (job.token <= latest) Violate("job " + std::to_string(job.id) + ": its token went back");
  latest = job.token;
  // Now and then the worker is stopped for longer than its lease.
  const int length = script_.Below(script_.OneIn(4) ? 90'000 : 10'000);
  holdings_.push_back({job, Now() + milliseconds(length)});
}

/// A worker tells what came of its job.
void Simulation::Report() {
  auto due = std::ranges::find_if(holdings_, [&](const Holding& h) { return h.done_at <= Now(); });
  if (due == holdings_.end()) return;
  const Holding holding = std::move(*due);
  holdings_.erase(due);
  const JobId id = holding.job.id;
  const Token token = holding.job.token;
  if (holding.job.lease_expires_at && *holding.job.lease_expires_at <= Now()) {
    Count("pause past a lease");
  }
  Operation report = CompleteJob{id, token};
  if (script_.OneIn(4)) report = FailJob{id, token, "it went wrong"};
  if (script_.OneIn(6)) report = ReleaseJob{id, token};
  // As it is now: with the answer another worker may have the job already.
  const bool is_old = latest_[id] != token;
  Commit({.operations = {report}}, [this, id, is_old](const Result<Receipt>& receipt) {
    if (receipt && is_old) {
      Violate("job " + std::to_string(id) + ": a report under an old token was taken");
    }
    if (!receipt && receipt.error().code == ErrorCode::kFenced) Count("stale report refused");
  });
}

/// The locks of the script, with a place in line.
void Simulation::AskForLock() {
  AcquireLock request = script_.MakeWait();
  request.wait = milliseconds(1 + script_.Below(60'000));
  waits_.emplace_back();
  Context context = script_.MakeContext();
  context.stop = waits_.back().get_token();
  store_->AcquireAsync(context, std::move(request),
                       [this, life = life_](const Result<std::vector<LockGrant>>& grants) {
                         if (life != life_) return;
                         if (grants) {
                           Count("lock granted");
                           for (const LockGrant& grant : *grants) script_.Learn(grant);
                         } else if (grants.error().code == ErrorCode::kBusy) {
                           Count("wait for a lock that timed out");
                         }
                       });
}

void Simulation::GiveUpWaiting() {
  if (waits_.empty()) return;
  Count("wait given up");
  waits_.back().request_stop();
  waits_.pop_back();
}

/// Adds one to a number, for certain and once: with a key, until somebody says it is done.
void Simulation::Add() {
  if (adding_.empty() || script_.OneIn(3)) {
    adding_.push_back({"add " + std::to_string(++added_)});
  }
  Adding& adding =
      adding_[static_cast<std::size_t>(script_.Below(static_cast<int>(adding_.size())))];
  if (adding.asked++ > 0) Count("asked again with the same key");
  Batch batch{.idempotency_key = adding.key};
  batch.operations.push_back(IncrementRecord{{"tally", "1"}, "/n", std::int64_t{1}});
  auto learn = [this, key = adding.key,
                is_lost = script_.OneIn(5)](const Result<Receipt>& receipt) {
    if (is_lost) return Count("lost answer");
    if (receipt) std::erase_if(adding_, [&](const Adding& a) { return a.key == key; });
  };
  if (script_.OneIn(6)) {
    Count("request that came twice");
    Commit(batch, learn);
  }
  Commit(std::move(batch), learn);
}

void Simulation::Pass(Duration time) {
  clock_.Advance(time);
  twin_.Advance(time);
  twin_.Trace("time passes: " + std::to_string(time.count()));
  // Mostly at once; sometimes leases run out and nobody has noticed yet.
  if (script_.OneIn(6)) return;
  while (true) {
    Result<MaintainReport> report = store_->Maintain({});
    if (!report || !report->more) break;
  }
}

/// The right answer, or an error that the disk explains.
void Simulation::Read() {
  auto compare = [this](auto ask) {
    const auto actual = ask(*engine_);
    if (!actual) {
      if (disk_.fired() == 0) Violate("a read failed: " + actual.error().message);
      return;
    }
    const std::string expected = TextOf(ask(twin_.engine()));
    if (TextOf(actual) != expected) {
      Violate("a read was wrong: expected " + expected + " got " + TextOf(actual));
    }
    twin_.Trace(expected);
  };
  const JobId id = script_.MakeId();
  compare([&](engine::Engine& engine) { return engine.GetJob({}, id); });
  const JobFilter jobs = script_.MakeJobFilter();
  compare([&](engine::Engine& engine) { return engine.ListJobs({}, jobs); });
  RecordFilter records = script_.MakeRecordFilter();
  compare([&](engine::Engine& engine) { return engine.ListRecords({}, records); });
  compare([&](engine::Engine& engine) { return engine.ListQueues({}, {}); });
}

void Simulation::CheckLocks() {
  Result<LockPage> locks = engine_->ListLocks({}, {.limit = 1'000});
  if (!locks) return;
  for (const Lock& lock : locks->items) {
    std::size_t exclusive = 0;
    for (const LockHolder& holder : lock.holders) {
      exclusive += holder.mode == LockMode::kExclusive ? 1 : 0;
    }
    const bool is_crowded = lock.limit && std::cmp_greater(lock.holders.size(), *lock.limit);
    if (is_crowded || (exclusive > 0 && lock.holders.size() > 1)) {
      Violate("lock " + lock.name + " is held by too many");
    }
  }
}

/// Soon, in some way.
void Simulation::BreakDisk() {
  if (script_.OneIn(4)) return disk_.Heal();
  const auto fault = static_cast<DiskFault>(script_.Below(static_cast<int>(kDiskFaultCount)));
  twin_.Trace("fault: " + std::string(NameOf(fault)));
  disk_.Break(fault, static_cast<std::uint64_t>(script_.Below(script_.OneIn(3) ? 100 : 12)),
              script_.OneIn(2) ? SimDisk::Lasts::kOnce : SimDisk::Lasts::kForEver);
}

/// A process whose disk failed is started anew.
void Simulation::Settle() {
  if (subject_ == Subject::kMemory || !twin_.violation().empty()) return;
  if (disk_.is_dead() || !store_->CheckHealth()) Restart();
}

void Simulation::Restart() {
  const bool is_crash = disk_.is_dead() || script_.OneIn(2);
  // What an ordinary end and an ordinary start may meet, and little else does.
  if (!is_crash && script_.OneIn(6)) disk_.Break(DiskFault::kDelete);
  End(is_crash);
  // It may meet a fault while it starts, and is started again.
  for (int tries = 0; tries < 3 && script_.OneIn(3); ++tries) {
    BreakDisk();
    if (script_.OneIn(4)) disk_.Break(DiskFault::kOpen, 0, SimDisk::Lasts::kOnce);
    if (Open()) break;
    if (disk_.is_dead()) End(true);
  }
  disk_.Heal();
  if (store_ == nullptr && !Open()) return Violate("the store cannot be opened again");
  twin_.Reconcile(*engine_);
  if (!twin_.violation().empty()) return;
  // If the wall clock was set back, it is not known yet that the process is dead.
  clock_.Advance(kDown);
  twin_.Advance(kDown);
  if (!store_->Maintain({})) return Violate("a store that was opened anew refuses to write");
  twin_.Compare(*engine_);
}

void Simulation::End(bool is_crash) {
  Duration down = kDown;
  ++life_;
  if (is_crash) {
    const auto crash = static_cast<Crash>(script_.Below(static_cast<int>(kCrashCount)));
    twin_.Trace("crash: " + std::string(NameOf(crash)));
    disk_.CrashAs(crash);
    store_.reset();
    if (crash != Crash::kProcess) {
      down += milliseconds(script_.Below(20'000));
      clock_.Reboot();
      if (script_.OneIn(4)) clock_.JumpWall(-milliseconds(script_.Below(4'000)));
    }
  } else {
    Count("restart");
    twin_.Trace("restart");
    store_.reset();
    if (disk_.is_dead()) disk_.CrashAs(Crash::kProcess);
  }
  disk_.Heal();
  clock_.Advance(down);
  holdings_.clear();
  waits_.clear();
}

bool Simulation::Open() {
  const StoreOptions options{.clock = &clock_, .maintain = false};
  Result<std::unique_ptr<engine::Engine>> engine = subject_ == Subject::kMemory
                                                       ? engine::OpenMemory(options)
                                                       : OpenSimEngine(kSimFile, clock_, driver_);
  if (!engine) {
    if (disk_.fired() == 0) Violate("cannot open: " + engine.error().message);
    twin_.Trace(engine.error().message);
    return false;
  }
  auto twin = std::make_unique<TwinEngine>(*std::move(engine), twin_);
  engine_ = twin.get();
  store_ = std::make_unique<Store>(std::move(twin), options);
  return true;
}

void Simulation::Declare() {
  Must(store_->Commit({}, script_.MakeDeclarations()));
  Must(store_->Apply({}, {.name = "tally", .rules = "{}"}));
  Must(store_->Create({}, {.kind = "tally", .id = "1", .data = R"({"n":0})"}));
}

/// The faults are over: what was asked for is done, once, and all that was promised holds.
void Simulation::Finish() {
  disk_.Heal();
  if (subject_ == Subject::kSqlite) Restart();
  for (const Adding& adding : adding_) {
    Batch batch{.idempotency_key = adding.key};
    batch.operations.push_back(IncrementRecord{{"tally", "1"}, "/n", std::int64_t{1}});
    Result<Receipt> receipt = store_->Commit({}, std::move(batch));
    if (!receipt) Violate("a retry is refused: " + receipt.error().message);
  }
  const Record tally = *Must(store_->GetRecord({}, {"tally", "1"}));
  const auto sum = nlohmann::json::parse(tally.data)["n"].get<std::uint64_t>();
  if (sum != added_) {
    Violate("of " + std::to_string(added_) + " changes " + std::to_string(sum) + " were made");
  }
  std::int64_t money = 0;
  for (const Record& account : ListAllRecords(*store_, "account")) {
    money += nlohmann::json::parse(account.data)["balance"].get<std::int64_t>();
  }
  if (money != 100 * ScriptWriter::kAccounts) Violate("money was made or lost");
  ExpectCountsToBeExact(*store_);
  ExpectRecordsToBeExact(*store_);
  if (subject_ == Subject::kSqlite && AskSqlite(kSimFile, "PRAGMA integrity_check") != "ok") {
    Violate("the file is not sound");
  }
  ExpectLiveness();
  twin_.Compare(*engine_);
}

/// Without faults, every job can be taken within its lease and a second.
void Simulation::ExpectLiveness() {
  store_->StopWaiting();  // a claim that waits would take what becomes free, and do nothing
  for (const Queue& queue : Must(store_->ListQueues({})).items) {
    SetQueue open{.name = queue.name, .paused = false};
    open.max_running = std::optional<std::int64_t>();
    Must(store_->Set({}, open));
  }
  auto pass = [this](Duration time) {
    clock_.Advance(time);
    twin_.Advance(time);
    while (Must(store_->Maintain({})).more) {
    }
  };
  pass(kLongestLease + seconds(1));
  if (!ListAllJobs(*store_, {.state = JobState::kProcessing}).empty()) {
    Violate("a job is still with a worker who is gone");
  }
  // What comes later comes at its time.
  Duration wait{};
  for (const Job& job : ListAllJobs(*store_, {.state = JobState::kScheduled})) {
    wait = std::max<Duration>(wait, job.run_at - Now());
  }
  pass(wait + seconds(1));
  while (true) {
    const std::vector<Job> jobs = Must(store_->Claim({}, {.worker = "last", .max = 100}));
    if (jobs.empty()) break;
    for (const Job& job : jobs) Must(store_->Complete({}, job.id, job.token));
  }
  for (JobState state : {JobState::kScheduled, JobState::kPending, JobState::kProcessing}) {
    for (const Job& job : ListAllJobs(*store_, {.state = state})) {
      Violate("job " + std::to_string(job.id) + " can never be taken");
    }
  }
}

}  // namespace holdfast::testing
