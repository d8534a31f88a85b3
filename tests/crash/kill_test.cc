// SIGKILL under load, again and again on one store: whatever was acknowledged is there, nothing is
// done twice, and tokens never go back.
#include <sqlite3.h>

#include <cstdlib>
#include <random>

#include "crash/load.h"
#include "testing/environment.h"
#include "testing/helper_process.h"
#include "testing/private_postgres.h"
#include "testing/store_checks.h"
#include "testing/store_place.h"

namespace holdfast::testing {
namespace {

constexpr int kRounds = 15;  // in each place

int Rounds() {
  const char* text = std::getenv("HOLDFAST_CRASH_ROUNDS");
  return text != nullptr ? std::atoi(text) : Scaled(kRounds, 5);
}

void CheckFile(const std::string& url) {
  const std::string file = url.substr(url.find(':') + 1);
  sqlite3* db = nullptr;
  std::string answer = "cannot open";
  if (sqlite3_open(file.c_str(), &db) == SQLITE_OK) {
    auto keep = [](void* out, int, char** values, char**) {
      *static_cast<std::string*>(out) = values[0];
      return 0;
    };
    if (sqlite3_exec(db, "PRAGMA integrity_check", keep, &answer, nullptr) != SQLITE_OK) {
      answer = sqlite3_errmsg(db);
    }
  }
  sqlite3_close(db);
  EXPECT_EQ(answer, "ok");
}

/// What the killed processes worked on.
class Home {
 public:
  virtual ~Home() = default;
  virtual std::string url() const = 0;
  /// When all of them are dead: looks whether it is whole, with nothing of theirs under way.
  virtual void Check() = 0;
};

class File final : public Home {
 public:
  explicit File(std::unique_ptr<StorePlace> place) : place_(std::move(place)) {}
  std::string url() const override { return place_->url(); }
  void Check() override { CheckFile(url()); }

 private:
  const std::unique_ptr<StorePlace> place_;
};

class Server final : public Home {
 public:
  std::string url() const override { return server_.Url("holdfast"); }
  /// The server goes down with them. What they had asked for, and it was still about to do, would
  /// otherwise be done while the test looks.
  void Check() override { server_.Restart(PrivatePostgres::StopMode::kImmediate); }

 private:
  PrivatePostgres server_;
};

struct HomeMaker {
  std::string name;
  std::unique_ptr<Home> (*make)() = nullptr;
};
void PrintTo(const HomeMaker& maker, std::ostream* out) {
  *out << maker.name;
}

class Kills : public ::testing::TestWithParam<HomeMaker> {
 protected:
  /// One or two processes at work on the store, killed at a random moment: sometimes before they
  /// have opened it.
  void RunAndKill(int round) {
    std::vector<std::unique_ptr<HelperProcess>> processes;
    std::vector<std::string> journals;
    for (int i = 0; i < (round % 3 == 2 ? 2 : 1); ++i) {
      std::string name = "r" + std::to_string(round) + "-" + std::to_string(i);
      journals.push_back(dir_.File(name + ".journal"));
      processes.push_back(std::make_unique<HelperProcess>(
          "load", std::vector<std::string>{home_->url(), journals.back(), std::to_string(random_()),
                                           name}));
      if (random_() % 5 != 0) {
        EXPECT_EQ(processes.back()->ReadLine(), "ready");
      }
    }
    for (auto& process : processes) {
      // The moment is the point of the test, and any moment will do.
      process->LetRun(std::chrono::microseconds(random_() % 120'000));
      process->Signal(SIGKILL);
      EXPECT_EQ(process->Wait(), -SIGKILL);
    }
    for (const std::string& journal : journals) journal_.Read(journal);
  }

  void Verify() {
    home_->Check();
    ASSERT_FALSE(HasFailure());
    std::unique_ptr<Store> store = Must(OpenStore(home_->url(), {.maintain = false}));
    ASSERT_THAT(store->CheckHealth(), IsOk());
    Must(store->Commit({}, LoadSetUp()));
    RetryKeyed(*store);
    VerifyRecords(*store);
    std::map<JobId, Job> jobs;
    std::set<std::string> tags;
    for (Job& job : ListAllJobs(*store)) {
      std::string tag = job.payload.substr(1, job.payload.size() - 2);
      EXPECT_TRUE(journal_.intended.contains(tag)) << "nobody asked for " << tag;
      EXPECT_TRUE(tags.insert(tag).second) << tag << " was added twice";
      jobs.emplace(job.id, std::move(job));
    }
    VerifyEnqueued(jobs);
    VerifyCompleted(jobs);
    VerifyTokens(*store);
    ExpectCountsToBeExact(*store);
  }

  /// Requests whose answer was lost, sent again: each has one effect.
  void RetryKeyed(Store& store) {
    for (const std::string& tag : journal_.keyed) {
      Receipt receipt = Must(store.Commit({}, KeyedEnqueue(tag)));
      JobId id = receipt.results.at(0).job->id;
      auto acknowledged = journal_.enqueued.find(tag);
      if (acknowledged != journal_.enqueued.end()) {
        EXPECT_TRUE(receipt.replayed) << tag;
        EXPECT_EQ(id, acknowledged->second);
      }
      retried_ += receipt.replayed ? 1 : 0;
      ++keyed_;
      journal_.enqueued[tag] = id;
    }
    journal_.keyed.clear();
  }

  /// Each keyed request has counted once; no transfer has made or lost anything; every trail tells
  /// its record.
  void VerifyRecords(Store& store) {
    std::optional<Record> counter = Must(store.GetRecord({}, {"counter", "jobs"}));
    ASSERT_TRUE(counter.has_value());
    EXPECT_EQ(counter->data, "{\"n\":" + std::to_string(keyed_) + "}");
    EXPECT_EQ(counter->version, 1 + keyed_);
    std::int64_t sum = 0;
    for (const Record& account : ListAllRecords(store, "account")) {
      std::int64_t balance = 0;
      ASSERT_EQ(std::sscanf(account.data.c_str(), "{\"balance\":%ld}", &balance), 1);
      EXPECT_GE(balance, 0);
      for (const Reservation& reserved : account.reserved) EXPECT_GE(balance, reserved.amount);
      sum += balance;
    }
    EXPECT_EQ(sum, 1000 * kLoadAccounts);
    ExpectRecordsToBeExact(store);
  }

  void VerifyEnqueued(const std::map<JobId, Job>& jobs) {
    for (const auto& [tag, id] : journal_.enqueued) {
      auto job = jobs.find(id);
      ASSERT_NE(job, jobs.end()) << "an acknowledged job is lost: " << tag;
      EXPECT_EQ(job->second.payload, '"' + tag + '"');
    }
  }

  void VerifyCompleted(const std::map<JobId, Job>& jobs) {
    std::map<JobId, Token> completed;
    for (const Journal::Completion& completion : journal_.completed) {
      EXPECT_TRUE(completed.emplace(completion.id, completion.token).second)
          << "job " << completion.id << " was completed twice";
    }
    for (const auto& [id, job] : jobs) {
      auto acknowledged = completed.find(id);
      if (acknowledged == completed.end()) {
        // Completed without an answer, then it was at least asked for.
        if (job.state == JobState::kCompleted) {
          EXPECT_TRUE(journal_.completing[id].contains(std::stoll(job.result.value())));
        }
        continue;
      }
      EXPECT_EQ(job.state, JobState::kCompleted) << "a completion is lost: job " << id;
      EXPECT_EQ(job.result, std::to_string(acknowledged->second));
    }
  }

  /// Tokens of this round are above all of earlier rounds, and the next is above those.
  void VerifyTokens(Store& store) {
    Token newest = newest_token_;
    for (const auto& [id, token] : journal_.claims) {
      EXPECT_GT(token, newest_token_) << "a token went back";
      EXPECT_TRUE(tokens_.insert(token).second) << "token " << token << " was given twice";
      newest = std::max(newest, token);
    }
    journal_.claims.clear();
    newest_token_ = newest;
    for (const Job& job : Must(store.Claim({}, {.worker = "verifier"}))) {
      EXPECT_GT(job.token, newest_token_) << "a token went back";
      newest_token_ = job.token;
      Must(store.Release({}, job.id, job.token));
    }
  }

  const std::unique_ptr<Home> home_ = GetParam().make();
  TempDir dir_{TempDir::Where::kMemory};  // of the journals
  std::mt19937_64 random_{PrintedSeed()};
  Journal journal_;
  std::set<Token> tokens_;
  Token newest_token_ = 0;
  int retried_ = 0;
  int keyed_ = 0;  // requests with a key that were surely done
};

TEST_P(Kills, NothingAcknowledgedIsLostAndNothingIsDoneTwice) {
  for (int round = 0; round < Rounds(); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    RunAndKill(round);
    Verify();
    ASSERT_FALSE(HasFailure());
  }
  std::fprintf(stderr, "%d rounds: %zu enqueued, %zu completed, %zu claims, %d replays\n", Rounds(),
               journal_.enqueued.size(), journal_.completed.size(), tokens_.size(), retried_);
  EXPECT_FALSE(journal_.completed.empty()) << "nothing was done: the test has tested nothing";
}

// On a disk most of the time goes to fsync; in memory the kill hits everything else.
INSTANTIATE_TEST_SUITE_P(
    Places, Kills,
    ::testing::Values(
        HomeMaker{"OnDisk", [] { return std::unique_ptr<Home>(new File(PlaceInFileOnDisk())); }},
        HomeMaker{"InMemory", [] { return std::unique_ptr<Home>(new File(PlaceInFile())); }},
        HomeMaker{"InPostgres", [] { return std::unique_ptr<Home>(new Server()); }}),
    [](const auto& maker) { return maker.param.name; });

}  // namespace
}  // namespace holdfast::testing
