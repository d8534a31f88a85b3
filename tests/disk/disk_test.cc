// A disk that fails: the caller is told, nothing that was acknowledged is lost, reads go on, and
// opening the store anew recovers.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <optional>

#include "testing/environment.h"
#include "testing/fault_vfs.h"
#include "testing/recording_log.h"
#include "testing/store_checks.h"

namespace holdfast::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

class Disk : public ::testing::Test {
 protected:
  void Open(const std::string& file) {
    file_ = file;
    store_.reset();
    store_ = Must(OpenStore("sqlite:" + file, {.maintain = false}));
  }
  void Reopen() { Open(file_); }

  Result<Job> Push(std::string payload = "null") {
    Result<Job> job = store_->Enqueue({}, {.kind = "k", .payload = std::move(payload)});
    if (job) {
      acknowledged_.push_back(job->id);
    } else if (job.error().code == ErrorCode::kOutcomeUnknown) {
      ++unknown_;
    }
    return job;
  }

  /// Everything acknowledged is there, and nothing that was refused.
  void ExpectNothingLost() { ExpectNothingLost(*store_); }
  void ExpectNothingLost(Store& store) {
    std::vector<Job> jobs = ListAllJobs(store);
    EXPECT_GE(jobs.size(), acknowledged_.size());
    EXPECT_LE(jobs.size(), acknowledged_.size() + unknown_);
    for (JobId id : acknowledged_) {
      EXPECT_TRUE(Must(store.GetJob({}, id)).has_value()) << "job " << id << " is lost";
    }
    ExpectCountsToBeExact(store);
  }
  /// The same of the files as they are now: what a killed process leaves behind, which no closing
  /// has put in order. What failed to be synced may be there all the same.
  void ExpectNothingLostByACrash() {
    const std::string copy = dir_.File("crashed.db");
    for (const char* suffix : {"", "-wal"}) {
      std::filesystem::copy_file(file_ + suffix, copy + suffix,
                                 std::filesystem::copy_options::overwrite_existing);
    }
    std::filesystem::remove(copy + "-shm");
    ExpectNothingLost(*Must(OpenStore("sqlite:" + copy, {.maintain = false})));
  }

  TempDir dir_{TempDir::Where::kMemory};
  std::string file_;
  std::unique_ptr<Store> store_;
  std::vector<JobId> acknowledged_;
  std::size_t unknown_ = 0;
};

class BrokenDisk : public Disk, public ::testing::WithParamInterface<FaultVfs::Kind> {
 protected:
  ~BrokenDisk() override { store_.reset(); }  // before its disk
  FaultVfs vfs_;
};

TEST_P(BrokenDisk, TheFirstErrorEndsWritingUntilTheStoreIsOpenedAnew) {
  Open(dir_.File("store.db"));
  for (int i = 0; i < 3; ++i) ASSERT_THAT(Push(), IsOk());
  vfs_.Break(GetParam());
  EXPECT_THAT(Push(),
              AnyOf(StatusIs(ErrorCode::kOutcomeUnknown), StatusIs(ErrorCode::kUnavailable)));
  EXPECT_GT(vfs_.struck(), 0);
  auto refused = StatusIs(ErrorCode::kUnavailable, HasSubstr("opened anew"));
  EXPECT_THAT(Push(), refused);
  // Not even when the disk seems to be well again: what it holds is not known.
  vfs_.Heal();
  EXPECT_THAT(Push(), refused);
  EXPECT_THAT(store_->Claim({}, {.worker = "w"}), refused);
  EXPECT_THAT(store_->Maintain({}), refused);
  EXPECT_THAT(store_->CheckHealth(), refused);
  // Reads go on, and show nothing that was not acknowledged.
  for (JobId id : acknowledged_) EXPECT_TRUE(Must(store_->GetJob({}, id)).has_value());
  EXPECT_EQ(Must(store_->ListJobs({}, {})).items.size(), acknowledged_.size());
  Reopen();
  ExpectNothingLost();
  EXPECT_THAT(Push(), IsOk());
  ExpectNothingLost();
}

TEST_P(BrokenDisk, WhereverItBreaksNothingAcknowledgedIsLost) {
  int struck_at = 0;
  for (int after = 0; after < Scaled(60, 20); ++after) {
    SCOPED_TRACE("fails after " + std::to_string(after));
    acknowledged_.clear();
    unknown_ = 0;
    Open(dir_.File("store-" + std::to_string(after) + ".db"));
    const int struck = vfs_.struck();
    vfs_.Break(GetParam(), after);
    for (int i = 0; i < 12; ++i) {
      Result<Job> job = Push('"' + std::string(1'000, 'x') + '"');
      if (!job || i % 3 != 0) continue;
      auto claimed = store_->ClaimById({}, job->id, "w");
      if (!claimed || !*claimed) continue;
      if (store_->Complete({}, job->id, (*claimed)->token)) {
        EXPECT_EQ(Must(store_->GetJob({}, job->id))->state, JobState::kCompleted);
      }
    }
    struck_at += vfs_.struck() > struck ? 1 : 0;
    vfs_.Heal();
    ExpectNothingLostByACrash();
    Reopen();
    ExpectNothingLost();
    EXPECT_THAT(Push(), IsOk());
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(struck_at, 10) << "the fault hardly ever struck";
}

INSTANTIATE_TEST_SUITE_P(Faults, BrokenDisk,
                         ::testing::Values(FaultVfs::Kind::kWrite, FaultVfs::Kind::kSync),
                         [](const auto& fault) {
                           return fault.param == FaultVfs::Kind::kWrite ? "Write" : "Sync";
                         });

class FaultyDisk : public Disk {
 protected:
  ~FaultyDisk() override { store_.reset(); }
  FaultVfs vfs_;
};

TEST_F(FaultyDisk, NothingIsAcknowledgedBeforeItIsSynced) {
  Open(dir_.File("store.db"));
  Job job = Must(Push());
  auto syncs = [&](auto write) {
    int before = vfs_.syncs();
    write();
    return vfs_.syncs() - before;
  };
  EXPECT_GT(syncs([&] { Must(Push()); }), 0);
  Token token = 0;
  EXPECT_GT(syncs([&] { token = Must(store_->ClaimById({}, job.id, "w"))->token; }), 0);
  EXPECT_GT(syncs([&] { Must(store_->Complete({}, job.id, token)); }), 0);
  EXPECT_GT(syncs([&] { Must(store_->Claim({}, {.worker = "w"})); }), 0);
}

TEST_F(FaultyDisk, AFullDiskRefusesAndWorksAgainWhenThereIsRoom) {
  Open(dir_.File("store.db"));
  for (int i = 0; i < 3; ++i) ASSERT_THAT(Push(), IsOk());
  vfs_.Break(FaultVfs::Kind::kFull);
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(Push(), StatusIs(ErrorCode::kUnavailable, HasSubstr("full")));
  }
  EXPECT_GT(vfs_.struck(), 0);
  ExpectNothingLost();
  vfs_.Heal();
  EXPECT_THAT(Push(), IsOk());
  ExpectNothingLost();
  Reopen();
  ExpectNothingLost();
}

TEST_F(FaultyDisk, AFullDiskIsTold) {
  RecordingLog log;
  store_ = Must(OpenStore("sqlite:" + dir_.File("store.db"), {.log = &log, .maintain = false}));
  ASSERT_THAT(Push(), IsOk());
  EXPECT_THAT(store_->CheckHealth(), IsOk());
  vfs_.Break(FaultVfs::Kind::kFull);
  for (int i = 0; i < 10; ++i) EXPECT_THAT(Push(), StatusIs(ErrorCode::kUnavailable));
  const auto full = StatusIs(ErrorCode::kUnavailable, HasSubstr("full"));
  EXPECT_THAT(store_->CheckHealth(), full);
  // Maintenance has nothing to do, and finds out all the same whether writes succeed again.
  EXPECT_THAT(store_->Maintain({}), full);
  EXPECT_THAT(store_->CheckHealth(), full);
  EXPECT_EQ(log.All("store_failing").size(), 1U);
  EXPECT_EQ(log.All("store_failing").at(0).fields.at("code"), "unavailable");
  vfs_.Heal();
  EXPECT_THAT(store_->Maintain({}), IsOk());
  EXPECT_THAT(store_->CheckHealth(), IsOk());
  EXPECT_EQ(log.All("store_recovered").size(), 1U);
  store_.reset();
}

TEST_F(Disk, AFileSystemThatIsReallyFullLosesNothing) {
  const std::string folder = dir_.File("small");
  std::filesystem::create_directory(folder);
  if (::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=3m") != 0) {
    GTEST_SKIP() << "mounting needs root; the injected full disk is tested all the same";
  }
  const std::string payload = '"' + std::string(32 * 1024, 'x') + '"';
  Open(folder + "/store.db");
  std::optional<Error> refusal;
  for (int i = 0; i < 200 && !refusal; ++i) {
    Result<Job> job = Push(payload);
    if (!job) refusal = job.error();
  }
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->code, ErrorCode::kUnavailable) << refusal->message;
  EXPECT_THAT(refusal->message, HasSubstr("full"));
  EXPECT_GT(acknowledged_.size(), 10U);
  ExpectNothingLost();
  // Room again: it goes on, at once or when it is opened anew.
  ASSERT_EQ(::mount("tmpfs", folder.c_str(), "tmpfs", MS_REMOUNT, "size=16m"), 0);
  if (!Push(payload)) Reopen();
  EXPECT_THAT(Push(payload), IsOk());
  ExpectNothingLost();
  Reopen();
  ExpectNothingLost();
  store_.reset();
  ::umount(folder.c_str());
}

TEST_F(Disk, AFileThatMayNotGrowLosesNothing) {
  Open(dir_.File("store.db"));
  ASSERT_THAT(Push(), IsOk());
  ::signal(SIGXFSZ, SIG_IGN);  // the write fails instead
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  rlimit small = before;
  small.rlim_cur = 512 * 1024;
  ::setrlimit(RLIMIT_FSIZE, &small);
  const std::string payload = '"' + std::string(32 * 1024, 'x') + '"';
  bool refused = false;
  for (int i = 0; i < 200 && !refused; ++i) refused = !Push(payload);
  Result<Job> again = Push(payload);
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_TRUE(refused);
  EXPECT_THAT(again, StatusIs(ErrorCode::kUnavailable));
  Reopen();
  ExpectNothingLost();
  EXPECT_THAT(Push(payload), IsOk());
}

}  // namespace
}  // namespace holdfast::testing
