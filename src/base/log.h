// The log sinks that programs use, and a way to log that costs nothing when nobody listens.
#pragma once

#include <memory>
#include <string_view>

#include "holdfast/log.h"

namespace holdfast::base {

enum class LogFormat { kText, kJson };

/// Writes one line an event to stderr, from whichever thread logs.
std::unique_ptr<LogSink> MakeStderrLog(LogLevel minimum, LogFormat format);

/// `Log(sink, LogLevel::kInfo, "job_completed", [&] { return Fields{{"job", ...}}; });`
/// `fields` is called only if somebody listens.
using Fields = std::vector<std::pair<std::string_view, std::string>>;
template <typename MakeFields>
void Log(LogSink* sink, LogLevel level, std::string_view name, MakeFields&& fields) {
  if (sink == nullptr || !sink->IsEnabled(level)) return;
  sink->Write(LogEvent{level, name, fields()});
}

}  // namespace holdfast::base
