// The API behind a real server: slow stores, clients that break off, and the end of it all.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "api/call_pool.h"
#include "api_client.h"
#include "net/http_server.h"
#include "raw_tcp.h"
#include "testing/faulty_engine.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

using ::testing::HasSubstr;

/// Closed until it is opened, once.
class Gate {
 public:
  void Pass() {
    base::MutexLock lock(mutex_);
    ++waiting_;
    changed_.NotifyAll();
    while (!is_open_) changed_.Wait(mutex_);
  }
  void AwaitWaiting(int count) {
    base::MutexLock lock(mutex_);
    while (waiting_ < count) changed_.Wait(mutex_);
  }
  void Open() {
    base::MutexLock lock(mutex_);
    is_open_ = true;
    changed_.NotifyAll();
  }

 private:
  base::Mutex mutex_{base::LockRank::kEngine};
  base::CondVar changed_;
  int waiting_ HF_GUARDED_BY(mutex_) = 0;
  bool is_open_ HF_GUARDED_BY(mutex_) = false;
};

/// Its lists of jobs, and if so set its commits, block until the gate is opened.
class SlowEngine final : public FaultyEngine {
 public:
  using FaultyEngine::FaultyEngine;
  void Commit(const Context& context, std::vector<Batch> batches, CommitDone done) override {
    if (commits_block) gate.Pass();
    FaultyEngine::Commit(context, std::move(batches), std::move(done));
  }
  Result<JobPage> ListJobs(const Context& context, const JobFilter& filter) override {
    gate.Pass();
    return FaultyEngine::ListJobs(context, filter);
  }
  Gate gate;
  std::atomic<bool> commits_block = false;
};

class ApiServer : public ::testing::Test {
 protected:
  explicit ApiServer(api::Api::Writes writes = api::Api::Writes::kDoNotBlock) {
    auto engine = std::make_unique<SlowEngine>(*engine::OpenMemory({}));
    engine_ = engine.get();
    store_ = std::make_unique<Store>(std::move(engine), StoreOptions{.maintain = false});
    api_ = std::make_unique<api::Api>(*store_, metrics_, nullptr, writes);
    // One thread: what blocks it blocks everything.
    server_ = std::make_unique<net::HttpServer>(net::ServerOptions{.port = 0, .threads = 1}, *api_);
    EXPECT_TRUE(server_->Start());
  }
  ~ApiServer() override {
    engine_->gate.Open();
    engine_->Set(Fault::kNone);
  }

  RawPeer Send(std::string_view method, std::string_view target, std::string_view body = "") {
    RawPeer peer(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_TRUE(peer.Connect(server_->port()));
    EXPECT_TRUE(peer.Send(fmt::format("{} {} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{}",
                                      method, target, body.size(), body)));
    return peer;
  }
  RawAnswer Ask(std::string_view method, std::string_view target, std::string_view body = "") {
    return Send(method, target, body).ReadAnswer(method != "HEAD");
  }

  api::Metrics metrics_;
  std::unique_ptr<Store> store_;
  SlowEngine* engine_ = nullptr;
  std::unique_ptr<api::Api> api_;
  std::unique_ptr<net::HttpServer> server_;
};

TEST_F(ApiServer, K4_SlowReadsHoldBackNeitherHealthNorWrites) {
  std::vector<RawPeer> reading;
  for (int i = 0; i < 6; ++i) reading.push_back(Send("GET", "/v1/jobs"));
  engine_->gate.AwaitWaiting(4);  // all threads for reads
  EXPECT_EQ(Ask("GET", "/healthz").status, 200);
  EXPECT_EQ(Ask("GET", "/readyz").status, 200);
  EXPECT_EQ(Ask("POST", "/v1/jobs", R"({"kind":"k"})").status, 201);
  EXPECT_THAT(Ask("POST", "/v1/jobs/claim", R"({"worker":"w"})").body, HasSubstr("\"token\""));
  // So does a body that takes a while to parse.
  std::string large = R"({"jobs":[{"kind":"k","payload":")" + std::string(255'000, 'x') +
                      R"("},{"kind":"k","payload":")" + std::string(100'000, 'x') + R"("}]})";
  EXPECT_EQ(Ask("POST", "/v1/jobs/batch", large).status, 200);
  EXPECT_FALSE(reading.front().IsReadable(std::chrono::milliseconds(0)));
  engine_->gate.Open();
  for (RawPeer& peer : reading) EXPECT_EQ(peer.ReadAnswer().status, 200);
}

TEST_F(ApiServer, K4_AReadWhoseClientIsGoneIsNotMade) {
  std::vector<RawPeer> reading;
  for (int i = 0; i < 4; ++i) reading.push_back(Send("GET", "/v1/jobs"));
  engine_->gate.AwaitWaiting(4);
  RawPeer waits = Send("GET", "/v1/stats");
  waits.ShutdownWrite();
  // Its loop has turned by the second answer, and knows.
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Ask("GET", "/healthz").status, 200);
  engine_->gate.Open();
  EXPECT_EQ(waits.ReadAnswer().status, 408);
}

TEST_F(ApiServer, K14_HeadAnswersAsGetWithoutTheBody) {
  for (std::string_view target : {"/healthz", "/readyz", "/v1/stats", "/v1/queues", "/v1/jobs/7"}) {
    RawPeer peer = Send("HEAD", target);
    RawAnswer head = peer.ReadAnswer(/*has_body=*/false);
    RawAnswer get = Ask("GET", target);
    EXPECT_EQ(head.status, get.status) << target;
    EXPECT_TRUE(head.Has("Content-Type: ") && head.Has("Content-Length: ")) << head.header;
    ASSERT_TRUE(peer.Send("GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n"));
    EXPECT_EQ(peer.ReadAnswer().status, 200) << "a body came with " << target;
  }
  EXPECT_EQ(Ask("HEAD", "/v1/jobs/7/complete").status, 405);
}

TEST_F(ApiServer, K7_JobsWhoseAnswerIsBrokenOffAreFreeAgain) {
  const std::string payload(200'000, 'x');
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(store_->Enqueue({}, {.kind = "k", .payload = "\"" + payload + "\""}));
  }
  RawPeer claim(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int small = 8192;  // the kernel must not take the whole answer
  claim.SetReceiveBuffer(small);
  ASSERT_TRUE(claim.Connect(server_->port()));
  constexpr std::string_view kBody = R"({"worker":"w","max":60,"lease":"1h"})";
  ASSERT_TRUE(claim.Send(
      fmt::format("POST /v1/jobs/claim HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{}",
                  kBody.size(), kBody)));
  EXPECT_EQ(claim.ReadBytes(1000).size(), 1000u);
  EXPECT_GT(store_->ListQueues({})->items[0].counts[static_cast<int>(JobState::kProcessing)], 0);
  claim.Reset();
  EXPECT_TRUE(WaitUntilTrue([&] {
    return store_->ListQueues({})->items[0].counts[static_cast<int>(JobState::kPending)] == 60;
  }));
  auto first = store_->GetJob({}, 1);
  ASSERT_TRUE(first && *first);
  EXPECT_EQ((*first)->attempt, 0);
}

TEST_F(ApiServer, K4_AStopWaitsForNoCommitBeyondItsGrace) {
  engine_->Set(Fault::kHang);
  RawPeer commit = Send("POST", "/v1/jobs", R"({"kind":"k"})");
  EXPECT_TRUE(WaitUntilTrue([&] { return engine_->hanging() == 1; }));
  EXPECT_EQ(api_->in_flight(), 1);
  api_->Drain();
  server_->Stop(Duration::zero());
  EXPECT_EQ(commit.ReadToEnd(), "") << "nothing is acknowledged that is not durable";
  EXPECT_FALSE(api_->AwaitIdle(std::chrono::steady_clock::now()));
  engine_->Set(Fault::kNone);
  EXPECT_TRUE(api_->AwaitIdle(SteadyTime::max()));
}

class ApiServerInMemory : public ApiServer {
 protected:
  ApiServerInMemory() : ApiServer(api::Api::Writes::kBlock) {}
};

TEST_F(ApiServerInMemory, K4_WritesThatBlockHoldBackNoLoop) {
  engine_->commits_block = true;
  std::vector<RawPeer> writing;
  for (int i = 0; i < 3; ++i) writing.push_back(Send("POST", "/v1/jobs", R"({"kind":"k"})"));
  engine_->gate.AwaitWaiting(2);
  EXPECT_EQ(Ask("GET", "/healthz").status, 200);
  EXPECT_EQ(Ask("GET", "/v1/stats").status, 200);
  engine_->gate.Open();
  for (RawPeer& peer : writing) EXPECT_EQ(peer.ReadAnswer().status, 201);
}

class ApiHeaders : public ApiTest {};

TEST_F(ApiHeaders, K14_TwoLinesOfAHeaderThatHasOneValueAreRefusedByName) {
  for (std::string name : {"Idempotency-Key", "If-Match", "X-Holdfast-Actor", "X-Correlation-Id"}) {
    Error error = ProblemOf(Post("/v1/jobs", R"({"kind":"k"})", {{name, "1"}, {name, "2"}}));
    EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.message, HasSubstr("two " + name));
  }
}

Gate* g_gate = nullptr;

TEST_F(ApiHeaders, K4_AFullQueueOfReadsRefusesMore) {
  Gate gate;
  g_gate = &gate;
  api::Service service{*store_, metrics_};
  api::CallPool pool(1, 1);
  auto run = [&] {
    Pending pending;
    pool.Run(
        [](api::Call call) {
          g_gate->Pass();
          call.Reply(200, "{}");
        },
        api::Call(service, {.method = "GET", .target = "/v1/jobs"}, {}, pending.Responder()));
    return pending;
  };
  Pending runs = run();
  gate.AwaitWaiting(1);
  Pending waits = run();
  net::HttpResponse refused = run().Take();
  EXPECT_EQ(ProblemOf(refused).code, ErrorCode::kUnavailable);
  EXPECT_FALSE(net::FindHeader(refused.headers, "Retry-After").empty());
  gate.Open();
  EXPECT_EQ(runs.Take().status, 200);
  EXPECT_EQ(waits.Take().status, 200);
}

}  // namespace
}  // namespace holdfast::testing
