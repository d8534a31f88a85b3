// JSON Patch (RFC 6902). Not nlohmann's: that one takes an operation below a number for done, or
// for a bug of the program, and lets a few copies of copies fill all memory.
#include <fmt/format.h>

#include "base/json_values.h"
#include "base/result.h"
#include "base/utf8.h"
#include "rules/edits.h"
#include "rules/limits.h"

namespace holdfast::rules {
namespace {

/// The operations of one patch, one after the other.
class Patcher {
 public:
  Patcher(Json& data, Effort& effort) : data_(data), effort_(effort) {}

  Result<void> Apply(const Json& operation, std::size_t index) {
    name_ = fmt::format("patch[{}]", index);
    if (!operation.is_object()) return Invalid("must be an object");
    HF_ASSIGN_OR_RETURN(std::string what, Text(operation, "op"));
    HF_ASSIGN_OR_RETURN(JsonPointer path, Pointer(operation, "path"));
    if (what == "remove") {
      HF_RETURN_IF_ERROR(Take(path));
      return {};
    }
    if (what == "move" || what == "copy") {
      HF_ASSIGN_OR_RETURN(JsonPointer from, Pointer(operation, "from"));
      return what == "move" ? Move(from, path) : Copy(from, path);
    }
    auto value = operation.find("value");
    if (what != "add" && what != "replace" && what != "test") {
      return Invalid("op must be add, remove, replace, move, copy or test");
    }
    if (value == operation.end()) return Invalid("value is missing");
    if (what == "add") return Add(path, *value);
    Json* target = path.Find(data_);
    if (target == nullptr) return NothingAt(path);
    if (what == "replace") {
      HF_RETURN_IF_ERROR(CheckDepth(path, *value));
      *target = *value;
      return {};
    }
    HF_RETURN_IF_ERROR(Burden(*value));
    if (base::AreEqual(*target, *value)) return {};
    return Fail(ErrorCode::kRuleViolation, fmt::format("the test in {} failed", name_),
                {.rule = "test"});
  }

 private:
  std::unexpected<Error> Invalid(std::string_view why) const {
    return Fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", name_, why));
  }
  std::unexpected<Error> NothingAt(const JsonPointer& path) const {
    return Invalid(fmt::format("there is nothing at '{}'", base::CutUtf8(path.text(), 64)));
  }

  Result<std::string> Text(const Json& operation, const char* member) const {
    auto found = operation.find(member);
    if (found != operation.end() && found->is_string()) return found->get<std::string>();
    return Invalid(fmt::format("{} must be a string", member));
  }
  Result<JsonPointer> Pointer(const Json& operation, const char* member) const {
    HF_ASSIGN_OR_RETURN(std::string text, Text(operation, member));
    auto pointer = JsonPointer::Parse(text);
    if (!pointer) return Invalid(pointer.error().message);
    return pointer;
  }

  /// Copies of copies would double with each operation, and moves cost what they move.
  Result<void> Burden(const Json& value) {
    effort_.Touch(value);
    return CheckEffort();
  }
  /// What is behind the element of an array moves when one is put in or taken out.
  Result<void> Shift(const Json& array, std::size_t from) {
    effort_.Spend(array.size() - from);
    return CheckEffort();
  }
  Result<void> CheckEffort() const {
    Result<void> within = effort_.Check();
    if (!within) within.error().message.insert(0, name_ + ": ");
    return within;
  }
  Result<void> CheckDepth(const JsonPointer& path, const Json& value) const {
    if (path.tokens().size() + base::DepthOf(value) <= base::kJsonDepth) return {};
    return Invalid(fmt::format("data would be nested over {} deep", base::kJsonDepth));
  }

  /// What holds, or would hold, the value at `path`, which is not the root.
  Result<Json*> Holder(const JsonPointer& path) const {
    auto pointer = JsonPointer::Parse(path.text().substr(0, path.text().rfind('/')));
    Json* holder = pointer ? pointer->Find(data_) : nullptr;
    if (holder == nullptr || !holder->is_structured()) {
      return Invalid(fmt::format("there is no object and no array to hold '{}'",
                                 base::CutUtf8(path.text(), 64)));
    }
    return holder;
  }

  Result<void> Add(const JsonPointer& path, Json value) {
    HF_RETURN_IF_ERROR(CheckDepth(path, value));
    if (path.tokens().empty()) {
      data_ = std::move(value);
      return {};
    }
    HF_ASSIGN_OR_RETURN(Json * holder, Holder(path));
    const std::string& last = path.tokens().back();
    if (holder->is_object()) {
      (*holder)[last] = std::move(value);
      return {};
    }
    if (last == "-" || last == std::to_string(holder->size())) {
      holder->push_back(std::move(value));
      return {};
    }
    // Only what is there can be pushed aside.
    const Json* present = path.Find(data_);
    if (present == nullptr) return NothingAt(path);
    const auto index = present - &holder->front();
    HF_RETURN_IF_ERROR(Shift(*holder, static_cast<std::size_t>(index)));
    holder->insert(holder->begin() + index, std::move(value));
    return {};
  }

  Result<Json> Take(const JsonPointer& path) {
    if (path.tokens().empty()) return Invalid("cannot take away the whole document");
    Json* target = path.Find(data_);
    if (target == nullptr) return NothingAt(path);
    HF_ASSIGN_OR_RETURN(Json * holder, Holder(path));
    Json value = std::move(*target);
    if (holder->is_object()) {
      holder->erase(path.tokens().back());
    } else {
      const auto index = target - &holder->front();
      HF_RETURN_IF_ERROR(Shift(*holder, static_cast<std::size_t>(index)));
      holder->erase(holder->begin() + index);
    }
    return value;
  }

  Result<void> Move(const JsonPointer& from, const JsonPointer& path) {
    const Json* source = from.Find(data_);
    if (source == nullptr) return NothingAt(from);
    if (path.text() == from.text()) return {};
    if (path.text().starts_with(from.text() + "/")) return Invalid("moves a value into itself");
    HF_RETURN_IF_ERROR(Burden(*source));
    HF_ASSIGN_OR_RETURN(Json value, Take(from));
    return Add(path, std::move(value));
  }

  Result<void> Copy(const JsonPointer& from, const JsonPointer& path) {
    const Json* source = from.Find(data_);
    if (source == nullptr) return NothingAt(from);
    HF_RETURN_IF_ERROR(Burden(*source));
    return Add(path, *source);
  }

  Json& data_;
  Effort& effort_;
  std::string name_;
};

}  // namespace

Result<Json> ApplyJsonPatch(Json data, const Json& patch, Effort& effort) {
  if (!patch.is_array()) {
    return Fail(ErrorCode::kInvalidArgument, "a JSON Patch must be an array of operations");
  }
  if (patch.size() > kPatchOperations) {
    return Fail(ErrorCode::kInvalidArgument, fmt::format("the patch has {} operations (at most {})",
                                                         patch.size(), kPatchOperations));
  }
  Patcher patcher(data, effort);
  for (std::size_t i = 0; i < patch.size(); ++i) {
    HF_RETURN_IF_ERROR(patcher.Apply(patch[i], i));
  }
  return data;
}

}  // namespace holdfast::rules
