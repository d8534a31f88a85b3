// Many clients take, renew, give back and break the same locks at random; everything they were told
// is written down, and must be explained by locks that serve one client at a time.
#include <atomic>
#include <map>
#include <random>
#include <thread>

#include "history/lock_model.h"
#include "testing/store_suite.h"

namespace holdfast::testing {
namespace {

using history::CallEnd;
using history::CheckLinearizable;
using history::Describe;
using history::FindLockViolation;
using history::Linearizable;
using history::LockCall;
using history::LockHistory;
using history::LockModel;
using history::Verdict;

using Op = LockModel::Operation;

constexpr int kClients = 8;

/// A lock, and how it is used.
struct Subject {
  std::string name;
  bool is_shared = false;
  std::int64_t limit = 0;
  bool has_both_modes = false;
};

std::vector<Subject> Subjects() {
  return {{.name = "alone"},
          {.name = "places", .is_shared = true, .limit = 3},
          {.name = "readers and writers", .is_shared = true, .has_both_modes = true},
          {.name = "alone as well"}};
}

/// A lease that was broken, and when the call was made that did it.
struct Broken {
  LockGrant grant;
  std::int64_t invoked = 0;
  std::int64_t returned = 0;
};

/// One thread that makes random calls, and what it was told. Histories are by lock.
class Client {
 public:
  Client(int number, std::uint64_t seed, Store& store, std::atomic<std::int64_t>& clock)
      : number_(number),
        owner_("client " + std::to_string(number)),
        random_(seed + static_cast<std::uint64_t>(number)),
        store_(store),
        clock_(clock),
        subjects_(Subjects()),
        held_(subjects_.size()),
        histories_(subjects_.size()),
        broken_(subjects_.size()) {}

  void Run(int calls) {
    for (int i = 0; i < calls; ++i) {
      const auto lock = static_cast<std::size_t>(Below(static_cast<int>(subjects_.size())));
      if (Below(60) == 0) {
        Break(lock);
      } else if (held_[lock].empty()) {
        Acquire(lock);
      } else if (Below(4) == 0) {
        Report(lock, Op::kRenew, held_[lock].back());
      } else {
        Release(lock);
      }
    }
    for (std::size_t lock = 0; lock < subjects_.size(); ++lock) {
      if (!held_[lock].empty()) Release(lock);
    }
  }

  const LockHistory& history(std::size_t lock) const { return histories_[lock]; }
  const std::vector<Broken>& broken(std::size_t lock) const { return broken_[lock]; }

 private:
  int Below(int most) { return static_cast<int>(random_() % static_cast<std::uint64_t>(most)); }

  /// Makes the call, and notes it with the instants before and after.
  template <typename Make>
  auto Note(std::size_t lock, LockModel::Input input, Make make) {
    LockCall call{.client = number_, .input = std::move(input)};
    call.invoked = clock_.fetch_add(1);
    auto answer = make();
    call.returned = clock_.fetch_add(1);
    call.end = EndOf(answer);
    call.answer.ok = answer.has_value();
    if constexpr (requires { answer->front().token; }) {
      if (answer) {
        for (const LockGrant& grant : *answer) call.answer.tokens.push_back(grant.token);
      }
    }
    histories_[lock].push_back(std::move(call));
    return answer;
  }

  template <typename T>
  static CallEnd EndOf(const Result<T>& answer) {
    if (answer) return CallEnd::kAnswered;
    switch (answer.error().code) {
      case ErrorCode::kBusy:
      case ErrorCode::kDeadlock:  // as busy: it would not come free in time
      case ErrorCode::kFenced:
      case ErrorCode::kNotFound:
        return CallEnd::kAnswered;
      case ErrorCode::kOutcomeUnknown:
        return CallEnd::kUnknown;
      default:
        ADD_FAILURE() << answer.error().message;
        return CallEnd::kFailed;
    }
  }

  void Acquire(std::size_t lock) {
    const Subject& subject = subjects_[lock];
    const bool is_shared = subject.is_shared && (!subject.has_both_modes || Below(2) == 0);
    AcquireLock request{.name = subject.name, .owner = owner_, .ttl = hours(1)};
    if (is_shared) request.mode = LockMode::kShared;
    if (is_shared && subject.limit != 0) request.limit = subject.limit;
    if (Below(2) == 0) request.wait = milliseconds(Below(2) == 0 ? 2 : 30);
    auto grants = Note(lock,
                       {.operation = Op::kAcquire,
                        .owner = owner_,
                        .mode = request.mode,
                        .limit = request.limit.value_or(0),
                        .waits = request.wait.has_value()},
                       [&] { return store_.Acquire({}, request); });
    if (!grants) return;
    held_[lock].push_back(grants->front().token);
    old_.push_back(grants->front().token);
  }

  void Release(std::size_t lock) {
    // Now and then with a token whose time is over, or that is of another lock.
    if (Below(10) == 0)
      Report(lock, Op::kRelease,
             old_[static_cast<std::size_t>(Below(static_cast<int>(old_.size())))]);
    if (held_[lock].empty()) return;
    Report(lock, Op::kRelease, held_[lock].back());
  }

  void Report(std::size_t lock, Op operation, Token token) {
    const std::string& name = subjects_[lock].name;
    auto lease = Note(lock, {.operation = operation, .token = token}, [&] {
      return operation == Op::kRenew ? store_.Renew({}, {.name = name, .token = token})
                                     : store_.Release({}, {.name = name, .token = token});
    });
    // Fenced: somebody broke it.
    if (operation == Op::kRelease || !lease) std::erase(held_[lock], token);
  }

  void Break(std::size_t lock) {
    auto ended = Note(lock, {.operation = Op::kBreak}, [&] {
      return store_.Break({}, {.name = subjects_[lock].name, .reason = "for the test"});
    });
    if (!ended) return;
    const LockCall& call = histories_[lock].back();
    for (LockGrant& grant : *ended) {
      broken_[lock].push_back({std::move(grant), call.invoked, call.returned});
    }
  }

  const int number_;
  const std::string owner_;
  std::mt19937_64 random_;
  Store& store_;
  std::atomic<std::int64_t>& clock_;
  const std::vector<Subject> subjects_;
  std::vector<std::vector<Token>> held_;     // by lock
  std::vector<Token> old_;                   // every token there was
  std::vector<LockHistory> histories_;       // by lock
  std::vector<std::vector<Broken>> broken_;  // by lock
};

class LockHistories : public StoreSuite {
 protected:
  /// What all clients were told, by lock.
  std::vector<LockHistory> Record(int calls_per_client) {
    const std::uint64_t seed = PrintedSeed();
    std::atomic<std::int64_t> clock = 1;
    std::vector<std::unique_ptr<Client>> clients;
    for (int i = 0; i < kClients; ++i) {
      clients.push_back(std::make_unique<Client>(i, seed, store(), clock));
    }
    {
      std::vector<std::jthread> threads;
      for (auto& client : clients) {
        threads.emplace_back([&client, calls_per_client] { client->Run(calls_per_client); });
      }
    }
    std::vector<LockHistory> histories(Subjects().size());
    for (std::size_t lock = 0; lock < histories.size(); ++lock) {
      for (const auto& client : clients) {
        const LockHistory& part = client->history(lock);
        histories[lock].insert(histories[lock].end(), part.begin(), part.end());
      }
      for (const auto& client : clients) AddUnheard(client->broken(lock), histories[lock]);
    }
    return histories;
  }

 private:
  /// Who was granted the lock in line, and had it broken before it knew, is in line again: one call
  /// has taken the lock twice. The first time is added as a call of its own.
  static void AddUnheard(const std::vector<Broken>& broken, LockHistory& history) {
    for (const Broken& lease : broken) {
      auto is_answer = [&](const LockCall& call) {
        return call.input.operation == Op::kAcquire && call.answer.ok &&
               call.answer.tokens.front() == lease.grant.token;
      };
      if (std::ranges::any_of(history, is_answer)) continue;
      auto is_in_line = [&](const LockCall& call) {
        return call.input.operation == Op::kAcquire && call.input.waits &&
               call.input.owner == lease.grant.owner && call.input.mode == lease.grant.mode &&
               call.invoked < lease.returned && call.returned > lease.invoked;
      };
      auto in_line = std::ranges::find_if(history, is_in_line);
      ASSERT_NE(in_line, history.end()) << "nobody asked for the lease " << lease.grant.token;
      LockCall first = *in_line;
      first.end = CallEnd::kAnswered;
      first.answer = {.ok = true, .tokens = {lease.grant.token}};
      first.returned = lease.returned;
      history.push_back(std::move(first));
    }
  }
};

TEST_P(LockHistories, LOCK_1_EveryAnswerFitsIntoOneOrder) {
  const int calls = Scaled(100, 40);  // of a client: for each lock there are twice as many
  const std::vector<Subject> subjects = Subjects();
  const std::vector<LockHistory> histories = Record(calls);
  for (std::size_t lock = 0; lock < subjects.size(); ++lock) {
    const LockModel model{.has_both_modes = subjects[lock].has_both_modes};
    const Verdict verdict = CheckLinearizable(model, histories[lock]);
    EXPECT_EQ(verdict.is, Linearizable::kYes)
        << subjects[lock].name << ": " << Describe(verdict, histories[lock]);
    EXPECT_EQ(FindLockViolation(histories[lock]), std::nullopt) << subjects[lock].name;
  }
  EXPECT_TRUE(Must(store().ListLocks({}, {})).items.empty());
}

TEST_P(LockHistories, LOCK_3_TokensRiseAndHoldersAreAloneInALongRun) {
  const std::vector<Subject> subjects = Subjects();
  const std::vector<LockHistory> histories = Record(Scaled(traits().is_remote ? 300 : 1'000, 60));
  for (std::size_t lock = 0; lock < subjects.size(); ++lock) {
    EXPECT_EQ(FindLockViolation(histories[lock]), std::nullopt) << subjects[lock].name;
  }
  EXPECT_TRUE(Must(store().ListLocks({}, {})).items.empty());
}

HOLDFAST_FOR_ALL_VARIANTS(LockHistories);

}  // namespace
}  // namespace holdfast::testing
