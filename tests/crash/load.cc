#include "crash/load.h"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <random>
#include <thread>

#include "base/check.h"
#include "testing/matchers.h"

namespace holdfast::testing {
namespace {

constexpr int kThreads = 6;

/// Appends whole lines. Threads: any, because O_APPEND makes each write atomic.
class JournalWriter {
 public:
  explicit JournalWriter(const std::string& file)
      : file_(::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
    HF_CHECK(file_ >= 0);
  }
  void Write(const std::string& line) {
    std::string text = line + "\n";
    HF_CHECK(::write(file_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }

 private:
  const int file_;
};

class LoadThread {
 public:
  LoadThread(Store& store, JournalWriter& journal, std::uint64_t seed, std::string name)
      : store_(store), journal_(journal), random_(seed), name_(std::move(name)) {}

  void Run() {
    while (true) {
      switch (random_() % 6) {
        case 0:
          Enqueue();
          break;
        case 1:
          EnqueueWithKey();
          break;
        case 2:
          Transfer();
          break;
        default:
          Work();
      }
    }
  }

 private:
  std::string NextTag() { return name_ + "-" + std::to_string(++tags_); }

  void Enqueue() {
    Batch batch;
    std::vector<std::string> tags;
    for (auto count = 1 + random_() % 3; count > 0; --count) {
      tags.push_back(NextTag());
      journal_.Write("E? " + tags.back());
      batch.operations.push_back(EnqueueJob{{.kind = "k", .payload = '"' + tags.back() + '"'}});
    }
    Receipt receipt = Must(store_.Commit({}, std::move(batch)));
    for (std::size_t i = 0; i < tags.size(); ++i) {
      journal_.Write("E! " + tags[i] + " " + std::to_string(receipt.results[i].job->id));
    }
  }

  void EnqueueWithKey() {
    std::string tag = NextTag();
    journal_.Write("I? " + tag);
    Receipt receipt = Must(store_.Commit({}, KeyedEnqueue(tag)));
    journal_.Write("E! " + tag + " " + std::to_string(receipt.results[0].job->id));
  }

  /// Between two accounts, at once or in two steps: no interleaving and no crash changes the sum.
  void Transfer() {
    auto account = [this] { return std::to_string(random_() % kLoadAccounts); };
    MakeTransfer make{.from = {"account", account()},
                      .to = {"account", account()},
                      .path = "/balance",
                      .amount = static_cast<std::int64_t>(1 + random_() % 500)};
    make.pending = random_() % 2 == 0;
    if (make.pending) make.timeout = std::chrono::milliseconds(50);
    Result<holdfast::Transfer> made = store_.Make({}, make);
    if (!made || made->state != TransferState::kPending) return;
    if (random_() % 2 == 0) (void)store_.Post({}, {made->id, made->amount / 2 + 1});
  }

  void Work() {
    std::vector<Job> jobs = Must(store_.Claim({}, {.worker = name_,
                                                   .max = static_cast<int>(1 + random_() % 3),
                                                   .lease = std::chrono::milliseconds(200)}));
    for (const Job& job : jobs) {
      const std::string words = std::to_string(job.id) + " " + std::to_string(job.token);
      journal_.Write("K! " + words);
      switch (random_() % 8) {
        case 0:
          break;  // forgotten: its lease runs out
        case 1:
          (void)store_.Release({}, job.id, job.token);
          break;
        case 2:
          (void)store_.FailAttempt({}, {job.id, job.token, "no", false, Duration::zero()});
          break;
        default: {
          journal_.Write("C? " + words);
          Result<Job> done = store_.Complete({}, job.id, job.token, std::to_string(job.token));
          if (done) journal_.Write("C! " + words);
        }
      }
    }
  }

  Store& store_;
  JournalWriter& journal_;
  std::mt19937_64 random_;
  const std::string name_;
  int tags_ = 0;
};

}  // namespace

Batch KeyedEnqueue(const std::string& tag) {
  return {.operations = {EnqueueJob{{.kind = "k", .payload = '"' + tag + '"'}},
                         IncrementRecord{{"counter", "jobs"}, "/n"}},
          .idempotency_key = tag};
}

Batch LoadSetUp() {
  Batch batch;
  batch.operations = {ApplyKind{.name = "counter", .rules = "{}"},
                      ApplyKind{.name = "account", .rules = R"({"bounds":{"/balance":{"min":0}}})"},
                      CreateRecord{.kind = "counter", .id = "jobs", .data = R"({"n":0})"}};
  for (int i = 0; i < kLoadAccounts; ++i) {
    batch.operations.push_back(
        CreateRecord{.kind = "account", .id = std::to_string(i), .data = R"({"balance":1000})"});
  }
  batch.idempotency_key = "set up";
  return batch;
}

int RunLoad(const std::vector<std::string>& arguments) {
  auto store = Must(OpenStore(arguments.at(0)));
  JournalWriter journal(arguments.at(1));
  Must(store->Commit({}, LoadSetUp()));
  const std::uint64_t seed = std::stoull(arguments.at(2));
  std::cout << "ready" << std::endl;
  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      LoadThread(*store, journal, seed + i, arguments.at(3) + "-" + std::to_string(i)).Run();
    });
  }
  return 0;
}

void Journal::Read(const std::string& file) {
  std::ifstream lines(file);
  std::string what;
  while (lines >> what) {
    if (what == "E?" || what == "I?") {
      std::string tag;
      lines >> tag;
      intended.insert(tag);
      if (what == "I?") keyed.insert(tag);
    } else if (what == "E!") {
      std::string tag;
      JobId id = 0;
      lines >> tag >> id;
      HF_CHECK(enqueued.emplace(tag, id).second);
    } else {
      JobId id = 0;
      Token token = 0;
      lines >> id >> token;
      if (what == "K!") claims.emplace_back(id, token);
      if (what == "C?") completing[id].insert(token);
      if (what == "C!") completed.push_back({id, token});
    }
  }
}

}  // namespace holdfast::testing
