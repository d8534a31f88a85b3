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

/// While lanes are busy the next group gathers, so groups grow with the load by themselves. Few
/// transactions at once are the cheapest for all: as long as two are on their way, what comes waits
/// for one of them to end, unless that takes long, as it does where the server is far away or a row
/// is locked. Threads: any.
class Lanes {
 public:
  Lanes(Node& node, WakeUps& wake_ups);
  /// Finishes what is queued, answers it, joins.
  ~Lanes();

  void Start();

  void Submit(Work work);
  /// The same for a caller who waits for the answer. If a lane is idle his thread does its work,
  /// which spares two wake-ups: in batches of 100 from one thread 13,300 life cycles/s, where
  /// handing it over and back made it 10,900 (medians of ten alternating runs).
  void SubmitAndHelp(Work work);

  void Listen(ChangeListener* listener) { listener_ = listener; }
  /// Nothing, or why the latest transaction found no server.
  Result<void> CheckHealth() const;

 private:
  using Group = std::vector<Work>;
  struct Lane;

  void Run(Lane& lane);
  bool TakeGroup(Lane& lane, Group& group);
  void NoteDone(Lane& lane);
  Lane* Borrow();
  void GiveBack(Lane& lane);
  bool IsLate() const HF_REQUIRES(mutex_);
  bool IsTurn() const HF_REQUIRES(mutex_);
  void AwaitTurn(Lane& lane) HF_REQUIRES(mutex_);
  void SeeToQueue() HF_REQUIRES(mutex_);
  void WakeOne() HF_REQUIRES(mutex_);
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
  Result<bool> Resolve(Lane& lane, const Error& lost);
  Result<bool> AskServer(Lane& lane, const std::string& server);
  Result<bool> AskForStatus(Lane& lane, const std::string& server);
  Result<bool> AskForMark(Lane& lane);
  Result<void> AwaitReplicas(Lane& lane, const Error& lost);
  void Tell(Lane& lane);
  void NoteHealth(const Result<void>& health);

  Node& node_;
  WakeUps& wake_ups_;
  ChangeListener* listener_ = nullptr;  // constant after the first commit
  std::vector<std::unique_ptr<Lane>> lanes_;

  mutable base::Mutex mutex_{base::LockRank::kEngine};
  base::CondVar stopping_;
  /// Whoever went idle last is woken first: what it needs is still in the caches, its server
  /// process's as well. One after the other, four lanes did 10,000 life cycles/s where one does
  /// 15,500 (batches of 100, one thread).
  std::vector<Lane*> idle_ HF_GUARDED_BY(mutex_);
  std::deque<Work> queue_ HF_GUARDED_BY(mutex_);
  int working_ HF_GUARDED_BY(mutex_) = 0;          // lanes with a transaction
  int answering_ HF_GUARDED_BY(mutex_) = 0;        // lanes that have had one, and will look again
  bool is_watched_ HF_GUARDED_BY(mutex_) = false;  // a lane waits for how long the queue does
  bool is_stopping_ HF_GUARDED_BY(mutex_) = false;
  std::optional<Error> unhealthy_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast::engine::postgres
