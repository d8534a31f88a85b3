// What each endpoint about jobs answers, and what it refuses.
#include <fmt/format.h>

#include "api_client.h"
#include "testing/faulty_engine.h"

namespace holdfast::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class ApiJobs : public ApiTest {};

/// The client goes away in the instant in which its claim has got something.
class LeavingEngine final : public FaultyEngine {
 public:
  using FaultyEngine::FaultyEngine;

  void Claim(const Context& context, ClaimRequest request, ClaimDone done) override {
    FaultyEngine::Claim(context, std::move(request),
                        [this, done = std::move(done)](auto result) mutable {
                          gone.request_stop();
                          done(std::move(result));
                        });
  }

  std::stop_source gone;
};

TEST_F(ApiJobs, AJobIsAddedReadAndListed) {
  auto added = Post("/v1/jobs", R"({"kind":"email","queue":"mail","payload":{"to":"ada"},
                                    "priority":1,"tags":["a"],"metadata":{"m":1}})");
  EXPECT_EQ(added.status, 201) << added.body;
  EXPECT_EQ(added.content_type, "application/json");
  Job job = JobOf(added);
  EXPECT_EQ(net::FindHeader(added.headers, "Location"), fmt::format("/v1/jobs/{}", job.id));
  EXPECT_EQ(job.state, JobState::kPending);
  EXPECT_EQ(job.payload, R"({"to":"ada"})");

  auto read = Get(fmt::format("/v1/jobs/{}", job.id));
  EXPECT_EQ(read.status, 200);
  EXPECT_EQ(JobOf(read), job);

  Post("/v1/jobs", R"({"kind":"other","delay":"1h"})");
  auto list = [&](std::string query) { return *wire::DecodeJobPage(Get("/v1/jobs" + query).body); };
  EXPECT_EQ(list("").items.size(), 2U);
  EXPECT_EQ(list("?queue=mail&kind=email&state=pending").items.size(), 1U);
  EXPECT_EQ(list("?state=scheduled").items.at(0).kind, "other");
  EXPECT_EQ(list("?state=failed").items.size(), 0U);
  EXPECT_EQ(list("?parent=1").items.size(), 0U);
  JobPage first = list("?limit=1");
  ASSERT_FALSE(first.next_cursor.empty());
  JobPage second = list("?limit=1&cursor=" + first.next_cursor);
  EXPECT_EQ(second.items.at(0).kind, "other");
  EXPECT_EQ(second.next_cursor, "");
  EXPECT_THAT(Get("/v1/jobs?limit=2").body, HasSubstr(R"("next_cursor":null)"));
}

TEST_F(ApiJobs, AnExistingJobIsAnsweredWith200) {
  std::string body = R"({"kind":"k","unique":{"key":"u","on_conflict":"return"}})";
  Job first = JobOf(Post("/v1/jobs", body));
  auto second = Post("/v1/jobs", body);
  EXPECT_EQ(second.status, 200);
  EXPECT_EQ(JobOf(second).id, first.id);
  Error error = ProblemOf(Post("/v1/jobs", R"({"kind":"k","unique":{"key":"u"}})"));
  EXPECT_EQ(error.code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(error.detail.id, first.id);
}

TEST_F(ApiJobs, AClaimedJobIsReportedOn) {
  Job job = Claimed();
  EXPECT_EQ(job.worker, "w");
  EXPECT_GT(job.token, 0);
  EXPECT_EQ(JobOf(Get(fmt::format("/v1/jobs/{}", job.id))).token, 0) << "others must not see it";

  Job progress = JobOf(Post(PathOf(job, "progress"), WithToken(job, R"("progress":0.5)")));
  EXPECT_EQ(progress.progress, 0.5);
  Job renewed = JobOf(Post(PathOf(job, "renew"), WithToken(job, R"("lease":"10m")")));
  EXPECT_GT(renewed.lease_expires_at, job.lease_expires_at);
  auto completed = Post(PathOf(job, "complete"), WithToken(job, R"("result":[1,2])"));
  EXPECT_EQ(completed.status, 200);
  EXPECT_EQ(JobOf(completed).state, JobState::kCompleted);
  EXPECT_EQ(JobOf(completed).result, "[1,2]");
  EXPECT_EQ(ProblemOf(Post(PathOf(job, "complete"), WithToken(job))).code,
            ErrorCode::kInvalidTransition);
}

TEST_F(ApiJobs, AttemptsFailAreReleasedAndPutOff) {
  Job failed = Claimed();
  Job retried =
      JobOf(Post(PathOf(failed, "fail"), WithToken(failed, R"("error":"e","retry_in":"5s")")));
  EXPECT_EQ(retried.state, JobState::kScheduled);
  EXPECT_EQ(retried.errors.at(0).message, "e");
  Job dead = Claimed();
  dead = JobOf(Post(PathOf(dead, "fail"), WithToken(dead, R"("error":"e","permanent":true)")));
  EXPECT_EQ(dead.state, JobState::kFailed);
  EXPECT_EQ(JobOf(Post(PathOf(dead, "retry"))).state, JobState::kPending);
  EXPECT_EQ(JobOf(Post(PathOf(dead, "cancel"), "{}")).state, JobState::kCancelled);

  Job released = Claimed();
  EXPECT_EQ(JobOf(Post(PathOf(released, "release"), WithToken(released))).state,
            JobState::kPending);
  Job snoozed = Claimed();
  EXPECT_EQ(JobOf(Post(PathOf(snoozed, "snooze"), WithToken(snoozed, R"("delay":"1h")"))).state,
            JobState::kScheduled);
}

TEST_F(ApiJobs, OneJobIsClaimedByItsId) {
  Job job = JobOf(Post("/v1/jobs", R"({"kind":"k"})"));
  auto claimed = Post(PathOf(job, "claim"), R"({"worker":"w","lease":"5s"})");
  EXPECT_EQ(claimed.status, 200);
  EXPECT_THAT(claimed.body, StartsWith(R"({"claimed":true,"job":{"id":)"));
  EXPECT_EQ(Post(PathOf(job, "claim"), R"({"worker":"w2"})").body, R"({"claimed":false})");
  EXPECT_EQ(Post("/v1/jobs/999/claim", R"({"worker":"w2"})").body, R"({"claimed":false})");
}

TEST_F(ApiJobs, AJobIsDeleted) {
  Job job = JobOf(Post("/v1/jobs", R"({"kind":"k"})"));
  std::string path = fmt::format("/v1/jobs/{}", job.id);
  auto deleted = Call("DELETE", path);
  EXPECT_EQ(deleted.status, 204);
  EXPECT_EQ(deleted.body, "");
  EXPECT_EQ(ProblemOf(Get(path)).code, ErrorCode::kNotFound);
  EXPECT_EQ(ProblemOf(Call("DELETE", path)).code, ErrorCode::kNotFound);
}

TEST_F(ApiJobs, StaleAndUnknownReportsAreRefused) {
  Job job = Claimed();
  Job stale = job;
  stale.token = 0;
  EXPECT_EQ(ProblemOf(Post(PathOf(stale, "complete"), WithToken(stale))).code, ErrorCode::kFenced);
  Job missing = job;
  missing.id = 999;
  Error error = ProblemOf(Post(PathOf(missing, "release"), WithToken(missing)));
  EXPECT_EQ(error.code, ErrorCode::kNotFound);
  EXPECT_THAT(error.message, HasSubstr("999"));
  EXPECT_FALSE(error.detail.operation) << "there is no list in which an index means anything";
  EXPECT_EQ(JobOf(Get(fmt::format("/v1/jobs/{}", job.id))).state, JobState::kProcessing);
}

TEST_F(ApiJobs, ClaimsTakeWhatThereIsAndNoMore) {
  for (int i = 0; i < 3; ++i) Post("/v1/jobs", R"({"kind":"k"})");
  EXPECT_EQ(ClaimedOf(Post("/v1/jobs/claim", R"({"worker":"w","max":2})")).size(), 2U);
  EXPECT_EQ(ClaimedOf(Post("/v1/jobs/claim", R"({"worker":"w","max":2})")).size(), 1U);
  auto empty = Post("/v1/jobs/claim", R"({"worker":"w","max":2})");
  EXPECT_EQ(empty.status, 200);
  EXPECT_EQ(empty.body, R"({"jobs":[]})");
}

TEST_F(ApiJobs, AClaimThatWaitsIsAnsweredWhenAJobComes) {
  Pending waiting = Start("POST", "/v1/jobs/claim", R"({"worker":"w","wait":"1m"})");
  EXPECT_EQ(wire::DecodeStats(Get("/v1/stats").body)->waiting_claims, 1);
  Job job = JobOf(Post("/v1/jobs", R"({"kind":"k"})"));
  EXPECT_EQ(ClaimedOf(waiting.Take()).at(0).id, job.id);
}

TEST_F(ApiJobs, AClaimWhoseClientIsGoneEnds) {
  std::stop_source gone;
  Pending waiting =
      Start("POST", "/v1/jobs/claim", R"({"worker":"w","wait":"1m"})", {}, gone.get_token());
  gone.request_stop();
  EXPECT_EQ(ProblemOf(waiting.Take()).code, ErrorCode::kCancelled);
  EXPECT_EQ(wire::DecodeStats(Get("/v1/stats").body)->waiting_claims, 0);
}

TEST_F(ApiJobs, JOB_8_JobsOfAClientThatIsGoneAreGivenBack) {
  const StoreOptions options{.maintain = false};
  auto engine = std::make_unique<LeavingEngine>(*engine::OpenMemory(options));
  const std::stop_token gone = engine->gone.get_token();
  api_.reset();
  store_ = std::make_unique<Store>(std::move(engine), options);
  api_ = std::make_unique<api::Api>(*store_, metrics_);
  const Job job = JobOf(Post("/v1/jobs", R"({"kind":"k"})"));
  const auto answer = Start("POST", "/v1/jobs/claim", R"({"worker":"w"})", {}, gone).Take();
  EXPECT_TRUE(ClaimedOf(answer).empty());
  const std::optional<Job> after = *store_->GetJob({}, job.id);
  EXPECT_EQ(after->state, JobState::kPending);
  EXPECT_EQ(after->attempt, 0);
}

TEST_F(ApiJobs, ClaimsTakeNoIdempotencyKey) {
  Error error = ProblemOf(Post("/v1/jobs/claim", R"({"worker":"w"})", {{"Idempotency-Key", "k"}}));
  EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(error.message, HasSubstr("Idempotency-Key"));
}

TEST_F(ApiJobs, ManyJobsAreAddedEachByItself) {
  auto added = Post("/v1/jobs/batch", R"({"jobs":[{"kind":"a"},{"kind":""},{"kind":"c"}]})");
  EXPECT_EQ(added.status, 200);
  EXPECT_THAT(added.body, HasSubstr(R"("kind":"a")"));
  EXPECT_THAT(added.body, HasSubstr(R"({"error":{"type":"urn:holdfast:error:invalid_argument")"));
  EXPECT_THAT(added.body, HasSubstr(R"("kind":"c")"));
  EXPECT_EQ(wire::DecodeStats(Get("/v1/stats").body)->counts[1], 2);
}

TEST_F(ApiJobs, ManyJobsAreAddedAllOrNone) {
  Error error =
      ProblemOf(Post("/v1/jobs/batch", R"({"jobs":[{"kind":"a"},{"kind":""}],"atomic":true})"));
  EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(error.detail.operation, 1);
  EXPECT_EQ(wire::DecodeStats(Get("/v1/stats").body)->counts[1], 0);
  auto added = Post("/v1/jobs/batch", R"({"jobs":[{"kind":"a"},{"kind":"b"}],"atomic":true})");
  EXPECT_EQ(added.status, 201);
  EXPECT_EQ(wire::DecodeJobPage(added.body)->items.size(), 2U);
}

TEST_F(ApiJobs, ManyReportsSucceedOrFailAlone) {
  Job one = Claimed();
  Job two = Claimed();
  auto renewed =
      Post("/v1/jobs/renew",
           fmt::format(R"({{"items":[{{"id":"{}","token":"{}"}},{{"id":"{}","token":"1"}}],
                                      "lease":"1m"}})",
                       one.id, one.token, 999));
  EXPECT_EQ(renewed.status, 200);
  EXPECT_THAT(renewed.body, StartsWith(fmt::format(R"({{"items":[{{"id":"{}")", one.id)));
  EXPECT_THAT(renewed.body, HasSubstr(R"("code":"not_found")"));

  auto finished =
      Post("/v1/jobs/finish",
           fmt::format(R"({{"items":[{{"id":"{}","token":"{}","outcome":"completed","result":7}},
                     {{"id":"{}","token":"{}","outcome":"failed","error":"e","permanent":true}},
                     {{"id":"{}","token":"{}","outcome":"released"}}]}})",
                       one.id, one.token, two.id, two.token, one.id, one.token));
  EXPECT_EQ(finished.status, 200);
  EXPECT_EQ(JobOf(Get(fmt::format("/v1/jobs/{}", one.id))).state, JobState::kCompleted);
  EXPECT_EQ(JobOf(Get(fmt::format("/v1/jobs/{}", two.id))).state, JobState::kFailed);
  EXPECT_THAT(finished.body, HasSubstr(R"("code":"invalid_transition")"));
}

TEST_F(ApiJobs, ARepeatedRequestGetsTheSameAnswer) {
  net::Headers key = {{"Idempotency-Key", "once"}};
  auto first = Post("/v1/jobs", R"({"kind":"k"})", key);
  EXPECT_EQ(net::FindHeader(first.headers, "Idempotency-Replayed"), "");
  auto second = Post("/v1/jobs", R"({"kind":"k"})", key);
  EXPECT_EQ(second.status, 201);
  EXPECT_EQ(second.body, first.body);
  EXPECT_EQ(net::FindHeader(second.headers, "Idempotency-Replayed"), "true");
  EXPECT_EQ(ProblemOf(Post("/v1/jobs", R"({"kind":"other"})", key)).code,
            ErrorCode::kIdempotencyMismatch);
  EXPECT_EQ(
      ProblemOf(Post("/v1/jobs", R"({"kind":"k"})", {{"Idempotency-Key", std::string(256, 'x')}}))
          .code,
      ErrorCode::kInvalidArgument);
}

TEST_F(ApiJobs, ARepeatedRequestOfManyGetsTheSameAnswers) {
  for (std::string body : {R"({"jobs":[{"kind":"a"},{"kind":"b"}]})",
                           R"({"jobs":[{"kind":"a"},{"kind":"b"}],"atomic":true})"}) {
    net::Headers key = {{"Idempotency-Key", "many" + std::to_string(body.size())}};
    auto first = Post("/v1/jobs/batch", body, key);
    auto second = Post("/v1/jobs/batch", body, key);
    EXPECT_EQ(second.body, first.body);
    EXPECT_EQ(net::FindHeader(first.headers, "Idempotency-Replayed"), "");
    EXPECT_EQ(net::FindHeader(second.headers, "Idempotency-Replayed"), "true");
  }
  EXPECT_EQ(wire::DecodeStats(Get("/v1/stats").body)->counts[1], 4);
}

struct Bad {
  std::string target;
  std::string body;
  ErrorCode code;
  std::string complaint;
};

TEST_F(ApiJobs, JOB_12_BadInputIsRefusedByNameAndChangesNothing) {
  std::string big(256 * 1024 + 1, 'x');
  std::vector<std::string> many(1001, R"({"kind":"k"})");
  constexpr auto kInvalid = ErrorCode::kInvalidArgument;
  const Bad bad[] = {
      {"/v1/jobs", "", kInvalid, "the body is not valid JSON"},
      {"/v1/jobs", "{\"kind\":", kInvalid, "the body is not valid JSON"},
      {"/v1/jobs", "[]", kInvalid, "the body must be an object"},
      {"/v1/jobs", R"({"kind":"k","colour":"red"})", kInvalid, "colour is not a known field"},
      {"/v1/jobs", R"({"kind":7})", kInvalid, "kind must be a string"},
      {"/v1/jobs", R"({"kind":""})", kInvalid, "kind is empty"},
      {"/v1/jobs", fmt::format(R"({{"kind":"{}"}})", std::string(129, 'k')), kInvalid,
       "kind has 129 characters (at most 128)"},
      {"/v1/jobs", R"({"kind":"a b"})", kInvalid, "kind has a character outside"},
      {"/v1/jobs", R"({"kind":"k","queue":"ü"})", kInvalid, "queue has a character outside"},
      {"/v1/jobs", R"({"kind":"k","delay":"-1s"})", kInvalid, "delay: '-1s' is not a duration"},
      {"/v1/jobs", R"({"kind":"k","run_at":"noon"})", kInvalid, "run_at: 'noon' is not"},
      {"/v1/jobs", R"({"kind":"k","priority":10})", kInvalid, "priority is 10 (0 to 9)"},
      {"/v1/jobs", R"({"kind":"k","payload":{"a":nul}})", kInvalid, "payload is not valid JSON"},
      {"/v1/jobs", R"({"kind":"k","metadata":[]})", kInvalid, "metadata must be a JSON object"},
      {"/v1/jobs", fmt::format(R"({{"kind":"k","payload":"{}"}})", big),
       ErrorCode::kPayloadTooLarge, "payload has 262147 bytes (at most 262144)"},
      {"/v1/jobs", R"({"kind":"k","parent":"77"})", ErrorCode::kNotFound, ""},
      {"/v1/jobs/batch", R"({"jobs":[]})", kInvalid, "jobs has 0 entries (1 to 1000)"},
      {"/v1/jobs/batch", fmt::format(R"({{"jobs":[{}]}})", fmt::join(many, ",")), kInvalid,
       "jobs has 1001 entries (1 to 1000)"},
      {"/v1/jobs/batch", R"({"jobs":[{"kind":"k"},{"kind":1}]})", kInvalid,
       "jobs[1].kind must be a string"},
      {"/v1/jobs/finish", R"({"items":[]})", kInvalid, "items has 0 entries (1 to 1000)"},
      {"/v1/jobs/renew", R"({})", kInvalid, "items is missing"},
      {"/v1/jobs/claim", R"({"worker":""})", kInvalid, "worker is empty"},
      {"/v1/jobs/claim", R"({})", kInvalid, "worker is missing"},
      {"/v1/jobs/claim", R"({"worker":"w","max":0})", kInvalid, "max is 0 (1 to 1000)"},
      {"/v1/jobs/claim", R"({"worker":"w","lease":"1us"})", kInvalid, "lease is 1us"},
      {"/v1/jobs/claim", R"({"worker":"w","wait":"6m"})", kInvalid, "wait is 6m"},
      {"/v1/jobs/claim", R"({"worker":"w","queues":["a b"]})", kInvalid, "queue has a character"},
      {"/v1/jobs/claim", R"({"worker":"w","kinds":["a b"]})", kInvalid, "kind has a character"},
      {"/v1/jobs/claim", R"({"worker":"w","queues":[]})", kInvalid, "queues is empty"},
      {"/v1/jobs/claim", R"({"worker":"w","kinds":[]})", kInvalid, "kinds is empty"},
      {"/v1/jobs/seven/cancel", "", kInvalid, "'seven' is not a job id"},
      {"/v1/jobs/7/complete", "{}", kInvalid, "token is missing"},
      {"/v1/jobs/7/complete", R"({"token":"7","id":"7"})", kInvalid, "id is not a known field"},
      {"/v1/jobs/7/snooze", R"({"token":"7"})", kInvalid, "delay is missing"},
      {"/v1/jobs/7/progress", R"({"token":"7","progress":1.5})", kInvalid, "progress is 1.5"},
      {"/v1/jobs/7/cancel", R"({"token":"7"})", kInvalid, "token is not a known field"},
      {"/v1/jobs/7/cancel?x=1", "", kInvalid, "x is not a known query parameter"},
  };
  for (const Bad& one : bad) {
    Error error = ProblemOf(Post(one.target, one.body));
    EXPECT_EQ(error.code, one.code) << one.target << " " << error.message;
    EXPECT_THAT(error.message, StartsWith(one.complaint)) << one.target;
  }
  EXPECT_EQ(wire::DecodeStats(Get("/v1/stats").body)->counts,
            (std::array<std::int64_t, kJobStateCount>{}));
}

TEST_F(ApiJobs, BadQueriesAreRefusedByName) {
  const std::pair<std::string, std::string> bad[] = {
      {"/v1/jobs?state=open", "state must be scheduled"},
      {"/v1/jobs?limit=0", "limit is 0 (1 to 1000)"},
      {"/v1/jobs?limit=1001", "limit is 1001 (1 to 1000)"},
      {"/v1/jobs?limit=x", "limit must be a whole number"},
      {"/v1/jobs?limit=99999999999", "limit must be a whole number"},
      {"/v1/jobs?parent=x", "parent must be a decimal number"},
      {"/v1/jobs?cursor=x", "the cursor is not one that this store gave out"},
      {"/v1/jobs?colour=red", "colour is not a known query parameter (known are state, queue"},
      {"/v1/jobs?limit=1&limit=2", "query parameter limit is given twice"},
      {"/v1/jobs?queue=%zz", "the query of the URL is not percent-encoded"},
      {"/v1/jobs?queue=%ff", "the query of the URL is not percent-encoded"},
      {"/v1/jobs/x", "'x' is not a job id"},
      {"/v1/jobs/-1", "'-1' is not a job id"},
      {"/v1/jobs/%2", "the path is not percent-encoded"},
      {"/v1/jobs/1?x", "x is not a known query parameter (this call takes none)"},
  };
  for (const auto& [target, complaint] : bad) {
    Error error = ProblemOf(Get(target));
    EXPECT_EQ(error.code, ErrorCode::kInvalidArgument) << target;
    EXPECT_THAT(error.message, StartsWith(complaint)) << target;
  }
}

/// Any queue is what a claim without the member is for.
TEST_F(ApiJobs, JOB_3_AClaimOfNoQueueIsRefused) {
  Post("/v1/jobs", R"({"kind":"k"})");
  EXPECT_THAT(ProblemOf(Post("/v1/jobs/claim", R"({"worker":"w","queues":[]})"), 400).message,
              AllOf(HasSubstr("queues"), HasSubstr("empty")));
  EXPECT_EQ(ClaimedOf(Post("/v1/jobs/claim", R"({"worker":"w"})")).size(), 1U);
}

TEST_F(ApiJobs, JOB_12_TextsThatNotEveryEngineKeepsAreRefused) {
  Job job = Claimed();
  for (auto [target, body, field] :
       {std::tuple("/v1/jobs/claim", R"({"worker":"a\u0000"})", "worker"),
        {"/v1/jobs", R"({"kind":"k","tags":["a\u0000"]})", "tag"},
        {"/v1/locks/a/acquire", R"({"owner":"a\u0000"})", "owner"},
        {"/v1/locks/a/break", R"({"reason":"a\u0000"})", "reason"}}) {
    EXPECT_THAT(ProblemOf(Post(target, body), 400).message, HasSubstr(field));
  }
  for (auto [target, field] : {std::pair("/v1/audit?actor=a%00", "actor"),
                               {"/v1/audit?target=a%00", "target"},
                               {"/v1/audit?since=0000-01-01T00:00:00Z", "since"},
                               {"/v1/locks?owner=a%00", "owner"},
                               {"/v1/locks?prefix=a%00", "prefix"},
                               {"/v1/locks?cursor=a%00", "cursor"},
                               {"/v1/locks/a%00", "lock name"},
                               {"/v1/queues/a%00", "queue"},
                               {"/v1/jobs?queue=a%00", "queue"},
                               {"/v1/records/a%00", "kind"},
                               {"/v1/kinds/a%00", "kind"}}) {
    EXPECT_THAT(ProblemOf(Get(target), 400).message, HasSubstr(field)) << target;
  }
  net::Headers actor{{"X-Holdfast-Actor", std::string("a\xff")}};
  EXPECT_THAT(ProblemOf(Post("/v1/jobs", R"({"kind":"k"})", actor), 400).message,
              HasSubstr("actor"));
}

}  // namespace
}  // namespace holdfast::testing
