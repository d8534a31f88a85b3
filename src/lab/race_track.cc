#include "lab/race_track.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

namespace holdfast::lab {
namespace {

// The others go on as soon as they cannot be joined, so that only a call that hangs takes so long.
constexpr std::chrono::seconds kPatience{10};

bool Overlap(const RaceTry& a, const RaceTry& b) {
  return a.steps.front().at <= b.steps.back().at && b.steps.front().at <= a.steps.back().at;
}

RacePicture Draw(const RaceTry& a, const RaceTry& b) {
  const bool a_first = a.steps.front().at <= b.steps.front().at;
  RacePicture picture{.left = a_first ? a.worker : b.worker,
                      .right = a_first ? b.worker : a.worker,
                      .steps = a.steps};
  picture.steps.insert(picture.steps.end(), b.steps.begin(), b.steps.end());
  std::ranges::stable_sort(picture.steps, {}, &RaceStep::at);
  return picture;
}

}  // namespace

Duration RaceTrack::Now() const {
  return std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - start_);
}

void RaceTrack::Signal(const std::string& what) {
  base::MutexLock lock(mutex_);
  ++happened_[what];
  LetThemGo();
}

void RaceTrack::Await(const std::string& what, int count) {
  const SteadyTime limit = std::chrono::steady_clock::now() + kPatience;
  Waiter waiter{.what = what, .count = count};
  base::MutexLock lock(mutex_);
  waiting_.push_back(&waiter);
  LetThemGo();
  while (!waiter.goes_on && changed_.WaitUntil(mutex_, limit)) {
  }
  std::erase(waiting_, &waiter);
}

void RaceTrack::Leave() {
  base::MutexLock lock(mutex_);
  --running_;
  LetThemGo();
}

void RaceTrack::LetThemGo() {
  bool any = false;
  for (Waiter* waiter : waiting_) {
    waiter->goes_on = waiter->goes_on || happened_[waiter->what] >= waiter->count;
    any = any || waiter->goes_on;
  }
  // Nobody is left who could do what they wait for.
  if (!any && static_cast<int>(waiting_.size()) == running_) {
    for (Waiter* waiter : waiting_) any = waiter->goes_on = true;
  }
  if (any) changed_.NotifyAll();
}

RaceTry& Racer::Current() {
  if (!std::exchange(is_under_way_, true)) tries_.push_back({.worker = index_ + 1});
  return tries_.back();
}

void Racer::Saw(std::string state, std::string what) {
  Does(std::move(what));
  Current().saw = std::move(state);
}

void Racer::Think() {
  Does("thinks");
  const std::string saw = Current().saw;
  track_.Signal(saw);
  track_.Await(saw, 2);
}

void Racer::Does(std::string what) {
  RaceTry& current = Current();
  current.steps.push_back({.at = track_.Now(), .worker = index_ + 1, .what = std::move(what)});
}

void Racer::Ends(bool is_done, std::string what) {
  Does(std::move(what));
  Current().is_done = is_done;
  is_under_way_ = false;
}

Result<bool> Racer::EndsWith(const std::optional<Error>& error, ErrorCode refusal) {
  if (error && error->code != refusal) return std::unexpected(*error);
  Ends(!error, error ? fmt::format("is refused: {}", InfoOf(refusal).name) : "is told: done");
  return !error;
}

std::optional<RacePicture> Picture(const std::vector<Racer>& racers, bool both_done) {
  std::map<std::string, std::vector<const RaceTry*>> met;  // by what they saw
  for (const Racer& racer : racers) {
    for (const RaceTry& one : racer.tries()) {
      if (!one.saw.empty()) met[one.saw].push_back(&one);
    }
  }
  const RaceTry* first = nullptr;
  const RaceTry* second = nullptr;
  auto is_earlier = [](const RaceTry& a, const RaceTry& b) {
    return a.steps.front().at < b.steps.front().at;
  };
  for (auto& [saw, tries] : met) {
    std::ranges::sort(tries,
                      [&](const RaceTry* a, const RaceTry* b) { return is_earlier(*a, *b); });
    for (auto a = tries.begin(); a != tries.end(); ++a) {
      auto b = std::find_if(std::next(a), tries.end(), [&](const RaceTry* other) {
        return other->worker != (*a)->worker && Overlap(**a, *other) &&
               (both_done ? other->is_done && (*a)->is_done : other->is_done != (*a)->is_done);
      });
      if (b == tries.end()) continue;
      if (first == nullptr || is_earlier(**a, *first)) std::tie(first, second) = std::tie(*a, *b);
      break;
    }
  }
  if (first == nullptr) return std::nullopt;
  return Draw(*first, *second);
}

}  // namespace holdfast::lab
