// The loops' thread and tick, and the count of connections that Stop waits for.
#include "net/loop.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>

#include "net/session.h"

namespace holdfast::net {
namespace {

constexpr int kMaxRefusing = 16;

/// RFC 9110's date, whatever the locale.
std::string FormatDate(Time time) {
  using namespace std::chrono;
  constexpr std::array kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                               "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  auto day = floor<days>(time);
  year_month_day date(day);
  hh_mm_ss clock(floor<seconds>(time - day));
  std::array<char, 64> text;
  int size = std::snprintf(text.data(), text.size(), "%s, %02u %s %04d %02d:%02d:%02d GMT",
                           kDays[weekday(day).c_encoding()], static_cast<unsigned>(date.day()),
                           kMonths[static_cast<unsigned>(date.month()) - 1],
                           static_cast<int>(date.year()), static_cast<int>(clock.hours().count()),
                           static_cast<int>(clock.minutes().count()),
                           static_cast<int>(clock.seconds().count()));
  return std::string(text.data(), static_cast<std::size_t>(size));
}

/// How often deadlines are looked at: one timer a loop instead of one a request. A time limit is
/// kept to within a quarter of itself, or half a second.
Duration TickOf(const ServerOptions& options) {
  Duration shortest = std::min(
      {options.header_timeout, options.body_timeout, options.idle_timeout, options.write_timeout});
  return std::clamp<Duration>(shortest / 4, std::chrono::milliseconds(5),
                              std::chrono::milliseconds(500));
}

/// With no more connections than leave file descriptors for the rest of the program: a store that
/// cannot open a file answers nothing.
ServerOptions WithRoom(ServerOptions options) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return options;
  const auto all = static_cast<std::size_t>(limit.rlim_cur);
  const std::size_t kept = options.reserved_descriptors + kMaxRefusing;
  const std::size_t room = all > 2 * kept ? all - kept : all / 2;
  options.max_connections = std::min(options.max_connections, room);
  return options;
}

}  // namespace

ServerState::ServerState(ServerOptions server_options, HttpHandler& server_handler)
    : options(WithRoom(std::move(server_options))), handler(server_handler) {}

void ServerState::CountEvicted() {
  base::MutexLock lock(mutex_);
  --stats_.refused;
  ++stats_.evicted;
}

std::shared_ptr<const void> ServerState::AdmitBody(std::size_t bytes) {
  std::size_t held = *bytes_of_bodies_;
  do {
    if (bytes > options.max_bytes_of_bodies || held > options.max_bytes_of_bodies - bytes) {
      return nullptr;
    }
  } while (!bytes_of_bodies_->compare_exchange_weak(held, held + bytes));
  return {static_cast<const void*>(this),
          [held_bytes = bytes_of_bodies_, bytes](const void*) { *held_bytes -= bytes; }};
}

ServerState::Admission ServerState::Admit() {
  base::MutexLock lock(mutex_);
  if (is_stopping_) return Admission::kDrop;
  ++stats_.accepted;
  if (static_cast<std::size_t>(stats_.connections) < options.max_connections) {
    ++stats_.connections;
    return Admission::kServe;
  }
  ++stats_.refused;
  if (refusing_ == kMaxRefusing) return Admission::kDrop;
  ++refusing_;
  return Admission::kRefuse;
}

void ServerState::Release(Admission admission) {
  base::MutexLock lock(mutex_);
  if (admission == Admission::kServe) --stats_.connections;
  if (admission == Admission::kRefuse) --refusing_;
  if (is_stopping_ && IsAllClosed()) changed_.NotifyAll();
}

ServerStats ServerState::stats() const {
  base::MutexLock lock(mutex_);
  return stats_;
}

bool ServerState::BeginStop(SteadyTime drain_until) {
  base::MutexLock lock(mutex_);
  drain_until_ = std::min(drain_until_, drain_until);
  changed_.NotifyAll();
  return !is_stopping_.exchange(true);
}

void ServerState::AwaitDrained() {
  base::MutexLock lock(mutex_);
  while (!IsAllClosed() && std::chrono::steady_clock::now() < drain_until_) {
    changed_.WaitUntil(mutex_, drain_until_);
  }
}

void ServerState::AwaitClosed() {
  base::MutexLock lock(mutex_);
  while (!IsAllClosed()) changed_.Wait(mutex_);
}

void ServerState::EndStop() {
  base::MutexLock lock(mutex_);
  stopped_ = true;
  changed_.NotifyAll();
}

void ServerState::AwaitStopped() {
  base::MutexLock lock(mutex_);
  while (!stopped_) changed_.Wait(mutex_);
}

void Loop::Start() {
  Tick();
  thread_ = std::thread([this] { io.run(); });
}

void Loop::Stop() {
  if (!thread_.joinable()) return;
  asio::post(io, [this] {
    ending_ = true;
    ticker_.cancel();
  });
  thread_.join();
}

void Loop::Tick() {
  date_ = FormatDate(Clock::System().Wall());
  SteadyTime now = std::chrono::steady_clock::now();
  // A session that closes leaves the set, so the walk is over a copy of those whose time is over.
  std::vector<std::shared_ptr<Session>> late;
  std::vector<std::shared_ptr<Session>> unread;
  for (const auto& session : sessions_) {
    if (session->deadline() <= now) late.push_back(session);
    if (session->IsUnread()) unread.push_back(session);
  }
  for (const auto& session : late) session->OnDeadline();
  for (const auto& session : unread) session->LookForHangUp();
  ticker_.expires_after(TickOf(state->options));
  ticker_.async_wait([this](error_code) {
    // Not the error but the flag: the timer may have expired just before it was cancelled.
    if (!ending_) Tick();
  });
}

void Loop::Adopt(tcp::socket socket, ServerState::Admission admission) {
  if (state->is_stopping()) return state->Release(admission);
  if (admission == ServerState::Admission::kRefuse && CloseLongestIdle()) {
    admission = ServerState::Admission::kServe;
  }
  auto session = std::make_shared<Session>(*this, std::move(socket), admission);
  sessions_.insert(session);
  session->Start();
}

bool Loop::CloseLongestIdle() {
  std::shared_ptr<Session> longest;
  for (const auto& session : sessions_) {
    if (longest && longest->deadline() <= session->deadline()) continue;
    if (session->IsIdle()) longest = session;
  }
  if (!longest) return false;
  longest->CloseInFavour(ServerState::Admission::kRefuse);
  state->CountEvicted();
  return true;
}

void Loop::Drain() {
  auto sessions = sessions_;
  for (const auto& session : sessions) session->Drain();
}

void Loop::CloseAll() {
  auto sessions = sessions_;
  for (const auto& session : sessions) session->Close();
}

}  // namespace holdfast::net
