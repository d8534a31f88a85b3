// Writes JSON text front to back into one string: no tree, one growing buffer.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace holdfast::base {

/// Appends `text` as a quoted JSON string. `text` is UTF-8; control characters are escaped.
void AppendJsonString(std::string& out, std::string_view text);

/// The caller keeps the order right: within an object Key or Field, within an array values.
class JsonWriter {
 public:
  JsonWriter() = default;
  explicit JsonWriter(std::size_t capacity) { out_.reserve(capacity); }

  void BeginObject() { Open('{'); }
  void EndObject() { Close('}'); }
  void BeginArray() { Open('['); }
  void EndArray() { Close(']'); }

  void Key(std::string_view name) {
    Separate();
    out_ += '"';
    out_ += name;  // keys are ours: plain ASCII
    out_ += "\":";
    needs_comma_ = false;
  }
  void String(std::string_view text) {
    Separate();
    AppendJsonString(out_, text);
  }
  void Bool(bool value) { Raw(value ? "true" : "false"); }
  void Null() { Raw("null"); }
  void Integer(std::int64_t value);
  void Double(double value);
  /// A 64-bit number as a decimal string, which is how ids and tokens travel.
  void Id(std::int64_t value);
  /// Text that is JSON already.
  void Raw(std::string_view json) {
    Separate();
    out_ += json;
  }

  void Field(std::string_view name, std::string_view value) {
    Key(name);
    String(value);
  }
  void Field(std::string_view name, const char* value) { Field(name, std::string_view(value)); }
  void Field(std::string_view name, std::same_as<bool> auto value) {
    Key(name);
    Bool(value);
  }
  template <std::integral T>
  requires(!std::same_as<T, bool>) void Field(std::string_view name, T value) {
    Key(name);
    Integer(static_cast<std::int64_t>(value));
  }
  void Field(std::string_view name, double value) {
    Key(name);
    Double(value);
  }

  const std::string& text() const { return out_; }
  std::string Take() && { return std::move(out_); }

 private:
  void Separate() {
    if (needs_comma_) out_ += ',';
    needs_comma_ = true;
  }
  void Open(char bracket) {
    Separate();
    out_ += bracket;
    needs_comma_ = false;
  }
  void Close(char bracket) {
    out_ += bracket;
    needs_comma_ = true;
  }

  std::string out_;
  bool needs_comma_ = false;
};

}  // namespace holdfast::base
