#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "base/utf8.h"

namespace holdfast::base {
namespace {

/// Builds the tree, and refuses what nlohmann would let pass: repeated members (the last would
/// win), integers beyond 64 bits (they would become inexact doubles) and bottomless nesting.
class StrictBuilder {
 public:
  using number_integer_t = Json::number_integer_t;
  using number_unsigned_t = Json::number_unsigned_t;
  using number_float_t = Json::number_float_t;
  using string_t = Json::string_t;
  using binary_t = Json::binary_t;

  bool null() { return Add(nullptr); }
  bool boolean(bool value) { return Add(value); }
  bool number_integer(number_integer_t value) { return Add(value); }
  bool number_unsigned(number_unsigned_t value) {
    if (value > static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max())) {
      return Refuse("has an integer beyond 64 bits");
    }
    return Add(static_cast<std::int64_t>(value));
  }
  bool number_float(number_float_t value, const string_t& text) {
    if (text.find_first_of(".eE") == string_t::npos) return Refuse("has an integer beyond 64 bits");
    return Add(value);
  }
  bool string(string_t& value) { return Add(std::move(value)); }
  bool binary(binary_t&) { return Refuse("is not valid JSON"); }
  bool start_object(std::size_t) { return Open(Json::object()); }
  bool key(string_t& name) {
    if (open_.back()->contains(name)) {
      return Refuse(fmt::format("has the member \"{}\" twice in one object", CutUtf8(name, 64)));
    }
    keys_.back() = std::move(name);
    return true;
  }
  bool end_object() { return Close(); }
  bool start_array(std::size_t) { return Open(Json::array()); }
  bool end_array() { return Close(); }
  bool parse_error(std::size_t position, const std::string&, const Json::exception& error) {
    // 406: a number that is too large even for a double.
    if (error.id == 406) return Refuse("has a number that is out of range");
    return Refuse(fmt::format("is not valid JSON (at byte {})", position));
  }

  Json TakeRoot() { return std::move(root_); }
  std::string& complaint() { return complaint_; }

 private:
  bool Refuse(std::string complaint) {
    complaint_ = std::move(complaint);
    return false;
  }
  Json* Place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back();
    if (parent.is_object()) return &(parent[keys_.back()] = std::move(value));
    return &parent.emplace_back(std::move(value));
  }
  bool Add(Json value) {
    Place(std::move(value));
    return true;
  }
  bool Open(Json value) {
    if (open_.size() == kJsonDepth)
      return Refuse(fmt::format("is nested over {} deep", kJsonDepth));
    open_.push_back(Place(std::move(value)));
    keys_.emplace_back();
    return true;
  }
  bool Close() {
    open_.pop_back();
    keys_.pop_back();
    return true;
  }

  Json root_;
  std::vector<Json*> open_;  // a container that is being filled moves no more
  std::vector<std::string> keys_;
  std::string complaint_;
};

bool ParseIndex(const std::string& token, std::size_t size, std::size_t& index) {
  if (token.empty() || (token.size() > 1 && token.front() == '0')) return false;
  auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), index);
  return error == std::errc() && end == token.data() + token.size() && index < size;
}

/// The member or element of that name, or nothing.
const Json* Step(const Json& json, const std::string& token) {
  if (json.is_object()) {
    auto found = json.find(token);
    return found == json.end() ? nullptr : &*found;
  }
  std::size_t index = 0;
  if (json.is_array() && ParseIndex(token, json.size(), index)) return &json[index];
  return nullptr;
}

}  // namespace

Result<Json> ParseJson(std::string_view name, std::string_view text) {
  StrictBuilder builder;
  if (!IsUtf8(text)) {
    return Fail(ErrorCode::kInvalidArgument, fmt::format("{} is not UTF-8", name));
  }
  // nlohmann takes a NUL for the end, and would not look at what follows.
  if (std::size_t end = text.find('\0'); end != std::string_view::npos) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is not valid JSON (at byte {})", name, end + 1));
  }
  if (Json::sax_parse(text.begin(), text.end(), &builder)) return builder.TakeRoot();
  return Fail(ErrorCode::kInvalidArgument, fmt::format("{} {}", name, builder.complaint()));
}

std::string ToText(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::size_t DepthOf(const Json& json) {
  if (!json.is_structured()) return 0;
  std::size_t deepest = 0;
  for (const Json& child : json) deepest = std::max(deepest, DepthOf(child));
  return deepest + 1;
}

std::string_view TypeName(const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return "a boolean";
    default:
      return "a number";
  }
}

Result<JsonPointer> JsonPointer::Parse(std::string_view text) {
  JsonPointer pointer;
  pointer.text_ = text;
  auto invalid = [&](std::string_view why) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' is not a JSON pointer: {}", CutUtf8(text, 64), why));
  };
  if (text.size() > 1024) return invalid("it has more than 1024 bytes");
  if (!IsUtf8(text)) return invalid("it is not UTF-8");
  if (text.empty()) return pointer;
  if (text.front() != '/') return invalid("it does not begin with /");
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '/') {
      if (pointer.tokens_.size() == kJsonDepth) return invalid("it is more than 64 deep");
      pointer.tokens_.emplace_back();
    } else if (text[i] == '~') {
      char next = i + 1 < text.size() ? text[++i] : ' ';
      if (next != '0' && next != '1') return invalid("~ is followed by neither 0 nor 1");
      pointer.tokens_.back() += next == '0' ? '~' : '/';
    } else {
      pointer.tokens_.back() += text[i];
    }
  }
  return pointer;
}

const Json* JsonPointer::Find(const Json& root) const {
  const Json* json = &root;
  for (const std::string& token : tokens_) {
    json = Step(*json, token);
    if (json == nullptr) return nullptr;
  }
  return json;
}

Json* JsonPointer::Find(Json& root) const {
  return const_cast<Json*>(Find(static_cast<const Json&>(root)));
}

bool JsonPointer::Put(Json& root, Json value) const {
  Json* json = &root;
  for (const std::string& token : tokens_) {
    if (json->is_object()) {
      auto [place, is_new] = json->emplace(token, Json::object());
      json = &*place;
      continue;
    }
    json = const_cast<Json*>(Step(*json, token));
    if (json == nullptr) return false;
  }
  *json = std::move(value);
  return true;
}

}  // namespace holdfast::base
