// What the API answers beside jobs: commits, queues, the audit trail, health; and how it drains.
#include <fmt/format.h>

#include "api_client.h"

namespace holdfast::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Api : public ApiTest {};

TEST_F(Api, ACommitIsAllOrNothing) {
  Job job = Claimed();
  std::string body = fmt::format(
      R"({{"guards":[{{"job":"{}","token":"{}"}}],"operations":[
           {{"do":"job.complete","id":"{}","token":"{}","result":1}},
           {{"do":"job.enqueue","kind":"child","parent":"{}"}}]}})",
      job.id, job.token, job.id, job.token, job.id);
  auto committed = Post("/v1/commit", body);
  EXPECT_EQ(committed.status, 200) << committed.body;
  auto receipt = wire::DecodeReceipt(committed.body);
  ASSERT_TRUE(receipt) << committed.body;
  EXPECT_EQ(receipt->results.at(0).job->state, JobState::kCompleted);
  EXPECT_EQ(receipt->results.at(1).job->parent, job.id);

  Error again = ProblemOf(Post("/v1/commit", body));
  EXPECT_EQ(again.code, ErrorCode::kFenced);
  EXPECT_EQ(again.detail.guard, 0);
  Error second = ProblemOf(Post("/v1/commit", R"({"operations":[
      {"do":"job.enqueue","kind":"lost"},{"do":"job.cancel","id":"999"}]})"));
  EXPECT_EQ(second.code, ErrorCode::kNotFound);
  EXPECT_EQ(second.detail.operation, 1);
  EXPECT_THAT(Get("/v1/jobs?kind=lost").body, StartsWith(R"({"items":[])"));
}

TEST_F(Api, ManyCommitsInOneRequestSucceedOrFailAlone) {
  std::string body = R"({"batches":[
      {"operations":[{"do":"job.enqueue","kind":"a"}],"idempotency_key":"a"},
      {"operations":[{"do":"job.cancel","id":"999"}]},
      {"operations":[]}]})";
  auto answers = wire::DecodeReceipts(Post("/v1/commit", body).body);
  ASSERT_TRUE(answers);
  ASSERT_EQ(answers->size(), 3U);
  ASSERT_TRUE((*answers)[0]);
  EXPECT_EQ((*answers)[0]->results.at(0).job->kind, "a");
  EXPECT_FALSE((*answers)[0]->replayed);
  EXPECT_EQ((*answers)[1].error().code, ErrorCode::kNotFound);
  EXPECT_EQ((*answers)[1].error().detail.operation, 0);
  EXPECT_THAT((*answers)[2].error().message, HasSubstr("no operations"));
  auto again = wire::DecodeReceipts(Post("/v1/commit", body).body);
  EXPECT_TRUE((*again)[0]->replayed);
  EXPECT_EQ((*again)[0]->results, (*answers)[0]->results);
}

TEST_F(Api, BadCommitsAreRefusedByName) {
  std::vector<std::string> many(1001, R"({"do":"job.cancel","id":"1"})");
  const std::pair<std::string, std::string> bad[] = {
      {"{}", "operations is missing"},
      {R"({"operations":[]})", "the batch has no operations"},
      {fmt::format(R"({{"operations":[{}]}})", fmt::join(many, ",")),
       "the batch has 1001 operations (at most 1000)"},
      {R"({"batches":[]})", "batches has 0 entries (1 to 1000)"},
      {R"({"operations":[{"do":"job.cancel","id":"1","x":1}]})",
       "operations[0].x is not a known field"},
      {R"({"operations":[{"do":"lock.guess"}]})",
       "operations[0].do: 'lock.guess' is not an operation"},
  };
  for (const auto& [body, complaint] : bad) {
    Error error = ProblemOf(Post("/v1/commit", body));
    EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.message, StartsWith(complaint));
  }
  Error twice = ProblemOf(
      Post("/v1/commit", R"({"operations":[{"do":"job.cancel","id":"1"}],"idempotency_key":"a"})",
           {{"Idempotency-Key", "b"}}));
  EXPECT_THAT(twice.message, HasSubstr("Idempotency-Key"));
}

TEST_F(Api, AKeyInTheHeaderCoversTheCommit) {
  std::string body = R"({"operations":[{"do":"job.enqueue","kind":"a"}]})";
  auto first = Post("/v1/commit", body, {{"idempotency-key", "x"}});
  auto second = Post("/v1/commit", body, {{"idempotency-key", "x"}});
  EXPECT_EQ(first.body, second.body);
  EXPECT_EQ(net::FindHeader(second.headers, "Idempotency-Replayed"), "true");
}

TEST_F(Api, QueuesAreChangedAndRead) {
  auto changed = Call("PATCH", "/v1/queues/q%2E1",
                      R"({"paused":true,"max_pending":1,"max_running":2,"audit":true})");
  EXPECT_EQ(changed.status, 200) << changed.body;
  EXPECT_THAT(changed.body, StartsWith(R"({"name":"q.1","paused":true,"max_pending":1)"));
  EXPECT_EQ(Get("/v1/queues/q.1").body, changed.body);
  auto queues = wire::DecodeQueuePage(Get("/v1/queues").body);
  ASSERT_TRUE(queues);
  EXPECT_EQ(queues->items.at(0).max_running, 2);

  Post("/v1/jobs", R"({"kind":"k","queue":"q.1"})");
  auto full = Post("/v1/jobs", R"({"kind":"k","queue":"q.1"})");
  Error error = ProblemOf(full);
  EXPECT_EQ(error.code, ErrorCode::kQueueFull);
  EXPECT_EQ(net::FindHeader(full.headers, "Retry-After").empty(), !error.detail.retry_after);
  EXPECT_THAT(Call("PATCH", "/v1/queues/q.1", R"({"max_pending":null})").body,
              Not(HasSubstr("max_pending")));
  EXPECT_EQ(Post("/v1/jobs", R"({"kind":"k","queue":"q.1"})").status, 201);
}

TEST_F(Api, BadQueueCallsAreRefusedByName) {
  EXPECT_EQ(ProblemOf(Get("/v1/queues/none")).code, ErrorCode::kNotFound);
  const std::pair<std::string, std::string> bad[] = {
      {R"({"colour":1})", "colour is not a known field"},
      {R"({"paused":"yes"})", "paused must be true or false"},
      {R"({"max_pending":-1})", "max_pending is -1"},
      {R"({"max_running":1.5})", "max_running must be a whole number"},
      {R"({"retain_failed":"ever"})", "retain_failed: 'ever' is not a duration"},
      {R"({"name":"other"})", "name is not a known field"},
  };
  for (const auto& [body, complaint] : bad) {
    Error error = ProblemOf(Call("PATCH", "/v1/queues/q", body));
    EXPECT_THAT(error.message, StartsWith(complaint)) << body;
  }
  Error name = ProblemOf(Call("PATCH", "/v1/queues/a%20b", R"({"paused":true})"));
  EXPECT_THAT(name.message, StartsWith("queue has a character outside"));
}

TEST_F(Api, TheAuditTrailTellsWhoDidWhat) {
  Job job = JobOf(Post("/v1/jobs", R"({"kind":"k"})"));
  Call("POST", PathOf(job, "cancel"), "",
       {{"X-Holdfast-Actor", "ada"}, {"X-Correlation-Id", "c1"}});
  Call("POST", PathOf(job, "retry"), "", {{"X-Holdfast-Actor", "bob"}, {"X-Request-Id", "r1"}});
  auto audit = [&](std::string query) {
    auto page = wire::DecodeAuditPage(Get("/v1/audit" + query).body);
    EXPECT_TRUE(page);
    return page ? page->items : std::vector<AuditEntry>();
  };
  ASSERT_EQ(audit("?actor=ada").size(), 1U);
  EXPECT_EQ(audit("?actor=ada").at(0).correlation_id, "c1");
  EXPECT_EQ(audit("?actor=bob").at(0).correlation_id, "r1") << "the request's id stands in";
  EXPECT_EQ(audit(fmt::format("?target=job%2F{}", job.id)).size(), 2U);
  EXPECT_EQ(audit("?operation=job.cancel&limit=1").size(), 1U);
  EXPECT_EQ(audit("?since=2025-12-31T23:00:00-01:00").size(), 2U);
  EXPECT_EQ(audit("?until=2020-01-01T00:00:00Z").size(), 0U);
  EXPECT_EQ(audit("?min_lock_wait=0s").size(), 2U);
  EXPECT_EQ(audit("?min_lock_wait=1h").size(), 0U);
  EXPECT_EQ(audit("?refused=false").size(), 2U);
  EXPECT_EQ(audit("?refused=true").size(), 0U);
  EXPECT_EQ(ProblemOf(Post(PathOf(job, "retry"))).code, ErrorCode::kInvalidTransition);
  ASSERT_TRUE(store_->Maintain({}));  // refusals are written aside
  ASSERT_EQ(audit("?refused=true").size(), 1U);
  EXPECT_EQ(audit("?refused=true").at(0).error, "invalid_transition");
  EXPECT_EQ(audit("?refused=false").size(), 2U);
  EXPECT_THAT(ProblemOf(Get("/v1/audit?refused=1")).message, "refused must be true or false");
  EXPECT_THAT(ProblemOf(Get("/v1/audit?min_lock_wait=100")).message,
              StartsWith("min_lock_wait: '100' is not a duration"));
  EXPECT_THAT(ProblemOf(Get("/v1/audit?since=today")).message, StartsWith("since: 'today' is not"));
  EXPECT_THAT(ProblemOf(Get("/v1/audit?limit=x")).message, StartsWith("limit must be"));
}

TEST_F(Api, HealthStatsAndMetricsAreShown) {
  EXPECT_EQ(Get("/healthz").body, R"({"status":"ok"})");
  EXPECT_EQ(Get("/readyz").body, R"({"status":"ready"})");
  Job job = Claimed();
  Post(PathOf(job, "complete"), WithToken(job));
  Post(PathOf(job, "complete"), R"({"token":"0"})");
  EXPECT_EQ(wire::DecodeStats(Get("/v1/stats").body)->engine, "memory");
  auto metrics = Get("/metrics");
  EXPECT_THAT(metrics.content_type, StartsWith("text/plain"));
  for (std::string_view line :
       {"holdfast_jobs_enqueued_total{queue=\"q\"} 1", "holdfast_jobs_claimed_total{queue=\"q\"} 1",
        "holdfast_jobs_finished_total{outcome=\"completed\",queue=\"q\"} 1",
        "holdfast_jobs_ready{queue=\"q\"} 0", "holdfast_build_info{version=\"",
        "holdfast_stale_token_rejections_total 1", "holdfast_commits_total 2",
        "holdfast_http_requests_total{code=\"200\",method=\"POST\","
        "route=\"/v1/jobs/{id}/complete\"} 1",
        "holdfast_http_requests_total{code=\"409\"", "holdfast_job_run_seconds_count 1",
        "holdfast_http_request_duration_seconds_bucket", "process_resident_memory_bytes"}) {
    EXPECT_THAT(metrics.body, HasSubstr(line));
  }
}

TEST_F(Api, MetricsDoNotGrowWithNames) {
  for (int i = 0; i < 300; ++i) {
    Post("/v1/jobs", fmt::format(R"({{"kind":"k","queue":"q{}"}})", i));
    Get(fmt::format("/nowhere/{}", i));
    Call(fmt::format("M{}", i), "/v1/jobs");
  }
  std::string text = Get("/metrics").body;
  auto lines = [&](std::string_view name) {
    int count = 0;
    for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + 1)) {
      ++count;
    }
    return count;
  };
  EXPECT_LE(lines("holdfast_jobs_enqueued_total{"), 201);
  EXPECT_LE(lines("holdfast_jobs_ready{"), 201);
  EXPECT_THAT(text, HasSubstr("holdfast_jobs_enqueued_total{queue=\"other\"} 100"));
  EXPECT_THAT(text, HasSubstr("holdfast_jobs_ready{queue=\"other\"} 100"));
  EXPECT_LE(lines("holdfast_http_requests_total{"), 5);
}

TEST_F(Api, UnknownPathsAndMethodsAreToldApart) {
  Error missing = ProblemOf(Get("/v1/nothing"));
  EXPECT_EQ(missing.code, ErrorCode::kNotFound);
  EXPECT_THAT(missing.message, HasSubstr("/v1/nothing"));
  for (std::string path : {"/", "", "*", "/v1/jobs/", "/v1/jobs/7/", "/v1/jobs/7/explode",
                           "/v1/jobs/7/complete/x", "//v1/jobs"}) {
    EXPECT_EQ(ProblemOf(Get(path)).code, ErrorCode::kNotFound) << path;
  }
  auto wrong = Call("PUT", "/v1/jobs");
  Error error = ProblemOf(wrong, 405);
  EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(net::FindHeader(wrong.headers, "Allow"), "POST, GET, HEAD");
  EXPECT_EQ(net::FindHeader(Call("POST", "/v1/jobs/7").headers, "Allow"), "GET, HEAD, DELETE");
  EXPECT_EQ(net::FindHeader(Get("/v1/jobs/7/complete").headers, "Allow"), "POST");
}

TEST_F(Api, RequestsHaveIds) {
  auto named = Call("GET", "/healthz", "", {{"x-request-id", "mine-1"}});
  EXPECT_EQ(net::FindHeader(named.headers, "X-Request-Id"), "mine-1");
  auto first = Get("/healthz");
  auto second = Get("/healthz");
  EXPECT_NE(net::FindHeader(first.headers, "X-Request-Id"),
            net::FindHeader(second.headers, "X-Request-Id"));
  auto unusable = Call("GET", "/healthz", "", {{"X-Request-Id", "a b"}});
  EXPECT_NE(net::FindHeader(unusable.headers, "X-Request-Id"), "a b");
  auto tall = Call("GET", "/healthz", "", {{"X-Request-Id", std::string(129, 'x')}});
  EXPECT_LT(net::FindHeader(tall.headers, "X-Request-Id").size(), 129U);
}

TEST_F(Api, WhoAsksIsBounded) {
  Error error =
      ProblemOf(Post("/v1/jobs", R"({"kind":"k"})", {{"X-Holdfast-Actor", std::string(129, 'a')}}));
  EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(error.message, StartsWith("actor has 129 bytes (at most 128)"));
}

TEST_F(Api, BodiesAreBoundedByWhatTheyHold) {
  EXPECT_EQ(api_->BodyLimit("POST", "/v1/jobs"), 1U << 20);
  EXPECT_EQ(api_->BodyLimit("POST", "/v1/jobs/7/complete"), 1U << 20);
  EXPECT_EQ(api_->BodyLimit("POST", "/nothing"), 1U << 20);
  for (std::string path :
       {"/v1/jobs/batch", "/v1/jobs/finish", "/v1/jobs/renew", "/v1/commit", "/v1/commit?x=1"}) {
    EXPECT_EQ(api_->BodyLimit("POST", path), 8U << 20) << path;
  }
  // Data of 1 MiB must come through, and what is larger must be refused by the rules' own words.
  for (std::string path : {"/v1/records/k/1", "/v1/records/k/1?x=1", "/v1/kinds/k"}) {
    EXPECT_GT(api_->BodyLimit("PUT", path), 1U << 20) << path;
    EXPECT_LT(api_->BodyLimit("PUT", path), 2U << 20) << path;
  }
  EXPECT_GT(api_->BodyLimit("POST", "/v1/records/k/1/actions/a"), 1U << 20);
}

TEST_F(Api, RefusalsOfTheServerAreProblemsToo) {
  const std::pair<int, ErrorCode> refusals[] = {
      {400, ErrorCode::kInvalidArgument}, {408, ErrorCode::kDeadlineExceeded},
      {413, ErrorCode::kPayloadTooLarge}, {431, ErrorCode::kInvalidArgument},
      {500, ErrorCode::kInternal},        {503, ErrorCode::kUnavailable}};
  for (auto [status, code] : refusals) {
    auto response = api_->Refuse(status, "the body is over 1048576 bytes");
    Error error = ProblemOf(response, status);
    EXPECT_EQ(error.code, code);
    EXPECT_EQ(error.message, "the body is over 1048576 bytes");
    EXPECT_EQ(net::FindHeader(response.headers, "Retry-After"), status == 503 ? "1" : "");
  }
}

TEST_F(Api, DrainingRefusesWritesAndEndsWhatWaits) {
  Job job = Claimed();
  Pending waiting = Start("POST", "/v1/jobs/claim", R"({"worker":"w","wait":"1m"})");
  api_->Drain();
  EXPECT_EQ(ClaimedOf(waiting.Take()).size(), 0U);
  for (std::string target : {"/v1/jobs", "/v1/jobs/claim", "/v1/commit"}) {
    auto refused = Post(target, R"({"kind":"k"})");
    Error error = ProblemOf(refused);
    EXPECT_EQ(error.code, ErrorCode::kShuttingDown) << target;
    EXPECT_EQ(net::FindHeader(refused.headers, "Retry-After"), "1");
  }
  EXPECT_EQ(ProblemOf(Get("/readyz")).code, ErrorCode::kShuttingDown);
  EXPECT_EQ(Get("/healthz").status, 200);
  EXPECT_EQ(JobOf(Get(fmt::format("/v1/jobs/{}", job.id))).state, JobState::kProcessing);
  api_->Drain();
}

TEST_F(Api, EndingAnswersEverybodyFirst) {
  Pending waiting = Start("POST", "/v1/jobs/claim", R"({"worker":"w","wait":"1m"})");
  api_.reset();
  EXPECT_EQ(ClaimedOf(waiting.Take()).size(), 0U);
}

}  // namespace
}  // namespace holdfast::testing
