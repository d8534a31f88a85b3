#include "testing/tcp_gate.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <random>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/mutex.h"

namespace holdfast::testing {
namespace {

/// Owns its descriptor.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }

  int fd() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  /// So that closing it tells the peer of a failure, not of an end.
  void WillReset() const {
    linger hard{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  }

 private:
  int fd_ = -1;
};

sockaddr_in Loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

/// A bound socket, and its port.
Socket Bind(std::uint16_t& port) {
  Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  ::setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  sockaddr_in address = Loopback(port);
  socklen_t size = sizeof address;
  HF_CHECK(::bind(socket.fd(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  ::getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&address), &size);
  port = ntohs(address.sin_port);
  return socket;
}

/// Finds the ends of a PostgreSQL client's messages in a stream.
class MessageReader {
 public:
  struct Step {
    std::size_t bytes = 0;
    bool ends_message = false;  // one that counts
  };

  /// Up to the end of the next message, or of the bytes.
  Step Take(std::string_view bytes) {
    const std::size_t header_size = has_begun_ ? 5 : 8;
    const std::size_t of_header = std::min(header_size - header_.size(), bytes.size());
    header_.append(bytes.substr(0, of_header));
    if (header_.size() < header_size) return {of_header};
    // A length counts itself, not the letter before it.
    const std::size_t size = NumberAt(has_begun_ ? 1 : 0) + (has_begun_ ? 1 : 0);
    const std::size_t of_body = std::min(size - header_size - body_, bytes.size() - of_header);
    body_ += of_body;
    if (header_size + body_ < size) return {of_header + of_body};
    const bool counts = has_begun_;
    // Before it begins a client may ask for encryption, in the same shape.
    constexpr std::uint32_t kVersion3 = 3 << 16;
    if (!has_begun_) has_begun_ = NumberAt(4) == kVersion3;
    header_.clear();
    body_ = 0;
    return {of_header + of_body, counts};
  }

 private:
  std::uint32_t NumberAt(std::size_t place) const {
    std::uint32_t number = 0;
    for (std::size_t i = place; i < place + 4; ++i) {
      number = number << 8 | static_cast<unsigned char>(header_[i]);
    }
    return number;
  }

  bool has_begun_ = false;
  std::string header_;
  std::size_t body_ = 0;  // bytes of it seen
};

/// Sends all, waiting if it must.
void SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) {
      pollfd ready{fd, POLLOUT, 0};
      ::poll(&ready, 1, -1);
      continue;
    }
    if (sent < 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

/// One direction of a connection.
struct Flow {
  std::string pending;     // read, and not yet written
  SteadyTime not_before;   // when it may be written
  bool has_ended = false;  // nothing more will be read
  bool told_end = false;   // and the other side knows
};

struct Connection {
  Socket client;
  Socket server;
  Flow to_server;
  Flow to_client;
  MessageReader messages;
  std::string client_tail;  // the latest bytes, in which a rule's text may have begun
  std::string server_tail;
  bool cut_on_answer = false;
  bool cut_all_on_answer = false;
};

}  // namespace

using Side = TcpGate::Side;
using Moment = TcpGate::Moment;

struct TcpGate::Impl {
  explicit Impl(std::uint16_t server) : server_port(server), reserved(Bind(port)) {
    {
      base::MutexLock lock(mutex);
      Listen();
    }
    thread = std::jthread([this] { Run(); });
  }

  void Listen() HF_REQUIRES(mutex);
  void Accept() HF_REQUIRES(mutex);
  void BreakAll() HF_REQUIRES(mutex);
  void Break(std::uint64_t id) HF_REQUIRES(mutex);
  void Trip(std::uint64_t id, bool all) HF_REQUIRES(mutex);
  void Pump(std::uint64_t id) HF_REQUIRES(mutex);
  /// Moves what can be moved in one direction. Whether the connection is still there.
  bool Move(std::uint64_t id, Connection& connection, Side from) HF_REQUIRES(mutex);
  /// Whether the bytes are to be passed on; if not, the connection is no more.
  bool Inspect(std::uint64_t id, Connection& connection, Side from, std::string_view bytes)
      HF_REQUIRES(mutex);
  /// Where in these bytes what the rule says is.
  struct Place {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  std::optional<Place> Find(Connection& connection, Side from, std::string_view bytes)
      HF_REQUIRES(mutex);
  std::vector<pollfd> Watched(std::vector<std::uint64_t>& ids) HF_REQUIRES(mutex);
  /// Passes on what was delayed until now. How many milliseconds until the next: -1 if there is
  /// none.
  int PumpDelayed() HF_REQUIRES(mutex);
  void Run();
  void Wake() const {
    const std::uint64_t one = 1;
    HF_CHECK(::write(wake.fd(), &one, sizeof one) == sizeof one);
  }

  const std::uint16_t server_port;
  std::uint16_t port = 0;
  const Socket reserved;  // bound, and never listening: keeps the port while the gate is shut
  const Socket wake{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};

  mutable base::Mutex mutex{base::LockRank::kWait};
  base::CondVar changed;
  Socket listener HF_GUARDED_BY(mutex);
  std::map<std::uint64_t, Connection> open HF_GUARDED_BY(mutex);
  std::uint64_t last_id HF_GUARDED_BY(mutex) = 0;
  std::optional<CutRule> rule HF_GUARDED_BY(mutex);
  std::int64_t most_delay HF_GUARDED_BY(mutex) = 0;  // microseconds
  std::mt19937_64 random HF_GUARDED_BY(mutex);
  bool is_frozen HF_GUARDED_BY(mutex) = false;
  bool is_cutting HF_GUARDED_BY(mutex) = false;
  bool has_tripped HF_GUARDED_BY(mutex) = false;
  bool is_over HF_GUARDED_BY(mutex) = false;
  std::jthread thread;
};

TcpGate::TcpGate(std::uint16_t server_port) : impl_(std::make_unique<Impl>(server_port)) {}

TcpGate::~TcpGate() {
  {
    base::MutexLock lock(impl_->mutex);
    impl_->is_over = true;
  }
  impl_->Wake();
}

std::uint16_t TcpGate::port() const {
  return impl_->port;
}

void TcpGate::Cut() {
  // Left to the thread: what is closed while it is being watched closes when that ends.
  base::MutexLock lock(impl_->mutex);
  impl_->is_cutting = true;
  impl_->Wake();
  while (impl_->is_cutting) impl_->changed.Wait(impl_->mutex);
}

void TcpGate::Heal() {
  {
    base::MutexLock lock(impl_->mutex);
    impl_->rule.reset();
    impl_->has_tripped = false;
    if (!impl_->listener.is_open()) impl_->Listen();
  }
  impl_->Wake();
}

void TcpGate::Freeze() {
  base::MutexLock lock(impl_->mutex);
  impl_->is_frozen = true;  // the thread looks before it moves a byte
}

void TcpGate::Thaw() {
  {
    base::MutexLock lock(impl_->mutex);
    impl_->is_frozen = false;
  }
  impl_->Wake();
}

void TcpGate::Delay(Duration most, std::uint64_t seed) {
  {
    base::MutexLock lock(impl_->mutex);
    impl_->most_delay = std::chrono::duration_cast<std::chrono::microseconds>(most).count();
    impl_->random.seed(seed);
  }
  impl_->Wake();
}

void TcpGate::CutOn(CutRule rule) {
  base::MutexLock lock(impl_->mutex);
  impl_->rule = std::move(rule);
  impl_->has_tripped = false;
  for (auto& [id, connection] : impl_->open) {
    connection.client_tail.clear();
    connection.server_tail.clear();
  }
}

bool TcpGate::AwaitCut(Duration timeout) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + timeout;
  base::MutexLock lock(impl_->mutex);
  while (!impl_->has_tripped && impl_->changed.WaitUntil(impl_->mutex, deadline)) {
  }
  return impl_->has_tripped;
}

int TcpGate::connections() const {
  base::MutexLock lock(impl_->mutex);
  return static_cast<int>(impl_->open.size());
}

void TcpGate::Impl::Listen() {
  listener = Bind(port);
  HF_CHECK(::listen(listener.fd(), 128) == 0);
}

void TcpGate::Impl::Accept() {
  Socket client(::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client.is_open()) return;
  Socket server(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = Loopback(server_port);
  if (::connect(server.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    client.WillReset();
    return;
  }
  ::fcntl(server.fd(), F_SETFL, O_NONBLOCK);
  // What the client sends in one piece goes on in one piece, and at once.
  const int on = 1;
  for (const Socket* socket : {&client, &server}) {
    ::setsockopt(socket->fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  open.emplace(++last_id, Connection{.client = std::move(client), .server = std::move(server)});
}

void TcpGate::Impl::Break(std::uint64_t id) {
  auto found = open.find(id);
  if (found == open.end()) return;
  // The server gets what was passed on, and an end: a reset could overtake it.
  found->second.client.WillReset();
  open.erase(found);
}

void TcpGate::Impl::BreakAll() {
  listener = Socket();
  while (!open.empty()) Break(open.begin()->first);
}

void TcpGate::Impl::Trip(std::uint64_t id, bool all) {
  if (all) {
    BreakAll();
  } else {
    Break(id);
  }
  has_tripped = true;
  changed.NotifyAll();
}

std::optional<TcpGate::Impl::Place> TcpGate::Impl::Find(Connection& connection, Side from,
                                                        std::string_view bytes) {
  std::optional<Place> place;
  if (from == Side::kClient) {
    for (std::size_t at = 0; at < bytes.size();) {
      MessageReader::Step step = connection.messages.Take(bytes.substr(at));
      const std::size_t begin = std::exchange(at, at + step.bytes);
      if (step.ends_message && rule && rule->messages > 0 && --rule->messages == 0) {
        place = Place{begin, at};
      }
    }
  }
  if (place) return place;
  if (!rule || rule->side != from || rule->text.empty()) return std::nullopt;
  std::string& tail = from == Side::kClient ? connection.client_tail : connection.server_tail;
  const std::size_t earlier = tail.size();
  tail += bytes;
  const std::size_t found = tail.find(rule->text);
  if (found != std::string::npos) {
    return Place{found < earlier ? 0 : found - earlier, found + rule->text.size() - earlier};
  }
  tail.erase(0, tail.size() - std::min(tail.size(), rule->text.size() - 1));
  return std::nullopt;
}

bool TcpGate::Impl::Inspect(std::uint64_t id, Connection& connection, Side from,
                            std::string_view bytes) {
  if (from == Side::kServer && connection.cut_on_answer) {
    Trip(id, connection.cut_all_on_answer);
    return false;
  }
  std::optional<Place> place = Find(connection, from, bytes);
  if (!place) return true;
  const CutRule met = *std::exchange(rule, std::nullopt);
  if (met.moment == Moment::kBeforeAnswer) {
    connection.cut_on_answer = true;
    connection.cut_all_on_answer = met.all;
    return true;
  }
  const bool is_before = met.moment == Moment::kBefore;
  SendAll(from == Side::kClient ? connection.server.fd() : connection.client.fd(),
          bytes.substr(0, is_before ? place->begin : place->end));
  Trip(id, met.all);
  return false;
}

bool TcpGate::Impl::Move(std::uint64_t id, Connection& connection, Side from) {
  const bool from_client = from == Side::kClient;
  const Socket& source = from_client ? connection.client : connection.server;
  const Socket& target = from_client ? connection.server : connection.client;
  Flow& flow = from_client ? connection.to_server : connection.to_client;
  if (flow.pending.empty() && !flow.has_ended) {
    char buffer[64 * 1024];
    ssize_t size = ::recv(source.fd(), buffer, sizeof buffer, 0);
    if (size < 0 && errno != EAGAIN) {
      Break(id);
      return false;
    }
    if (size > 0) {
      const std::string_view bytes(buffer, static_cast<std::size_t>(size));
      if (!Inspect(id, connection, from, bytes)) return false;
      flow.pending = bytes;
      if (from_client && most_delay > 0) {
        flow.not_before =
            std::chrono::steady_clock::now() +
            std::chrono::microseconds(random() % static_cast<std::uint64_t>(most_delay));
      }
    }
    flow.has_ended = size == 0;
  }
  if (!flow.pending.empty() && std::chrono::steady_clock::now() >= flow.not_before) {
    ssize_t sent = ::send(target.fd(), flow.pending.data(), flow.pending.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
      Break(id);
      return false;
    }
    if (sent > 0) flow.pending.erase(0, static_cast<std::size_t>(sent));
  }
  if (flow.pending.empty() && flow.has_ended && !std::exchange(flow.told_end, true)) {
    ::shutdown(target.fd(), SHUT_WR);
  }
  return true;
}

void TcpGate::Impl::Pump(std::uint64_t id) {
  auto found = open.find(id);
  if (found == open.end()) return;  // broken since
  Connection& connection = found->second;
  if (!Move(id, connection, Side::kClient) || !Move(id, connection, Side::kServer)) return;
  if (connection.to_server.told_end && connection.to_client.told_end) open.erase(id);
}

std::vector<pollfd> TcpGate::Impl::Watched(std::vector<std::uint64_t>& ids) {
  std::vector<pollfd> watched = {{wake.fd(), POLLIN, 0}};
  ids = {0};
  if (is_frozen) return watched;
  if (listener.is_open()) {
    watched.push_back({listener.fd(), POLLIN, 0});
    ids.push_back(0);
  }
  // A side is read from when all that came from it has been passed on.
  const SteadyTime now = std::chrono::steady_clock::now();
  auto events = [now](const Flow& in, const Flow& out) {
    return static_cast<short>((in.pending.empty() && !in.has_ended ? POLLIN : 0) |
                              (out.pending.empty() || out.not_before > now ? 0 : POLLOUT));
  };
  for (const auto& [id, connection] : open) {
    const Flow& up = connection.to_server;
    const Flow& down = connection.to_client;
    for (auto [fd, what] : {std::pair(connection.client.fd(), events(up, down)),
                            std::pair(connection.server.fd(), events(down, up))}) {
      if (what == 0) continue;  // it would be told of nothing but the peer's end, again and again
      watched.push_back({fd, what, 0});
      ids.push_back(id);
    }
  }
  return watched;
}

int TcpGate::Impl::PumpDelayed() {
  if (is_frozen) return -1;
  const SteadyTime now = std::chrono::steady_clock::now();
  std::vector<std::uint64_t> due;
  std::optional<SteadyTime> next;
  for (const auto& [id, connection] : open) {
    const Flow& flow = connection.to_server;
    if (flow.pending.empty() || flow.not_before == SteadyTime()) continue;
    if (flow.not_before <= now) {
      due.push_back(id);
    } else {
      next = std::min(next.value_or(SteadyTime::max()), flow.not_before);
    }
  }
  for (std::uint64_t id : due) Pump(id);
  if (!next) return -1;
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(*next - now).count());
}

void TcpGate::Impl::Run() {
  std::vector<std::uint64_t> ids;
  while (true) {
    std::vector<pollfd> watched;
    int timeout = -1;
    {
      base::MutexLock lock(mutex);
      if (is_over) return;
      timeout = PumpDelayed();
      watched = Watched(ids);
    }
    ::poll(watched.data(), watched.size(), timeout);
    base::MutexLock lock(mutex);
    std::uint64_t count = 0;
    if (::read(wake.fd(), &count, sizeof count) < 0) HF_CHECK(errno == EAGAIN);
    if (std::exchange(is_cutting, false)) {
      BreakAll();
      changed.NotifyAll();
    }
    if (is_frozen) continue;
    // What was watched may have been closed meanwhile, and its number be that of another one. It
    // is no more than a hint: nothing here blocks.
    if (listener.is_open()) Accept();
    for (std::size_t i = 1; i < watched.size(); ++i) {
      if (watched[i].revents != 0) Pump(ids[i]);
    }
  }
}

}  // namespace holdfast::testing
