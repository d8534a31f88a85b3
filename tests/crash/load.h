// The process that is killed: several threads that add, claim and finish jobs, change records, and
// write down what they are about to do and what they were promised.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "holdfast/holdfast.h"

namespace holdfast::testing {

/// URL JOURNAL SEED NAME: works until it is killed. Prints "ready" when the store is open.
int RunLoad(const std::vector<std::string>& arguments);

/// What clients were told while their server was dead, and afterwards. Threads: any.
struct Losses {
  std::atomic<int> unavailable = 0;  ///< the call never got there
  std::atomic<int> unknown = 0;      ///< the server died in the middle of it
  std::atomic<int> replayed = 0;     ///< a request with a key that was done, and was sent again
};

/// The same load, by threads of this process: clients of a server that is killed, who live on,
/// until `stop`.
void RunClients(const std::vector<std::unique_ptr<Store>>& clients, const std::string& journal,
                std::uint64_t seed, const std::string& name, std::stop_token stop, Losses& losses);

/// What the journals of all killed processes say. A line is one write to a file, so it survives the
/// process as soon as the write has returned.
struct Journal {
  struct Completion {
    JobId id = 0;
    Token token = 0;
  };
  std::set<std::string> intended;               // tags of jobs that may exist
  std::map<std::string, JobId> enqueued;        // acknowledged
  std::set<std::string> keyed;                  // those sent with an idempotency key: the tag
  std::vector<std::pair<JobId, Token>> claims;  // acknowledged
  std::map<JobId, std::set<Token>> completing;  // may be completed under
  std::vector<Completion> completed;            // acknowledged

  /// Adds the lines of a file.
  void Read(const std::string& file);
};

/// The request that a keyed tag stands for: equal requests for equal tags. It adds a job and counts
/// it in the record counter/jobs, in one commit.
Batch KeyedEnqueue(const std::string& tag);

/// Declares the kinds and makes the records that the load changes, once: accounts with 1,000 each.
constexpr int kLoadAccounts = 8;
Batch LoadSetUp();

}  // namespace holdfast::testing
