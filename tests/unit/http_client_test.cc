// The HTTP client against servers that answer, stall and break off at every point of an exchange:
// what it reports must never claim less than may have happened.
#include "net/http_client.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "net_handler.h"
#include "raw_tcp.h"

namespace holdfast::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

using Answer = Result<net::HttpResponse>;

SteadyTime In(Duration time) {
  return std::chrono::steady_clock::now() + time;
}

net::HttpRequest GetOf(std::string target = "/") {
  return {.method = "GET", .target = target};
}
net::HttpRequest PostOf(std::string body = "body", std::string target = "/echo") {
  return {.method = "POST", .target = target, .body = std::move(body)};
}

net::ClientOptions To(std::uint16_t port) {
  return {.host = "127.0.0.1", .port = std::to_string(port)};
}

/// A client in front of a server whose every byte the test writes.
class HttpClientTest : public ::testing::Test {
 protected:
  std::future<Answer> Send(net::HttpRequest request, Duration time = seconds(20)) {
    return std::async(std::launch::async, [this, request = std::move(request), time] {
      return client_.Send(request, In(time), stop_.get_token());
    });
  }
  /// Makes the client keep a connection, and returns the server's end of it.
  RawPeer KeepOne() {
    auto answer = Send(GetOf());
    RawPeer peer = listener_.Accept();
    peer.ReadThrough("\r\n\r\n");
    peer.Send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    EXPECT_TRUE(answer.get());
    return peer;
  }
  static ErrorCode CodeOf(std::future<Answer>& answer) {
    Answer result = answer.get();
    EXPECT_FALSE(result);
    return result ? ErrorCode::kInternal : result.error().code;
  }

  RawListener listener_;
  std::stop_source stop_;
  net::HttpClient client_{To(listener_.port())};
};

TEST_F(HttpClientTest, SendsARequestAndReadsTheAnswer) {
  auto answer = Send({.method = "POST",
                      .target = "/v1/jobs?x=1",
                      .headers = {{"Idempotency-Key", "k"}},
                      .body = "hello"});
  RawPeer peer = listener_.Accept();
  EXPECT_EQ(peer.ReadThrough("hello"),
            "POST /v1/jobs?x=1 HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(listener_.port()) +
                "\r\nIdempotency-Key: k\r\nContent-Length: 5\r\n\r\n"
                "hello");
  peer.Send("HTTP/1.1 409 Conf");
  peer.Send("lict\r\nContent-Type: application/problem+json\r\nContent-Length: 2\r\n\r\n{");
  peer.Send("}");
  Answer result = answer.get();
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->status, 409);
  EXPECT_EQ(result->content_type, "application/problem+json");
  EXPECT_EQ(result->body, "{}");
  EXPECT_GE(result->body.capacity(), 66u);
}

TEST_F(HttpClientTest, ReadsAnswersOfEveryShape) {
  const std::pair<std::string_view, std::string_view> answers[] = {
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc"},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc"},
      {"HTTP/1.1 204 No Content\r\n\r\n", ""},
      {"HTTP/1.0 200 OK\r\n\r\nuntil the end", "until the end"},
  };
  for (const auto& [text, body] : answers) {
    auto answer = Send(PostOf());
    RawPeer peer = listener_.Accept();
    peer.ReadThrough("body");
    peer.Send(text);
    peer.Close();
    Answer result = answer.get();
    ASSERT_TRUE(result) << text << result.error().message;
    EXPECT_EQ(result->body, body);
  }
}

TEST_F(HttpClientTest, KeepsConnectionsAndDropsThoseThatMayNotBeKept) {
  RawPeer peer = KeepOne();
  auto second = Send(GetOf("/2"));
  peer.ReadThrough("\r\n\r\n");  // on the same connection
  peer.Send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(second.get());
  auto third = Send(GetOf("/3"));
  RawPeer fresh = listener_.Accept();
  ASSERT_TRUE(fresh.is_open());
  fresh.ReadThrough("\r\n\r\n");
  // More than one answer to one request: whose is the rest?
  fresh.Send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n");
  EXPECT_TRUE(third.get());
  auto fourth = Send(GetOf("/4"));
  EXPECT_TRUE(listener_.Accept().is_open());
}

TEST_F(HttpClientTest, SaysThatNobodyListens) {
  listener_.Close();
  auto answer = client_.Send(PostOf(), In(seconds(20)), {});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
  EXPECT_NE(answer.error().message.find("cannot connect to 127.0.0.1:"), std::string::npos);
  net::HttpClient nowhere({.host = "no such host"});
  EXPECT_EQ(nowhere.Send(GetOf(), In(seconds(20)), {}).error().code, ErrorCode::kUnavailable);
}

TEST_F(HttpClientTest, RefusesToSendWhatHttpCannotCarry) {
  for (const net::HttpRequest& request : {
           net::HttpRequest{.method = "GET", .target = "/a b"},
           net::HttpRequest{.method = "GET", .target = "/\r\nX: y"},
           net::HttpRequest{.method = "GE T", .target = "/"},
           net::HttpRequest{.method = "GET", .target = "/", .headers = {{"A", "b\r\nC: d"}}},
           net::HttpRequest{.method = "GET", .target = "/", .headers = {{"A:", "b"}}},
       }) {
    auto answer = client_.Send(request, In(seconds(20)), {});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::kInvalidArgument);
  }
}

TEST_F(HttpClientTest, DoesNotKnowTheOutcomeOfAWriteWhoseConnectionBroke) {
  for (bool reset : {false, true}) {
    auto answer = Send(PostOf());
    RawPeer peer = listener_.Accept();
    peer.ReadThrough("body");
    reset ? peer.Reset() : peer.Close();
    EXPECT_EQ(CodeOf(answer), ErrorCode::kOutcomeUnknown);
  }
  for (std::string_view text :
       {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "HTTP/1.", "?!"}) {
    auto answer = Send(PostOf());
    RawPeer peer = listener_.Accept();
    peer.ReadThrough("body");
    peer.Send(text);
    peer.Close();
    EXPECT_EQ(CodeOf(answer), ErrorCode::kOutcomeUnknown) << text;
  }
}

TEST_F(HttpClientTest, KnowsThatAReadHasNoOutcome) {
  auto answer = Send(GetOf());
  RawPeer peer = listener_.Accept();
  peer.ReadThrough("\r\n\r\n");
  peer.Close();
  EXPECT_EQ(CodeOf(answer), ErrorCode::kUnavailable);
  EXPECT_FALSE(listener_.Accept(milliseconds(20)).is_open());  // a fresh connection: no second try
}

TEST_F(HttpClientTest, ReplacesAKeptConnectionThatWasClosedMeanwhile) {
  for (bool reset : {false, true}) {
    RawPeer kept = KeepOne();
    reset ? kept.Reset() : kept.Close();
    auto answer = Send(PostOf());
    RawPeer fresh = listener_.Accept();
    ASSERT_TRUE(fresh.is_open());
    fresh.ReadThrough("body");
    fresh.Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    Answer result = answer.get();
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->body, "ok");
  }
}

TEST_F(HttpClientTest, RepeatsAReadButNeverAWriteWhoseKeptConnectionBroke) {
  RawPeer kept = KeepOne();
  auto read = Send(GetOf("/again"));
  kept.ReadThrough("\r\n\r\n");
  kept.Close();
  RawPeer fresh = listener_.Accept();
  ASSERT_TRUE(fresh.is_open());
  EXPECT_TRUE(fresh.ReadThrough("\r\n\r\n").starts_with("GET /again "));
  fresh.Send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(read.get());

  auto write = Send(PostOf());
  fresh.ReadThrough("body");
  fresh.Close();
  EXPECT_EQ(CodeOf(write), ErrorCode::kOutcomeUnknown);
  EXPECT_FALSE(listener_.Accept(milliseconds(20)).is_open());
}

TEST_F(HttpClientTest, TellsADeadlineBeforeTheRequestWasSentFromOneAfter) {
  auto never = client_.Send(PostOf(), In(-seconds(1)), {});
  EXPECT_EQ(never.error().code, ErrorCode::kDeadlineExceeded);

  auto write = Send(PostOf(), milliseconds(100));
  RawPeer first = listener_.Accept();
  EXPECT_EQ(CodeOf(write), ErrorCode::kOutcomeUnknown);
  auto read = Send(GetOf(), milliseconds(100));
  RawPeer second = listener_.Accept();
  EXPECT_EQ(CodeOf(read), ErrorCode::kDeadlineExceeded);

  // More than the kernel buffers, to a server that does not read: never sent whole.
  auto large = Send(PostOf(std::string(30'000'000, 'x')), milliseconds(300));
  EXPECT_EQ(CodeOf(large), ErrorCode::kDeadlineExceeded);
}

TEST_F(HttpClientTest, EndsACallWhenItIsToldTo) {
  auto write = Send(PostOf());
  RawPeer first = listener_.Accept();
  first.ReadThrough("body");
  stop_.request_stop();
  EXPECT_EQ(CodeOf(write), ErrorCode::kOutcomeUnknown);
  EXPECT_EQ(first.ReadToEnd(), "");  // its connection is not used again

  auto late = client_.Send(PostOf(), In(seconds(20)), stop_.get_token());
  EXPECT_EQ(late.error().code, ErrorCode::kCancelled);

  stop_ = std::stop_source();
  auto read = Send(GetOf());
  RawPeer second = listener_.Accept();
  second.ReadThrough("\r\n\r\n");
  stop_.request_stop();
  EXPECT_EQ(CodeOf(read), ErrorCode::kCancelled);
}

TEST_F(HttpClientTest, ReadsTheRefusalOfARequestThatWasNotReadWhole) {
  auto answer = Send(PostOf(std::string(5'000'000, 'x')));
  RawPeer peer = listener_.Accept();
  peer.ReadThrough("\r\n\r\n");
  peer.Send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
  peer.ShutdownWrite();
  peer.ReadBytes(5'000'000);
  Answer result = answer.get();
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->status, 413);
}

TEST_F(HttpClientTest, RefusesAnswersOverTheLimit) {
  net::ClientOptions options = To(listener_.port());
  options.max_answer_bytes = 10;
  net::HttpClient client(options);
  for (std::string_view text :
       {"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n"}) {
    auto answer =
        std::async(std::launch::async, [&] { return client.Send(GetOf(), In(seconds(20)), {}); });
    RawPeer peer = listener_.Accept();
    peer.ReadThrough("\r\n\r\n");
    peer.Send(text);
    EXPECT_EQ(CodeOf(answer), ErrorCode::kPayloadTooLarge) << text;
  }
}

TEST(HttpClientAndServer, ServeManyThreadsEachItsOwnAnswer) {
  TestServer server;
  net::HttpClient client(To(server.port()));
  constexpr int kThreads = 16;
  constexpr int kCalls = 100;
  std::atomic<int> right = 0;
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        std::string body = std::to_string(t) + ":" + std::to_string(i);
        auto answer = client.Send(PostOf(body), In(seconds(20)), {});
        if (answer && answer->body == "POST /echo " + body) ++right;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(right, kThreads * kCalls);
  EXPECT_LE(server->stats().accepted, kThreads);
}

TEST(HttpClientAndServer, CancellingACallTellsTheHandler) {
  TestServer server;
  net::HttpClient client(To(server.port()));
  std::stop_source stop;
  auto call = std::async(std::launch::async, [&] {
    return client.Send(GetOf("/wait"), In(seconds(20)), stop.get_token());
  });
  auto parked = server.handler.TakeParked(1);
  stop.request_stop();
  EXPECT_EQ(call.get().error().code, ErrorCode::kCancelled);
  EXPECT_TRUE(AwaitStop(parked.at(0).gone));
}

TEST(HttpClientAndServer, ACallThatIsCancelledStillHearsWhatWasDoneForIt) {
  TestServer server;
  net::HttpClient client(To(server.port()));
  std::stop_source stop;
  auto call = std::async(std::launch::async, [&] {
    return client.Send({.method = "POST", .target = "/wait"}, In(seconds(20)), stop.get_token());
  });
  auto parked = server.handler.TakeParked(1);
  stop.request_stop();
  EXPECT_TRUE(AwaitStop(parked.at(0).gone));
  parked.at(0).respond({.body = "done just before"});
  Answer answer = call.get();
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->body, "done just before");
}

TEST(HttpClientAndServer, ANewServerOnTheSamePortIsFoundAgain) {
  TestHandler handler;
  auto first = std::make_unique<net::HttpServer>(net::ServerOptions{.port = 0}, handler);
  ASSERT_TRUE(first->Start());
  const std::uint16_t port = first->port();
  net::HttpClient client(To(port));
  EXPECT_TRUE(client.Send(PostOf(), In(seconds(20)), {}));
  first.reset();
  EXPECT_EQ(client.Send(PostOf(), In(seconds(20)), {}).error().code, ErrorCode::kUnavailable);
  net::HttpServer second({.port = port}, handler);
  ASSERT_TRUE(second.Start());
  EXPECT_TRUE(client.Send(PostOf(), In(seconds(20)), {}));
}

}  // namespace
}  // namespace holdfast::testing
