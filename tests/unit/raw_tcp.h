// Bare TCP ends for tests: they send any bytes, in any pieces, and break off as real peers do.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace holdfast::testing {

// Longer than anything that works takes; a test that waits for so long has failed.
inline constexpr std::chrono::milliseconds kPatience{10'000};

/// One HTTP answer, taken apart.
struct RawAnswer {
  int status = 0;
  std::string header;
  std::string body;
  bool Has(std::string_view text) const { return header.find(text) != std::string::npos; }
};

/// A connection. Owns its socket.
class RawPeer {
 public:
  RawPeer() = default;
  explicit RawPeer(int fd) : fd_(fd) {}
  RawPeer(RawPeer&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), in_(std::move(other.in_)) {}
  RawPeer& operator=(RawPeer&& other) noexcept {
    Close();
    fd_ = std::exchange(other.fd_, -1);
    in_ = std::move(other.in_);
    return *this;
  }
  ~RawPeer() { Close(); }

  static RawPeer ConnectTo(std::uint16_t port) {
    RawPeer peer(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    peer.Connect(port);
    return peer;
  }
  bool Connect(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }

  /// Before it is connected.
  void SetReceiveBuffer(int bytes) {
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }

  bool is_open() const { return fd_ >= 0; }

  bool Send(std::string_view text) {
    while (!text.empty()) {
      ssize_t sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  /// Whether there is something to read (the end counts) within that time.
  bool IsReadable(std::chrono::milliseconds within) {
    pollfd poll_fd{fd_, POLLIN, 0};
    return ::poll(&poll_fd, 1, static_cast<int>(within.count())) == 1;
  }

  /// Reads until `text` has come and returns all up to its end; less if the peer ends before.
  std::string ReadThrough(std::string_view text) {
    std::size_t at;
    while ((at = in_.find(text)) == std::string::npos) {
      if (!Fill()) return std::exchange(in_, {});
    }
    return Take(at + text.size());
  }
  std::string ReadBytes(std::size_t size) {
    while (in_.size() < size && Fill()) {
    }
    return Take(std::min(size, in_.size()));
  }
  std::string ReadToEnd() {
    while (Fill()) {
    }
    return std::exchange(in_, {});
  }

  /// Status 0: no whole answer came.
  RawAnswer ReadAnswer(bool has_body = true) {
    RawAnswer answer;
    answer.header = ReadThrough("\r\n\r\n");
    if (!answer.header.starts_with("HTTP/1.") || answer.header.size() < 12) return {};
    answer.status = std::stoi(answer.header.substr(9, 3));
    constexpr std::string_view kLength = "Content-Length: ";
    std::size_t at = answer.header.find(kLength);
    if (!has_body || at == std::string::npos) return answer;
    answer.body = ReadBytes(std::stoul(answer.header.substr(at + kLength.size())));
    return answer;
  }

  void ShutdownWrite() { ::shutdown(fd_, SHUT_WR); }
  void Close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  /// Closes with a reset, as a peer that crashed.
  void Reset() {
    linger hard{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    Close();
  }

 private:
  bool Fill() {
    if (!IsReadable(kPatience)) return false;
    char buffer[16 * 1024];
    ssize_t size = ::recv(fd_, buffer, sizeof buffer, 0);
    if (size <= 0) return false;
    in_.append(buffer, static_cast<std::size_t>(size));
    return true;
  }
  std::string Take(std::size_t size) {
    std::string taken = in_.substr(0, size);
    in_.erase(0, size);
    return taken;
  }

  int fd_ = -1;
  std::string in_;
};

/// A listening socket on a free port.
class RawListener {
 public:
  explicit RawListener(int backlog = 64) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(fd_, reinterpret_cast<sockaddr*>(&address), size);
    ::listen(fd_, backlog);
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  RawListener(const RawListener&) = delete;
  RawListener& operator=(const RawListener&) = delete;
  ~RawListener() { Close(); }

  std::uint16_t port() const { return port_; }
  /// A peer that is not open: nobody came within that time.
  RawPeer Accept(std::chrono::milliseconds within = kPatience) {
    pollfd poll_fd{fd_, POLLIN, 0};
    if (::poll(&poll_fd, 1, static_cast<int>(within.count())) != 1) return RawPeer();
    return RawPeer(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC));
  }
  void Close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
  std::uint16_t port_ = 0;
};

}  // namespace holdfast::testing
