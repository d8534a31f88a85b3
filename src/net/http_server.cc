// Binding, accepting, and the order in which a server stops.
#include "net/http_server.h"

#include <unistd.h>

#include <boost/asio/post.hpp>
#include <exception>
#include <optional>

#include "base/log.h"
#include "net/loop.h"
#include "net/socket.h"

namespace holdfast::net {
namespace {

// With no file descriptor free, accepting fails at once and would fail again at once.
constexpr Duration kAcceptPause = std::chrono::milliseconds(50);
// Few, so that connections which are refused or take the place of an idle one are dealt with before
// more are accepted.
constexpr int kAcceptsInARow = 8;
constexpr Duration kLogInterval = std::chrono::seconds(10);
constexpr Duration kLongestGrace = std::chrono::hours(24);

}  // namespace

class HttpServer::Impl {
 public:
  Impl(ServerOptions options, HttpHandler& handler)
      : state_(std::make_shared<ServerState>(std::move(options), handler)) {}

  Result<void> Start();
  void Stop(Duration grace);
  std::uint16_t port() const { return port_; }
  ServerStats stats() const { return state_->stats(); }

 private:
  using Admission = ServerState::Admission;

  Result<void> Listen();
  void Accept();
  void OnAcceptable(error_code ec);
  /// False: there is none to accept, or none could be.
  bool AcceptOne();
  void OnAcceptFailed(const error_code& ec);

  const std::shared_ptr<ServerState> state_;
  std::vector<std::shared_ptr<Loop>> loops_;
  std::uint16_t port_ = 0;
  // The rest lives on the first loop.
  std::optional<tcp::acceptor> acceptor_;
  tcp protocol_ = tcp::v4();
  std::optional<asio::steady_timer> pause_;
  std::size_t next_loop_ = 0;
  SteadyTime may_log_ = SteadyTime::min();
};

Result<void> HttpServer::Impl::Start() {
  try {
    for (int i = 0; i < std::max(1, state_->options.threads); ++i) {
      loops_.push_back(std::make_shared<Loop>(state_));
    }
    if (auto listening = Listen(); !listening) return listening;
    pause_.emplace(loops_.front()->io);
    Accept();
    // The first loop accepts, so it begins when the others are there to be given connections.
    for (auto loop = loops_.rbegin(); loop != loops_.rend(); ++loop) (*loop)->Start();
  } catch (const std::exception& error) {
    return Fail(ErrorCode::kUnavailable, std::string("the server cannot start: ") + error.what());
  }
  return {};
}

Result<void> HttpServer::Impl::Listen() {
  const ServerOptions& options = state_->options;
  std::string address = options.host + ":" + std::to_string(options.port);
  error_code ec;
  tcp::resolver resolver(loops_.front()->io);
  auto found = resolver.resolve(options.host, std::to_string(options.port),
                                tcp::resolver::passive | tcp::resolver::numeric_service, ec);
  if (ec || found.empty()) {
    return Fail(ErrorCode::kInvalidArgument,
                "\"" + options.host + "\" is not an address to listen on");
  }
  tcp::endpoint endpoint = *found.begin();
  acceptor_.emplace(loops_.front()->io);
  const int listener = NewSocket(endpoint.protocol(), ec);
  if (!ec) acceptor_->assign(endpoint.protocol(), listener, ec);
  if (!ec) acceptor_->non_blocking(true, ec);
  if (!ec) acceptor_->set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor_->bind(endpoint, ec);
  if (!ec) acceptor_->listen(asio::socket_base::max_listen_connections, ec);
  if (ec) {
    return Fail(ErrorCode::kUnavailable, "cannot listen on " + address + ": " + ec.message());
  }
  protocol_ = endpoint.protocol();
  port_ = acceptor_->local_endpoint().port();
  return {};
}

void HttpServer::Impl::Accept() {
  acceptor_->async_wait(tcp::acceptor::wait_read, [this](error_code ec) { OnAcceptable(ec); });
}

void HttpServer::Impl::OnAcceptable(error_code ec) {
  if (ec || !acceptor_->is_open()) return;
  // The loop has connections of its own, which must get their turns.
  for (int i = 0; i < kAcceptsInARow; ++i) {
    if (!AcceptOne()) return;
  }
  Accept();
}

bool HttpServer::Impl::AcceptOne() {
  error_code ec;
  const int fd = AcceptOn(acceptor_->native_handle(), ec);
  if (ec == asio::error::would_block || ec == asio::error::try_again) {
    Accept();
    return false;
  }
  if (ec == asio::error::connection_aborted || ec == asio::error::interrupted) return true;
  Loop& loop = *loops_[next_loop_++ % loops_.size()];
  tcp::socket socket(loop.io);
  if (!ec) socket.assign(protocol_, fd, ec);
  if (ec) {
    if (fd >= 0) ::close(fd);
    OnAcceptFailed(ec);
    return false;
  }
  Admission admission = state_->Admit();
  if (admission != Admission::kDrop) {
    asio::post(loop.io, [&loop, admission, socket = std::move(socket)]() mutable {
      loop.Adopt(std::move(socket), admission);
    });
  }
  return true;
}

void HttpServer::Impl::OnAcceptFailed(const error_code& ec) {
  const SteadyTime now = std::chrono::steady_clock::now();
  if (now >= may_log_) {
    may_log_ = now + kLogInterval;
    base::Log(state_->options.log, LogLevel::kError, "accept_failed", [&] {
      return base::Fields{{"reason", ec.message()},
                          {"connections", std::to_string(stats().connections)}};
    });
  }
  pause_->expires_after(kAcceptPause);
  pause_->async_wait([this](error_code cancelled) {
    if (!cancelled && acceptor_->is_open()) Accept();
  });
}

void HttpServer::Impl::Stop(Duration grace) {
  grace = std::clamp<Duration>(grace, Duration::zero(), kLongestGrace);
  if (!state_->BeginStop(std::chrono::steady_clock::now() + grace)) {
    return state_->AwaitStopped();
  }
  // Nothing is admitted from here on, so each loop drains once and for all.
  if (acceptor_) {
    asio::post(loops_.front()->io, [this] {
      error_code ignored;
      acceptor_->close(ignored);
      pause_->cancel();
    });
  }
  for (const auto& loop : loops_) asio::post(loop->io, [&loop = *loop] { loop.Drain(); });
  state_->AwaitDrained();
  for (const auto& loop : loops_) asio::post(loop->io, [&loop = *loop] { loop.CloseAll(); });
  state_->AwaitClosed();
  for (const auto& loop : loops_) loop->Stop();
  state_->EndStop();
}

HttpServer::HttpServer(ServerOptions options, HttpHandler& handler)
    : impl_(std::make_unique<Impl>(std::move(options), handler)) {}
HttpServer::~HttpServer() {
  impl_->Stop(Duration::zero());
}
Result<void> HttpServer::Start() {
  return impl_->Start();
}
std::uint16_t HttpServer::port() const {
  return impl_->port();
}
void HttpServer::Stop(Duration grace) {
  impl_->Stop(grace);
}
ServerStats HttpServer::stats() const {
  return impl_->stats();
}

}  // namespace holdfast::net
