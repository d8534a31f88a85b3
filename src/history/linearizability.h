// Whether what many clients saw of one thing can be told as a story in which one call happens after
// the other, each at some instant between its being made and its being answered (Wing and Gong,
// with the memory of Lowe).
//
// What the thing would answer to one client at a time is said by a model:
//
//   struct Model {
//     using State = ...;   // ordered by <
//     using Input = ...;
//     using Output = ...;
//     State Initial() const;
//     // The state after the call, if the answer is right in this one. No answer: nobody knows what
//     // was answered, and the call was done.
//     std::optional<State> Step(const State&, const Input&, const Output* answer) const;
//     // Whether a call with this answer leaves every state as it is: a read, a refusal.
//     static bool ChangesNothing(const Input&, const Output& answer);
//     // When it was done, as far as the answer tells: a guess, by which calls are tried.
//     static std::optional<std::int64_t> WhenDone(const Input&, const Output& answer);
//   };
//
// What changes nothing is told as soon as it is right, and no other place is tried for it: if there
// is a story at all, there is one in which it comes so early, because nothing that follows is
// another for it. The others are tried in the order in which they say that they were done. Both
// only keep the search short: which calls overlap is all that the verdict goes by.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace holdfast::history {

enum class CallEnd : std::uint8_t {
  kAnswered,  ///< it was done, and this was its answer (which may be a refusal)
  kFailed,    ///< it was not done
  kUnknown,   ///< it may have been done, or be done at any time later
};

/// One call of a history. Times are of one clock, which never says the same twice.
template <typename Model>
struct Call {
  int client = 0;
  typename Model::Input input{};
  CallEnd end = CallEnd::kAnswered;
  typename Model::Output answer{};
  std::int64_t invoked = 0;
  std::int64_t returned = 0;
};

enum class Linearizable : std::uint8_t {
  kYes,
  kNo,
  kGaveUp,  ///< not known: the search became too long
};

struct Verdict {
  Linearizable is = Linearizable::kYes;
  std::int64_t steps = 0;
  /// The calls in the longest story that was found, by their places in the history.
  std::vector<std::size_t> story{};
  /// If it is not linearizable: the first call that no story gets past.
  std::optional<std::size_t> stuck_at{};
};

/// Searches for one history. Threads: one.
template <typename Model>
class StorySearch {
 public:
  using State = typename Model::State;
  using History = std::vector<Call<Model>>;

  StorySearch(const Model& model, const History& history, std::int64_t most_steps)
      : model_(model), history_(history), most_steps_(most_steps) {
    MakeEvents();
  }

  Verdict Run() {
    Verdict verdict;
    State state = model_.Initial();
    std::vector<std::uint64_t> done((history_.size() + 63) / 64);
    std::set<std::pair<std::vector<std::uint64_t>, State>> visited;
    std::vector<std::pair<std::size_t, State>> taken;  // the event, and the state before it
    std::int64_t tried = kNone;  // the rank of the last that was tried from here
    while (open_ > 0) {
      if (++verdict.steps > most_steps_) return End(verdict, Linearizable::kGaveUp, taken);
      if (const std::size_t event = NextCall(tried); event != kHead) {
        const std::size_t call = events_[event].call;
        tried = events_[event].rank;
        std::optional<State> after = StepOf(state, call);
        if (!after) continue;
        Flip(done, call);
        if (visited.emplace(done, *after).second) {
          taken.emplace_back(event, std::exchange(state, *std::move(after)));
          Lift(event);
          NoteLongest(verdict, taken);
          tried = kNone;
        } else {
          Flip(done, call);
        }
        continue;
      }
      // The answer of a call that nothing explains yet, or the end: what was taken last was wrong,
      // unless it changed nothing.
      NoteStuck(verdict, taken.size());
      std::size_t event = kHead;
      do {
        if (taken.empty()) return End(verdict, Linearizable::kNo, taken);
        event = taken.back().first;
        state = std::move(taken.back().second);
        taken.pop_back();
        Flip(done, events_[event].call);
        Unlift(event);
      } while (events_[event].is_idle);
      tried = events_[event].rank;
    }
    return End(verdict, Linearizable::kYes, taken);
  }

 private:
  static constexpr std::size_t kHead = 0;
  static constexpr std::int64_t kNone = -1;

  struct Event {
    std::int64_t at = 0;
    std::size_t call = 0;
    bool is_call = false;
    // Of a call.
    std::size_t answer = kHead;  // the event in which it ends, if it does
    bool is_idle = false;        // it changes nothing
    std::int64_t rank = kNone;   // those with lower ones are tried before
  };

  /// All calls and answers in the order of their times, as a ring that begins behind kHead. What
  /// was not done is no part of it, and a call with an unknown end never ends.
  void MakeEvents() {
    events_.emplace_back();
    for (std::size_t i = 0; i < history_.size(); ++i) {
      const Call<Model>& call = history_[i];
      if (call.end == CallEnd::kFailed) continue;
      events_.push_back({.at = call.invoked, .call = i, .is_call = true});
      if (call.end == CallEnd::kUnknown) continue;
      events_.push_back({.at = call.returned, .call = i, .is_call = false});
      ++open_;
    }
    std::stable_sort(events_.begin() + 1, events_.end(),
                     [](const Event& a, const Event& b) { return a.at < b.at; });
    std::vector<std::size_t> begins(history_.size());
    for (std::size_t i = 0; i < events_.size(); ++i) {
      next_.push_back((i + 1) % events_.size());
      before_.push_back((i + events_.size() - 1) % events_.size());
      if (i == kHead) continue;
      if (events_[i].is_call) {
        begins[events_[i].call] = i;
      } else {
        events_[begins[events_[i].call]].answer = i;
      }
    }
    Rank();
  }

  /// What changes nothing is first. Who does not say when it was done is behind who was called
  /// before it.
  void Rank() {
    std::vector<std::pair<std::int64_t, std::size_t>> order;
    std::int64_t last = std::numeric_limits<std::int64_t>::min();
    for (std::size_t i = kHead + 1; i < events_.size(); ++i) {
      if (!events_[i].is_call) continue;
      const Call<Model>& call = history_[events_[i].call];
      if (call.end == CallEnd::kAnswered) {
        events_[i].is_idle = Model::ChangesNothing(call.input, call.answer);
        last = Model::WhenDone(call.input, call.answer).value_or(last);
      }
      order.emplace_back(last, i);
    }
    std::ranges::stable_sort(order, [this](const auto& a, const auto& b) {
      return std::pair(!events_[a.second].is_idle, a.first) <
             std::pair(!events_[b.second].is_idle, b.first);
    });
    std::int64_t rank = 0;
    for (const auto& [when, event] : order) events_[event].rank = rank++;
  }

  /// Of the calls that may be next in the story, the first behind this rank. kHead: none.
  std::size_t NextCall(std::int64_t rank) const {
    std::size_t found = kHead;
    for (std::size_t i = next_[kHead]; i != kHead && events_[i].is_call; i = next_[i]) {
      if (events_[i].rank <= rank) continue;
      if (found == kHead || events_[i].rank < events_[found].rank) found = i;
    }
    return found;
  }

  std::optional<State> StepOf(const State& state, std::size_t call) const {
    const Call<Model>& made = history_[call];
    return model_.Step(state, made.input, made.end == CallEnd::kUnknown ? nullptr : &made.answer);
  }

  static void Flip(std::vector<std::uint64_t>& done, std::size_t call) {
    done[call / 64] ^= std::uint64_t{1} << call % 64;
  }

  void Lift(std::size_t event) {
    Remove(event);
    if (events_[event].answer == kHead) return;
    Remove(events_[event].answer);
    --open_;
  }
  void Unlift(std::size_t event) {
    if (events_[event].answer != kHead) {
      PutBack(events_[event].answer);
      ++open_;
    }
    PutBack(event);
  }
  void Remove(std::size_t event) {
    next_[before_[event]] = next_[event];
    before_[next_[event]] = before_[event];
  }
  void PutBack(std::size_t event) {
    next_[before_[event]] = event;
    before_[next_[event]] = event;
  }

  void NoteLongest(Verdict& verdict, const std::vector<std::pair<std::size_t, State>>& taken) {
    if (taken.size() <= verdict.story.size()) return;
    verdict.story.clear();
    for (const auto& [event, before] : taken) verdict.story.push_back(events_[event].call);
  }
  void NoteStuck(Verdict& verdict, std::size_t length) {
    if (length < stuck_length_ && verdict.stuck_at) return;
    std::size_t answer = next_[kHead];
    while (answer != kHead && events_[answer].is_call) answer = next_[answer];
    if (answer == kHead) return;
    stuck_length_ = length;
    verdict.stuck_at = events_[answer].call;
  }
  Verdict End(Verdict& verdict, Linearizable is,
              const std::vector<std::pair<std::size_t, State>>& taken) {
    verdict.is = is;
    if (is == Linearizable::kYes) {
      verdict.stuck_at.reset();
      verdict.story.clear();
      for (const auto& [event, before] : taken) verdict.story.push_back(events_[event].call);
    }
    return std::move(verdict);
  }

  const Model& model_;
  const History& history_;
  const std::int64_t most_steps_;
  std::vector<Event> events_;
  std::vector<std::size_t> next_, before_;
  std::int64_t open_ = 0;  // answers that are still to be explained
  std::size_t stuck_length_ = 0;
};

/// Whether the history is linearizable. Beyond `most_steps` the answer is kGaveUp, which a test
/// must take for a failure.
template <typename Model>
Verdict CheckLinearizable(const Model& model, const std::vector<Call<Model>>& history,
                          std::int64_t most_steps = 2'000'000) {
  return StorySearch<Model>(model, history, most_steps).Run();
}

}  // namespace holdfast::history
