// Every file operation of a fixed script fails, one after the other, once and for good, in every
// way: no wrong answer, nothing acknowledged is lost, and a store that cannot know what its disk
// holds writes no more until it is opened anew.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "testing/environment.h"
#include "testing/sim_disk.h"
#include "testing/sim_store.h"
#include "testing/store_checks.h"

namespace holdfast::testing {
namespace {

using std::chrono::hours;
using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr int kRounds = 10;
constexpr int kJobs = 6;  // of a round
constexpr int kAdds = 8;  // likewise
constexpr const char* kSwept = "swept.db";

// Where the fault is not one of a sync, one in so many points loses power, too.
constexpr std::uint64_t kLosesPower = 8;

bool IsOfSync(DiskFault fault) {
  return fault == DiskFault::kSync || fault == DiskFault::kSyncLost ||
         fault == DiskFault::kSyncHidden || fault == DiskFault::kSyncDone;
}

/// The script, on a disk of its own, and what is known of its outcome.
class Swept {
 public:
  explicit Swept(const SimDisk::Image& image) { disk_.Load(image); }
  ~Swept() { store_.reset(); }

  SimDisk& disk() { return disk_; }

  /// A store in which nothing has happened yet.
  static SimDisk::Image MakeImage() {
    Swept fresh({});
    fresh.Reopen();
    fresh.Declare();
    fresh.store_.reset();
    return fresh.disk_.Save();
  }

  Result<void> Open() {
    Result<std::unique_ptr<Store>> store = OpenSimStore(kSwept, clock_, driver_);
    if (!store) return std::unexpected(std::move(store).error());
    store_ = *std::move(store);
    return {};
  }
  /// Without a fault: it must work.
  void Reopen() {
    store_.reset();
    Result<void> opened = Open();
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
  }
  void LosePower() {
    disk_.CrashAs(Crash::kPower);
    store_.reset();
  }
  void Close() { store_.reset(); }
  /// Not even closed, so that what the log holds stays there.
  void Kill() {
    disk_.CrashAs(Crash::kProcess);
    store_.reset();
  }

  void Declare() {
    Must(store_->Apply({}, {.name = "row", .rules = "{}"}));
    Must(store_->Create({}, {.kind = "row", .id = "sum", .data = R"({"n":0})"}));
  }

  /// About 200 operations.
  void RunScript(DiskFault fault) {
    for (int round = 0; round < kRounds && store_ != nullptr; ++round) {
      clock_.Advance(std::chrono::seconds(1));
      RunRound(round, fault);
      CheckReads(round);
    }
  }

  void Check() {
    std::map<std::string, int> jobs;
    std::map<std::string, int> completed;
    for (const Job& job : Must(store_->ListJobs({}, {.limit = 1'000})).items) {
      ++jobs[job.kind];
      if (job.state == JobState::kCompleted) ++completed[job.kind];
    }
    std::map<std::string, Record> rows;
    for (Record& row : ListAllRecords(*store_, "row")) rows.emplace(row.id, std::move(row));
    std::set<std::string> held;
    for (const Lock& lock : Must(store_->ListLocks({}, {})).items) {
      if (!lock.holders.empty()) held.insert(lock.name);
    }
    int there = 0;
    for (int round = 0; round < kRounds; ++round) {
      const std::string name = std::to_string(round);
      const bool is_there = rows.contains(name);
      there += is_there ? 1 : 0;
      EXPECT_EQ(jobs["b" + name], is_there ? kJobs : 0) << "round " << round << " is in part";
      ExpectKnown(done_[round], is_there);
      ExpectKnown(finished_[round], completed["b" + name] == kJobs);
      if (completed["b" + name] != kJobs) {
        EXPECT_EQ(completed["b" + name], 0);
      }
      EXPECT_EQ(held.contains("l" + name), is_there && completed["b" + name] == 0)
          << "lock of round " << round;
    }
    const auto sum = nlohmann::json::parse(rows.at("sum").data)["n"].get<int>();
    EXPECT_EQ(sum, there * kAdds);
    for (const Queue& queue : Must(store_->ListQueues({})).items) {
      if (!queue.name.starts_with("q")) continue;
      const auto done = queue.counts[static_cast<std::size_t>(JobState::kCompleted)];
      EXPECT_EQ(done, completed["b" + queue.name.substr(1)]) << "queue " << queue.name;
    }
  }

  /// It works again.
  void Go() {
    const Result<Job> job = store_->Enqueue({}, {.kind = "after"});
    EXPECT_TRUE(job.has_value()) << job.error().message;
    if (job) after_.push_back(job->id);
    for (JobId id : after_) EXPECT_TRUE(Must(store_->GetJob({}, id)).has_value());
  }

 private:
  /// Nothing: it is not known.
  using Known = std::optional<bool>;

  static void ExpectKnown(Known known, bool is_there) {
    if (known) {
      EXPECT_EQ(*known, is_there) << (*known ? "an acknowledged commit is lost" : "");
    }
  }

  void RunRound(int round, DiskFault fault) {
    const std::string name = std::to_string(round);
    Batch batch;
    for (int i = 0; i < kJobs; ++i) {
      batch.operations.push_back(EnqueueJob{{.kind = "b" + name, .queue = "q" + name}});
    }
    batch.operations.push_back(CreateRecord{.kind = "row", .id = name});
    for (int i = 0; i < kAdds; ++i) {
      batch.operations.push_back(IncrementRecord{{"row", "sum"}, "/n", std::int64_t{1}});
    }
    batch.operations.push_back(AcquireLock{.name = "l" + name, .owner = "o", .ttl = hours(1)});
    std::vector<Job> jobs;
    Token lock = 0;
    driver_.Hold();
    store_->CommitAsync({}, {batch}, [&](std::vector<Result<Receipt>> answers) {
      done_[round] = Learn(answers.front(), fault);
      if (answers.front()) lock = answers.front()->results.back().lock->grants.front().token;
    });
    store_->ClaimAsync({}, {.worker = "w", .queues = {"q" + name}, .max = kJobs, .lease = hours(1)},
                       [&](Result<std::vector<Job>> claimed) {
                         (void)Learn(claimed, fault);
                         if (claimed) jobs = *std::move(claimed);
                       });
    driver_.LetGo();
    finished_[round] = false;
    if (!done_[round].value_or(false)) return;
    EXPECT_EQ(jobs.size(), kJobs);
    Batch finish;
    for (const Job& job : jobs) finish.operations.push_back(CompleteJob{job.id, job.token});
    finish.operations.push_back(ReleaseLock{"l" + name, lock});
    store_->CommitAsync({}, {finish}, [&](std::vector<Result<Receipt>> answers) {
      finished_[round] = Learn(answers.front(), fault);
    });
  }

  /// What an answer tells: done, not done, or nothing. The only excuse is the fault.
  template <typename T>
  Known Learn(const Result<T>& answer, DiskFault fault) {
    if (answer) {
      EXPECT_FALSE(is_over_) << "written after an error that ended writing";
      return true;
    }
    const Error& error = answer.error();
    EXPECT_GT(disk_.fired(), 0U) << error.message;
    EXPECT_THAT(answer, AnyOf(StatusIs(ErrorCode::kUnavailable,
                                       AnyOf(HasSubstr("disk"), HasSubstr("sqlite"))),
                              StatusIs(ErrorCode::kOutcomeUnknown, HasSubstr("disk I/O error"))));
    if (fault != DiskFault::kFull) {
      is_over_ = true;
      EXPECT_THAT(store_->CheckHealth(), StatusIs(ErrorCode::kUnavailable, HasSubstr("anew")));
    }
    if (error.code == ErrorCode::kOutcomeUnknown) return std::nullopt;
    return false;
  }

  /// The right answer, or an error.
  void CheckReads(int round) {
    const std::string name = std::to_string(round);
    auto row = store_->GetRecord({}, {"row", name});
    if (row && done_[round]) {
      EXPECT_EQ(row->has_value(), *done_[round]);
    }
    auto jobs = store_->ListJobs({}, {.kind = "b" + name});
    if (jobs && done_[round]) {
      EXPECT_EQ(jobs->items.size(), *done_[round] ? kJobs : 0U);
    }
    for (const auto* error : {row ? nullptr : &row.error(), jobs ? nullptr : &jobs.error()}) {
      if (error == nullptr) continue;
      EXPECT_EQ(error->code, ErrorCode::kUnavailable) << error->message;
      EXPECT_GT(disk_.fired(), 0U) << error->message;
    }
  }

  SimDisk disk_;
  SimClock clock_;
  SimDriver driver_;
  std::unique_ptr<Store> store_;
  std::array<Known, kRounds> done_ = NotDone();
  std::array<Known, kRounds> finished_ = NotDone();
  bool is_over_ = false;
  std::vector<JobId> after_;

  static std::array<Known, kRounds> NotDone() {
    std::array<Known, kRounds> none;
    none.fill(false);
    return none;
  }
};

class IoSweep : public ::testing::TestWithParam<DiskFault> {
 protected:
  static constexpr SimDisk::Lasts kLasts[] = {SimDisk::Lasts::kOnce, SimDisk::Lasts::kForEver};

  /// The whole of the sweep, where it is not scaled down: then every n-th point of it.
  static std::uint64_t Stride() { return 20 / static_cast<std::uint64_t>(Scaled(20)); }

  static void Print(std::uint64_t points, std::uint64_t operations) {
    std::printf("%s: %llu points, of %llu operations each once and for good\n",
                std::string(NameOf(GetParam())).c_str(), static_cast<unsigned long long>(points),
                static_cast<unsigned long long>(operations));
  }
};

TEST_P(IoSweep, WhereverTheDiskFailsNoAnswerIsWrong) {
  const DiskFault fault = GetParam();
  const SimDisk::Image image = Swept::MakeImage();
  std::uint64_t points = 0, operations = 0;
  for (SimDisk::Lasts lasts : kLasts) {
    for (operations = 0;; operations += Stride()) {
      SCOPED_TRACE("operation " + std::to_string(operations) + " fails" +
                   (lasts == SimDisk::Lasts::kOnce ? " once" : ""));
      Swept swept(image);
      swept.Reopen();
      swept.disk().Break(fault, operations, lasts);
      swept.RunScript(fault);
      if (!IsOfSync(fault)) swept.Close();  // which writes, and deletes the log
      if (swept.disk().fired() == 0) break;
      ++points;
      swept.disk().Heal();
      if (swept.disk().is_dead()) swept.LosePower();
      if (IsOfSync(fault)) swept.Kill();
      swept.Reopen();
      swept.Check();
      swept.Go();
      // What can be read need not be on the disk: an error of a sync may have left it in memory.
      if (IsOfSync(fault) || operations % kLosesPower == 0) {
        swept.LosePower();
        swept.Reopen();
        swept.Check();
        swept.Go();
      }
      ASSERT_FALSE(HasFailure());
    }
  }
  Print(points, operations);
  EXPECT_GT(points, 0U);
}

TEST_P(IoSweep, WhereverTheDiskFailsWhileAStoreIsMadeItCanBeMadeAgain) {
  const DiskFault fault = GetParam();
  std::uint64_t points = 0, operations = 0;
  for (SimDisk::Lasts lasts : kLasts) {
    for (operations = 0;; operations += Stride()) {
      SCOPED_TRACE("operation " + std::to_string(operations) + " fails" +
                   (lasts == SimDisk::Lasts::kOnce ? " once" : ""));
      Swept swept({});
      swept.disk().Break(fault, operations, lasts);
      const Result<void> opened = swept.Open();
      if (swept.disk().fired() == 0) break;
      ++points;
      if (!opened) {
        EXPECT_THAT(opened, StatusIs(ErrorCode::kUnavailable, HasSubstr(kSwept)));
      }
      swept.disk().Heal();
      if (swept.disk().is_dead()) swept.LosePower();
      swept.Reopen();
      swept.Declare();
      swept.Check();
      swept.Go();
      swept.LosePower();
      swept.Reopen();
      swept.Check();
      swept.Go();
      ASSERT_FALSE(HasFailure());
    }
  }
  Print(points, operations);
}

std::vector<DiskFault> AllFaults() {
  std::vector<DiskFault> faults;
  for (std::size_t i = 0; i < kDiskFaultCount; ++i) faults.push_back(static_cast<DiskFault>(i));
  return faults;
}

INSTANTIATE_TEST_SUITE_P(Faults, IoSweep, ::testing::ValuesIn(AllFaults()), [](const auto& fault) {
  std::string name;
  bool starts = true;
  for (char c : NameOf(fault.param)) {
    if (c != ' ') name += starts ? static_cast<char>(c - 32) : c;
    starts = c == ' ';
  }
  return name;
});

}  // namespace
}  // namespace holdfast::testing
