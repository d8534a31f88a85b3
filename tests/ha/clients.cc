#include "ha/clients.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "testing/store_checks.h"

namespace holdfast::drill {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Must;

constexpr int kThreadsOfEach = 3;
constexpr int kLocks = 2;
constexpr int kCounters = 2;
constexpr auto kBetween = milliseconds(5);  // calls of one client
constexpr auto kBeforeRetry = milliseconds(50);
// Shorter than a failover: what was claimed before is claimed again, and the first worker fenced.
constexpr auto kLease = seconds(10);

std::string CounterOf(int thread) {
  return fmt::format("c{}", thread % kCounters);
}

bool IsAway(const Error& error) {
  return error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kOutcomeUnknown;
}

}  // namespace

Clients::Clients(const std::vector<std::unique_ptr<Store>>& nodes, History& history)
    : history_(history) {
  Must(nodes.front()->Apply({}, {.name = "counter", .rules = "{}"}));
  for (int i = 0; i < kCounters; ++i) {
    Must(nodes.front()->Create({},
                               {.kind = "counter", .id = CounterOf(i), .data = R"({"value":0})"}));
  }
  using Work = void (Clients::*)(Store&, int);
  for (Work work : {&Clients::Enqueue, &Clients::Complete, &Clients::Lock, &Clients::Increment}) {
    for (int i = 0; i < kThreadsOfEach; ++i) {
      Store& store = *nodes[static_cast<std::size_t>(i) % nodes.size()];
      threads_.emplace_back([this, work, &store, i] { (this->*work)(store, i); });
    }
  }
}

void Clients::Stop() {
  is_over_ = true;
  threads_.clear();
}

Result<Receipt> Clients::Insist(Store& store, Sort sort, const Batch& batch) {
  while (true) {
    Result<Receipt> receipt = store.Commit({}, batch);
    if (receipt || !IsAway(receipt.error())) return receipt;
    history_.Refuse(sort, receipt.error());
    std::this_thread::sleep_for(kBeforeRetry);
  }
}

void Clients::Enqueue(Store& store, int thread) {
  for (int i = 0; !is_over_; ++i) {
    Result<Receipt> receipt = Insist(store, Sort::kEnqueue,
                                     {.operations = {EnqueueJob{{.kind = "k"}}},
                                      .idempotency_key = fmt::format("e/{}/{}", thread, i)});
    if (!receipt) return history_.Refuse(Sort::kEnqueue, receipt.error());
    history_.Enqueued(receipt->results[0].job->id);
    history_.Acknowledge(Sort::kEnqueue, receipt->replayed);
    std::this_thread::sleep_for(kBetween);
  }
}

void Clients::Complete(Store& store, int thread) {
  while (!is_over_) {
    const SteadyTime sent = std::chrono::steady_clock::now();
    // What is lost with the answer comes back when its lease ends.
    Result<std::vector<Job>> jobs = store.Claim(
        {},
        {.worker = fmt::format("w{}", thread), .queues = {"default"}, .max = 4, .lease = kLease});
    if (!jobs) {
      history_.Refuse(Sort::kComplete, jobs.error());
      std::this_thread::sleep_for(kBeforeRetry);
      continue;
    }
    for (const Job& job : *jobs) history_.Issue(job.token, sent);
    for (const Job& job : *jobs) CompleteOne(store, job);
    std::this_thread::sleep_for(kBetween);
  }
}

void Clients::CompleteOne(Store& store, const Job& job) {
  const std::string token = std::to_string(job.token);
  Result<Receipt> receipt =
      Insist(store, Sort::kComplete,
             {.operations = {CompleteJob{.id = job.id, .token = job.token, .result = token}},
              .idempotency_key = fmt::format("c/{}/{}", job.id, token)});
  if (receipt) {
    history_.Completed(job.id, job.token);
    history_.Acknowledge(Sort::kComplete, receipt->replayed);
  } else if (receipt.error().code == ErrorCode::kFenced) {
    ++fenced_;
  } else {
    history_.Refuse(Sort::kComplete, receipt.error());
  }
}

void Clients::Lock(Store& store, int thread) {
  for (int i = 0; !is_over_; ++i) {
    const std::string name = fmt::format("l{}", i % kLocks);
    const std::string key = fmt::format("l/{}/{}", thread, i);
    const SteadyTime sent = std::chrono::steady_clock::now();
    Result<Receipt> taken =
        Insist(store, Sort::kLock,
               {.operations = {AcquireLock{.name = name, .owner = key, .ttl = seconds(2)}},
                .idempotency_key = key});
    if (taken) {
      const Token token = taken->results[0].lock->grants[0].token;
      history_.Issue(token, sent);
      history_.Acknowledge(Sort::kLock, taken->replayed);
      std::this_thread::sleep_for(kBetween);
      Result<Receipt> released = Insist(store, Sort::kLock,
                                        {.operations = {ReleaseLock{.name = name, .token = token}},
                                         .idempotency_key = "r" + key});
      if (!released && released.error().code == ErrorCode::kFenced) {
        ++fenced_;
      } else if (!released) {
        history_.Refuse(Sort::kLock, released.error());
      }
    } else if (taken.error().code != ErrorCode::kBusy) {
      history_.Refuse(Sort::kLock, taken.error());
    }
    std::this_thread::sleep_for(kBetween);
  }
}

void Clients::Increment(Store& store, int thread) {
  for (int i = 0; !is_over_; ++i) {
    Batch batch{
        .operations = {IncrementRecord{{.kind = "counter", .id = CounterOf(thread)}, "/value"}},
        .idempotency_key = fmt::format("i/{}/{}", thread, i)};
    Result<Receipt> receipt = Insist(store, Sort::kIncrement, batch);
    if (!receipt) return history_.Refuse(Sort::kIncrement, receipt.error());
    history_.Acknowledge(Sort::kIncrement, receipt->replayed);
    std::this_thread::sleep_for(kBetween);
  }
}

void Clients::Verify(Store& store) {
  VerifyJobs(store);
  VerifyTokens();
  std::int64_t sum = 0;
  std::int64_t changes = 0;
  for (const Record& record : testing::ListAllRecords(store, "counter")) {
    sum += nlohmann::json::parse(record.data).at("value").get<std::int64_t>();
    changes += record.version - 1;
  }
  const std::int64_t acknowledged = history_.counts(Sort::kIncrement).acknowledged;
  if (sum != acknowledged || changes != acknowledged) {
    history_.Note(fmt::format("{} increments were acknowledged, the counters say {} in {} changes",
                              acknowledged, sum, changes));
  }
}

void Clients::VerifyJobs(Store& store) {
  std::set<JobId> missing = history_.enqueued();
  std::map<JobId, Token> completed = history_.completed();
  for (const Job& job : testing::ListAllJobs(store)) {
    if (missing.erase(job.id) == 0) {
      history_.Note(fmt::format("job {} exists, and nobody was told so", job.id));
    }
    auto told = completed.find(job.id);
    const bool is_told = told != completed.end();
    if ((job.state == JobState::kCompleted) != is_told) {
      history_.Note(fmt::format("job {} is {}, and was {}acknowledged as completed", job.id,
                                NameOf(job.state), is_told ? "" : "not "));
    } else if (is_told && job.result != std::to_string(told->second)) {
      history_.Note(fmt::format("job {} was completed under another token", job.id));
    }
    if (is_told) completed.erase(told);
  }
  for (JobId id : missing) history_.Note(fmt::format("job {} is lost", id));
  for (auto [id, token] : completed) history_.Note(fmt::format("completed job {} is lost", id));
}

/// Of two grants, of which one was answered before the other was asked for, it has the smaller
/// token; and no token comes twice.
void Clients::VerifyTokens() {
  std::vector<Issued>& by_asking = history_.issued();
  std::vector<Issued> by_answer = by_asking;
  std::ranges::sort(by_asking, {}, &Issued::sent);
  std::ranges::sort(by_answer, {}, &Issued::answered);
  std::set<Token> seen;
  Token before = 0;
  auto answered = by_answer.begin();
  for (const Issued& issued : by_asking) {
    for (; answered != by_answer.end() && answered->answered < issued.sent; ++answered) {
      before = std::max(before, answered->token);
    }
    if (issued.token <= before) {
      history_.Note(fmt::format("token {} came after {}", issued.token, before));
    }
    if (!seen.insert(issued.token).second) {
      history_.Note(fmt::format("token {} was issued twice", issued.token));
    }
  }
}

}  // namespace holdfast::drill
