#include "history/history_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <tuple>
#include <utility>

#include "base/json_writer.h"
#include "base/result.h"
#include "base/text.h"
#include "history/objects.h"
#include "wire/decode.h"
#include "wire/encode.h"
#include "wire/reader.h"

namespace holdfast::history {
namespace {

using base::JsonWriter;
using wire::As;
using wire::Field;
using wire::kRequired;
using wire::ReadId;
using wire::ReadInt;
using wire::ReadInteger;
using wire::ReadRaw;
using wire::ReadText;
using wire::Trouble;
using wire::Value;

constexpr std::int64_t kFormat = 1;

// ---- written

void WriteKey(JsonWriter& json, const RecordKey& key) {
  json.BeginObject();
  json.Field("kind", key.kind);
  json.Field("id", key.id);
  json.EndObject();
}

struct RequestWriter {
  JsonWriter& json;

  void operator()(const Batch& batch) { wire::WriteBatch(json, batch); }
  void operator()(const ClaimRequest& claim) { wire::WriteClaimRequest(json, claim); }
  void operator()(const AcquireLock& acquire) { wire::WriteAcquire(json, acquire); }
  void operator()(const ReadRecord& read) { WriteKey(json, read.key); }
  void operator()(const ReadJob& read) {
    json.BeginObject();
    json.Key("id");
    json.Id(read.id);
    json.EndObject();
  }
  void operator()(const ReadLock& read) {
    json.BeginObject();
    json.Field("name", read.name);
    json.EndObject();
  }
};

struct AnswerWriter {
  JsonWriter& json;

  void operator()(const Receipt& receipt) { wire::WriteReceipt(json, receipt); }
  void operator()(const std::vector<Job>& jobs) { wire::WriteJobs(json, jobs); }
  void operator()(const std::vector<LockGrant>& grants) { wire::WriteGrants(json, grants); }
  void operator()(const std::optional<Record>& record) {
    record ? wire::WriteRecord(json, *record) : json.Null();
  }
  void operator()(const std::optional<Job>& job) { job ? wire::WriteJob(json, *job) : json.Null(); }
  void operator()(const Lock& lock) { wire::WriteLock(json, lock); }
};

std::string_view TypeOf(const Observed& call) {
  if (call.answer) return "ok";
  return EndOf(call) == CallEnd::kUnknown ? "unknown" : "fail";
}

/// The beginning or the end of a call.
struct HistoryEvent {
  std::int64_t index = 0;
  const Observed* call = nullptr;
  bool is_end = false;
};

std::vector<HistoryEvent> EventsOf(const std::vector<const Observed*>& calls) {
  std::vector<HistoryEvent> events;
  for (const Observed* call : calls) {
    events.push_back({call->invoked, call, false});
    // Who never heard of it has seen no end.
    if (call->answer || call->error) events.push_back({call->returned, call, true});
  }
  std::ranges::sort(events, {}, &HistoryEvent::index);
  return events;
}

void WriteError(JsonWriter& json, const Error& error) {
  json.Key("error");
  json.BeginObject();
  wire::WriteErrorFields(json, error);
  json.EndObject();
}

std::string LineOf(const HistoryEvent& event) {
  const Observed& call = *event.call;
  JsonWriter json;
  json.BeginObject();
  json.Field("index", event.index);
  json.Field("t_ns", event.is_end ? call.returned_ns : call.invoked_ns);
  json.Field("process", call.process);
  json.Field("type", event.is_end ? TypeOf(call) : "invoke");
  json.Field("call", NameOf(call.request));
  if (!event.is_end) {
    if (!call.actor.empty()) json.Field("actor", call.actor);
    json.Key("request");
    std::visit(RequestWriter{json}, call.request);
  } else if (call.answer) {
    json.Key("answer");
    std::visit(AnswerWriter{json}, *call.answer);
  } else {
    WriteError(json, *call.error);
  }
  json.EndObject();
  return std::move(json).Take();
}

std::string HeaderOf(const Source& source) {
  JsonWriter json;
  json.BeginObject();
  json.Field("holdfast_history", kFormat);
  json.Field("engine", source.engine);
  json.Field("version", source.version);
  json.Field("seed", fmt::to_string(source.seed));
  json.Field("scenario", source.scenario);
  json.EndObject();
  return std::move(json).Take();
}

std::unexpected<Error> CannotWrite(const std::string& path) {
  return Fail(ErrorCode::kUnavailable,
              fmt::format("cannot write {}: {}", path, std::strerror(errno)));
}

// ---- read

struct Header {
  std::int64_t format = 0;
  std::string seed;
  Source source;
};
template <auto Member>
bool OfSource(Value& value, Header& header, Trouble& trouble) {
  return As<ReadText, Member>(value, header.source, trouble);
}
constexpr Field<Header> kHeaderFields[] = {
    {"holdfast_history", As<ReadInteger, &Header::format>, kRequired},
    {"engine", OfSource<&Source::engine>, kRequired},
    {"version", OfSource<&Source::version>, kRequired},
    {"seed", As<ReadText, &Header::seed>, kRequired},
    {"scenario", OfSource<&Source::scenario>, kRequired},
};

struct Line {
  std::int64_t index = 0;
  std::int64_t t_ns = 0;
  int process = 0;
  std::string type;
  std::string call;
  std::string actor;
  std::optional<std::string> request;
  std::optional<std::string> answer;
  std::optional<std::string> error;
};
constexpr Field<Line> kLineFields[] = {
    {"index", As<ReadInteger, &Line::index>, kRequired},
    {"t_ns", As<ReadInteger, &Line::t_ns>, kRequired},
    {"process", As<ReadInt, &Line::process>, kRequired},
    {"type", As<ReadText, &Line::type>, kRequired},
    {"call", As<ReadText, &Line::call>, kRequired},
    {"actor", As<ReadText, &Line::actor>},
    {"request", As<ReadRaw, &Line::request>},
    {"answer", As<ReadRaw, &Line::answer>},
    {"error", As<ReadRaw, &Line::error>},
};
constexpr Field<ReadJob> kReadJobFields[] = {{"id", As<ReadId, &ReadJob::id>, kRequired}};
constexpr Field<ReadLock> kReadLockFields[] = {{"name", As<ReadText, &ReadLock::name>, kRequired}};
constexpr Field<RecordKey> kReadRecordFields[] = {
    {"kind", As<ReadText, &RecordKey::kind>, kRequired},
    {"id", As<ReadText, &RecordKey::id>, kRequired},
};

template <typename T, std::size_t N>
Result<T> ReadWhole(std::string_view text, const Field<T> (&fields)[N], std::string_view name) {
  return wire::ReadDocument<T>(
      text,
      [&](Value& value, T& out, Trouble& trouble) {
        return wire::ReadFields<T>(value, std::span<const Field<T>>(fields), out, trouble);
      },
      name);
}

/// As `wanted`, which may be of another type than T.
template <typename To, typename T>
Result<To> Convert(Result<T> value) {
  if (!value) return std::unexpected(std::move(value).error());
  return To(*std::move(value));
}

Result<Request> ParseRequest(std::string_view call, std::string_view text) {
  if (call == "commit") return Convert<Request>(wire::DecodeBatch(text));
  if (call == "claim") return Convert<Request>(wire::DecodeClaimRequest(text));
  if (call == "acquire") return Convert<Request>(wire::DecodeAcquire({}, text, {}));
  if (call == "get_job") return Convert<Request>(ReadWhole(text, kReadJobFields, "the request"));
  if (call == "get_lock") return Convert<Request>(ReadWhole(text, kReadLockFields, "the request"));
  if (call == "get_record") {
    HF_ASSIGN_OR_RETURN(RecordKey key, ReadWhole(text, kReadRecordFields, "the request"));
    return Request(ReadRecord{std::move(key)});
  }
  return Fail(ErrorCode::kInvalidArgument, "call is none that is known");
}

template <typename T>
Result<Answer> ParseIfThere(std::string_view text, Result<T> (*decode)(std::string_view)) {
  if (text == "null") return Answer(std::optional<T>());
  HF_ASSIGN_OR_RETURN(T value, decode(text));
  return Answer(std::optional<T>(std::move(value)));
}

Result<Answer> ParseAnswer(const Request& request, std::string_view text) {
  if (std::holds_alternative<Batch>(request)) return Convert<Answer>(wire::DecodeReceipt(text));
  if (std::holds_alternative<ClaimRequest>(request))
    return Convert<Answer>(wire::DecodeClaimedJobs(text));
  if (std::holds_alternative<AcquireLock>(request))
    return Convert<Answer>(wire::DecodeGrants(text));
  if (std::holds_alternative<ReadRecord>(request)) return ParseIfThere(text, &wire::DecodeRecord);
  if (std::holds_alternative<ReadJob>(request)) return ParseIfThere(text, &wire::DecodeJob);
  return Convert<Answer>(wire::DecodeLock(text));
}

/// Puts lines together to calls.
class Assembler {
 public:
  explicit Assembler(History& history) : history_(history) {}

  Result<void> Add(std::string_view text) {
    HF_ASSIGN_OR_RETURN(Line line, ReadWhole(text, kLineFields, "the event"));
    if (line.index <= last_index_) return Wrong("index does not rise");
    last_index_ = line.index;
    return line.type == "invoke" ? Begin(line) : End(line);
  }

 private:
  static std::unexpected<Error> Wrong(std::string what) {
    return Fail(ErrorCode::kInvalidArgument, std::move(what));
  }

  Result<void> Begin(const Line& line) {
    if (!line.request || line.answer || line.error) return Wrong("an invoke has a request alone");
    if (open_.contains(line.process)) return Wrong("the process is in a call already");
    HF_ASSIGN_OR_RETURN(Request request, ParseRequest(line.call, *line.request));
    open_.emplace(line.process, history_.calls.size());
    history_.calls.push_back({.process = line.process,
                              .actor = line.actor,
                              .request = std::move(request),
                              .invoked = line.index,
                              .invoked_ns = line.t_ns});
    return {};
  }

  Result<void> End(const Line& line) {
    auto open = open_.find(line.process);
    if (open == open_.end()) return Wrong("the process is in no call");
    Observed& call = history_.calls[open->second];
    open_.erase(open);
    if (line.call != NameOf(call.request)) return Wrong("the process is in another call");
    if (line.request || line.answer.has_value() == line.error.has_value()) {
      return Wrong("an end has an answer or an error");
    }
    call.returned = line.index;
    call.returned_ns = line.t_ns;
    if (line.answer) {
      HF_ASSIGN_OR_RETURN(call.answer, ParseAnswer(call.request, *line.answer));
    } else {
      call.error = wire::DecodeProblem(*line.error, 500);
    }
    if (line.type != TypeOf(call)) return Wrong("type does not go with the answer or error");
    return {};
  }

  History& history_;
  std::int64_t last_index_ = -1;
  std::map<int, std::size_t> open_;  // the call a process is in
};

Result<void> ReadHeader(std::string_view text, Source& source) {
  HF_ASSIGN_OR_RETURN(Header header, ReadWhole(text, kHeaderFields, "the header"));
  if (header.format != kFormat) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("format {} is not known, only {}", header.format, kFormat));
  }
  char* end = nullptr;
  source = std::move(header.source);
  source.seed = std::strtoull(header.seed.c_str(), &end, 10);
  if (header.seed.empty() || *end != '\0') {
    return Fail(ErrorCode::kInvalidArgument, "seed is not a number");
  }
  return {};
}

}  // namespace

Result<void> WriteHistory(const History& history, const std::string& path) {
  std::ofstream file(path, std::ios::trunc);
  file << HeaderOf(history.source) << '\n';
  std::vector<const Observed*> calls;
  for (const Observed& call : history.calls) calls.push_back(&call);
  for (const HistoryEvent& event : EventsOf(calls)) file << LineOf(event) << '\n';
  file.close();
  if (!file) return CannotWrite(path);
  return {};
}

Result<History> ReadHistory(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    return Fail(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kUnavailable,
                fmt::format("cannot read {}: {}", path, std::strerror(errno)));
  }
  History history;
  Assembler assembler(history);
  std::string text;
  for (std::int64_t number = 1; std::getline(file, text); ++number) {
    Result<void> read = number == 1 ? ReadHeader(text, history.source) : assembler.Add(text);
    if (read) continue;
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{} line {}: {}", path, number, read.error().message));
  }
  if (file.bad()) return Fail(ErrorCode::kUnavailable, fmt::format("cannot read {}", path));
  if (history.source.engine.empty()) {
    return Fail(ErrorCode::kInvalidArgument, fmt::format("{} is not a history", path));
  }
  return history;
}

Result<void> ExportJepsen(const History& history, const std::string& path) {
  std::map<std::string, std::vector<const Observed*>> by_object;
  for (const Observed& call : history.calls) {
    for (const std::string& object : ObjectsOf(call)) by_object[object].push_back(&call);
  }
  std::ofstream file(path, std::ios::trunc);
  file << '[';
  bool is_first = true;
  for (const auto& [object, calls] : by_object) {
    for (const HistoryEvent& event : EventsOf(calls)) {
      const Observed& call = *event.call;
      JsonWriter json;
      json.BeginObject();
      json.Field("index", event.index);
      json.Field("time", event.is_end ? call.returned_ns : call.invoked_ns);
      json.Field("process", call.process);
      const std::string_view type = event.is_end ? TypeOf(call) : "invoke";
      json.Field("type", type == "unknown" ? "info" : type);
      json.Field("f", NameOf(call.request));
      json.Field("key", object);
      json.Key("value");
      if (event.is_end && call.answer) {
        std::visit(AnswerWriter{json}, *call.answer);
      } else {
        std::visit(RequestWriter{json}, call.request);
      }
      if (event.is_end && call.error) json.Field("error", InfoOf(call.error->code).name);
      json.EndObject();
      file << (std::exchange(is_first, false) ? "\n" : ",\n") << json.text();
    }
  }
  file << "\n]\n";
  file.close();
  if (!file) return CannotWrite(path);
  return {};
}

}  // namespace holdfast::history
