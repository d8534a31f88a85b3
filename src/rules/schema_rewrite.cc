#include "rules/schema_rewrite.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>
#include <unordered_set>

#include "base/json_values.h"
#include "base/result.h"
#include "base/text.h"
#include "base/utf8.h"
#include "rules/kind_rules.h"
#include "rules/pattern.h"
#include "rules/place.h"

namespace holdfast::rules {
namespace {

constexpr std::size_t kParts = 2000;  // schemas in one document
constexpr int kReferences = 64;       // one after the other

constexpr std::size_t kCanonicalCost = 8;  // steps for each 16 bytes that are written anew

// ---- values ------------------------------------------------------------------------------------

std::optional<std::int64_t> WholeNumber(const Json& number) {
  if (number.is_number_integer()) return number.get<std::int64_t>();
  auto real = number.get<double>();
  if (real != std::trunc(real) || real < -0x1p63 || real >= 0x1p63) return std::nullopt;
  return static_cast<std::int64_t>(real);
}

bool IsMultiple(const Json& value, const Json& divisor) {
  // Of whole numbers exactly, however they are written.
  auto dividend = WholeNumber(value);
  auto whole = WholeNumber(divisor);
  if (dividend && whole) return *dividend % *whole == 0;
  // 19.99 is a multiple of 0.01, though neither is exactly what it seems.
  double quotient = value.get<double>() / divisor.get<double>();
  return std::fabs(quotient - std::round(quotient)) <= 1e-9 * std::max(1.0, std::fabs(quotient));
}

std::int64_t CountCharacters(const std::string& text) {
  return std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; });
}

bool AreDistinct(const Json& array) {
  std::unordered_set<std::string> seen;
  return std::ranges::all_of(
      array, [&](const Json& e) { return seen.insert(base::CanonicalText(e)).second; });
}

const std::string& TextOf(const Json& value) {
  return value.get_ref<const std::string&>();
}

/// What is behind the # of a reference, with %41 as A; or nothing if it is no such text.
std::optional<std::string> DecodeFragment(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned value = 0;
    const char* begin = text.data() + i + 1;
    if (i + 2 >= text.size()) return std::nullopt;
    auto [end, error] = std::from_chars(begin, begin + 2, value, 16);
    if (error != std::errc() || end != begin + 2) return std::nullopt;
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

/// Whether a schema inside of another is about the same value, or about a part of it.
enum class About { kSame, kPart };

// ---- the document ------------------------------------------------------------------------------

class Rewriter {
 public:
  Rewriter(const Json& root, std::string_view where) : root_(root), where_(where) {}

  Result<RewrittenSchema> Run() {
    HF_RETURN_IF_ERROR(NumberOf(root_, ""));
    for (std::size_t next = 0; next < out_.parts.size(); ++next) {
      HF_RETURN_IF_ERROR(Rewrite(out_.parts[next]));
    }
    HF_RETURN_IF_ERROR(RefuseEndless());
    return std::move(out_);
  }

 private:
  /// One keyword under way.
  struct Keyword {
    SchemaPart& part;
    std::string name;
    const Json& value;
    std::string pointer;  // of the value
  };
  using Reader = Result<void> (Rewriter::*)(Keyword& keyword);
  static const std::map<std::string_view, Reader> kReaders;

  std::unexpected<Error> Refuse(const std::string& pointer, std::string_view why) const {
    return ComplainAt(where_ + pointer, why);
  }
  static void AddCheck(Keyword& keyword, SchemaCheck check) {
    keyword.part.checks.push_back(std::move(check));
  }

  Result<void> Rewrite(SchemaPart& part) {
    if (part.source->is_boolean()) {
      part.rewritten = *part.source;
      return {};
    }
    for (const auto& [name, value] : part.source->items()) {
      if (name.starts_with("x-")) continue;
      auto reader = kReaders.find(name);
      Keyword keyword{part, name, value, PointerBelow(part.pointer, name)};
      if (reader == kReaders.end()) {
        // Ignored, as the standard has it, a misspelt rule would hold for nobody.
        return Refuse(keyword.pointer, "is no keyword of JSON Schema draft 7");
      }
      HF_RETURN_IF_ERROR((this->*reader->second)(keyword));
    }
    TakeOverMembers(part);
    return {};
  }

  /// Where a chain of references ends.
  Result<const Json*> Follow(const Json& from, std::string& pointer) const {
    const Json* schema = &from;
    for (int i = 0; i < kReferences; ++i) {
      if (!schema->is_object() && !schema->is_boolean()) {
        return Refuse(pointer, fmt::format("must be a schema (an object, true or false), not {}",
                                           base::TypeName(*schema)));
      }
      auto reference = schema->is_object() ? schema->find("$ref") : schema->end();
      if (reference == schema->end()) return schema;
      std::string place = pointer + "/$ref";
      if (!reference->is_string()) return Refuse(place, "must be a string");
      const std::string& text = TextOf(*reference);
      if (!text.starts_with('#')) {
        return Refuse(place, "refers to another document; only '#/…' is possible");
      }
      auto fragment = DecodeFragment(std::string_view(text).substr(1));
      auto target = fragment ? JsonPointer::Parse(*fragment)
                             : Fail(ErrorCode::kInvalidArgument, "bad escape");
      if (!target) return Refuse(place, "must be '#' and a JSON pointer");
      schema = target->Find(root_);
      if (schema == nullptr) return Refuse(place, "points at nothing");
      pointer.clear();
      for (const std::string& token : target->tokens()) pointer = PointerBelow(pointer, token);
    }
    return Refuse(pointer, "refers to itself");
  }

  Result<std::size_t> NumberOf(const Json& schema, std::string pointer) {
    HF_ASSIGN_OR_RETURN(const Json* target, Follow(schema, pointer));
    auto [known, is_new] = numbers_.emplace(target, out_.parts.size());
    if (is_new) {
      if (out_.parts.size() == kParts) {
        return Refuse(pointer, fmt::format("is one schema too many (at most {})", kParts));
      }
      out_.parts.push_back({.source = target, .pointer = std::move(pointer)});
    }
    return known->second;
  }

  /// What stands for a schema inside of another.
  Result<Json> CallOf(SchemaPart& part, const Json& schema, std::string pointer, About about) {
    if (schema == true) return schema;
    HF_ASSIGN_OR_RETURN(std::size_t number, NumberOf(schema, std::move(pointer)));
    if (about == About::kSame) part.same_value.push_back(number);
    return Json{{kCallMember, number}};
  }

  /// Takes away, again and again, the schemas that call none that is left for the same value: what
  /// cannot be taken away goes round in circles.
  Result<void> RefuseEndless() const {
    std::vector<std::size_t> waits(out_.parts.size());
    std::vector<std::vector<std::size_t>> callers(out_.parts.size());
    std::vector<std::size_t> ready;
    for (std::size_t i = 0; i < out_.parts.size(); ++i) {
      waits[i] = out_.parts[i].same_value.size();
      for (std::size_t called : out_.parts[i].same_value) callers[called].push_back(i);
      if (waits[i] == 0) ready.push_back(i);
    }
    while (!ready.empty()) {
      std::size_t done = ready.back();
      ready.pop_back();
      for (std::size_t caller : callers[done]) {
        if (--waits[caller] == 0) ready.push_back(caller);
      }
    }
    auto endless = std::ranges::find_if(waits, [](std::size_t count) { return count > 0; });
    if (endless == waits.end()) return {};
    auto number = static_cast<std::size_t>(endless - waits.begin());
    return Refuse(out_.parts[number].pointer, "refers to itself without getting anywhere");
  }

  // Readers of keywords.

  Result<void> Ignore(Keyword&) { return {}; }

  Result<void> ReadText(Keyword& keyword) {
    if (!keyword.value.is_string()) return Refuse(keyword.pointer, "must be a string");
    return {};
  }

  Result<void> ReadId(Keyword& keyword) {
    if (&keyword.part != &out_.parts.front()) {
      return Refuse(keyword.pointer, "is possible at the root alone");
    }
    return ReadText(keyword);
  }

  Result<void> ReadDefinitions(Keyword& keyword) {
    if (!keyword.value.is_object()) return Refuse(keyword.pointer, "must be an object");
    for (const auto& [name, schema] : keyword.value.items()) {
      HF_RETURN_IF_ERROR(NumberOf(schema, PointerBelow(keyword.pointer, name)));
    }
    return {};
  }

  Result<void> ReadType(Keyword& keyword) {
    static const std::set<std::string_view> kTypes = {"array",  "boolean", "integer", "null",
                                                      "number", "object",  "string"};
    auto check = [&](const Json& type, const std::string& pointer) -> Result<void> {
      if (!type.is_string()) return Refuse(pointer, "must be the name of a type");
      if (kTypes.contains(TextOf(type))) return {};
      return Refuse(pointer, fmt::format("'{}' is no type", base::CutUtf8(TextOf(type), 64)));
    };
    if (!keyword.value.is_array()) {
      HF_RETURN_IF_ERROR(check(keyword.value, keyword.pointer));
    } else {
      if (keyword.value.empty()) return Refuse(keyword.pointer, "names no type");
      for (std::size_t i = 0; i < keyword.value.size(); ++i) {
        HF_RETURN_IF_ERROR(check(keyword.value[i], fmt::format("{}/{}", keyword.pointer, i)));
      }
    }
    keyword.part.rewritten[keyword.name] = keyword.value;
    return {};
  }

  Result<void> CheckCount(const Keyword& keyword) const {
    if (keyword.value.is_number_integer() && keyword.value.get<std::int64_t>() >= 0) return {};
    return Refuse(keyword.pointer, "must be an integer of at least 0");
  }

  Result<void> ReadCount(Keyword& keyword) {
    HF_RETURN_IF_ERROR(CheckCount(keyword));
    keyword.part.rewritten[keyword.name] = keyword.value;
    return {};
  }

  Result<void> ReadLength(Keyword& keyword) {
    HF_RETURN_IF_ERROR(CheckCount(keyword));
    auto length = keyword.value.get<std::int64_t>();
    if (keyword.name == "minLength") {
      AddCheck(keyword, {Applies::kToStrings,
                         [length](const Json& v) { return CountCharacters(TextOf(v)) >= length; },
                         fmt::format("String has fewer than {} characters.", length)});
    } else {
      AddCheck(keyword, {Applies::kToStrings,
                         [length](const Json& v) { return CountCharacters(TextOf(v)) <= length; },
                         fmt::format("String has more than {} characters.", length)});
    }
    return {};
  }

  Result<void> ReadLimit(Keyword& keyword) {
    struct Comparison {
      std::string_view name;
      std::string_view words;
      bool (*holds)(int);
    };
    static constexpr Comparison kComparisons[] = {
        {"minimum", "at least", [](int order) { return order >= 0; }},
        {"maximum", "at most", [](int order) { return order <= 0; }},
        {"exclusiveMinimum", "greater than", [](int order) { return order > 0; }},
        {"exclusiveMaximum", "less than", [](int order) { return order < 0; }}};
    if (!keyword.value.is_number()) return Refuse(keyword.pointer, "must be a number");
    const Comparison& comparison =
        *std::ranges::find(kComparisons, keyword.name, &Comparison::name);
    AddCheck(keyword,
             {Applies::kToNumbers,
              [limit = keyword.value, holds = comparison.holds](const Json& value) {
                return holds(base::CompareNumbers(value, limit));
              },
              fmt::format("Number must be {} {}.", comparison.words, base::ToText(keyword.value))});
    return {};
  }

  Result<void> ReadMultiple(Keyword& keyword) {
    if (!keyword.value.is_number() || base::CompareNumbers(keyword.value, 0) <= 0) {
      return Refuse(keyword.pointer, "must be a number greater than 0");
    }
    AddCheck(keyword,
             {Applies::kToNumbers,
              [divisor = keyword.value](const Json& value) { return IsMultiple(value, divisor); },
              fmt::format("Number must be a multiple of {}.", base::ToText(keyword.value))});
    return {};
  }

  Result<Pattern> CompilePattern(const std::string& pointer, const std::string& text) const {
    auto pattern = Pattern::Compile(text);
    if (!pattern) return Refuse(pointer, pattern.error().message);
    return pattern;
  }

  Result<void> ReadPattern(Keyword& keyword) {
    HF_RETURN_IF_ERROR(ReadText(keyword));
    HF_ASSIGN_OR_RETURN(Pattern pattern, CompilePattern(keyword.pointer, TextOf(keyword.value)));
    AddCheck(keyword,
             {Applies::kToStrings,
              [](const Json& value) { return TextOf(value).size() <= kMatchedBytes; },
              fmt::format("String is too long for a pattern (at most {} bytes).", kMatchedBytes)});
    AddCheck(keyword, {Applies::kToStrings,
                       [pattern](const Json& value) { return pattern.Finds(TextOf(value)); },
                       fmt::format("String does not match the pattern '{}'.",
                                   base::CutUtf8(TextOf(keyword.value), 100)),
                       pattern.cost()});
    return {};
  }

  /// Times and dates; any other format is for people.
  Result<void> ReadFormat(Keyword& keyword) {
    HF_RETURN_IF_ERROR(ReadText(keyword));
    static const std::map<std::string, std::string> kFrames = {
        {"date-time", "{}"}, {"date", "{}T00:00:00Z"}, {"time", "2000-01-01T{}"}};
    auto frame = kFrames.find(TextOf(keyword.value));
    if (frame == kFrames.end()) return {};
    AddCheck(keyword,
             {Applies::kToStrings,
              [&frame = frame->second](const Json& value) {
                if (TextOf(value).size() > 64) return false;
                return base::ParseTime(fmt::format(fmt::runtime(frame), TextOf(value))).has_value();
              },
              fmt::format("String is no {} of RFC 3339.", frame->first)});
    return {};
  }

  Result<void> ReadEnum(Keyword& keyword) {
    if (!keyword.value.is_array() || keyword.value.empty()) {
      return Refuse(keyword.pointer, "must be a list of at least one value");
    }
    std::set<std::string> allowed;
    for (const Json& value : keyword.value) allowed.insert(base::CanonicalText(value));
    AddCheck(keyword,
             {Applies::kToAll,
              [allowed](const Json& value) { return allowed.contains(base::CanonicalText(value)); },
              "Value is none of those in 'enum'.", kCanonicalCost});
    return {};
  }

  Result<void> ReadConst(Keyword& keyword) {
    AddCheck(keyword, {Applies::kToAll,
                       [allowed = base::CanonicalText(keyword.value)](const Json& value) {
                         return base::CanonicalText(value) == allowed;
                       },
                       "Value is not that of 'const'.", kCanonicalCost});
    return {};
  }

  Result<void> ReadUnique(Keyword& keyword) {
    if (!keyword.value.is_boolean()) return Refuse(keyword.pointer, "must be true or false");
    if (keyword.value == true) {
      AddCheck(keyword,
               {Applies::kToArrays, AreDistinct, "Array has two equal elements.", kCanonicalCost});
    }
    return {};
  }

  /// valijson takes names as C strings.
  Result<void> CheckMemberName(const std::string& pointer, const std::string& name) const {
    if (name.find('\0') == std::string::npos) return {};
    return Refuse(pointer, "has a NUL character in a name");
  }

  Result<void> CheckNames(const std::string& pointer, const Json& names) const {
    if (!names.is_array()) return Refuse(pointer, "must be a list of names");
    for (std::size_t i = 0; i < names.size(); ++i) {
      std::string place = fmt::format("{}/{}", pointer, i);
      if (!names[i].is_string()) return Refuse(place, "must be a string");
      HF_RETURN_IF_ERROR(CheckMemberName(place, TextOf(names[i])));
    }
    return {};
  }

  Result<void> ReadNames(Keyword& keyword) {
    HF_RETURN_IF_ERROR(CheckNames(keyword.pointer, keyword.value));
    keyword.part.rewritten[keyword.name] = keyword.value;
    return {};
  }

  Result<void> ReadInner(Keyword& keyword, About about) {
    HF_ASSIGN_OR_RETURN(keyword.part.rewritten[keyword.name],
                        CallOf(keyword.part, keyword.value, keyword.pointer, about));
    return {};
  }
  Result<void> ReadSame(Keyword& keyword) { return ReadInner(keyword, About::kSame); }
  Result<void> ReadPart(Keyword& keyword) { return ReadInner(keyword, About::kPart); }

  Result<void> ReadList(Keyword& keyword, About about) {
    Json calls = Json::array();
    for (std::size_t i = 0; i < keyword.value.size(); ++i) {
      HF_ASSIGN_OR_RETURN(Json call, CallOf(keyword.part, keyword.value[i],
                                            fmt::format("{}/{}", keyword.pointer, i), about));
      calls.push_back(std::move(call));
    }
    keyword.part.rewritten[keyword.name] = std::move(calls);
    return {};
  }

  Result<void> ReadAlternatives(Keyword& keyword) {
    if (!keyword.value.is_array() || keyword.value.empty()) {
      return Refuse(keyword.pointer, "must be a list of at least one schema");
    }
    return ReadList(keyword, About::kSame);
  }

  Result<void> ReadItems(Keyword& keyword) {
    return keyword.value.is_array() ? ReadList(keyword, About::kPart) : ReadPart(keyword);
  }

  Result<void> ReadMembers(Keyword& keyword) {
    if (!keyword.value.is_object()) return Refuse(keyword.pointer, "must be an object");
    Json calls = Json::object();
    for (const auto& [name, schema] : keyword.value.items()) {
      std::string place = PointerBelow(keyword.pointer, name);
      HF_RETURN_IF_ERROR(CheckMemberName(place, name));
      HF_ASSIGN_OR_RETURN(calls[name], CallOf(keyword.part, schema, place, About::kPart));
    }
    keyword.part.rewritten[keyword.name] = std::move(calls);
    return {};
  }

  /// MembersConstraint (schema.cc) checks the members that match: valijson would backtrack.
  Result<void> ReadNamePatterns(Keyword& keyword) {
    if (!keyword.value.is_object()) return Refuse(keyword.pointer, "must be an object");
    MemberPatterns& members = keyword.part.members.emplace();
    for (const auto& [text, schema] : keyword.value.items()) {
      std::string place = PointerBelow(keyword.pointer, text);
      HF_ASSIGN_OR_RETURN(Pattern pattern, CompilePattern(place, text));
      HF_ASSIGN_OR_RETURN(Json call, CallOf(keyword.part, schema, place, About::kPart));
      members.patterns.emplace_back(std::move(pattern), CalledBy(call));
    }
    return {};
  }

  /// The part that a call calls; nothing if it stands for any value.
  static std::optional<std::size_t> CalledBy(const Json& call) {
    if (!call.is_object()) return std::nullopt;
    return call[kCallMember].get<std::size_t>();
  }

  /// What additionalProperties says depends on the patterns, which are checked here.
  static void TakeOverMembers(SchemaPart& part) {
    if (!part.members) return;
    if (auto named = part.rewritten.find("properties"); named != part.rewritten.end()) {
      for (const auto& [name, call] : named->items()) part.members->named.insert(name);
    }
    auto others = part.rewritten.find("additionalProperties");
    if (others == part.rewritten.end()) return;
    part.members->others = CalledBy(*others);
    part.rewritten.erase(others);
  }

  Result<void> ReadDependencies(Keyword& keyword) {
    if (!keyword.value.is_object()) return Refuse(keyword.pointer, "must be an object");
    Json out = Json::object();
    for (const auto& [name, needed] : keyword.value.items()) {
      std::string place = PointerBelow(keyword.pointer, name);
      HF_RETURN_IF_ERROR(CheckMemberName(place, name));
      if (needed.is_array()) {
        HF_RETURN_IF_ERROR(CheckNames(place, needed));
        out[name] = needed;
      } else {
        HF_ASSIGN_OR_RETURN(out[name], CallOf(keyword.part, needed, place, About::kSame));
      }
    }
    keyword.part.rewritten[keyword.name] = std::move(out);
    return {};
  }

  const Json& root_;
  const std::string where_;
  RewrittenSchema out_;
  std::map<const Json*, std::size_t> numbers_;
};

const std::map<std::string_view, Rewriter::Reader> Rewriter::kReaders = {
    {"$comment", &Rewriter::ReadText},
    {"$id", &Rewriter::ReadId},
    {"$schema", &Rewriter::ReadText},
    {"additionalItems", &Rewriter::ReadPart},
    {"additionalProperties", &Rewriter::ReadPart},
    {"allOf", &Rewriter::ReadAlternatives},
    {"anyOf", &Rewriter::ReadAlternatives},
    {"const", &Rewriter::ReadConst},
    {"contains", &Rewriter::ReadPart},
    {"contentEncoding", &Rewriter::ReadText},
    {"contentMediaType", &Rewriter::ReadText},
    {"default", &Rewriter::Ignore},
    {"definitions", &Rewriter::ReadDefinitions},
    {"dependencies", &Rewriter::ReadDependencies},
    {"description", &Rewriter::ReadText},
    {"else", &Rewriter::ReadSame},
    {"enum", &Rewriter::ReadEnum},
    {"examples", &Rewriter::Ignore},
    {"exclusiveMaximum", &Rewriter::ReadLimit},
    {"exclusiveMinimum", &Rewriter::ReadLimit},
    {"format", &Rewriter::ReadFormat},
    {"if", &Rewriter::ReadSame},
    {"items", &Rewriter::ReadItems},
    {"maxItems", &Rewriter::ReadCount},
    {"maxLength", &Rewriter::ReadLength},
    {"maxProperties", &Rewriter::ReadCount},
    {"maximum", &Rewriter::ReadLimit},
    {"minItems", &Rewriter::ReadCount},
    {"minLength", &Rewriter::ReadLength},
    {"minProperties", &Rewriter::ReadCount},
    {"minimum", &Rewriter::ReadLimit},
    {"multipleOf", &Rewriter::ReadMultiple},
    {"not", &Rewriter::ReadSame},
    {"oneOf", &Rewriter::ReadAlternatives},
    {"pattern", &Rewriter::ReadPattern},
    {"patternProperties", &Rewriter::ReadNamePatterns},
    {"properties", &Rewriter::ReadMembers},
    {"propertyNames", &Rewriter::ReadPart},
    {"readOnly", &Rewriter::Ignore},
    {"required", &Rewriter::ReadNames},
    {"then", &Rewriter::ReadSame},
    {"title", &Rewriter::ReadText},
    {"type", &Rewriter::ReadType},
    {"uniqueItems", &Rewriter::ReadUnique},
    {"writeOnly", &Rewriter::Ignore},
};

}  // namespace

Result<RewrittenSchema> RewriteSchema(const Json& document, std::string_view where) {
  return Rewriter(document, where).Run();
}

}  // namespace holdfast::rules
