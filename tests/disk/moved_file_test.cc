// The ground moves: the file of a running store is deleted, renamed, replaced, or gets a second
// name. What is written then would be lost, or would be two stores, so nothing is written.
#include <gtest/gtest.h>

#include <filesystem>

#include "testing/environment.h"
#include "testing/store_checks.h"

namespace holdfast::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class MovedFile : public ::testing::Test {
 protected:
  static std::unique_ptr<Store> Open(const std::string& file) {
    return Must(OpenStore("sqlite:" + file, {.maintain = false}));
  }

  void ExpectRefused(const std::string& why) {
    auto refused = StatusIs(ErrorCode::kUnavailable, HasSubstr(why));
    EXPECT_THAT(store_->Enqueue({}, {.kind = "k"}), refused);
    EXPECT_THAT(store_->Claim({}, {.worker = "w"}), refused);
    EXPECT_THAT(store_->Acquire({}, {.name = "l", .owner = "ada"}), refused);
    EXPECT_THAT(store_->Maintain({}), refused);
    EXPECT_THAT(store_->CheckHealth(), refused);
  }

  TempDir dir_{TempDir::Where::kMemory};
  const std::string file_ = dir_.File("store.db");
  std::unique_ptr<Store> store_ = Open(file_);
  const JobId job_ = Must(store_->Enqueue({}, {.kind = "k"})).id;
};

TEST_F(MovedFile, ADeletedFileTakesNoMoreWrites) {
  fs::remove(file_);
  ExpectRefused("store.db was deleted or renamed");
}

TEST_F(MovedFile, AnotherStoreUnderTheNameIsLeftAlone) {
  Must(store_->Acquire({}, {.name = "l", .owner = "ada"}));
  fs::remove(file_);
  fs::remove(file_ + "-wal");
  fs::remove(file_ + "-shm");
  auto other = Open(file_);
  const JobId first = Must(other->Enqueue({}, {.kind = "other"})).id;
  Must(other->Acquire({}, {.name = "l", .owner = "bob"}));
  // A lock has one holder: what ada's store would still grant or renew, it refuses.
  ExpectRefused("was replaced");
  // A reader that is opened now would read the other store.
  EXPECT_THAT(store_->GetJob({}, job_), StatusIs(ErrorCode::kUnavailable, HasSubstr("replaced")));
  store_.reset();  // without the log of the other
  EXPECT_THAT(other->Enqueue({}, {.kind = "other"}), IsOk());
  other.reset();
  EXPECT_EQ(Must(Open(file_)->GetJob({}, first))->kind, "other");
}

TEST_F(MovedFile, AStoreThatIsClosedBeforeItNoticesLeavesTheOtherItsLog) {
  for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(file_ + suffix);
  auto other = Open(file_);
  const JobId first = Must(other->Enqueue({}, {.kind = "other"})).id;
  store_.reset();
  EXPECT_THAT(other->Enqueue({}, {.kind = "other"}), IsOk());
  other.reset();
  EXPECT_EQ(Must(Open(file_)->GetJob({}, first))->kind, "other");
}

TEST_F(MovedFile, ARenamedFileTakesNoMoreWritesAndIsWholeUnderItsNewName) {
  fs::rename(file_, dir_.File("moved.db"));
  ExpectRefused("deleted or renamed");
  store_.reset();
  fs::rename(file_ + "-wal", dir_.File("moved.db-wal"));
  EXPECT_TRUE(Must(Open(dir_.File("moved.db"))->GetJob({}, job_)).has_value());
}

TEST_F(MovedFile, AFileThatComesBackMustBeOpenedAnew) {
  fs::rename(file_, dir_.File("moved.db"));
  ExpectRefused("deleted or renamed");
  fs::rename(dir_.File("moved.db"), file_);
  ExpectRefused("until it is opened anew");
  store_.reset();
  store_ = Open(file_);
  EXPECT_TRUE(Must(store_->GetJob({}, job_)).has_value());
  EXPECT_THAT(store_->Enqueue({}, {.kind = "k"}), IsOk());
}

TEST_F(MovedFile, AReplacedFileTakesNoMoreWrites) {
  fs::copy_file(file_, dir_.File("copy.db"));
  fs::rename(dir_.File("copy.db"), file_);
  ExpectRefused("was replaced");
}

TEST_F(MovedFile, ADeletedLogTakesNoMoreWrites) {
  fs::remove(file_ + "-wal");
  ExpectRefused("store.db-wal was deleted");
}

TEST_F(MovedFile, ASecondNameIsRefusedWhereverItIsOpened) {
  const std::string link = dir_.File("link.db");
  fs::create_hard_link(file_, link);
  EXPECT_THAT(OpenStore("sqlite:" + link), StatusIs(ErrorCode::kUnavailable, HasSubstr(link)));
  EXPECT_THAT(OpenStore("sqlite:" + file_),
              StatusIs(ErrorCode::kUnavailable, HasSubstr("hard links")));
  ExpectRefused("2 names");
  // No store has written under the other name meanwhile.
  fs::remove(link);
  EXPECT_THAT(store_->Enqueue({}, {.kind = "k"}), IsOk());
  EXPECT_THAT(store_->Maintain({}), IsOk());
  EXPECT_THAT(store_->CheckHealth(), IsOk());
}

TEST_F(MovedFile, ASymbolicLinkIsFollowedUntilItPointsElsewhere) {
  const std::string link = dir_.File("link.db");
  fs::create_symlink(file_, link);
  store_.reset();
  store_ = Open(link);
  EXPECT_THAT(store_->Enqueue({}, {.kind = "k"}), IsOk());
  Open(dir_.File("elsewhere.db")).reset();
  fs::remove(link);
  fs::create_symlink(dir_.File("elsewhere.db"), link);
  ExpectRefused("link.db was replaced");
}

}  // namespace
}  // namespace holdfast::testing
