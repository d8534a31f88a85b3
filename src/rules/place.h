// A value in a rules document together with where it stands, so that complaints can say it.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace holdfast::rules {

/// The complaint about what is at `pointer`: begins with it, and has it as the detail's rule.
std::unexpected<Error> ComplainAt(const std::string& pointer, std::string_view why);

/// The pointer of a member or element of what is at `pointer`; long names are cut.
std::string PointerBelow(const std::string& pointer, std::string_view token);

/// Errors of every method: invalid_argument, as ComplainAt makes them.
class Place {
 public:
  Place(const base::Json& value, std::string pointer)
      : value_(&value), pointer_(std::move(pointer)) {}

  const base::Json& value() const { return *value_; }
  const std::string& pointer() const { return pointer_; }
  std::unexpected<Error> Complain(std::string_view why) const { return ComplainAt(pointer_, why); }

  /// An object with no members but these.
  Result<void> ExpectMembers(std::initializer_list<std::string_view> allowed) const;
  /// The member, if this has it.
  std::optional<Place> Find(std::string_view name) const;
  Result<Place> Get(std::string_view name) const;
  /// All members of an object whose names are for the writer to choose.
  Result<std::vector<std::pair<std::string, Place>>> Members() const;
  /// The elements of an array.
  Result<std::vector<Place>> Elements() const;

  Result<std::string> Text() const;
  /// A name as records have: 1-128 of [A-Za-z0-9_.:@-].
  Result<std::string> Name() const;
  /// Distinct names, at least one.
  Result<std::vector<std::string>> Names() const;
  /// A JSON pointer that does not point at the whole document.
  Result<base::JsonPointer> Path() const;
  Result<bool> Bool() const;
  Result<std::int64_t> Integer(std::int64_t least, std::int64_t most) const;
  /// Longer than zero unless `may_be_zero`, and at most ten years.
  Result<Duration> Length(bool may_be_zero = false) const;
  Result<void> ExpectObject() const;

 private:
  const base::Json* value_;
  std::string pointer_;
};

}  // namespace holdfast::rules
