#include "rules/action_rules.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "base/utf8.h"
#include "rules/limits.h"
#include "rules/names.h"

namespace holdfast::rules {
namespace {

constexpr std::size_t kSteps = 100;
constexpr int kActionReferences = 64;
constexpr int kConditionDepth = 16;

/// The fields of a step, besides do, on and if: which there must be, and which there may be.
struct StepFields {
  std::string_view operation;
  std::vector<std::string_view> required;
  std::vector<std::string_view> optional;
};

const std::vector<StepFields>& AllStepFields() {
  static const std::vector<StepFields> fields = {
      {"record.merge", {"data"}, {}},
      {"record.increment", {"path"}, {"by"}},
      {"record.append", {"path", "value"}, {"max_length"}},
      {"record.transition", {"to"}, {"data"}},
      {"job.enqueue", {"kind"}, {"queue", "payload", "priority", "delay", "max_attempts"}},
  };
  return fields;
}

bool IsReference(const Json& value) {
  return value.is_object() && value.size() == 1 && value.begin().key().starts_with('$');
}

/// References anywhere in a field.
Result<void> CheckReferences(Action& action, const Place& place) {
  const Json& value = place.value();
  if (value.is_array()) {
    HF_ASSIGN_OR_RETURN(std::vector<Place> elements, place.Elements());
    for (const Place& element : elements) HF_RETURN_IF_ERROR(CheckReferences(action, element));
    return {};
  }
  if (!value.is_object()) return {};
  HF_ASSIGN_OR_RETURN(auto members, place.Members());
  if (!IsReference(value)) {
    for (const auto& [name, member] : members) {
      // Left alone it would be taken for data, which nobody means who writes it.
      if (name.starts_with('$')) return member.Complain("must stand alone, as a reference does");
      HF_RETURN_IF_ERROR(CheckReferences(action, member));
    }
    return {};
  }
  const auto& [name, member] = members.front();
  if (name == "$param" || name == "$old") {
    // Each may stand for as much as a record holds.
    if (++action.references > kActionReferences) {
      return place.Complain(
          fmt::format("is beyond the {} references that an action may make", kActionReferences));
    }
  }
  if (name == "$param") {
    HF_ASSIGN_OR_RETURN(std::string parameter, member.Text());
    if (action.params.contains(parameter)) return {};
    return member.Complain(fmt::format("'{}' is not a parameter of {}",
                                       base::CutUtf8(parameter, kNameBytes), action.name));
  }
  if (name == "$old") {
    HF_RETURN_IF_ERROR(member.Path());
    return {};
  }
  if (name == "$negative") {
    if (member.value().is_number()) return {};
    if (!IsReference(member.value())) return member.Complain("must be a number or a reference");
    return CheckReferences(action, member);
  }
  bool is_flag = name == "$actor" || name == "$now" || name == "$id" || name == "$status";
  if (is_flag && member.value() == true) return {};
  return place.Complain(
      R"(is no reference: {"$param": name}, {"$old": path}, {"$negative": number}, )"
      R"({"$actor": true}, {"$now": true}, {"$id": true} or {"$status": true})");
}

Result<void> CheckCondition(const KindRules& rules, Action& action, const Place& place,
                            int depth = 0) {
  HF_RETURN_IF_ERROR(place.ExpectObject());
  if (depth > kConditionDepth) return place.Complain("is nested too deep");
  if (auto at = place.Find("at")) {
    HF_RETURN_IF_ERROR(place.ExpectMembers({"at", "equals"}));
    HF_RETURN_IF_ERROR(at->Path());
    HF_ASSIGN_OR_RETURN(Place equals, place.Get("equals"));
    return CheckReferences(action, equals);
  }
  HF_RETURN_IF_ERROR(place.ExpectMembers({"status", "children", "not", "and", "or"}));
  if (place.value().size() != 1) {
    return place.Complain("must have one of status, children, at, not, and, or");
  }
  if (auto status = place.Find("status")) {
    HF_RETURN_IF_ERROR(ReadStates(rules, *status));
    return {};
  }
  if (auto children = place.Find("children")) {
    HF_RETURN_IF_ERROR(children->ExpectMembers({"any", "all"}));
    if (children->value().size() != 1) return children->Complain("must have any or all");
    HF_ASSIGN_OR_RETURN(auto members, children->Members());
    HF_RETURN_IF_ERROR(members.front().second.Names());
    return {};
  }
  if (auto negated = place.Find("not")) return CheckCondition(rules, action, *negated, depth + 1);
  HF_ASSIGN_OR_RETURN(auto members, place.Members());
  HF_ASSIGN_OR_RETURN(std::vector<Place> parts, members.front().second.Elements());
  if (parts.empty()) return place.Complain("must not be empty");
  for (const Place& part : parts) {
    HF_RETURN_IF_ERROR(CheckCondition(rules, action, part, depth + 1));
  }
  return {};
}

Result<void> ReadSubject(const KindRules& rules, const Place& place, Step& step) {
  if (place.value() == "self") return {};
  if (place.value() == "parent") {
    if (!rules.parent) return place.Complain("the kind has no parent: declare it");
    step.on = Subject::kParent;
    return {};
  }
  if (!place.value().is_object()) {
    return place.Complain(R"(must be "self", "parent" or {"children": [statuses]})");
  }
  HF_RETURN_IF_ERROR(place.ExpectMembers({"children", "kind"}));
  HF_ASSIGN_OR_RETURN(Place children, place.Get("children"));
  HF_ASSIGN_OR_RETURN(step.children, children.Names());
  if (auto kind = place.Find("kind")) {
    HF_ASSIGN_OR_RETURN(step.child_kind, kind->Name());
  }
  step.on = Subject::kChildren;
  return {};
}

/// A name of a job's world, written out: what is enqueued where must be known beforehand.
Result<void> CheckJobName(const Place& place) {
  HF_ASSIGN_OR_RETURN(std::string name, place.Text());
  if (auto valid = CheckName("name", name); !valid) return place.Complain(valid.error().message);
  return {};
}

Result<void> CheckJobFields(const Place& place) {
  HF_ASSIGN_OR_RETURN(Place kind, place.Get("kind"));
  HF_RETURN_IF_ERROR(CheckJobName(kind));
  if (auto queue = place.Find("queue")) HF_RETURN_IF_ERROR(CheckJobName(*queue));
  if (auto priority = place.Find("priority")) {
    HF_RETURN_IF_ERROR(priority->Integer(0, kLowestPriority));
  }
  if (auto delay = place.Find("delay")) HF_RETURN_IF_ERROR(delay->Length(true));
  if (auto most = place.Find("max_attempts")) HF_RETURN_IF_ERROR(most->Integer(1, kAttempts));
  return {};
}

/// Fields whose form can be judged without knowing what references stand for.
Result<void> CheckFields(const KindRules& rules, const Step& step, const Place& place) {
  if (step.operation == "job.enqueue") return CheckJobFields(place);
  if (auto path = place.Find("path")) HF_RETURN_IF_ERROR(path->Path());
  if (auto most = place.Find("max_length")) HF_RETURN_IF_ERROR(most->Integer(1, kArrayLength));
  if (auto data = place.Find("data"); data && !IsReference(data->value())) {
    HF_RETURN_IF_ERROR(data->ExpectObject());
  }
  if (auto by = place.Find("by"); by && !by->value().is_number() && !IsReference(by->value())) {
    return by->Complain("must be a number");
  }
  auto to = place.Find("to");
  if (!to || IsReference(to->value())) return {};
  HF_ASSIGN_OR_RETURN(std::string status, to->Name());
  if (step.on == Subject::kSelf && rules.FindState(status) == nullptr) {
    return to->Complain(fmt::format("'{}' is not a declared state", status));
  }
  return {};
}

Result<Step> CompileStep(const KindRules& rules, Action& action, const Place& place) {
  HF_RETURN_IF_ERROR(place.ExpectObject());
  HF_ASSIGN_OR_RETURN(Place what, place.Get("do"));
  Step step;
  HF_ASSIGN_OR_RETURN(step.operation, what.Text());
  auto known = std::ranges::find(AllStepFields(), step.operation, &StepFields::operation);
  if (known == AllStepFields().end()) {
    return what.Complain(fmt::format("'{}' is not an operation of a step",
                                     base::CutUtf8(step.operation, kNameBytes)));
  }
  auto on = place.Find("on");
  if (on && step.operation == "job.enqueue") return on->Complain("is no field of job.enqueue");
  if (on) HF_RETURN_IF_ERROR(ReadSubject(rules, *on, step));
  if (auto condition = place.Find("if")) {
    HF_RETURN_IF_ERROR(CheckCondition(rules, action, *condition));
    step.condition = condition->value();
  }
  for (std::string_view name : known->required) HF_RETURN_IF_ERROR(place.Get(name));
  HF_ASSIGN_OR_RETURN(auto members, place.Members());
  step.fields = Json::object();
  for (const auto& [name, member] : members) {
    if (name == "do" || name == "on" || name == "if") continue;
    bool is_known = std::ranges::find(known->required, name) != known->required.end() ||
                    std::ranges::find(known->optional, name) != known->optional.end();
    if (!is_known) return member.Complain(fmt::format("is no field of {}", step.operation));
    HF_RETURN_IF_ERROR(CheckReferences(action, member));
    step.fields[name] = member.value();
  }
  HF_RETURN_IF_ERROR(CheckFields(rules, step, place));
  return step;
}

Result<Parameter> CompileParameter(const Place& place) {
  HF_RETURN_IF_ERROR(place.ExpectMembers({"description", "schema", "default"}));
  if (auto description = place.Find("description")) HF_RETURN_IF_ERROR(description->Text());
  Parameter parameter;
  if (auto schema = place.Find("schema")) {
    HF_ASSIGN_OR_RETURN(parameter.schema, Schema::Compile(schema->value(), schema->pointer()));
  }
  auto otherwise = place.Find("default");
  if (!otherwise) return parameter;
  parameter.otherwise = otherwise->value();
  if (!parameter.schema) return parameter;
  if (auto complaint = parameter.schema->Check(*parameter.otherwise)) {
    return otherwise->Complain(*complaint);
  }
  return parameter;
}

}  // namespace

Result<std::vector<std::string>> ReadStates(const KindRules& rules, const Place& place) {
  HF_ASSIGN_OR_RETURN(std::vector<std::string> names, place.Names());
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (rules.FindState(names[i]) != nullptr) continue;
    return ComplainAt(fmt::format("{}/{}", place.pointer(), i),
                      fmt::format("'{}' is not a declared state", names[i]));
  }
  return names;
}

Result<Action> CompileAction(const KindRules& rules, const std::string& name, const Place& place) {
  HF_RETURN_IF_ERROR(place.ExpectMembers({"description", "from", "params", "require", "steps"}));
  if (auto description = place.Find("description")) HF_RETURN_IF_ERROR(description->Text());
  Action action{.name = name};
  if (auto from = place.Find("from")) {
    HF_ASSIGN_OR_RETURN(action.from, ReadStates(rules, *from));
  }
  if (auto params = place.Find("params")) {
    HF_ASSIGN_OR_RETURN(auto members, params->Members());
    for (const auto& [parameter, where] : members) {
      if (auto valid = CheckRecordName("name", parameter); !valid) {
        return where.Complain(valid.error().message);
      }
      HF_ASSIGN_OR_RETURN(Parameter compiled, CompileParameter(where));
      action.params.emplace(parameter, std::move(compiled));
    }
  }
  if (auto require = place.Find("require")) {
    HF_RETURN_IF_ERROR(CheckCondition(rules, action, *require));
    action.require = require->value();
  }
  HF_ASSIGN_OR_RETURN(Place steps, place.Get("steps"));
  HF_ASSIGN_OR_RETURN(std::vector<Place> elements, steps.Elements());
  if (elements.size() > kSteps) {
    return steps.Complain(fmt::format("has more than {} steps", kSteps));
  }
  for (const Place& element : elements) {
    HF_ASSIGN_OR_RETURN(Step step, CompileStep(rules, action, element));
    action.steps.push_back(std::move(step));
  }
  return action;
}

}  // namespace holdfast::rules
