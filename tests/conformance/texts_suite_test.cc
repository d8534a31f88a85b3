// JOB-12: a text that some engine could not keep is refused by every engine, before anything is
// stored, by a message that names the field; and a call that is refused fails alone.
#include <functional>
#include <future>

#include "testing/lock_suite.h"

namespace holdfast::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const std::string kNul("a\0b", 3);

class Texts : public LockSuite {
 protected:
  /// A field of a call: what a refusal calls it, the most bytes it may have, and the call.
  struct Field {
    std::string name;
    std::size_t most;
    std::function<Result<void>(const std::string& text)> call;
  };

  Texts() {
    Declare("doc",
            R"({"states": {"initial": "NEW", "transitions": {"NEW": ["OLD"]}, "final": ["OLD"]}})");
    Make("doc", "1", R"({"n": 1})");
    Make("doc", "2", R"({"n": 1})");
    pending_ = Push().id;
    job_ = ClaimThis(Push().id);
    lock_ = Take("held");
  }

  template <typename T>
  static Result<void> Void(const Result<T>& result) {
    if (result) return {};
    return std::unexpected(result.error());
  }
  static Context As(std::string actor, std::string correlation_id = {}) {
    Context context;
    context.actor = std::move(actor);
    context.correlation_id = std::move(correlation_id);
    return context;
  }

  std::vector<Field> OfJobs() {
    return {
        {"worker", 128, [&](auto& t) { return Void(store().Claim({}, {.worker = t})); }},
        {"worker", 128,
         [&](auto& t) { return Void(store().Claim({}, {.worker = t, .wait = seconds(1)})); }},
        {"worker", 128, [&](auto& t) { return Void(store().ClaimById({}, pending_, t)); }},
        {"actor", 128, [&](auto& t) { return Void(store().Claim(As(t), {.worker = "w"})); }},
        {"queue", 128,
         [&](auto& t) { return Void(store().Claim({}, {.worker = "w", .queues = {t}})); }},
        {"kind", 128, [&](auto& t) { return Void(store().Enqueue({}, {.kind = t})); }},
        {"queue", 128,
         [&](auto& t) { return Void(store().Enqueue({}, {.kind = "k", .queue = t})); }},
        {"unique.key", 256,
         [&](auto& t) {
           return Void(store().Enqueue({}, {.kind = "k", .unique = UniqueKey{.key = t}}));
         }},
        {"tag", 128,
         [&](auto& t) { return Void(store().Enqueue({}, {.kind = "k", .tags = {t}})); }},
        {"actor", 128, [&](auto& t) { return Void(store().Enqueue(As(t), {.kind = "k"})); }},
        {"correlation id", 128,
         [&](auto& t) { return Void(store().Enqueue(As("", t), {.kind = "k"})); }},
        {"idempotency key", 255,
         [&](auto& t) {
           return Void(store().Commit(
               {}, {.operations = {EnqueueJob{{.kind = "k"}}}, .idempotency_key = t}));
         }},
        {"message", 1024,
         [&](auto& t) {
           return Void(store().ReportProgress({}, {job_.id, job_.token, 0.5, t}));
         }},
        {"queue", 128, [&](auto& t) { return Void(store().Set({}, {.name = t, .paused = true})); }},
        {"queue", 128, [&](auto& t) { return Void(store().GetQueue({}, t)); }},
        {"queue", 128, [&](auto& t) { return Void(store().ListJobs({}, {.queue = t})); }},
        {"kind", 128, [&](auto& t) { return Void(store().ListJobs({}, {.kind = t})); }},
        {"cursor", 19, [&](auto& t) { return Void(store().ListJobs({}, {.cursor = t})); }}};
  }

  std::vector<Field> OfLocks() {
    return {{"owner", 128, [&](auto& t) { return Void(TryTake("free", t)); }},
            {"owner", 128, [&](auto& t) { return Void(TryTake("free", t, {.wait = seconds(1)})); }},
            {"lock name", 512, [&](auto& t) { return Void(TryTake(t, "bob")); }},
            {"lock name", 512,
             [&](auto& t) {
               return Void(store().Acquire({}, {.names = {"free", t}, .owner = "bob"}));
             }},
            {"lock name", 512,
             [&](auto& t) {
               return Void(store().Renew({}, {t, 1}));
             }},
            {"lock name", 512,
             [&](auto& t) {
               return Void(store().Release({}, {t, 1}));
             }},
            {"lock name", 512,
             [&](auto& t) {
               return Void(store().Break({}, {t, "why"}));
             }},
            {"lock name", 512, [&](auto& t) { return Void(store().GetLock({}, t)); }},
            {"lock name", 512,
             [&](auto& t) {
               return Void(Commit({EnqueueJob{{.kind = "k"}}}, {LockGuard{t, 1}}));
             }},
            {"reason", 1024,
             [&](auto& t) {
               return Void(store().Break({}, {"held", t}));
             }},
            {"prefix", 512, [&](auto& t) { return Void(store().ListLocks({}, {.prefix = t})); }},
            {"owner", 128, [&](auto& t) { return Void(store().ListLocks({}, {.owner = t})); }},
            {"cursor", 512, [&](auto& t) { return Void(store().ListLocks({}, {.cursor = t})); }},
            {"owner", 128, [&](auto& t) {
               return Void(store().AcquireNext({}, {.kind = "doc"}, {.owner = t}));
             }}};
  }

  std::vector<Field> OfRecords() {
    const RecordTarget one{"doc", "1"};
    return {
        {"kind", 128, [&](auto& t) { return Void(store().Apply({}, {.name = t, .rules = "{}"})); }},
        {"kind", 128, [&](auto& t) { return Void(store().GetKind({}, t)); }},
        {"kind", 128, [&](auto& t) { return Void(store().Create({}, {.kind = t, .id = "3"})); }},
        {"id", 128, [&](auto& t) { return Void(store().Create({}, {.kind = "doc", .id = t})); }},
        {"id", 128,
         [&](auto& t) {
           return Void(store().GetRecord({}, {"doc", t}));
         }},
        {"parent", 128,
         [&](auto& t) {
           return Void(
               store().Create({}, {.kind = "doc", .id = "3", .parent = RecordKey{"doc", t}}));
         }},
        {"status", 128,
         [&](auto& t) {
           return Void(store().Create({}, {.kind = "doc", .id = "3", .status = t}));
         }},
        {"to", 128,
         [&, one](auto& t) {
           return Void(store().Transition({}, {one, t}));
         }},
        {"action", 128,
         [&, one](auto& t) {
           return Void(store().Run({}, {one, t}));
         }},
        {"path", 1024,
         [&, one](auto& t) {
           return Void(store().Increment({}, {one, "/" + t.substr(1)}));
         }},
        {"path", 1024,
         [&, one](auto& t) {
           return Void(store().Append({}, {one, "/" + t.substr(1), "1"}));
         }},
        {"path", 1024,
         [&](auto& t) {
           return Void(store().Make({}, {{"doc", "1"}, {"doc", "2"}, "/" + t.substr(1), 1, true}));
         }},
        {"status", 128,
         [&](auto& t) { return Void(store().ListRecords({}, {.kind = "doc", .status = t})); }},
        {"cursor", 128,
         [&](auto& t) { return Void(store().ListRecords({}, {.kind = "doc", .cursor = t})); }},
        {"cursor", 19, [&](auto& t) { return Void(store().ListTransfers({}, {.cursor = t})); }},
        {"target", 528, [&](auto& t) { return Void(store().ListAudit({}, {.target = t})); }},
        {"actor", 128, [&](auto& t) { return Void(store().ListAudit({}, {.actor = t})); }},
        {"operation", 128, [&](auto& t) { return Void(store().ListAudit({}, {.operation = t})); }},
        {"cursor", 19, [&](auto& t) { return Void(store().ListAudit({}, {.cursor = t})); }}};
  }

  void ExpectRefusals(const std::vector<Field>& fields) {
    const std::string before = Everything();
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const Field& field = fields[i];
      SCOPED_TRACE(field.name + ", call " + std::to_string(i));
      const auto refused = StatusIs(ErrorCode::kInvalidArgument, HasSubstr(field.name));
      EXPECT_THAT(field.call(kNul), refused) << "NUL";
      EXPECT_THAT(field.call("a\xff"), refused) << "not UTF-8";
      EXPECT_THAT(field.call("a\xed\xa0\x80"), refused) << "half of a surrogate pair";
      EXPECT_THAT(field.call(std::string(field.most + 1, '1')), refused) << "too long";
    }
    EXPECT_EQ(Everything(), before);
  }

  /// All that a refused call might have changed, as text.
  std::string Everything() {
    ::testing::Message text;
    for (std::int64_t count : Must(store().GetStats({})).counts) text << count << " ";
    for (const Job& job : Must(store().ListJobs({}, {})).items) {
      text << job.id << NameOf(job.state) << job.message << job.attempt << "\n";
    }
    for (const Lock& lock : Must(store().ListLocks({}, {})).items) {
      text << lock.name << lock.holders.size() << lock.waiters.size() << "\n";
    }
    for (const Record& record : Must(store().ListRecords({}, {.kind = "doc"})).items) {
      text << record.id << record.version << record.status << record.data << "\n";
    }
    text << Must(store().ListAudit({}, {.limit = 1000})).items.size();
    return text.GetString();
  }

  JobId pending_ = 0;
  Job job_;
  LockGrant lock_;
};

TEST_P(Texts, JOB_12_TextsOfJobsThatNoEngineOrNotEveryEngineKeeps) {
  ExpectRefusals(OfJobs());
}

TEST_P(Texts, JOB_12_TextsOfLocksThatNoEngineOrNotEveryEngineKeeps) {
  ExpectRefusals(OfLocks());
}

TEST_P(Texts, JOB_12_TextsOfRecordsAndFiltersThatNoEngineOrNotEveryEngineKeeps) {
  ExpectRefusals(OfRecords());
}

TEST_P(Texts, JOB_12_JsonHoldsNulOnlyAsAnEscape) {
  const std::string raw = '"' + kNul + '"';
  for (const std::string& bad : {raw, std::string("\"a\xff\""), std::string("1\0", 2)}) {
    EXPECT_THAT(store().Enqueue({}, {.kind = "k", .payload = bad}),
                StatusIs(ErrorCode::kInvalidArgument, HasSubstr("payload")));
    EXPECT_THAT(store().Enqueue({}, {.kind = "k", .metadata = "{\"m\":" + bad + "}"}),
                StatusIs(ErrorCode::kInvalidArgument, HasSubstr("metadata")));
    EXPECT_THAT(store().Complete({}, job_.id, job_.token, bad),
                StatusIs(ErrorCode::kInvalidArgument, HasSubstr("result")));
    EXPECT_THAT(store().Replace({}, {{"doc", "1"}, "{\"m\":" + bad + "}"}),
                StatusIs(ErrorCode::kInvalidArgument, HasSubstr("data")));
  }
  const std::string escaped = R"({"m":"a\u0000b"})";
  EXPECT_EQ(Get(Push({.kind = "k", .payload = escaped, .metadata = escaped}).id).payload, escaped);
  EXPECT_EQ(Must(store().Complete({}, job_.id, job_.token, escaped)).result, escaped);
  EXPECT_EQ(Json::parse(Must(store().Replace({}, {{"doc", "1"}, escaped})).data)["m"], kNul);
}

/// What a command wrote before it died must not keep its failure from being reported.
TEST_P(Texts, JOB_7_TheErrorOfAFailureIsKeptWhateverItHolds) {
  Job failed = Must(store().FailAttempt({}, {job_.id, job_.token, kNul + "\xff" + "c"}));
  EXPECT_EQ(failed.errors.at(0).message,
            "a\xef\xbf\xbd"
            "b\xef\xbf\xbd"
            "c");
  EXPECT_EQ(Get(job_.id).errors, failed.errors);
}

TEST_P(Texts, JOB_12_TimesThatNotEveryEngineKeeps) {
  for (Time bad : {Time::min(), Time::max(), Time(-microseconds(1)),
                   Time(std::chrono::sys_days(std::chrono::year(10'000) / 1 / 1))}) {
    EXPECT_THAT(store().Enqueue({}, {.kind = "k", .run_at = bad}),
                StatusIs(ErrorCode::kInvalidArgument, HasSubstr("run_at")));
    EXPECT_THAT(store().ListAudit({}, {.since = bad}),
                StatusIs(ErrorCode::kInvalidArgument, HasSubstr("since")));
    EXPECT_THAT(store().ListAudit({}, {.until = bad}),
                StatusIs(ErrorCode::kInvalidArgument, HasSubstr("until")));
  }
  const Time last(std::chrono::sys_days(std::chrono::year(9'999) / 12 / 31));
  EXPECT_EQ(Get(Push({.kind = "k", .run_at = last}).id).run_at, last);
  EXPECT_THAT(store().ListAudit({}, {.since = Time(), .until = last}), IsOk());
}

TEST_P(Texts, REC_3_AUniqueKeyHasAtMost2000Bytes) {
  const std::string paths = '"' + ("/" + std::string(511, 'p')) + '"';
  const std::string kind(128, 'k');
  EXPECT_THAT(store().Apply({}, {.name = kind, .rules = R"({"unique": [["/a", )" + paths + "]]}"}),
              StatusIs(ErrorCode::kInvalidArgument, HasSubstr("512")));
  Declare(kind, R"({"unique": [)" + paths + "]}");
  // Bytes that do not shrink when they are compressed: an index entry holds them as they are.
  auto data = [&](std::size_t bytes) {
    std::string text;
    for (std::uint64_t state = 7; text.size() < bytes;) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      text += static_cast<char>('#' + (state >> 33) % 57);
    }
    return "{" + paths.substr(0, 1) + paths.substr(2) + ":\"" + text + "\"}";
  };
  constexpr std::size_t kAround = 4;  // [""]
  EXPECT_THAT(store().Create({}, {.kind = kind, .id = "long", .data = data(2000 - kAround)}),
              IsOk());
  EXPECT_THAT(store().Create({}, {.kind = kind, .id = "longer", .data = data(2001 - kAround)}),
              StatusIs(ErrorCode::kRuleViolation, HasSubstr("2000")));
}

/// Group commit puts calls of different callers into one transaction.
TEST_P(Texts, JOB_12_ACallThatIsRefusedFailsAloneOfItsGroup) {
  for (int i = 0; i < 40; ++i) Push();
  std::vector<std::future<Result<std::vector<Job>>>> claims;
  for (int i = 0; i < 48; ++i) {
    auto answer = std::make_shared<std::promise<Result<std::vector<Job>>>>();
    claims.push_back(answer->get_future());
    store().ClaimAsync({}, {.worker = i % 6 == 0 ? kNul : "w"},
                       [answer](Result<std::vector<Job>> jobs) { answer->set_value(jobs); });
  }
  for (int i = 0; i < 48; ++i) {
    Result<std::vector<Job>> jobs = claims[i].get();
    if (i % 6 == 0) {
      EXPECT_THAT(jobs, StatusIs(ErrorCode::kInvalidArgument, HasSubstr("worker")));
    } else {
      EXPECT_EQ(Must(std::move(jobs)).size(), 1U);
    }
  }
  std::vector<Batch> batches(6, {.operations = {EnqueueJob{{.kind = "k"}}}});
  batches[1].idempotency_key = kNul;
  batches[4].operations = {AcquireLock{.name = "free", .owner = kNul}};
  std::vector<Result<Receipt>> answers = store().CommitMany({}, std::move(batches));
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (i == 1 || i == 4) {
      EXPECT_THAT(answers[i], StatusIs(ErrorCode::kInvalidArgument));
    } else {
      EXPECT_THAT(answers[i], IsOk());
    }
  }
}

HOLDFAST_FOR_ALL_VARIANTS(Texts);

}  // namespace
}  // namespace holdfast::testing
