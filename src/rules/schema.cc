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

struct CompiledPart {
  std::unique_ptr<valijson::Schema> schema;
  std::size_t cost = 0;  // steps, of what the part lists: names, calls
};
using Schemas = std::vector<CompiledPart>;

constexpr int kDepth = 256;  // schemas within schemas, while one value is checked
constexpr std::size_t kErrorsGathered = 50;

// Steps: of one schema that one value is held against, and of one value that is copied for checks.
constexpr std::size_t kCallSteps = 8;
constexpr std::size_t kValueSteps = 4;
constexpr std::size_t kListedBytes = 16;  // of a schema, for a step
constexpr std::size_t kComplaintBytes = 300;

/// One check of one value.
struct Checking {
  Effort& effort;
  int depth = 0;
};

/// valijson tells a constraint nothing but the value: this is the check on the thread.
thread_local Checking* checking = nullptr;

/// Thrown out of valijson's recursion.
struct Stopped {
  const char* why;
};

void Spend(std::size_t steps) {
  checking->effort.Spend(steps);
  if (checking->effort.IsSpent()) throw Stopped{"takes too long to check against the schema"};
}

Json ToJson(const Adapter& value) {
  Spend(kValueSteps);
  if (value.isNull()) return nullptr;
  if (value.isBool()) return value.getBool();
  if (value.isInteger()) return value.getInteger();
  if (value.isDouble()) return value.getDouble();
  if (value.isString()) {
    std::string text = value.getString();
    Spend(text.size() / 64);
    return text;
  }
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
    std::size_t weight = 0;
    bool all_hold = true;
    for (const SchemaCheck& check : *checks_) {
      if (!IsSubject(check.applies, target)) continue;
      if (!value) value = ToJson(target);
      if (weight == 0) weight = WeightOf(*value);
      Spend(1 + weight * check.cost / 16);
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

std::size_t SizeOf(const Adapter& value) {
  if (value.isArray()) return value.getArraySize();
  return value.isObject() ? value.getObjectSize() : 0;
}

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
    Spend(kCallSteps + schemas_[number_].cost + SizeOf(target) / 4);
    if (checking->depth == kDepth) throw Stopped{"needs schemas nested too deep to be checked"};
    std::size_t errors = results == nullptr ? 0 : results->numErrors();
    if (errors > kErrorsGathered) throw Stopped{"violates the schema in many places"};
    ++checking->depth;
    const auto* json = dynamic_cast<const NlohmannJsonAdapter*>(&target);
    // The other kind of value is the name of a member, for propertyNames.
    bool holds = json != nullptr
                     ? Visit(*schemas_[number_].schema, *json, context, results)
                     : Visit(*schemas_[number_].schema,
                             dynamic_cast<const StdStringAdapter&>(target), context, results);
    --checking->depth;
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

/// {"members": n} in a rewritten schema: the members whose names match patterns, and all others.
class MembersConstraint final : public valijson::constraints::PolyConstraint {
 public:
  MembersConstraint(const Schemas& schemas, std::shared_ptr<const MemberPatterns> members)
      : schemas_(schemas), members_(std::move(members)) {}

  bool validate(const Adapter& target, const Context& context,
                ValidationResults* results) const override {
    const auto* json = dynamic_cast<const NlohmannJsonAdapter*>(&target);
    if (json == nullptr || !json->isObject()) return true;
    bool all_hold = true;
    for (const auto& [name, member] : json->getObject()) {
      all_hold &= Holds(name, member, context, results);
      if (!all_hold && results == nullptr) return false;
    }
    return all_hold;
  }

 private:
  bool Holds(const std::string& name, const NlohmannJsonAdapter& member, const Context& context,
             ValidationResults* results) const {
    if (name.size() > kMatchedBytes) {
      if (results != nullptr) {
        results->pushError(context, fmt::format("a name is too long for patternProperties (at most "
                                                "{} bytes)",
                                                kMatchedBytes));
      }
      return false;
    }
    Context below = context;
    below.push_back("[" + name + "]");
    auto obeys = [&](std::optional<std::size_t> part) {
      return !part || CallConstraint(schemas_, *part).validate(member, below, results);
    };
    bool is_known = members_->named.contains(name);
    bool all_hold = true;
    for (const auto& [pattern, part] : members_->patterns) {
      Spend(1 + (name.size() + 8) * pattern.cost() / 16);
      if (!pattern.Finds(name)) continue;
      is_known = true;
      all_hold &= obeys(part);
    }
    return (is_known || obeys(members_->others)) && all_hold;
  }

  Constraint* cloneInto(void* place) const override { return new (place) MembersConstraint(*this); }
  std::size_t sizeOf() const override { return sizeof(*this); }

  const Schemas& schemas_;
  std::shared_ptr<const MemberPatterns> members_;
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

  bool Holds(const Json& data, ValidationResults* results, Effort& effort) const {
    Checking mine{effort};
    checking = &mine;
    static const Context kRoot = {"<root>"};
    return CallConstraint(schemas, 0).validate(NlohmannJsonAdapter(data), kRoot, results);
  }
};

Result<Schema> Schema::Compile(const Json& document, std::string_view where) {
  HF_ASSIGN_OR_RETURN(RewrittenSchema rewritten, RewriteSchema(document, where));
  auto compiled = std::make_shared<Compiled>();
  std::vector<std::shared_ptr<const std::vector<SchemaCheck>>> checks;
  std::vector<std::shared_ptr<const MemberPatterns>> members;
  valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);
  parser.addConstraintBuilder(kCallMember, new Builder([&](std::size_t number) {
                                return new CallConstraint(compiled->schemas, number);
                              }));
  parser.addConstraintBuilder(kChecksMember, new Builder([&](std::size_t number) {
                                return new ChecksConstraint(checks[number]);
                              }));
  parser.addConstraintBuilder(kMembersMember, new Builder([&](std::size_t number) {
                                return new MembersConstraint(compiled->schemas, members[number]);
                              }));
  try {
    for (SchemaPart& part : rewritten.parts) {
      if (!part.checks.empty()) part.rewritten[kChecksMember] = checks.size();
      checks.push_back(std::make_shared<std::vector<SchemaCheck>>(std::move(part.checks)));
      if (part.members) {
        part.rewritten[kMembersMember] = members.size();
        members.push_back(std::make_shared<MemberPatterns>(*std::move(part.members)));
      }
      compiled->schemas.push_back(
          {std::make_unique<valijson::Schema>(), WeightOf(part.rewritten) / kListedBytes});
      parser.populateSchema(NlohmannJsonAdapter(part.rewritten), *compiled->schemas.back().schema);
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

std::optional<std::string> Schema::Check(const Json& data, Effort& effort) const {
  ValidationResults results;
  try {
    // Most data is as it should be: only for what is not, the reasons are gathered.
    if (compiled_->Holds(data, nullptr, effort)) return std::nullopt;
    compiled_->Holds(data, &results, effort);
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
