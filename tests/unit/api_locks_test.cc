// The endpoints of locks, without sockets: shapes, statuses, headers, and what is refused.
#include <nlohmann/json.hpp>

#include "unit/api_client.h"

namespace holdfast::testing {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

class ApiLocks : public ApiTest {
 protected:
  net::HttpResponse Acquire(const std::string& name, const std::string& body) {
    return Post("/v1/locks/" + name + "/acquire", body);
  }
  std::string TokenOf(const net::HttpResponse& response) {
    EXPECT_EQ(response.status, 200) << response.body;
    return Json::parse(response.body)["token"];
  }
};

TEST_F(ApiLocks, AnAcquireAnswersWithTheLease) {
  net::HttpResponse response = Acquire("orders%2F7", R"({"owner":"ada","ttl":"30s"})");
  ASSERT_EQ(response.status, 200);
  Json lease = Json::parse(response.body);
  EXPECT_EQ(lease["name"], "orders/7");
  EXPECT_EQ(lease["owner"], "ada");
  EXPECT_EQ(lease["mode"], "exclusive");
  EXPECT_TRUE(lease["token"].is_string());
  EXPECT_EQ(lease["waited_ms"], 0);
  EXPECT_EQ(lease["expires_at"], "2026-01-01T00:00:30.000000Z");
  Json lock = Json::parse(Get("/v1/locks/orders%2F7").body);
  EXPECT_EQ(lock["holders"].size(), 1U);
  EXPECT_EQ(lock["holders"][0]["token"], lease["token"]);
  EXPECT_EQ(lock["waiters"], Json::array());
}

TEST_F(ApiLocks, ABusyLockIs423WithTheTimeThatIsLeft) {
  Acquire("l", R"({"owner":"ada"})");
  net::HttpResponse response = Acquire("l", R"({"owner":"bob"})");
  Error error = ProblemOf(response, 423);
  EXPECT_EQ(error.code, ErrorCode::kBusy);
  EXPECT_EQ(error.detail.lock, "l");
  EXPECT_EQ(error.detail.retry_after, std::chrono::seconds(10));
  EXPECT_EQ(net::FindHeader(response.headers, "Retry-After"), "10");
  EXPECT_EQ(ProblemOf(Acquire("l", R"({"owner":"ada"})"), 409).code, ErrorCode::kAlreadyExists);
}

TEST_F(ApiLocks, AWaitHoldsTheRequestAndHangingUpEndsIt) {
  std::string token = TokenOf(Acquire("l", R"({"owner":"ada"})"));
  Pending bob = Start("POST", "/v1/locks/l/acquire", R"({"owner":"bob","wait":"1m"})");
  std::stop_source gone;
  Pending eve =
      Start("POST", "/v1/locks/l/acquire", R"({"owner":"eve","wait":"1m"})", {}, gone.get_token());
  EXPECT_EQ(store_->GetStats({})->waiting_locks, 2);
  EXPECT_THAT(Get("/metrics").body, HasSubstr("holdfast_locks_waiting 2"));
  gone.request_stop();
  EXPECT_EQ(ProblemOf(eve.Take()).code, ErrorCode::kCancelled);
  EXPECT_EQ(Post("/v1/locks/l/release", R"({"token":")" + token + R"("})").status, 200);
  EXPECT_NE(TokenOf(bob.Take()), token);
}

TEST_F(ApiLocks, RenewReleaseAndBreak) {
  std::string token = TokenOf(Acquire("l", R"({"owner":"ada"})"));
  const std::string held = R"({"token":")" + token + R"("})";
  net::HttpResponse renewed =
      Post("/v1/locks/l/renew", R"({"token":")" + token + R"(","ttl":"1m"})");
  EXPECT_THAT(renewed.body, HasSubstr("2026-01-01T00:01:00.000000Z"));
  EXPECT_EQ(Post("/v1/locks/l/release", held).status, 200);
  EXPECT_EQ(ProblemOf(Post("/v1/locks/l/release", held), 409).code, ErrorCode::kFenced);
  EXPECT_EQ(ProblemOf(Post("/v1/locks/l/renew", held), 409).code, ErrorCode::kFenced);
  EXPECT_EQ(ProblemOf(Post("/v1/locks/l/break", R"({"reason":"r"})"), 404).code,
            ErrorCode::kNotFound);
  Acquire("l", R"({"owner":"ada"})");
  net::HttpResponse broken = Post("/v1/locks/l/break", R"({"reason":"stuck"})");
  EXPECT_EQ(broken.status, 200);
  EXPECT_EQ(Json::parse(broken.body)["locks"].size(), 1U);
}

TEST_F(ApiLocks, SeveralAtOnceAndTheFirstThatIsFree) {
  net::HttpResponse all = Post("/v1/locks/acquire", R"({"names":["a","b"],"owner":"ada"})");
  EXPECT_EQ(Json::parse(all.body)["locks"].size(), 2U);
  net::HttpResponse any =
      Post("/v1/locks/acquire", R"({"names":["a","c"],"policy":"any","owner":"bob"})");
  Json locks = Json::parse(any.body)["locks"];
  ASSERT_EQ(locks.size(), 1U);
  EXPECT_EQ(locks[0]["name"], "c");
  EXPECT_EQ(ProblemOf(Post("/v1/locks/acquire", R"({"names":["a","d"],"owner":"bob"})")).code,
            ErrorCode::kBusy);
}

TEST_F(ApiLocks, GuardsAndOperationsOfACommit) {
  std::string token = TokenOf(Acquire("l", R"({"owner":"ada"})"));
  net::HttpResponse done = Post(
      "/v1/commit", R"({"guards":[{"lock":"l","token":")" + token +
                        R"("}],"operations":[{"do":"lock.acquire","name":"m","owner":"ada"},)" +
                        R"({"do":"lock.release","name":"l","token":")" + token + R"("}]})");
  EXPECT_EQ(done.status, 200) << done.body;
  EXPECT_EQ(Json::parse(done.body)["results"][0]["locks"][0]["name"], "m");
  Error error =
      ProblemOf(Post("/v1/commit", R"({"guards":[{"lock":"l","token":")" + token +
                                       R"("}],"operations":[{"do":"job.enqueue","kind":"k"}]})"),
                409);
  EXPECT_EQ(error.code, ErrorCode::kFenced);
  EXPECT_EQ(error.detail.guard, 0);
}

TEST_F(ApiLocks, RecordsAreLockedWaitedForAndTaken) {
  net::HttpResponse declared =
      Call("PUT", "/v1/kinds/seat",
           R"({"states":{"initial":["free"],"transitions":{"free":["held"],"held":["free"]}}})");
  ASSERT_EQ(declared.status, 201) << declared.body;
  Post("/v1/records/seat", R"({"id":"1A"})");
  Post("/v1/records/seat", R"({"id":"1B"})");
  Json taken =
      Json::parse(Post("/v1/records/seat/acquire", R"({"owner":"ada","status":"free"})").body);
  EXPECT_EQ(taken["acquired"], true);
  EXPECT_EQ(taken["record"]["id"], "1A");
  EXPECT_EQ(taken["lock"]["name"], "record:seat/1A");
  net::HttpResponse busy = Post("/v1/records/seat/1A/transition", R"({"to":"held"})");
  Error error = ProblemOf(busy, 423);
  EXPECT_EQ(error.detail.record, "seat/1A");
  Pending waiting = Start("POST", "/v1/commit", R"({"wait":"1m","operations":[
      {"do":"record.transition","kind":"seat","id":"1A","to":"held"}]})");
  Post("/v1/locks/record:seat%2F1A/release",
       R"({"token":")" + taken["lock"]["token"].get<std::string>() + R"("})");
  EXPECT_EQ(waiting.Take().status, 200);
  Post("/v1/records/seat/acquire", R"({"owner":"bob","status":"free"})");
  Json none =
      Json::parse(Post("/v1/records/seat/acquire", R"({"owner":"e","status":"free"})").body);
  EXPECT_EQ(none, Json::parse(R"({"acquired":false})"));
}

TEST_F(ApiLocks, FencesOfRecords) {
  Call("PUT", "/v1/kinds/doc", "{}");
  Post("/v1/records/doc", R"({"id":"d"})");
  auto write = [&](int fence) {
    return Post(
        "/v1/commit",
        R"({"guards":[{"record":{"kind":"doc","id":"d"},"fence":")" + std::to_string(fence) +
            R"("}],"operations":[{"do":"record.merge","kind":"doc","id":"d","patch":{}}]})");
  };
  EXPECT_EQ(write(5).status, 200);
  EXPECT_EQ(ProblemOf(write(4), 409).code, ErrorCode::kFenced);
  EXPECT_EQ(Json::parse(Get("/v1/records/doc/d").body)["fence"], "5");
}

TEST_F(ApiLocks, ListsByPrefixAndOwner) {
  Acquire("a%2F1", R"({"owner":"ada"})");
  Acquire("a%2F2", R"({"owner":"bob"})");
  Acquire("b", R"({"owner":"ada","mode":"shared","limit":3})");
  Json all = Json::parse(Get("/v1/locks").body);
  EXPECT_EQ(all["items"].size(), 3U);
  EXPECT_EQ(all["items"][2]["limit"], 3);
  EXPECT_EQ(Json::parse(Get("/v1/locks?prefix=a%2F").body)["items"].size(), 2U);
  EXPECT_EQ(Json::parse(Get("/v1/locks?owner=ada").body)["items"].size(), 2U);
  Json page = Json::parse(Get("/v1/locks?limit=2").body);
  EXPECT_EQ(page["items"].size(), 2U);
  EXPECT_EQ(Json::parse(Get("/v1/locks?limit=2&cursor=a%2F2").body)["items"].size(), 1U);
}

TEST_F(ApiLocks, RefusedRequestsNameTheFieldAndTheLimit) {
  auto message = [&](const std::string& target, const std::string& body) {
    net::HttpResponse response = Post(target, body);
    return ProblemOf(response, 400).message;
  };
  EXPECT_THAT(message("/v1/locks/l/acquire", "{}"), HasSubstr("owner is missing"));
  EXPECT_THAT(message("/v1/locks/l/acquire", R"({"owner":"o","mode":"both"})"),
              HasSubstr(R"(mode must be "exclusive" or "shared")"));
  EXPECT_THAT(message("/v1/locks/l/acquire", R"({"owner":"o","ttl":"0s"})"),
              HasSubstr("ttl is 0s (100ms to 1d)"));
  EXPECT_THAT(message("/v1/locks/l/acquire", R"({"owner":"o","names":["m"]})"),
              HasSubstr("names is not a known field"));
  EXPECT_THAT(message("/v1/locks/l/acquire", R"({"owner":"o","preset":"NOPE"})"),
              HasSubstr("preset NOPE does not exist"));
  EXPECT_THAT(message("/v1/locks/acquire", R"({"names":["a"],"policy":"some","owner":"o"})"),
              HasSubstr(R"(policy must be "all" or "any")"));
  EXPECT_THAT(message("/v1/commit", R"({"operations":[{"do":"lock.await"}]})"),
              HasSubstr("'lock.await' is not an operation"));
  EXPECT_THAT(message("/v1/commit", R"({"operations":[
      {"do":"lock.acquire","name":"l","owner":"o","wait":"1s"}]})"),
              HasSubstr("a batch does not wait"));
  net::HttpResponse keyed =
      Post("/v1/locks/l/acquire", R"({"owner":"o","wait":"1s"})", {{"Idempotency-Key", "k"}});
  EXPECT_THAT(ProblemOf(keyed, 400).message, HasSubstr("takes no Idempotency-Key"));
}

TEST_F(ApiLocks, IDEM_1_AnAcquireThatDoesNotWaitIsReplayed) {
  net::Headers key{{"Idempotency-Key", "k"}};
  net::HttpResponse first = Post("/v1/locks/l/acquire", R"({"owner":"ada"})", key);
  net::HttpResponse second = Post("/v1/locks/l/acquire", R"({"owner":"ada"})", key);
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(second.body, first.body);
  EXPECT_EQ(net::FindHeader(second.headers, "Idempotency-Replayed"), "true");
}

TEST_F(ApiLocks, MetricsTellOfLocks) {
  std::string token = TokenOf(Acquire("l", R"({"owner":"ada"})"));
  Acquire("l", R"({"owner":"bob"})");
  Post("/v1/locks/l/release", R"({"token":")" + token + R"("})");
  Post("/v1/locks/l/release", R"({"token":")" + token + R"("})");
  Acquire("l", R"({"owner":"ada","mode":"shared"})");
  clock_.Advance(std::chrono::seconds(11));
  ASSERT_TRUE(store_->Maintain({}));
  std::string text = Get("/metrics").body;
  EXPECT_THAT(text, HasSubstr("holdfast_locks_acquired_total{mode=\"exclusive\"} 1"));
  EXPECT_THAT(text, HasSubstr("holdfast_lock_acquire_failures_total{code=\"busy\"} 1"));
  EXPECT_THAT(text, HasSubstr("holdfast_locks_ended_total{how=\"released\",mode=\"exclusive\"} 1"));
  EXPECT_THAT(text, HasSubstr("holdfast_locks_ended_total{how=\"expired\",mode=\"shared\"} 1"));
  EXPECT_THAT(text, HasSubstr("holdfast_stale_token_rejections_total 1"));
  EXPECT_THAT(text, HasSubstr("holdfast_lock_wait_seconds_count 2"));
  EXPECT_THAT(text, HasSubstr("holdfast_lock_hold_seconds_count 2"));
}

}  // namespace
}  // namespace holdfast::testing
