// JSON Schema (draft 7), compiled once.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "rules/effort.h"

namespace holdfast::rules {

/// Immutable; copies share what was compiled. Threads: any.
class Schema {
 public:
  /// Errors: invalid_argument (not a schema, or one that refers to other documents); the message
  /// begins with `where`.
  static Result<Schema> Compile(const base::Json& document, std::string_view where);

  /// Nothing, or how `data` violates it: "/title: ...", in one line. If the effort is spent by it,
  /// that is what the answer says.
  std::optional<std::string> Check(const base::Json& data, Effort& effort) const;
  /// With a budget for this check alone.
  std::optional<std::string> Check(const base::Json& data) const {
    Effort effort;
    return Check(data, effort);
  }

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace holdfast::rules
