// One thread of the server and the connections that live on it. Internal; includes Asio.
//
// A session belongs to one loop for its whole life and is touched by that thread alone, so that
// sessions need neither locks nor strands.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <string>
#include <thread>
#include <unordered_set>

#include "base/mutex.h"
#include "net/http_server.h"

namespace holdfast::net {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

class Session;

/// What all loops of a server share. Threads: any.
class ServerState {
 public:
  ServerState(ServerOptions server_options, HttpHandler& server_handler);

  const ServerOptions options;
  HttpHandler& handler;  // called on loops only, which end before the server does

  /// What becomes of a connection that was just accepted.
  enum class Admission { kServe, kRefuse, kDrop };
  Admission Admit();
  /// A connection that was to be refused got the place of an idle one.
  void CountEvicted();
  /// Counts the bytes of a body until the permit is let go. Nothing: there are too many.
  std::shared_ptr<const void> AdmitBody(std::size_t bytes);
  /// The connection, admitted as that, is closed.
  void Release(Admission admission);

  ServerStats stats() const;

  /// Whether answers close their connections: on every loop from the same moment.
  bool is_stopping() const { return is_stopping_; }
  /// From now on nothing is admitted. False if that was so already.
  bool BeginStop(SteadyTime drain_until);
  /// Waits until every connection is closed or the drain's time is over.
  void AwaitDrained();
  /// Waits until every connection is closed.
  void AwaitClosed();
  void EndStop();
  void AwaitStopped();

 private:
  bool IsAllClosed() const HF_REQUIRES(mutex_) { return stats_.connections + refusing_ == 0; }

  mutable base::Mutex mutex_{base::LockRank::kServer};
  base::CondVar changed_;
  ServerStats stats_ HF_GUARDED_BY(mutex_);
  int refusing_ HF_GUARDED_BY(mutex_) = 0;  // connections that are being told 503
  std::atomic<bool> is_stopping_ = false;   // set under the mutex
  // Shared with the permits, which may outlive the server.
  const std::shared_ptr<std::atomic<std::size_t>> bytes_of_bodies_ =
      std::make_shared<std::atomic<std::size_t>>(0);
  bool stopped_ HF_GUARDED_BY(mutex_) = false;
  SteadyTime drain_until_ HF_GUARDED_BY(mutex_) = SteadyTime::max();
};

/// Shared, because a Responder may be called after the server is gone: it still finds an io_context
/// to post to, which nobody runs any more.
class Loop : public std::enable_shared_from_this<Loop> {
 public:
  explicit Loop(std::shared_ptr<ServerState> server_state)
      : state(std::move(server_state)), ticker_(io) {}

  void Start();
  /// Runs what is still to be run, with every connection closed, and ends the thread. Nothing may
  /// be left behind: an accept that is under way holds a socket of another loop, and which of the
  /// two loops is destroyed first is for the last Responder to decide.
  void Stop();

  // The rest is called on the loop's thread only.
  void Adopt(tcp::socket socket, ServerState::Admission admission);
  /// Closes idle sessions; the others see is_stopping and close after their answers.
  void Drain();
  void CloseAll();
  void Forget(const std::shared_ptr<Session>& session) { sessions_.erase(session); }
  /// "Sun, 06 Nov 1994 08:49:37 GMT", at most a tick old.
  const std::string& date() const { return date_; }

  // One thread runs it; others only post to it.
  asio::io_context io{1};
  const std::shared_ptr<ServerState> state;

 private:
  void Tick();
  /// False: no session is idle.
  bool CloseLongestIdle();

  asio::steady_timer ticker_;
  std::unordered_set<std::shared_ptr<Session>> sessions_;
  std::string date_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace holdfast::net
