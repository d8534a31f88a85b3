// Binding, accepting, and the order in which a server stops.
#include "net/http_server.h"

#include <boost/asio/post.hpp>
#include <exception>
#include <optional>

#include "net/loop.h"

namespace holdfast::net {
namespace {

// With no file descriptor free, accepting fails at once and would fail again at once.
constexpr Duration kAcceptPause = std::chrono::milliseconds(50);
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
  void OnAccept(Loop& loop, error_code ec, tcp::socket socket);

  const std::shared_ptr<ServerState> state_;
  std::vector<std::shared_ptr<Loop>> loops_;
  std::uint16_t port_ = 0;
  // The rest lives on the first loop.
  std::optional<tcp::acceptor> acceptor_;
  std::optional<asio::steady_timer> pause_;
  std::size_t next_loop_ = 0;
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
  acceptor_->open(endpoint.protocol(), ec);
  if (!ec) acceptor_->set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor_->bind(endpoint, ec);
  if (!ec) acceptor_->listen(asio::socket_base::max_listen_connections, ec);
  if (ec) {
    return Fail(ErrorCode::kUnavailable, "cannot listen on " + address + ": " + ec.message());
  }
  port_ = acceptor_->local_endpoint().port();
  return {};
}

void HttpServer::Impl::Accept() {
  Loop& loop = *loops_[next_loop_++ % loops_.size()];
  acceptor_->async_accept(loop.io, [this, &loop](error_code ec, tcp::socket socket) {
    OnAccept(loop, ec, std::move(socket));
  });
}

void HttpServer::Impl::OnAccept(Loop& loop, error_code ec, tcp::socket socket) {
  if (!acceptor_->is_open()) return;
  if (ec) {
    pause_->expires_after(kAcceptPause);
    pause_->async_wait([this](error_code cancelled) {
      if (!cancelled && acceptor_->is_open()) Accept();
    });
    return;
  }
  Admission admission = state_->Admit();
  if (admission != Admission::kDrop) {
    asio::post(loop.io, [&loop, admission, socket = std::move(socket)]() mutable {
      loop.Adopt(std::move(socket), admission);
    });
  }
  Accept();
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
