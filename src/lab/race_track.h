// Where the workers of a race meet, and what is written down of them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "holdfast/error.h"
#include "lab/race.h"

namespace holdfast::lab {

/// Lets workers meet at the point where it hurts, without any of them sleeping. Threads: any.
class RaceTrack {
 public:
  explicit RaceTrack(int workers) : running_(workers) {}

  /// Something has happened.
  void Signal(const std::string& what) HF_EXCLUDES(mutex_);
  /// Waits until it has happened `count` times, or cannot happen any more because everybody else
  /// has left or waits, too. There is a limit of 10 s for a store that does not answer.
  void Await(const std::string& what, int count) HF_EXCLUDES(mutex_);
  /// One worker less. Who waited for it alone goes on.
  void Leave() HF_EXCLUDES(mutex_);

  /// Since the track was made: the start of the race.
  Duration Now() const;

 private:
  struct Waiter {
    const std::string& what;
    int count = 0;
    bool goes_on = false;
  };
  void LetThemGo() HF_REQUIRES(mutex_);

  const SteadyTime start_ = std::chrono::steady_clock::now();
  base::Mutex mutex_{base::LockRank::kWorkers};
  base::CondVar changed_;
  int running_ HF_GUARDED_BY(mutex_);
  std::map<std::string, int> happened_ HF_GUARDED_BY(mutex_);
  std::vector<Waiter*> waiting_ HF_GUARDED_BY(mutex_);
};

/// One try of a worker: from what it saw to what came of what it did.
struct RaceTry {
  int worker = 0;
  std::string saw;  ///< what it acts on: two with the same are in each other's way
  bool is_done = false;
  std::vector<RaceStep> steps;
};

/// One worker. Threads: its own; what it did is read when that has ended.
class Racer {
 public:
  /// `index` is from 0.
  Racer(RaceTrack& track, int index) : track_(track), index_(index) {}

  int index() const { return index_; }
  /// "worker 1".
  std::string name() const { return "worker " + std::to_string(index_ + 1); }
  RaceTrack& track() { return track_; }

  /// It has seen `state`, and acts on it from now on.
  void Saw(std::string state, std::string what);
  /// Thinks: until another worker has seen the same, which is how long it takes to lose a race.
  ///
  /// A worker in earnest thinks for as long as its work takes, and now and then that is long enough
  /// for another one to read what it has read. Here it always is.
  void Think();
  void Does(std::string what);
  /// The try has ended, and went through or not.
  void Ends(bool is_done, std::string what);
  /// The try ends with the answer to what it asked for. True: it was done; false: it was refused
  /// with `refusal`. Errors: any other.
  template <typename T>
  Result<bool> EndsWith(const Result<T>& answer, ErrorCode refusal) {
    return EndsWith(answer ? std::optional<Error>() : std::optional<Error>(answer.error()),
                    refusal);
  }

  const std::vector<RaceTry>& tries() const { return tries_; }

 private:
  Result<bool> EndsWith(const std::optional<Error>& error, ErrorCode refusal);
  RaceTry& Current();

  RaceTrack& track_;
  const int index_;
  std::vector<RaceTry> tries_;
  bool is_under_way_ = false;
};

/// Two tries of different workers that had seen the same and overlap, both of which went through
/// (`both_done`) or of which one did: the earliest such. Nothing: there are none.
std::optional<RacePicture> Picture(const std::vector<Racer>& racers, bool both_done);

}  // namespace holdfast::lab
