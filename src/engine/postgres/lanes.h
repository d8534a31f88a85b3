// The connections that write. Calls that wait share transactions: each is made durable with one
// COMMIT, and then all its calls are answered.
//
// A *lane* is a thread with a connection of its own, which makes one transaction at a time.
// A *family* is a sort of call that has lanes and a queue of its own, so that no family waits for
// another: commits, claims, maintenance, and the patient commits.
// A *group* is what a lane takes from the queue of its family for its next transaction.
// A commit is *held* while another session keeps a row locked that it needs. A group waits for such
// a row for a moment. Then each of its batches is tried alone, and those that are held become
// patient: few lanes try them in turn, each for a moment, so that they wait for their row and no
// other call does.
#pragma once

#include <array>
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

/// How many connections they use at most.
int LaneConnections(const Settings& settings);

/// While the lanes of a family are busy its next group gathers, so groups grow with the load by
/// themselves. Few transactions at once are the cheapest for all. Threads: any.
class Lanes {
 public:
  Lanes(Node& node, WakeUps& wake_ups);
  /// Finishes what is queued, answers it, joins.
  ~Lanes();

  void Start();

  void Submit(Work work);
  /// The same for a caller that waits for the answer. If a lane is idle the caller's thread works,
  /// which spares two wake-ups: in batches of 100 from one thread 13,300 life cycles/s, where
  /// handing it over and back made it 10,900 (medians of ten alternating runs).
  void SubmitAndHelp(Work work);

  void Listen(ChangeListener* listener) { listener_ = listener; }
  /// Nothing, or why the latest transaction found no server.
  Result<void> CheckHealth() const;

 private:
  enum Family : std::uint8_t { kCommits, kClaims, kMaintenance, kPatient };
  static constexpr std::size_t kFamilies = 4;
  struct Call {
    Work work;
    std::vector<BatchRequest> requests;  // of a commit, once it was tried
  };
  using Group = std::vector<Call>;
  struct Lane;
  struct OfFamily {
    std::deque<Call> queue;
    /// The lane that went idle last is woken first: what it needs is still in the caches, its
    /// server process's as well. One after the other, four lanes did 10,000 life cycles/s where one
    /// does 15,500 (batches of 100, one thread).
    std::vector<Lane*> idle;
  };

  void Run(Lane& lane);
  bool TakeGroup(Lane& lane, Group& group);
  void Add(Family family, Call call) HF_REQUIRES(mutex_);
  void WakeOne(OfFamily& family) HF_REQUIRES(mutex_);
  Lane* Borrow(Family family);
  void GiveBack(Lane& lane);
  void RunGroup(Lane& lane, Group& group);
  void RunCommits(Lane& lane, Group& group);
  void RunChunk(Lane& lane, std::span<BatchRequest> requests, Duration patience);
  void RunPatient(Lane& lane, Call& call);
  void Conclude(Call& call);
  bool PutOff(Call& call);
  void RunClaims(Lane& lane, std::span<Call> group);
  void RunMaintain(Lane& lane, Work& work);
  /// Runs `attempt` until it succeeds or there is no sense in trying again.
  template <typename Attempt>
  Result<void> Persist(Lane& lane, Attempt attempt);
  bool Pause(Duration time);
  Result<void> Connect(Lane& lane);
  Result<bool> Resolve(Lane& lane, const Error& lost);
  Result<void> AwaitReplicas(Lane& lane, const Error& lost);
  void Tell(Lane& lane);
  void NoteHealth(const Result<void>& health);

  Node& node_;
  WakeUps& wake_ups_;
  ChangeListener* listener_ = nullptr;  // constant after the first commit
  std::vector<std::unique_ptr<Lane>> lanes_;

  mutable base::Mutex mutex_{base::LockRank::kEngine};
  base::CondVar stopping_;
  std::array<OfFamily, kFamilies> families_ HF_GUARDED_BY(mutex_);
  bool is_stopping_ HF_GUARDED_BY(mutex_) = false;
  std::optional<Error> unhealthy_ HF_GUARDED_BY(mutex_);
};

}  // namespace holdfast::engine::postgres
