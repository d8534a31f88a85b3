// A store that is a server elsewhere: what crosses the wire, and what happens when the wire breaks.
// That it keeps the same promises as any other engine is shown by the conformance suite.
#include <fmt/format.h>

#include <future>

#include "api_client.h"
#include "raw_tcp.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

class HttpEngine : public ApiTest {
 protected:
  HttpEngine() : server_({.port = 0}, *api_) {
    EXPECT_TRUE(server_.Start());
    remote_ = *OpenStore(Url());
  }
  ~HttpEngine() override {
    remote_.reset();
    server_.Stop(seconds(1));
  }

  std::string Url() const { return fmt::format("http://127.0.0.1:{}", server_.port()); }

  /// Waits until that many claims are parked on the server.
  void AwaitWaiting(std::int64_t count) {
    ASSERT_TRUE(WaitUntilTrue([&] { return store_->GetStats({})->waiting_claims == count; }));
  }

  net::HttpServer server_;
  std::unique_ptr<Store> remote_;
};

TEST_F(HttpEngine, EveryCallReachesTheServersStore) {
  Job job = *remote_->Enqueue({}, {.kind = "k", .payload = R"({"n":9007199254740993})"});
  EXPECT_EQ(**store_->GetJob({}, job.id), job);
  EXPECT_EQ(**remote_->GetJob({}, job.id), job);
  EXPECT_FALSE(remote_->GetJob({}, 999)->has_value());
  EXPECT_EQ(remote_->ListJobs({}, {.state = JobState::kPending})->items.at(0), job);
  Job claimed = remote_->Claim({}, {.worker = "w"})->at(0);
  EXPECT_GT(claimed.token, 0);
  EXPECT_EQ(remote_->Complete({}, job.id, claimed.token, "1")->state, JobState::kCompleted);
  EXPECT_TRUE(remote_->Set({}, {.name = "q", .paused = true})->paused);
  EXPECT_EQ(remote_->ListQueues({})->items.size(), 2U);
  EXPECT_EQ(remote_->GetStats({})->engine, "http");
  EXPECT_EQ(remote_->GetStats({})->now, store_->GetStats({})->now);
  EXPECT_TRUE(remote_->CheckHealth());
  EXPECT_TRUE(remote_->Maintain({}));
}

TEST_F(HttpEngine, RecordsKindsAndTransfersReachTheServersStore) {
  EXPECT_FALSE(remote_->GetKind({}, "account")->has_value());
  EXPECT_EQ(remote_->ListRecords({}, {.kind = "account"}).error().code, ErrorCode::kNotFound);
  Kind kind = *remote_->Apply(
      {}, {.name = "account", .rules = R"({"unique":["/number"],"parent":{"kind":"account"}})"});
  EXPECT_EQ(**store_->GetKind({}, "account"), kind);
  EXPECT_EQ(**remote_->GetKind({}, "account"), kind);
  EXPECT_EQ(remote_->ListKinds({})->at(0), kind);

  Record parent = *remote_->Create({}, {.kind = "account", .id = "p:1@x"});
  Record one = *remote_->Create({}, {.kind = "account",
                                     .id = "a",
                                     .data = R"({"n":9007199254740993,"number":1})",
                                     .parent = parent.key()});
  Record two = *remote_->Create({}, {.kind = "account", .data = R"({"n":0,"number":2})"});
  EXPECT_EQ(**store_->GetRecord({}, one.key()), one);
  EXPECT_EQ(**remote_->GetRecord({}, one.key()), one);
  EXPECT_EQ(**remote_->GetRecord({}, parent.key()), **store_->GetRecord({}, parent.key()));
  EXPECT_EQ((*remote_->GetRecord({}, parent.key()))->children.size(), 1U);
  EXPECT_FALSE(remote_->GetRecord({}, {"account", "none"})->has_value());
  EXPECT_EQ(remote_->ListRecords({}, {.kind = "account"})->items.size(), 3U);
  auto children = remote_->ListRecords({}, {.kind = "account", .parent = parent.key()});
  ASSERT_EQ(children->items.size(), 1U);
  EXPECT_EQ(children->items[0], one);
  RecordPage page = *remote_->ListRecords({}, {.kind = "account", .limit = 2});
  EXPECT_EQ(page.items.size(), 2U);
  page = *remote_->ListRecords({}, {.kind = "account", .limit = 2, .cursor = page.next_cursor});
  EXPECT_EQ(page.items.size(), 1U);

  Transfer transfer = *remote_->Make({}, {.from = one.key(),
                                          .to = two.key(),
                                          .path = "/n",
                                          .amount = 9'007'199'254'740'992,
                                          .pending = true});
  EXPECT_EQ(**store_->GetTransfer({}, transfer.id), transfer);
  EXPECT_EQ(**remote_->GetTransfer({}, transfer.id), transfer);
  EXPECT_FALSE(remote_->GetTransfer({}, 999)->has_value());
  EXPECT_FALSE(remote_->GetTransfer({}, 0)->has_value());
  EXPECT_EQ((*remote_->GetRecord({}, one.key()))->reserved.at(0).amount, transfer.amount);
  EXPECT_EQ(remote_->Post({}, {.id = transfer.id})->state, TransferState::kPosted);
  EXPECT_EQ((*remote_->GetRecord({}, one.key()))->data, R"({"n":1,"number":1})");
}

TEST_F(HttpEngine, ErrorsAboutRecordsAreThoseOfTheServersStore) {
  ASSERT_TRUE(remote_->Apply({}, {.name = "k", .rules = R"({"unique":["/u"]})"}));
  Record one = *remote_->Create({}, {.kind = "k", .id = "1", .data = R"({"u":1})"});
  std::vector<Batch> batches(6);
  batches[0].operations = {CreateRecord{.kind = "k", .data = R"({"u":1})"}};
  batches[1].operations = {MergeRecord{{.kind = "k", .id = "1", .version = 9}, "{}"}};
  batches[2].operations = {DeleteRecord{{.kind = "k", .id = "none"}}};
  batches[3].operations = {ApplyKind{.name = "k", .rules = R"({"schema":{"required":["x"]}})"}};
  batches[4].operations = {DeleteRecord{{.kind = "k", .id = "1"}}};
  batches[4].guards = {VersionGuard{one.key(), 2}};
  batches[5].operations = {DeleteRecord{{.kind = "k", .id = "1"}}};
  batches[5].guards = {AbsentGuard{one.key()}};
  auto there = remote_->CommitMany({}, batches);
  auto here = store_->CommitMany({}, batches);
  ASSERT_EQ(there.size(), here.size());
  for (std::size_t i = 0; i < here.size(); ++i) {
    ASSERT_FALSE(here[i]) << i;
    ASSERT_FALSE(there[i]) << i;
    EXPECT_EQ(there[i].error(), here[i].error()) << there[i].error().message;
  }
  EXPECT_EQ(there[0].error().detail.record, "k/1");
  EXPECT_EQ(there[1].error().detail.current, 1);
  EXPECT_EQ(there[3].error().detail.violations.size(), 1U);
  EXPECT_EQ(there[4].error().code, ErrorCode::kVersionMismatch);
  EXPECT_EQ(there[5].error().code, ErrorCode::kAlreadyExists);
}

TEST_F(HttpEngine, TextThatIsNotOneJsonValueDoesNotBecomePartOfTheRequest) {
  ASSERT_TRUE(remote_->Apply({}, {.name = "k", .rules = R"({"states":{"initial":"A",
      "transitions":{"A":["B"]},"final":["B"],"require":{"B":["/why"]}}})"}));
  ASSERT_TRUE(remote_->Create({}, {.kind = "k", .id = "1"}));
  const std::string more = R"({},"force":true)";
  const std::string other = R"({}},{"do":"record.delete","kind":"k","id":"1")";
  RecordTarget one{.kind = "k", .id = "1"};
  for (const std::string& text : {more, other, std::string(), std::string("{"), std::string("x")}) {
    std::vector<Batch> batches(7);
    batches[0].operations = {CreateRecord{.kind = "k", .data = text}};
    batches[1].operations = {ReplaceRecord{one, text}};
    batches[2].operations = {MergeRecord{one, text}};
    batches[3].operations = {AppendRecord{one, "/l", text}};
    batches[4].operations = {TransitionRecord{one, "B", text}};
    batches[5].operations = {RunAction{one, "a", text}};
    batches[6].operations = {ApplyKind{.name = "k2", .rules = text}};
    auto there = remote_->CommitMany({}, batches);
    auto here = store_->CommitMany({}, batches);
    for (std::size_t i = 0; i < batches.size(); ++i) {
      ASSERT_FALSE(there[i]) << i << text;
      EXPECT_EQ(there[i].error(), here[i].error()) << there[i].error().message;
      EXPECT_EQ(there[i].error().code, ErrorCode::kInvalidArgument);
    }
  }
  EXPECT_EQ((*store_->GetRecord({}, {"k", "1"}))->version, 1);
  EXPECT_EQ(store_->ListRecords({}, {.kind = "k"})->items.size(), 1U);
}

TEST_F(HttpEngine, TheFiltersOfTheAuditTrailTravelAlong) {
  Job job = *remote_->Enqueue({}, {.kind = "k"});
  ASSERT_TRUE(remote_->Cancel({}, job.id));
  ASSERT_FALSE(remote_->Cancel({}, job.id));
  ASSERT_TRUE(store_->Maintain({}));
  auto count = [&](AuditFilter filter) { return remote_->ListAudit({}, filter)->items.size(); };
  EXPECT_EQ(count({}), 2U);
  EXPECT_EQ(count({.refused = true}), 1U);
  EXPECT_EQ(count({.refused = false}), 1U);
  EXPECT_EQ(count({.min_lock_wait = Duration::zero()}), 2U);
  EXPECT_EQ(count({.min_lock_wait = std::chrono::hours(1)}), 0U);
}

TEST_F(HttpEngine, WhoAsksTravelsAlong) {
  Context context;
  context.actor = "ada lövelace";
  context.correlation_id = "order/7";
  ASSERT_TRUE(remote_->Set(context, {.name = "q", .paused = true}));
  AuditPage page = *remote_->ListAudit(context, {.actor = context.actor});
  ASSERT_EQ(page.items.size(), 1U);
  EXPECT_EQ(page.items[0].correlation_id, "order/7");
  EXPECT_EQ(remote_->ListAudit({}, {.target = "queue/q", .since = page.items[0].at})->items,
            page.items);
}

TEST_F(HttpEngine, ErrorsAreThoseOfTheServersStore) {
  Job job = Claimed();
  std::vector<Batch> batches(4);
  batches[0].operations = {CompleteJob{job.id, job.token + 1, {}}};
  batches[1].operations = {CancelJob{999}};
  batches[2].operations = {CancelJob{job.id}, CancelJob{999}};
  batches[3].guards = {JobGuard{job.id, 0}};
  batches[3].operations = {CancelJob{job.id}};
  auto there = remote_->CommitMany({}, batches);
  auto here = store_->CommitMany({}, batches);
  ASSERT_EQ(there.size(), here.size());
  for (std::size_t i = 0; i < here.size(); ++i) {
    ASSERT_FALSE(here[i]);
    ASSERT_FALSE(there[i]);
    EXPECT_EQ(there[i].error(), here[i].error()) << there[i].error().message;
  }
}

TEST_F(HttpEngine, MoreThanARequestHoldsIsSplit) {
  std::string payload = fmt::format(R"("{}")", std::string(250'000, 'x'));
  std::vector<Batch> batches(50);
  for (Batch& batch : batches) {
    batch.operations = {EnqueueJob{{.kind = "k", .payload = payload}}};
  }
  Batch huge;
  huge.operations.assign(50, batches[0].operations[0]);
  batches[20] = huge;
  auto answers = remote_->CommitMany({}, std::move(batches));
  ASSERT_EQ(answers.size(), 50U);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (i == 20) continue;
    EXPECT_TRUE(answers[i]) << i << answers[i].error().message;
  }
  EXPECT_EQ(answers[20].error().code, ErrorCode::kPayloadTooLarge);
  EXPECT_THAT(answers[20].error().message, HasSubstr("over HTTP"));
  EXPECT_EQ(store_->GetStats({})->counts[1], 49);
}

TEST_F(HttpEngine, AClaimWaitsOnTheServer) {
  auto claim = std::async(std::launch::async, [&] {
    return remote_->Claim({}, {.worker = "w", .wait = std::chrono::minutes(1)});
  });
  AwaitWaiting(1);
  Job job = *store_->Enqueue({}, {.kind = "k"});
  auto jobs = claim.get();
  ASSERT_TRUE(jobs) << jobs.error().message;
  EXPECT_EQ(jobs->at(0).id, job.id);
}

TEST_F(HttpEngine, AStoppedClaimStopsWaitingOnTheServerToo) {
  std::stop_source stop;
  Context context;
  context.stop = stop.get_token();
  auto claim = std::async(std::launch::async, [&] {
    return remote_->Claim(context, {.worker = "w", .wait = std::chrono::minutes(1)});
  });
  AwaitWaiting(1);
  stop.request_stop();
  EXPECT_EQ(claim.get().error().code, ErrorCode::kCancelled);
  AwaitWaiting(0);
}

TEST_F(HttpEngine, AClaimEndsWithItsContextsDeadline) {
  StoreOptions options{.clock = &clock_};  // unlike the fixture's, this store ends waits by itself
  Store store(*engine::OpenMemory(options), options);
  api::Api api(store, metrics_);
  net::HttpServer server({.port = 0}, api);
  ASSERT_TRUE(server.Start());
  auto remote = *OpenStore(fmt::format("http://127.0.0.1:{}", server.port()));
  Context context = Context::WithTimeout(milliseconds(50));
  auto jobs = remote->Claim(context, {.worker = "w", .wait = std::chrono::minutes(1)});
  ASSERT_FALSE(jobs);
  EXPECT_EQ(jobs.error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(store.GetStats({})->waiting_claims, 0);
}

TEST_F(HttpEngine, ADrainingServerSaysSo) {
  api_->Drain();
  auto job = remote_->Enqueue({}, {.kind = "k"});
  EXPECT_EQ(job.error().code, ErrorCode::kShuttingDown);
  EXPECT_EQ(job.error().detail.retry_after, seconds(1));
  EXPECT_EQ(remote_->CheckHealth().error().code, ErrorCode::kShuttingDown);
  EXPECT_TRUE(remote_->ListQueues({}));
}

TEST_F(HttpEngine, AServerThatIsGoneIsUnavailable) {
  server_.Stop(seconds(0));
  EXPECT_EQ(remote_->Enqueue({}, {.kind = "k"}).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(remote_->ListQueues({}).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(OpenStore(Url()).error().code, ErrorCode::kUnavailable);
}

/// A server whose every byte the test writes.
class BrokenServer : public ::testing::Test {
 protected:
  static constexpr std::string_view kStats =
      R"({"engine":"memory","version":"1","counts":{"scheduled":0,"pending":0,"processing":0,)"
      R"("completed":0,"failed":0,"cancelled":0},"queues":0,"waiting_claims":0,)"
      R"("now":"2026-01-01T00:00:00Z"})";

  BrokenServer() {
    auto store = std::async(std::launch::async, [&] {
      return OpenStore(fmt::format("http://127.0.0.1:{}", listener_.port()));
    });
    RawPeer peer = listener_.Accept();
    peer.ReadThrough("\r\n\r\n");
    Answer(peer, kStats);
    auto opened = store.get();
    EXPECT_TRUE(opened);
    if (opened) store_ = std::move(*opened);
  }

  static void Answer(RawPeer& peer, std::string_view body) {
    peer.Send(fmt::format("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}",
                          body.size(), body));
    peer.Close();
  }
  /// The next request, read to its end.
  RawPeer NextRequest() {
    RawPeer peer = listener_.Accept();
    EXPECT_NE(peer.ReadThrough("}]}"), "");
    return peer;
  }
  std::future<Result<Receipt>> Commit(std::string key) {
    return std::async(std::launch::async, [this, key] {
      return store_->Commit({}, {.operations = {CancelJob{7}}, .idempotency_key = key});
    });
  }

  RawListener listener_;
  std::unique_ptr<Store> store_;
};

TEST_F(BrokenServer, AWriteWhoseAnswerIsLostIsOfUnknownOutcome) {
  auto answer = Commit("");
  NextRequest().Reset();
  // Nor is it asked again: it may have been done.
  EXPECT_FALSE(listener_.Accept(milliseconds(200)).is_open());
  EXPECT_EQ(answer.get().error().code, ErrorCode::kOutcomeUnknown);
}

TEST_F(BrokenServer, AWriteWithAKeyIsAskedForAgainOnce) {
  auto answer = Commit("key");
  NextRequest().Reset();
  RawPeer again = NextRequest();
  Answer(again, R"({"items":[{"results":[{}],"replayed":true}]})");
  auto receipt = answer.get();
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_TRUE(receipt->replayed);

  auto second = Commit("key2");
  NextRequest().Reset();
  NextRequest().Reset();
  EXPECT_EQ(second.get().error().code, ErrorCode::kOutcomeUnknown);
}

TEST_F(BrokenServer, AnAnswerThatIsNoneIsOfUnknownOutcome) {
  for (std::string_view body : {"<html>", "{}", R"({"items":[]})"}) {
    auto answer = Commit("");
    RawPeer peer = NextRequest();
    Answer(peer, body);
    EXPECT_EQ(answer.get().error().code, ErrorCode::kOutcomeUnknown) << body;
  }
}

TEST_F(BrokenServer, AReadWhoseAnswerIsLostHadNoEffect) {
  auto answer = std::async(std::launch::async, [this] { return store_->ListQueues({}); });
  for (int i = 0; i < 2; ++i) {  // the client may try once more by itself
    RawPeer peer = listener_.Accept(milliseconds(i == 0 ? 20'000 : 200));
    if (!peer.is_open()) break;
    peer.ReadThrough("\r\n\r\n");
    peer.Reset();
  }
  EXPECT_EQ(answer.get().error().code, ErrorCode::kUnavailable);
}

TEST(OpenStore, WhatIsNotAStoreIsRefusedByName) {
  const std::pair<std::string, std::string> bad[] = {
      {"", "memory:, sqlite:FILE, postgres://HOST/DATABASE or http://HOST:PORT"},
      {"jobs.db", "'jobs.db' is not a store URL"},
      {"memory", "is not a store URL"},
      {"memory:x", "is not a store URL"},
      {"sqlite:", "names no file"},
      {"redis://localhost", "is not a store URL"},
      {"postgres://u:secret@h/db?schema=No", "schema=No in the URL of the store"},
      {"https://h:1", "TLS is not part of this version"},
      {"http://", "the host is missing"},
      {"http://:80", "the host is missing"},
      {"http://h:0", "the port is not a number"},
      {"http://h:99999", "the port is not a number"},
      {"http://h:", "the port is not a number"},
      {"http://h:80/path", "more than a host and a port"},
      {"http://h:80?x", "more than a host and a port"},
      {"http://user@h", "more than a host and a port"},
      {"http://[::1", "a ] is missing"},
      {"http://[::1]x", "text after the ]"},
  };
  for (const auto& [url, complaint] : bad) {
    auto store = OpenStore(url);
    ASSERT_FALSE(store) << url;
    EXPECT_EQ(store.error().code, ErrorCode::kInvalidArgument) << url;
    EXPECT_THAT(store.error().message, HasSubstr(complaint)) << url;
    EXPECT_THAT(store.error().message, ::testing::Not(HasSubstr("secret")));
  }
}

TEST(OpenStore, WhatCannotBeOpenedIsUnavailable) {
  RawListener closed;
  std::uint16_t port = closed.port();
  closed.Close();
  for (std::string url :
       {fmt::format("http://127.0.0.1:{}", port), fmt::format("http://[::1]:{}/", port),
        std::string("sqlite:/"), std::string("sqlite:/nowhere/x.db")}) {
    auto store = OpenStore(url);
    ASSERT_FALSE(store) << url;
    EXPECT_EQ(store.error().code, ErrorCode::kUnavailable) << url << store.error().message;
  }
}

}  // namespace
}  // namespace holdfast::testing
