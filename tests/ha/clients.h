// The load of the drill: clients that work through every failure, as programs should.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ha/history.h"

namespace holdfast::drill {

/// Enqueue, claim and complete, lock and release, increment, on several threads over several nodes.
/// Whatever can be repeated has an idempotency key, and is repeated until its outcome is known.
class Clients {
 public:
  /// `nodes`: stores on the same database. Declares what the load needs.
  Clients(const std::vector<std::unique_ptr<Store>>& nodes, History& history);
  /// Lets everybody finish what they have begun.
  ~Clients() { Stop(); }
  void Stop();

  std::int64_t fenced() const { return fenced_; }
  /// Compares what the store has with what it has acknowledged, when all have stopped.
  void Verify(Store& store);

 private:
  void Enqueue(Store& store, int thread);
  void Complete(Store& store, int thread);
  void CompleteOne(Store& store, const Job& job);
  void Lock(Store& store, int thread);
  void Increment(Store& store, int thread);
  /// Until its outcome is known: the receipt, or an error that is not the store's absence.
  Result<Receipt> Insist(Store& store, Sort sort, const Batch& batch);
  void VerifyJobs(Store& store);
  void VerifyTokens();

  History& history_;
  std::atomic<bool> is_over_ = false;
  std::atomic<std::int64_t> fenced_ = 0;
  std::vector<std::jthread> threads_;
};

}  // namespace holdfast::drill
