// The connections that write. Each turns what waits into one transaction, makes it durable with one
// COMMIT, and then answers everybody in it.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "engine/engine.h"
#include "engine/postgres/node.h"
#include "engine/postgres/transaction.h"
#include "engine/postgres/wake_ups.h"
#include "engine/work.h"

namespace holdfast::engine::postgres {

/// While the lanes are busy the next group gathers, so groups grow with the load by themselves.
/// Threads: any.
class Lanes {
 public:
  Lanes(Node& node, WakeUps& wake_ups);
  /// Finishes what is queued, answers it, joins.
  ~Lanes();

  void Start();

  void Submit(Work work);

  void Listen(ChangeListener* listener) { listener_ = listener; }
  /// Nothing, or why the latest transaction found no server.
  Result<void> CheckHealth() const;

 private:
  using Group = std::vector<Work>;
  struct Lane;

  void Run(Lane& lane);
  bool TakeGroup(Group& group);
  void RunGroup(Lane& lane, Group& group);
  void RunCommits(Lane& lane, Group& group);
  void RunChunk(Lane& lane, std::span<BatchRequest> requests);
  void RunClaims(Lane& lane, Group& group);
  void RunMaintain(Lane& lane, Work& work);
  /// Runs `attempt` until it succeeds or there is no sense in trying again.
  template <typename Attempt>
  Result<void> Persist(Lane& lane, Attempt attempt);
  bool Pause(Duration time);
  Result<void> Connect(Lane& lane);
  Result<void> Resolve(Lane& lane, const Error& lost);
  Result<void> AwaitReplicas(Lane& lane, const Error& lost);
  void Tell(Lane& lane);
  void NoteHealth(const Result<void>& health);

  Node& node_;
  WakeUps& wake_ups_;
  ChangeListener* listener_ = nullptr;  // constant after the first commit
  std::vector<std::unique_ptr<Lane>> lanes_;

  mutable base::Mutex mutex_{base::LockRank::kEngine};
  base::CondVar arrived_;
  base::CondVar stopping_;
  std::deque<Work> queue_ HF_GUARDED_BY(mutex_);
  bool is_stopping_ HF_GUARDED_BY(mutex_) = false;
  std::optional<Error> unhealthy_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast::engine::postgres
