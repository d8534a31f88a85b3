// Connecting, sending and reading against a deadline, on the calling thread.
#include "net/connection.h"

#include <unistd.h>

#include <boost/asio/post.hpp>

#include "net/parser.h"
#include "net/socket.h"

namespace holdfast::net {
namespace {

constexpr std::size_t kClientReadSize = 16 * 1024;
constexpr std::size_t kMaxHeaderBytes = 64 * 1024;
constexpr Duration kPatience = std::chrono::seconds(1);  // for an answer after hanging up

}  // namespace

void Connection::Cancel() {
  // The flag belongs to the thread that runs the I/O, and the post wakes it.
  asio::post(io_, [this] { is_cancelled_ = true; });
}

void Connection::HangUp() {
  if (patience_ends_ != SteadyTime::max()) return;
  patience_ends_ = std::chrono::steady_clock::now() + kPatience;
  error_code ignored;  // a connection that is broken already says so to whoever reads
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
}

Result<void> Connection::Run(SteadyTime deadline) {
  while (!is_done_) {
    if (is_cancelled_ && awaits_outcome_) HangUp();
    const bool is_over = std::chrono::steady_clock::now() >= patience_ends_;
    if (is_cancelled_ && (!awaits_outcome_ || is_over)) {
      return Fail(ErrorCode::kCancelled, "the call was cancelled");
    }
    if (io_.run_one_until(std::min(deadline, patience_ends_)) == 0) {
      if (patience_ends_ <= deadline) continue;
      return Fail(ErrorCode::kDeadlineExceeded, "the deadline passed before the server answered");
    }
  }
  return {};
}

Result<void> Connection::Await(tcp::socket::wait_type what, SteadyTime deadline) {
  is_done_ = false;
  socket_.async_wait(what, [this](error_code ec) {
    operation_error_ = ec;
    is_done_ = true;
  });
  return Run(deadline);
}

Result<void> Connection::Connect(const Endpoints& endpoints, const ClientOptions& options,
                                 SteadyTime deadline) {
  SteadyTime give_up =
      std::min(deadline, std::chrono::steady_clock::now() + options.connect_timeout);
  std::string reason = "the name has no address";
  for (const tcp::endpoint& endpoint : endpoints) {
    is_done_ = false;
    error_code ec;
    socket_.close(ec);
    const int fd = NewSocket(endpoint.protocol(), ec);
    if (!ec) socket_.assign(endpoint.protocol(), fd, ec);
    if (ec) {
      if (fd >= 0) ::close(fd);
      reason = ec.message();
      continue;
    }
    WatchPeer(fd);
    socket_.async_connect(endpoint, [this](error_code result) {
      operation_error_ = result;
      is_done_ = true;
    });
    auto ran = Run(give_up);
    if (!ran) {
      if (ran.error().code == ErrorCode::kCancelled || give_up == deadline) return ran;
      return Fail(ErrorCode::kUnavailable, "no connection within the time for connecting");
    }
    if (!operation_error_) {
      socket_.set_option(tcp::no_delay(true), ec);
      socket_.non_blocking(true, ec);
      if (!ec) return {};
      operation_error_ = ec;
    }
    reason = operation_error_.message();
  }
  return Fail(ErrorCode::kUnavailable, std::move(reason));
}

bool Connection::IsQuiet() {
  char byte = 0;
  error_code ec;
  socket_.receive(asio::buffer(&byte, 1), tcp::socket::message_peek, ec);
  return ec == asio::error::would_block;
}

Connection::Outcome Connection::Exchange(std::string_view request, Exchanged what,
                                         std::size_t max_answer_bytes, SteadyTime deadline) {
  Outcome outcome;
  reusable_ = false;
  auto written = Write(request, deadline, outcome);
  if (!written && !outcome.is_broken) {
    outcome.response = std::unexpected(std::move(written).error());
    return outcome;
  }
  // A server may refuse a request before it has read all of it, so a connection that broke while
  // we wrote may still hold an answer.
  outcome.is_broken = false;
  awaits_outcome_ = outcome.was_sent && !what.is_safe;
  auto response = Read(what.is_head, max_answer_bytes, deadline, outcome);
  if (!written && !response) {
    outcome.is_broken = true;
    outcome.response = std::unexpected(std::move(written).error());
    return outcome;
  }
  if (!written) reusable_ = false;
  outcome.response = std::move(response);
  return outcome;
}

Result<void> Connection::Write(std::string_view text, SteadyTime deadline, Outcome& outcome) {
  while (!text.empty()) {
    error_code ec;
    std::size_t sent = socket_.write_some(asio::buffer(text), ec);
    text.remove_prefix(sent);
    if (ec == asio::error::would_block) {
      if (auto ready = Await(tcp::socket::wait_write, deadline); !ready) return ready;
    } else if (ec) {
      outcome.is_broken = true;
      return Fail(ErrorCode::kUnavailable,
                  "the connection failed while the request was sent: " + ec.message());
    }
  }
  outcome.was_sent = true;
  return {};
}

Result<HttpResponse> Connection::Read(bool is_head, std::size_t max_answer_bytes,
                                      SteadyTime deadline, Outcome& outcome) {
  for (;;) {
    ResponseParser parser;
    parser.skip(is_head);
    bool is_body_begun = false;
    while (!parser.is_done()) {
      error_code ec = http::error::need_more;
      if (in_.size() > 0) in_.consume(parser.put(in_.data(), ec));
      if (ec == http::error::need_more) {
        if (!parser.is_header_done() && in_.size() > kMaxHeaderBytes) {
          return Fail(ErrorCode::kUnavailable, "the answer's header is too long");
        }
        if (auto filled = Fill(parser, deadline, outcome); !filled) {
          return std::unexpected(std::move(filled).error());
        }
        continue;
      }
      if (!ec && parser.is_header_done() && !std::exchange(is_body_begun, true)) {
        parser.ReadBody(max_answer_bytes);
        auto length = parser.content_length();
        if (!parser.is_done() && length && *length > max_answer_bytes) ec = http::error::body_limit;
      }
      if (ec == http::error::body_limit) {
        return Fail(ErrorCode::kPayloadTooLarge, "the answer is over the limit of " +
                                                     std::to_string(max_answer_bytes) + " bytes");
      }
      if (ec) return Fail(ErrorCode::kUnavailable, "the answer is not HTTP: " + ec.message());
    }
    if (parser.message.status / 100 == 1) continue;  // "100 Continue": the answer is yet to come
    reusable_ = parser.keep_alive() && in_.size() == 0;
    if (auto type = FindHeader(parser.message.headers, "Content-Type"); !type.empty()) {
      parser.message.content_type = type;
    } else {
      parser.message.content_type.clear();
    }
    return std::move(parser.message);
  }
}

Result<void> Connection::Fill(ResponseParser& parser, SteadyTime deadline, Outcome& outcome) {
  for (;;) {
    if (auto ready = Await(tcp::socket::wait_read, deadline); !ready) return ready;
    error_code ec;
    std::size_t size = socket_.read_some(in_.prepare(kClientReadSize), ec);
    in_.commit(size);
    if (size > 0) outcome.has_answer_begun = true;
    if (!ec) return {};
    if (ec == asio::error::would_block) continue;
    if (ec == asio::error::eof && parser.is_header_done()) {
      // A body without a length ends with the connection.
      parser.put_eof(ec);
      if (!ec) return {};
    }
    outcome.is_broken = true;
    return Fail(ErrorCode::kUnavailable,
                "the connection failed before the answer was complete: " + ec.message());
  }
}

}  // namespace holdfast::net
