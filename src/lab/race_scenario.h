// What every race of the lab is made of: set-up, one worker's part, the count, clean-up.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/json.h"
#include "lab/race_track.h"

namespace holdfast::lab {

/// What a race is run on.
struct RaceGround {
  Store& store;
  Context context;
  bool is_unsafe = false;
  int workers = 0;
  std::string run;  ///< of this run alone: part of every name it makes
  std::function<void(Duration)> pass_time;
};

struct RaceCount {
  std::int64_t expected = 0;
  std::int64_t happened = 0;
};

/// Threads: Run from one for each racer, the rest from one.
class RaceScenario {
 public:
  explicit RaceScenario(RaceGround ground) : ground_(std::move(ground)) {}
  virtual ~RaceScenario() = default;
  RaceScenario(const RaceScenario&) = delete;
  RaceScenario& operator=(const RaceScenario&) = delete;

  virtual Result<void> Prepare() = 0;
  virtual Result<void> Run(Racer& racer) = 0;
  /// What the store holds now, and what was done outside of it.
  virtual Result<RaceCount> Count() = 0;
  /// Removes what Prepare and Run have made, as far as they got.
  virtual Result<void> CleanUp() = 0;

 protected:
  Store& store() { return ground_.store; }
  const Context& context() const { return ground_.context; }
  bool is_unsafe() const { return ground_.is_unsafe; }
  int workers() const { return ground_.workers; }
  const std::string& run() const { return ground_.run; }
  void PassTime(Duration time) {
    if (ground_.pass_time) ground_.pass_time(time);
  }

  /// Of calls that a worker makes.
  Context As(const Racer& racer) const {
    Context context = ground_.context;
    context.actor = racer.name();
    return context;
  }
  /// In pairs, the workers 2p and 2p + 1 meet.
  static int PairOf(const Racer& racer) { return racer.index() / 2; }
  static bool IsFirst(const Racer& racer) { return racer.index() % 2 == 0; }
  int pairs() const { return ground_.workers / 2; }

  /// A record together with what its data say.
  struct Seen {
    Record record;
    base::Json data;
  };
  /// Errors: not_found (somebody else has removed it), those of the store.
  Result<Seen> Look(const Context& context, const RecordKey& key);
  Result<void> Declare(const std::string& kind, const std::string& rules);
  Result<void> Make(const RecordKey& key, const std::string& data,
                    std::optional<RecordKey> parent = {});
  /// Removes a record; one that is not there is as good.
  Result<void> Remove(const RecordKey& key);

 private:
  RaceGround ground_;
};

using MakeRaceScenario = std::unique_ptr<RaceScenario> (*)(RaceGround ground);

std::unique_ptr<RaceScenario> MakeLostUpdate(RaceGround ground);
std::unique_ptr<RaceScenario> MakeDoubleClaim(RaceGround ground);
std::unique_ptr<RaceScenario> MakeOverflow(RaceGround ground);
std::unique_ptr<RaceScenario> MakeOverdraft(RaceGround ground);
std::unique_ptr<RaceScenario> MakeDoubleBooking(RaceGround ground);
std::unique_ptr<RaceScenario> MakeToctou(RaceGround ground);
std::unique_ptr<RaceScenario> MakeStaleHolder(RaceGround ground);
std::unique_ptr<RaceScenario> MakeDeadlock(RaceGround ground);

}  // namespace holdfast::lab
