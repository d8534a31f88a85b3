// Everything at once on a few objects: what a handful of clients do at random to the same counters,
// accounts, tickets, places, locks and jobs, so that what they are told can be checked as a whole.
#pragma once

#include <string>
#include <vector>

#include "lab/arena.h"

namespace holdfast::lab {

/// What one client has of it.
struct Hands {
  std::vector<LockGrant> leases{};
  std::vector<Job> jobs{};
  std::vector<Token> old_tokens{};  ///< whose time is over
  std::int64_t version = 1;         ///< that it has last seen of the document
  std::vector<TransferId> pending{};
};

class Mix {
 public:
  Mix(Arena& arena, std::string name) : arena_(arena), name_(std::move(name)) {}

  /// Declares the kinds and makes the objects.
  Result<void> Prepare();
  /// One random call. Threads: any, each with an attacker and hands of its own.
  void Step(Attacker& attacker, Hands& hands) const;
  /// Gives back what it has.
  void End(Attacker& attacker, Hands& hands) const;
  /// What must be there afterwards.
  Result<void> Check();

 private:
  void StepCounter(Attacker& attacker) const;
  void StepDocument(Attacker& attacker, Hands& hands) const;
  void StepMoney(Attacker& attacker, Hands& hands) const;
  void StepTicket(Attacker& attacker) const;
  void StepPlaces(Attacker& attacker) const;
  void StepLocks(Attacker& attacker, Hands& hands) const;
  void StepJobs(Attacker& attacker, Hands& hands) const;
  void Acquire(Attacker& attacker, Hands& hands) const;
  void ReportJob(Attacker& attacker, Hands& hands) const;
  std::string NameOf(std::string_view part) const { return name_ + "-" + std::string(part); }

  Arena& arena_;
  const std::string name_;
  RecordKey counter_, document_, guarded_, rich_, poor_, ticket_, campaign_;
  std::string application_;
  std::string queue_;
  std::vector<JobId> jobs_;
};

/// Leases that outlast every scenario.
inline constexpr Duration kLongLease = std::chrono::hours(1);

}  // namespace holdfast::lab
