// One connection of the client. Blocking: its I/O runs on the thread that calls. Internal; includes
// Asio.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <stop_token>
#include <string_view>
#include <vector>

#include "net/http_client.h"

namespace holdfast::net {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

template <bool kIsRequest>
class MessageParser;

/// Threads: one at a time; Cancel from any.
class Connection {
 public:
  using Endpoints = std::vector<tcp::endpoint>;

  Result<void> Connect(const Endpoints& endpoints, const ClientOptions& options,
                       SteadyTime deadline);

  /// What became of a request, told so that the caller can judge whether it had an effect.
  struct Outcome {
    Result<HttpResponse> response;  ///< errors as if the request had had no effect
    bool was_sent = false;          ///< all of it left this process
    bool has_answer_begun = false;
    bool is_broken = false;  ///< the connection ended, as opposed to our patience
  };
  struct Exchanged {
    bool is_head = false;
    bool is_safe = false;  ///< has no effect, so that nobody need know its outcome
  };
  Outcome Exchange(std::string_view request, Exchanged what, std::size_t max_answer_bytes,
                   SteadyTime deadline);

  /// After an answer: whether another request may be sent.
  bool is_reusable() const { return reusable_; }
  /// Whether a kept connection is still open, with nothing in it that we did not ask for.
  bool IsQuiet();
  /// Ends the call under way, and every later one. A call that may have had an effect is not
  /// broken off but hung up on: the server sees that nobody waits any more, and for a moment we
  /// still take its answer. What it did for us in that very instant is not lost unseen.
  void Cancel();

  SteadyTime idle_since{};

 private:
  void HangUp();
  // Runs the I/O until the operation under way is done. Errors: deadline_exceeded, cancelled.
  Result<void> Run(SteadyTime deadline);
  Result<void> Await(tcp::socket::wait_type what, SteadyTime deadline);
  Result<void> Write(std::string_view text, SteadyTime deadline, Outcome& outcome);
  Result<HttpResponse> Read(bool is_head, std::size_t max_answer_bytes, SteadyTime deadline,
                            Outcome& outcome);
  Result<void> Fill(MessageParser<false>& parser, SteadyTime deadline, Outcome& outcome);

  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  tcp::socket socket_{io_};
  boost::beast::flat_buffer in_;
  error_code operation_error_;
  bool is_done_ = false;
  bool is_cancelled_ = false;
  bool awaits_outcome_ = false;                   // of a request that was sent and has an effect
  SteadyTime patience_ends_ = SteadyTime::max();  // having hung up
  bool reusable_ = false;
};

}  // namespace holdfast::net
