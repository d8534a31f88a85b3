// What RFC 9110 and 9112 want of the server, and what clients that are gone, slow or many may cost.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include <atomic>

#include "net/http_client.h"
#include "net_handler.h"
#include "raw_tcp.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

std::string RequestOf(std::string_view line, std::string_view headers, std::string_view body = "") {
  return std::string(line) + "\r\n" + std::string(headers) + "\r\n" + std::string(body);
}

std::string PostOf(std::string_view target, std::size_t size) {
  return RequestOf("POST " + std::string(target) + " HTTP/1.1",
                   "Host: t\r\nContent-Length: " + std::to_string(size) + "\r\n",
                   std::string(size, 'x'));
}

struct Case {
  std::string_view line;
  std::string_view headers;
  int status;
  std::string_view answer;  // is in the body of the answer
};

void ExpectEach(std::initializer_list<Case> cases) {
  TestServer server;
  for (const Case& one : cases) {
    RawPeer peer = RawPeer::ConnectTo(server.port());
    ASSERT_TRUE(peer.Send(RequestOf(one.line, one.headers, "0\r\n\r\n")));
    RawAnswer answer = peer.ReadAnswer();
    EXPECT_EQ(answer.status, one.status) << one.line << "\n" << one.headers;
    EXPECT_NE(answer.body.find(one.answer), std::string::npos) << one.headers << answer.body;
    EXPECT_EQ(answer.Has("Connection: close"), one.status != 200) << one.headers;
  }
}

TEST(HttpProtocol, K14_AnHttp11RequestHasOneHost) {
  ExpectEach({
      {"GET /echo HTTP/1.1", "Host: a\r\n", 200, "/echo"},
      {"GET /echo HTTP/1.1", "", 400, "no Host"},
      {"GET /echo HTTP/1.1", "Host:\r\n", 400, "no Host"},
      {"GET /echo HTTP/1.1", "Host: a\r\nhost: b\r\n", 400, "two Host"},
      {"GET /echo HTTP/1.1", "Host: a\r\nHost: a\r\n", 400, "two Host"},
      {"POST /echo HTTP/1.1", "Host: a\r\nContent-Type: b\r\ncontent-type: c\r\n", 400,
       "two Content-Type"},
  });
}

TEST(HttpProtocol, K14_ATransferEncodingIsChunkedOnceAndAlone) {
  ExpectEach({
      {"POST /echo HTTP/1.1", "Host: a\r\nTransfer-Encoding: Chunked\r\n", 200, "POST"},
      {"POST /echo HTTP/1.1", "Host: a\r\nTransfer-Encoding: , chunked ,\r\n", 200, "POST"},
      {"POST /echo HTTP/1.1", "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", 501, "chunked"},
      {"POST /echo HTTP/1.1",
       "Host: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501, "chunked"},
      {"POST /echo HTTP/1.1", "Host: a\r\nTransfer-Encoding: chunked, chunked\r\n", 400, "twice"},
      {"POST /echo HTTP/1.1", "Host: a\r\nTransfer-Encoding: chunked, gzip\r\n", 400, ""},
      {"POST /echo HTTP/1.1", "Host: a\r\nTransfer-Encoding: xchunked\r\n", 400, ""},
      {"POST /echo HTTP/1.1", "Host: a\r\nTransfer-Encoding: identity\r\n", 400, ""},
      {"POST /echo HTTP/1.1", "Host: a\r\nTransfer-Encoding:\r\n", 400, ""},
      {"POST /echo HTTP/1.1", "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400,
       ""},
      {"POST /echo HTTP/1.1", "Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400,
       ""},
      {"POST /echo HTTP/1.0", "Transfer-Encoding: chunked\r\n", 400, ""},
  });
}

TEST(HttpProtocol, K14_ATargetMayBeAbsolute) {
  ExpectEach({
      {"GET http://other:1/echo?a=b HTTP/1.1", "Host: a\r\n", 200, "GET /echo?a=b "},
      {"GET HTTPS://other/echo HTTP/1.1", "Host: a\r\n", 200, "GET /echo "},
      {"GET http://other?a=b HTTP/1.1", "Host: a\r\n", 200, "GET /?a=b "},
      {"GET http://other HTTP/1.1", "Host: a\r\n", 200, "GET / "},
      {"GET http:///echo HTTP/1.1", "Host: a\r\n", 400, "no host"},
      {"GET /echo?to=http://x/y HTTP/1.1", "Host: a\r\n", 200, "GET /echo?to=http://x/y "},
      {"GET ftp://other/echo HTTP/1.1", "Host: a\r\n", 200, "GET ftp://other/echo "},
  });
}

TEST(HttpProtocol, K14_ExpectDoesNotMindItsCase) {
  TestServer server;
  RawPeer peer = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(peer.Send(RequestOf("POST /echo HTTP/1.1",
                                  "Host: t\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n")));
  EXPECT_EQ(peer.ReadThrough("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  ASSERT_TRUE(peer.Send("ok"));
  EXPECT_EQ(peer.ReadAnswer().body, "POST /echo ok");
}

TEST(HttpProtocol, K14_ASteadyReaderMayTakeLongerThanTheWriteTimeout) {
  constexpr milliseconds kTimeout{300};
  TestServer server({.write_timeout = kTimeout});
  RawPeer peer = RawPeer::ConnectTo(server.port());
  RawPeer silent = RawPeer::ConnectTo(server.port());  // only to pass the time
  constexpr std::size_t kSize = 32'000'000;
  ASSERT_TRUE(peer.Send("GET /size/" + std::to_string(kSize) + " HTTP/1.1\r\nHost: t\r\n\r\n"));
  peer.ReadThrough("\r\n\r\n");
  // Three times the time limit, in more pieces than the buffers of the kernel hide.
  constexpr std::size_t kPieces = 64;
  std::size_t got = 0;
  for (std::size_t i = 0; i < kPieces; ++i) {
    std::size_t size = peer.ReadBytes(kSize / kPieces).size();
    ASSERT_EQ(size, kSize / kPieces) << "cut off after " << got;
    got += size;
    (void)silent.IsReadable(3 * kTimeout / kPieces);
  }
  EXPECT_EQ(got, kSize);
}

TEST(HttpProtocol, K7_AHangUpIsSeenBehindAPipeline) {
  // Deadlines are short so that the server looks often.
  TestServer server({.header_timeout = milliseconds(100)});
  std::string request = "GET /wait HTTP/1.1\r\nHost: t\r\n\r\n";
  std::string pipeline = request;
  while (pipeline.size() < 100'000) pipeline += request;
  for (bool with_reset : {true, false}) {
    RawPeer peer = RawPeer::ConnectTo(server.port());
    ASSERT_TRUE(peer.Send(pipeline));
    auto parked = server.handler.TakeParked(1);
    ASSERT_EQ(parked.size(), 1u);
    EXPECT_FALSE(parked[0].gone.stop_requested());
    with_reset ? peer.Reset() : peer.Close();
    EXPECT_TRUE(AwaitStop(parked[0].gone)) << with_reset;
  }
}

TEST(HttpProtocol, K7_WhatCannotBeDeliveredIsTakenBack) {
  std::atomic<int> taken_back = 0;
  TestServer server;
  auto answer = [&](std::size_t size) {
    return net::HttpResponse{.body = std::string(size, 'x'),
                             .on_undelivered = [&taken_back] { ++taken_back; }};
  };
  auto park = [&server](RawPeer& peer) {
    EXPECT_TRUE(peer.Send("GET /wait HTTP/1.1\r\nHost: t\r\n\r\n"));
    return std::move(server.handler.TakeParked(1).at(0));
  };
  RawPeer reads = RawPeer::ConnectTo(server.port());
  park(reads).respond(answer(20'000'000));
  EXPECT_EQ(reads.ReadAnswer().body.size(), 20'000'000u);
  EXPECT_EQ(taken_back, 0);

  RawPeer breaks_off = RawPeer::ConnectTo(server.port());
  park(breaks_off).respond(answer(50'000'000));
  EXPECT_EQ(breaks_off.ReadBytes(1000).size(), 1000u);
  breaks_off.Reset();
  EXPECT_TRUE(WaitUntilTrue([&] { return taken_back == 1; }));

  RawPeer is_gone = RawPeer::ConnectTo(server.port());
  Parked request = park(is_gone);
  is_gone.Reset();
  EXPECT_TRUE(AwaitStop(request.gone));
  request.respond(answer(1));
  EXPECT_TRUE(WaitUntilTrue([&] { return taken_back == 2; }));

  RawPeer outlives = RawPeer::ConnectTo(server.port());
  Parked late = park(outlives);
  server.Destroy();
  late.respond(answer(1));
  EXPECT_EQ(taken_back, 3);
}

/// The TCP sockets of this process whose one end or other is that port, and that no raw peer owns.
std::vector<int> SocketsOf(std::uint16_t port) {
  std::vector<int> sockets;
  for (int fd = 3; fd < 1024; ++fd) {
    sockaddr_in here{}, there{};
    socklen_t size = sizeof here;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&here), &size) != 0) continue;
    size = sizeof there;
    (void)::getpeername(fd, reinterpret_cast<sockaddr*>(&there), &size);
    if (here.sin_family != AF_INET) continue;
    if (ntohs(here.sin_port) == port || ntohs(there.sin_port) == port) sockets.push_back(fd);
  }
  return sockets;
}

TEST(HttpProtocol, K13_SocketsAreClosedOnExecAndWatched) {
  TestServer server;
  net::HttpClient client({.host = "127.0.0.1", .port = std::to_string(server.port())});
  auto answer = client.Send({.method = "GET", .target = "/echo"}, SteadyTime::max(), {});
  ASSERT_TRUE(answer) << answer.error().message;
  std::vector<int> sockets = SocketsOf(server.port());
  ASSERT_EQ(sockets.size(), 3u) << "the listener and both ends";
  int watched = 0;
  for (int fd : sockets) {
    EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0) << fd;
    int on = 0;
    int unanswered = 0;
    socklen_t size = sizeof on;
    ::getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &size);
    size = sizeof unanswered;
    ::getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered, &size);
    if (on != 0 && unanswered > 0) ++watched;
  }
  EXPECT_EQ(watched, 2);
}

TEST(HttpProtocol, K11_ANewcomerTakesThePlaceOfTheLongestIdle) {
  TestServer server({.threads = 1, .max_connections = 3});
  const std::string echo = "GET /echo HTTP/1.1\r\nHost: t\r\n\r\n";
  RawPeer busy = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(busy.Send("GET /wait HTTP/1.1\r\nHost: t\r\n\r\n"));
  auto parked = server.handler.TakeParked(1);
  std::vector<RawPeer> idle;
  for (int i = 0; i < 2; ++i) {
    idle.push_back(RawPeer::ConnectTo(server.port()));
    ASSERT_TRUE(idle.back().Send(echo));
    EXPECT_EQ(idle.back().ReadAnswer().status, 200);
  }
  RawPeer newcomer = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(newcomer.Send(echo));
  EXPECT_EQ(newcomer.ReadAnswer().status, 200);
  EXPECT_EQ(idle[0].ReadToEnd(), "");
  ASSERT_TRUE(idle[1].Send(echo));
  EXPECT_EQ(idle[1].ReadAnswer().status, 200);
  EXPECT_EQ(server->stats().connections, 3);
  EXPECT_EQ(server->stats().refused, 0);
  EXPECT_EQ(server->stats().evicted, 1);
}

TEST(HttpProtocol, K11_ConnectionsLeaveDescriptorsToTheProgram) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few{60, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  TestServer server({.reserved_descriptors = 10});  // and 16 for those that are refused
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  constexpr std::size_t kRoom = 34;
  std::vector<RawPeer> peers;
  for (std::size_t i = 0; i < kRoom; ++i) {
    peers.push_back(RawPeer::ConnectTo(server.port()));
    ASSERT_TRUE(peers.back().Send("GET /wait HTTP/1.1\r\nHost: t\r\n\r\n"));
  }
  auto parked = server.handler.TakeParked(kRoom);
  RawPeer newcomer = RawPeer::ConnectTo(server.port());
  RawAnswer refused = newcomer.ReadAnswer();
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.body.find("(34)"), std::string::npos) << refused.body;
}

TEST(HttpProtocol, K8_TheBytesOfBodiesAreBounded) {
  TestServer server({.max_bytes_of_bodies = 100'000});
  auto ask = [&server](const std::string& request) {
    RawPeer peer = RawPeer::ConnectTo(server.port());
    EXPECT_TRUE(peer.Send(request));
    return peer.ReadAnswer();
  };
  RawPeer holder = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(holder.Send(PostOf("/wait", 60'000)));
  {
    auto parked = server.handler.TakeParked(1);
    RawAnswer refused = ask(PostOf("/echo", 60'000));
    EXPECT_EQ(refused.status, 503);
    EXPECT_NE(refused.body.find("(100000)"), std::string::npos) << refused.body;
    EXPECT_EQ(ask(PostOf("/echo", 40'000)).status, 200);
    EXPECT_EQ(ask(PostOf("/echo", 16'000)).status, 200);
    // It may become as large as the limit of its target.
    EXPECT_EQ(ask(RequestOf("POST /echo HTTP/1.1", "Host: t\r\nTransfer-Encoding: chunked\r\n",
                            "0\r\n\r\n"))
                  .status,
              503);
    parked.at(0).respond({});
  }
  EXPECT_EQ(holder.ReadAnswer().status, 200);
  EXPECT_EQ(ask(PostOf("/echo", 60'000)).status, 200);
}

}  // namespace
}  // namespace holdfast::testing
