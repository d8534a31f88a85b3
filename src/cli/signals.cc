#include "cli/signals.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <thread>

#include "base/check.h"

namespace holdfast::cli {

StopSignals::StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  struct sigaction hangup {};
  sigaction(SIGHUP, nullptr, &hangup);
  if (hangup.sa_handler != SIG_IGN) sigaddset(&set, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  HF_CHECK(fd_ >= 0);
}

StopSignals::~StopSignals() {
  close(fd_);
}

std::optional<int> StopSignals::WaitFor(int timeout_ms, int wake_fd) {
  pollfd fds[] = {{fd_, POLLIN, 0}, {wake_fd, POLLIN, 0}};
  if (poll(fds, 2, timeout_ms) <= 0) return std::nullopt;
  signalfd_siginfo info{};
  if (read(fd_, &info, sizeof info) != sizeof info) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

std::optional<int> StopSignals::Wait(std::optional<Duration> timeout) {
  if (timeout) {
    auto ms = std::chrono::ceil<std::chrono::milliseconds>(*timeout).count();
    return WaitFor(static_cast<int>(ms), -1);
  }
  while (true) {
    if (auto signal = WaitFor(-1, -1)) return signal;
  }
}

std::optional<int> StopSignals::Finish(const std::function<void()>& graceful,
                                       const std::function<void()>& at_once,
                                       const std::function<void()>& tick) {
  int finished = eventfd(0, EFD_CLOEXEC);
  HF_CHECK(finished >= 0);
  std::optional<int> cut_short;
  std::atomic<bool> done = false;
  {
    std::jthread runner([&] {
      graceful();
      done = true;
      std::uint64_t one = 1;
      HF_CHECK(write(finished, &one, sizeof one) == sizeof one);
    });
    while (!(cut_short = WaitFor(tick ? 1000 : -1, finished)) && !done) {
      if (tick) tick();
    }
    if (cut_short) at_once();
  }
  close(finished);
  return cut_short;
}

}  // namespace holdfast::cli
