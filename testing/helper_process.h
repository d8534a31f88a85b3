// Tests that need several processes start their own program again, in the role of a helper.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::testing {

using HelperMain = std::function<int(const std::vector<std::string>& arguments)>;

/// The main() of a test program with helpers: runs the helper that the command line names, or all
/// tests.
int RunHelperOrTests(int argc, char** argv, const std::map<std::string, HelperMain>& helpers);

/// A helper at work. Its stdin and stdout are pipes to the test.
class HelperProcess {
 public:
  HelperProcess(const std::string& helper, const std::vector<std::string>& arguments);
  /// Another program: its path, and its arguments.
  explicit HelperProcess(std::vector<std::string> command);
  /// Kills it if it still runs.
  ~HelperProcess();
  HelperProcess(const HelperProcess&) = delete;
  HelperProcess& operator=(const HelperProcess&) = delete;

  pid_t pid() const { return pid_; }
  /// The next line it printed; nothing at the end.
  std::optional<std::string> ReadLine();
  void WriteLine(const std::string& line);
  /// Waits until it has something to say, or this long.
  void LetRun(std::chrono::microseconds time);
  void Signal(int signal);
  /// SIGSTOP, and waits until it stands still.
  void Pause();
  void Resume();
  /// Waits for the end: the exit code, or minus the signal that ended it.
  int Wait();

 private:
  pid_t pid_ = -1;
  int to_ = -1;
  int from_ = -1;
  std::string buffer_;
  bool is_over_ = false;
};

}  // namespace holdfast::testing
