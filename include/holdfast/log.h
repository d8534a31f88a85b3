// Structured log events. The library never writes a log by itself: it hands events to a sink.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError };

/// One thing that happened, for instance job_completed with {"job","7"}, {"worker","w1"}.
struct LogEvent {
  LogLevel level = LogLevel::kInfo;
  std::string_view name{};
  std::vector<std::pair<std::string_view, std::string>> fields{};
};

/// Where events go. Threads: both methods may be called from any thread, never under a lock.
class LogSink {
 public:
  virtual ~LogSink() = default;
  /// Whether an event of this level would be written: asked before one is put together.
  virtual bool IsEnabled(LogLevel level) const = 0;
  virtual void Write(const LogEvent& event) = 0;
};

}  // namespace holdfast
