#include "cli/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
extern "C" {
#include <sys/pidfd.h>  // glibc 2.36 forgets that C++ may include it
}

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/result.h"
#include "cli/signals.h"

namespace holdfast::cli {
namespace {

constexpr std::chrono::milliseconds kStopPoll(200);

/// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { Close(); }
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }
  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

struct Pipe {
  Fd read;
  Fd write;
};

std::unexpected<Error> SystemError(const char* what) {
  return Fail(ErrorCode::kUnavailable, fmt::format("{}: {}", what, std::strerror(errno)));
}

Result<Pipe> MakePipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return SystemError("cannot make a pipe");
  return Pipe{Fd(fds[0]), Fd(fds[1])};
}

void SetNonBlocking(const Fd& fd) {
  fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// Whether one of `replacements` ("NAME=value") has the name of `variable`.
bool IsReplaced(std::string_view variable, const std::vector<std::string>& replacements) {
  std::string_view name = variable.substr(0, variable.find('=') + 1);
  return std::any_of(replacements.begin(), replacements.end(),
                     [name](const std::string& text) { return text.starts_with(name); });
}

/// What the child needs, put together before the fork: after it, allocating is not allowed.
struct Prepared {
  const char* program;
  std::vector<char*> argv;
  std::vector<char*> envp;
  pid_t parent;
  int in, out, err, report;
  bool takes_terminal;
};

/// Makes the process group that of the terminal at stdin. Whoever is in the background is stopped
/// for asking, unless it ignores that.
void GiveTerminal(pid_t group) {
  struct sigaction ignore {
  }, before{};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGTTOU, &ignore, &before);
  tcsetpgrp(STDIN_FILENO, group);
  sigaction(SIGTTOU, &before, nullptr);
}

/// Whether stdin is a terminal that this process may give to another.
bool HasTerminal() {
  return isatty(STDIN_FILENO) != 0 && tcgetpgrp(STDIN_FILENO) == getpgrp();
}

/// Between fork and exec: only async-signal-safe calls.
[[noreturn]] void BecomeCommand(const Prepared& prepared) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != prepared.parent) _exit(127);  // the parent died before it could be watched
  if (prepared.takes_terminal) GiveTerminal(getpid());
  dup2(prepared.in, STDIN_FILENO);
  dup2(prepared.out, STDOUT_FILENO);
  dup2(prepared.err, STDERR_FILENO);
  // A connection or a file that the command kept open would outlive this process with it. The pipe
  // of `report` is among these, and is needed until then.
  (void)close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  for (int number : {SIGPIPE, SIGTERM, SIGINT}) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execve(prepared.program, prepared.argv.data(), prepared.envp.data());
  int error = errno;
  [[maybe_unused]] ssize_t written = write(prepared.report, &error, sizeof error);
  _exit(127);
}

/// A running command and the pipes to it.
class Child {
 public:
  explicit Child(const ChildSpec& spec) : spec_(spec) {}
  ~Child() {
    if (pid_ > 0) End();
  }

  Result<void> Start();
  Result<void> StartWithPipes();
  Result<ChildResult> Run(std::stop_token stop, std::stop_token at_once);

 private:
  /// With these as its stdin, stdout and stderr.
  Result<void> Spawn(int in, int out, int err);
  void PassSignalsOn();
  void TakeTerminalBack() const;
  void SuspendWithIt();
  void Feed();
  /// Whole lines, so that those of several commands stay apart. Empty: what is left is one.
  void PassErrorsOn(std::string_view text);
  /// Reads what is there. False: nothing more will come.
  bool Drain(Fd& fd, bool is_error);
  void Wait(SteadyTime deadline);
  int TimeoutUntil(SteadyTime deadline) const;
  void Signal(int number) const { kill(-pid_, number); }
  void End();

  const ChildSpec& spec_;
  pid_t pid_ = -1;
  Fd pidfd_, in_, out_, err_, wake_;
  std::size_t fed_ = 0;
  bool has_terminal_ = false;
  bool exited_ = false;
  std::string error_line_;  // begun, and not passed on
  ChildResult result_;
};

Result<void> Child::StartWithPipes() {
  HF_ASSIGN_OR_RETURN(Pipe in, MakePipe());
  HF_ASSIGN_OR_RETURN(Pipe out, MakePipe());
  HF_ASSIGN_OR_RETURN(Pipe err, MakePipe());
  HF_RETURN_IF_ERROR(Spawn(in.read.get(), out.write.get(), err.write.get()));
  in_ = std::move(in.write);
  out_ = std::move(out.read);
  err_ = std::move(err.read);
  for (const Fd* fd : {&in_, &out_, &err_}) SetNonBlocking(*fd);
  return {};
}

Result<void> Child::Start() {
  if (!spec_.pass_through) return StartWithPipes();
  has_terminal_ = HasTerminal();
  return Spawn(STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO);
}

Result<void> Child::Spawn(int in, int out, int err) {
  HF_ASSIGN_OR_RETURN(Pipe report, MakePipe());
  wake_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_.is_open()) return SystemError("cannot make an eventfd");

  std::vector<std::string> argv = spec_.command;
  std::vector<std::string> environment = spec_.environment;
  Prepared prepared{.program = spec_.program.c_str(),
                    .argv = Pointers(argv),
                    .envp = {},
                    .parent = getpid(),
                    .in = in,
                    .out = out,
                    .err = err,
                    .report = report.write.get(),
                    .takes_terminal = has_terminal_};
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!IsReplaced(*variable, environment)) prepared.envp.push_back(*variable);
  }
  for (char* variable : Pointers(environment)) prepared.envp.push_back(variable);

  pid_ = fork();
  if (pid_ < 0) return SystemError("cannot make a process");
  if (pid_ == 0) BecomeCommand(prepared);
  setpgid(pid_, pid_);  // here as well, so that it holds whichever of the two runs first
  report.write.Close();
  int error = 0;
  ssize_t got;
  do {
    got = read(report.read.get(), &error, sizeof error);
  } while (got < 0 && errno == EINTR);
  if (got == sizeof error) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("cannot run '{}': {}", spec_.program, std::strerror(error)));
  }
  pidfd_ = Fd(pidfd_open(pid_, 0));
  if (!pidfd_.is_open()) return SystemError("cannot watch a process");
  return {};
}

void Child::PassSignalsOn() {
  while (auto number = spec_.signals->Wait(Duration::zero())) Signal(*number);
}

/// From the command, but not from a shell that has put both into the background.
void Child::TakeTerminalBack() const {
  if (has_terminal_ && tcgetpgrp(STDIN_FILENO) == pid_) GiveTerminal(getpgrp());
}

/// Somebody pressed Ctrl-Z: the shell that waits for this process must see it stop, too.
void Child::SuspendWithIt() {
  siginfo_t info{};
  if (waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WNOHANG) != 0) return;
  if (info.si_pid != pid_) return;
  TakeTerminalBack();
  raise(SIGSTOP);
  if (HasTerminal()) GiveTerminal(pid_);  // "fg", not "bg"
  Signal(SIGCONT);
}

void Child::Feed() {
  while (fed_ < spec_.input.size()) {
    ssize_t put = write(in_.get(), spec_.input.data() + fed_, spec_.input.size() - fed_);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EAGAIN) return;
    if (put < 0) break;  // it does not want to read: its own business
    fed_ += static_cast<std::size_t>(put);
  }
  in_.Close();
}

void Child::PassErrorsOn(std::string_view text) {
  constexpr std::size_t kLineMost = 8 * 1024;
  error_line_ += text;
  std::string lines;
  std::size_t begin = 0;
  while (begin < error_line_.size()) {
    std::size_t end = error_line_.find('\n', begin);
    const std::size_t rest = error_line_.size() - begin;
    if (end == std::string::npos && !text.empty() && rest < kLineMost) break;
    end = std::min(end, begin + std::min(rest, kLineMost));
    lines += spec_.error_prefix + error_line_.substr(begin, end - begin) + '\n';
    begin = end + (end < error_line_.size() && error_line_[end] == '\n' ? 1 : 0);
  }
  error_line_.erase(0, begin);
  if (lines.empty()) return;
  [[maybe_unused]] ssize_t passed = write(STDERR_FILENO, lines.data(), lines.size());
}

bool Child::Drain(Fd& fd, bool is_error) {
  char buffer[16 * 1024];
  while (true) {
    ssize_t got = read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) break;
    std::string_view text(buffer, static_cast<std::size_t>(got));
    if (is_error) {
      PassErrorsOn(text);
      result_.error_tail += text;
      if (result_.error_tail.size() > spec_.error_tail) {
        result_.error_tail.erase(0, result_.error_tail.size() - spec_.error_tail);
      }
      continue;
    }
    result_.output += text;
    if (result_.output.size() > spec_.max_output) {
      result_.output_too_long = true;
      break;
    }
  }
  fd.Close();
  return false;
}

int Child::TimeoutUntil(SteadyTime deadline) const {
  // That a command stops is told by no descriptor.
  if (has_terminal_) deadline = std::min(deadline, std::chrono::steady_clock::now() + kStopPoll);
  if (deadline == SteadyTime::max()) return -1;
  auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
}

/// One round of whatever happens next.
void Child::Wait(SteadyTime deadline) {
  pollfd fds[] = {{pidfd_.get(), POLLIN, 0},
                  {wake_.get(), POLLIN, 0},
                  {in_.get(), POLLOUT, 0},  // closed ones are -1, which poll leaves out
                  {out_.get(), POLLIN, 0},
                  {err_.get(), POLLIN, 0},
                  {spec_.signals != nullptr ? spec_.signals->fd() : -1, POLLIN, 0}};
  const int happened = poll(fds, std::size(fds), TimeoutUntil(deadline));
  if (has_terminal_) SuspendWithIt();
  if (happened <= 0) return;
  if (fds[1].revents != 0) {
    std::uint64_t ignored = 0;
    [[maybe_unused]] ssize_t got = read(wake_.get(), &ignored, sizeof ignored);
  }
  if (fds[2].revents != 0) Feed();
  if (fds[3].revents != 0) Drain(out_, false);
  if (fds[4].revents != 0) Drain(err_, true);
  if (fds[5].revents != 0) PassSignalsOn();
  if (fds[0].revents != 0) exited_ = true;
}

/// The process has ended or must. While it is not reaped its id stays taken, so that the signal
/// cannot reach a stranger's group.
void Child::End() {
  Signal(SIGKILL);
  TakeTerminalBack();
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  if (WIFEXITED(status)) result_.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result_.signal = WTERMSIG(status);
}

Result<ChildResult> Child::Run(std::stop_token stop, std::stop_token at_once) {
  auto wake = [this] {
    std::uint64_t one = 1;
    [[maybe_unused]] ssize_t put = write(wake_.get(), &one, sizeof one);
  };
  std::stop_callback on_stop(stop, wake);
  std::stop_callback on_at_once(at_once, wake);
  SteadyTime kill_at = SteadyTime::max();
  while (!exited_) {
    if (result_.output_too_long || at_once.stop_requested() ||
        std::chrono::steady_clock::now() >= kill_at) {
      break;
    }
    if (stop.stop_requested() && kill_at == SteadyTime::max()) {
      if (spec_.on_stop) spec_.on_stop();
      Signal(SIGTERM);
      Signal(SIGCONT);  // one that is stopped would never hear of it
      kill_at = std::chrono::steady_clock::now() + spec_.kill_after;
    }
    Wait(kill_at);
  }
  result_.was_stopped = stop.stop_requested() || at_once.stop_requested();
  End();
  // What it wrote is all in the pipes now; what a daemon of its may still write is not waited for.
  if (out_.is_open() && !result_.output_too_long) Drain(out_, false);
  if (err_.is_open()) Drain(err_, true);
  PassErrorsOn({});
  return std::move(result_);
}

}  // namespace

Result<std::string> FindProgram(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    if (access(name.c_str(), X_OK) == 0) return name;
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("cannot run '{}': {}", name, std::strerror(errno)));
  }
  const char* variable = std::getenv("PATH");
  std::string path = variable != nullptr ? variable : "/usr/local/bin:/usr/bin:/bin";
  for (std::size_t start = 0; start <= path.size();) {
    std::size_t end = std::min(path.find(':', start), path.size());
    std::string folder = path.substr(start, end - start);
    std::string program = (folder.empty() ? "." : folder) + "/" + name;
    if (access(program.c_str(), X_OK) == 0) return program;
    start = end + 1;
  }
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("cannot run '{}': there is no such program on the PATH", name));
}

Result<ChildResult> RunChild(const ChildSpec& spec, std::stop_token stop, std::stop_token at_once) {
  Child child(spec);
  HF_RETURN_IF_ERROR(child.Start());
  return child.Run(std::move(stop), std::move(at_once));
}

std::string SignalName(int signal) {
  const char* name = sigabbrev_np(signal);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", signal);
}

}  // namespace holdfast::cli
