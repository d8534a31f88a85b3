// Three nodes on one PostgreSQL under everything that a deployment can do to them: delays before
// every round trip, a pooler in transaction mode, defaults of the database that Holdfast did not
// choose, sessions of other programs that keep rows locked, jobs that come from SQL, nodes that are
// stopped and continued. What the clients were answered is checked by the rules, and so is how long
// each answer took.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "history/mix_suite.h"
#include "postgres/other_session.h"
#include "testing/environment.h"
#include "testing/matchers.h"
#include "testing/pooler.h"
#include "testing/private_postgres.h"
#include "testing/store_checks.h"
#include "testing/tcp_gate.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr std::size_t kNodes = 3;
constexpr int kClientsOfLane = 6;
constexpr int kStepsOfClient = 20;
constexpr auto kMostDelay = milliseconds(6);  // before every round trip
constexpr auto kFreeze = milliseconds(300);   // how long a node is stopped
constexpr auto kOutsiderHolds = seconds(5);   // the longest time that an outsider keeps rows
constexpr auto kMargin = seconds(2);          // beyond what a caller asked to wait
const std::string kSchema = "hostile";

/// How many calls ended how.
class Endings {
 public:
  void Add(const std::string& end) {
    base::MutexLock lock(mutex_);
    ++counts_[end];
  }
  void Add(const Result<void>& result) {
    Add(result ? "ok" : std::string(InfoOf(result.error().code).name));
    if (!result) NoteError(result.error());
  }
  /// Errors that no adversity excuses.
  void NoteError(const Error& error) {
    if (error.code != ErrorCode::kInternal && error.code != ErrorCode::kCorrupt) return;
    base::MutexLock lock(mutex_);
    if (++unexcused_ <= 5) ADD_FAILURE() << error.message;
  }
  std::string Text() const {
    base::MutexLock lock(mutex_);
    std::string text;
    for (const auto& [end, count] : counts_) text += fmt::format(" {} {}", end, count);
    return text;
  }

 private:
  mutable base::Mutex mutex_{base::LockRank::kWait};
  std::map<std::string, int> counts_ HF_GUARDED_BY(mutex_);
  int unexcused_ HF_GUARDED_BY(mutex_) = 0;
};

class HostileCluster : public ::testing::TestWithParam<const char*> {
 protected:
  HostileCluster()
      : server_({.settings = {"unix_socket_permissions = 0777",
                              fmt::format("default_transaction_isolation = '{}'", GetParam())}}) {
    for (std::size_t i = 0; i < kNodes; ++i) {  // the first two share the pooler
      gates_.push_back(std::make_unique<TcpGate>(server_.port()));
    }
    pooler_.emplace(server_, 24, gates_[0]->port());
    for (std::size_t i = 0; i < kNodes; ++i) {
      const std::string url =
          i < 2 ? pooler_->Url(kSchema) : server_.Url(kSchema, gates_[i]->port());
      stores_.push_back(Must(OpenStore(url)));
      nodes_.push_back(stores_.back().get());
    }
    for (std::size_t i = 0; i < kNodes; ++i) gates_[i]->Delay(kMostDelay, seed_ + i);
    Must(nodes_[0]->Apply({}, {.name = "plain", .rules = "{}"}));
    Must(nodes_[0]->Set({}, {.name = "one", .max_running = 1}));
    Must(nodes_[0]->Enqueue({}, {.kind = "one", .queue = "one"}));
    end_ = std::chrono::steady_clock::now() + duration_;
  }

  bool IsOver() const { return std::chrono::steady_clock::now() >= end_; }
  void Sleep(Duration time) { (void)WaitForStop({}, time); }
  std::string Table(const std::string& name) const { return kSchema + "." + name; }

  // The clients whose calls are a history.

  history::History RecordRound(const std::string& lane, int round, bool is_limited);
  void CheckLatency(const history::History& history, Duration allowance);
  void RunLane(const std::string& lane, Duration allowance);

  // Those whose calls are not.

  void LockRows(const std::string& lane);
  void EnqueueBySql();
  void WorkOnWhatCameBySql(std::size_t node);
  void AskWrongly(std::size_t node);
  void NumberRecords(std::size_t node);
  void GuardWhatIsAbsent(std::size_t node);
  void ShareSemaphore(std::size_t node);
  void PassOneJobAround(std::size_t node);
  void StopAndContinue();

  const std::uint64_t seed_ = PrintedSeed();
  const Duration duration_ = seconds(Rounds(18, 3600));
  PrivatePostgres server_;
  std::vector<std::unique_ptr<TcpGate>> gates_;
  std::optional<Pooler> pooler_;
  std::vector<std::unique_ptr<Store>> stores_;
  std::vector<Store*> nodes_;
  SteadyTime end_;
  Endings endings_;

  base::Mutex mutex_{base::LockRank::kWait};
  std::vector<history::History> histories_ HF_GUARDED_BY(mutex_);
  std::multiset<JobId> finished_ HF_GUARDED_BY(mutex_);
  std::atomic<int> enqueued_ = 0;
  std::atomic<int> in_semaphore_ = 0;
  std::atomic<Token> last_token_ = 0;  // of the one job that is passed around
};

history::History HostileCluster::RecordRound(const std::string& lane, int round, bool is_limited) {
  const lab::TortureOptions options{.threads = kClientsOfLane,
                                    .seed = seed_ + static_cast<std::uint64_t>(round)};
  history::Recording recording;
  lab::Arena arena(*nodes_[1], options, std::to_string(round), recording, lane);
  arena.UseNodes(nodes_);
  lab::Mix mix(arena, "m");
  Must(mix.Prepare());
  // As many as there are jobs: claims take the way of limited queues, and none is refused.
  if (is_limited) Must(nodes_[1]->Set({}, {.name = arena.Own("m-queue"), .max_running = 3}));
  arena.Attack(kClientsOfLane, [&](lab::Attacker& attacker) {
    lab::Hands hands;
    for (int i = 0; i < kStepsOfClient && !IsOver(); ++i) mix.Step(attacker, hands);
    mix.End(attacker, hands);
  });
  Must(mix.Check());
  for (const history::Violation& violation : arena.Finish("hostile").violations) {
    ADD_FAILURE() << violation.invariant << ": " << violation.detail;
  }
  history::History history{
      .source = {.engine = "postgres", .version = kVersion, .seed = seed_, .scenario = lane},
      .calls = arena.TakeCalls()};
  history::SortByBeginning(history);
  return history;
}

/// No call takes longer than its caller asked to wait, what the outsider may delay it, and a
/// margin.
void HostileCluster::CheckLatency(const history::History& history, Duration allowance) {
  for (const history::Observed& call : history.calls) {
    Duration wait = kFreeze + kMargin + allowance;
    if (const auto* acquire = std::get_if<AcquireLock>(&call.request)) {
      wait += acquire->wait.value_or(Duration::zero());
    }
    const auto took = std::chrono::nanoseconds(call.returned_ns - call.invoked_ns);
    if (took > wait) {
      ADD_FAILURE() << "took " << std::chrono::duration<double>(took).count()
                    << " s: " << history::Describe(call);
    }
  }
}

void HostileCluster::RunLane(const std::string& lane, Duration allowance) {
  for (int round = 0; !IsOver(); ++round) {
    history::History history = RecordRound(lane, round, round % 2 == 0);
    CheckLatency(history, allowance);
    for (const history::Observed& call : history.calls) {
      endings_.Add(call.error ? std::string(InfoOf(call.error->code).name) : "ok");
      if (call.error) endings_.NoteError(*call.error);
    }
    base::MutexLock lock(mutex_);
    histories_.push_back(std::move(history));
  }
}

/// A program that has nothing to do with Holdfast keeps rows of one lane locked.
void HostileCluster::LockRows(const std::string& lane) {
  OtherSession outsider(server_, "holdfast", "outsider");
  std::mt19937_64 random(seed_ + 100);
  const std::vector<std::string> choices = {
      fmt::format("SELECT FROM {} WHERE id LIKE '%-{}-%' LIMIT 3 FOR UPDATE", Table("records"),
                  lane),
      fmt::format("SELECT FROM {} WHERE name LIKE '%-{}-%' LIMIT 2 FOR UPDATE", Table("locks"),
                  lane),
      fmt::format("SELECT FROM {} WHERE queue LIKE '%-{}-%' LIMIT 2 FOR UPDATE", Table("jobs"),
                  lane),
      fmt::format("SELECT FROM {} WHERE name LIKE '%-{}-%' LIMIT 1 FOR UPDATE", Table("queues"),
                  lane)};
  while (!IsOver()) {
    outsider.Run("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '1s'");
    outsider.Try(choices[random() % choices.size()]);
    Sleep(milliseconds(200 + random() % (kOutsiderHolds / milliseconds(1) - 200)));
    outsider.Run("ROLLBACK");
    Sleep(milliseconds(100));
  }
}

void HostileCluster::EnqueueBySql() {
  OtherSession outsider(server_, "holdfast", "outsider");
  while (!IsOver()) {
    outsider.Run("BEGIN ISOLATION LEVEL READ COMMITTED");
    outsider.Run(fmt::format("SELECT {}('outside', queue => 'outside')", Table("enqueue")));
    outsider.Run("COMMIT");
    ++enqueued_;
    Sleep(milliseconds(20));
  }
}

/// Completes what it claims, and in the same commit enqueues a child of it, whose id comes from the
/// node's own range. The child is not enqueued where its parent was one itself.
void HostileCluster::WorkOnWhatCameBySql(std::size_t node) {
  const std::string worker = fmt::format("outside-{}", node);
  Store& store = *nodes_[node];
  auto has_left = [&] {
    Result<std::optional<Queue>> queue = store.GetQueue({}, "outside");
    return !queue || (*queue && (*queue)->CountOf(JobState::kPending) > 0);
  };
  const SteadyTime give_up = end_ + seconds(20);
  while (!IsOver() || (has_left() && std::chrono::steady_clock::now() < give_up)) {
    Result<std::vector<Job>> jobs = store.Claim(
        {}, {.worker = worker, .queues = {"outside"}, .max = 3, .wait = milliseconds(200)});
    endings_.Add(jobs ? Result<void>() : std::unexpected(jobs.error()));
    if (!jobs) continue;
    for (const Job& job : *jobs) {
      Batch batch{.operations = {CompleteJob{job.id, job.token}}};
      if (!job.parent) {
        batch.operations.emplace_back(
            EnqueueJob{{.kind = "outside", .queue = "outside", .parent = job.id}});
        ++enqueued_;
      }
      Result<Receipt> done = store.Commit({}, batch);
      endings_.Add(done ? Result<void>() : std::unexpected(done.error()));
      EXPECT_TRUE(done) << done.error().message;
      base::MutexLock lock(mutex_);
      finished_.insert(job.id);
    }
  }
}

/// Texts that an engine cannot store, and names that do not exist, beside good calls.
void HostileCluster::AskWrongly(std::size_t node) {
  Store& store = *nodes_[node];
  const std::string nul("a\0b", 3);
  for (int i = 0; !IsOver(); ++i) {
    const std::string absent = fmt::format("absent-{}-{}", node, i);
    EXPECT_THAT(store.Claim({}, {.worker = nul}),
                StatusIs(ErrorCode::kInvalidArgument, HasSubstr("")));
    EXPECT_THAT(store.Acquire({}, {.name = "l", .owner = nul}),
                StatusIs(ErrorCode::kInvalidArgument, HasSubstr("")));
    EXPECT_EQ(Must(store.Claim({}, {.worker = "w", .queues = {absent}})).size(), 0U);
    EXPECT_EQ(Must(store.GetRecord({}, {"plain", absent})), std::nullopt);
    EXPECT_TRUE(Must(store.GetLock({}, absent)).holders.empty());
    Sleep(milliseconds(10));
  }
}

/// Records under ids that a client made up: numbers, as the store makes them, too.
void HostileCluster::NumberRecords(std::size_t node) {
  Store& store = *nodes_[node];
  std::set<std::string> made;
  for (int i = 1; !IsOver(); ++i) {
    Result<Record> own = store.Create({}, {.kind = "plain", .id = std::to_string(i * 3 + 1)});
    endings_.Add(own ? Result<void>() : std::unexpected(own.error()));
    if (!own) {
      EXPECT_EQ(own.error().code, ErrorCode::kAlreadyExists) << own.error().message;
    }
    Result<Record> given = store.Create({}, {.kind = "plain"});
    endings_.Add(given ? Result<void>() : std::unexpected(given.error()));
    ASSERT_TRUE(given) << given.error().message;
    EXPECT_TRUE(made.insert(given->id).second) << given->id << " was given twice";
  }
}

/// The lock of a record that does not exist keeps others from creating it.
void HostileCluster::GuardWhatIsAbsent(std::size_t node) {
  Store& holder = *nodes_[node];
  Store& rival = *nodes_[(node + 1) % kNodes];
  for (int i = 0; !IsOver(); ++i) {
    const RecordKey key{"plain", fmt::format("guarded-{}-{}", node, i)};
    const std::string lock = LockNameOf(key);
    Result<std::vector<LockGrant>> grant = holder.Acquire({}, {.name = lock, .owner = "holder"});
    ASSERT_TRUE(grant) << grant.error().message;
    const Token token = grant->front().token;
    EXPECT_THAT(rival.Create({}, {.kind = key.kind, .id = key.id}),
                StatusIs(ErrorCode::kBusy, HasSubstr("")));
    const Batch guarded{
        .guards = {LockGuard{lock, token}},
        .operations = {CreateRecord{.kind = key.kind, .id = key.id}, ReleaseLock{lock, token}}};
    Result<Receipt> created = holder.Commit({}, guarded);
    EXPECT_TRUE(created) << created.error().message;
  }
}

void HostileCluster::ShareSemaphore(std::size_t node) {
  Store& store = *nodes_[node];
  const std::string owner = fmt::format("sharer-{}-{}", node, in_semaphore_.load());
  while (!IsOver()) {
    Result<std::vector<LockGrant>> grant = store.Acquire({}, {.name = "semaphore",
                                                              .owner = owner,
                                                              .mode = LockMode::kShared,
                                                              .limit = 2,
                                                              .ttl = seconds(60),
                                                              .wait = seconds(1)});
    endings_.Add(grant ? Result<void>() : std::unexpected(grant.error()));
    if (!grant) continue;
    EXPECT_LE(++in_semaphore_, 2) << "holders of a semaphore of 2";
    Sleep(milliseconds(2));
    --in_semaphore_;
    Result<LockGrant> released = store.Release({}, ReleaseLock{"semaphore", grant->front().token});
    EXPECT_TRUE(released) << released.error().message;
  }
}

/// One job of a limited queue: every claim of it carries a higher token than the one before.
void HostileCluster::PassOneJobAround(std::size_t node) {
  Store& store = *nodes_[node];
  while (!IsOver()) {
    Result<std::vector<Job>> jobs = store.Claim({}, {.worker = "passer", .queues = {"one"}});
    endings_.Add(jobs ? Result<void>() : std::unexpected(jobs.error()));
    if (!jobs || jobs->empty()) continue;
    const Job& job = jobs->front();
    EXPECT_GT(job.token, last_token_.exchange(job.token));
    Result<Job> released = store.Release({}, job.id, job.token);
    EXPECT_TRUE(released) << released.error().message;
  }
}

void HostileCluster::StopAndContinue() {
  std::mt19937_64 random(seed_ + 200);
  while (!IsOver()) {
    Sleep(milliseconds(500 + random() % 1000));
    TcpGate& gate = *gates_[random() % kNodes];
    gate.Freeze();
    Sleep(kFreeze);
    gate.Thaw();
  }
}

TEST_P(HostileCluster, KeepsItsPromises) {
  {
    std::vector<std::jthread> running;
    running.emplace_back([&] { RunLane("free", Duration::zero()); });
    running.emplace_back([&] { RunLane("disturbed", kOutsiderHolds); });
    running.emplace_back([&] { LockRows("disturbed"); });
    running.emplace_back([&] { EnqueueBySql(); });
    for (std::size_t node = 0; node < kNodes; ++node) {
      running.emplace_back([&, node] { WorkOnWhatCameBySql(node); });
      running.emplace_back([&, node] { PassOneJobAround(node); });
      for (int i = 0; i < 2; ++i) running.emplace_back([&, node] { ShareSemaphore(node); });
    }
    running.emplace_back([&] { AskWrongly(0); });
    running.emplace_back([&] { NumberRecords(1); });
    running.emplace_back([&] { NumberRecords(2); });
    running.emplace_back([&] { GuardWhatIsAbsent(0); });
    running.emplace_back([&] { StopAndContinue(); });
  }
  std::int64_t calls = 0;
  std::vector<history::History> histories;
  std::multiset<JobId> finished;
  {
    base::MutexLock lock(mutex_);
    histories = std::move(histories_);
    finished = std::move(finished_);
  }
  for (const history::History& history : histories) {
    const history::Checked checked = Must(history::CheckHistory(history));
    EXPECT_EQ(checked.too_large, 0);
    EXPECT_TRUE(checked.Held()) << TextOf(checked);
    calls += checked.calls;
  }
  EXPECT_EQ(static_cast<int>(finished.size()), enqueued_);
  EXPECT_EQ(std::set<JobId>(finished.begin(), finished.end()).size(), finished.size());
  ExpectCountsToBeExact(*nodes_[1]);
  fmt::print("{} histories, {} calls, {} jobs from SQL and their children;{}\n", histories.size(),
             calls, finished.size(), endings_.Text());
}

INSTANTIATE_TEST_SUITE_P(Defaults, HostileCluster,
                         ::testing::Values("read committed", "repeatable read", "serializable"),
                         [](const ::testing::TestParamInfo<const char*>& defaults) {
                           std::string name = defaults.param;
                           std::ranges::replace(name, ' ', '_');
                           return name;
                         });

}  // namespace
}  // namespace holdfast::testing
