// The power goes, at any moment and again and again: everything acknowledged is there, nothing is
// there in part, and the file is sound.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "testing/environment.h"
#include "testing/script.h"
#include "testing/sim_disk.h"
#include "testing/sim_store.h"
#include "testing/store_checks.h"

namespace holdfast::testing {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

constexpr int kPurses = 4;
constexpr int kMoneyEach = 1'000;

/// One machine, whose power goes now and then, and somebody who remembers what it has promised.
class Machine {
 public:
  explicit Machine(std::uint64_t seed) : disk_(seed), script_(seed) {}
  ~Machine() { store_.reset(); }  // before its disk

  /// From one start to the next loss of power.
  void Live() {
    if (script_.OneIn(3)) BreakSoon(script_.OneIn(4) ? 40 : 400);
    if (Open()) {
      for (int groups = 1 + script_.Below(25); groups > 0 && !disk_.is_dead(); --groups) Work();
    }
    LosePower();
  }

  /// With a sound disk: settles what is not known, and finds everything as promised.
  void Check() {
    ASSERT_TRUE(Open());
    EXPECT_EQ(AskSqlite(kFile, "PRAGMA integrity_check"), "ok");
    for (auto& [number, write] : writes_) CheckWrite(number, write);
    std::int64_t money = 0;
    for (const Record& purse : ListAllRecords(*store_, "purse")) {
      money += nlohmann::json::parse(purse.data)["money"].get<std::int64_t>();
    }
    EXPECT_EQ(money, is_declared_ ? kPurses * kMoneyEach : 0);
    for (const auto& [id, token] : claimed_) {
      std::optional<Job> job = Must(store_->GetJob({}, id));
      ASSERT_TRUE(job.has_value());
      EXPECT_EQ(job->state, JobState::kProcessing) << "the claim of job " << id << " is lost";
    }
    for (JobId id : completed_) {
      std::optional<Job> job = Must(store_->GetJob({}, id));
      ASSERT_TRUE(job.has_value());
      EXPECT_EQ(job->state, JobState::kCompleted) << "job " << id;
    }
    ExpectCountsToBeExact(*store_);
    ExpectRecordsToBeExact(*store_);
    store_.reset();
  }

  const SimDisk& disk() const { return disk_; }
  std::uint64_t acknowledged() const { return acknowledged_; }
  std::uint64_t unknown() const { return unknown_; }

 private:
  static constexpr const char* kFile = "power.db";

  enum class Known : std::uint8_t { kDone, kNotDone, kUnknown };
  struct Write {
    Batch batch;
    std::size_t jobs = 0;
    Known known = Known::kUnknown;
  };

  void BreakSoon(int within) {
    disk_.Break(DiskFault::kDeath, static_cast<std::uint64_t>(script_.Below(within)));
  }

  bool Open() {
    Result<std::unique_ptr<Store>> store = OpenSimStore(kFile, clock_, driver_);
    if (!store) {
      EXPECT_TRUE(disk_.is_dead()) << store.error().message;
      return false;
    }
    store_ = *std::move(store);
    if (is_declared_) return true;
    Batch batch{.idempotency_key = "declare"};
    batch.operations.push_back(
        ApplyKind{.name = "purse", .rules = R"({"bounds":{"/money":{"min":0}}})"});
    batch.operations.push_back(ApplyKind{.name = "row", .rules = "{}"});
    for (int i = 0; i < kPurses; ++i) {
      batch.operations.push_back(
          CreateRecord{.kind = "purse", .id = std::to_string(i), .data = R"({"money":1000})"});
    }
    Result<Receipt> declared = store_->Commit({}, batch);
    EXPECT_TRUE(declared.has_value() || disk_.is_dead());
    is_declared_ = declared.has_value();
    return is_declared_;
  }

  void LosePower() {
    static constexpr Crash kLosses[] = {Crash::kPower, Crash::kPowerTorn, Crash::kPowerSome};
    const Crash loss = kLosses[script_.Below(3)];
    disk_.CrashAs(loss);  // first: what the process would do when it is closed is too late
    store_.reset();
    clock_.Reboot();
    clock_.Advance(milliseconds(script_.Below(5'000)));
  }

  /// Several batches, and claims, that are one transaction.
  void Work() {
    clock_.Advance(milliseconds(script_.Below(500)));
    if (script_.OneIn(20)) BreakSoon(60);
    if (script_.OneIn(8)) {
      AskSqlite(kFile, script_.OneIn(2) ? "PRAGMA wal_checkpoint(TRUNCATE)"
                                        : "PRAGMA wal_checkpoint(PASSIVE)");
    }
    driver_.Hold();
    for (int batches = 1 + script_.Below(4); batches > 0; --batches) Submit();
    if (script_.OneIn(3)) Claim();
    driver_.LetGo();
  }

  void Submit() {
    const int number = ++last_;
    Write& write = writes_[number];
    write.jobs = static_cast<std::size_t>(1 + script_.Below(6));
    Batch& batch = write.batch;
    batch.idempotency_key = std::to_string(number);
    for (std::size_t i = 0; i < write.jobs; ++i) {
      batch.operations.push_back(EnqueueJob{
          {.kind = "b" + std::to_string(number),
           .payload =
               '"' + std::string(static_cast<std::size_t>(script_.Below(3'000)), 'x') + '"'}});
    }
    batch.operations.push_back(CreateRecord{.kind = "row", .id = std::to_string(number)});
    batch.operations.push_back(MakeTransfer{.from = RandomPurse(),
                                            .to = RandomPurse(),
                                            .path = "/money",
                                            .amount = 1 + script_.Below(3)});
    if (auto& from = std::get<MakeTransfer>(batch.operations.back()); from.from == from.to) {
      batch.operations.pop_back();
    }
    store_->CommitAsync({}, {batch}, [this, number](std::vector<Result<Receipt>> answers) {
      Note(writes_.at(number), answers.front());
    });
  }

  RecordKey RandomPurse() { return {"purse", std::to_string(script_.Below(kPurses))}; }

  void Note(Write& write, const Result<Receipt>& answer) {
    if (answer) {
      write.known = Known::kDone;
      ++acknowledged_;
    } else if (answer.error().code == ErrorCode::kOutcomeUnknown) {
      ++unknown_;
    } else {
      write.known = Known::kNotDone;
      const bool is_refused = answer.error().code == ErrorCode::kUnavailable ||
                              answer.error().code == ErrorCode::kRuleViolation;
      EXPECT_TRUE(is_refused) << answer.error().message;
    }
  }

  /// And completes, later, what it has got.
  void Claim() {
    store_->ClaimAsync({}, {.worker = "w", .max = 2, .lease = hours(24)},
                       [this](Result<std::vector<Job>> jobs) {
                         if (!jobs) return;
                         for (const Job& job : *jobs) Note(job);
                       });
    if (claimed_.empty() || script_.OneIn(3)) return;
    const auto [id, token] = claimed_.back();
    claimed_.pop_back();
    store_->CommitAsync({}, {{.operations = {CompleteJob{id, token}}}},
                        [this, id](std::vector<Result<Receipt>> answers) {
                          if (answers.front()) completed_.push_back(id);
                        });
  }

  void Note(const Job& job) {
    EXPECT_GT(job.token, last_token_) << "a token came again after a crash";
    last_token_ = job.token;
    claimed_.emplace_back(job.id, job.token);
  }

  void CheckWrite(int number, Write& write) {
    const std::string name = std::to_string(number);
    std::size_t jobs = ListAllJobs(*store_, {.kind = "b" + name}).size();
    bool is_there = Must(store_->GetRecord({}, {"row", name})).has_value();
    EXPECT_EQ(jobs, is_there ? write.jobs : 0U) << "write " << number << " is there in part";
    if (write.known == Known::kDone) {
      EXPECT_TRUE(is_there) << "write " << number << " is lost";
    }
    if (write.known == Known::kNotDone) {
      EXPECT_FALSE(is_there) << "write " << number;
    }
    if (write.known != Known::kUnknown) return;
    // Its sender asks again, with the same key.
    Result<Receipt> again = store_->Commit({}, write.batch);
    if (!again) {
      EXPECT_FALSE(is_there) << again.error().message;
      EXPECT_THAT(again, StatusIs(ErrorCode::kRuleViolation));
      write.known = Known::kNotDone;
      return;
    }
    EXPECT_EQ(again->replayed, is_there) << "write " << number;
    EXPECT_EQ(ListAllJobs(*store_, {.kind = "b" + name}).size(), write.jobs);
    write.known = Known::kDone;
  }

  SimDisk disk_;
  SimClock clock_;
  SimDriver driver_;
  ScriptWriter script_;
  std::unique_ptr<Store> store_;
  bool is_declared_ = false;
  int last_ = 0;
  std::map<int, Write> writes_;
  std::vector<std::pair<JobId, Token>> claimed_;
  std::vector<JobId> completed_;
  Token last_token_ = 0;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t unknown_ = 0;
};

TEST(PowerLoss, NothingAcknowledgedIsLostAndNothingIsThereInPart) {
  constexpr int kLosses = 4;  // of one machine
  const std::uint64_t seed = PrintedSeed();
  const int losses = Scaled(Rounds(200, 5'000), 20);
  std::uint64_t acknowledged = 0, unknown = 0, lost = 0, torn = 0, deaths = 0;
  for (int i = 0; i < losses; i += kLosses) {
    Machine machine(seed + i);
    for (int life = 0; life < kLosses; ++life) {
      machine.Live();
      machine.Check();
      ASSERT_FALSE(HasFailure()) << "replay with HOLDFAST_SEED=" << seed + i;
    }
    acknowledged += machine.acknowledged();
    unknown += machine.unknown();
    lost += machine.disk().lost_writes();
    torn += machine.disk().torn_writes();
    deaths += machine.disk().fired(DiskFault::kDeath);
  }
  std::printf(
      "%d losses of power, %llu in the middle of a write; %llu commits acknowledged, %llu "
      "unknown; %llu unsynced writes lost, %llu torn\n",
      losses, static_cast<unsigned long long>(deaths),
      static_cast<unsigned long long>(acknowledged), static_cast<unsigned long long>(unknown),
      static_cast<unsigned long long>(lost), static_cast<unsigned long long>(torn));
  // What never struck has tested nothing.
  EXPECT_GT(acknowledged, 0U);
  EXPECT_GT(unknown, 0U);
  EXPECT_GT(lost, 0U);
  EXPECT_GT(torn, 0U);
  EXPECT_GT(deaths, 0U);
}

// After a failed sync nobody knows what the log on the disk holds. Whatever the next process sees
// of it must outlast the power, however the log was left behind, and however often it was opened.
TEST(PowerLoss, WhatIsSeenAfterAFailedSyncStaysSeen) {
  for (DiskFault failed : {DiskFault::kSync, DiskFault::kSyncHidden, DiskFault::kSyncDone}) {
    for (bool is_killed : {false, true}) {
      // The first opening meets a fault at its first, second... sync; at last at none.
      for (std::uint64_t sync = 0; sync < 6; ++sync) {
        for (Crash crash : {Crash::kPower, Crash::kPowerSome}) {
          SCOPED_TRACE(std::string(NameOf(failed)) + (is_killed ? ", killed" : ", closed") +
                       ", opening fails at sync " + std::to_string(sync) + ", " +
                       std::string(NameOf(crash)));
          SimDisk disk(sync + 1);
          SimClock clock;
          SimDriver driver;
          auto open = [&] { return OpenSimStore("store.db", clock, driver); };
          auto store = Must(open());
          for (int i = 0; i < 3; ++i) Must(store->Enqueue({}, {.kind = "k"}));
          Must(store->ListJobs({}, {}));  // so that there are readers to be closed, too
          disk.Break(failed, 0, SimDisk::Lasts::kOnce);
          EXPECT_FALSE(store->Enqueue({}, {.kind = "k"}));
          ASSERT_EQ(disk.fired(failed), 1U);
          if (is_killed) disk.CrashAs(Crash::kProcess);
          store.reset();
          disk.Break(DiskFault::kSyncDone, sync, SimDisk::Lasts::kOnce);
          { auto first = open(); }
          disk.Heal();
          store = Must(open());
          const std::size_t seen = ListAllJobs(*store).size();
          disk.CrashAs(crash);
          store.reset();
          store = Must(open());
          EXPECT_EQ(ListAllJobs(*store).size(), seen);
          store.reset();
        }
      }
    }
  }
}

}  // namespace
}  // namespace holdfast::testing
