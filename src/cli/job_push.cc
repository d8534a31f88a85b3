// holdfast job push: one job from the command line, or one for each line of a file or of stdin.
//
// A file is checked as a whole before anything is stored. What comes through a pipe cannot be:
// there, everything in front of a bad line is stored and nothing from it on. Either way the last
// word on stderr says exactly what was stored.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <memory>

#include "base/json.h"
#include "base/result.h"
#include "cli/cli.h"
#include "cli/input.h"
#include "cli/progress.h"
#include "wire/decode.h"
#include "wire/encode.h"

namespace holdfast::cli {
namespace {

constexpr std::size_t kLinesOfCommit = 500;           // lines to one commit
constexpr std::size_t kMaxPayload = 256 * 1024;       // JOB-12
constexpr std::size_t kMaxLine = kMaxPayload + 4096;  // room for white space around it

struct PushOptions {
  JobSpec spec;
  std::string unique_key;
  std::optional<base::JsonPointer> unique_key_from;
  OnConflict on_conflict = OnConflict::kReject;
  std::string idempotency_key;
  std::string file;
  bool from_stdin = false;
};

/// A line that holds a payload.
struct Line {
  std::int64_t number = 0;
  std::string payload;
};

Error AtLine(std::int64_t number, Error error) {
  error.message = fmt::format("line {}: {}", number, error.message);
  return error;
}

/// The text or whole number that the payload has at --unique-key-from.
Result<std::string> UniqueKeyIn(const std::string& payload, const base::JsonPointer& path) {
  HF_ASSIGN_OR_RETURN(base::Json json, base::ParseJson("payload", payload));
  const base::Json* value = path.Find(json);
  if (value != nullptr && value->is_string() && !value->get_ref<const std::string&>().empty()) {
    return value->get<std::string>();
  }
  if (value != nullptr && value->is_number_integer()) return base::ToText(*value);
  return Fail(
      ErrorCode::kInvalidArgument,
      fmt::format("the payload has no unique key at {}: a text or a whole number", path.text()));
}

Result<void> CheckPayload(const Line& line, const PushOptions& options) {
  if (line.payload.size() > kMaxPayload) {
    return Fail(ErrorCode::kPayloadTooLarge, "the payload is over 256 KiB");
  }
  HF_RETURN_IF_ERROR(wire::ValidateJson("payload", line.payload, wire::JsonShape::kAny));
  if (options.unique_key_from) {
    HF_RETURN_IF_ERROR(UniqueKeyIn(line.payload, *options.unique_key_from));
  }
  return {};
}

Result<void> CheckLine(const Line& line, const PushOptions& options) {
  auto valid = CheckPayload(line, options);
  if (!valid) return std::unexpected(AtLine(line.number, valid.error()));
  return {};
}

Result<RetryDelay> ParseRetry(const std::string& text) {
  if (auto retry = wire::DecodeRetry(text)) return *retry;
  return Fail(ErrorCode::kInvalidArgument,
              R"(it is JSON such as {"initial":"5s","factor":2,"max":"1h","jitter":0.1})");
}

/// "1 job", "1,234 jobs".
std::string CountOf(const std::vector<JobId>& ids) {
  return WithCommas(static_cast<std::int64_t>(ids.size())) + (ids.size() == 1 ? " job" : " jobs");
}

/// Splits what a file descriptor gives into lines.
class LineReader {
 public:
  explicit LineReader(int fd) : fd_(fd) {}

  /// The next line that is not blank; nothing at the end. Errors: unavailable (cannot be read),
  /// payload_too_large (a line that cannot be a payload).
  Result<std::optional<Line>> Next() {
    while (true) {
      std::size_t end = buffer_.find('\n', searched_);
      if (end == std::string::npos) {
        searched_ = buffer_.size();
        if (buffer_.size() - start_ > kMaxLine) return TooLong();
        if (!at_end_) {
          HF_RETURN_IF_ERROR(Fill());
          continue;
        }
        if (start_ == buffer_.size()) return std::nullopt;
        end = buffer_.size();
      }
      if (end - start_ > kMaxLine) return TooLong();
      auto text = TrimBlanks(std::string_view(buffer_).substr(start_, end - start_));
      Line line{++number_, std::string(text)};
      start_ = searched_ = std::min(end + 1, buffer_.size());
      if (!line.payload.empty()) return line;
    }
  }

  /// Whether Next would have to wait for whoever writes.
  bool WouldWait() const {
    if (at_end_ || buffer_.find('\n', start_) != std::string::npos) return false;
    pollfd poll_fd{fd_, POLLIN, 0};
    return poll(&poll_fd, 1, 0) == 0;
  }

  std::int64_t number() const { return number_; }

 private:
  std::unexpected<Error> TooLong() const {
    return Fail(ErrorCode::kPayloadTooLarge,
                fmt::format("line {}: the payload is over 256 KiB", number_ + 1));
  }

  Result<void> Fill() {
    buffer_.erase(0, start_);
    searched_ -= start_;
    start_ = 0;
    HF_ASSIGN_OR_RETURN(bool more, ReadSome(fd_, buffer_));
    at_end_ = !more;
    return {};
  }

  const int fd_;
  std::string buffer_;
  std::size_t start_ = 0;     // of the next line
  std::size_t searched_ = 0;  // no line end from start_ to here
  std::int64_t number_ = 0;
  bool at_end_ = false;
};

/// Pushes lines in groups and knows what became of them.
class LinePusher {
 public:
  LinePusher(Cli& cli, Store& store, const PushOptions& options, std::optional<std::int64_t> total)
      : cli_(cli), store_(store), options_(options), progress_("pushing", total) {}

  /// Errors: those of the first line that was refused.
  Result<void> Add(Line line) {
    group_.push_back(std::move(line));
    return group_.size() < kLinesOfCommit ? Result<void>() : Flush();
  }

  Result<void> Flush() {
    if (group_.empty()) return {};
    std::vector<Batch> batches;
    for (Line& line : group_) {
      HF_ASSIGN_OR_RETURN(Batch batch, BatchOf(line));
      batches.push_back(std::move(batch));
    }
    auto receipts = store_.CommitMany(cli_.MakeContext(), std::move(batches));
    Result<void> first;
    for (std::size_t i = 0; i < receipts.size(); ++i) {
      if (receipts[i]) {
        ids_.push_back(receipts[i]->results.front().job->id);
        if (receipts[i]->replayed || receipts[i]->results.front().existing) ++old_;
        continue;
      }
      refused_.push_back(group_[i].number);
      if (receipts[i].error().code == ErrorCode::kOutcomeUnknown) unknown_ = true;
      if (first) first = std::unexpected(AtLine(group_[i].number, receipts[i].error()));
    }
    last_line_ = group_.back().number;
    group_.clear();
    progress_.Update(static_cast<std::int64_t>(ids_.size()));
    return first;
  }

  /// What was stored, for people who must go on from there.
  std::string Account() const {
    std::string text = "nothing was stored";
    if (!ids_.empty()) text = CountOf(ids_) + (ids_.size() == 1 ? " was stored" : " were stored");
    if (old_ > 0) text += fmt::format(" ({} before this run)", WithCommas(old_));
    if (!refused_.empty()) {
      std::size_t shown = std::min<std::size_t>(refused_.size(), 10);
      text += fmt::format(
          "; refused: {} {}{}", refused_.size() == 1 ? "line" : "lines",
          fmt::join(refused_.begin(), refused_.begin() + shown, ", "),
          refused_.size() > shown ? fmt::format(" and {} more", refused_.size() - shown) : "");
      if (unknown_) text += ", which may have been stored all the same";
    }
    return last_line_ == 0 ? text : text + fmt::format("; not tried: lines after {}", last_line_);
  }

  void ClearProgress() { progress_.Clear(); }
  const std::vector<JobId>& ids() const { return ids_; }
  /// How many of them were there before: stored by an earlier run, or by their unique keys.
  std::int64_t old() const { return old_; }

 private:
  Result<Batch> BatchOf(Line& line) const {
    JobSpec spec = options_.spec;
    if (options_.unique_key_from) {
      HF_ASSIGN_OR_RETURN(std::string key, UniqueKeyIn(line.payload, *options_.unique_key_from));
      spec.unique = UniqueKey{.key = std::move(key), .on_conflict = options_.on_conflict};
    }
    spec.payload = std::move(line.payload);
    Batch batch;
    batch.operations.push_back(EnqueueJob{std::move(spec)});
    if (!options_.idempotency_key.empty()) {
      batch.idempotency_key = fmt::format("{}:{}", options_.idempotency_key, line.number);
    }
    return batch;
  }

  Cli& cli_;
  Store& store_;
  const PushOptions& options_;
  Progress progress_;
  std::vector<Line> group_;
  std::vector<JobId> ids_;
  std::int64_t old_ = 0;
  std::vector<std::int64_t> refused_;
  std::int64_t last_line_ = 0;
  bool unknown_ = false;
};

Result<void> PushAll(LineReader& reader, LinePusher& pusher, const PushOptions& options) {
  while (true) {
    auto line = reader.Next();
    if (line && *line) {
      if (auto valid = CheckLine(**line, options); !valid) line = std::unexpected(valid.error());
    }
    // Whatever was good up to here is stored, whether the input ends well or not.
    if (!line || !*line) {
      HF_RETURN_IF_ERROR(pusher.Flush());
      if (!line) return std::unexpected(line.error());
      return {};
    }
    HF_RETURN_IF_ERROR(pusher.Add(std::move(**line)));
    if (reader.WouldWait()) HF_RETURN_IF_ERROR(pusher.Flush());
  }
}

/// How many payloads the file holds. Errors: its first bad line.
Result<std::int64_t> CheckFile(int fd, const PushOptions& options) {
  LineReader reader(fd);
  std::int64_t count = 0;
  while (true) {
    HF_ASSIGN_OR_RETURN(std::optional<Line> line, reader.Next());
    if (!line) break;
    HF_RETURN_IF_ERROR(CheckLine(*line, options));
    ++count;
  }
  lseek(fd, 0, SEEK_SET);
  return count;
}

void PrintPushed(const LinePusher& pusher, const PushOptions& options, OutputFormat format) {
  const std::vector<JobId>& ids = pusher.ids();
  if (format == OutputFormat::kTable) {
    fmt::print("{} of kind {} in queue {}", CountOf(ids), options.spec.kind, options.spec.queue);
    if (pusher.old() > 0) fmt::print(", {} of them there before", WithCommas(pusher.old()));
    fmt::print("\n");
    return;
  }
  base::JsonWriter json;
  json.BeginObject();
  json.Field("stored", ids.size());
  if (pusher.old() > 0) json.Field("there_before", pusher.old());
  json.Key("ids");
  json.BeginArray();
  for (JobId id : ids) json.Id(id);
  json.EndArray();
  json.EndObject();
  PrintJson(json);
}

Result<int> PushLines(Cli& cli, const PushOptions& options) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Input> input, Input::Open(options.file));
  std::optional<std::int64_t> total;
  if (input->regular()) {
    auto checked = CheckFile(input->fd(), options);
    if (!checked) {
      Error error = checked.error();
      error.message += "; nothing was stored";
      return std::unexpected(error);
    }
    total = *checked;
  }
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  LineReader reader(input->fd());
  LinePusher pusher(cli, *store, options, total);
  auto pushed = PushAll(reader, pusher, options);
  pusher.ClearProgress();
  if (!pushed) {
    Error error = pushed.error();
    error.message += "; " + pusher.Account();
    return std::unexpected(error);
  }
  PrintPushed(pusher, options, cli.globals().output);
  return 0;
}

Result<int> PushOne(Cli& cli, const PushOptions& options) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  Batch batch;
  batch.operations.push_back(EnqueueJob{options.spec});
  batch.idempotency_key = options.idempotency_key;
  HF_ASSIGN_OR_RETURN(Receipt receipt, store->Commit(cli.MakeContext(), std::move(batch)));
  PrintJob(*receipt.results.front().job, cli.globals().output);
  return 0;
}

Result<int> Push(Cli& cli, PushOptions& options, bool has_payload) {
  bool many = options.from_stdin || !options.file.empty();
  if (many && (has_payload || (options.from_stdin && !options.file.empty()))) {
    return Fail(ErrorCode::kInvalidArgument,
                "the payload comes from the command line, from --file or from --stdin: name one");
  }
  if (options.unique_key.empty() && !options.unique_key_from &&
      options.on_conflict != OnConflict::kReject) {
    return Fail(ErrorCode::kInvalidArgument,
                "--on-conflict needs --unique-key or --unique-key-from");
  }
  if (options.unique_key_from && !many) {
    return Fail(ErrorCode::kInvalidArgument,
                "--unique-key-from is for --file and --stdin: name the key with --unique-key");
  }
  if (!options.unique_key.empty()) {
    if (many) {
      return Fail(ErrorCode::kInvalidArgument,
                  "--unique-key names one job: with --file or --stdin use --unique-key-from");
    }
    options.spec.unique = UniqueKey{.key = options.unique_key, .on_conflict = options.on_conflict};
  }
  return many ? PushLines(cli, options) : PushOne(cli, options);
}

void AddSpecOptions(Cli& cli, CLI::App& push, PushOptions& options) {
  JobSpec& spec = options.spec;
  cli.AddText(push, "-q,--queue", spec.queue, "NAME", "the queue (default)");
  cli.AddNumber(push, "-p,--priority", spec.priority, 0, "0 (most urgent) to 9 (4)");
  auto* delay = cli.AddDuration(push, "--delay", spec.delay, "not before this much from now");
  cli.AddTime(push, "--run-at", spec.run_at, "not before this instant")->excludes(delay);
  cli.AddNumber(push, "--max-attempts", spec.max_attempts, 1, "attempts in total (25)");
  cli.AddParsed(push, "--retry", spec.retry, &ParseRetry, "JSON",
                "how long failed attempts wait (attempt^4 seconds)");
  cli.AddText(push, "--unique-key", options.unique_key, "KEY",
              "at most one unfinished job of this kind has this key");
  cli.AddParsed(push, "--unique-key-from", options.unique_key_from, &base::JsonPointer::Parse,
                "PATH", "of each line: its key is at this JSON pointer of the payload (/id)");
  cli.AddChoice<OnConflict, OnConflict>(push, "--on-conflict", options.on_conflict,
                                        {{"reject", OnConflict::kReject},
                                         {"return", OnConflict::kReturn},
                                         {"replace", OnConflict::kReplace}},
                                        "when the unique key is taken (reject)");
  cli.AddRepeated(push, "--tag", spec.tags, "TAG", "a tag; as often as wanted");
  cli.AddText(push, "--metadata", spec.metadata, "JSON", "an object");
  cli.AddParsed(push, "--parent", spec.parent, &ParseId, "ID", "the job this one belongs to");
  cli.AddText(push, "--idempotency-key", options.idempotency_key, "KEY",
              "repeating the command with the same key stores nothing twice")
      ->check(&RefuseEmpty);
}

}  // namespace

void AddPushCommand(Cli& cli, CLI::App& job) {
  auto options = std::make_shared<PushOptions>();
  auto has_payload = std::make_shared<CLI::Option*>(nullptr);
  CLI::App& push = cli.AddCommand(
      job, "push", "Adds jobs.",
      "holdfast job push email '{\"to\":\"ada\"}' --queue mail --priority 2\n"
      "holdfast job push report --delay 1h --unique-key monthly --on-conflict return\n"
      "holdfast job push hash --file paths.jsonl          # a JSON payload a line\n"
      "holdfast job push mail --file mails.jsonl --unique-key-from /id --on-conflict return\n"
      "holdfast job push sync --retry '{\"initial\":\"5s\",\"factor\":2,\"max\":\"10m\"}'\n"
      "jq -c '.users[]' users.json | holdfast job push welcome --stdin",
      [&cli, options, has_payload] { return Push(cli, *options, (*has_payload)->count() > 0); });
  cli.AddText(push, "KIND", options->spec.kind, "", "what kind of job: 1-128 of A-Za-z0-9_.:-")
      ->required();
  *has_payload = cli.AddText(push, "PAYLOAD", options->spec.payload, "", "JSON (null)");
  push.add_flag("--stdin", options->from_stdin, "one job per line of stdin");
  cli.AddText(push, "-f,--file", options->file, "FILE",
              "one job per line of FILE, which is checked as a whole first");
  AddSpecOptions(cli, push, *options);
}

}  // namespace holdfast::cli
