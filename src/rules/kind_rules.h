// The rules of a kind, read from their document once and used for every write (docs/rules.md).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "holdfast/record.h"
#include "rules/schema.h"

namespace holdfast::rules {

using base::Json;
using base::JsonPointer;

/// A status that ends by itself.
struct Expiry {
  Duration after{};
  std::string to;
  Json data = Json::object();  // a merge patch
};

struct StateRules {
  std::vector<std::string> to;
  std::vector<JsonPointer> require;  // of a transition into this state
  std::optional<Expiry> expire;
};

/// A number, or where in the data it stands.
using Limit = std::variant<Json, JsonPointer>;

struct Bound {
  JsonPointer path;
  std::optional<Limit> min;
  std::optional<Limit> max;
};

/// The parts of a unique key; nothing stands for the parent.
struct UniqueRule {
  std::string name;  // "/user,parent": for messages, and under which the keys are kept
  std::vector<std::optional<JsonPointer>> parts;
};

struct ParentRule {
  std::string kind;
  bool required = false;
  bool touch = false;
  std::vector<std::pair<JsonPointer, Json>> when;
};

struct CapacityRule {
  JsonPointer limit;  // in the parent's data
  std::vector<std::string> statuses;
};

struct HistoryRule {
  JsonPointer path;
  std::size_t cap = 100;
  std::vector<std::string> on;  // operations and actions
};

struct Parameter {
  std::optional<Schema> schema;
  std::optional<Json> otherwise;  // the default; nothing: it must be given
};

/// Which records a step changes.
enum class Subject { kSelf, kParent, kChildren };

struct Step {
  std::string operation;  // "record.merge", ...
  Subject on = Subject::kSelf;
  std::vector<std::string> children;  // statuses
  std::string child_kind;             // empty: any
  Json condition;                     // as it was written, found to be well-formed; or null
  Json fields;                        // the rest, references included
};

struct Action {
  std::string name;
  std::vector<std::string> from;  // empty: any status
  Json require;                   // a condition without which it is refused; or null
  std::map<std::string, Parameter, std::less<>> params;
  std::vector<Step> steps;
  int references = 0;  // to parameters and old values
};

/// Immutable once compiled, and shared.
struct KindRules {
  std::string kind;
  std::int64_t version = 0;
  std::vector<std::string> initial;
  std::map<std::string, StateRules, std::less<>> states;  // empty: the kind has none
  bool ignores_same = false;
  std::optional<Schema> schema;
  std::vector<Bound> bounds;
  std::vector<UniqueRule> unique;
  std::optional<ParentRule> parent;
  std::vector<CapacityRule> capacity;
  std::optional<HistoryRule> history;
  std::vector<JsonPointer> audit;
  std::map<std::string, Action, std::less<>> actions;

  bool HasStates() const { return !states.empty(); }
  const StateRules* FindState(std::string_view name) const {
    auto found = states.find(name);
    return found == states.end() ? nullptr : &found->second;
  }
};

using KindRulesPtr = std::shared_ptr<const KindRules>;

/// Reads the rules document of `kind`. Errors: invalid_argument; the message begins with the
/// pointer to the offending place, the rule in the detail is that pointer.
Result<KindRulesPtr> CompileRules(std::string_view kind, std::int64_t version,
                                  std::string_view document);

/// Data against schema and bounds: nothing, or what is violated, by rule ("bounds /balance") and in
/// words. `reserved` is what pending transfers hold of each path.
struct Violation {
  std::string rule;
  std::string message;
};
std::optional<Violation> CheckData(const KindRules& rules, const Json& data,
                                   const std::map<std::string, std::int64_t>& reserved,
                                   Effort& effort);
/// With a budget for this check alone.
inline std::optional<Violation> CheckData(const KindRules& rules, const Json& data,
                                          const std::map<std::string, std::int64_t>& reserved) {
  Effort effort;
  return CheckData(rules, data, reserved, effort);
}

}  // namespace holdfast::rules
