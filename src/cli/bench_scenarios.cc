#include "cli/bench_scenarios.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>

#include "base/result.h"
#include "cli/paging.h"

namespace holdfast::cli {
namespace {

constexpr std::int64_t kGroup = 500;  // records to a commit, when they are made and removed
constexpr const char* kCounter = "bench_counter";
constexpr const char* kAccount = "bench_account";
constexpr const char* kTicket = "bench_ticket";
constexpr const char* kCounterRules = R"({"bounds":{"/n":{"min":0}}})";
constexpr const char* kAccountRules = R"({"bounds":{"/balance":{"min":0}}})";
constexpr const char* kTicketRules =
    R"({"states":{"initial":"OPEN","transitions":{"OPEN":["DONE"],"DONE":["OPEN"]}}})";
constexpr const char* kQueue = "bench_records";

/// A number of its own for every thread to draw with. Threads: one.
class alignas(64) Dice {
 public:
  Dice() : state_(Random::System().Next() | 1) {}
  std::int64_t Draw(std::int64_t below) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::int64_t>(state_ % static_cast<std::uint64_t>(below));
  }

 private:
  std::uint64_t state_;
};

/// Records of one kind that belong to one scenario of one run, so that runs do not meet.
class RecordSet {
 public:
  RecordSet(std::string kind, std::string_view name, std::int64_t count, std::string data)
      : kind_(std::move(kind)),
        prefix_(fmt::format("{}-{:08x}-", name,
                            static_cast<std::uint32_t>(Random::System().Next() >> 32))),
        count_(count),
        data_(std::move(data)) {}

  std::int64_t count() const { return count_; }
  RecordKey KeyOf(std::int64_t index) const {
    return {kind_, fmt::format("{}{:05}", prefix_, index)};
  }

  Result<void> Create(Store& store, const char* rules) {
    HF_RETURN_IF_ERROR(store.Apply({}, {.name = kind_, .rules = rules}));
    return InGroups(store, [this](std::int64_t index) -> Operation {
      return CreateRecord{.kind = kind_, .id = KeyOf(index).id, .data = data_};
    });
  }

  Result<void> Remove(Store& store) {
    return InGroups(store, [this](std::int64_t index) -> Operation {
      DeleteRecord remove;
      remove.kind = kind_;
      remove.id = KeyOf(index).id;
      return remove;
    });
  }

  struct Totals {
    std::int64_t sum = 0;      // of the number `member`, where it is
    std::int64_t changes = 0;  // versions beyond the first
  };
  Result<Totals> Count(Store& store, const char* member) const {
    std::vector<Record> records;
    auto list = [&](const RecordFilter& filter) { return store.ListRecords({}, filter); };
    RecordFilter filter;
    filter.kind = kind_;
    HF_RETURN_IF_ERROR(Collect(filter, std::nullopt, records, list));
    Totals totals;
    std::int64_t found = 0;
    simdjson::dom::parser parser;
    for (const Record& record : records) {
      if (!record.id.starts_with(prefix_)) continue;
      ++found;
      totals.changes += record.version - 1;
      simdjson::dom::element data;
      std::int64_t number = 0;
      if (parser.parse(record.data).get(data) == simdjson::SUCCESS &&
          data[member].get(number) == simdjson::SUCCESS) {
        totals.sum += number;
      }
    }
    if (found == count_) return totals;
    return Fail(ErrorCode::kInternal,
                fmt::format("{} of {} records of {} are there", found, count_, kind_));
  }

 private:
  template <typename Make>
  Result<void> InGroups(Store& store, Make make) {
    for (std::int64_t begin = 0; begin < count_; begin += kGroup) {
      Batch batch;
      for (std::int64_t i = begin; i < std::min(begin + kGroup, count_); ++i) {
        batch.operations.push_back(make(i));
      }
      HF_RETURN_IF_ERROR(store.Commit({}, std::move(batch)));
    }
    return {};
  }

  const std::string kind_;
  const std::string prefix_;
  const std::int64_t count_;
  const std::string data_;
};

Result<void> Expect(std::string_view what, std::int64_t there, std::int64_t expected) {
  if (there == expected) return {};
  return Fail(
      ErrorCode::kInternal,
      fmt::format("{}: {} in the store, but {} by what was acknowledged", what, there, expected));
}

IncrementRecord IncrementOf(RecordKey key) {
  IncrementRecord increment;
  increment.kind = std::move(key.kind);
  increment.id = std::move(key.id);
  increment.path = "/n";
  return increment;
}

/// Tickets that go back and forth between two states, each by the hands of one thread.
class Tickets {
 public:
  Tickets(std::string_view name, std::size_t threads)
      : set_(kTicket, name, static_cast<std::int64_t>(threads), R"({"title":"a ticket"})"),
        turns_(threads) {}

  Result<void> Prepare(Store& store) { return set_.Create(store, kTicketRules); }
  RecordKey KeyOf(std::size_t thread) const {
    return set_.KeyOf(static_cast<std::int64_t>(thread));
  }
  std::int64_t VersionOf(std::size_t thread) const { return turns_[thread].count + 1; }
  TransitionRecord Next(std::size_t thread) const {
    TransitionRecord transition;
    RecordKey key = KeyOf(thread);
    transition.kind = std::move(key.kind);
    transition.id = std::move(key.id);
    transition.to = turns_[thread].count % 2 == 0 ? "DONE" : "OPEN";
    return transition;
  }
  void Committed(std::size_t thread) { ++turns_[thread].count; }
  Result<void> Check(Store& store, std::int64_t commits) {
    HF_ASSIGN_OR_RETURN(auto totals, set_.Count(store, "n"));
    return Expect("transitions", totals.changes, commits);
  }
  Result<void> CleanUp(Store& store) { return set_.Remove(store); }

 private:
  struct alignas(64) Turn {
    std::int64_t count = 0;
  };
  RecordSet set_;
  std::vector<Turn> turns_;  // by thread
};

class Increments final : public Scenario {
 public:
  Increments(std::string_view name, std::string_view title, std::int64_t records,
             std::size_t threads)
      : name_(name), title_(title), counters_(kCounter, name, records, R"({"n":0})") {
    dice_.resize(threads);
  }
  std::string_view name() const override { return name_; }
  std::string_view title() const override { return title_; }
  Result<void> Prepare(Store& store) override { return counters_.Create(store, kCounterRules); }
  Batch Next(std::size_t thread) override {
    Batch batch;
    batch.operations.emplace_back(
        IncrementOf(counters_.KeyOf(dice_[thread].Draw(counters_.count()))));
    return batch;
  }
  Result<void> Check(Store& store, std::int64_t commits) override {
    HF_ASSIGN_OR_RETURN(auto totals, counters_.Count(store, "n"));
    HF_RETURN_IF_ERROR(Expect("the sum of the counters", totals.sum, commits));
    return Expect("their versions", totals.changes, commits);
  }
  Result<void> CleanUp(Store& store) override { return counters_.Remove(store); }

 private:
  const std::string_view name_;
  const std::string_view title_;
  RecordSet counters_;
  std::vector<Dice> dice_;  // by thread
};

class Transfers final : public Scenario {
 public:
  explicit Transfers(std::size_t threads)
      : accounts_(kAccount, "transfer", kSpreadRecords,
                  fmt::format(R"({{"balance":{}}})", kBenchBalance)) {
    dice_.resize(threads);
  }
  std::string_view name() const override { return "transfer"; }
  std::string_view title() const override { return "transfers among 10,000 accounts"; }
  Result<void> Prepare(Store& store) override { return accounts_.Create(store, kAccountRules); }
  Batch Next(std::size_t thread) override {
    Dice& dice = dice_[thread];
    std::int64_t from = dice.Draw(kSpreadRecords);
    std::int64_t to = (from + 1 + dice.Draw(kSpreadRecords - 1)) % kSpreadRecords;
    Batch batch;
    batch.operations.emplace_back(MakeTransfer{.from = accounts_.KeyOf(from),
                                               .to = accounts_.KeyOf(to),
                                               .path = "/balance",
                                               .amount = 1 + dice.Draw(100)});
    return batch;
  }
  Result<void> Check(Store& store, std::int64_t commits) override {
    HF_ASSIGN_OR_RETURN(auto totals, accounts_.Count(store, "balance"));
    HF_RETURN_IF_ERROR(
        Expect("the sum of the balances", totals.sum, kSpreadRecords * kBenchBalance));
    return Expect("the versions of the accounts", totals.changes, 2 * commits);
  }
  Result<void> CleanUp(Store& store) override { return accounts_.Remove(store); }

 private:
  RecordSet accounts_;
  std::vector<Dice> dice_;  // by thread
};

class Transitions final : public Scenario {
 public:
  explicit Transitions(std::size_t threads) : tickets_("transition", threads) {}
  std::string_view name() const override { return "transition"; }
  std::string_view title() const override { return "transitions, a ticket for each thread"; }
  Result<void> Prepare(Store& store) override { return tickets_.Prepare(store); }
  Batch Next(std::size_t thread) override {
    Batch batch;
    batch.operations.emplace_back(tickets_.Next(thread));
    return batch;
  }
  void Committed(std::size_t thread) override { tickets_.Committed(thread); }
  Result<void> Check(Store& store, std::int64_t commits) override {
    return tickets_.Check(store, commits);
  }
  Result<void> CleanUp(Store& store) override { return tickets_.CleanUp(store); }

 private:
  Tickets tickets_;
};

/// A guard, an increment, a transition and a job in one batch.
class Mixed final : public Scenario {
 public:
  explicit Mixed(std::size_t threads)
      : counters_(kCounter, "mixed", kSpreadRecords, R"({"n":0})"),
        tickets_("mixed", threads),
        job_kind_(counters_.KeyOf(0).id) {
    dice_.resize(threads);
  }
  std::string_view name() const override { return "mixed"; }
  std::string_view title() const override { return "guard + increment + transition + enqueue"; }
  Result<void> Prepare(Store& store) override {
    // Paused, so that no worker on this store takes the jobs.
    HF_RETURN_IF_ERROR(store.Set({}, {.name = kQueue, .paused = true}));
    HF_RETURN_IF_ERROR(counters_.Create(store, kCounterRules));
    return tickets_.Prepare(store);
  }
  Batch Next(std::size_t thread) override {
    Batch batch;
    batch.guards.emplace_back(VersionGuard{tickets_.KeyOf(thread), tickets_.VersionOf(thread)});
    batch.operations.emplace_back(IncrementOf(counters_.KeyOf(dice_[thread].Draw(kSpreadRecords))));
    batch.operations.emplace_back(tickets_.Next(thread));
    batch.operations.emplace_back(EnqueueJob{{.kind = job_kind_, .queue = kQueue}});
    return batch;
  }
  void Committed(std::size_t thread) override { tickets_.Committed(thread); }
  Result<void> Check(Store& store, std::int64_t commits) override {
    HF_ASSIGN_OR_RETURN(auto totals, counters_.Count(store, "n"));
    HF_RETURN_IF_ERROR(Expect("the sum of the counters", totals.sum, commits));
    HF_RETURN_IF_ERROR(tickets_.Check(store, commits));
    HF_ASSIGN_OR_RETURN(std::vector<JobId> jobs, ListJobs(store));
    return Expect("jobs", static_cast<std::int64_t>(jobs.size()), commits);
  }
  Result<void> CleanUp(Store& store) override {
    HF_ASSIGN_OR_RETURN(std::vector<JobId> jobs, ListJobs(store));
    for (std::size_t begin = 0; begin < jobs.size(); begin += kGroup) {
      Batch batch;
      for (std::size_t i = begin; i < std::min<std::size_t>(begin + kGroup, jobs.size()); ++i) {
        batch.operations.emplace_back(DeleteJob{jobs[i]});
      }
      HF_RETURN_IF_ERROR(store.Commit({}, std::move(batch)));
    }
    HF_RETURN_IF_ERROR(counters_.Remove(store));
    return tickets_.CleanUp(store);
  }

 private:
  Result<std::vector<JobId>> ListJobs(Store& store) const {
    std::vector<JobId> ids;
    JobFilter filter{.queue = kQueue, .kind = job_kind_, .limit = 1000};
    do {
      HF_ASSIGN_OR_RETURN(JobPage page, store.ListJobs({}, filter));
      for (const Job& job : page.items) ids.push_back(job.id);
      filter.cursor = page.next_cursor;
    } while (!filter.cursor.empty());
    return ids;
  }

  RecordSet counters_;
  Tickets tickets_;
  const std::string job_kind_;  // this run's own
  std::vector<Dice> dice_;      // by thread
};

}  // namespace

std::vector<std::unique_ptr<Scenario>> MakeScenarios(std::size_t threads) {
  std::vector<std::unique_ptr<Scenario>> scenarios;
  scenarios.push_back(std::make_unique<Increments>("hot", "increments of one record", 1, threads));
  scenarios.push_back(std::make_unique<Increments>("spread", "increments over 10,000 records",
                                                   kSpreadRecords, threads));
  scenarios.push_back(std::make_unique<Transfers>(threads));
  scenarios.push_back(std::make_unique<Transitions>(threads));
  scenarios.push_back(std::make_unique<Mixed>(threads));
  return scenarios;
}

}  // namespace holdfast::cli
