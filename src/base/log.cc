#include "base/log.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "base/json_writer.h"
#include "base/printable.h"
#include "base/text.h"
#include "holdfast/time.h"

namespace holdfast::base {
namespace {

constexpr std::string_view kLevelNames[] = {"debug", "info", "warning", "error"};

bool NeedsQuotes(std::string_view value) {
  return value.empty() || value.find_first_of(" \"=") != std::string_view::npos ||
         !IsPrintable(value);
}

std::string FormatText(const LogEvent& event, std::string_view time) {
  std::string line =
      fmt::format("{} {:<7} {}", time, kLevelNames[static_cast<int>(event.level)], event.name);
  for (const auto& [name, value] : event.fields) {
    line += fmt::format(" {}=", name);
    if (NeedsQuotes(value)) {
      std::string quoted;
      AppendJsonString(quoted, value);
      line += PrintableJson(quoted);
    } else {
      line += value;
    }
  }
  return line;
}

std::string FormatJson(const LogEvent& event, std::string_view time) {
  JsonWriter json;
  json.BeginObject();
  json.Field("time", time);
  json.Field("level", kLevelNames[static_cast<int>(event.level)]);
  json.Field("event", event.name);
  for (const auto& [name, value] : event.fields) json.Field(name, value);
  json.EndObject();
  return std::move(json).Take();
}

class StderrLog final : public LogSink {
 public:
  StderrLog(LogLevel minimum, LogFormat format)
      : minimum_(minimum),
        format_(format),
        logger_("holdfast", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    logger_.set_pattern("%v");
    logger_.set_level(spdlog::level::trace);
  }

  bool IsEnabled(LogLevel level) const override { return level >= minimum_; }

  void Write(const LogEvent& event) override {
    std::string time = FormatTime(Clock::System().Wall());
    logger_.info("{}",
                 format_ == LogFormat::kText ? FormatText(event, time) : FormatJson(event, time));
  }

 private:
  const LogLevel minimum_;
  const LogFormat format_;
  spdlog::logger logger_;
};

}  // namespace

std::unique_ptr<LogSink> MakeStderrLog(LogLevel minimum, LogFormat format) {
  return std::make_unique<StderrLog>(minimum, format);
}

}  // namespace holdfast::base
