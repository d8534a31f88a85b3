#include "rules/kind_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/json_values.h"
#include "base/result.h"
#include "base/utf8.h"
#include "rules/action_rules.h"
#include "rules/limits.h"
#include "rules/names.h"
#include "rules/place.h"

namespace holdfast::rules {
namespace {

constexpr std::size_t kStates = 256;
constexpr std::size_t kActions = 100;
constexpr std::size_t kAuditPaths = 32;
constexpr std::size_t kUniqueRules = 16;
constexpr std::size_t kUniqueParts = 8;
constexpr std::int64_t kHistoryEntries = 10'000;

constexpr std::string_view kHistoryOperations[] = {
    "record.create",    "record.replace", "record.merge",     "record.patch",
    "record.increment", "record.append",  "record.transition"};

/// Whether the merge patch changes what is at `path`, or above it.
bool Touches(const Json& patch, const JsonPointer& path) {
  const Json* json = &patch;
  for (const std::string& token : path.tokens()) {
    if (!json->is_object()) return true;
    auto found = json->find(token);
    if (found == json->end()) return false;
    json = &*found;
  }
  return true;
}

/// Reads the document member by member into `rules`.
class Compiler {
 public:
  Compiler(std::string_view kind, std::int64_t version) {
    rules_.kind = kind;
    rules_.version = version;
  }

  Result<KindRulesPtr> Compile(const Place& root) {
    HF_RETURN_IF_ERROR(
        root.ExpectMembers({"description", "states", "schema", "bounds", "unique", "parent",
                            "capacity", "history", "audit", "actions", "example"}));
    using Read = Result<void> (Compiler::*)(const Place&);
    // States first: much of the rest names them. The example last: it is held against the rest.
    constexpr std::pair<std::string_view, Read> kMembers[] = {
        {"description", &Compiler::ReadDescription}, {"states", &Compiler::ReadAllStates},
        {"schema", &Compiler::ReadSchema},           {"bounds", &Compiler::ReadBounds},
        {"parent", &Compiler::ReadParent},           {"unique", &Compiler::ReadUnique},
        {"capacity", &Compiler::ReadCapacity},       {"audit", &Compiler::ReadAudit},
        {"actions", &Compiler::ReadActions},         {"history", &Compiler::ReadHistory},
        {"example", &Compiler::CheckExample}};
    for (const auto& [name, read] : kMembers) {
      if (auto place = root.Find(name)) HF_RETURN_IF_ERROR((this->*read)(*place));
    }
    HF_RETURN_IF_ERROR(CheckExpiries());
    return std::make_shared<const KindRules>(std::move(rules_));
  }

 private:
  Result<void> ReadDescription(const Place& place) {
    HF_RETURN_IF_ERROR(place.Text());
    return {};
  }

  Result<void> ReadAllStates(const Place& place) {
    HF_RETURN_IF_ERROR(
        place.ExpectMembers({"initial", "transitions", "final", "require", "same", "expire"}));
    HF_ASSIGN_OR_RETURN(Place initial, place.Get("initial"));
    std::vector<std::string> finals;
    if (auto final_states = place.Find("final")) {
      HF_ASSIGN_OR_RETURN(finals, final_states->Names());
    }
    HF_RETURN_IF_ERROR(ReadTransitions(place, finals));
    if (initial.value().is_string()) {
      HF_ASSIGN_OR_RETURN(std::string name, initial.Name());
      if (rules_.FindState(name) == nullptr) {
        return initial.Complain(fmt::format("'{}' is not a declared state", name));
      }
      rules_.initial.push_back(std::move(name));
    } else {
      HF_ASSIGN_OR_RETURN(rules_.initial, ReadStates(rules_, initial));
    }
    HF_RETURN_IF_ERROR(CheckReachable(place, finals));
    if (auto require = place.Find("require")) HF_RETURN_IF_ERROR(ReadRequire(*require));
    if (auto expire = place.Find("expire")) HF_RETURN_IF_ERROR(ReadExpire(*expire));
    auto same = place.Find("same");
    if (!same) return {};
    if (same->value() != "refuse" && same->value() != "ignore") {
      return same->Complain(R"(must be "refuse" or "ignore")");
    }
    rules_.ignores_same = same->value() == "ignore";
    return {};
  }

  /// A state is declared by its transitions, or by being final.
  Result<void> ReadTransitions(const Place& states, const std::vector<std::string>& finals) {
    for (const std::string& name : finals) rules_.states[name];
    std::vector<std::pair<std::string, Place>> members;
    if (auto place = states.Find("transitions")) {
      HF_ASSIGN_OR_RETURN(members, place->Members());
    }
    for (const auto& [name, targets] : members) {
      if (auto valid = CheckRecordName("state", name); !valid) {
        return targets.Complain(valid.error().message);
      }
      if (rules_.states.contains(name)) {
        return targets.Complain("is final: nothing leads away from it");
      }
      HF_ASSIGN_OR_RETURN(rules_.states[name].to, targets.Names());
    }
    if (rules_.states.empty()) return states.Complain("has neither transitions nor final states");
    if (rules_.states.size() > kStates) {
      return states.Complain(fmt::format("declares more than {} states", kStates));
    }
    for (const auto& [name, targets] : members) HF_RETURN_IF_ERROR(ReadStates(rules_, targets));
    return {};
  }

  Result<void> CheckReachable(const Place& place, const std::vector<std::string>& finals) {
    std::set<std::string> reached(rules_.initial.begin(), rules_.initial.end());
    std::vector<std::string> next(rules_.initial);
    while (!next.empty()) {
      std::string state = std::move(next.back());
      next.pop_back();
      for (const std::string& to : rules_.FindState(state)->to) {
        if (reached.insert(to).second) next.push_back(to);
      }
    }
    for (const auto& [name, state] : rules_.states) {
      if (reached.contains(name)) continue;
      auto at = std::ranges::find(finals, name);
      return ComplainAt(at == finals.end()
                            ? PointerBelow(place.pointer() + "/transitions", name)
                            : fmt::format("{}/final/{}", place.pointer(), at - finals.begin()),
                        fmt::format("the state '{}' cannot be reached", name));
    }
    return {};
  }

  Result<StateRules*> FindState(const std::string& name, const Place& place) {
    auto found = rules_.states.find(name);
    if (found != rules_.states.end()) return &found->second;
    return place.Complain(
        fmt::format("'{}' is not a declared state", base::CutUtf8(name, kNameBytes)));
  }

  Result<void> ReadRequire(const Place& place) {
    HF_ASSIGN_OR_RETURN(auto members, place.Members());
    for (const auto& [name, paths] : members) {
      HF_ASSIGN_OR_RETURN(StateRules * state, FindState(name, paths));
      HF_ASSIGN_OR_RETURN(std::vector<Place> elements, paths.Elements());
      for (const Place& element : elements) {
        HF_ASSIGN_OR_RETURN(JsonPointer path, element.Path());
        state->require.push_back(std::move(path));
      }
    }
    return {};
  }

  Result<void> ReadExpire(const Place& place) {
    HF_ASSIGN_OR_RETURN(auto members, place.Members());
    for (const auto& [name, member] : members) {
      HF_ASSIGN_OR_RETURN(StateRules * state, FindState(name, member));
      HF_RETURN_IF_ERROR(member.ExpectMembers({"after", "to", "data"}));
      HF_ASSIGN_OR_RETURN(Place after, member.Get("after"));
      HF_ASSIGN_OR_RETURN(Place to, member.Get("to"));
      Expiry expiry;
      HF_ASSIGN_OR_RETURN(expiry.after, after.Length());
      HF_ASSIGN_OR_RETURN(expiry.to, to.Text());
      if (std::ranges::find(state->to, expiry.to) == state->to.end()) {
        return to.Complain(fmt::format("'{}' is not a declared transition of {}",
                                       base::CutUtf8(expiry.to, kNameBytes), name));
      }
      if (auto data = member.Find("data")) {
        HF_RETURN_IF_ERROR(data->ExpectObject());
        expiry.data = data->value();
      }
      // Nobody is there to bring along what is missing: such a status would never end.
      for (const JsonPointer& path : rules_.FindState(expiry.to)->require) {
        const Json* value = path.Find(expiry.data);
        if (value != nullptr && !value->is_null() && *value != "") continue;
        return member.Complain(
            fmt::format("data must have {}, which {} requires", path.text(), expiry.to));
      }
      state->expire = std::move(expiry);
    }
    return {};
  }

  Result<void> ReadSchema(const Place& place) {
    HF_ASSIGN_OR_RETURN(rules_.schema, Schema::Compile(place.value(), place.pointer()));
    return {};
  }

  static Result<Limit> ReadLimit(const Place& place) {
    if (place.value().is_number()) return Limit(place.value());
    if (!place.value().is_string()) return place.Complain("must be a number or a path");
    HF_ASSIGN_OR_RETURN(JsonPointer path, place.Path());
    return Limit(std::move(path));
  }

  Result<void> ReadBounds(const Place& place) {
    HF_ASSIGN_OR_RETURN(auto members, place.Members());
    for (const auto& [path, member] : members) {
      Bound bound;
      HF_ASSIGN_OR_RETURN(bound.path, Place(Json(path), member.pointer()).Path());
      HF_RETURN_IF_ERROR(member.ExpectMembers({"min", "max"}));
      if (auto min = member.Find("min")) {
        HF_ASSIGN_OR_RETURN(bound.min, ReadLimit(*min));
      }
      if (auto max = member.Find("max")) {
        HF_ASSIGN_OR_RETURN(bound.max, ReadLimit(*max));
      }
      const Json* least = bound.min ? std::get_if<Json>(&*bound.min) : nullptr;
      const Json* most = bound.max ? std::get_if<Json>(&*bound.max) : nullptr;
      if (least != nullptr && most != nullptr && base::CompareNumbers(*least, *most) > 0) {
        return member.Complain("min is more than max");
      }
      rules_.bounds.push_back(std::move(bound));
    }
    return {};
  }

  Result<void> ReadUnique(const Place& place) {
    HF_ASSIGN_OR_RETURN(std::vector<Place> elements, place.Elements());
    if (elements.size() > kUniqueRules) {
      return place.Complain(fmt::format("has more than {} keys", kUniqueRules));
    }
    for (const Place& element : elements) {
      UniqueRule rule;
      std::vector<Place> parts{element};
      if (!element.value().is_string()) {
        HF_ASSIGN_OR_RETURN(parts, element.Elements());
      }
      if (parts.empty()) return element.Complain("must not be empty");
      if (parts.size() > kUniqueParts) {
        return element.Complain(fmt::format("has more than {} parts", kUniqueParts));
      }
      for (const Place& part : parts) {
        if (!rule.name.empty()) rule.name += ",";
        HF_ASSIGN_OR_RETURN(std::string text, part.Text());
        rule.name += text;
        auto is_same = [&](const auto& other) {
          return (other ? other->text() : "parent") == text;
        };
        if (std::ranges::any_of(rule.parts, is_same)) return part.Complain("is there twice");
        if (text == "parent") {
          if (!rules_.parent) return part.Complain("the kind has no parent: declare it");
          rule.parts.emplace_back();
          continue;
        }
        HF_ASSIGN_OR_RETURN(JsonPointer path, part.Path());
        rule.parts.emplace_back(std::move(path));
      }
      if (rule.name.size() > kUniqueRuleBytes) {
        return element.Complain(
            fmt::format("has {} bytes of paths (at most {})", rule.name.size(), kUniqueRuleBytes));
      }
      if (std::ranges::find(rules_.unique, rule.name, &UniqueRule::name) != rules_.unique.end()) {
        return element.Complain("is there twice");
      }
      rules_.unique.push_back(std::move(rule));
    }
    return {};
  }

  Result<void> ReadParent(const Place& place) {
    HF_RETURN_IF_ERROR(place.ExpectMembers({"kind", "required", "when", "touch"}));
    ParentRule parent;
    HF_ASSIGN_OR_RETURN(Place kind, place.Get("kind"));
    HF_ASSIGN_OR_RETURN(parent.kind, kind.Name());
    if (auto required = place.Find("required")) {
      HF_ASSIGN_OR_RETURN(parent.required, required->Bool());
    }
    if (auto touch = place.Find("touch")) {
      HF_ASSIGN_OR_RETURN(parent.touch, touch->Bool());
    }
    if (auto when = place.Find("when")) {
      HF_ASSIGN_OR_RETURN(auto members, when->Members());
      for (const auto& [path, value] : members) {
        HF_ASSIGN_OR_RETURN(JsonPointer pointer, Place(Json(path), value.pointer()).Path());
        parent.when.emplace_back(std::move(pointer), value.value());
      }
    }
    rules_.parent = std::move(parent);
    return {};
  }

  Result<void> ReadCapacity(const Place& place) {
    if (!rules_.parent) return place.Complain("is a limit of the parent: declare parent as well");
    HF_ASSIGN_OR_RETURN(std::vector<Place> elements, place.Elements());
    for (const Place& element : elements) {
      HF_RETURN_IF_ERROR(element.ExpectMembers({"limit", "statuses"}));
      HF_ASSIGN_OR_RETURN(Place limit, element.Get("limit"));
      CapacityRule rule;
      HF_ASSIGN_OR_RETURN(rule.limit, limit.Path());
      auto statuses = element.Find("statuses");
      if (!rules_.HasStates()) {
        if (statuses && statuses->value() != Json::array()) {
          return statuses->Complain("the kind has no states: every child counts");
        }
        rule.statuses.emplace_back();
      } else {
        if (!statuses) return element.Complain("statuses is missing");
        HF_ASSIGN_OR_RETURN(rule.statuses, ReadStates(rules_, *statuses));
      }
      rules_.capacity.push_back(std::move(rule));
    }
    return {};
  }

  /// A status must be able to end whatever the other records hold.
  Result<void> CheckExpiries() const {
    for (const auto& [name, state] : rules_.states) {
      if (!state.expire) continue;
      for (const UniqueRule& rule : rules_.unique) {
        for (const std::optional<JsonPointer>& part : rule.parts) {
          if (!part || !Touches(state.expire->data, *part)) continue;
          return ComplainAt(
              PointerBelow("/states/expire", name) + "/data",
              fmt::format("changes {}, a part of the unique key {}", part->text(), rule.name));
        }
      }
    }
    return {};
  }

  Result<void> ReadAudit(const Place& place) {
    HF_ASSIGN_OR_RETURN(std::vector<Place> elements, place.Elements());
    if (elements.size() > kAuditPaths) {
      return place.Complain(fmt::format("has more than {} paths", kAuditPaths));
    }
    for (const Place& element : elements) {
      HF_ASSIGN_OR_RETURN(JsonPointer path, element.Path());
      if (std::ranges::find(rules_.audit, path.text(), &JsonPointer::text) != rules_.audit.end()) {
        return element.Complain("is there twice");
      }
      rules_.audit.push_back(std::move(path));
    }
    return {};
  }

  Result<void> ReadActions(const Place& place) {
    HF_ASSIGN_OR_RETURN(auto members, place.Members());
    if (members.size() > kActions) {
      return place.Complain(fmt::format("declares more than {} actions", kActions));
    }
    for (const auto& [name, member] : members) {
      if (auto valid = CheckRecordName("action", name); !valid) {
        return member.Complain(valid.error().message);
      }
      HF_ASSIGN_OR_RETURN(Action action, CompileAction(rules_, name, member));
      rules_.actions.emplace(name, std::move(action));
    }
    return {};
  }

  Result<void> ReadHistory(const Place& place) {
    HF_RETURN_IF_ERROR(place.ExpectMembers({"path", "cap", "on"}));
    HistoryRule history;
    HF_ASSIGN_OR_RETURN(Place path, place.Get("path"));
    HF_ASSIGN_OR_RETURN(history.path, path.Path());
    if (auto cap = place.Find("cap")) {
      HF_ASSIGN_OR_RETURN(std::int64_t entries, cap->Integer(1, kHistoryEntries));
      history.cap = static_cast<std::size_t>(entries);
    }
    HF_ASSIGN_OR_RETURN(Place on, place.Get("on"));
    HF_ASSIGN_OR_RETURN(history.on, on.Names());
    for (std::size_t i = 0; i < history.on.size(); ++i) {
      const std::string& name = history.on[i];
      bool is_known = rules_.actions.contains(name) ||
                      std::ranges::find(kHistoryOperations, name) != std::end(kHistoryOperations);
      if (is_known) continue;
      return ComplainAt(fmt::format("{}/{}", on.pointer(), i),
                        fmt::format("'{}' is neither an action of the kind nor one of {}", name,
                                    fmt::join(kHistoryOperations, ", ")));
    }
    rules_.history = std::move(history);
    return {};
  }

  Result<void> CheckExample(const Place& place) {
    HF_RETURN_IF_ERROR(place.ExpectObject());
    if (auto violation = CheckData(rules_, place.value(), {})) {
      return place.Complain(fmt::format("{}: {}", violation->rule, violation->message));
    }
    return {};
  }

  KindRules rules_;
};

/// What is left of a number when so much of it is gone, exactly; or nothing if that is too little
/// to be said in 64 bits.
std::optional<Json> Less(const Json& value, std::int64_t reserved) {
  if (reserved == 0) return value;
  if (!value.is_number_integer()) return value.get<double>() - static_cast<double>(reserved);
  std::int64_t rest = 0;
  if (__builtin_sub_overflow(value.get<std::int64_t>(), reserved, &rest)) return std::nullopt;
  return rest;
}

/// The limit that holds now: null if there is none.
const Json& Resolve(const std::optional<Limit>& limit, const Json& data) {
  static const Json kNone;
  if (!limit) return kNone;
  if (const Json* number = std::get_if<Json>(&*limit)) return *number;
  const Json* value = std::get<JsonPointer>(*limit).Find(data);
  return value == nullptr ? kNone : *value;
}

std::optional<std::string> CheckBound(const Bound& bound, const Json& data, std::int64_t reserved) {
  const Json* value = bound.path.Find(data);
  const std::string& path = bound.path.text();
  if (value == nullptr) {
    if (reserved == 0) return std::nullopt;
    return fmt::format("{} would be gone, and {} of it are reserved", path, reserved);
  }
  if (!value->is_number()) {
    return fmt::format("{} is {}, not a number", path, base::TypeName(*value));
  }
  for (const std::optional<Limit>* limit : {&bound.min, &bound.max}) {
    const Json& resolved = Resolve(*limit, data);
    if (resolved.is_null() || resolved.is_number()) continue;
    return fmt::format("{}, the limit of {}, is {}, not a number",
                       std::get<JsonPointer>(**limit).text(), path, base::TypeName(resolved));
  }
  const Json& least = Resolve(bound.min, data);
  std::optional<Json> rest = Less(*value, reserved);
  if (!least.is_null() && (!rest || base::CompareNumbers(*rest, least) < 0)) {
    std::string pending = reserved == 0 ? "" : fmt::format(" ({} of it reserved)", reserved);
    return fmt::format("{} would be {}{}: at least {}", path, base::ToText(*value), pending,
                       base::ToText(least));
  }
  const Json& most = Resolve(bound.max, data);
  if (!most.is_null() && base::CompareNumbers(*value, most) > 0) {
    return fmt::format("{} would be {}: at most {}", path, base::ToText(*value),
                       base::ToText(most));
  }
  return std::nullopt;
}

}  // namespace

Result<KindRulesPtr> CompileRules(std::string_view kind, std::int64_t version,
                                  std::string_view document) {
  HF_ASSIGN_OR_RETURN(Json json, base::ParseJson("rules", document));
  return Compiler(kind, version).Compile(Place(json, ""));
}

std::optional<Violation> CheckData(const KindRules& rules, const Json& data,
                                   const std::map<std::string, std::int64_t>& reserved,
                                   Effort& effort) {
  effort.Spend(2 * rules.bounds.size());
  if (rules.schema) {
    if (auto complaint = rules.schema->Check(data, effort)) return Violation{"schema", *complaint};
  }
  for (const Bound& bound : rules.bounds) {
    auto held = reserved.find(bound.path.text());
    auto complaint = CheckBound(bound, data, held == reserved.end() ? 0 : held->second);
    if (complaint) return Violation{"bounds " + bound.path.text(), *std::move(complaint)};
  }
  return std::nullopt;
}

}  // namespace holdfast::rules
