// A gate in front of a server: everything passes until a test breaks the connections off, holds
// them up, or says at which point of the conversation that shall happen.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "holdfast/time.h"

namespace holdfast::testing {

/// Listens on a free port of 127.0.0.1. Has one thread, its own. Threads: any.
class TcpGate {
 public:
  enum class Side { kClient, kServer };
  enum class Moment {
    kBefore,       ///< it is not passed on
    kRightAfter,   ///< it is passed on, and nobody waits for what comes of it
    kBeforeAnswer  ///< a client's: when the server's next bytes come, which are not passed on
  };
  /// At which point to cut, once: at the first text or message of any connection, from now on.
  struct CutRule {
    std::string text;  ///< what the bytes of one side contain
    /// Or the n-th whole message of PostgreSQL's protocol that clients send, all connections taken
    /// together; what a connection begins with does not count.
    int messages = 0;
    Side side = Side::kClient;
    Moment moment = Moment::kBefore;
    bool all = true;  ///< as Cut does; otherwise that connection alone, and new ones are let in
  };

  /// In front of a server on 127.0.0.1.
  explicit TcpGate(std::uint16_t server_port);
  ~TcpGate();
  TcpGate(const TcpGate&) = delete;
  TcpGate& operator=(const TcpGate&) = delete;

  std::uint16_t port() const;

  /// When it returns, every connection is broken off (for the client: reset), and new ones are
  /// refused.
  void Cut();
  /// Lets new connections in again, and forgets a rule that has not come true.
  void Heal();

  /// Passes nothing on, in neither direction, and closes nothing.
  void Freeze();
  void Thaw();

  /// From now on, what a client sends in one piece is passed on after a random time of up to
  /// `most`: every round trip takes that much longer. Zero ends it. The seed makes the times.
  void Delay(Duration most, std::uint64_t seed);

  void CutOn(CutRule rule);
  /// Waits until a rule has come true and its connections are broken off, at most so long. Whether
  /// that is so.
  [[nodiscard]] bool AwaitCut(Duration timeout = std::chrono::minutes(1));

  /// How many are open.
  int connections() const;

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::testing
