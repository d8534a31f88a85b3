// Runs a command of the user's: input in, output and errors out, and a sure end when it must stop.
//
// The command gets a process group of its own, so that all it started can be told to end, and dies
// with this process even if that is killed.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/error.h"
#include "holdfast/time.h"

namespace holdfast::cli {

class StopSignals;

/// The program that `name` means, as a path. Errors: invalid_argument (there is none such).
Result<std::string> FindProgram(const std::string& name);

struct ChildSpec {
  std::string program;               ///< a path
  std::vector<std::string> command;  ///< argv
  /// "NAME=value", besides this process's environment.
  std::vector<std::string> environment;
  std::string_view input;  ///< what it reads on stdin
  std::size_t max_output = 1024 * 1024;
  std::size_t error_tail = 4096;
  /// Begins every line of stderr that is passed on; such lines are passed on whole.
  std::string error_prefix{};
  /// From being asked to end (SIGTERM) until being made to (SIGKILL).
  Duration kill_after = std::chrono::seconds(5);
  /// Its stdin, stdout and stderr are those of this process; nothing is fed, kept or limited. If
  /// stdin is a terminal, it is the command's as long as it runs.
  bool pass_through = false;
  StopSignals* signals = nullptr;  ///< what comes there is passed on to its process group
  std::function<void()> on_stop;   ///< just before it is asked to end
};

struct ChildResult {
  int exit_code = 0;
  int signal = 0;                ///< that ended it; 0: it exited by itself
  std::string output;            ///< what it wrote to stdout
  bool output_too_long = false;  ///< it wrote more than max_output, and was killed for that
  std::string error_tail;        ///< the end of what it wrote to stderr, which was passed on
  bool was_stopped = false;      ///< `stop` or `at_once` fired before it ended
};

/// Blocks until the command ended, and with it all of its process group. `stop` asks it to end,
/// `at_once` makes it. Errors: unavailable (no process could be made), invalid_argument (the
/// program cannot be run).
///
/// Threads: any, each with its own command.
Result<ChildResult> RunChild(const ChildSpec& spec, std::stop_token stop, std::stop_token at_once);

/// "SIGTERM", or "signal 42".
std::string SignalName(int signal);

}  // namespace holdfast::cli
