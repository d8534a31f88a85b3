#include "cli/output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

#include "base/text.h"
#include "holdfast/batch.h"
#include "wire/encode.h"

namespace holdfast::cli {
namespace {

/// Characters that show: a code point counts as one, a colour sequence of ours as none.
std::size_t WidthOf(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      i = std::min(text.find('m', i), text.size());
    } else if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) {
      ++width;
    }
  }
  return width;
}

bool UseColour() {
  static const bool use = [] {
    const char* none = std::getenv("NO_COLOR");
    const char* term = std::getenv("TERM");
    return isatty(STDOUT_FILENO) != 0 && (none == nullptr || *none == '\0') && term != nullptr &&
           std::string_view(term) != "dumb";
  }();
  return use;
}

const char* ColourOf(JobState state) {
  switch (state) {
    case JobState::kScheduled:
      return "\x1b[36m";
    case JobState::kPending:
      return "\x1b[34m";
    case JobState::kProcessing:
      return "\x1b[33m";
    case JobState::kCompleted:
      return "\x1b[32m";
    case JobState::kFailed:
      return "\x1b[31m";
    case JobState::kCancelled:
      return "\x1b[90m";
  }
  return "";
}

void PrintSettings(const Job& job) {
  PrintLine("queue", job.queue);
  PrintLine("kind", job.kind);
  PrintLine("state", Paint(job.state) + (job.cancel_requested ? " (cancel requested)" : ""));
  PrintLine("attempt", fmt::format("{} of {}", job.attempt, job.max_attempts));
  PrintLine("priority", std::to_string(job.priority));
  if (!job.unique_key.empty()) PrintLine("unique key", Printable(job.unique_key));
  if (job.parent) PrintLine("parent", std::to_string(*job.parent));
  if (!job.tags.empty()) PrintLine("tags", Printable(fmt::format("{}", fmt::join(job.tags, ", "))));
  if (job.metadata != "{}" && !job.metadata.empty()) PrintLine("metadata", Printable(job.metadata));
}

void PrintTimes(const Job& job) {
  PrintLine("created", ShortTime(job.created_at));
  PrintLine("due", ShortTime(job.run_at));
  if (job.started_at) PrintLine("started", ShortTime(job.started_at));
  if (job.finished_at) PrintLine("finished", ShortTime(job.finished_at));
  if (!job.worker.empty()) PrintLine("worker", Printable(job.worker));
  if (job.token != 0) PrintLine("token", std::to_string(job.token));
  if (job.lease_expires_at) PrintLine("lease ends", ShortTime(job.lease_expires_at));
  if (job.progress) {
    PrintLine("progress", fmt::format("{:.0f}% {}", *job.progress * 100, Printable(job.message)));
  }
}

}  // namespace

std::string Table::Render() const {
  std::vector<std::size_t> widths;
  for (const Column& column : columns_) widths.push_back(WidthOf(column.title));
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], WidthOf(row[i]));
  }
  std::string out;
  auto add_line = [&](auto cell) {
    std::string line;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      std::string_view text = cell(i);
      std::string padding(widths[i] - WidthOf(text), ' ');
      if (i > 0) line += "  ";
      line += columns_[i].right ? padding + std::string(text) : std::string(text) + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  add_line([&](std::size_t i) { return std::string_view(columns_[i].title); });
  for (const auto& row : rows_) {
    add_line([&](std::size_t i) { return std::string_view(row[i]); });
  }
  return out;
}

void Table::Print() const {
  std::string text = Render();
  std::fwrite(text.data(), 1, text.size(), stdout);
}

std::string ShortTime(const std::optional<Time>& time) {
  if (!time) return "-";
  std::string text = base::FormatTime(*time);
  text[10] = ' ';
  return text.substr(0, 19);
}

std::string RoughDuration(Duration duration) {
  double seconds = std::chrono::duration<double>(duration).count();
  if (seconds < 0) seconds = 0;
  if (seconds < 10) return fmt::format("{:.1f}s", seconds);
  if (seconds < 120) return fmt::format("{:.0f}s", seconds);
  if (seconds < 7200) return fmt::format("{:.0f}m", seconds / 60);
  if (seconds < 172800) return fmt::format("{:.0f}h", seconds / 3600);
  return fmt::format("{:.0f}d", seconds / 86400);
}

std::string WithCommas(std::int64_t number) {
  std::string text = std::to_string(number);
  std::size_t first = text.starts_with('-') ? 1 : 0;
  for (std::size_t at = text.size(); at > first + 3;) {
    at -= 3;
    text.insert(at, 1, ',');
  }
  return text;
}

std::string Paint(JobState state) {
  std::string name(NameOf(state));
  return UseColour() ? ColourOf(state) + name + "\x1b[0m" : name;
}

std::string Describe(const Error& error) {
  std::string text = fmt::format("{}: {}", InfoOf(error.code).name, Printable(error.message));
  // When a lease ends is no promise that the lock is free then: the message of busy says so.
  if (error.detail.retry_after && error.code != ErrorCode::kBusy) {
    text += fmt::format(" (try again in {})", RoughDuration(*error.detail.retry_after));
  }
  return text;
}

void PrintLine(std::string_view name, std::string_view value) {
  fmt::print("{:<13} {}\n", name, value);
}

void PrintJson(const base::JsonWriter& json) {
  std::fwrite(json.text().data(), 1, json.text().size(), stdout);
  std::fputc('\n', stdout);
}

void PrintJob(const Job& job, OutputFormat format) {
  if (format == OutputFormat::kJson) {
    base::JsonWriter json;
    wire::WriteJob(json, job);
    return PrintJson(json);
  }
  PrintLine("id", std::to_string(job.id));
  PrintSettings(job);
  PrintTimes(job);
  PrintLine("payload", Printable(job.payload));
  if (job.result) PrintLine("result", Printable(*job.result));
  for (const JobError& error : job.errors) {
    PrintLine(fmt::format("error {}", error.attempt),
              fmt::format("{} {}: {}", ShortTime(error.at), Printable(error.worker),
                          Printable(error.message)));
  }
}

void PrintJobs(const std::vector<Job>& jobs, bool with_tokens) {
  std::vector<Column> columns = {{"ID", true},   {"STATE"},         {"QUEUE"},   {"KIND"},
                                 {"PRIO", true}, {"ATTEMPT", true}, {"CREATED"}, {"DUE"},
                                 {"FINISHED"},   {"WORKER"}};
  if (with_tokens) columns.insert(columns.begin() + 1, {"TOKEN", true});
  Table table(std::move(columns));
  for (const Job& job : jobs) {
    std::vector<std::string> row = {std::to_string(job.id),
                                    Paint(job.state),
                                    job.queue,
                                    job.kind,
                                    std::to_string(job.priority),
                                    fmt::format("{}/{}", job.attempt, job.max_attempts),
                                    ShortTime(job.created_at),
                                    ShortTime(job.run_at),
                                    ShortTime(job.finished_at),
                                    job.worker.empty() ? "-" : Printable(job.worker, 40)};
    if (with_tokens) row.insert(row.begin() + 1, std::to_string(job.token));
    table.AddRow(std::move(row));
  }
  table.Print();
}

}  // namespace holdfast::cli
