// Strict reading of JSON objects into structs, by tables of fields. Shared by the files of this
// folder and of src/history; not for use elsewhere.
//
// simdjson's On-Demand parser walks the text once and hands out slices of it, so that a payload is
// never parsed here, only found. Every reader returns false after it told `Trouble` what is wrong;
// each level puts its own name in front, so that the message says operations[3].spec.delay.
#pragma once

#include <simdjson.h>

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "holdfast/boxed.h"
#include "holdfast/error.h"
#include "holdfast/job.h"
#include "holdfast/record.h"
#include "holdfast/time.h"

namespace holdfast::wire {

using Value = simdjson::ondemand::value;
using Object = simdjson::ondemand::object;

/// What is wrong with a document, and where.
class Trouble {
 public:
  explicit Trouble(std::string_view document) : document_(document) {}

  /// The named thing `complaint`: " must be a string". Always false, to be returned.
  bool Say(std::string complaint);
  /// The document is not JSON at all.
  bool SayMalformed(simdjson::error_code error);
  /// The trouble is within the member `name`, or the element `index`. Always false.
  bool At(std::string_view name);
  bool At(std::size_t index);

  ErrorDetail& detail() { return detail_; }
  Error ToError(ErrorCode code) &&;

 private:
  const std::string_view document_;
  std::string path_;
  std::string complaint_;
  bool is_malformed_ = false;
  ErrorDetail detail_;
};

bool ReadObject(Value& value, Object& out, Trouble& trouble);
/// Whether the object has a member of that name, which is looked for from its start; it can be read
/// from its start afterwards. An object that is broken off cannot: the parser has let go of it.
bool FindField(Object& object, std::string_view name, bool& found, Trouble& trouble);
bool ReadText(Value& value, std::string& out, Trouble& trouble);
/// The text of any JSON value, as it was sent. Its own syntax is not checked.
bool ReadRaw(Value& value, std::string& out, Trouble& trouble);
/// "7", or 7.
bool ReadId(Value& value, std::int64_t& out, Trouble& trouble);
bool ReadInteger(Value& value, std::int64_t& out, Trouble& trouble);
bool ReadInt(Value& value, int& out, Trouble& trouble);
bool ReadDouble(Value& value, double& out, Trouble& trouble);
/// An integer if it is written as one, which must then fit into 64 bits; otherwise a double.
bool ReadNumber(Value& value, std::variant<std::int64_t, double>& out, Trouble& trouble);
bool ReadBool(Value& value, bool& out, Trouble& trouble);
bool ReadTime(Value& value, Time& out, Trouble& trouble);
bool ReadDuration(Value& value, Duration& out, Trouble& trouble);
bool ReadState(Value& value, JobState& out, Trouble& trouble);
bool ReadStates(Value& value, JobStates& out, Trouble& trouble);
bool ReadTextList(Value& value, std::vector<std::string>& out, Trouble& trouble);
/// A string, or null for an empty one.
bool ReadCursor(Value& value, std::string& out, Trouble& trouble);
/// An integer, or null for none.
bool ReadBound(Value& value, std::optional<std::int64_t>& out, Trouble& trouble);

bool IsNull(Value& value);
/// Whether this can be a JSON value at all: the parser looks only when asked for one of some type.
inline bool BeginsValue(Value& value) {
  return std::string_view("\"{[-0123456789tfn").contains(*value.raw_json_token().data());
}
/// {"initial":"1s","factor":2,"max":"1h","jitter":0.1}: all of it optional.
bool ReadRetry(Value& value, RetryDelay& out, Trouble& trouble);
/// {"kind":"ticket","id":"T-1"}
bool ReadRecordKey(Value& value, RecordKey& out, Trouble& trouble);

/// The name of a member, without its quotes.
bool ReadKey(simdjson::ondemand::field& field, std::string_view& out, Trouble& trouble);

/// One member of a struct T and how it is read.
template <typename T>
struct Field {
  std::string_view name;
  bool (*read)(Value&, T&, Trouble&);
  bool required = false;
};
inline constexpr bool kRequired = true;

template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <typename T>
struct IsOptional<Boxed<T>> : std::true_type {};

/// `As<ReadText, &Job::queue>` reads that member; an optional member becomes present.
template <auto Read, auto Member, typename T>
bool As(Value& value, T& object, Trouble& trouble) {
  auto& member = object.*Member;
  if constexpr (IsOptional<std::remove_reference_t<decltype(member)>>::value) {
    return Read(value, member.emplace(), trouble);
  } else {
    return Read(value, member, trouble);
  }
}

using Names = std::span<const std::string_view>;

/// What an object may hold besides the fields of its table.
struct Extra {
  std::string_view skip;  ///< one more member, read by somebody else
  Names given;            ///< fields of the table that are known already, and must not be here
  bool lenient = false;   ///< members that nobody knows are skipped: answers of newer servers

  bool IsGiven(std::string_view name) const {
    return std::ranges::find(given, name) != given.end();
  }
};

inline constexpr Extra kLenient{.lenient = true};

/// Reads an object. Unknown, repeated and missing fields are trouble.
template <typename T>
bool ReadFields(Object& object, std::span<const Field<T>> fields, T& out, Trouble& trouble,
                const Extra& extra = {}) {
  std::uint64_t seen = 0;
  std::size_t next = 0;  // members mostly come in the order in which they are written
  bool skipped = false;
  for (auto member : object) {
    simdjson::ondemand::field field;
    if (auto error = std::move(member).get(field)) return trouble.SayMalformed(error);
    std::string_view name;
    if (!ReadKey(field, name, trouble)) return false;
    std::size_t index = fields.size();
    for (std::size_t tried = 0; tried < fields.size(); ++tried, ++next) {
      if (next == fields.size()) next = 0;
      if (fields[next].name == name) {
        index = next++;
        break;
      }
    }
    if (index == fields.size() || extra.IsGiven(name)) {
      if (!extra.skip.empty() && name == extra.skip && !std::exchange(skipped, true)) continue;
      if (extra.lenient) continue;
      trouble.Say(skipped && name == extra.skip ? " is given twice" : " is not a known field");
      return trouble.At(name);
    }
    std::uint64_t bit = std::uint64_t{1} << index;
    if ((seen & bit) != 0) return trouble.Say(" is given twice") || trouble.At(name);
    seen |= bit;
    if (!BeginsValue(field.value())) return trouble.SayMalformed(simdjson::TAPE_ERROR);
    if (!fields[index].read(field.value(), out, trouble)) return trouble.At(name);
  }
  for (std::size_t i = 0; i < fields.size(); ++i) {
    bool missing = fields[i].required && (seen >> i & 1) == 0 && !extra.IsGiven(fields[i].name);
    if (missing) return trouble.Say(" is missing") || trouble.At(fields[i].name);
  }
  return true;
}

template <typename T>
bool ReadFields(Value& value, std::span<const Field<T>> fields, T& out, Trouble& trouble,
                const Extra& extra = {}) {
  Object object;
  return ReadObject(value, object, trouble) && ReadFields<T>(object, fields, out, trouble, extra);
}

/// Reads an array, each element with `read(value, index)`.
template <typename Read>
bool ReadElements(Value& value, Trouble& trouble, Read&& read) {
  simdjson::ondemand::array array;
  if (value.get_array().get(array)) return trouble.Say(" must be an array");
  std::size_t index = 0;
  for (auto result : array) {
    Value element;
    if (auto error = std::move(result).get(element)) return trouble.SayMalformed(error);
    if (!BeginsValue(element)) return trouble.SayMalformed(simdjson::TAPE_ERROR);
    if (!read(element, index)) return trouble.At(index);
    ++index;
  }
  return true;
}

/// Reads an array of what `Read` reads.
template <auto Read, typename T>
bool ReadList(Value& value, std::vector<T>& out, Trouble& trouble) {
  return ReadElements(value, trouble, [&](Value& element, std::size_t) {
    return Read(element, out.emplace_back(), trouble);
  });
}

/// Calls `read` with the outermost value of `text`, which must be an object or an array and all
/// there is. Not reentrant: documents do not nest.
bool ReadRoot(std::string_view text, Trouble& trouble, bool (*read)(void*, Value&, Trouble&),
              void* into);

/// A whole document. `name` says what it is, for messages.
template <typename T, typename Read>
Result<T> ReadDocument(std::string_view text, Read&& read, std::string_view name = "the body",
                       ErrorCode code = ErrorCode::kInvalidArgument) {
  struct Into {
    Read& read;
    T value{};
  } into{read};
  Trouble trouble(name);
  auto call = [](void* opaque, Value& value, Trouble& t) {
    auto* target = static_cast<Into*>(opaque);
    return static_cast<bool>(target->read(value, target->value, t));
  };
  if (ReadRoot(text, trouble, call, &into)) return std::move(into.value);
  return std::unexpected(std::move(trouble).ToError(code));
}

/// At most `limit` bytes, not cut within a character.
std::string_view Clip(std::string_view text, std::size_t limit);

}  // namespace holdfast::wire
