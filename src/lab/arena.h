// Where one scenario takes place: records, jobs and locks of its own, threads that begin together,
// and what was found wrong.
#pragma once

#include <atomic>
#include <initializer_list>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "history/client.h"
#include "lab/torture.h"

namespace holdfast::lab {

using base::Json;
using history::Client;

/// One of many threads, and the calls it makes.
struct Attacker {
  int number = 0;  ///< from 0
  Client client;
  std::mt19937_64 random;

  /// 0 to `most` - 1.
  int Below(int most) { return static_cast<int>(random() % static_cast<std::uint64_t>(most)); }
};

/// How many calls of an attack were answered how.
struct Tally {
  std::int64_t ok = 0;
  std::map<ErrorCode, std::int64_t> errors{};

  std::int64_t Of(ErrorCode code) const {
    auto found = errors.find(code);
    return found == errors.end() ? 0 : found->second;
  }
};

class Arena {
 public:
  /// `run` is a number that no other run has.
  Arena(Store& store, const TortureOptions& options, std::string_view run,
        history::Recording& recording, std::string_view scenario);

  /// Attackers use these stores in turn, which are nodes of the same one, instead of `store`.
  void UseNodes(std::vector<Store*> nodes) { nodes_ = std::move(nodes); }

  Store& store() { return store_; }
  const TortureOptions& options() const { return options_; }
  /// For what comes before and after the attack.
  Client& client() { return client_; }

  // What belongs to this run alone. Everything of it is removed by CleanUp.

  /// "torture-1a2b-name".
  std::string Own(std::string_view name) const;
  /// A kind of the folder kinds/, under a name of torture's: "torture-ticket".
  Result<std::string> DeclareShipped(std::string_view name);
  Result<std::string> Declare(const std::string& name, const std::string& rules);
  Result<RecordKey> Make(const std::string& kind, std::string_view name, const Json& data,
                         std::optional<RecordKey> parent = {}, std::string status = {});
  /// A record that an attacker has made.
  void Adopt(RecordKey key) { records_.push_back(std::move(key)); }
  Result<std::vector<JobId>> Push(std::string_view queue, int count);

  // The attack.

  int threads() const { return options_.threads; }
  /// `usual`, or less if the run is bounded.
  int Size(int usual) const;
  /// Whether the time of this scenario is up: whoever repeats something stops.
  bool Over() const { return std::chrono::steady_clock::now() >= end_; }
  /// Runs `body(attacker)` on that many threads, which begin together; the first is the caller's.
  template <typename Body>
  Tally Attack(int threads, Body body);

  // What must hold.

  void Expect(std::string_view what, std::int64_t expected, std::int64_t found);
  void Violated(std::string_view what, std::string detail);
  /// So many succeeded and so many were refused in this way, and nothing else happened.
  void ExpectAnswers(const Tally& tally, std::int64_t ok, ErrorCode code, std::int64_t refused);
  /// The record, which must be there.
  Result<Record> Load(const RecordKey& key);
  /// The whole number at the top of its data.
  Result<std::int64_t> NumberOf(const RecordKey& key, const std::string& member);
  /// The audit trail, replayed, gives the record's version and status, with nothing missing.
  Result<void> ExpectTrail(const RecordKey& key);
  /// As ExpectTrail, and the record is at this version.
  Result<void> ExpectVersion(const RecordKey& key, std::int64_t version);

  /// Ends the scenario: takes what was seen and found.
  ScenarioReport Finish(std::string_view title);
  std::vector<history::Observed> TakeCalls();
  void CleanUp(std::vector<std::string>& left_behind);

 private:
  Context ContextOf(int number) const;
  std::unique_ptr<Attacker> MakeAttacker(int number);
  Tally Take(std::vector<std::unique_ptr<Attacker>>& attackers);
  void RemoveRecords(std::vector<std::string>& left_behind);
  void RemoveJobs(std::vector<std::string>& left_behind);
  void BreakLocks(std::vector<std::string>& left_behind);

  Store& store_;
  std::vector<Store*> nodes_;
  const TortureOptions& options_;
  const std::string run_;
  history::Recording& recording_;
  const std::string scenario_;
  const SteadyTime start_ = std::chrono::steady_clock::now();
  const SteadyTime end_;
  Client client_;
  std::vector<history::Observed> calls_;  // of the attackers
  std::vector<RecordKey> records_;
  std::vector<std::string> queues_;
  std::vector<history::Violation> violations_;
  int attacks_ = 0;
};

/// The data of a record, which came from a store and is a JSON object.
Json DataOf(const Record& record);

/// The target of an operation.
inline RecordTarget On(const RecordKey& key, std::optional<std::int64_t> version = {}) {
  return {.kind = key.kind, .id = key.id, .version = version};
}

template <typename Body>
Tally Arena::Attack(int threads, Body body) {
  std::vector<std::unique_ptr<Attacker>> attackers;
  for (int i = 0; i < threads; ++i) attackers.push_back(MakeAttacker(i));
  ++attacks_;
  {
    std::atomic<int> ready = 0;
    auto run = [&](Attacker& attacker) {
      ++ready;
      while (ready < threads) std::this_thread::yield();
      body(attacker);
    };
    std::vector<std::jthread> running;
    for (int i = 1; i < threads; ++i) {
      running.emplace_back([&, i] { run(*attackers[static_cast<std::size_t>(i)]); });
    }
    run(*attackers.front());
  }
  return Take(attackers);
}

}  // namespace holdfast::lab
