// The actions of a kind, read from its rules. Internal to src/rules.
#pragma once

#include "rules/kind_rules.h"
#include "rules/place.h"

namespace holdfast::rules {

/// `place` is the member of "actions" named `name`; `rules` has its states by now.
/// Errors: invalid_argument; the message begins with the place.
Result<Action> CompileAction(const KindRules& rules, const std::string& name, const Place& place);

/// Names that must be declared states of the kind. Errors: invalid_argument.
Result<std::vector<std::string>> ReadStates(const KindRules& rules, const Place& place);

}  // namespace holdfast::rules
