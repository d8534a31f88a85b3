#include "engine/postgres/wake_ups.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"

namespace holdfast::engine::postgres {
namespace {

using base::MutexLock;

// What happens within this long is told together.
constexpr auto kGather = std::chrono::milliseconds(5);
constexpr int kReconnectMs = 1000;
constexpr int kIdleMs = 60'000;

}  // namespace

WakeUps::~WakeUps() {
  if (!thread_.joinable()) return;
  {
    MutexLock lock(mutex_);
    is_stopping_ = true;
    stopping_.NotifyAll();
  }
  ::eventfd_write(wake_, 1);
  thread_.join();
  ::close(wake_);
}

void WakeUps::Start(ChangeListener* listener) {
  listener_ = listener;
  wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  HF_CHECK(wake_ >= 0);
  thread_ = std::thread([this] { Run(); });
}

void WakeUps::Tell() {
  {
    MutexLock lock(mutex_);
    if (has_news_) return;
    has_news_ = true;
  }
  if (wake_ >= 0) ::eventfd_write(wake_, 1);
}

void WakeUps::Run() {
  while (true) {
    const bool is_connected = Connect();
    if (!Await()) return;
    if (!is_connected) continue;
    Hear();
    bool tells = false;
    {
      MutexLock lock(mutex_);
      tells = std::exchange(has_news_, false);
    }
    if (!tells) continue;
    (void)connection_->QueryText(
        fmt::format("NOTIFY holdfast_{}, '{}'", node_.settings.schema, node_.session));
    // Whatever comes meanwhile goes with the next one.
    if (!Gather()) return;
  }
}

/// False: the end.
bool WakeUps::Gather() {
  const SteadyTime until = std::chrono::steady_clock::now() + kGather;
  MutexLock lock(mutex_);
  while (!is_stopping_ && std::chrono::steady_clock::now() < until) {
    (void)stopping_.WaitUntil(mutex_, until);
  }
  return !is_stopping_;
}

bool WakeUps::Connect() {
  if (connection_ != nullptr && !connection_->IsLost()) return true;
  connection_.reset();
  Result<std::unique_ptr<Connection>> opened = Connection::Open(node_.settings);
  if (!opened) return false;
  // Nobody need be certain of a courtesy.
  if (!(*opened)->Execute("SET synchronous_commit = off; LISTEN holdfast_" +
                          node_.settings.schema)) {
    return false;
  }
  connection_ = *std::move(opened);
  listener_->OnChangedElsewhere();  // what was said before is not heard any more
  return true;
}

bool WakeUps::Await() {
  pollfd events[2] = {{.fd = wake_, .events = POLLIN, .revents = 0},
                      {.fd = connection_ != nullptr ? PQsocket(connection_->handle()) : -1,
                       .events = POLLIN,
                       .revents = 0}};
  int timeout = kReconnectMs;
  if (connection_ != nullptr) {
    // What was to be told while there was no connection is not announced again.
    MutexLock lock(mutex_);
    timeout = has_news_ ? 0 : kIdleMs;
  }
  (void)::poll(events, 2, timeout);
  eventfd_t ignored = 0;
  (void)::eventfd_read(wake_, &ignored);
  MutexLock lock(mutex_);
  return !is_stopping_;
}

void WakeUps::Hear() {
  PGconn* handle = connection_->handle();
  if (PQconsumeInput(handle) == 0) return;
  bool is_news = false;
  while (PGnotify* notice = PQnotifies(handle)) {
    is_news |= fmt::to_string(node_.session) != notice->extra;
    PQfreemem(notice);
  }
  if (is_news) listener_->OnChangedElsewhere();
}

}  // namespace holdfast::engine::postgres
