// A connection as a small state machine (Session::Phase), driven by input, answers and the tick.
#include "net/session.h"

#include <array>
#include <boost/asio/post.hpp>
#include <boost/beast/http/status.hpp>
#include <limits>

#include "base/mutant.h"
#include "net/request_rules.h"
#include "net/socket.h"

namespace holdfast::net {
namespace {

constexpr std::size_t kReadSize = 4 * 1024;
constexpr std::size_t kLargeReadSize = 64 * 1024;
// Input behind the request under way (pipelining) that is read ahead; more stays with the kernel.
constexpr std::size_t kReadAhead = 16 * 1024;
// Input that the parser cannot use before more has come: the line of a chunk, the trailers.
constexpr std::size_t kMaxUnparsed = 16 * 1024;
// Bodies up to this size are read however many bytes of others are held: calls that report and
// renew.
constexpr std::size_t kSmallBody = 16 * 1024;
constexpr Duration kLingerTime = std::chrono::seconds(1);
// An answer has `write_timeout` for each piece of that size: a client that reads a byte now and
// then is cut off.
constexpr std::size_t kWriteProgress = 64 * 1024;

/// An answer on its way to its session. If it never gets there, what it grants is taken back.
class Delivery {
 public:
  Delivery(std::weak_ptr<Session> session, std::optional<HttpResponse> response)
      : session_(std::move(session)), response_(std::move(response)) {}
  Delivery(Delivery&& other) noexcept
      : session_(std::move(other.session_)),
        response_(std::exchange(other.response_, std::nullopt)) {}
  Delivery& operator=(Delivery&&) = delete;
  ~Delivery() {
    if (response_ && response_->on_undelivered) response_->on_undelivered();
  }
  bool is_gone() const { return session_.expired(); }
  void operator()() {
    if (auto alive = session_.lock()) alive->Answer(std::exchange(response_, std::nullopt));
  }

 private:
  std::weak_ptr<Session> session_;
  std::optional<HttpResponse> response_;  // nothing: the handler dropped the request
};

/// What a Responder is made of: posts its one answer to the session's loop. Holds the session
/// weakly, so that an answer that never comes keeps no connection.
class Ticket {
 public:
  explicit Ticket(std::shared_ptr<Loop> loop, std::weak_ptr<Session> session)
      : loop_(std::move(loop)), session_(std::move(session)) {}
  Ticket(Ticket&&) = default;
  Ticket& operator=(Ticket&&) = delete;
  ~Ticket() {
    if (loop_) Post(std::nullopt);
  }

  void operator()(HttpResponse response) {
    if (loop_) Post(std::move(response));
  }

 private:
  // Always by way of the queue, even on the loop's own thread: a handler that answers inline, or
  // from a callback of `gone`, must not find the session half-way through a change.
  void Post(std::optional<HttpResponse> response) {
    std::shared_ptr<Loop> loop = std::exchange(loop_, nullptr);
    Delivery delivery(std::move(session_), std::move(response));
    // A loop that has ended runs nothing any more: what the answer grants is taken back here.
    if (delivery.is_gone()) return;
    asio::post(loop->io, std::move(delivery));
  }

  std::shared_ptr<Loop> loop_;
  std::weak_ptr<Session> session_;
};

/// Appends "name: value", with what would end the line or the header made harmless.
void AppendHeader(std::string& out, std::string_view name, std::string_view value) {
  auto append = [&out](std::string_view text) {
    for (char c : text) out += (c == '\r' || c == '\n' || c == '\0') ? ' ' : c;
  };
  append(name);
  out += ": ";
  append(value);
  out += "\r\n";
}

bool HasBody(int status) {
  return status >= 200 && status != 204 && status != 304;
}

}  // namespace

Session::Session(Loop& loop, tcp::socket socket, ServerState::Admission admission)
    : loop_(loop),
      options_(loop.state->options),
      admission_(admission),
      socket_(std::move(socket)) {}

void Session::Start() {
  error_code ec;
  socket_.set_option(tcp::no_delay(true), ec);
  socket_.non_blocking(true, ec);
  if (ec) return Close();
  WatchPeer(socket_.native_handle());
  if (admission_ == ServerState::Admission::kRefuse) {
    return Refuse(503, "the server has as many connections as it may (" +
                           std::to_string(options_.max_connections) + ")");
  }
  Enter(Phase::kIdle, options_.idle_timeout);
  AwaitInput();
}

void Session::Enter(Phase phase, Duration limit) {
  phase_ = phase;
  deadline_ = std::chrono::steady_clock::now() + limit;
}

bool Session::IsIdle() const {
  error_code ec;
  return phase_ == Phase::kIdle && (socket_.available(ec) == 0 || ec);
}

void Session::CloseInFavour(ServerState::Admission admission) {
  admission_ = admission;
  Close();
}

void Session::LookForHangUp() {
  if (!IsUnread() || gone_.stop_requested() || HF_MUTANT(hang_up_behind_input_unseen)) return;
  switch (LookAtPeer(socket_.native_handle())) {
    case PeerState::kOpen:
      return;
    case PeerState::kClosed:
      gone_.request_stop();
      return;
    case PeerState::kReset:
      return Close();
  }
}

void Session::AwaitInput() {
  if (awaiting_input_ || peer_closed_) return;
  awaiting_input_ = true;
  socket_.async_wait(tcp::socket::wait_read,
                     [self = shared_from_this()](error_code ec) { self->OnReadable(ec); });
}

std::size_t Session::ReadSize() const {
  if (phase_ == Phase::kLingering) return kLargeReadSize;
  if (phase_ != Phase::kBody || !parser_) return kReadSize;
  auto remaining = parser_->content_length_remaining();
  if (!remaining) return kReadSize;
  return std::clamp<std::size_t>(*remaining, kReadSize, kLargeReadSize);
}

void Session::OnReadable(error_code ec) {
  awaiting_input_ = false;
  if (phase_ == Phase::kClosed) return;
  if (ec) return Close();
  std::size_t size = socket_.read_some(in_.prepare(ReadSize()), ec);
  if (ec == asio::error::would_block) return AwaitInput();
  if (ec == asio::error::eof) return OnEndOfInput();
  if (ec) return Close();
  in_.commit(size);
  OnInput();
}

void Session::OnInput() {
  switch (phase_) {
    case Phase::kIdle:
      return BeginRequest();
    case Phase::kHeader:
    case Phase::kBody:
      return Parse();
    case Phase::kHandling:
    case Phase::kWriting:
      if (in_.size() < kReadAhead) AwaitInput();
      return;
    case Phase::kLingering:
      in_.clear();
      return AwaitInput();
    case Phase::kClosed:
      return;
  }
}

void Session::OnEndOfInput() {
  peer_closed_ = true;
  switch (phase_) {
    case Phase::kHeader:
    case Phase::kBody:
      return Refuse(400, "the request ended early");
    case Phase::kHandling:
      // It may still read our answer, but nobody who wants one closes before it came.
      gone_.request_stop();
      return;
    case Phase::kWriting:
      return;
    case Phase::kIdle:
    case Phase::kLingering:
    case Phase::kClosed:
      return Close();
  }
}

void Session::BeginRequest() {
  // The whole header has to come within this time, counted from its first byte: a client that sends
  // a byte now and then does not extend it.
  Enter(Phase::kHeader, options_.header_timeout);
  parser_.emplace();
  // Beast applies its limit to each piece; ours (in Parse) is for the whole header, and exact.
  parser_->header_limit(std::numeric_limits<std::uint32_t>::max());
  header_bytes_ = 0;
  Parse();
}

void Session::Parse() {
  while (!parser_->is_done()) {
    if (in_.size() == 0) return AwaitInput();
    error_code ec;
    std::size_t used = parser_->put(in_.data(), ec);
    in_.consume(used);
    if (phase_ == Phase::kHeader) {
      header_bytes_ += used;
      std::size_t unparsed = parser_->is_header_done() ? 0 : in_.size();
      if (header_bytes_ + unparsed > options_.max_header_bytes) {
        return Refuse(431, "the header is over the limit of " +
                               std::to_string(options_.max_header_bytes) + " bytes");
      }
    }
    if (ec == http::error::need_more) {
      if (in_.size() > kMaxUnparsed) return Refuse(400, "a chunk's line or trailer is too long");
      return AwaitInput();
    }
    if (ec == http::error::body_limit) return Refuse(413, "the body is over the limit");
    if (ec) return Refuse(400, "the request is not valid HTTP: " + ec.message());
    if (phase_ == Phase::kHeader && parser_->is_header_done() && !BeginBody()) return;
  }
  Dispatch();
}

bool Session::BeginBody() {
  Enter(Phase::kBody, options_.body_timeout);
  HttpRequest& request = parser_->message;
  auto refuse = [this](int status, std::string_view reason) {
    Refuse(status, reason);
    return false;
  };
  if (auto refusal = CheckRequest(request, parser_->is_http_1_0)) {
    return refuse(refusal->status, refusal->reason);
  }
  std::size_t limit = loop_.state->handler.BodyLimit(request.method, request.target);
  auto length = parser_->content_length();
  if (length && *length > limit) {
    return refuse(413, "the body of " + std::to_string(*length) + " bytes is over the limit of " +
                           std::to_string(limit));
  }
  if (!ReserveBody(limit)) {
    return refuse(503, "the server holds as many bytes of bodies as it may (" +
                           std::to_string(options_.max_bytes_of_bodies) + ")");
  }
  parser_->ReadBody(limit);
  if (!parser_->is_done() && in_.size() == 0 && !parser_->is_http_1_0 &&
      EqualsIgnoringCase(FindHeader(request.headers, "Expect"), "100-continue")) {
    return SendContinue();
  }
  return true;
}

bool Session::ReserveBody(std::size_t limit) {
  // A chunked body counts for the most that it may become.
  const std::size_t most = parser_->chunked() ? limit : parser_->content_length().value_or(0);
  if (most <= kSmallBody) return true;
  parser_->message.body_permit = loop_.state->AdmitBody(most);
  return parser_->message.body_permit != nullptr;
}

bool Session::SendContinue() {
  // Between two requests the kernel has room for these bytes; if it has not, the client does not
  // read its answers.
  constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  error_code ec;
  std::size_t sent = socket_.write_some(asio::buffer(kContinue), ec);
  if (!ec && sent == kContinue.size()) return true;
  Close();
  return false;
}

void Session::Dispatch() {
  keep_alive_ = parser_->keep_alive() && !loop_.state->is_stopping();
  is_http_1_0_ = parser_->is_http_1_0;
  HttpRequest request = std::move(parser_->message);
  parser_.reset();
  is_head_ = request.method == "HEAD";
  phase_ = Phase::kHandling;
  deadline_ = SteadyTime::max();
  gone_ = std::stop_source();
  if (peer_closed_) gone_.request_stop();
  AwaitInput();
  loop_.state->handler.Handle(std::move(request), gone_.get_token(),
                              Ticket(loop_.shared_from_this(), weak_from_this()));
}

void Session::Answer(std::optional<HttpResponse> response) {
  if (phase_ != Phase::kHandling) {
    if (response && response->on_undelivered) response->on_undelivered();
    return;
  }
  if (!response) response = loop_.state->handler.Refuse(500, "the request was not answered");
  Write(*std::move(response));
}

void Session::Refuse(int status, std::string_view reason) {
  refused_ = true;
  keep_alive_ = false;
  is_head_ = parser_ && parser_->message.method == "HEAD";
  parser_.reset();
  Write(loop_.state->handler.Refuse(status, reason));
}

void Session::Write(HttpResponse response) {
  gone_ = std::stop_source(std::nostopstate);
  keep_alive_ = keep_alive_ && !loop_.state->is_stopping();
  out_body_ = std::move(response.body);
  out_header_ = "HTTP/1.1 " + std::to_string(response.status) + " ";
  out_header_ += http::obsolete_reason(static_cast<http::status>(response.status));
  out_header_ += "\r\nDate: " + loop_.date() + "\r\n";
  if (HasBody(response.status)) {
    if (!response.content_type.empty()) {
      AppendHeader(out_header_, "Content-Type", response.content_type);
    }
    out_header_ += "Content-Length: " + std::to_string(out_body_.size()) + "\r\n";
  }
  for (const auto& [name, value] : response.headers) AppendHeader(out_header_, name, value);
  if (!keep_alive_) out_header_ += "Connection: close\r\n";
  if (keep_alive_ && is_http_1_0_) out_header_ += "Connection: keep-alive\r\n";
  out_header_ += "\r\n";
  if (is_head_ || !HasBody(response.status)) out_body_.clear();

  on_undelivered_ = std::move(response.on_undelivered);
  written_ = written_in_time_ = 0;
  Enter(Phase::kWriting, options_.write_timeout);
  WriteSome();
}

void Session::WriteSome() {
  auto rest = [](const std::string& text, std::size_t from) {
    return asio::buffer(text) + std::min(from, text.size());
  };
  const std::size_t of_body = written_ - std::min(written_, out_header_.size());
  const std::array<asio::const_buffer, 2> buffers{rest(out_header_, written_),
                                                  rest(out_body_, of_body)};
  socket_.async_write_some(buffers, [self = shared_from_this()](error_code ec, std::size_t size) {
    self->OnWrittenSome(ec, size);
  });
}

void Session::OnWrittenSome(error_code ec, std::size_t size) {
  if (phase_ == Phase::kClosed) return;
  if (ec) return Close();
  written_ += size;
  if (written_ == out_header_.size() + out_body_.size()) return OnWritten();
  if (written_ - written_in_time_ >= kWriteProgress) {
    written_in_time_ = written_;
    deadline_ = std::chrono::steady_clock::now() + options_.write_timeout;
  }
  WriteSome();
}

void Session::OnWritten() {
  on_undelivered_ = nullptr;
  if (refused_ && !peer_closed_) return Linger();
  if (!keep_alive_ || loop_.state->is_stopping()) return in_.size() > 0 ? Linger() : Close();
  // One answer can be large; ten thousand idle connections must not keep ten thousand of those.
  std::string().swap(out_body_);
  if (in_.size() > 0) return BeginRequest();
  if (peer_closed_) return Close();
  if (in_.capacity() > kReadSize) in_.shrink_to_fit();
  Enter(Phase::kIdle, options_.idle_timeout);
  AwaitInput();
}

void Session::Linger() {
  // Closing a socket with unread input resets the connection, and the reset may overtake the answer
  // and destroy it at the client.
  error_code ec;
  socket_.shutdown(tcp::socket::shutdown_send, ec);
  if (ec || peer_closed_) return Close();
  Enter(Phase::kLingering, kLingerTime);
  in_.clear();
  AwaitInput();
}

void Session::OnDeadline() {
  switch (phase_) {
    case Phase::kHeader:
      return Refuse(408, "the header did not come in time");
    case Phase::kBody:
      return Refuse(408, "the body did not come in time");
    case Phase::kIdle:
    case Phase::kHandling:
    case Phase::kWriting:
    case Phase::kLingering:
    case Phase::kClosed:
      return Close();
  }
}

void Session::Drain() {
  if (phase_ != Phase::kIdle) return;
  // A request that is in the kernel already was sent in good faith: it gets its answer.
  error_code ec;
  if (socket_.available(ec) == 0 || ec) Close();
}

void Session::Close() {
  if (phase_ == Phase::kClosed) return;
  auto self = shared_from_this();
  phase_ = Phase::kClosed;
  error_code ignored;
  socket_.close(ignored);
  loop_.Forget(self);
  loop_.state->Release(admission_);
  gone_.request_stop();
  if (auto take_back = std::exchange(on_undelivered_, nullptr)) take_back();
}

}  // namespace holdfast::net
