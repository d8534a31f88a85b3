// The HTTP server against clients that behave, dawdle, break off, flood and lie.
#include "net/http_server.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <thread>

#include "net_handler.h"
#include "raw_tcp.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::string Get(std::string_view target, std::string_view headers = "") {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: test\r\n" + std::string(headers) +
         "\r\n";
}

std::string Post(std::string_view target, std::string_view body) {
  return "POST " + std::string(target) +
         " HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         std::string(body);
}

/// Sends bytes as they are on a fresh connection and reads one answer.
RawAnswer Ask(TestServer& server, std::string_view text) {
  RawPeer peer = RawPeer::ConnectTo(server.port());
  EXPECT_TRUE(peer.Send(text));
  return peer.ReadAnswer();
}

TEST(HttpServer, AnswersManyRequestsOnOneConnection) {
  TestServer server;
  RawPeer peer = RawPeer::ConnectTo(server.port());
  for (int i = 0; i < 3; ++i) {
    std::string number = std::to_string(i);
    ASSERT_TRUE(peer.Send(Post("/echo", number)));
    RawAnswer answer = peer.ReadAnswer();
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "POST /echo " + number);
    EXPECT_TRUE(answer.Has("HTTP/1.1 200 OK\r\n")) << answer.header;
    EXPECT_TRUE(answer.Has("Content-Type: text/plain\r\n")) << answer.header;
    EXPECT_TRUE(answer.Has("\r\nDate: ") && answer.Has(" GMT\r\n")) << answer.header;
    EXPECT_FALSE(answer.Has("Connection:")) << answer.header;
  }
  EXPECT_TRUE(server.handler.has_slack);
  EXPECT_EQ(server->stats().connections, 1);
  EXPECT_EQ(server->stats().accepted, 1);
}

TEST(HttpServer, AnswersPipelinedRequestsInOrderAndOneAtATime) {
  TestServer server;
  RawPeer peer = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(peer.Send(Get("/wait") + Post("/echo", "two") + Get("/echo")));
  auto parked = server.handler.TakeParked(1);
  ASSERT_EQ(parked.size(), 1u);
  EXPECT_FALSE(peer.IsReadable(milliseconds(20)));  // the second must not overtake
  parked[0].respond({.body = "one"});
  EXPECT_EQ(peer.ReadAnswer().body, "one");
  EXPECT_EQ(peer.ReadAnswer().body, "POST /echo two");
  EXPECT_EQ(peer.ReadAnswer().body, "GET /echo ");
}

TEST(HttpServer, ReadsRequestsInPiecesOfOneByte) {
  TestServer server;
  RawPeer peer = RawPeer::ConnectTo(server.port());
  for (char c : Post("/echo", "slow")) ASSERT_TRUE(peer.Send({&c, 1}));
  EXPECT_EQ(peer.ReadAnswer().body, "POST /echo slow");
}

TEST(HttpServer, ReadsChunkedBodiesAndDropsTheirTrailers) {
  TestServer server;
  RawAnswer answer = Ask(server,
                         "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "4\r\nfour\r\n5;a=b\r\n and5\r\n0\r\nX-Echo: no\r\n\r\n");
  EXPECT_EQ(answer.body, "POST /echo four and5");
  EXPECT_TRUE(answer.Has("X-Echo: \r\n")) << answer.header;
}

TEST(HttpServer, ClosesAfterHttp10UnlessAskedToKeep) {
  TestServer server;
  RawPeer plain = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(plain.Send("GET /echo HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(plain.ReadAnswer().Has("Connection: close"));
  EXPECT_EQ(plain.ReadToEnd(), "");

  RawPeer kept = RawPeer::ConnectTo(server.port());
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(kept.Send("GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    EXPECT_TRUE(kept.ReadAnswer().Has("Connection: keep-alive"));
  }
}

TEST(HttpServer, ClosesWhenTheClientAsksForIt) {
  TestServer server;
  RawPeer peer = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(peer.Send(Get("/echo", "Connection: close\r\n")));
  EXPECT_TRUE(peer.ReadAnswer().Has("Connection: close"));
  EXPECT_EQ(peer.ReadToEnd(), "");
}

TEST(HttpServer, AnswersHeadWithTheLengthAndNoBody) {
  TestServer server;
  RawPeer peer = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(peer.Send("HEAD /size/5 HTTP/1.1\r\nHost: t\r\n\r\n" + Get("/empty") + Get("/echo")));
  EXPECT_TRUE(peer.ReadAnswer(/*has_body=*/false).Has("Content-Length: 5\r\n"));
  RawAnswer empty = peer.ReadAnswer();
  EXPECT_EQ(empty.status, 204);
  EXPECT_FALSE(empty.Has("Content-Length"));
  EXPECT_EQ(peer.ReadAnswer().body, "GET /echo ");
}

TEST(HttpServer, WritesLargeAnswersWhole) {
  TestServer server;
  RawPeer peer = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(peer.Send(Get("/size/20000000")));
  EXPECT_EQ(peer.ReadAnswer().body.size(), 20'000'000u);
}

TEST(HttpServer, AsksForTheBodyOfAClientThatExpectsTo) {
  TestServer server;
  RawPeer peer = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(peer.Send(
      "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
  EXPECT_EQ(peer.ReadThrough("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  ASSERT_TRUE(peer.Send("ok"));
  EXPECT_EQ(peer.ReadAnswer().body, "POST /echo ok");
}

TEST(HttpServer, RefusesWhatIsNotHttp) {
  TestServer server;
  const std::string_view malformed[] = {
      "\r\n\r\n\r\n",
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS",
      "GET /echo\r\n\r\n",
      "GET /echo HTTP/2.0\r\nHost: t\r\n\r\n",
      "GET /echo HTTP/1.1\r\nHost t\r\n\r\n",
      "GET /echo HTTP/1.1\r\nHost: t\r\nBad Name: x\r\n\r\n",
      "GET /echo HTTP/1.1\r\n\r\n",  // no Host
      "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1x\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
      "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
  };
  for (std::string_view text : malformed) {
    RawPeer peer = RawPeer::ConnectTo(server.port());
    ASSERT_TRUE(peer.Send(text));
    RawAnswer answer = peer.ReadAnswer();
    EXPECT_EQ(answer.status, 400) << text;
    EXPECT_FALSE(answer.body.empty()) << text;
    EXPECT_TRUE(answer.Has("Connection: close")) << text;
    EXPECT_EQ(peer.ReadToEnd(), "") << text;
  }
  EXPECT_EQ(Ask(server, Get("/echo")).status, 200);
}

TEST(HttpServer, RefusesARequestThatEndsEarly) {
  TestServer server;
  for (std::string_view text : {"GET /ec",
                                "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n"
                                "\r\nhalf"}) {
    RawPeer peer = RawPeer::ConnectTo(server.port());
    ASSERT_TRUE(peer.Send(text));
    peer.ShutdownWrite();
    EXPECT_EQ(peer.ReadAnswer().status, 400);
  }
}

TEST(HttpServer, RefusesHeadersOverTheLimit) {
  TestServer server;
  auto header_of = [](std::size_t total) {
    std::string text = "GET /echo HTTP/1.1\r\nHost: t\r\nX: ";
    return text + std::string(total - text.size() - 4, 'x') + "\r\n\r\n";
  };
  EXPECT_EQ(Ask(server, header_of(16 * 1024)).status, 200);
  EXPECT_EQ(Ask(server, header_of(16 * 1024 + 1)).status, 431);
  EXPECT_EQ(Ask(server, header_of(100'000)).status, 431);
  EXPECT_EQ(Ask(server, "GET /" + std::string(16 * 1024, 'x')).status, 431);
  std::string many = "GET /echo HTTP/1.1\r\nHost: t\r\n";
  while (many.size() < 20'000) many += "a: b\r\n";
  EXPECT_EQ(Ask(server, many).status, 431);
}

TEST(HttpServer, RefusesBodiesOverTheLimitOfTheirTarget) {
  TestServer server;
  EXPECT_EQ(Ask(server, Post("/small", std::string(16, 'x'))).status, 200);
  RawAnswer refused = Ask(server, Post("/small", std::string(17, 'x')));
  EXPECT_EQ(refused.status, 413);
  EXPECT_NE(refused.body.find("17 bytes is over the limit of 16"), std::string::npos);
  // The answer arrives although megabytes of the body are still on their way.
  EXPECT_EQ(Ask(server, Post("/small", std::string(8'000'000, 'x'))).status, 413);
  // Neither a length that nobody could store nor chunks get around it.
  const std::string start = "POST /small HTTP/1.1\r\nHost: t\r\n";
  EXPECT_EQ(Ask(server, start + "Content-Length: 18446744073709551615\r\n\r\n").status, 413);
  const std::string chunked = start + "Transfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(Ask(server, chunked + "10\r\n0123456789abcdef\r\n0\r\n\r\n").status, 200);
  EXPECT_EQ(Ask(server, chunked + "10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\n\r\n").status, 413);
  EXPECT_EQ(Ask(server, chunked + "ffffffffffffffff\r\n").status, 413);
  EXPECT_EQ(Ask(server, chunked + "1;" + std::string(100'000, 'x')).status, 400);
}

TEST(HttpServer, CutsAClientThatSendsItsHeaderByteByByte) {
  TestServer server({.header_timeout = milliseconds(200)});
  RawPeer peer = RawPeer::ConnectTo(server.port());
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(peer.Send("GET /echo HTTP/1.1\r\nHost: t\r\nX: "));
  while (!peer.IsReadable(milliseconds(10)) &&
         std::chrono::steady_clock::now() < start + seconds(30)) {
    ASSERT_TRUE(peer.Send("x"));
  }
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(190));
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(20));
  EXPECT_EQ(peer.ReadAnswer().status, 408);
}

TEST(HttpServer, CutsAClientThatSendsItsBodyByteByByte) {
  TestServer server({.body_timeout = milliseconds(200)});
  RawPeer peer = RawPeer::ConnectTo(server.port());
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(peer.Send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n"));
  while (!peer.IsReadable(milliseconds(10)) &&
         std::chrono::steady_clock::now() < start + seconds(30)) {
    ASSERT_TRUE(peer.Send("x"));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(20));
  EXPECT_EQ(peer.ReadAnswer().status, 408);
}

TEST(HttpServer, ClosesIdleConnectionsButNotWaitingRequests) {
  TestServer server({.idle_timeout = milliseconds(100)});
  RawPeer waiting = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(waiting.Send(Get("/wait")));
  auto parked = server.handler.TakeParked(1);
  RawPeer silent = RawPeer::ConnectTo(server.port());
  RawPeer used = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(used.Send(Get("/echo")));
  EXPECT_EQ(used.ReadAnswer().status, 200);
  EXPECT_EQ(silent.ReadToEnd(), "");
  EXPECT_EQ(used.ReadToEnd(), "");
  parked.at(0).respond({.body = "late"});
  EXPECT_EQ(waiting.ReadAnswer().body, "late");
}

TEST(HttpServer, ClosesAClientThatDoesNotReadItsAnswer) {
  TestServer server({.write_timeout = milliseconds(100)});
  RawPeer peer = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(peer.Send(Get("/size/50000000")));
  EXPECT_EQ(peer.ReadBytes(4), "HTTP");
  EXPECT_TRUE(WaitUntilTrue([&] { return server->stats().connections == 0; }));
}

TEST(HttpServer, TellsTheHandlerThatTheClientIsGone) {
  TestServer server;
  RawPeer closing = RawPeer::ConnectTo(server.port());
  RawPeer resetting = RawPeer::ConnectTo(server.port());
  RawPeer staying = RawPeer::ConnectTo(server.port());
  for (RawPeer* peer : {&closing, &resetting, &staying}) ASSERT_TRUE(peer->Send(Get("/wait")));
  auto parked = server.handler.TakeParked(3);
  ASSERT_EQ(parked.size(), 3u);
  closing.Close();
  resetting.Reset();
  auto is_gone = [](const Parked& request) { return request.gone.stop_requested(); };
  (void)WaitUntilTrue([&] { return std::ranges::count_if(parked, is_gone) >= 2; });
  EXPECT_EQ(std::ranges::count_if(parked, is_gone), 2);
  for (Parked& request : parked) request.respond({.body = "here"});  // harmless for those gone
  EXPECT_EQ(staying.ReadAnswer().body, "here");
}

TEST(HttpServer, AnswersFromACallbackOfGone) {
  TestServer server;
  RawPeer peer = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(peer.Send(Get("/wait")));
  auto parked = server.handler.TakeParked(1);
  std::stop_callback on_gone(parked.at(0).gone, [&] { parked[0].respond({.body = "bye"}); });
  peer.ShutdownWrite();
  EXPECT_EQ(peer.ReadAnswer().body, "bye");
  EXPECT_EQ(peer.ReadToEnd(), "");
}

TEST(HttpServer, AnswersADroppedRequestWith500) {
  TestServer server;
  RawPeer peer = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(peer.Send(Get("/drop") + Get("/echo")));
  EXPECT_EQ(peer.ReadAnswer().status, 500);
  EXPECT_EQ(peer.ReadAnswer().status, 200);
}

TEST(HttpServer, CountsOnlyTheFirstAnswer) {
  TestServer server;
  RawPeer peer = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(peer.Send(Get("/wait")));
  auto parked = server.handler.TakeParked(1);
  parked.at(0).respond({.body = "first"});
  parked.at(0).respond({.body = "second"});
  EXPECT_EQ(peer.ReadAnswer().body, "first");
  ASSERT_TRUE(peer.Send(Get("/echo")));
  EXPECT_EQ(peer.ReadAnswer().body, "GET /echo ");
}

TEST(HttpServer, LetsNoHeaderOfAnAnswerBreakOut) {
  TestServer server;
  RawPeer peer = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(peer.Send(Get("/wait")));
  server.handler.TakeParked(1).at(0).respond({.headers = {{"X-A", "b\r\nX-Evil: c\r\n\r\n"}}});
  EXPECT_TRUE(peer.ReadAnswer().Has("X-A: b  X-Evil: c"));
}

TEST(HttpServer, RefusesConnectionsOverTheLimit) {
  TestServer server({.max_connections = 2});
  RawPeer first = RawPeer::ConnectTo(server.port());
  RawPeer second = RawPeer::ConnectTo(server.port());
  for (RawPeer* peer : {&first, &second}) ASSERT_TRUE(peer->Send(Get("/wait")));
  auto parked = server.handler.TakeParked(2);
  RawPeer third = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(third.Send(Get("/echo")));
  RawAnswer refused = third.ReadAnswer();
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.body.find("(2)"), std::string::npos) << refused.body;
  EXPECT_EQ(third.ReadToEnd(), "");
  EXPECT_EQ(server->stats().refused, 1);
  first.Close();
  parked.clear();
  for (int tries = 0; tries < 1000; ++tries) {  // until the server has seen the close
    if (Ask(server, Get("/echo")).status == 200) return;
  }
  FAIL() << "the place that became free was not given away";
}

TEST(HttpServer, AcceptsAgainAfterFileDescriptorsRanOut) {
  TestServer server;
  RawPeer early(::socket(AF_INET, SOCK_STREAM, 0));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  int lowest_free = ::dup(0);
  ::close(lowest_free);
  rlimit none{static_cast<rlim_t>(lowest_free), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  bool connected = early.Connect(server.port()) && early.Send(Get("/echo"));
  rusage start{}, end{};
  ::getrusage(RUSAGE_SELF, &start);
  bool answered = early.IsReadable(milliseconds(300));
  ::getrusage(RUSAGE_SELF, &end);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(connected);
  EXPECT_FALSE(answered);
  auto cpu_us = [](const rusage& usage) {
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
  };
  EXPECT_LT(cpu_us(end) - cpu_us(start), 150'000) << "the server spun";
  EXPECT_EQ(early.ReadAnswer().status, 200);
}

TEST(HttpServer, ParksAThousandRequestsAtOnce) {
  TestServer server;
  constexpr std::size_t kClients = 1000;
  std::vector<RawPeer> peers;
  for (std::size_t i = 0; i < kClients; ++i) {
    peers.push_back(RawPeer::ConnectTo(server.port()));
    ASSERT_TRUE(peers.back().Send(Get("/wait", "X-Echo: " + std::to_string(i) + "\r\n")));
  }
  auto parked = server.handler.TakeParked(kClients);
  ASSERT_EQ(parked.size(), kClients);
  EXPECT_EQ(server->stats().connections, static_cast<std::int64_t>(kClients));
  auto answer = [&parked](std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < to; ++i) {
      std::string id(net::FindHeader(parked[i].request.headers, "X-Echo"));
      parked[i].respond({.body = std::move(id)});
    }
  };
  std::thread other(answer, 0, kClients / 2);
  answer(kClients / 2, kClients);
  other.join();
  for (std::size_t i = 0; i < kClients; ++i) {
    ASSERT_EQ(peers[i].ReadAnswer().body, std::to_string(i));
  }
}

TEST(HttpServer, StopLetsRequestsUnderWayFinish) {
  TestServer server;
  RawPeer idle = RawPeer::ConnectTo(server.port());
  RawPeer waiting = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(idle.Send(Get("/echo")));
  EXPECT_EQ(idle.ReadAnswer().status, 200);
  ASSERT_TRUE(waiting.Send(Get("/wait")));
  auto parked = server.handler.TakeParked(1);
  std::thread stopping([&] { server->Stop(seconds(60)); });
  EXPECT_EQ(idle.ReadToEnd(), "");
  EXPECT_FALSE(parked.at(0).gone.stop_requested());
  RawPeer late(::socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_FALSE(late.Connect(server.port()) && late.Send(Get("/echo")) &&
               late.ReadAnswer().status != 0);
  parked.at(0).respond({.body = "done"});
  RawAnswer answer = waiting.ReadAnswer();
  EXPECT_EQ(answer.body, "done");
  EXPECT_TRUE(answer.Has("Connection: close"));
  stopping.join();  // long before its grace is over
  EXPECT_EQ(server->stats().connections, 0);
}

TEST(HttpServer, StopClosesWhatIsLeftAfterTheGrace) {
  TestServer server;
  RawPeer waiting = RawPeer::ConnectTo(server.port());
  ASSERT_TRUE(waiting.Send(Get("/wait")));
  auto parked = server.handler.TakeParked(1);
  const auto start = std::chrono::steady_clock::now();
  server->Stop(milliseconds(100));
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(100));
  EXPECT_TRUE(parked.at(0).gone.stop_requested());
  EXPECT_EQ(waiting.ReadToEnd(), "");
  server->Stop(seconds(10));  // once more: nothing to do
  server.Destroy();
  parked.at(0).respond({.body = "to nobody"});  // and the server is gone for good
}

TEST(HttpServer, AnswersMayComeWhileTheServerIsDestroyed) {
  for (int round = 0; round < 20; ++round) {
    auto server = std::make_unique<TestServer>(net::ServerOptions{.threads = 3});
    std::vector<RawPeer> peers;
    for (int i = 0; i < 6; ++i) {
      peers.push_back(RawPeer::ConnectTo(server->port()));
      ASSERT_TRUE(peers.back().Send(Get("/wait")));
    }
    auto parked = server->handler.TakeParked(peers.size());
    std::jthread answering([&parked] {
      for (Parked& request : parked) request.respond({.body = "late"});
    });
    server.reset();
  }
}

TEST(HttpServer, StopsWithoutHavingStarted) {
  TestHandler handler;
  net::HttpServer server({.port = 0}, handler);
  server.Stop(seconds(1));
}

TEST(HttpServer, SaysWhyItCannotListen) {
  TestServer server;
  TestHandler handler;
  net::HttpServer taken({.port = server.port()}, handler);
  auto started = taken.Start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::kUnavailable);
  EXPECT_NE(started.error().message.find(std::to_string(server.port())), std::string::npos);

  net::HttpServer nowhere({.host = "no such host", .port = 0}, handler);
  started = nowhere.Start();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace holdfast::testing
