#include "wire/reader.h"

#include <fmt/format.h>

#include <cstring>
#include <limits>

#include "base/text.h"

namespace holdfast::wire {
namespace {

namespace od = simdjson::ondemand;

std::string_view Trim(std::string_view text) {
  std::size_t last = text.find_last_not_of(" \t\r\n");
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

/// The characters of a string value. Most have no escapes and are handed out where they stand.
bool ReadView(Value& value, std::string_view& out, Trouble& trouble) {
  std::string_view token = Trim(value.raw_json_token());
  if (token.empty() || token.front() != '"') return trouble.Say(" must be a string");
  if (token.size() >= 2 && token.back() == '"' &&
      std::memchr(token.data(), '\\', token.size()) == nullptr) {
    out = token.substr(1, token.size() - 2);
    return true;
  }
  if (auto error = value.get_string().get(out)) return trouble.SayMalformed(error);
  return true;
}

/// A parser keeps buffers of several times the size of what it reads, so the one that is kept for
/// the next document of this thread is not used for big ones.
constexpr std::size_t kKeptSize = 1 << 20;

struct Scratch {
  od::parser parser;
  std::string text;
};

bool ReadWith(Scratch& scratch, std::string_view text, Trouble& trouble,
              bool (*read)(void*, Value&, Trouble&), void* into) {
  // The copy gives the parser the spare bytes that it reads past the end.
  scratch.text.clear();
  scratch.text.reserve(text.size() + simdjson::SIMDJSON_PADDING);
  scratch.text.append(text);
  od::document document;
  auto error =
      scratch.parser.iterate(scratch.text.data(), scratch.text.size(), scratch.text.capacity())
          .get(document);
  if (error) return trouble.SayMalformed(error);
  od::json_type type;
  if (document.type().get(type) ||
      (type != od::json_type::object && type != od::json_type::array)) {
    return trouble.Say(" must be a JSON object");
  }
  Value root;
  if (auto bad = document.get_value().get(root)) return trouble.SayMalformed(bad);
  if (!read(into, root, trouble)) return false;
  if (!document.current_location().error()) return trouble.SayMalformed(simdjson::TAPE_ERROR);
  return true;
}

}  // namespace

std::string_view Clip(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return text;
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xC0) == 0x80) --limit;
  return text.substr(0, limit);
}

bool Trouble::Say(std::string complaint) {
  complaint_ = std::move(complaint);
  return false;
}

bool Trouble::SayMalformed(simdjson::error_code error) {
  is_malformed_ = true;
  return Say(fmt::format(" is not valid JSON: {}", simdjson::error_message(error)));
}

bool Trouble::At(std::string_view name) {
  std::string path(Clip(name, 64));
  if (!path_.empty() && path_.front() != '[') path += '.';
  path_.insert(0, path);
  return false;
}

bool Trouble::At(std::size_t index) {
  std::string path = fmt::format("[{}]", index);
  if (!path_.empty() && path_.front() != '[') path += '.';
  path_.insert(0, path);
  return false;
}

Error Trouble::ToError(ErrorCode code) && {
  bool whole = is_malformed_ || path_.empty();
  std::string message = whole ? std::string(document_) : std::move(path_);
  message += complaint_;
  return Fail(code, std::move(message), std::move(detail_)).error();
}

bool ReadRoot(std::string_view text, Trouble& trouble, bool (*read)(void*, Value&, Trouble&),
              void* into) {
  if (text.size() > kKeptSize) {
    Scratch scratch;
    return ReadWith(scratch, text, trouble, read, into);
  }
  thread_local Scratch scratch;
  return ReadWith(scratch, text, trouble, read, into);
}

bool ReadKey(od::field& field, std::string_view& out, Trouble& trouble) {
  const char* begin = field.key().raw();
  const char* end = begin;
  while (*end != '"' && *end != '\\') ++end;
  if (*end == '"') {
    out = {begin, static_cast<std::size_t>(end - begin)};
    return true;
  }
  if (auto error = field.unescaped_key().get(out)) return trouble.SayMalformed(error);
  return true;
}

bool IsNull(Value& value) {
  return Trim(value.raw_json_token()) == "null";
}

bool FindField(Object& object, std::string_view name, bool& found, Trouble& trouble) {
  auto error = object.find_field_unordered(name).error();
  found = error == simdjson::SUCCESS;
  if (!found && error != simdjson::NO_SUCH_FIELD) return trouble.SayMalformed(error);
  if (auto bad = object.reset().error()) return trouble.SayMalformed(bad);
  return true;
}

bool ReadObject(Value& value, Object& out, Trouble& trouble) {
  if (value.get_object().get(out)) return trouble.Say(" must be an object");
  return true;
}

bool ReadText(Value& value, std::string& out, Trouble& trouble) {
  std::string_view text;
  if (!ReadView(value, text, trouble)) return false;
  out = text;
  return true;
}

bool ReadRaw(Value& value, std::string& out, Trouble& trouble) {
  std::string_view text;
  if (auto error = simdjson::to_json_string(value).get(text)) return trouble.SayMalformed(error);
  out = Trim(text);
  return true;
}

bool ReadId(Value& value, std::int64_t& out, Trouble& trouble) {
  std::string_view token = Trim(value.raw_json_token());
  if (token.size() >= 2 && token.front() == '"') token = token.substr(1, token.size() - 2);
  auto number = base::ParseInteger(token);
  if (!number) return trouble.Say(R"( must be a decimal number in a string, such as "7")");
  out = *number;
  return true;
}

bool ReadInteger(Value& value, std::int64_t& out, Trouble& trouble) {
  if (value.get_int64().get(out)) return trouble.Say(" must be a whole number of 64 bits");
  return true;
}

bool ReadInt(Value& value, int& out, Trouble& trouble) {
  std::int64_t number = 0;
  if (value.get_int64().get(number)) return trouble.Say(" must be a whole number");
  if (number < std::numeric_limits<int>::min() || number > std::numeric_limits<int>::max()) {
    return trouble.Say(" is out of range");
  }
  out = static_cast<int>(number);
  return true;
}

bool ReadDouble(Value& value, double& out, Trouble& trouble) {
  if (value.get_double().get(out)) return trouble.Say(" must be a number");
  return true;
}

bool ReadNumber(Value& value, std::variant<std::int64_t, double>& out, Trouble& trouble) {
  std::string_view token = Trim(value.raw_json_token());
  bool is_number = !token.empty() && (token.front() == '-' || IsDigit(token.front()));
  if (!is_number) return trouble.Say(" must be a number");
  if (token.find_first_of(".eE") == std::string_view::npos) {
    if (value.get_int64().get(out.emplace<std::int64_t>()) == simdjson::SUCCESS) return true;
    return trouble.Say(
        " is a whole number beyond 64 bits (a fraction or an exponent makes it a "
        "floating-point number)");
  }
  if (value.get_double().get(out.emplace<double>()) == simdjson::SUCCESS) return true;
  return trouble.Say(" is not a number, or beyond the range of a floating-point number");
}

bool ReadBool(Value& value, bool& out, Trouble& trouble) {
  if (value.get_bool().get(out)) return trouble.Say(" must be true or false");
  return true;
}

bool ReadTime(Value& value, Time& out, Trouble& trouble) {
  std::string_view text;
  if (!ReadView(value, text, trouble)) return false;
  auto time = base::ParseTime(Clip(text, 64));
  if (!time) return trouble.Say(": " + time.error().message);
  out = *time;
  return true;
}

bool ReadDuration(Value& value, Duration& out, Trouble& trouble) {
  std::string_view text;
  if (!ReadView(value, text, trouble)) return false;
  auto duration = base::ParseDuration(Clip(text, 64));
  if (!duration) return trouble.Say(": " + duration.error().message);
  out = *duration;
  return true;
}

bool ReadState(Value& value, JobState& out, Trouble& trouble) {
  std::string_view text;
  if (!ReadView(value, text, trouble)) return false;
  auto state = ParseJobState(text);
  if (!state) return trouble.Say(fmt::format(": '{}' is not a job state", Clip(text, 64)));
  out = *state;
  return true;
}

bool ReadStates(Value& value, JobStates& out, Trouble& trouble) {
  JobStates states;
  bool ok = ReadElements(value, trouble, [&](Value& element, std::size_t) {
    JobState state{};
    if (!ReadState(element, state, trouble)) return false;
    states.Add(state);
    return true;
  });
  out = states;
  return ok;
}

bool ReadTextList(Value& value, std::vector<std::string>& out, Trouble& trouble) {
  return ReadList<ReadText>(value, out, trouble);
}

bool ReadCursor(Value& value, std::string& out, Trouble& trouble) {
  if (IsNull(value)) return true;
  return ReadText(value, out, trouble);
}

bool ReadBound(Value& value, std::optional<std::int64_t>& out, Trouble& trouble) {
  if (IsNull(value)) return true;
  return ReadInteger(value, out.emplace(), trouble);
}

}  // namespace holdfast::wire
