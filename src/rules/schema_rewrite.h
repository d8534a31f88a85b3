// From a schema document to schemas that can be checked one by one.
//
// Every schema in the document becomes a part of its own, and where it was stands a call of that
// part: no references are left, whatever goes in circles is seen, and what the library that checks
// does inexactly (numbers, patterns, equality) is taken out of its hands.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "rules/pattern.h"

namespace holdfast::rules {

/// The members of a rewritten schema that are not JSON Schema: {"call": 3}, {"checks": 0},
/// {"members": 2}.
inline constexpr const char* kCallMember = "call";
inline constexpr const char* kChecksMember = "checks";
inline constexpr const char* kMembersMember = "members";

enum class Applies { kToNumbers, kToStrings, kToArrays, kToAll };

/// One keyword, checked here: whether a value obeys, and what to say if it does not.
struct SchemaCheck {
  Applies applies;
  std::function<bool(const base::Json&)> holds;
  std::string complaint;
  std::size_t cost = 1;  // steps for each 16 bytes of the value
};

/// patternProperties, with what additionalProperties then says of the members that match none. The
/// numbers are those of parts; nothing: any value will do.
struct MemberPatterns {
  std::vector<std::pair<Pattern, std::optional<std::size_t>>> patterns;
  std::set<std::string> named;  // by properties
  std::optional<std::size_t> others;
};

/// One schema of the document.
struct SchemaPart {
  const base::Json* source;
  std::string pointer;
  base::Json rewritten = base::Json::object();
  std::vector<SchemaCheck> checks;
  std::optional<MemberPatterns> members;
  std::vector<std::size_t> same_value;  // parts that the very same value is checked against
};

struct RewrittenSchema {
  std::deque<SchemaPart> parts;  // the first is the root
};

/// Reads draft 7. `document` must outlive the answer. Errors: invalid_argument; the message begins
/// with the place (`where` and the pointer within the document), which is the detail's rule as
/// well.
Result<RewrittenSchema> RewriteSchema(const base::Json& document, std::string_view where);

}  // namespace holdfast::rules
