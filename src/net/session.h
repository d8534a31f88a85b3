// One connection of the server: reads a request, has it answered, writes the answer, and again.
// Internal; includes Asio and Beast. Lives on its loop's thread.
#pragma once

#include <boost/beast/core/flat_buffer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "net/loop.h"
#include "net/parser.h"

namespace holdfast::net {

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Loop& loop, tcp::socket socket, ServerState::Admission admission);

  void Start();
  /// Whether it waits for a request of which nothing has come.
  bool IsIdle() const;
  /// Closes, and leaves its place among the connections to one that has `admission` until now.
  void CloseInFavour(ServerState::Admission admission);
  /// Whether a request is being handled and no more input is read.
  bool IsUnread() const { return phase_ == Phase::kHandling && !awaiting_input_; }
  /// Of an unread session: looks whether the client is gone behind the input.
  void LookForHangUp();
  /// Nothing: the handler dropped the request.
  void Answer(std::optional<HttpResponse> response);
  SteadyTime deadline() const { return deadline_; }
  /// The deadline has passed: says so to the client, if it would listen, and closes.
  void OnDeadline();
  void Drain();
  void Close();

 private:
  enum class Phase {
    kIdle,      // between two requests: nothing of the next one has come
    kHeader,    // some bytes of a header have
    kBody,      // the header is complete
    kHandling,  // the handler has the request; the connection is watched for its end
    kWriting,
    kLingering,  // answered without reading all: input is dropped, lest a reset eats the answer
    kClosed,
  };

  // Exactly one wait for input is under way, except when nothing more can or should come.
  void AwaitInput();
  void OnReadable(error_code ec);
  void OnInput();
  void OnEndOfInput();
  std::size_t ReadSize() const;

  void BeginRequest();
  void Parse();
  bool BeginBody();
  bool SendContinue();
  void Dispatch();

  void Refuse(int status, std::string_view reason);
  bool ReserveBody(std::size_t limit);
  void Write(HttpResponse response);
  void WriteSome();
  void OnWrittenSome(error_code ec, std::size_t size);
  void OnWritten();
  void Linger();
  void Enter(Phase phase, Duration limit);

  Loop& loop_;
  const ServerOptions& options_;
  ServerState::Admission admission_;
  tcp::socket socket_;
  boost::beast::flat_buffer in_;
  std::optional<RequestParser> parser_;
  std::size_t header_bytes_ = 0;

  Phase phase_ = Phase::kIdle;
  SteadyTime deadline_ = SteadyTime::max();
  bool awaiting_input_ = false;
  bool peer_closed_ = false;
  bool refused_ = false;

  // Of the request under way.
  std::stop_source gone_{std::nostopstate};
  bool keep_alive_ = false;
  bool is_head_ = false;
  bool is_http_1_0_ = false;

  std::string out_header_;
  std::string out_body_;
  std::size_t written_ = 0;
  std::size_t written_in_time_ = 0;  // when the deadline was last moved
  std::function<void()> on_undelivered_;
};

}  // namespace holdfast::net
