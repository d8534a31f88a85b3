#include "history/check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <span>

#include "base/result.h"
#include "history/parts.h"

namespace holdfast::history {
namespace {

constexpr std::size_t kShownObjects = 5;
constexpr std::size_t kShownCalls = 8;

std::string ObjectsText(const Part& part) {
  const std::size_t shown = std::min(part.objects.size(), kShownObjects);
  std::string text = fmt::format("{}", fmt::join(std::span(part.objects).first(shown), ", "));
  if (shown < part.objects.size()) text += fmt::format(" and {} more", part.objects.size() - shown);
  return text;
}

/// The verdict, with the end of the longest story and the call that does not fit in.
std::string Explain(const Part& part, const Verdict& verdict) {
  std::string text = verdict.is == Linearizable::kGaveUp
                         ? "not decided: the search became too long"
                         : "no order of the calls explains what was answered";
  text = fmt::format("{}: {} ({} of {} calls explained, {} steps)", ObjectsText(part), text,
                     verdict.story.size(), part.calls.size(), verdict.steps);
  const std::size_t begin = verdict.story.size() - std::min(verdict.story.size(), kShownCalls);
  for (std::size_t i = begin; i < verdict.story.size(); ++i) {
    text += "\n  " + Describe(*part.calls[verdict.story[i]].input->call);
  }
  if (verdict.stuck_at) {
    text += "\n  does not fit in: " + Describe(*part.calls[*verdict.stuck_at].input->call);
  }
  return text;
}

}  // namespace

Result<Checked> CheckHistory(const History& history, std::int64_t most_steps) {
  HF_ASSIGN_OR_RETURN(StoredKinds kinds, KindsOf(history));
  Checked checked{.calls = static_cast<std::int64_t>(history.calls.size())};
  checked.violations = FindViolations(history);
  const RulesModel model(kinds);
  for (const Part& part : PartsOf(history, kinds)) {
    ++checked.parts;
    if (part.clients > kMostClients || part.calls.size() > kMostCalls) {
      ++checked.too_large;
      continue;
    }
    ++checked.searched;
    const Verdict verdict = CheckLinearizable(model, part.calls, most_steps);
    checked.steps += verdict.steps;
    if (verdict.is == Linearizable::kYes) continue;
    ++(verdict.is == Linearizable::kNo ? checked.illegal : checked.undecided);
    checked.violations.push_back({"linearizable", Explain(part, verdict)});
  }
  return checked;
}

}  // namespace holdfast::history
