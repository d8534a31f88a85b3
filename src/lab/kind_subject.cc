#include "lab/kind_subject.h"

#include <fmt/format.h>

#include <algorithm>

namespace holdfast::lab {
namespace {

/// A value that a schema as simple as most are would allow.
Json ValueOf(const Json& schema) {
  if (!schema.is_object()) return "torture";
  for (const char* given : {"const", "default"}) {
    if (schema.contains(given)) return schema[given];
  }
  if (schema.contains("enum") && !schema["enum"].empty()) return schema["enum"].front();
  Json type = schema.value("type", Json("string"));
  if (type.is_array() && !type.empty()) type = type.front();
  if (type == "integer" || type == "number") return schema.value("minimum", Json(0));
  if (type == "boolean") return true;
  if (type == "array") return Json::array();
  if (type == "null") return nullptr;
  if (type != "object") return "torture";
  Json object = Json::object();
  for (const Json& name : schema.value("required", Json::array())) {
    if (!name.is_string()) continue;
    const auto text = name.get<std::string>();
    object[text] = ValueOf(schema.value("properties", Json::object()).value(text, Json::object()));
  }
  return object;
}

/// Where whatever has bounds begins.
Json StartOf(const rules::Bound& bound) {
  const Json* min = bound.min ? std::get_if<Json>(&*bound.min) : nullptr;
  return min != nullptr ? *min : Json(0);
}

}  // namespace

Result<KindSubject> KindSubject::Read(Store& store, const std::string& kind,
                                      const std::string& example) {
  KindSubject subject;
  HF_ASSIGN_OR_RETURN(std::optional<Kind> stored, store.GetKind({}, kind));
  if (!stored) {
    return Fail(ErrorCode::kNotFound,
                fmt::format("kind {} is not declared: apply its rules first", kind));
  }
  subject.kind_ = *std::move(stored);
  HF_ASSIGN_OR_RETURN(subject.document_, base::ParseJson("rules", subject.kind_.rules));
  HF_ASSIGN_OR_RETURN(subject.rules_,
                      rules::CompileRules(kind, subject.kind_.version, subject.kind_.rules));
  HF_RETURN_IF_ERROR(subject.MakeUpExample(example));
  return subject;
}

Result<void> KindSubject::MakeUpExample(const std::string& text) {
  if (!text.empty()) {
    HF_ASSIGN_OR_RETURN(example_, base::ParseJson("the example", text));
  } else if (document_.contains("example")) {
    example_ = document_["example"];
  } else {
    if (document_.contains("schema")) example_ = ValueOf(document_["schema"]);
    if (!example_.is_object()) example_ = Json::object();
    for (const rules::Bound& bound : rules_->bounds) {
      if (bound.path.Find(example_) == nullptr) bound.path.Put(example_, StartOf(bound));
    }
  }
  std::optional<rules::Violation> violation = rules::CheckData(*rules_, example_, {});
  if (!violation) return {};
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("no record of kind {} could be made up ({}): give one with --example",
                          kind_.name, violation->message));
}

Result<void> KindSubject::Declare(Arena& arena) const {
  // Equal rules change nothing; if somebody has changed them by now, neither does this.
  HF_RETURN_IF_ERROR(arena.client().Do(
      ApplyKind{.name = kind_.name, .rules = kind_.rules, .version = kind_.version}));
  return {};
}

Json KindSubject::DataFor(const Arena& arena, std::string_view number) const {
  Json data = example_;
  for (const rules::UniqueRule& rule : rules_->unique) {
    for (const std::optional<base::JsonPointer>& part : rule.parts) {
      if (!part) continue;
      const Json* there = part->Find(data);
      if (there != nullptr && there->is_number()) {
        const std::size_t hash = std::hash<std::string>()(arena.Own(number));
        part->Put(data, static_cast<std::int64_t>(hash % 1'000'000'000));
      } else {
        part->Put(data, arena.Own(number));
      }
    }
  }
  return data;
}

Result<RecordKey> KindSubject::Make(Arena& arena, std::string_view number, const Json& data,
                                    std::string status) const {
  std::optional<RecordKey> parent;
  if (rules_->parent && rules_->parent->required) {
    HF_ASSIGN_OR_RETURN(parent, MakeParent(arena, fmt::format("parent-{}", number)));
  }
  return arena.Make(kind_.name, number, data, std::move(parent), std::move(status));
}

Result<std::optional<RecordKey>> KindSubject::MakeParent(Arena& arena, std::string_view number,
                                                         const base::JsonPointer* limit_path,
                                                         std::int64_t limit) const {
  if (!rules_->parent) return std::nullopt;
  HF_ASSIGN_OR_RETURN(KindSubject of_parent, Read(arena.store(), rules_->parent->kind, ""));
  HF_RETURN_IF_ERROR(of_parent.Declare(arena));
  Json data = of_parent.DataFor(arena, number);
  for (const auto& [path, value] : rules_->parent->when) path.Put(data, value);
  for (const rules::CapacityRule& rule : rules_->capacity) {
    // Room for all, but where it is to be scarce.
    constexpr int kPlenty = 1'000'000;
    if (limit_path == nullptr || rule.limit.text() != limit_path->text()) {
      rule.limit.Put(data, kPlenty);
    }
  }
  if (limit_path != nullptr) limit_path->Put(data, limit);
  // A kind that is its own parent, and must have one, has no first record.
  if (of_parent.rules().parent && of_parent.rules().parent->required &&
      of_parent.kind() == kind_.name) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("every {} must have a parent of its own kind", kind_.name));
  }
  HF_ASSIGN_OR_RETURN(RecordKey key, of_parent.Make(arena, number, data));
  return std::optional(std::move(key));
}

Json KindSubject::DataInto(const std::string& status) const {
  Json patch = Json::object();
  const rules::StateRules* state = rules_->FindState(status);
  if (state == nullptr) return patch;
  for (const base::JsonPointer& path : state->require) {
    const Json* there = path.Find(example_);
    const bool is_something = there != nullptr && !there->is_null() && *there != "";
    path.Put(patch, is_something ? *there : Json("torture"));
  }
  return patch;
}

}  // namespace holdfast::lab
