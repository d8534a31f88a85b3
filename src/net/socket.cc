#include "net/socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

namespace holdfast::net {
namespace {

using boost::system::error_code;

constexpr int kSilence = 20;         // seconds
constexpr int kProbeInterval = 5;    // seconds
constexpr int kProbes = 4;           // without an answer
constexpr int kUnanswered = 40'000;  // milliseconds

int Checked(int result, error_code& ec) {
  ec = result < 0 ? error_code(errno, boost::asio::error::get_system_category()) : error_code();
  return result;
}

void Set(int socket, int level, int option, int value) {
  // An option that a kernel does not know costs the watch, not the connection.
  (void)::setsockopt(socket, level, option, &value, sizeof value);
}

}  // namespace

int NewSocket(const boost::asio::ip::tcp& protocol, error_code& ec) {
  return Checked(::socket(protocol.family(), SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP), ec);
}

int AcceptOn(int listener, error_code& ec) {
  return Checked(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK), ec);
}

void WatchPeer(int socket) {
  Set(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  Set(socket, IPPROTO_TCP, TCP_KEEPIDLE, kSilence);
  Set(socket, IPPROTO_TCP, TCP_KEEPINTVL, kProbeInterval);
  Set(socket, IPPROTO_TCP, TCP_KEEPCNT, kProbes);
  Set(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, kUnanswered);
}

PeerState LookAtPeer(int socket) {
  pollfd look{socket, POLLRDHUP, 0};
  if (::poll(&look, 1, 0) != 1) return PeerState::kOpen;
  return (look.revents & (POLLERR | POLLHUP)) != 0 ? PeerState::kReset : PeerState::kClosed;
}

}  // namespace holdfast::net
