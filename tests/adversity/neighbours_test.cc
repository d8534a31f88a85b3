// Twenty good callers beside one that is bad or slow: every good call is answered rightly, and not
// much later than without the bad one.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>

#include "testing/environment.h"
#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

constexpr int kGoodCallers = 20;
constexpr int kRounds = 25;  // of each good caller

/// A call that costs much or is refused. Its answer must be one of the closed list, and never
/// `internal` or `corrupt`.
struct BadCall {
  std::string name;
  std::function<void(Store&)> prepare;
  std::function<Result<void>(Store&, int)> call;
};

template <typename T>
Result<void> Outcome(const Result<T>& result) {
  if (result) return {};
  return std::unexpected(result.error());
}

std::string Doubled(int times) {
  std::string schema = R"({"type":"string"})";
  for (int i = 0; i < times; ++i) schema = fmt::format(R"({{"allOf":[{},{}]}})", schema, schema);
  return schema;
}

/// Declares the kind where its rules are accepted: rules that are refused cannot cost anything.
void Declare(Store& store, const std::string& kind, const std::string& rules) {
  (void)store.Apply({}, {.name = kind, .rules = rules});
}

std::string ArrayOf(const std::string& value, int count) {
  std::string text = "[";
  for (int i = 0; i < count; ++i) text += (i == 0 ? "" : ",") + value;
  return text + "]";
}

BadCall DoubledSchema() {
  return {"a schema that doubles itself",
          [](Store& store) {
            Declare(store, "doubled",
                    fmt::format(R"({{"schema":{{"properties":{{"a":{}}}}}}})", Doubled(10)));
          },
          [](Store& store, int) {
            const std::string data = fmt::format(R"({{"a":"{}"}})", std::string(1'000'000, 'x'));
            return Outcome(store.Create({}, {.kind = "doubled", .data = data}));
          }};
}

BadCall ExpensivePattern() {
  return {"an expensive pattern",
          [](Store& store) {
            Declare(store, "pattern",
                    R"({"schema":{"properties":{"a":{"items":{"pattern":"(a?){200}b"}}}}})");
          },
          [](Store& store, int) {
            const std::string text = fmt::format("\"{}\"", std::string(4'000, 'a'));
            const std::string data = fmt::format(R"({{"a":{}}})", ArrayOf(text, 100));
            return Outcome(store.Create({}, {.kind = "pattern", .data = data}));
          }};
}

BadCall InsertsAtTheHead() {
  return {"inserts at the head of a long array",
          [](Store& store) {
            Declare(store, "array", "{}");
            Must(store.Create({}, {.kind = "array",
                                   .id = "a",
                                   .data = fmt::format(R"({{"a":{}}})", ArrayOf("1", 500'000))}));
          },
          [](Store& store, int) {
            const std::string patch = ArrayOf(R"({"op":"add","path":"/a/0","value":1})", 5'000);
            Result<Receipt> done =
                store.Commit({}, {.operations = {PatchRecord{{"array", "a"}, patch}}});
            return Outcome(done);
          }};
}

BadCall UnstorableText() {
  return {"texts that cannot be stored", [](Store&) {},
          [](Store& store, int i) -> Result<void> {
            const std::string nul("a\0b", 3);
            switch (i % 3) {
              case 0:
                return Outcome(store.Claim({}, {.worker = nul}));
              case 1:
                return Outcome(store.Acquire({}, {.name = "l", .owner = nul}));
              default:
                return Outcome(store.Commit(
                    {}, {.operations = {EnqueueJob{{.kind = "k"}}}, .idempotency_key = nul}));
            }
          }};
}

BadCall LongUniqueKeys() {
  return {"long unique keys", [](Store& store) { Declare(store, "keyed", R"({"unique":["/a"]})"); },
          [](Store& store, int i) {
            const std::string data = fmt::format(
                R"({{"a":"{}{}"}})", i, std::string(3'500, static_cast<char>('a' + i % 26)));
            return Outcome(store.Create({}, {.kind = "keyed", .data = data}));
          }};
}

BadCall NumbersOfItsOwn() {
  return {"ids that the store would make up itself",
          [](Store& store) { Declare(store, "numbered", "{}"); },
          [](Store& store, int i) -> Result<void> {
            (void)store.Create({}, {.kind = "numbered", .id = std::to_string(i + 1)});
            return Outcome(store.Create({}, {.kind = "numbered"}));
          }};
}

BadCall LargePages() {
  return {"large pages",
          [](Store& store) {
            const std::string payload = fmt::format("\"{}\"", std::string(200'000, 'x'));
            for (int i = 0; i < 60; ++i) {
              Must(store.Enqueue({}, {.kind = "k", .queue = "large", .payload = payload}));
            }
          },
          [](Store& store, int) {
            return Outcome(store.ListJobs({}, {.queue = "large", .limit = 1'000}));
          }};
}

BadCall ClaimsOfOtherQueues() {
  return {"claims that wait for many other queues", [](Store&) {},
          [](Store& store, int i) {
            ClaimRequest request{.worker = "waiting", .wait = milliseconds(20)};
            for (int n = 0; n < 100; ++n) request.queues.push_back(fmt::format("{}-{}", i, n));
            return Outcome(store.Claim({}, request));
          }};
}

std::vector<BadCall> BadCalls() {
  return {DoubledSchema(),  ExpensivePattern(), InsertsAtTheHead(), UnstorableText(),
          LongUniqueKeys(), NumbersOfItsOwn(),  LargePages(),       ClaimsOfOtherQueues()};
}

class Neighbours : public StoreSuite {
 protected:
  /// What one good caller does in a round; the time of each call goes to `took`.
  void DoGoodRound(int caller, std::vector<double>& took) {
    const std::string name = fmt::format("good-{}", caller);
    auto timed = [&](auto call) {
      const SteadyTime began = std::chrono::steady_clock::now();
      auto answer = Must(call());
      took.push_back(
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
              .count());
      return answer;
    };
    timed([&] { return store().Enqueue({}, {.kind = "k", .queue = name}); });
    const std::vector<Job> jobs =
        timed([&] { return store().Claim({}, {.worker = name, .queues = {name}}); });
    ASSERT_EQ(jobs.size(), 1U);
    timed([&] { return store().Complete({}, jobs[0].id, jobs[0].token); });
    const std::vector<LockGrant> grants =
        timed([&] { return store().Acquire({}, {.name = name, .owner = name}); });
    timed([&] { return store().Release({}, ReleaseLock{name, grants.at(0).token}); });
    EXPECT_EQ(timed([&] { return store().GetJob({}, jobs[0].id); })->state, JobState::kCompleted);
  }

  /// The 99th percentile of all calls of the good callers, in milliseconds.
  double MeasureGoodCallers() {
    std::vector<std::vector<double>> took(kGoodCallers);
    {
      std::vector<std::jthread> callers;
      for (int caller = 0; caller < kGoodCallers; ++caller) {
        callers.emplace_back([&, caller] {
          std::vector<double>& mine = took[static_cast<std::size_t>(caller)];
          for (int round = 0; round < Scaled(kRounds, 5); ++round) DoGoodRound(caller, mine);
        });
      }
    }
    std::vector<double> all;
    for (const std::vector<double>& some : took) all.insert(all.end(), some.begin(), some.end());
    std::ranges::sort(all);
    return all.at(all.size() * 99 / 100);
  }

  /// By how many milliseconds the 99th percentile of the good callers is higher beside the bad one.
  double Measure(const BadCall& bad) {
    const double without = MeasureGoodCallers();
    std::atomic<bool> is_over = false;
    std::atomic<int> refused = 0;
    std::atomic<int> accepted = 0;
    std::jthread caller([&] {
      for (int i = next_bad_; !is_over; next_bad_ = ++i) {
        const Result<void> outcome = bad.call(store(), i);
        ++(outcome ? accepted : refused);
        if (outcome) continue;
        EXPECT_NE(outcome.error().code, ErrorCode::kInternal) << outcome.error().message;
        EXPECT_NE(outcome.error().code, ErrorCode::kCorrupt) << outcome.error().message;
      }
    });
    const double with = MeasureGoodCallers();
    is_over = true;
    caller.join();
    fmt::print(stderr, "{}: p99 {:.1f} ms beside {:.1f} ms without; {} accepted, {} refused\n",
               bad.name, with, without, accepted.load(), refused.load());
    return with - without;
  }

 private:
  int next_bad_ = 0;  // of the calls of all bad callers
};

TEST_P(Neighbours, OfABadCallAreAnsweredInTime) {
  // Milliseconds. Fifty are promised; a run beside other programs on two cores adds to that.
#if defined(NDEBUG)
  const double kMost = Rounds(150, 50);
#else
  const double kMost = 1'000;  // nothing is optimised: what is checked are the answers
#endif
  constexpr int kAttempts = 3;  // the machine may have been busy with something else
  for (const BadCall& bad : BadCalls()) {
    SCOPED_TRACE(bad.name);
    bad.prepare(backing());
    double excess = 0;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      excess = Measure(bad);
      if (excess < kMost) break;
    }
    EXPECT_LT(excess, kMost);
  }
}

HOLDFAST_FOR_ALL_VARIANTS(Neighbours);

}  // namespace
}  // namespace holdfast::testing
