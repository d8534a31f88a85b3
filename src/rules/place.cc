#include "rules/place.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "base/text.h"
#include "base/utf8.h"
#include "rules/limits.h"
#include "rules/names.h"

namespace holdfast::rules {

using base::Json;
using base::JsonPointer;

std::unexpected<Error> ComplainAt(const std::string& pointer, std::string_view why) {
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: {}", pointer.empty() ? "rules" : pointer, why), {.rule = pointer});
}

std::string PointerBelow(const std::string& pointer, std::string_view token) {
  std::string below = pointer + "/";
  for (char c : base::CutUtf8(token, kNameBytes)) {
    if (c == '~') {
      below += "~0";
    } else if (c == '/') {
      below += "~1";
    } else {
      below += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
    }
  }
  return below;
}

Result<void> Place::ExpectObject() const {
  if (value().is_object()) return {};
  return Complain(fmt::format("must be an object, not {}", base::TypeName(value())));
}

Result<void> Place::ExpectMembers(std::initializer_list<std::string_view> allowed) const {
  HF_RETURN_IF_ERROR(ExpectObject());
  for (const auto& [name, member] : value().items()) {
    if (std::ranges::find(allowed, name) == allowed.end()) {
      return ComplainAt(PointerBelow(pointer_, name),
                        fmt::format("is unknown; there can be: {}", fmt::join(allowed, ", ")));
    }
  }
  return {};
}

std::optional<Place> Place::Find(std::string_view name) const {
  auto found = value().find(std::string(name));
  if (found == value().end()) return std::nullopt;
  return Place(*found, PointerBelow(pointer_, name));
}

Result<Place> Place::Get(std::string_view name) const {
  if (auto place = Find(name)) return *place;
  return Complain(fmt::format("{} is missing", name));
}

Result<std::vector<std::pair<std::string, Place>>> Place::Members() const {
  HF_RETURN_IF_ERROR(ExpectObject());
  std::vector<std::pair<std::string, Place>> members;
  for (const auto& [name, member] : value().items()) {
    members.emplace_back(name, Place(member, PointerBelow(pointer_, name)));
  }
  return members;
}

Result<std::vector<Place>> Place::Elements() const {
  if (!value().is_array()) {
    return Complain(fmt::format("must be a list, not {}", base::TypeName(value())));
  }
  std::vector<Place> elements;
  for (std::size_t i = 0; i < value().size(); ++i) {
    elements.emplace_back(value()[i], fmt::format("{}/{}", pointer_, i));
  }
  return elements;
}

Result<std::string> Place::Text() const {
  if (value().is_string()) return value().get<std::string>();
  return Complain(fmt::format("must be a string, not {}", base::TypeName(value())));
}

Result<std::string> Place::Name() const {
  HF_ASSIGN_OR_RETURN(std::string name, Text());
  if (auto valid = CheckRecordName("name", name); !valid) return Complain(valid.error().message);
  return name;
}

Result<std::vector<std::string>> Place::Names() const {
  HF_ASSIGN_OR_RETURN(std::vector<Place> elements, Elements());
  if (elements.empty()) return Complain("must not be empty");
  constexpr std::size_t kNames = 1000;
  if (elements.size() > kNames) return Complain(fmt::format("has more than {} names", kNames));
  std::vector<std::string> names;
  for (const Place& element : elements) {
    HF_ASSIGN_OR_RETURN(std::string name, element.Name());
    if (std::ranges::find(names, name) != names.end()) {
      return element.Complain(fmt::format("'{}' is there twice", name));
    }
    names.push_back(std::move(name));
  }
  return names;
}

Result<JsonPointer> Place::Path() const {
  HF_ASSIGN_OR_RETURN(std::string text, Text());
  auto path = JsonPointer::Parse(text);
  if (!path) return Complain(path.error().message);
  if (path->tokens().empty()) return Complain("must point at a part of the data: /a/b");
  return path;
}

Result<bool> Place::Bool() const {
  if (value().is_boolean()) return value().get<bool>();
  return Complain(fmt::format("must be true or false, not {}", base::TypeName(value())));
}

Result<std::int64_t> Place::Integer(std::int64_t least, std::int64_t most) const {
  if (!value().is_number_integer()) return Complain("must be an integer");
  auto number = value().get<std::int64_t>();
  if (number >= least && number <= most) return number;
  return Complain(fmt::format("is {} ({} to {})", number, least, most));
}

Result<Duration> Place::Length(bool may_be_zero) const {
  HF_ASSIGN_OR_RETURN(std::string text, Text());
  auto duration = base::ParseDuration(text);
  if (!duration) return Complain(duration.error().message);
  if (*duration > kDelayMax) {
    return Complain(fmt::format("is more than {}", base::FormatDuration(kDelayMax)));
  }
  if (!may_be_zero && *duration == Duration::zero()) return Complain("must be more than 0");
  return *duration;
}

}  // namespace holdfast::rules
