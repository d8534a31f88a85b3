// SIGKILL under load, again and again on one store: whatever was acknowledged is there, nothing is
// done twice, and tokens never go back.
#include <sqlite3.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

#include "crash/load.h"
#include "testing/environment.h"
#include "testing/helper_process.h"
#include "testing/private_postgres.h"
#include "testing/store_checks.h"
#include "testing/store_place.h"

namespace holdfast::testing {
namespace {

// Whoever looks for what was lost reads all there is: after so many rounds on one store, he would
// do little else.
constexpr int kRoundsOfOneStore = 50;

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

/// A store, and what is killed that works on it.
class Home {
 public:
  virtual ~Home() = default;
  /// Of the store, for whoever looks at it when all are dead.
  virtual std::string url() const = 0;
  /// When all of them are dead: looks whether it is whole, with nothing of theirs under way.
  virtual void Check() = 0;
  /// Runs a load and kills it at a random moment. The answer: the journals, in files of `dir`.
  virtual std::vector<std::string> RunAndKill(int round, std::mt19937_64& random,
                                              const TempDir& dir) = 0;
  /// What clients were told who lived on.
  virtual const Losses* losses() const { return nullptr; }
};

/// One or two processes at work on the store, killed at a random moment: sometimes before they have
/// opened it.
class ProcessesAtWork : public Home {
 public:
  std::vector<std::string> RunAndKill(int round, std::mt19937_64& random,
                                      const TempDir& dir) override {
    std::vector<std::unique_ptr<HelperProcess>> processes;
    std::vector<std::string> journals;
    for (int i = 0; i < (round % 3 == 2 ? 2 : 1); ++i) {
      std::string name = "r" + std::to_string(round) + "-" + std::to_string(i);
      journals.push_back(dir.File(name + ".journal"));
      processes.push_back(std::make_unique<HelperProcess>(
          "load",
          std::vector<std::string>{url(), journals.back(), std::to_string(random()), name}));
      if (random() % 5 != 0) {
        EXPECT_EQ(processes.back()->ReadLine(), "ready");
      }
    }
    for (auto& process : processes) {
      // The moment is the point of the test, and any moment will do.
      process->LetRun(std::chrono::microseconds(random() % 120'000));
      process->Signal(SIGKILL);
      EXPECT_EQ(process->Wait(), -SIGKILL);
    }
    return journals;
  }
};

class File final : public ProcessesAtWork {
 public:
  explicit File(std::unique_ptr<StorePlace> place) : place_(std::move(place)) {}
  std::string url() const override { return place_->url(); }
  void Check() override { CheckFile(url()); }

 private:
  const std::unique_ptr<StorePlace> place_;
};

class Database final : public ProcessesAtWork {
 public:
  std::string url() const override { return server_.Url("holdfast"); }
  /// The server goes down with them. What they had asked for, and it was still about to do, would
  /// otherwise be done while the test looks.
  void Check() override { server_.Restart(PrivatePostgres::StopMode::kImmediate); }

 private:
  PrivatePostgres server_;
};

/// A file behind `holdfast serve`, which is killed under clients that live on and call it again.
class ServedFile final : public Home {
 public:
  explicit ServedFile(std::unique_ptr<StorePlace> place) : place_(std::move(place)) {
    // What the load needs is there before the first client is.
    Must(Must(OpenStore(url(), {.maintain = false}))->Commit({}, LoadSetUp()));
  }
  std::string url() const override { return place_->url(); }
  void Check() override { CheckFile(url()); }

  std::vector<std::string> RunAndKill(int round, std::mt19937_64& random,
                                      const TempDir& dir) override {
    const std::string name = "r" + std::to_string(round);
    const std::string journal = dir.File(name + ".journal");
    std::unique_ptr<HelperProcess> server;
    if (clients_.empty()) {
      server = StartListening();
      Connect();
    }
    std::jthread load([&, seed = random()](std::stop_token over) {
      RunClients(clients_, journal, seed, name, over, losses_);
    });
    // They call before the server is there, and go on when it is killed: what they do not know the
    // outcome of they ask the next one for.
    for (int life = 0; life < kLives; ++life) {
      const bool is_up = server != nullptr || random() % 5 != 0;
      if (!server) server = is_up ? StartListening() : Start();
      server->LetRun(std::chrono::microseconds(random() % 120'000));
      server->Signal(SIGKILL);
      const int end = server->Wait();
      EXPECT_TRUE(end == -SIGKILL || !is_up) << "it ended by itself: " << end;
      server.reset();
    }
    load.request_stop();
    load.join();
    return {journal};
  }

  const Losses* losses() const override { return &losses_; }

 private:
  static constexpr int kClients = 3;
  static constexpr int kLives = 2;  // of the server, in a round

  std::unique_ptr<HelperProcess> Start() {
    return std::make_unique<HelperProcess>(std::vector<std::string>{
        HOLDFAST_BINARY, "--store", url(), "--log-level", "error", "serve", "--listen", address_});
  }
  /// Always at the address at which the clients know it. For a moment somebody else's connection
  /// may have its port.
  std::unique_ptr<HelperProcess> StartListening() {
    constexpr std::string_view kReady = "listening on http://";
    for (int i = 0; i < 50; ++i) {
      std::unique_ptr<HelperProcess> server = Start();
      std::optional<std::string> line = server->ReadLine();
      if (!line) continue;
      EXPECT_THAT(*line, ::testing::StartsWith(kReady));
      address_ = line->substr(kReady.size());
      return server;
    }
    throw std::runtime_error("the server does not start");
  }
  void Connect() {
    for (int i = 0; i < kClients; ++i) clients_.push_back(Must(OpenStore("http://" + address_)));
  }

  const std::unique_ptr<StorePlace> place_;
  std::string address_ = "127.0.0.1:0";
  std::vector<std::unique_ptr<Store>> clients_;
  Losses losses_;
};

struct HomeMaker {
  std::string name;
  std::unique_ptr<Home> (*make)() = nullptr;
  int ordinary = 15;
  int long_run = 300;

  int rounds() const {
    const char* text = std::getenv("HOLDFAST_CRASH_ROUNDS");
    return text != nullptr ? std::atoi(text) : Scaled(Rounds(ordinary, long_run), 5);
  }
};
void PrintTo(const HomeMaker& maker, std::ostream* out) {
  *out << maker.name;
}

class Kills : public ::testing::TestWithParam<HomeMaker> {
 protected:
  void RunAndKill(int round) {
    for (const std::string& journal : home_->RunAndKill(round, random_, dir_)) {
      journal_.Read(journal);
      std::filesystem::remove(journal);
    }
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
      total_.retried += receipt.replayed ? 1 : 0;
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

  /// A new store, of which nothing is known.
  void Begin() {
    home_.reset();
    home_ = GetParam().make();
    journal_ = {};
    tokens_.clear();
    newest_token_ = 0;
    keyed_ = 0;
  }
  void End() {
    total_.enqueued += journal_.enqueued.size();
    total_.completed += journal_.completed.size();
    total_.claims += tokens_.size();
    if (const Losses* losses = home_->losses()) {
      total_.unavailable += losses->unavailable;
      total_.unknown += losses->unknown;
      total_.replayed += losses->replayed;
    }
  }

  struct Total {
    std::size_t enqueued = 0;
    std::size_t completed = 0;
    std::size_t claims = 0;
    int unavailable = 0;
    int unknown = 0;
    int replayed = 0;  // to clients who lived on
    int retried = 0;   // by the test, for those who did not
  };

  std::unique_ptr<Home> home_;
  TempDir dir_{TempDir::Where::kMemory};  // of the journals
  std::mt19937_64 random_{PrintedSeed()};
  Journal journal_;
  std::set<Token> tokens_;
  Token newest_token_ = 0;
  int keyed_ = 0;  // requests with a key that were surely done
  Total total_;
};

TEST_P(Kills, NothingAcknowledgedIsLostAndNothingIsDoneTwice) {
  const int rounds = GetParam().rounds();
  for (int round = 0; round < rounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    if (round % kRoundsOfOneStore == 0) Begin();
    RunAndKill(round);
    Verify();
    ASSERT_FALSE(HasFailure());
    if ((round + 1) % kRoundsOfOneStore == 0 || round + 1 == rounds) End();
  }
  std::fprintf(stderr, "%d rounds: %zu enqueued, %zu completed, %zu claims, %d replays\n", rounds,
               total_.enqueued, total_.completed, total_.claims, total_.retried);
  EXPECT_GT(total_.completed, 0U) << "nothing was done: the test has tested nothing";
  if (home_->losses() == nullptr) return;
  std::fprintf(stderr, "clients: %d times unavailable, %d times unknown, %d replays\n",
               total_.unavailable, total_.unknown, total_.replayed);
  EXPECT_GT(total_.unavailable, 0) << "nobody called while the server was dead";
  EXPECT_GT(total_.unknown, 0) << "the server died under nobody's call";
}

// On a disk most of the time goes to fsync; in memory the kill hits everything else.
INSTANTIATE_TEST_SUITE_P(
    Places, Kills,
    ::testing::Values(
        HomeMaker{"OnDisk", [] { return std::unique_ptr<Home>(new File(PlaceInFileOnDisk())); }},
        HomeMaker{"InMemory", [] { return std::unique_ptr<Home>(new File(PlaceInFile())); }},
        HomeMaker{"InPostgres", [] { return std::unique_ptr<Home>(new Database()); }, 20},
        HomeMaker{"BehindAServer",
                  [] { return std::unique_ptr<Home>(new ServedFile(PlaceInFile())); }, 40, 1'000}),
    [](const auto& maker) { return maker.param.name; });

}  // namespace
}  // namespace holdfast::testing
