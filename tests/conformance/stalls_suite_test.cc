// A store that stood still (stopped, suspended, its database away) could serve no renewals: what
// ran out meanwhile says nothing of its workers.
#include <gtest/gtest.h>

#include "engine/memory/memory_engine.h"
#include "engine/postgres/postgres_engine.h"
#include "engine/sqlite/sqlite_engine.h"
#include "testing/engine_fixture.h"
#include "testing/matchers.h"

namespace holdfast::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Stalls : public ::testing::TestWithParam<Variant> {
 protected:
  static std::unique_ptr<engine::Engine> Open(const std::string& url, const StoreOptions& options) {
    if (url.starts_with("memory:")) return Must(engine::OpenMemory(options));
    if (url.starts_with("sqlite:")) return Must(engine::OpenSqlite(url.substr(7), options));
    return Must(engine::OpenPostgres(url, options));
  }

  JobId Push() {
    Batch batch;
    batch.operations.emplace_back(EnqueueJob{{.kind = "k"}});
    return Must(engine_->CommitAndWait({}, std::move(batch))).results.front().job->id;
  }
  void Claim() { ASSERT_EQ(Must(engine_->ClaimAndWait({}, {.worker = "w"})).size(), 1U); }
  Time Now() { return Must(engine_->Now()); }
  Job Get(JobId id) { return *Must(engine_->GetJob({}, id)); }
  std::int64_t Maintain(engine::MaintainRequest request) {
    return Must(engine_->Maintain({}, std::move(request))).report.expired;
  }

  const std::unique_ptr<StorePlace> place_ = GetParam().make_place();
  FakeClock clock_;
  std::unique_ptr<engine::Engine> engine_ = Open(place_->url(), {.clock = &clock_});
};

INSTANTIATE_TEST_SUITE_P(Stores, Stalls, ::testing::ValuesIn(EmbeddedVariants()),
                         [](const auto& variant) { return variant.param.name; });

TEST_P(Stalls, JOB_6_WhatRanOutWhileTheStoreStoodStillIsNoPoison) {
  const JobId id = Push();
  for (int stall = 1; stall <= 4; ++stall) {
    Claim();
    clock_.Advance(seconds(1));
    const Time alive_at = Now();
    clock_.Advance(seconds(40));
    EXPECT_EQ(Maintain({.alive_at = alive_at}), 1);
    EXPECT_EQ(Get(id).state, JobState::kPending) << stall;
    EXPECT_EQ(Get(id).lease_expiries, 0);
    EXPECT_EQ(Get(id).attempt, stall) << "it may have run";
  }
}

TEST_P(Stalls, JOB_6_ALeaseThatEndsSoonAfterwardsIsPartOfIt) {
  const JobId id = Push();
  Claim();
  clock_.Advance(seconds(1));
  const Time alive_at = Now();
  clock_.Advance(seconds(20));
  const auto stall = rules::Stall::Between(alive_at, Now());
  EXPECT_EQ(Maintain({.alive_at = alive_at}), 0);
  clock_.Advance(seconds(9));  // its worker gave it up when it could not renew it
  EXPECT_EQ(Maintain({.alive_at = Now(), .stall = stall}), 1);
  EXPECT_EQ(Get(id).lease_expiries, 0);
}

TEST_P(Stalls, JOB_6_AStoreThatIsAwakeCounts) {
  const JobId id = Push();
  Claim();
  const Time before = Now();
  clock_.Advance(seconds(3));
  const auto stall = rules::Stall::Between(before, Now());
  EXPECT_EQ(Maintain({.alive_at = before}), 0);
  clock_.Advance(seconds(27));
  const Time alive_at = Now();
  clock_.Advance(milliseconds(1500));
  EXPECT_EQ(Maintain({.alive_at = alive_at, .stall = stall}), 1);
  EXPECT_EQ(Get(id).lease_expiries, 1);
}

}  // namespace
}  // namespace holdfast::testing
