#include "crash/load.h"

#include <fcntl.h>
#include <poll.h>
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
  /// With `losses`, the store is a server that may be killed at any time.
  LoadThread(Store& store, JournalWriter& journal, std::uint64_t seed, std::string name,
             std::stop_token stop = {}, Losses* losses = nullptr)
      : store_(store),
        journal_(journal),
        random_(seed),
        name_(std::move(name)),
        stop_(std::move(stop)),
        losses_(losses) {}

  void Run() {
    while (!stop_.stop_requested()) {
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
  /// Nothing: the server died, before it got the call or in the middle of it.
  template <typename T>
  std::optional<T> Answered(Result<T> answer) {
    const bool is_unknown = !answer && answer.error().code == ErrorCode::kOutcomeUnknown;
    const bool is_lost = is_unknown || (!answer && answer.error().code == ErrorCode::kUnavailable);
    if (losses_ == nullptr || !is_lost) return Must(std::move(answer));
    ++(is_unknown ? losses_->unknown : losses_->unavailable);
    ::poll(nullptr, 0, 5);  // nobody tells when it is back
    return std::nullopt;
  }

  std::string NextTag() { return name_ + "-" + std::to_string(++tags_); }

  void Enqueue() {
    Batch batch;
    std::vector<std::string> tags;
    for (auto count = 1 + random_() % 3; count > 0; --count) {
      tags.push_back(NextTag());
      journal_.Write("E? " + tags.back());
      batch.operations.push_back(EnqueueJob{{.kind = "k", .payload = '"' + tags.back() + '"'}});
    }
    std::optional<Receipt> receipt = Answered(store_.Commit({}, std::move(batch)));
    for (std::size_t i = 0; receipt && i < tags.size(); ++i) {
      journal_.Write("E! " + tags[i] + " " + std::to_string(receipt->results[i].job->id));
    }
  }

  /// Until it is answered: what the key is for.
  void EnqueueWithKey() {
    std::string tag = NextTag();
    journal_.Write("I? " + tag);
    std::optional<Receipt> receipt;
    while (!receipt && !stop_.stop_requested()) {
      receipt = Answered(store_.Commit({}, KeyedEnqueue(tag)));
    }
    if (!receipt) return;
    journal_.Write("E! " + tag + " " + std::to_string(receipt->results[0].job->id));
    if (losses_ != nullptr && receipt->replayed) ++losses_->replayed;
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
    std::optional<std::vector<Job>> jobs =
        Answered(store_.Claim({}, {.worker = name_,
                                   .max = static_cast<int>(1 + random_() % 3),
                                   .lease = std::chrono::milliseconds(200)}));
    if (!jobs) return;
    for (const Job& job : *jobs) {
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
  const std::stop_token stop_;
  Losses* const losses_;
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

void RunClients(const std::vector<std::unique_ptr<Store>>& clients, const std::string& journal,
                std::uint64_t seed, const std::string& name, std::stop_token stop, Losses& losses) {
  JournalWriter writer(journal);
  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      Store& store = *clients.at(static_cast<std::size_t>(i) % clients.size());
      LoadThread(store, writer, seed + i, name + "-" + std::to_string(i), stop, &losses).Run();
    });
  }
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
