#include "history/lock_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

namespace holdfast::history {
namespace {

bool Fits(const LockModel::State& state, const LockModel::Input& input) {
  if (state.holders.empty()) return true;
  // Whoever has it exclusively is alone.
  const bool is_exclusive = state.holders.front().mode == LockMode::kExclusive;
  if (is_exclusive || input.mode == LockMode::kExclusive) return false;
  return input.limit == 0 || static_cast<std::int64_t>(state.holders.size()) < input.limit;
}

void Insert(LockModel::State& state, LockModel::Holder holder) {
  state.holders.insert(std::ranges::upper_bound(state.holders, holder), holder);
}

/// Takes the lease out; false if it is not there.
bool Erase(LockModel::State& state, Token token) {
  auto found = std::ranges::find(state.holders, token, &LockModel::Holder::token);
  if (found == state.holders.end()) return false;
  state.holders.erase(found);
  return true;
}

std::string_view NameOf(LockModel::Operation operation) {
  switch (operation) {
    case LockModel::Operation::kAcquire:
      return "acquire";
    case LockModel::Operation::kRenew:
      return "renew";
    case LockModel::Operation::kRelease:
      return "release";
    default:
      return "break";
  }
}

std::string DescribeEnd(const LockCall& call) {
  if (call.end == CallEnd::kFailed) return "failed";
  if (call.end == CallEnd::kUnknown) return "unknown";
  if (!call.answer.ok) return "refused";
  if (call.answer.tokens.empty()) return "ok";
  return fmt::format("ok, {}", fmt::join(call.answer.tokens, " "));
}

bool IsGrant(const LockCall& call) {
  return call.input.operation == LockModel::Operation::kAcquire && call.end == CallEnd::kAnswered &&
         call.answer.ok;
}

/// From the answer of the acquire until something that may have ended the lease was sent.
struct Holding {
  const LockCall* grant = nullptr;
  std::int64_t until = std::numeric_limits<std::int64_t>::max();
};

std::optional<std::string> FindTokenOutOfOrder(const std::vector<Holding>& by_answer,
                                               const std::vector<Holding>& by_request) {
  const LockCall* highest = nullptr;
  auto answered = by_answer.begin();
  for (const Holding& holding : by_request) {
    for (; answered->grant->returned < holding.grant->invoked; ++answered) {
      const LockCall* grant = answered->grant;
      if (highest == nullptr || grant->answer.tokens > highest->answer.tokens) highest = grant;
    }
    if (highest == nullptr || holding.grant->answer.tokens > highest->answer.tokens) continue;
    return fmt::format("the token does not rise from [{}] to [{}]", Describe(*highest),
                       Describe(*holding.grant));
  }
  return std::nullopt;
}

std::optional<std::string> FindTooMany(const std::vector<Holding>& by_answer) {
  std::multimap<std::int64_t, const LockCall*> held;  // by when the lease may have ended
  for (const Holding& holding : by_answer) {
    const LockCall& grant = *holding.grant;
    if (holding.until <= grant.returned) continue;  // broken before its owner knew of it
    held.erase(held.begin(), held.upper_bound(grant.returned));
    const LockCall* other = held.empty() ? nullptr : held.begin()->second;
    const bool is_alone = grant.input.mode == LockMode::kExclusive ||
                          (other != nullptr && other->input.mode == LockMode::kExclusive);
    const bool is_full =
        grant.input.limit != 0 && static_cast<std::int64_t>(held.size()) >= grant.input.limit;
    if (other != nullptr && (is_alone || is_full)) {
      return fmt::format("[{}] is granted beside [{}]", Describe(grant), Describe(*other));
    }
    held.emplace(holding.until, &grant);
  }
  return std::nullopt;
}

}  // namespace

std::optional<LockModel::State> LockModel::Acquire(const State& state, const Input& input,
                                                   const Output* answer) const {
  State after = state;
  if (answer != nullptr && !answer->ok) {
    const bool may_be_kept_back = has_both_modes && !state.holders.empty();
    if (Fits(state, input) && !may_be_kept_back) return std::nullopt;
    return after;
  }
  if (!Fits(state, input)) return std::nullopt;
  if (answer == nullptr) {
    Insert(after, {.token = 0, .mode = input.mode});
    return after;
  }
  if (answer->tokens.size() != 1 || answer->tokens[0] <= state.issued) return std::nullopt;
  after.issued = answer->tokens[0];
  Insert(after, {.token = after.issued, .mode = input.mode});
  return after;
}

std::optional<LockModel::State> LockModel::Break(const State& state, const Output* answer) {
  State after = state;
  if (answer == nullptr) {
    after.holders.clear();
    return after;
  }
  if (answer->ok == state.holders.empty()) return std::nullopt;
  // Every holder is told, those as well whose acquire was never answered.
  if (answer->tokens.size() != state.holders.size()) return std::nullopt;
  for (Token token : answer->tokens) {
    after.issued = std::max(after.issued, token);
    if (!Erase(after, token) && !Erase(after, 0)) return std::nullopt;
  }
  return after;
}

std::optional<LockModel::State> LockModel::Step(const State& state, const Input& input,
                                                const Output* answer) const {
  if (input.operation == Operation::kAcquire) return Acquire(state, input, answer);
  if (input.operation == Operation::kBreak) return Break(state, answer);
  State after = state;
  const bool is_held = Erase(after, input.token);
  if (answer != nullptr && answer->ok != is_held) return std::nullopt;
  if (input.operation == Operation::kRenew) return state;
  return after;
}

std::string Describe(const LockCall& call) {
  std::string text = fmt::format("client {}: {}", call.client, NameOf(call.input.operation));
  if (call.input.operation == LockModel::Operation::kAcquire) {
    text += fmt::format(" {}", holdfast::NameOf(call.input.mode));
    if (call.input.limit != 0) text += fmt::format(" of {}", call.input.limit);
    if (call.input.waits) text += ", waiting";
  }
  if (call.input.token != 0) text += fmt::format(" {}", call.input.token);
  return text + fmt::format(", {} to {}: {}", call.invoked, call.returned, DescribeEnd(call));
}

std::string Describe(const Verdict& verdict, const LockHistory& history) {
  constexpr std::size_t kShown = 12;
  std::string text = verdict.is == Linearizable::kYes  ? "linearizable"
                     : verdict.is == Linearizable::kNo ? "NOT linearizable"
                                                       : "not known: the search became too long";
  text += fmt::format(" ({} of {} calls explained, {} steps)\n", verdict.story.size(),
                      history.size(), verdict.steps);
  const std::size_t begin = verdict.story.size() - std::min(verdict.story.size(), kShown);
  for (std::size_t i = begin; i < verdict.story.size(); ++i) {
    text += "  " + Describe(history[verdict.story[i]]) + "\n";
  }
  if (verdict.stuck_at) text += "does not fit in: " + Describe(history[*verdict.stuck_at]) + "\n";
  return text;
}

std::optional<std::string> FindLockViolation(const LockHistory& history) {
  std::vector<Holding> by_answer;
  std::map<Token, std::int64_t> ended;  // when what may have ended it was first sent
  std::int64_t broken = std::numeric_limits<std::int64_t>::max();
  for (const LockCall& call : history) {
    if (IsGrant(call)) by_answer.push_back({.grant = &call});
    if (call.end == CallEnd::kFailed) continue;
    if (call.input.operation == LockModel::Operation::kRelease) {
      auto [known, is_new] = ended.emplace(call.input.token, call.invoked);
      if (!is_new) known->second = std::min(known->second, call.invoked);
    }
    if (call.input.operation != LockModel::Operation::kBreak) continue;
    if (call.end == CallEnd::kUnknown) broken = std::min(broken, call.invoked);
    for (Token token : call.answer.tokens) {
      auto [known, is_new] = ended.emplace(token, call.invoked);
      if (!is_new) known->second = std::min(known->second, call.invoked);
    }
  }
  for (Holding& holding : by_answer) {
    auto end = ended.find(holding.grant->answer.tokens.front());
    holding.until = std::min(broken, end == ended.end() ? holding.until : end->second);
  }
  std::ranges::sort(by_answer, {}, [](const Holding& h) { return h.grant->returned; });
  std::vector<Holding> by_request = by_answer;
  std::ranges::sort(by_request, {}, [](const Holding& h) { return h.grant->invoked; });
  if (auto wrong = FindTokenOutOfOrder(by_answer, by_request)) return wrong;
  return FindTooMany(by_answer);
}

}  // namespace holdfast::history
