// One simulated run of a store: clients, workers, maintenance, time and a disk, all moved by one
// thread that a seed steers. Equal seeds make equal runs.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "testing/script.h"
#include "testing/sim_disk.h"
#include "testing/sim_store.h"
#include "testing/twin_engine.h"

namespace holdfast::testing {

/// What happened, by name: of one run, or of many.
struct SimulationReport {
  std::map<std::string, std::uint64_t> counts;
  std::uint64_t operations = 0;
  Duration simulated{};
  std::uint64_t trace = 0;
  std::string violation;  // the first

  void Add(const SimulationReport& other);
};

class Simulation {
 public:
  enum class Subject : std::uint8_t { kMemory, kSqlite };

  Simulation(Subject subject, std::uint64_t seed);
  ~Simulation();

  SimulationReport Run(Duration length);

 private:
  /// A worker's job, which it will report on when its work is done: perhaps too late.
  struct Holding {
    Job job;
    Time done_at;
  };
  /// A change with a key, asked for until it is acknowledged.
  struct Adding {
    std::string key;
    std::uint64_t asked = 0;
  };

  void Step();
  void Gather();
  void Ask();
  void AskScript();
  void AskForJobs();
  void AskForLock();
  void GiveUpWaiting();
  void Enqueue();
  void Report();
  void Add();
  void Pass(Duration time);
  void Read();
  void BreakDisk();
  void Restart();
  void End(bool is_crash);
  bool Open();
  void Declare();
  void Settle();
  void CheckLocks();
  void Finish();
  void ExpectLiveness();
  void Count(const std::string& what) { ++report_.counts[what]; }
  void Violate(const std::string& what) { twin_.Violate(what); }
  void Commit(Batch batch, std::function<void(const Result<Receipt>&)> learn);
  void Learn(const Job& job);
  Time Now() const { return clock_.Wall(); }

  const Subject subject_;
  SimDisk disk_;
  SimClock clock_;
  SimDriver driver_;
  ScriptWriter script_;
  Twin twin_;
  engine::Engine* engine_ = nullptr;  // below the store, for comparisons
  std::unique_ptr<Store> store_;
  SimulationReport report_;
  std::vector<Holding> holdings_;
  std::map<JobId, Token> latest_;  // tokens of jobs that workers took
  std::vector<Adding> adding_;
  std::uint64_t added_ = 0;
  std::vector<std::stop_source> waits_;
  int life_ = 0;  // answers that come after a crash are not heard by anybody
};

}  // namespace holdfast::testing
