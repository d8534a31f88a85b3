// Percent-encoding, and the query part of a target.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "holdfast/error.h"

namespace holdfast::api {

/// Nothing if a % is not followed by two hexadecimal digits.
std::optional<std::string> PercentDecode(std::string_view text);

/// For one segment of a path, or one name or value of a query.
std::string PercentEncode(std::string_view text);

/// The parameters of a query: each at most once.
class Query {
 public:
  /// Errors: invalid_argument (badly encoded, a parameter given twice).
  static Result<Query> Parse(std::string_view text);

  /// Errors: invalid_argument, if there is a parameter that is none of these.
  Result<void> AllowOnly(std::initializer_list<std::string_view> names) const;

  /// The value, or nothing if there is no such parameter or its value is empty.
  const std::string* Find(std::string_view name) const;
  std::string Get(std::string_view name) const;

 private:
  std::vector<std::pair<std::string, std::string>> parameters_;
};

/// Builds a target: TargetBuilder("/v1/jobs").Add("queue", "a b").text() is "/v1/jobs?queue=a%20b".
class TargetBuilder {
 public:
  explicit TargetBuilder(std::string path) : text_(std::move(path)) {}
  /// Leaves out what is empty.
  TargetBuilder& Add(std::string_view name, std::string_view value);
  std::string Take() && { return std::move(text_); }

 private:
  std::string text_;
  char separator_ = '?';
};

}  // namespace holdfast::api
