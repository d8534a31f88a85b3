// JSON documents as trees: strict reading, pointers into them. For the data and rules of records;
// what merely passes through (payloads, results) stays text.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/error.h"

namespace holdfast::base {

/// Members are kept in the order of their names; integers are exact to 64 bits.
using Json = nlohmann::json;

inline constexpr std::size_t kJsonDepth = 64;

/// One JSON value in UTF-8, at most 64 deep, without repeated members or integers beyond 64 bits.
/// Errors: invalid_argument; the message begins with `name`.
Result<Json> ParseJson(std::string_view name, std::string_view text);

/// Compact text. `json` came from ParseJson, or holds valid UTF-8.
std::string ToText(const Json& json);

/// How deep the value is nested: 0 for a scalar.
std::size_t DepthOf(const Json& json);

/// "a string", "an array": for messages.
std::string_view TypeName(const Json& json);

/// A JSON pointer (RFC 6901): "" is the whole document, "/a/0" the first element of member a.
class JsonPointer {
 public:
  /// Errors: invalid_argument (the message says what is wrong with it).
  static Result<JsonPointer> Parse(std::string_view text);

  /// The value it points at, or nothing if there is none.
  const Json* Find(const Json& root) const;
  Json* Find(Json& root) const;

  /// Puts a value there, making the objects on the way that are missing. False if something on the
  /// way is neither an object nor an array with that element.
  bool Put(Json& root, Json value) const;

  const std::string& text() const { return text_; }
  const std::vector<std::string>& tokens() const { return tokens_; }

 private:
  std::string text_;
  std::vector<std::string> tokens_;
};

}  // namespace holdfast::base
