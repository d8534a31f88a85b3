// JOB-12: at each limit accepted, one over refused by a message that names the thing and the limit.
#include <cmath>
#include <limits>

#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Limits : public StoreSuite {
 protected:
  static constexpr auto kInvalid = ErrorCode::kInvalidArgument;

  void ExpectTaken(JobSpec spec) {
    Result<Job> job = store().Enqueue({}, std::move(spec));
    ASSERT_THAT(job, IsOk());
    EXPECT_EQ(Get(job->id), *job);
  }
  /// Refused with a message that names both, and nothing is stored.
  void ExpectRefused(JobSpec spec, const std::string& thing, const std::string& limit,
                     ErrorCode code = kInvalid) {
    SCOPED_TRACE(thing);
    Result<Job> job = store().Enqueue({}, std::move(spec));
    EXPECT_THAT(job, StatusIs(code, AllOf(HasSubstr(thing), HasSubstr(limit))));
    if (!job) {
      EXPECT_LT(job.error().message.size(), 500U) << "no payload in a message";
    }
  }
  void ExpectNothingStored() {
    EXPECT_TRUE(Must(store().ListJobs({}, {})).items.empty());
    EXPECT_TRUE(Must(store().ListQueues({})).items.empty());
  }
  /// A JSON string of that many bytes, quotes included.
  static std::string JsonOf(std::size_t bytes) { return '"' + std::string(bytes - 2, 'x') + '"'; }
};

TEST_P(Limits, JOB_12_NamesOfKindsAndQueues) {
  std::string longest(128, 'n');
  ExpectTaken({.kind = longest, .queue = longest});
  ExpectTaken({.kind = "a-Z_0.9:x", .queue = "q"});
  ExpectRefused({.kind = longest + "n"}, "kind", "128");
  ExpectRefused({.kind = "k", .queue = longest + "n"}, "queue", "128");
  ExpectRefused({.kind = ""}, "kind", "128");
  ExpectRefused({.kind = "k", .queue = ""}, "queue", "128");
  for (const std::string& bad : {std::string("a b"), std::string("a/b"), std::string("ü"),
                                 std::string("a\n"), std::string("a%"), std::string("a\0b", 3)}) {
    ExpectRefused({.kind = bad}, "kind", "[A-Za-z0-9_.:-]");
    ExpectRefused({.kind = "k", .queue = bad}, "queue", "[A-Za-z0-9_.:-]");
  }
}

TEST_P(Limits, JOB_12_PayloadsUpTo256KiB) {
  ExpectTaken({.kind = "k", .payload = JsonOf(256 * 1024)});
  ExpectRefused({.kind = "k", .payload = JsonOf(256 * 1024 + 1)}, "payload", "262144",
                ErrorCode::kPayloadTooLarge);
}

TEST_P(Limits, JOB_12_PayloadsAreJsonAndKeptAsTheyAre) {
  for (const char* payload :
       {"null", "true", "-0", "18446744073709551615", "-9223372036854775808", "1.10", "\"\\u00e4\"",
        "[ 1 , 2 ]", R"({"b":1,"a":{"c":[]}})", "\"\xc3\xbc\""}) {
    SCOPED_TRACE(payload);
    Job job = Push({.kind = "k", .payload = payload});
    EXPECT_EQ(Get(job.id).payload, payload);
  }
}

TEST_P(Limits, JOB_12_WhatIsNotJsonIsRefused) {
  for (const char* payload : {"", "{", "{]", "nul", "1 2", "{\"a\":}", "'a'", "[1,]", "01", "NaN",
                              "\"\xff\"", "\"\n\"", "{\"a\":1}}"}) {
    SCOPED_TRACE(payload);
    ExpectRefused({.kind = "k", .payload = payload}, "payload", "");
  }
  // Numbers are exact to 64 bits; what no reader could keep is not stored.
  ExpectRefused({.kind = "k", .payload = "12345678901234567890123"}, "payload", "64 bits");
  ExpectRefused({.kind = "k", .metadata = "[]"}, "metadata", "object");
  ExpectRefused({.kind = "k", .metadata = "{\"a\""}, "metadata", "");
  ExpectNothingStored();
  Job job = ClaimThis(Push().id);
  EXPECT_THAT(store().Complete({}, job.id, job.token, "{"),
              StatusIs(kInvalid, HasSubstr("result")));
}

TEST_P(Limits, JOB_12_JsonIsNestedAtMost64Deep) {
  auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  ExpectTaken({.kind = "k", .payload = nested(64)});
  ExpectRefused({.kind = "k", .payload = nested(65)}, "payload", "64");
  ExpectRefused({.kind = "k", .payload = nested(100'000)}, "payload", "64");
}

TEST_P(Limits, JOB_12_ResultsUpTo1MiB) {
  Job job = ClaimThis(Push().id);
  EXPECT_THAT(
      store().Complete({}, job.id, job.token, JsonOf(1024 * 1024 + 1)),
      StatusIs(ErrorCode::kPayloadTooLarge, AllOf(HasSubstr("result"), HasSubstr("1048576"))));
  EXPECT_EQ(StateOf(job.id), JobState::kProcessing);
  ASSERT_THAT(store().Complete({}, job.id, job.token, JsonOf(1024 * 1024)), IsOk());
  EXPECT_EQ(Get(job.id).result, JsonOf(1024 * 1024));
}

TEST_P(Limits, JOB_12_PrioritiesFrom0To9) {
  ExpectTaken({.kind = "k", .priority = 0});
  ExpectTaken({.kind = "k", .priority = 9});
  ExpectRefused({.kind = "k", .priority = -1}, "priority", "0 to 9");
  ExpectRefused({.kind = "k", .priority = 10}, "priority", "0 to 9");
}

TEST_P(Limits, JOB_12_AttemptsFrom1To1000) {
  ExpectTaken({.kind = "k", .max_attempts = 1});
  ExpectTaken({.kind = "k", .max_attempts = 1'000});
  ExpectRefused({.kind = "k", .max_attempts = 0}, "max_attempts", "1 to 1000");
  ExpectRefused({.kind = "k", .max_attempts = 1'001}, "max_attempts", "1 to 1000");
}

TEST_P(Limits, JOB_12_Delays) {
  constexpr Duration kMost = hours(24) * 3660;
  ExpectTaken({.kind = "k", .delay = Duration::zero()});
  ExpectTaken({.kind = "k", .delay = kMost});
  ExpectRefused({.kind = "k", .delay = -microseconds(1)}, "delay", "negative");
  ExpectRefused({.kind = "k", .delay = kMost + microseconds(1)}, "delay", "3660d");
  ExpectRefused({.kind = "k", .run_at = Now(), .delay = seconds(1)}, "run_at", "delay");
  ExpectRefused({.kind = "k", .run_at = Time(-seconds(1))}, "run_at", "1970");
  ExpectRefused({.kind = "k", .run_at = Time(hours(24) * 365 * 8'100)}, "run_at", "9999");
  Job job = ClaimThis(Push().id);
  EXPECT_THAT(store().Snooze({}, job.id, job.token, -seconds(1)),
              StatusIs(kInvalid, AllOf(HasSubstr("delay"), HasSubstr("negative"))));
  EXPECT_THAT(store().Snooze({}, job.id, job.token, kMost + seconds(1)),
              StatusIs(kInvalid, HasSubstr("delay")));
  EXPECT_THAT(store().FailAttempt({}, {job.id, job.token, "no", false, -seconds(1)}),
              StatusIs(kInvalid, AllOf(HasSubstr("retry_in"), HasSubstr("negative"))));
  EXPECT_EQ(StateOf(job.id), JobState::kProcessing);
}

TEST_P(Limits, JOB_12_RetryPolicies) {
  auto with = [](RetryDelay retry) { return JobSpec{.kind = "k", .retry = retry}; };
  ExpectTaken(with({Duration::zero(), 1, Duration::zero(), 0}));
  ExpectTaken(with({seconds(1), 1'000, hours(24) * 3660, 1}));
  ExpectRefused(with({.initial = -seconds(1)}), "retry.initial", "negative");
  ExpectRefused(with({.max = -seconds(1)}), "retry.max", "negative");
  ExpectRefused(with({.factor = 0.5}), "retry.factor", "1 to 1000");
  ExpectRefused(with({.factor = 1'001}), "retry.factor", "1 to 1000");
  ExpectRefused(with({.jitter = -0.1}), "retry.jitter", "0 to 1");
  ExpectRefused(with({.jitter = 1.1}), "retry.jitter", "0 to 1");
  ExpectRefused(with({.factor = std::nan("")}), "retry.factor", "1 to 1000");
}

TEST_P(Limits, JOB_12_UniqueKeysTagsAndMetadata) {
  ExpectTaken({.kind = "k", .unique = UniqueKey{.key = std::string(256, 'u')}});
  ExpectRefused({.kind = "k", .unique = UniqueKey{.key = std::string(257, 'u')}}, "unique.key",
                "256");
  ExpectRefused({.kind = "k", .unique = UniqueKey{.key = ""}}, "unique.key", "256");
  ExpectRefused({.kind = "k", .unique = UniqueKey{.key = "\xff"}}, "unique.key", "UTF-8");
  ExpectTaken({.kind = "k", .tags = std::vector<std::string>(32, std::string(128, 't'))});
  ExpectRefused({.kind = "k", .tags = std::vector<std::string>(33, "t")}, "tags", "32");
  ExpectRefused({.kind = "k", .tags = {std::string(129, 't')}}, "tag", "128");
  ExpectRefused({.kind = "k", .tags = {""}}, "tag", "128");
  auto metadata = [](std::size_t bytes) { return "{\"m\":" + JsonOf(bytes - 6) + "}"; };
  ExpectTaken({.kind = "k", .metadata = metadata(16 * 1024)});
  ExpectRefused({.kind = "k", .metadata = metadata(16 * 1024 + 1)}, "metadata", "16384",
                ErrorCode::kPayloadTooLarge);
}

TEST_P(Limits, JOB_12_AParentMustExist) {
  ExpectRefused({.kind = "k", .parent = 12'345}, "parent", "12345", ErrorCode::kNotFound);
  ExpectNothingStored();
}

TEST_P(Limits, JOB_12_Claims) {
  std::string longest(128, 'w');
  auto refused = [&](ClaimRequest request, const std::string& thing, const std::string& limit) {
    SCOPED_TRACE(thing);
    EXPECT_THAT(store().Claim({}, std::move(request)),
                StatusIs(kInvalid, AllOf(HasSubstr(thing), HasSubstr(limit))));
  };
  EXPECT_THAT(store().Claim({}, {.worker = longest, .max = 1'000, .lease = milliseconds(100)}),
              IsOk());
  EXPECT_THAT(store().Claim({}, {.worker = "w", .lease = hours(24)}), IsOk());
  refused({.worker = ""}, "worker", "128");
  refused({.worker = longest + "w"}, "worker", "128");
  refused({.worker = "w", .max = 0}, "max", "1 to 1000");
  refused({.worker = "w", .max = 1'001}, "max", "1 to 1000");
  refused({.worker = "w", .lease = milliseconds(99)}, "lease", "100ms");
  refused({.worker = "w", .lease = hours(24) + seconds(1)}, "lease", "1d");
  refused({.worker = "w", .wait = -seconds(1)}, "wait", "negative");
  refused({.worker = "w", .wait = minutes(5) + seconds(1)}, "wait", "5m");
  refused({.worker = "w", .queues = {"a b"}}, "queue", "[A-Za-z0-9_.:-]");
  refused({.worker = "w", .queues = std::vector<std::string>(101, "q")}, "queues", "100");
  refused({.worker = "w", .kinds = {"a b"}}, "kind", "[A-Za-z0-9_.:-]");
  refused({.worker = "w", .kinds = std::vector<std::string>(101, "k")}, "kinds", "100");
}

TEST_P(Limits, JOB_12_ClaimsById) {
  JobId id = Push().id;
  EXPECT_THAT(store().ClaimById({}, id, ""), StatusIs(kInvalid, HasSubstr("worker")));
  EXPECT_THAT(store().ClaimById({}, id, "w", milliseconds(99)),
              StatusIs(kInvalid, AllOf(HasSubstr("lease"), HasSubstr("100ms"))));
  EXPECT_EQ(StateOf(id), JobState::kPending);
  Job job = ClaimThis(id, milliseconds(100));
  EXPECT_THAT(store().Renew({}, id, job.token, hours(25)), StatusIs(kInvalid, HasSubstr("lease")));
  EXPECT_THAT(store().Renew({}, id, job.token, hours(24)), IsOk());
}

TEST_P(Limits, JOB_12_ProgressFrom0To1) {
  Job job = ClaimThis(Push().id);
  auto report = [&](double progress, std::string message = "") {
    return store().ReportProgress({}, {job.id, job.token, progress, std::move(message)});
  };
  EXPECT_THAT(report(0), IsOk());
  EXPECT_THAT(report(1, std::string(1'024, 'm')), IsOk());
  for (double bad : {-0.001, 1.001, std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_THAT(report(bad), StatusIs(kInvalid, AllOf(HasSubstr("progress"), HasSubstr("0 to 1"))));
  }
  EXPECT_THAT(report(0.5, std::string(1'025, 'm')),
              StatusIs(kInvalid, AllOf(HasSubstr("message"), HasSubstr("1024"))));
  EXPECT_THAT(report(0.5, "\xff"), StatusIs(kInvalid, HasSubstr("message")));
  EXPECT_EQ(Get(job.id).progress, 1.0);
}

TEST_P(Limits, JOB_12_SettingsOfQueues) {
  auto refused = [&](SetQueue change, const std::string& thing) {
    EXPECT_THAT(store().Set({}, std::move(change)), StatusIs(kInvalid, HasSubstr(thing)));
  };
  refused({.name = ""}, "queue");
  refused({.name = "a b", .paused = true}, "queue");
  refused({.name = "q", .max_pending = std::optional<std::int64_t>(-1)}, "max_pending");
  refused({.name = "q", .max_running = std::optional<std::int64_t>(-1)}, "max_running");
  refused({.name = "q", .retain_completed = -seconds(1)}, "retain_completed");
  refused({.name = "q", .retain_failed = -seconds(1)}, "retain_failed");
  refused({.name = "q", .retain_failed = hours(24) * 3661}, "retain_failed");
  ExpectNothingStored();
}

TEST_P(Limits, JOB_12_BatchesAndKeys) {
  EXPECT_THAT(store().Commit({}, Batch{}), StatusIs(kInvalid, HasSubstr("operations")));
  Batch batch{.operations = {EnqueueJob{{.kind = "k"}}}, .idempotency_key = std::string(256, 'i')};
  EXPECT_THAT(store().Commit({}, batch),
              StatusIs(kInvalid, AllOf(HasSubstr("idempotency key"), HasSubstr("255"))));
  ExpectNothingStored();
  batch.idempotency_key.pop_back();
  EXPECT_THAT(store().Commit({}, batch), IsOk());
}

TEST_P(Limits, JOB_12_ActorsAndCorrelationIds) {
  Context context;
  context.actor = std::string(128, 'a');
  context.correlation_id = std::string(128, 'c');
  EXPECT_THAT(store().Enqueue(context, {.kind = "k"}), IsOk());
  context.actor += 'a';
  EXPECT_THAT(store().Enqueue(context, {.kind = "k"}),
              StatusIs(kInvalid, AllOf(HasSubstr("actor"), HasSubstr("128"))));
  context.actor.clear();
  context.correlation_id += 'c';
  EXPECT_THAT(store().Enqueue(context, {.kind = "k"}),
              StatusIs(kInvalid, AllOf(HasSubstr("correlation id"), HasSubstr("128"))));
}

TEST_P(Limits, JOB_12_Pages) {
  EXPECT_THAT(store().ListJobs({}, {.limit = 1'000}), IsOk());
  for (int limit : {0, -1, 1'001}) {
    EXPECT_THAT(store().ListJobs({}, {.limit = limit}),
                StatusIs(kInvalid, AllOf(HasSubstr("limit"), HasSubstr("1 to 1000"))));
    AuditFilter filter;
    filter.limit = limit;
    EXPECT_THAT(store().ListAudit({}, filter), StatusIs(kInvalid, HasSubstr("limit")));
  }
  EXPECT_THAT(store().ListJobs({}, {.queue = "a b"}), StatusIs(kInvalid, HasSubstr("queue")));
  EXPECT_THAT(store().ListJobs({}, {.kind = "a b"}), StatusIs(kInvalid, HasSubstr("kind")));
  for (const char* cursor : {"x", "-1", "1x", "99999999999999999999"}) {
    EXPECT_THAT(store().ListJobs({}, {.cursor = cursor}), StatusIs(kInvalid, HasSubstr("cursor")));
    AuditFilter filter;
    filter.cursor = cursor;
    EXPECT_THAT(store().ListAudit({}, filter), StatusIs(kInvalid, HasSubstr("cursor")));
  }
}

TEST_P(Limits, JOB_12_AnIdThatNeverWasIsNotFound) {
  JobId last = Push().id;
  for (JobId id : {JobId{0}, last + 1, std::numeric_limits<JobId>::max()}) {
    SCOPED_TRACE(id);
    EXPECT_EQ(Must(store().GetJob({}, id)), std::nullopt);
    EXPECT_EQ(Must(store().ClaimById({}, id, "w")), std::nullopt);
    EXPECT_THAT(store().Cancel({}, id), StatusIs(ErrorCode::kNotFound));
    EXPECT_THAT(store().Complete({}, id, 1), StatusIs(ErrorCode::kNotFound));
  }
  for (Token token : {Token{0}, std::numeric_limits<Token>::max()}) {
    EXPECT_THAT(store().Release({}, last, token), StatusIs(ErrorCode::kFenced));
  }
}

HOLDFAST_FOR_ALL_VARIANTS(Limits);

}  // namespace
}  // namespace holdfast::testing
