// What one lock answers to one client at a time, under leases that do not end by themselves: for
// checking histories of many clients.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "history/linearizability.h"
#include "holdfast/lock.h"

namespace holdfast::history {

struct LockModel {
  struct Holder {
    Token token = 0;  ///< 0: nobody knows it, because the answer to its acquire was lost
    LockMode mode = LockMode::kExclusive;

    auto operator<=>(const Holder&) const = default;
  };
  struct State {
    std::vector<Holder> holders;  ///< by token
    Token issued = 0;             ///< the highest token that was seen

    auto operator<=>(const State&) const = default;
  };

  enum class Operation : std::uint8_t { kAcquire, kRenew, kRelease, kBreak };
  struct Input {
    Operation operation = Operation::kAcquire;
    // Of an acquire.
    std::string owner{};
    LockMode mode = LockMode::kExclusive;
    std::int64_t limit = 0;  ///< 0: none
    bool waits = false;
    // Of a renew or release.
    Token token = 0;
  };
  struct Output {
    bool ok = false;              ///< false: busy, fenced, or not found
    std::vector<Token> tokens{};  ///< of an acquire: one; of a break: those whose leases it ended
  };

  /// Whether requests of both modes are made. If so, somebody in line whom the holders keep back
  /// may keep back somebody else whom they would not.
  bool has_both_modes = false;

  State Initial() const { return {}; }
  std::optional<State> Step(const State& state, const Input& input, const Output* answer) const;
  static bool ChangesNothing(const Input& input, const Output& answer) {
    return !answer.ok || input.operation == Operation::kRenew;
  }
  static std::optional<std::int64_t> WhenDone(const Input&, const Output&) { return {}; }

 private:
  std::optional<State> Acquire(const State& state, const Input& input, const Output* answer) const;
  static std::optional<State> Break(const State& state, const Output* answer);
};

using LockCall = Call<LockModel>;
using LockHistory = std::vector<LockCall>;

/// "client 3: acquire shared, 17 to 20: token 5", for a person who looks for what went wrong.
std::string Describe(const LockCall& call);
/// The verdict, with the end of the longest story and the call that does not fit in.
std::string Describe(const Verdict& verdict, const LockHistory& history);

/// What can be seen in a history of any length, in the time that it takes to sort it: an acquire
/// that was made after another was answered has the higher token, and from the answer of an acquire
/// until its release is sent there is nobody beside it whom its mode and limit forbid. Nothing, or
/// what is wrong.
std::optional<std::string> FindLockViolation(const LockHistory& history);

}  // namespace holdfast::history
