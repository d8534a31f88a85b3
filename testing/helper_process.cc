#include "testing/helper_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "base/check.h"

extern char** environ;

namespace holdfast::testing {
namespace {

constexpr const char* kFlag = "--helper";

std::vector<std::string> CommandOf(const std::string& helper,
                                   const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {"/proc/self/exe", kFlag, helper};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

}  // namespace

int RunHelperOrTests(int argc, char** argv, const std::map<std::string, HelperMain>& helpers) {
  if (argc >= 3 && std::string(argv[1]) == kFlag) {
    auto helper = helpers.find(argv[2]);
    HF_CHECK(helper != helpers.end());
    // It would go on for ever if the test were killed.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    return helper->second({argv + 3, argv + argc});
  }
  ::signal(SIGPIPE, SIG_IGN);  // writing to a helper that was killed
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

HelperProcess::HelperProcess(const std::string& helper, const std::vector<std::string>& arguments)
    : HelperProcess(CommandOf(helper, arguments)) {}

HelperProcess::HelperProcess(std::vector<std::string> words) {
  int in[2];
  int out[2];
  // Close-on-exec, so that no helper keeps the pipes of another one open.
  HF_CHECK(::pipe2(in, O_CLOEXEC) == 0 && ::pipe2(out, O_CLOEXEC) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  HF_CHECK(::posix_spawn(&pid_, words[0].c_str(), &actions, nullptr, argv.data(), environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  ::close(in[0]);
  ::close(out[1]);
  to_ = in[1];
  from_ = out[0];
}

HelperProcess::~HelperProcess() {
  if (!is_over_) {
    Signal(SIGKILL);
    Wait();
  }
  ::close(to_);
  ::close(from_);
}

std::optional<std::string> HelperProcess::ReadLine() {
  while (true) {
    std::size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    char chunk[65536];
    ssize_t count = ::read(from_, chunk, sizeof chunk);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return std::nullopt;  // a line that was cut off says nothing
    buffer_.append(chunk, static_cast<std::size_t>(count));
  }
}

void HelperProcess::WriteLine(const std::string& line) {
  std::string text = line + "\n";
  HF_CHECK(::write(to_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

void HelperProcess::LetRun(std::chrono::microseconds time) {
  pollfd watched{.fd = from_, .events = POLLIN, .revents = 0};
  timespec timeout{.tv_sec = time.count() / 1'000'000, .tv_nsec = time.count() % 1'000'000 * 1'000};
  ::ppoll(&watched, 1, &timeout, nullptr);
}

void HelperProcess::Signal(int signal) {
  HF_CHECK(::kill(pid_, signal) == 0);
}

void HelperProcess::Pause() {
  Signal(SIGSTOP);
  int status = 0;
  HF_CHECK(::waitpid(pid_, &status, WUNTRACED) == pid_ && WIFSTOPPED(status));
}

void HelperProcess::Resume() {
  Signal(SIGCONT);
}

int HelperProcess::Wait() {
  int status = 0;
  HF_CHECK(::waitpid(pid_, &status, 0) == pid_);
  is_over_ = true;
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace holdfast::testing
