#include "rules/schema.h"

// Without it, valijson ends the process instead of throwing.
#define VALIJSON_USE_EXCEPTIONS 1

#include <fmt/format.h>

#include <algorithm>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/constraint_builder.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>
#include <vector>

#include "base/result.h"
#include "base/utf8.h"
#include "rules/place.h"
#include "rules/schema_rewrite.h"

namespace holdfast::rules {
namespace {

using base::Json;
using valijson::ValidationResults;
using valijson::adapters::Adapter;
using valijson::adapters::NlohmannJsonAdapter;
using valijson::adapters::StdStringAdapter;
using Context = std::vector<std::string>;
using Schemas = std::vector<std::unique_ptr<valijson::Schema>>;

// While checking one value: schemas within schemas, and all in all.
constexpr int kDepth = 256;
constexpr std::int64_t kCalls = 1'000'000;

constexpr std::size_t kErrorsGathered = 50;
constexpr std::size_t kNameMatched = 256;  // bytes of a member's name, by patternProperties
constexpr std::size_t kComplaintBytes = 300;

struct Effort {
  std::int64_t calls = 0;
  int depth = 0;
};

/// valijson tells a constraint nothing but the value: this is the check on the thread.
thread_local Effort* effort = nullptr;

/// Thrown out of valijson's recursion.
struct Stopped {
  const char* why;
};

Json ToJson(const Adapter& value) {
  if (++effort->calls > kCalls) throw Stopped{"takes too long to check against the schema"};
  if (value.isNull()) return nullptr;
  if (value.isBool()) return value.getBool();
  if (value.isInteger()) return value.getInteger();
  if (value.isDouble()) return value.getDouble();
  if (value.isString()) return value.getString();
  if (value.isArray()) {
    Json out = Json::array();
    value.applyToArray([&out](const Adapter& element) {
      out.push_back(ToJson(element));
      return true;
    });
    return out;
  }
  Json out = Json::object();
  value.applyToObject([&out](const std::string& name, const Adapter& member) {
    out[name] = ToJson(member);
    return true;
  });
  return out;
}

bool IsSubject(Applies applies, const Adapter& value) {
  switch (applies) {
    case Applies::kToNumbers:
      return value.isNumber();
    case Applies::kToStrings:
      return value.isString();
    case Applies::kToArrays:
      return value.isArray();
    case Applies::kToAll:
      break;
  }
  return true;
}

/// {"checks": n} in a rewritten schema: its part's own checks.
class ChecksConstraint final : public valijson::constraints::PolyConstraint {
 public:
  explicit ChecksConstraint(std::shared_ptr<const std::vector<SchemaCheck>> checks)
      : checks_(std::move(checks)) {}

  bool validate(const Adapter& target, const Context& context,
                ValidationResults* results) const override {
    std::optional<Json> value;
    bool all_hold = true;
    for (const SchemaCheck& check : *checks_) {
      if (!IsSubject(check.applies, target)) continue;
      if (!value) value = ToJson(target);
      if (check.holds(*value)) continue;
      all_hold = false;
      if (results == nullptr) break;
      results->pushError(context, check.complaint);
    }
    return all_hold;
  }

 private:
  Constraint* cloneInto(void* place) const override { return new (place) ChecksConstraint(*this); }
  std::size_t sizeOf() const override { return sizeof(*this); }

  std::shared_ptr<const std::vector<SchemaCheck>> checks_;
};

template <typename AdapterType>
bool Visit(const valijson::Schema& schema, const AdapterType& target, const Context& context,
           ValidationResults* results) {
  std::unordered_map<std::string, std::regex> unused;
  valijson::ValidationVisitor<AdapterType> visitor(target, results ? context : Context(), true,
                                                   results, unused);
  return visitor.validateSchema(schema);
}

/// {"call": n} in a rewritten schema: the value must obey that part as well.
class CallConstraint final : public valijson::constraints::PolyConstraint {
 public:
  CallConstraint(const Schemas& schemas, std::size_t number) : schemas_(schemas), number_(number) {}

  bool validate(const Adapter& target, const Context& context,
                ValidationResults* results) const override {
    if (++effort->calls > kCalls) throw Stopped{"takes too long to check against the schema"};
    if (effort->depth == kDepth) throw Stopped{"needs schemas nested too deep to be checked"};
    std::size_t errors = results == nullptr ? 0 : results->numErrors();
    if (errors > kErrorsGathered) throw Stopped{"violates the schema in many places"};
    ++effort->depth;
    const auto* json = dynamic_cast<const NlohmannJsonAdapter*>(&target);
    // The other kind of value is the name of a member, for propertyNames.
    bool holds = json != nullptr
                     ? Visit(*schemas_[number_], *json, context, results)
                     : Visit(*schemas_[number_], dynamic_cast<const StdStringAdapter&>(target),
                             context, results);
    --effort->depth;
    if (!holds && results != nullptr && results->numErrors() == errors) {
      results->pushError(context, "Value is not permitted.");
    }
    return holds;
  }

 private:
  Constraint* cloneInto(void* place) const override { return new (place) CallConstraint(*this); }
  std::size_t sizeOf() const override { return sizeof(*this); }

  const Schemas& schemas_;
  const std::size_t number_;
};

/// Makes constraints of the members that rewriting put in.
class Builder final : public valijson::ConstraintBuilder {
 public:
  using Make = std::function<valijson::constraints::Constraint*(std::size_t)>;
  explicit Builder(Make make) : make_(std::move(make)) {}

  valijson::constraints::Constraint* make(const Adapter& value) const override {
    return make_(static_cast<std::size_t>(value.getInteger()));
  }

 private:
  const Make make_;
};

/// patternProperties searches names by backtracking, on a stack that grows with the name.
bool HasLongName(const Json& value) {
  if (value.is_object()) {
    for (const auto& [name, member] : value.items()) {
      if (name.size() > kNameMatched) return true;
    }
  }
  return value.is_structured() && std::ranges::any_of(value, HasLongName);
}

/// "/a/0: what is wrong", in one line.
std::string Describe(const ValidationResults::Error& error) {
  std::string pointer;
  for (std::size_t i = 1; i < error.context.size(); ++i) {
    const std::string& step = error.context[i];  // "[name]"
    pointer = PointerBelow(pointer, std::string_view(step).substr(1, step.size() - 2));
  }
  std::string text = pointer.empty() ? error.description : pointer + ": " + error.description;
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c == 0x7F; }, '?');
  return base::CutUtf8(text, kComplaintBytes);
}

}  // namespace

struct Schema::Compiled {
  Schemas schemas;  // the first is the root; constraints refer to this vector
  bool has_name_patterns = false;

  bool Holds(const Json& data, ValidationResults* results) const {
    Effort mine;
    effort = &mine;
    static const Context kRoot = {"<root>"};
    return CallConstraint(schemas, 0).validate(NlohmannJsonAdapter(data), kRoot, results);
  }
};

Result<Schema> Schema::Compile(const Json& document, std::string_view where) {
  HF_ASSIGN_OR_RETURN(RewrittenSchema rewritten, RewriteSchema(document, where));
  auto compiled = std::make_shared<Compiled>();
  compiled->has_name_patterns = rewritten.has_name_patterns;
  std::vector<std::shared_ptr<const std::vector<SchemaCheck>>> checks;
  valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);
  parser.addConstraintBuilder(kCallMember, new Builder([&](std::size_t number) {
                                return new CallConstraint(compiled->schemas, number);
                              }));
  parser.addConstraintBuilder(kChecksMember, new Builder([&](std::size_t number) {
                                return new ChecksConstraint(checks[number]);
                              }));
  try {
    for (SchemaPart& part : rewritten.parts) {
      if (!part.checks.empty()) part.rewritten[kChecksMember] = checks.size();
      checks.push_back(std::make_shared<std::vector<SchemaCheck>>(std::move(part.checks)));
      compiled->schemas.push_back(std::make_unique<valijson::Schema>());
      parser.populateSchema(NlohmannJsonAdapter(part.rewritten), *compiled->schemas.back());
    }
  } catch (const std::runtime_error& error) {
    return ComplainAt(std::string(where), fmt::format("is no schema: {}", error.what()));
  } catch (const std::logic_error& error) {
    return ComplainAt(std::string(where), fmt::format("is no schema: {}", error.what()));
  }
  Schema schema;
  schema.compiled_ = std::move(compiled);
  return schema;
}

std::optional<std::string> Schema::Check(const Json& data) const {
  if (compiled_->has_name_patterns && HasLongName(data)) {
    return fmt::format("a name is too long for patternProperties (at most {} bytes)", kNameMatched);
  }
  ValidationResults results;
  try {
    // Most data is as it should be: only for what is not, the reasons are gathered.
    if (compiled_->Holds(data, nullptr)) return std::nullopt;
    compiled_->Holds(data, &results);
  } catch (const Stopped& stopped) {
    if (results.numErrors() == 0) return stopped.why;
  } catch (const std::runtime_error& error) {
    return fmt::format("cannot be checked: {}", base::CutUtf8(error.what(), 100));
  }
  ValidationResults::Error first;
  if (!results.popError(first)) return "violates the schema";
  return Describe(first);
}

}  // namespace holdfast::rules
