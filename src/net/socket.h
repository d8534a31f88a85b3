// What every socket of the server and of the client is: not inherited by commands that the program
// runs, and closed by the kernel when the other host has vanished. Internal; includes Asio.
#pragma once

#include <boost/asio/error.hpp>
#include <boost/asio/ip/tcp.hpp>

namespace holdfast::net {

/// A TCP socket that is closed on exec, for a protocol of Asio's. Negative: none, and why in `ec`.
int NewSocket(const boost::asio::ip::tcp& protocol, boost::system::error_code& ec);

/// Accepts without blocking; the socket is closed on exec. Negative: none, and why in `ec`.
int AcceptOn(int listener, boost::system::error_code& ec);

/// A host that vanishes sends no FIN: the kernel asks after 20 s of silence and gives up 40 s after
/// the last sign of life, also while sent bytes are not acknowledged.
void WatchPeer(int socket);

enum class PeerState { kOpen, kClosed, kReset };
/// Whether the peer has closed, also behind input that was not read yet. Never blocks.
PeerState LookAtPeer(int socket);

}  // namespace holdfast::net
