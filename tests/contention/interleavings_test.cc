// Short rounds of a few threads, many of them, with threads that are slow where it matters: the
// table of locks with its line, and the queue of the group commit. Under the thread sanitizer this
// is the search for orders of events that nobody has thought of; HOLDFAST_LONG=1 makes it ten
// minutes long.
#include <array>
#include <atomic>
#include <random>
#include <set>
#include <thread>

#include "base/mutex.h"
#include "testing/environment.h"
#include "testing/schedule_noise.h"
#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

using Dice = std::mt19937_64;

/// Runs rounds, each under noise and with a seed of its own, for as long as a test may take.
template <typename Round>
void RunRounds(std::string_view what, Round round) {
  const std::uint64_t seed = PrintedSeed();
  const SteadyTime until = std::chrono::steady_clock::now() + seconds(Rounds(1, 200));
  std::int64_t rounds = 0;
  std::int64_t disturbances = 0;
  while (rounds < 3 || std::chrono::steady_clock::now() < until) {
    const std::uint64_t of_round = seed + static_cast<std::uint64_t>(rounds) * 1'000'003;
    SCOPED_TRACE("round " + std::to_string(rounds));
    ScheduleNoise noise(of_round);
    round(of_round);
    ++rounds;
    disturbances += noise.disturbances();
    ASSERT_FALSE(::testing::Test::HasFailure());
  }
  EXPECT_EQ(disturbances > 0, base::kHasNoise);
  std::fprintf(stderr, "%s: %lld rounds, %lld disturbances, seed %llu\n", std::string(what).c_str(),
               static_cast<long long>(rounds), static_cast<long long>(disturbances),
               static_cast<unsigned long long>(seed));
}

template <typename Body>
void RunTogether(int count, Body body) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back([i, &body] { body(i); });
}

// ---- the table of locks

constexpr int kLockers = 5;

class LockInterleavings : public StoreSuite {
 protected:
  /// What is under a lock, as far as C++ knows unprotected.
  struct Subject {
    std::string name;
    std::int64_t limit = 0;  // of those that share it
    long unprotected = 0;    // changed by whoever has it alone
    Token last = 0;
    std::atomic<int> alone = 0;
    std::atomic<int> together = 0;
  };

  void Enter(Subject& subject, const LockGrant& grant) {
    if (grant.mode == LockMode::kExclusive) {
      EXPECT_EQ(++subject.alone, 1);
      EXPECT_EQ(subject.together, 0);
      ++subject.unprotected;
      EXPECT_GT(grant.token, subject.last);
      subject.last = grant.token;
    } else {
      const int inside = ++subject.together;
      EXPECT_EQ(subject.alone, 0);
      if (subject.limit != 0) {
        EXPECT_LE(inside, subject.limit);
      }
    }
  }
  void Exit(Subject& subject, const LockGrant& grant) {
    --(grant.mode == LockMode::kExclusive ? subject.alone : subject.together);
  }

  AcquireLock RequestOf(Dice& dice, int thread) {
    AcquireLock request{.owner = "t" + std::to_string(thread), .ttl = hours(1)};
    const auto first = dice() % subjects_.size();
    const auto second = (first + 1 + dice() % (subjects_.size() - 1)) % subjects_.size();
    const auto policy = dice() % 6;
    if (policy < 2) {
      request.names = {subjects_[first].name, subjects_[second].name};
      request.policy = policy == 0 ? LockPolicy::kAll : LockPolicy::kAny;
    } else {
      request.name = subjects_[first].name;
      if (dice() % 2 == 0) {
        request.mode = LockMode::kShared;
        if (subjects_[first].limit != 0) request.limit = subjects_[first].limit;
      }
    }
    constexpr std::array<Duration, 4> kWaits = {Duration(0), microseconds(300), milliseconds(3),
                                                minutes(5)};
    if (const Duration wait = kWaits[dice() % kWaits.size()]; wait > Duration(0)) {
      request.wait = wait;
    }
    return request;
  }

  Subject& Named(const std::string& name) {
    return *std::ranges::find(subjects_, name, &Subject::name);
  }

  /// One call of a thread: takes what it gets and gives it back.
  void TakeOnce(Dice& dice, int thread, std::stop_token stop) {
    Context context;
    if (dice() % 4 == 0) context.stop = std::move(stop);
    auto grants = store().Acquire(context, RequestOf(dice, thread));
    if (!grants) {
      const ErrorCode code = grants.error().code;
      EXPECT_TRUE(code == ErrorCode::kBusy || code == ErrorCode::kDeadlock ||
                  (code == ErrorCode::kCancelled && context.stop.stop_requested()))
          << grants.error().message;
      return;
    }
    for (const LockGrant& grant : *grants) {
      Enter(Named(grant.name), grant);
      if (grant.mode == LockMode::kExclusive) ++taken_alone_;
    }
    if (dice() % 3 == 0) {
      Must(store().Renew({}, {.name = grants->back().name, .token = grants->back().token}));
    }
    for (const LockGrant& grant : *grants) {
      Exit(Named(grant.name), grant);
      EXPECT_THAT(store().Release({}, {.name = grant.name, .token = grant.token}), IsOk());
    }
  }

  void RunRound(std::uint64_t seed) {
    std::array<std::stop_source, kLockers> stops;
    RunTogether(kLockers, [&](int thread) {
      Dice dice(seed + static_cast<std::uint64_t>(thread));
      for (int i = 0; i < 8; ++i) {
        // The call of somebody else is cancelled, in whatever instant that is.
        if (dice() % 16 == 0) stops[dice() % kLockers].request_stop();
        TakeOnce(dice, thread, stops[static_cast<std::size_t>(thread)].get_token());
      }
    });
    long unprotected = 0;
    for (const Subject& subject : subjects_) unprotected += subject.unprotected;
    EXPECT_EQ(unprotected, taken_alone_);
    EXPECT_THAT(Must(store().ListLocks({}, {})).items, ::testing::IsEmpty());
    EXPECT_EQ(Must(store().GetStats({})).waiting_locks, 0);
  }

  std::array<Subject, 3> subjects_{Subject{.name = "alone"}, Subject{.name = "places", .limit = 2},
                                   Subject{.name = "shared"}};
  std::atomic<long> taken_alone_ = 0;
};

TEST_P(LockInterleavings, LOCK_1_NobodyMeetsNobodyIsLeftOutNothingIsLeft) {
  RunRounds(GetParam().name, [&](std::uint64_t seed) { RunRound(seed); });
}

INSTANTIATE_TEST_SUITE_P(Stores, LockInterleavings, ::testing::ValuesIn([] {
                           std::vector<Variant> variants = EmbeddedVariants();
                           std::erase_if(variants, [](const Variant& v) {
                             return !v.traits.keeps_time;  // its server hears no noise
                           });
                           return variants;
                         }()),
                         VariantName);

// ---- the queue of the group commit

class GroupCommitInterleavings : public ::testing::Test {
 protected:
  /// What a round was told, by any thread. Filled by completions, read after the last of them.
  struct Told {
    std::atomic<int> asked = 0;
    std::atomic<int> answered = 0;
    std::atomic<std::int64_t> completed = 0;
    base::Mutex mutex{base::LockRank::kMetrics};
    std::set<JobId> added HF_GUARDED_BY(mutex);
    std::set<Token> tokens HF_GUARDED_BY(mutex);

    void Add(JobId id) {
      base::MutexLock lock(mutex);
      EXPECT_TRUE(added.insert(id).second) << "job " << id << " was added twice";
    }
    void Claim(Token token) {
      base::MutexLock lock(mutex);
      EXPECT_TRUE(tokens.insert(token).second) << "token " << token << " was issued twice";
    }
  };

  static void ExpectRefusal(const Error& error) {
    EXPECT_TRUE(error.code == ErrorCode::kCancelled || error.code == ErrorCode::kShuttingDown ||
                error.code == ErrorCode::kDeadlineExceeded)
        << error.message;
  }

  /// Adds jobs in a call that does not wait for its answer: one batch, or a few that succeed or
  /// fail alone.
  void Add(Store& store, Dice& dice, const Context& context, Told& told) {
    std::vector<Batch> batches(1 + dice() % 3);
    for (Batch& batch : batches) {
      for (auto i = 1 + dice() % 2; i > 0; --i) {
        batch.operations.emplace_back(EnqueueJob{{.kind = "k"}});
      }
    }
    ++told.asked;
    store.CommitAsync(context, std::move(batches), [&told](std::vector<Result<Receipt>> answers) {
      for (const Result<Receipt>& answer : answers) {
        if (!answer) {
          ExpectRefusal(answer.error());
          continue;
        }
        for (const OperationResult& result : answer->results) told.Add(result.job->id);
      }
      ++told.answered;
    });
  }

  /// Claims a job and completes it: a caller that is answered asks again, as the queue expects.
  static void Work(Store& store, Told& told) {
    ++told.asked;
    for (const Job& job : Must(store.Claim({}, {.worker = "w", .lease = hours(1)}))) {
      told.Claim(job.token);
      Must(store.Complete({}, job.id, job.token));
      ++told.completed;
    }
    ++told.answered;
  }

  /// The store is closed while what was asked last is under way.
  void RunRound(std::uint64_t seed, Told& told) {
    std::unique_ptr<Store> store = Must(OpenStore("sqlite:" + file_));
    std::stop_source stop;
    RunTogether(4, [&](int thread) {
      Dice dice(seed + static_cast<std::uint64_t>(thread));
      for (int i = 0; i < 8; ++i) {
        Context context;
        if (dice() % 8 == 0) context.stop = stop.get_token();
        if (dice() % 16 == 0) context = Context::WithTimeout(microseconds(dice() % 500));
        if (dice() % 32 == 0) stop.request_stop();
        if (dice() % 3 == 0) {
          Work(*store, told);
        } else {
          Add(*store, dice, context, told);
        }
      }
    });
    if (seed % 2 == 0) store->StopWaiting();
    store.reset();
    EXPECT_EQ(told.answered, told.asked);
  }

  /// The file has what was acknowledged, and nothing that was refused.
  void ExpectAllThere(Told& told) {
    std::vector<JobId> added;
    {
      base::MutexLock lock(told.mutex);
      added.assign(told.added.begin(), told.added.end());
    }
    if (added.empty()) return;
    std::unique_ptr<Store> store = Must(OpenStore("sqlite:" + file_, {.maintain = false}));
    const std::optional<Queue> queue = Must(store->GetQueue({}, "default"));
    ASSERT_TRUE(queue.has_value());
    EXPECT_EQ(queue->CountOf(JobState::kCompleted), told.completed);
    EXPECT_EQ(queue->CountOf(JobState::kCompleted) + queue->CountOf(JobState::kPending),
              static_cast<std::int64_t>(added.size()));
    for (JobId id : {added.front(), added.back()}) {
      EXPECT_TRUE(Must(store->GetJob({}, id)).has_value()) << "job " << id << " is lost";
    }
  }

  TempDir dir_{TempDir::Where::kMemory};
  const std::string file_ = dir_.File("store.db");
};

TEST_F(GroupCommitInterleavings, EverybodyIsAnsweredOnceAndWhatIsAcknowledgedIsThere) {
  Told told;
  RunRounds("group commit", [&](std::uint64_t seed) {
    RunRound(seed, told);
    ExpectAllThere(told);
  });
}

}  // namespace
}  // namespace holdfast::testing
