// Records of any kind, made up from its rules.
#pragma once

#include <optional>
#include <string>

#include "lab/arena.h"
#include "rules/kind_rules.h"

namespace holdfast::lab {

/// A declared kind: its rules, and data that they allow.
class KindSubject {
 public:
  /// Reads the kind of that name. `example`: JSON text, or empty for the one in its rules, or else
  /// what can be made up. Errors: not_found, invalid_argument (no such data).
  static Result<KindSubject> Read(Store& store, const std::string& kind,
                                  const std::string& example);

  const std::string& kind() const { return kind_.name; }
  const rules::KindRules& rules() const { return *rules_; }
  const Json& example() const { return example_; }

  /// Tells the history of the kind, whose rules stay what they are.
  Result<void> Declare(Arena& arena) const;

  /// Data like the example, with unique keys that belong to `number` alone.
  Json DataFor(const Arena& arena, std::string_view number) const;
  /// A record with this data; its parent, if it must have one, is made before. `status`: empty for
  /// the first of the initial ones.
  Result<RecordKey> Make(Arena& arena, std::string_view number, const Json& data,
                         std::string status = {}) const;
  /// A record that may be the parent, with `limit` at `limit_path`, if there is one.
  Result<std::optional<RecordKey>> MakeParent(Arena& arena, std::string_view number,
                                              const base::JsonPointer* limit_path = nullptr,
                                              std::int64_t limit = 0) const;
  /// What a transition into the status takes along: a merge patch.
  Json DataInto(const std::string& status) const;

 private:
  Result<void> MakeUpExample(const std::string& text);

  Kind kind_;
  rules::KindRulesPtr rules_;
  Json document_;
  Json example_ = Json::object();
};

}  // namespace holdfast::lab
